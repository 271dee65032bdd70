(** * How close concatenation comes to a product (A.1), and sets without interior

    A concatenating network along a segment is affine on at most prod (k_i + 1) pieces, where k_i are its hidden widths:
    every unit bends every piece at most once. A product of state and context along the segment is a parabola. So one
    piece is long, and there the network is wrong by an eighth of the parabola's second difference. Neither argument
    needs an interior: a segment is enough, and SimNorm codes have one. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks PiecewiseAffine Expressivity.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** ** Counting pieces *)

Section Cover.
Variable R : realFieldType.
Implicit Types (P Q : R -> R -> Prop) (a b c : R) (n m k : nat).

(** [cover P n a b]: n cuts divide [a, b] into n + 1 intervals with the property P. *)
Fixpoint cover P n a b : Prop :=
  match n with
  | 0%N => P a b
  | n'.+1 => exists c, [/\ a <= c, c <= b, P a c & cover P n' c b]
  end.

Lemma cover_sub P Q n a b : (forall u v, a <= u -> u <= v -> v <= b -> P u v -> Q u v) -> a <= b ->
  cover P n a b -> cover Q n a b.
Proof.
elim: n a => [|n IH] a PQ ab /=; first by apply: PQ.
move=> [c [ac cb Pac rest]]; exists c; split=> //; first by apply: PQ.
by apply: IH => // u v cu uv vb; apply: PQ => //; apply: le_trans cu.
Qed.

Lemma cover_cat P n m a c b : a <= c -> c <= b -> cover P n a c -> cover P m c b -> cover P (n + m).+1 a b.
Proof.
elim: n a => [|n IH] a ac cb /=; first by exists c.
move=> [d [ad dc Pad rest]] Hm; exists d; split=> //; [exact: le_trans cb|].
exact: (IH d dc cb rest Hm).
Qed.

(** Cutting every interval into k + 1 gives (n + 1) (k + 1) of them. *)
Lemma cover_refine P Q n k a b : a <= b -> (forall u v, u <= v -> P u v -> cover Q k u v) ->
  cover P n a b -> cover Q (n.+1 * k.+1).-1 a b.
Proof.
move=> ab PQ; elim: n a ab => [|n IH] a ab; first by rewrite mul1n; apply: PQ.
move=> [c [ac cb Pac rest]].
have -> : (n.+2 * k.+1).-1 = (k + (n.+1 * k.+1).-1).+1 by rewrite mulSn -[in RHS]addnS prednK ?muln_gt0.
by apply: (cover_cat ac cb) (PQ _ _ ac Pac) (IH _ cb rest).
Qed.

Definition aside c : R -> R -> Prop := fun u v => (v <= c) || (c <= u).

(** One more cut puts a given point on the edge of its interval. *)
Lemma cover_cut P c n a b : (forall u v u' v', P u v -> u <= u' -> u' <= v' -> v' <= v -> P u' v') -> a <= b ->
  cover P n a b -> cover (fun u v => P u v /\ aside c u v) n.+1 a b.
Proof.
move=> sub; have edge u v : u <= v -> P u v -> cover (fun u v => P u v /\ aside c u v) 1 u v.
  move=> uv Puv; have [cu|/ltW uc] := leP c u.
    exists u; split=> //; [split|split]; rewrite /aside ?cu ?orbT //.
    by apply: sub Puv _ _ _.
  have [vc|/ltW cv] := leP v c.
    exists v; split=> //; [split|split]; rewrite /aside ?vc ?uc ?orbT //.
    by apply: sub Puv _ _ _.
  by exists c; split=> //; [split|split]; rewrite /aside ?lexx ?orbT //; apply: sub Puv _ _ _.
elim: n a => [|n IH] a ab; first exact: edge.
move=> [d [ad db Pad rest]]; have [cd|/ltW dc] := leP c d.
  apply: (@cover_cat _ 1 n _ d) => //; first exact: edge.
  by apply: cover_sub rest => // u v du _ _ Puv; split=> //; rewrite /aside (le_trans cd du) orbT.
