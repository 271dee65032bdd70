(** * Switching between two modes under noise (A.6)

    Exact switching at a margin delta: f(s, z) = s sign(z) for |z| >= delta. Both classes can do it, so noise that stays
    inside the margin harms neither. What separates them is how steep they have to be within the margin. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks PiecewiseAffine Expressivity Approximation.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

Section Switch.
Variable R : realFieldType.
Implicit Types (s z n B delta eta L : R).

(** z / delta, clipped to [-1, 1]. *)
Definition clipped delta z : R := relu (z / delta + 1) - relu (z / delta - 1) - 1.

Lemma clipped_sign delta z : 0 < delta -> delta <= `|z| -> clipped delta z = Num.sg z.
Proof.
move=> d0; have one t : t <= 0 -> t - 1 <= 0 by move=> t0; rewrite subr_le0 (le_trans t0) ?ler01.
have [z0|z0|->] := ltrgt0P z; last by rewrite leNgt d0.
  rewrite gtr0_sg // /clipped => dz.
  have h : 0 <= z / delta - 1 by rewrite subr_ge0 ler_pdivl_mulr // mul1r.
  have h' : 0 <= z / delta + 1 by rewrite addr_ge0 ?ler01 // divr_ge0 // ltW.
  by rewrite !relu_pos //; ring.
rewrite ltr0_sg // /clipped => dz.
have h : z / delta + 1 <= 0.
  by rewrite -ler_subr_addr sub0r ler_pdivr_mulr // mulN1r ler_oppr.
have h' : z / delta - 1 <= 0.
  by rewrite subr_le0 (le_trans _ (@ler01 R)) // mulr_le0_ge0 ?ltW // invr_gt0.
by rewrite !relu_neg // subrr sub0r.
Qed.

Lemma clipped_inside delta z : 0 < delta -> `|z| <= delta -> clipped delta z = z / delta.
Proof.
move=> d0; rewrite ler_norml => /andP[lo hi]; rewrite /clipped relu_pos; last first.
  by rewrite -ler_subl_addr sub0r ler_pdivl_mulr // mulN1r.
by rewrite relu_neg ?subr_le0 ?ler_pdivr_mulr ?mul1r //; ring.
Qed.

(** Hidden widths 3 and 2: the first layer clips z / delta, the second is [BinaryContexts.two]. *)
Definition switch B delta : mlp R (1 + 1) 1 :=
  @Hidden R (1 + 1) 3 1
    (row_mx (\col_i nth 0 [:: 1; 0; 0] i) (\col_i nth 0 [:: 0; delta^-1; delta^-1] i)) (\col_i nth 0 [:: B; 1; -1] i)
    (@Hidden R 3 2 1
      (\matrix_(i, j) nth 0 [:: 1; B; - B] j) (\col_i nth 0 [:: - (2%:R * B); 0] i)
      (Affine (\row_i nth 0 [:: 2%:R; -1] i) (vec1 B))).

Lemma switchE B delta s z : `|s| <= B ->
  concat (switch B delta) (vec1 s) (vec1 z) =
  2%:R * relu (s + B * clipped delta z) - relu (s + B * clipped delta z + 2%:R * B) + B.
Proof.
rewrite ler_norml => /andP[lo _]; have sB : relu (s + B) = s + B by rewrite relu_pos // -ler_subl_addr sub0r.
rewrite /concat /= mul_row_col mxE [vec1 B _ _]vec1E mxE; congr (_ + _).
rewrite !big_ord_recl big_ord0 /= !mxE !big_ord_recl !big_ord0 /= !mxE !big_ord1 !mxE /= !mulr1n.
rewrite !(mul0r, mul1r, addr0, add0r) sB ![delta^-1 * z]mulrC mulN1r /clipped.
move: (relu (z / delta + 1)) (relu (z / delta - 1)) => p q.
have -> : s + B + (B * p + - B * q) - 2%:R * B = s + B * (p - q - 1) by ring.
by have -> : s + B + (B * p + - B * q) = s + B * (p - q - 1) + 2%:R * B by ring.
Qed.

(** A.6, what is true of exactness. A concatenating network of hidden widths 3 and 2 switches exactly: it equals s sign(z)
    for all |s| <= B, |z| >= delta. Noise n that leaves the code beyond the margin changes nothing. *)
Theorem switch_exact B delta : 0 < delta -> widths (switch B delta) = [:: 3; 2]%N /\
  forall s z n, `|s| <= B -> `|n| + delta <= `|z| -> concat (switch B delta) (vec1 s) (vec1 (z + n)) = s * Num.sg z.
Proof.
move=> d0; split=> // s z n hs far; rewrite switchE //.
have n0 : `|n| < `|z| by apply: lt_le_trans far; rewrite ltr_addl.
have zn : delta <= `|z + n|.
  have : `|z| - `|n| <= `|z + n| by apply: ler_sub_dist_add || rewrite -[n]opprK normrN ler_sub_dist.
  by apply: le_trans; rewrite ler_subr_addr addrC.
have same : Num.sg (z + n) = Num.sg z.
  have [z0|z0|z0] := ltrgt0P z.
  - rewrite gtr0_sg ?gtr0_sg // -ltr_subl_addr sub0r; move: n0; rewrite (gtr0_norm z0) ltr_norml => /andP[h _].
    by rewrite ltr_oppl in h *.
  - rewrite ltr0_sg ?ltr0_sg // -ltr_subr_addl sub0r; move: n0; rewrite (ltr0_norm z0) ltr_norml => /andP[_ h].
    by [].
  - by move: n0; rewrite z0 normr0 ltNge normr_ge0.
rewrite clipped_sign // same; move: hs; rewrite ler_norml => /andP[lo hi].
have lo' : 0 <= s + B by rewrite -ler_subl_addr sub0r.
have hi' : s - B <= 0 by rewrite subr_le0.
have B0 : 0 <= B by move: (le_trans lo hi); rewrite -subr_ge0 opprK -mulr2n pmulrn_lge0.
have zne : z != 0 by apply: contraTneq n0 => ->; rewrite normr0 ltNge normr_ge0.
have [z0|z0|z0] := ltrgt0P z; last by rewrite z0 eqxx in zne.
  rewrite gtr0_sg // !mulr1 (relu_pos lo') relu_pos; first by ring.
  by rewrite addr_ge0 // mulr_ge0 ?ler0n.
rewrite ltr0_sg // !mulrN1 (relu_neg hi'); have -> : s - B + 2%:R * B = s + B by ring.
by rewrite (relu_pos lo'); ring.
Qed.

(** Whatever switches exactly has a slope of at least |s| / delta somewhere, network or not: at margin delta some noise is
    amplified by that much in either class. *)
Theorem switch_slope (f : R -> R) s delta L : 0 < delta -> f delta = s -> f (- delta) = - s ->
  (forall u v, `|u| <= delta -> `|v| <= delta -> `|f u - f v| <= L * `|u - v|) -> `|s| / delta <= L.
Proof.
move=> d0 fp fm lip; rewrite ler_pdivr_mulr //.
have dd : `|delta| <= delta by rewrite gtr0_norm.
have := lip _ _ dd (_ : `|- delta| <= delta); rewrite normrN => /(_ dd); rewrite fp fm !opprK -!mulr2n !normrMn.
by rewrite (gtr0_norm d0) mulrnAr ler_muln2r.
Qed.

(** The modulated network reaches that least slope for every s at once: it equals s clip(z / delta, -1, 1) everywhere. *)
Definition switch_modulated delta : hypernet R 1 1 2 2 :=
  HyperNet (two_sided R)
    (Hidden (col2 delta^-1 delta^-1) (col2 1 (-1))
      (Affine (\matrix_(i, j) (if i == j then 1 else -1)) (col2 (- 2%:R) 0))) (row2 1 1) 0.

Theorem switch_modulated_least delta s : 0 < delta ->
  (forall z, modulated (@diagonal R 2) (switch_modulated delta) (vec1 s) (vec1 z) = s * clipped delta z) /\
  (forall z, delta <= `|z| -> modulated (@diagonal R 2) (switch_modulated delta) (vec1 s) (vec1 z) = s * Num.sg z) /\
  (forall z, `|z| <= delta -> modulated (@diagonal R 2) (switch_modulated delta) (vec1 s) (vec1 z) = s / delta * z).
Proof.
move=> d0; have val z : modulated (@diagonal R 2) (switch_modulated delta) (vec1 s) (vec1 z) = s * clipped delta z.
  rewrite modulated_diagonal -[trunk _]/(two_sided R) two_sidedE sum2 /= addr0 !mxE !sum2 !mxE !big_ord1 !mxE /=.
  rewrite ![delta^-1 * _]mulrC !mulr1n /clipped -[s in RHS]relu_split.
  by move: (relu s) (relu (- s)) (relu (z / delta + 1)) (relu (z / delta - 1)) => a b p q; ring.
split=> //; split=> z hz; rewrite val; first by rewrite clipped_sign.
by rewrite clipped_inside // mulrA mulrAC.
Qed.

(** No concatenating network does. If it switches exactly at the margin and its slope in z is at most (|s| + eta) / delta
    for all |s| <= B, then eta >= B / (4 prod (k_i + 1)^2): concatenation amplifies noise within the margin by more than it
    has to, and only size makes the excess small. *)
Theorem switch_excess (f : mlp R (1 + 1) 1) B delta eta : 0 < delta -> 0 <= B ->
  (forall s, `|s| <= B -> concat f (vec1 s) (vec1 delta) = s /\ concat f (vec1 s) (vec1 (- delta)) = - s) ->
  (forall s u v, `|s| <= B -> `|u| <= delta -> `|v| <= delta ->
    `|concat f (vec1 s) (vec1 u) - concat f (vec1 s) (vec1 v)| <= (`|s| + eta) / delta * `|u - v|) ->
  B <= 4%:R * eta * (\prod_(k <- widths f) k.+1%:R) ^+ 2.
Proof.
move=> d0 B0 ends lip.
have dne : delta != 0 by rewrite gt_eqF.
have dd : `|delta| <= delta by rewrite gtr0_norm.
have dd' : `|- delta| <= delta by rewrite normrN.
have eta0 : 0 <= eta.
  have z0 : `|0 : R| <= B by rewrite normr0.
  have := lip 0 delta (- delta) z0 dd dd'; have [-> ->] := ends 0 z0; rewrite oppr0 subr0 !normr0 add0r opprK.
  have p : 0 < `|delta + delta| / delta by rewrite divr_gt0 // gtr0_norm addr_gt0.
  by rewrite mulrAC -mulrA pmulr_lge0.
have close s z : `|s| <= B -> `|z| <= delta -> `|concat f (vec1 s) (vec1 z) - s * (delta^-1 * z)| <= 2%:R * eta.
  move=> hs hz; have [fp fm] := ends s hs; pose u := z / delta.
  have [u1 u2] : -1 <= u /\ u <= 1.
    move: hz; rewrite ler_norml => /andP[h1 h2].
    by rewrite /u ler_pdivl_mulr // mulN1r ler_pdivr_mulr // mul1r.
  have := lip s z delta hs hz dd; have := lip s z (- delta) hs hz dd'; rewrite fp fm !opprK.
  set y := concat _ _ _.
  have -> : (`|s| + eta) / delta * `|z - delta| = (`|s| + eta) * (1 - u).
    rewrite [`|z - _|]ler0_norm ?subr_le0; last by move: hz; rewrite ler_norml => /andP[].
    by rewrite /u; field.
  have -> : (`|s| + eta) / delta * `|z + delta| = (`|s| + eta) * (1 + u).
    rewrite [`|z + _|]ger0_norm; last by move: hz; rewrite ler_norml => /andP[h _]; rewrite -ler_subl_addr sub0r.
    by rewrite /u; field.
  have -> : s * (delta^-1 * z) = s * u by rewrite /u [z / _]mulrC.
  rewrite !ler_norml => /andP[l1 h1] /andP[l2 h2].
  have e1 : 0 <= eta * (1 - u) by rewrite mulr_ge0 // subr_ge0.
  have e2 : 0 <= eta * (1 + u) by rewrite mulr_ge0 // addrC -ler_subl_addr sub0r.
  have [s0|s0] := ler0P s.
    rewrite (ler0_norm s0) in l1 h1 l2 h2; apply/andP; split; rewrite -subr_ge0.
      suff : 0 <= (y + s - - ((- s + eta) * (1 + u))) + eta * (1 - u).
        by have -> : y + s - - ((- s + eta) * (1 + u)) + eta * (1 - u) = y - s * u - - (2%:R * eta) by ring.
      by rewrite addr_ge0 // subr_ge0.
    suff : 0 <= (((- s + eta) * (1 - u)) - (y - s)) + eta * (1 + u).
      by have -> : (- s + eta) * (1 - u) - (y - s) + eta * (1 + u) = 2%:R * eta - (y - s * u) by ring.
    by rewrite addr_ge0 // subr_ge0.
  rewrite (gtr0_norm s0) in l1 h1 l2 h2; apply/andP; split; rewrite -subr_ge0.
    suff : 0 <= (y - s - - ((s + eta) * (1 - u))) + eta * (1 + u).
      by have -> : y - s - - ((s + eta) * (1 - u)) + eta * (1 + u) = y - s * u - - (2%:R * eta) by ring.
    by rewrite addr_ge0 // subr_ge0.
  suff : 0 <= (((s + eta) * (1 + u)) - (y + s)) + eta * (1 - u).
    by have -> : (s + eta) * (1 + u) - (y + s) + eta * (1 - u) = 2%:R * eta - (y - s * u) by ring.
  by rewrite addr_ge0 // subr_ge0.
pose two (x : R) := 2%:R * x.
have := @A1_approximation_segment R 1 1 (delta^-1)%:M f (vec1 (- B)) (vec1 (two B)) (vec1 (- delta)) (vec1 (two delta))
  (2%:R * eta).
have form (x y : R) : ((vec1 x)^T *m (delta^-1)%:M *m vec1 y) 0 0 = x * (delta^-1 * y).
  by rewrite /vec1 !mul_mx_scalar !mxE !eqxx !mulr1n; ring.
have val x t : line (vec1 (- x)) (vec1 (two x)) t = vec1 (two x * t - x).
  by apply/colP=> i; rewrite !ord1 !mxE eqxx !mulr1n; ring.
rewrite form; have -> : two B * (delta^-1 * two delta) = 4%:R * B by rewrite /two; field.
rewrite (ger0_norm (mulr_ge0 (ler0n _ _) B0)).
have -> : 8%:R * (2%:R * eta) * (\prod_(k <- widths f) k.+1%:R) ^+ 2 =
  4%:R * (4%:R * eta * (\prod_(k <- widths f) k.+1%:R) ^+ 2) by ring.
rewrite ler_pmul2l ?ltr0n //; apply => t /andP[t0 t1]; rewrite !val form.
have small x : 0 <= x -> `|two x * t - x| <= x.
  move=> x0; rewrite ler_norml ler_subr_addr addNr ler_subl_addr mulr_ge0 ?mulr_ge0 ?ler0n //=.
  have -> : x + x = two x * 1 by rewrite /two; ring.
  by rewrite ler_wpmul2l // mulr_ge0 ?ler0n.
by apply: close; apply: small => //; apply: ltW.
Qed.

End Switch.
