(** * Binary contexts: where concatenation computes s * z exactly (not in the paper)

    A.1 needs contexts that range over an interval. When z takes the values +1 and -1 only, a small concatenating
    network equals s * z on all bounded states; it fails on unbounded ones. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

Section Bounded.
Variable R : realFieldType.
Implicit Types s z B : R.

(** A concatenating network on scalars with one hidden layer of k neurons: neuron i has weight u i on s, v i on z,
    offset c i and output weight a i. *)
Definition shallow k (u v c a : 'I_k -> R) (a0 : R) : mlp R (1 + 1) 1 :=
  Hidden (row_mx (\col_i u i) (\col_i v i)) (\col_i c i) (Affine (\row_i a i) (vec1 a0)).

Lemma shallowE k (u v c a : 'I_k -> R) a0 s z :
  concat (shallow u v c a a0) (vec1 s) (vec1 z) = \sum_i a i * relu (u i * s + v i * z + c i) + a0.
Proof.
rewrite /concat /= mul_row_col mxE [vec1 a0 _ _]vec1E mxE; congr (_ + _); apply: eq_bigr => i _.
by rewrite !mxE !big_ord1 !mxE !mulr1n.
Qed.

Definition pick (x : seq R) (i : nat) : R := nth 0 x i.

(** Four neurons, with c = B / 2: relu(s + c(z - 1)) - relu(-s + c(z - 1)) gives s when z = 1 and is silent when z = -1;
    the other two, relu(-s - c(z + 1)) - relu(s - c(z + 1)), do the opposite. *)
Definition four B : mlp R (1 + 1) 1 :=
  let c := B / 2%:R in
  @shallow 4 (pick [:: 1; -1; -1; 1]) (pick [:: c; c; - c; - c]) (fun=> - c) (pick [:: 1; -1; 1; -1]) 0.

(** Two neurons: 2 relu(s + B z) - relu(s + B z + 2 B) + B. *)
Definition two B : mlp R (1 + 1) 1 :=
  @shallow 2 (pick [:: 1; 1]) (pick [:: B; B]) (pick [:: 0; 2%:R * B]) (pick [:: 2%:R; -1]) B.

(** With |s| <= B and z in {+1, -1}, one hidden layer of four neurons equals s * z exactly. *)
Theorem binary_four_neurons B : widths (four B) = [:: 4%N] /\
  forall s z, `|s| <= B -> z = 1 \/ z = -1 -> concat (four B) (vec1 s) (vec1 z) = s * z.
Proof.
split=> // s z; rewrite ler_norml => /andP[lo hi] zz.
have off1 : s - B <= 0 by rewrite subr_le0.
have off2 : - s - B <= 0 by rewrite subr_le0 ler_oppl.
rewrite shallowE !big_ord_recl big_ord0 /pick /= !addr0.
case: zz => ->.
  have -> : 1 * s + B / 2%:R * 1 - B / 2%:R = s by ring.
  have -> : -1 * s + B / 2%:R * 1 - B / 2%:R = - s by ring.
  have -> : -1 * s + - (B / 2%:R) * 1 - B / 2%:R = - s - B by field.
  have -> : 1 * s + - (B / 2%:R) * 1 - B / 2%:R = s - B by field.
  by rewrite (relu_neg off1) (relu_neg off2) -[RHS]mulr1 -[s in RHS]relu_split; ring.
have -> : 1 * s + B / 2%:R * -1 - B / 2%:R = s - B by field.
have -> : -1 * s + B / 2%:R * -1 - B / 2%:R = - s - B by field.
have -> : -1 * s + - (B / 2%:R) * -1 - B / 2%:R = - s by ring.
have -> : 1 * s + - (B / 2%:R) * -1 - B / 2%:R = s by ring.
by rewrite (relu_neg off1) (relu_neg off2) -[s in RHS]relu_split; ring.
Qed.

(** Two neurons are enough. *)
Theorem binary_two_neurons B : widths (two B) = [:: 2%N] /\
  forall s z, `|s| <= B -> z = 1 \/ z = -1 -> concat (two B) (vec1 s) (vec1 z) = s * z.
Proof.
split=> // s z; rewrite ler_norml => /andP[lo hi] zz.
have lo' : 0 <= s + B by rewrite -[B]opprK subr_ge0.
have hi' : s - B <= 0 by rewrite subr_le0.
have B0 : 0 <= B by move: (le_trans lo hi); rewrite -subr_ge0 opprK -mulr2n pmulrn_lge0.
rewrite shallowE !big_ord_recl big_ord0 /pick /= !addr0.
case: zz => ->.
  have -> : 1 * s + B * 1 = s + B by ring.
  have -> : s + B + 2%:R * B = (s + B) + (B + B) by ring.
  by rewrite (relu_pos lo') relu_pos; [ring|do 2 apply: addr_ge0 => //].
have -> : 1 * s + B * -1 = s - B by ring.
have -> : s - B + 2%:R * B = s + B by ring.
by rewrite (relu_pos lo') (relu_neg hi'); ring.
Qed.

(** The function that an MLP with one hidden neuron computes. *)
Lemma one_neuron m n (f : mlp R m n) : widths f = [:: 1%N] -> exists (u : 'rV[R]_m) c (a a0 : 'cV[R]_n),
  forall x, eval f x = relu ((u *m x) 0 0 + c) *: a + a0.
Proof.
case: f => // m' k n' W b rest; case: rest W b => // k' n'' A a0 W b /= [k1]; subst k'.
exists W, (b 0 0), A, a0 => x /=; congr (_ + _); apply/colP=> i.
by rewrite [LHS]mxE big_ord1 [RHS]mxE [reluv _ _ _]mxE [(W *m x + b) _ _]mxE mulrC.
Qed.

Lemma relu_mono (x y : R) : x <= y -> relu x <= relu y.
Proof. by move=> xy; rewrite /relu le_maxl !le_maxr lexx xy orbT. Qed.

(** One neuron is not, on any [-B, B]: as a function of s it rises, or falls, for all z alike. *)
Theorem binary_one_neuron_cannot B (f : mlp R (1 + 1) 1) : 0 < B -> widths f = [:: 1%N] ->
  ~ forall s z, `|s| <= B -> z = 1 \/ z = -1 -> concat f (vec1 s) (vec1 z) = s * z.
Proof.
move=> B0 /one_neuron[u [c [a [a0 Hf]]]] H.
pose e z := (rsubmx u) 0 0 * z + c; pose k := (lsubmx u) 0 0.
have val s z : concat f (vec1 s) (vec1 z) = relu (k * s + e z) * a 0 0 + a0 0 0.
  rewrite /concat Hf -[u]hsubmxK mul_row_col 2!mxE; congr (relu _ * _ + _).
  by rewrite mxE [(lsubmx u *m _) 0 0]mxE [(rsubmx u *m _) 0 0]mxE !big_ord1 !vec1E addrA.
pose delta z := relu (k * B + e z) - relu (k * - B + e z).
have Bb : `|B| <= B by rewrite gtr0_norm.
have Bb' : `|- B| <= B by rewrite normrN.
have up : delta 1 * a 0 0 = 2%:R * B.
  have := H B 1 Bb (or_introl erefl); have := H (- B) 1 Bb' (or_introl erefl); rewrite !val => h1 h2.
  rewrite /delta mulrBl -[X in X - _](addrK (a0 0 0)) h2 -[X in _ - X](addrK (a0 0 0)) h1; ring.
have dn : delta (-1) * a 0 0 = - (2%:R * B).
  have := H B (-1) Bb (or_intror erefl); have := H (- B) (-1) Bb' (or_intror erefl); rewrite !val => h1 h2.
  rewrite /delta mulrBl -[X in X - _](addrK (a0 0 0)) h2 -[X in _ - X](addrK (a0 0 0)) h1; ring.
have same : 0 <= delta 1 * delta (-1).
  have mono (p q w : R) : p <= q -> 0 <= relu (q + w) - relu (p + w).
    by move=> pq; rewrite subr_ge0 relu_mono // ler_add2r.
  have BB : - B <= B by rewrite (le_trans _ (ltW B0)) // oppr_le0 ltW.
  have [k0|/ltW k0] := leP 0 k; [apply: mulr_ge0|apply: mulr_le0]; rewrite /delta.
  - by apply: mono; apply: ler_wpmul2l.
  - by apply: mono; apply: ler_wpmul2l.
  - by rewrite -oppr_ge0 opprB; apply: mono; apply: ler_wnmul2l.
  - by rewrite -oppr_ge0 opprB; apply: mono; apply: ler_wnmul2l.
have : 0 <= (delta 1 * delta (-1)) * a 0 0 ^+ 2 by rewrite mulr_ge0 ?sqr_ge0.
have -> : (delta 1 * delta (-1)) * a 0 0 ^+ 2 = (delta 1 * a 0 0) * (delta (-1) * a 0 0) by ring.
by rewrite up dn mulrN oppr_ge0 leNgt mulr_gt0 // mulr_gt0 ?ltr0n.
Qed.

End Bounded.

(** *** Unbounded states *)

Section Unbounded.
Variable R : realFieldType.
Implicit Types g h : R -> R.

(** From some point on, g and h are affine with the same slope. *)
Definition parallel g h := exists c d sigma s0, forall s, s0 <= s -> g s = c + sigma * s /\ h s = d + sigma * s.

Lemma parallel_ext g h g' h' : g =1 g' -> h =1 h' -> parallel g h -> parallel g' h'.
Proof. by move=> eg eh [c [d [si [s0 H]]]]; exists c, d, si, s0 => s /H; rewrite eg eh. Qed.

Lemma parallel_affine c d sigma : parallel (fun s => c + sigma * s) (fun s => d + sigma * s).
Proof. by exists c, d, sigma, 0. Qed.

Lemma parallel_add g h g' h' : parallel g h -> parallel g' h' -> parallel (fun s => g s + g' s) (fun s => h s + h' s).
Proof.
move=> [c [d [si [s0 H]]]] [c' [d' [si' [s0' H']]]].
exists (c + c'), (d + d'), (si + si'), (Num.max s0 s0') => s; rewrite le_maxl => /andP[/H[-> ->] /H'[-> ->]].
by split; ring.
Qed.

Lemma parallel_scale k g h : parallel g h -> parallel (fun s => k * g s) (fun s => k * h s).
Proof.
move=> [c [d [si [s0 H]]]]; exists (k * c), (k * d), (k * si), s0 => s /H[-> ->].
by split; ring.
Qed.

Lemma parallel_sum (I : finType) (G H : I -> R -> R) :
  (forall i, parallel (G i) (H i)) -> parallel (fun s => \sum_i G i s) (fun s => \sum_i H i s).
Proof.
move=> P; suff: forall r : seq I, parallel (fun s => \sum_(i <- r) G i s) (fun s => \sum_(i <- r) H i s) by apply.
elim=> [|i r IH].
  by apply: parallel_ext (parallel_affine 0 0 0) => s; rewrite big_nil mul0r addr0.
by apply: parallel_ext (parallel_add (P i) IH) => s; rewrite big_cons.
Qed.

(** Far out, the sign of the slope decides whether a ReLU passes; for slope zero a constant stays a constant. *)
Lemma parallel_relu g h : parallel g h -> parallel (fun s => relu (g s)) (fun s => relu (h s)).
Proof.
move=> [c [d [si [s0 H]]]].
have far e s : si != 0 -> - e / si <= s -> 0 <= si * (e + si * s).
  move=> si0 hs; have -> : si * (e + si * s) = si ^+ 2 * (s - - e / si) by field.
  by rewrite mulr_ge0 ?sqr_ge0 // subr_ge0.
have away e s : si < 0 -> - e / si <= s -> e + si * s <= 0.
  by move=> si0 hs; move: (far e s (ltr0_neq0 si0) hs); rewrite nmulr_rge0.
have near e s : 0 < si -> - e / si <= s -> 0 <= e + si * s.
  by move=> si0 hs; move: (far e s (lt0r_neq0 si0) hs); rewrite pmulr_rge0.
have [si_pos|si_neg|si_zero] := ltrgt0P si.
- exists c, d, si, (Num.max s0 (Num.max (- c / si) (- d / si))) => s; rewrite !le_maxl => /and3P[/H[-> ->] hc hd].
  by rewrite !relu_pos ?near.
- exists 0, 0, 0, (Num.max s0 (Num.max (- c / si) (- d / si))) => s; rewrite !le_maxl => /and3P[/H[-> ->] hc hd].
  by rewrite !relu_neg ?away // mul0r addr0.
- by exists (relu c), (relu d), 0, s0 => s /H[-> ->]; rewrite si_zero !mul0r !addr0.
Qed.

Lemma parallel_layer m n (W : 'M[R]_(n, m)) (v : 'cV[R]_n) (x y : R -> 'cV[R]_m) :
  (forall j, parallel (fun s => x s j 0) (fun s => y s j 0)) ->
  forall i, parallel (fun s => (W *m x s + v) i 0) (fun s => (W *m y s + v) i 0).
Proof.
move=> P i; have lin u : (W *m u + v) i 0 = \sum_j W i j * u j 0 + (v i 0 + 0 * 0) by rewrite !mxE mul0r addr0.
apply: (@parallel_ext (fun s => \sum_j W i j * x s j 0 + (v i 0 + 0 * s)) (fun s => \sum_j W i j * y s j 0 + (v i 0 + 0 * s))).
- by move=> s; rewrite lin !mul0r.
- by move=> s; rewrite lin !mul0r.
by apply: parallel_add (parallel_affine _ _ _); apply: parallel_sum => j; apply: parallel_scale.
Qed.

Lemma parallel_eval m n (f : mlp R m n) (x y : R -> 'cV[R]_m) :
  (forall j, parallel (fun s => x s j 0) (fun s => y s j 0)) ->
  forall i, parallel (fun s => eval f (x s) i 0) (fun s => eval f (y s) i 0).
Proof.
elim: f x y => [m' n' W v|m' k n' W v rest IH] x y P /=; first exact: parallel_layer.
apply: IH => j.
apply: (@parallel_ext (fun s => relu ((W *m x s + v) j 0)) (fun s => relu ((W *m y s + v) j 0))).
- by move=> s; rewrite [RHS]mxE.
- by move=> s; rewrite [RHS]mxE.
by apply: parallel_relu; apply: parallel_layer.
Qed.

(** With s unbounded two contexts are enough to defeat every concatenating network: for no two distinct numbers z1, z2
    and no s0 does it equal s * z for all s >= s0 and z in {z1, z2}. Far out its slope in s is the same for both. *)
Theorem binary_unbounded_cannot (z1 z2 s0 : R) : z1 != z2 ->
  ~ exists f : mlp R (1 + 1) 1, forall s z, s0 <= s -> z = z1 \/ z = z2 -> concat f (vec1 s) (vec1 z) = s * z.
Proof.
move=> ne [f Hf].
have [|c [d [si [s1 H]]]] := @parallel_eval _ _ f (fun s => col_mx (vec1 s) (vec1 z1)) (fun s => col_mx (vec1 s) (vec1 z2)) _ 0.
  move=> j; rewrite -[j]splitK; case: (split j) => i /=.
    apply: (@parallel_ext (fun s => 0 + 1 * s) (fun s => 0 + 1 * s)) (parallel_affine _ _ _) => s;
    by rewrite col_mxEu ord1 vec1E add0r mul1r.
  apply: (@parallel_ext (fun s => z1 + 0 * s) (fun s => z2 + 0 * s)) (parallel_affine _ _ _) => s;
  by rewrite col_mxEd ord1 vec1E mul0r addr0.
pose m := Num.max s0 s1.
have at_ t : m <= t -> t * z1 = c + si * t /\ t * z2 = d + si * t.
  rewrite le_maxl => /andP[h0 h1]; have [<- <-] := H t h1.
  by split; [rewrite -(Hf t z1 h0 (or_introl erefl))|rewrite -(Hf t z2 h0 (or_intror erefl))].
have [e1 e2] := at_ m (lexx m); have [|e3 e4] := at_ (m + 1); first by rewrite ler_addl ler01.
have s1' : z1 = si by rewrite -[LHS]mul1r -[1](addrK m) [1 + m]addrC mulrBl e3 e1; ring.
have s2' : z2 = si by rewrite -[LHS]mul1r -[1](addrK m) [1 + m]addrC mulrBl e4 e2; ring.
by move: ne; rewrite s1' s2' eqxx.
Qed.

End Unbounded.