by exists d; split=> //; [split=> //; rewrite /aside dc|apply: IH].
Qed.

Lemma cover_cuts P (cs : seq R) n a b : (forall u v u' v', P u v -> u <= u' -> u' <= v' -> v' <= v -> P u' v') ->
  a <= b -> cover P n a b -> cover (fun u v => P u v /\ forall c, c \in cs -> aside c u v) (n + size cs) a b.
Proof.
move=> sub ab; elim: cs => [|c cs IH] H; first by rewrite addn0; apply: cover_sub H.
rewrite addnS; have := cover_cut c _ ab (IH H) => step; apply: cover_sub ab (step _).
  move=> u v _ _ _ [[Puv rest] here]; split=> // c'.
  by rewrite in_cons => /orP[/eqP->|/rest].
move=> u v u' v' [Puv rest] uu uv vv; split; first exact: sub Puv uu uv vv.
move=> c' /rest; rewrite /aside => /orP[h|h]; apply/orP; first by left; apply: le_trans vv h.
by right; apply: le_trans h uu.
Qed.

(** One of n + 1 intervals has at least its share of the length. *)
Lemma cover_long P n a b : a <= b -> cover P n a b ->
  exists u v, [/\ a <= u, u <= v, v <= b, P u v & b - a <= n.+1%:R * (v - u)].
Proof.
elim: n a => [|n IH] a ab /=; first by move=> Pab; exists a, b; split=> //; rewrite mul1r.
move=> [c [ac cb Pac /IH[//|u [v [cu uv vb Puv long]]]]].
have [short|/ltW big] := leP (b - a) (n.+2%:R * (c - a)); first by exists a, c; split.
exists u, v; split=> //; first exact: le_trans cu.
have n1 : 0 < n.+1%:R :> R by rewrite ltr0n.
have bc : (b - a) * n.+1%:R <= (b - c) * n.+2%:R.
  rewrite -subr_ge0; rewrite -subr_ge0 in big.
  suff -> : (b - c) * n.+2%:R - (b - a) * n.+1%:R = b - a - n.+2%:R * (c - a) by [].
  by rewrite -[n.+2]addn1 natrD; ring.
rewrite -(ler_pmul2r n1); apply: le_trans bc _.
by rewrite [X in X <= _]mulrC -mulrA ler_pmul2l ?ltr0n // [X in _ <= X]mulrC.
Qed.

End Cover.

(** ** Networks along a segment *)

Section Segment.
Variable R : realFieldType.
Implicit Types (a b t : R).

(** All coordinates at once are affine on [u, v]. *)
Definition affine_vec n (x : R -> 'cV[R]_n) : R -> R -> Prop := fun u v => forall i, affine_on (fun t => x t i 0) u v.

Lemma affine_vec_sub n (x : R -> 'cV[R]_n) u v u' v' :
  affine_vec x u v -> u <= u' -> u' <= v' -> v' <= v -> affine_vec x u' v'.
Proof. by move=> H uu _ vv i; apply: affine_on_sub (H i) uu vv. Qed.

Lemma affine_vec_layer m n (W : 'M[R]_(n, m)) (c : 'cV[R]_n) (x : R -> 'cV[R]_m) u v :
  affine_vec x u v -> affine_vec (fun t => W *m x t + c) u v.
Proof.
move=> H i; have sums (r : seq 'I_m) : affine_on (fun t => \sum_(j <- r) W i j * x t j 0) u v.
  elim: r => [|j r [al [be IH]]]; first by exists 0, 0 => t _; rewrite big_nil mul0r addr0.
  have [al' [be' Hj]] := H j; exists (W i j * al' + al), (W i j * be' + be) => t ht.
  by rewrite big_cons IH // Hj //; ring.
have [al [be Hs]] := sums (index_enum _).
by exists (al + c i 0), be => t ht; rewrite mxE [(W *m x t) i 0]mxE Hs // addrAC.
Qed.

(** The root of an affine function; anything where it has none. *)
Lemma relu_aside f u v : affine_on f u v -> exists c, forall u' v', u <= u' -> u' <= v' -> v' <= v ->
  aside c u' v' -> affine_on (fun t => relu (f t)) u' v'.
Proof.
move=> [al [be H]]; have [be0|bne] := eqVneq be 0.
  exists 0 => u' v' uu uv vv _; exists (relu al), 0 => t /andP[t1 t2].
  by rewrite H ?(le_trans uu t1) ?(le_trans t2 vv) // be0 !mul0r !addr0.
exists (- al / be) => u' v' uu uv vv side.
have val t : u' <= t <= v' -> f t = be * (t - - al / be).
  by move=> /andP[t1 t2]; rewrite H ?(le_trans uu t1) ?(le_trans t2 vv) //; field.
have sgn : (forall t, u' <= t <= v' -> 0 <= f t) \/ (forall t, u' <= t <= v' -> f t <= 0).
  have [bp|bn] : 0 <= be \/ be <= 0 by apply/orP; apply: le_total.
    case/orP: side => h; [right|left] => t ht; rewrite val //; case/andP: ht => t1 t2.
      by rewrite mulr_ge0_le0 // subr_le0 (le_trans t2).
    by rewrite mulr_ge0 // subr_ge0 (le_trans h).
  case/orP: side => h; [left|right] => t ht; rewrite val //; case/andP: ht => t1 t2.
    by rewrite mulr_le0 // subr_le0 (le_trans t2).
  by rewrite mulr_le0_ge0 // subr_ge0 (le_trans h).
case: sgn => s; last by exists 0, 0 => t ht; rewrite relu_neg ?s // mul0r addr0.
by exists al, be => t /andP[t1 t2]; rewrite relu_pos ?s ?t1 // H // (le_trans uu t1) (le_trans t2 vv).
Qed.

(** A layer of k rectifiers divides an interval on which its inputs are affine into at most k + 1. *)
Lemma cover_relu k (y : R -> 'cV[R]_k) u v : u <= v -> affine_vec y u v ->
  cover (affine_vec (fun t => reluv (y t))) k u v.
Proof.
move=> uv H; pose good i c := forall u' v', u <= u' -> u' <= v' -> v' <= v -> aside c u' v' ->
  affine_on (fun t => relu (y t i 0)) u' v'.
have [c Hc] : exists c : 'I_k -> R, forall i, good i (c i).
  by apply: (@fin_all_exists _ (fun=> R) good) => i; apply: relu_aside.
pose inside u' v' := [/\ u <= u', u' <= v' & v' <= v].
have sub u1 v1 u2 v2 : inside u1 v1 -> u1 <= u2 -> u2 <= v2 -> v2 <= v1 -> inside u2 v2.
  by move=> [h1 h2 h3] h4 h5 h6; split=> //; [apply: le_trans h4|apply: le_trans h3].
have start : cover inside 0 u v by [].
have := cover_cuts [seq c i | i <- enum 'I_k] sub uv start.
rewrite add0n size_map size_enum_ord; apply: cover_sub uv.
move=> u' v' _ _ _ [[uu uv' vv] side] i.
have [al [be Hi]] := Hc i u' v' uu uv' vv (side _ (map_f _ (mem_enum _ i))).
by exists al, be => t ht; rewrite mxE Hi.
Qed.

(** How many pieces a network can have along a segment: prod (k_i + 1) over its hidden widths. *)
Definition max_pieces m n (f : mlp R m n) : nat := \prod_(k <- widths f) k.+1.

Lemma cover_eval m n (f : mlp R m n) N (x : R -> 'cV[R]_m) a b : a <= b ->
  cover (affine_vec x) N a b -> cover (affine_vec (fun t => eval f (x t))) (N.+1 * max_pieces f).-1 a b.
Proof.
move=> ab; elim: f N x => [m' n' W c|m' k n' W c rest IH] N x Hx.
  rewrite /max_pieces big_nil muln1; apply: cover_sub ab Hx => u v _ _ _; exact: affine_vec_layer.
have pos : (0 < N.+1 * k.+1)%N by rewrite muln_gt0.
rewrite /max_pieces big_cons mulnA -(prednK pos); apply: (IH _ (fun t => reluv (W *m x t + c))).
apply: cover_refine ab _ Hx => u v uv Huv; apply: cover_relu => //; exact: affine_vec_layer.
Qed.

Lemma max_pieces_gt0 m n (f : mlp R m n) : (0 < max_pieces f)%N.
Proof. by rewrite /max_pieces; elim: (widths f) => [|k r IH]; rewrite ?big_nil // big_cons muln_gt0. Qed.

(** Along a segment a network has a long affine piece. *)
Lemma long_piece m (f : mlp R m 1) (x d : 'cV[R]_m) a b : a <= b -> exists u v,
  [/\ a <= u, u <= v, v <= b, affine_on (fun t => eval f (line x d t) 0 0) u v
    & b - a <= (max_pieces f)%:R * (v - u)].
Proof.
move=> ab; have start : cover (affine_vec (line x d)) 0 a b.
  by move=> i; exists (x i 0), (d i 0) => t _; rewrite !mxE mulrC.
have := cover_eval f ab start; rewrite mul1n => /(cover_long ab)[u [v [au uv vb H long]]].
by exists u, v; split=> //; rewrite ?prednK ?max_pieces_gt0 // in long.
Qed.

(** An affine function misses a parabola somewhere by an eighth of its second difference. *)
Lemma affine_misses f c0 c1 c2 eps u v : u <= v -> affine_on f u v ->
  (forall t, u <= t <= v -> `|f t - (c0 + c1 * t + c2 * t ^+ 2)| <= eps) -> `|c2| * (v - u) ^+ 2 <= 8%:R * eps.
Proof.
move=> uv [al [be H]] close.
have two0 : (2%:R : R) != 0 by rewrite pnatr_eq0.
have half : u <= (u + v) / 2%:R <= v by rewrite !(midf_le uv).
have at_ t : u <= t <= v -> `|al + be * t - (c0 + c1 * t + c2 * t ^+ 2)| <= eps by move=> ht; rewrite -H // close.
have eu := at_ u; rewrite lexx uv in eu; have ev := at_ v; rewrite lexx uv in ev; have em := at_ _ half.
have -> : `|c2| * (v - u) ^+ 2 = `|c2 * (v - u) ^+ 2| by rewrite normrM [`|_ ^+ 2|]ger0_norm ?sqr_ge0.
set p := al + be * u - _ in eu; set q := al + be * v - _ in ev; set r := al + _ - _ in em.
have -> : c2 * (v - u) ^+ 2 = 4%:R * r - 2%:R * p - 2%:R * q by rewrite /p /q /r; field.
have tri (x y z : R) : `|x - y - z| <= `|x| + `|y| + `|z|.
  by apply: le_trans (ler_norm_sub _ _) _; rewrite ler_add2r ler_norm_sub.
apply: le_trans (tri _ _ _) _; rewrite !normrM !normr_nat.
have -> : 8%:R * eps = 4%:R * eps + 2%:R * eps + 2%:R * eps by ring.
have up (k : nat) (y : R) : `|y| <= eps -> k%:R * `|y| <= k%:R * eps by move=> h; rewrite ler_wpmul2l ?ler0n.
by rewrite !ler_add // up // ?(eu isT) ?(ev isT).
Qed.

End Segment.

(** ** A.1 on a segment *)

Section A1.
Variable R : realFieldType.

(** The bilinear form along a segment is a parabola. *)
Lemma bilinear_line ds dz (M : 'M[R]_(ds, dz)) s d z e t :
  ((line s d t)^T *m M *m line z e t) 0 0 =
  (s^T *m M *m z) 0 0 + ((d^T *m M *m z) 0 0 + (s^T *m M *m e) 0 0) * t + (d^T *m M *m e) 0 0 * t ^+ 2.
Proof.
have -> : (line s d t)^T = s^T + t *: d^T by apply/matrixP=> u v; rewrite !mxE.
rewrite /line !mulmxDl !mulmxDr -!scalemxAl -!scalemxAr.
have add11 (P Q : 'M[R]_1) : (P + Q) 0 0 = P 0 0 + Q 0 0 by rewrite mxE.
have scale11 k (P : 'M[R]_1) : (k *: P) 0 0 = k * P 0 0 by rewrite mxE.
rewrite !(add11, scale11).
by move: ((s^T *m M *m z) 0 0) ((s^T *m M *m e) 0 0) ((d^T *m M *m z) 0 0) ((d^T *m M *m e) 0 0) => p q v w; ring.
Qed.

(** A.1 without an interior. On any set that contains a segment along which s^T M z is not affine, no concatenating network
    equals s^T M z. The segment goes from (s, z) to (s + d, z + e). *)
Theorem A1_segment ds dz (M : 'M[R]_(ds, dz)) (A : 'cV[R]_ds -> 'cV[R]_dz -> Prop) s d z e :
  (forall t, 0 <= t <= 1 -> A (line s d t) (line z e t)) -> (d^T *m M *m e) 0 0 != 0 ->
  ~ exists f : mlp R (ds + dz) 1, forall s z, A s z -> concat f s z = (s^T *m M *m z) 0 0.
Proof.
move=> seg bent [f Hf]; case/eqP: bent.
apply: (@concat_quadratic _ _ _ f s d z e _ _ _ 1 ltr01) => t ht.
by rewrite (Hf _ _ (seg t ht)); apply: bilinear_line.
Qed.

(** The values of SimNorm with two groups of q: positive, and each group sums to one. The method's codes have q = 4. *)
Definition simnorm q (z : 'cV[R]_(q + q)) : Prop :=
  [/\ forall i, 0 < z i 0, \sum_i usubmx z i 0 = 1 & \sum_i dsubmx z i 0 = 1].

(** A.1 for SimNorm codes, which have no interior. States fill a box, codes are all values of SimNorm: if s^T M z
    distinguishes two coordinates of one group at all, no concatenating network equals it. (If it distinguishes none, the
    form does not depend on z.) *)
Theorem A1_simnorm ds q (M : 'M[R]_(ds, q + q)) (s0 : 'cV[R]_ds) r (i j : 'I_q) (g : bool) :
  let at_ (k : 'I_q) := if g then lshift q k else rshift q k in
  0 < r -> col (at_ i) M != col (at_ j) M ->
  ~ exists f : mlp R (ds + (q + q)) 1,
      forall s z, box s0 r s -> simnorm z -> concat f s z = (s^T *m M *m z) 0 0.
Proof.
move=> at_ r0 ne; have [k kne] : exists k, M k (at_ i) != M k (at_ j).
  by move: ne; rewrite -subr_eq0 => /matrix0Pn[k [l]]; rewrite !mxE subr_eq0 => ?; exists k.
have ij : at_ i != at_ j by apply: contraNneq kne => ->.
have q0 : (0 < q)%N by apply: leq_ltn_trans (ltn_ord i).
pose w : R := q%:R^-1; have w0 : 0 < w by rewrite invr_gt0 ltr0n.
pose h := w / 2%:R; have h0 : 0 < h by rewrite divr_gt0 ?ltr0n.
pose e : 'cV[R]_(q + q) := h *: (delta_mx (at_ i) 0 - delta_mx (at_ j) 0).
pose z : 'cV[R]_(q + q) := const_mx w.
pose d : 'cV[R]_ds := (r / 2%:R) *: delta_mx k 0.
have eE l : e l 0 = h * ((l == at_ i)%:R - (l == at_ j)%:R) by rewrite !mxE !andbT.
have total (F : 'I_q -> 'I_(q + q)) : \sum_l (line z e 0) (F l) 0 = 1 -> forall t,
    \sum_l e (F l) 0 = 0 -> \sum_l (line z e t) (F l) 0 = 1.
  move=> one t zero; rewrite (eq_bigr (fun l => (line z e 0) (F l) 0 + t * e (F l) 0)) => [|l _].
    by rewrite big_split /= one -mulr_sumr zero mulr0 addr0.
  by rewrite ![line _ _ _ _ _]mxE ![(_ *: e) _ _]mxE mul0r addr0.
have base (F : 'I_q -> 'I_(q + q)) : \sum_l (line z e 0) (F l) 0 = 1.
  under eq_bigr do rewrite /line scale0r addr0 mxE.
  by rewrite sumr_const card_ord -mulr_natl divff // pnatr_eq0 -lt0n.
have delta (F : 'I_q -> 'I_(q + q)) : injective F -> forall l, \sum_m (F m == F l)%:R = 1 :> R.
  move=> injF l; rewrite (bigD1 l) //= eqxx big1 ?addr0 // => m ml.
  by rewrite (inj_eq injF) (negPf ml).
have none (F : 'I_q -> 'I_(q + q)) y : (forall m, F m != y) -> \sum_m (F m == y)%:R = 0 :> R.
  by move=> no; rewrite big1 // => m _; rewrite (negPf (no m)).
have flat (F : 'I_q -> 'I_(q + q)) : \sum_m (F m == at_ i)%:R = \sum_m (F m == at_ j)%:R :> R ->
    \sum_l e (F l) 0 = 0.
  by move=> same; under eq_bigr do rewrite eE; rewrite -mulr_sumr sumrB same subrr mulr0.
move=> [f Hf]; apply: (@A1_segment ds (q + q) M (fun s z => box s0 r s /\ simnorm z) s0 d z e).
- move=> t /andP[t0 t1].
  split.
    have -> : line s0 d t = line s0 (delta_mx k 0) (t * (r / 2%:R)) by rewrite /line scalerA.
    have r2 : 0 <= r / 2%:R by rewrite divr_ge0 ?ler0n // ltW.
    by apply: box_line => //; rewrite mulr_ge0 //= ler_pimull.
  split=> [l||].
  + have -> : (line z e t) l 0 = w + t * (e l 0) by rewrite !mxE.
    rewrite eE.
    have hw : t * h < w.
      apply: le_lt_trans (_ : h < w); first by rewrite ler_pimull // ltW.
      by rewrite /h ltr_pdivr_mulr ?ltr0n // ltr_pmulr // ltr1n.
    have th0 : 0 <= t * h by rewrite mulr_ge0 // ltW.
    case: (l == at_ i); case: (l == at_ j); rewrite /= ?subrr ?subr0 ?sub0r ?mulrN ?mulr1 ?mulr0 ?addr0 ?oppr0 ?addr0 //.
      by rewrite ltr_paddr.
    by rewrite subr_gt0.
  + under eq_bigr do rewrite mxE; apply: total; first exact: base.
    apply: flat; rewrite /at_; case: (g); first by rewrite !(delta _ (@lshift_inj _ _)).
    by rewrite !none // => m; rewrite eq_lrshift.
  + under eq_bigr do rewrite mxE; apply: total; first exact: base.
    apply: flat; rewrite /at_; case: (g); last by rewrite !(delta _ (@rshift_inj _ _)).
    by rewrite !none // => m; rewrite eq_rlshift.
- rewrite -mulmxA; have -> : M *m e = h *: (col (at_ i) M - col (at_ j) M).
    by rewrite /e -scalemxAr mulmxBr -!colE.
  have -> : d^T = (r / 2%:R) *: delta_mx 0 k by rewrite /d linearZ /= trmx_delta.
  rewrite -scalemxAl -scalemxAr -rowE !mxE.
  apply: mulf_neq0; first by rewrite mulf_neq0 ?invr_eq0 ?pnatr_eq0 // gt_eqF.
  by apply: mulf_neq0; rewrite ?subr_eq0 // gt_eqF.
- by exists f => s y [bs sy]; apply: Hf.
Qed.

(** ** How close a concatenating network comes *)

(** Along a segment: a network within eps of s^T M z has |d^T M e| <= 8 eps prod (k_i + 1)^2, k_i its hidden widths. Here
    d^T M e is the curvature of the form along the segment, so this covers SimNorm codes too. *)
Theorem A1_approximation_segment ds dz (M : 'M[R]_(ds, dz)) (f : mlp R (ds + dz) 1) s d z e eps :
  (forall t, 0 <= t <= 1 ->
    `|concat f (line s d t) (line z e t) - ((line s d t)^T *m M *m line z e t) 0 0| <= eps) ->
  `|(d^T *m M *m e) 0 0| <= 8%:R * eps * (\prod_(k <- widths f) k.+1%:R) ^+ 2.
Proof.
move=> close; have [u [v [u0 uv v1 Haff long]]] := long_piece f (col_mx s z) (col_mx d e) (@ler01 R).
have within t : u <= t <= v -> 0 <= t <= 1 by move=> /andP[t1 t2]; rewrite (le_trans u0 t1) (le_trans t2 v1).
have miss : `|(d^T *m M *m e) 0 0| * (v - u) ^+ 2 <= 8%:R * eps.
  apply: (affine_misses (c0 := (s^T *m M *m z) 0 0) (c1 := (d^T *m M *m z) 0 0 + (s^T *m M *m e) 0 0) uv Haff) => t ht.
  have := close t (within t ht); rewrite bilinear_line /concat.
  by rewrite /line scale_col_mx add_col_mx.
have -> : \prod_(k <- widths f) k.+1%:R = (max_pieces f)%:R :> R by rewrite /max_pieces natr_prod.
rewrite subr0 in long; set N := (max_pieces f)%:R in long *.
have N0 : 0 <= N ^+ 2 by apply: sqr_ge0.
apply: le_trans (ler_wpmul2r N0 miss); rewrite -mulrA -exprMn [_ * N]mulrC.
by rewrite ler_pemulr // exprn_ege1.
Qed.

(** A.1, approximation. A concatenating network that is within eps of s z for all |s|, |z| <= r has
    r^2 <= 2 eps prod (k_i + 1)^2. One hidden layer needs k >= r / sqrt(2 eps) - 1; the modulated network of
    [A1_adapter_can] is exact. *)
Theorem A1_approximation (f : mlp R (1 + 1) 1) r eps : 0 <= r ->
  (forall s z, `|s| <= r -> `|z| <= r -> `|concat f (vec1 s) (vec1 z) - s * z| <= eps) ->
  r ^+ 2 <= 2%:R * eps * (\prod_(k <- widths f) k.+1%:R) ^+ 2.
Proof.
move=> r0 close; pose R2 : R := 2%:R * r.
have := @A1_approximation_segment 1 1 1%:M f (vec1 (- r)) (vec1 R2) (vec1 (- r)) (vec1 R2) eps.
rewrite mulmx1 mxE big_ord1 mxE !vec1E.
have val t : line (vec1 (- r)) (vec1 R2) t = vec1 (R2 * t - r).
  by apply/colP=> i; rewrite !ord1 !mxE eqxx !mulr1n; ring.
have -> : `|R2 * R2| = 4%:R * r ^+ 2 by rewrite /R2 ger0_norm ?mulr_ge0 ?ler0n //; ring.
have -> : 8%:R * eps * (\prod_(k <- widths f) k.+1%:R) ^+ 2 =
  4%:R * (2%:R * eps * (\prod_(k <- widths f) k.+1%:R) ^+ 2) by ring.
rewrite ler_pmul2l ?ltr0n //; apply => t /andP[t0 t1].
have small : `|R2 * t - r| <= r.
  rewrite ler_norml ler_subr_addr addNr ler_subl_addr mulr_ge0 ?mulr_ge0 ?ler0n //=.
  have -> : r + r = R2 * 1 by rewrite /R2; ring.
  by rewrite ler_wpmul2l // mulr_ge0 ?ler0n.
have := close _ _ small small; rewrite val mulmx1 mxE big_ord1 mxE !vec1E.
by [].
Qed.

End A1.
