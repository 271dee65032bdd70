(** * What concatenation cannot compute and adapters can (A.1, A.2, A.3) *)

From mathcomp Require Import all_ssreflect all_fingroup all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks PiecewiseAffine.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** ** A.1 Actuator inversion *)

Section A1.
Variable R : realFieldType.

(** Along a line no concatenating network follows a parabola, on however short a stretch. *)
Lemma concat_quadratic ds dz (f : mlp R (ds + dz) 1) s d z e c0 c1 c2 b : 0 < b ->
  (forall t, 0 <= t <= b -> concat f (line s d t) (line z e t) = c0 + c1 * t + c2 * t ^+ 2) -> c2 = 0.
Proof. by move=> b0; apply: pieces_quadratic b0 (pieces_concat _ _ _ _ _ (ltW b0)). Qed.

Lemma box_line n (x : 'cV[R]_n) i r t : 0 <= t <= r / 2%:R -> 0 < r -> box x r (line x (delta_mx i 0) t).
Proof.
move=> /andP[t0 tr] r0 k; rewrite !mxE addrC addKr.
have tr' : t < r.
  apply: le_lt_trans tr _; rewrite ltr_pdivr_mulr ?ltr0n // -subr_gt0.
  by have -> : r * 2%:R - r = r by ring.
by case: (_ && _); rewrite ?mulr1 ?mulr0 ?normr0 // ger0_norm.
Qed.

(** A.1, lower bound, in any dimensions. On a set with non-empty interior no concatenating network, of any depth and
    width, equals a bilinear form s^T M z, unless M = 0. That the set has an interior is the paper's assumption that
    states and contexts range over intervals; [BinaryContexts.v] shows that it is needed. *)
Theorem A1_concat_cannot_bilinear ds dz (M : 'M[R]_(ds, dz)) (A : 'cV[R]_ds -> 'cV[R]_dz -> Prop) :
  M != 0 -> has_interior2 A ->
  ~ exists f : mlp R (ds + dz) 1, forall s z, A s z -> concat f s z = (s^T *m M *m z) 0 0.
Proof.
move=> Mne [s [z [r [r0 Abox]]]] [f Hf].
have [i [j Mij]] : exists i j, M i j != 0.
  by move: Mne => /matrix0Pn[i [j ?]]; exists i, j.
case/eqP: Mij; pose d : 'cV[R]_ds := delta_mx i 0; pose e : 'cV[R]_dz := delta_mx j 0.
apply: (@concat_quadratic _ _ f s d z e ((s^T *m M *m z) 0 0) ((d^T *m M *m z) 0 0 + (s^T *m M *m e) 0 0) _ (r / 2%:R)).
  by rewrite divr_gt0 ?ltr0n.
move=> t ht; rewrite Hf; last by apply: Abox; apply: box_line.
have dMe : (d^T *m M *m e) 0 0 = M i j by rewrite trmx_delta -rowE -colE !mxE.
have -> : (line s d t)^T = s^T + t *: d^T by apply/matrixP=> u v; rewrite !mxE.
rewrite -dMe /line !mulmxDl !mulmxDr -!scalemxAl -!scalemxAr.
have add11 (P Q : 'M[R]_1) : (P + Q) 0 0 = P 0 0 + Q 0 0 by rewrite mxE.
have scale11 k (P : 'M[R]_1) : (k *: P) 0 0 = k * P 0 0 by rewrite mxE.
rewrite !(add11, scale11).
move: ((s^T *m M *m z) 0 0) ((s^T *m M *m e) 0 0) ((d^T *m M *m z) 0 0) ((d^T *m M *m e) 0 0) => p q v w.
by ring.
Qed.

(** A.1, lower bound, as in the paper: no concatenating network equals s * z on a set with non-empty interior. *)
Theorem A1_concat_cannot (A : R -> R -> Prop) :
  (exists s0 z0 r, 0 < r /\ forall s z, `|s - s0| < r -> `|z - z0| < r -> A s z) ->
  ~ exists f : mlp R (1 + 1) 1, forall s z, A s z -> concat f (vec1 s) (vec1 z) = s * z.
Proof.
move=> [s0 [z0 [r [r0 Abox]]]] [f Hf].
pose B (s z : 'cV[R]_1) := A (s 0 0) (z 0 0).
apply: (@A1_concat_cannot_bilinear 1 1 1%:M B); first by rewrite oner_neq0.
  exists (vec1 s0), (vec1 z0), r; split=> // u v hu hv.
  by apply: Abox; [move: (hu 0)|move: (hv 0)]; rewrite vec1E.
exists f => s z Asz; rewrite mulmx1 !mxE big_ord1 !mxE -Hf //.
by rewrite /vec1 -!mx11_scalar.
Qed.

(** The output of the network with a diagonal adapter. *)
Lemma modulated_diagonal ds dz n (N : hypernet R ds dz n n) s z :
  modulated (@diagonal R n) N s z =
  \sum_i head N 0 i * (1 + eval (hyper N) z i 0) * eval (trunk N) s i 0 + bias N.
Proof.
rewrite /modulated /diagonal mxE; congr (_ + _); apply: eq_bigr => i _.
by rewrite mxE mul_diag_mx !mxE -mulrA mulrDl mul1r.
Qed.

(** The paper's network: features (ReLU s, ReLU -s), weights omega = (z - 1, -(z + 1)), head (1, 1). *)
Definition inversion_net : hypernet R 1 1 2 2 :=
  HyperNet (two_sided R) (Affine (col2 1 (-1)) (col2 (-1) (-1))) (row2 1 1) 0.

(** A.1, construction. The hyper-modulated network equals s * z everywhere, and its hypernetwork is one affine layer. *)
Theorem A1_adapter_can s z : modulated (@diagonal R 2) inversion_net (vec1 s) (vec1 z) = s * z.
Proof.
rewrite modulated_diagonal -[trunk inversion_net]/(two_sided R) two_sidedE sum2 /= addr0 !mxE !big_ord1 !mxE /=.
by rewrite -[s in RHS]relu_split; ring.
Qed.

End A1.

(** ** A.2 Operators *)

Section A2.
Variables (R : realFieldType) (ds dz n : nat).

(** A.2. Where the adapter's matrix W(h(z)) is T(z) - I, the network computes w^T T(z) x(s) + b. The domain D is any
    set of contexts. *)
Theorem A2_operator (N : hypernet R ds dz n (n * n)) (T : 'cV[R]_dz -> 'M[R]_n) (D : 'cV[R]_dz -> Prop) :
  (forall z, D z -> full_matrix (eval (hyper N) z) = T z - 1%:M) ->
  forall s z, D z -> modulated (@full R n) N s z = (head N *m T z *m eval (trunk N) s) 0 0 + bias N.
Proof.
move=> HT s z Dz; rewrite /modulated /full HT // mulmxBl mul1mx [_ + (_ - _)]addrC subrK.
by rewrite mulmxA.
Qed.

(** A family of matrices as one affine layer that writes their entries. *)
Definition affine_family (T0 : 'M[R]_n) (T : 'I_dz -> 'M[R]_n) (z : 'cV[R]_dz) : 'M[R]_n :=
  T0 + \sum_j z j 0 *: T j.

Definition affine_hyper (T0 : 'M[R]_n) (T : 'I_dz -> 'M[R]_n) : mlp R dz (n * n) :=
  Affine (\matrix_(i, j) mxvec (T j) 0 i) (mxvec T0)^T.

Lemma affine_hyperE T0 T z : full_matrix (eval (affine_hyper T0 T) z) = affine_family T0 T z.
Proof.
rewrite /full_matrix /affine_family; apply: (can_inj mxvecK); rewrite vec_mxK.
apply/rowP=> i; rewrite mxE [LHS]mxE [in RHS]linearD [in RHS]linear_sum /= [in RHS]mxE summxE mxE addrC mxE.
by congr (_ + _); apply: eq_bigr => j _; rewrite linearZ /= !mxE mulrC.
Qed.

(** A.2 and A.3, realisation. For every trunk, head and affine family T(z) = T_0 + sum_j z_j T_j, a hypernetwork of one
    affine layer gives w^T T(z) x(s) + b for all s and all z. *)
Theorem A3_adapter_can (x : mlp R ds n) (w : 'rV[R]_n) b (T0 : 'M[R]_n) (T : 'I_dz -> 'M[R]_n) s z :
  modulated (@full R n) (HyperNet x (affine_hyper (T0 - 1%:M) T) w b) s z =
  (w *m affine_family T0 T z *m eval x s) 0 0 + b.
Proof.
apply: (@A2_operator _ _ (fun=> True)) => // z' _ /=.
by rewrite affine_hyperE /affine_family addrAC.
Qed.

(** A.2, finite families. Under one-hot contexts one affine layer realises any family of operators whatever. *)
Theorem A2_finite_family (x : mlp R ds n) (w : 'rV[R]_n) b (T : 'I_dz -> 'M[R]_n) s c :
  modulated (@full R n) (HyperNet x (affine_hyper (- 1%:M) T) w b) s (delta_mx c 0) = (w *m T c *m eval x s) 0 0 + b.
Proof.
apply: (@A2_operator (HyperNet x (affine_hyper (- 1%:M) T) w b) (fun=> T c) (eq (delta_mx c 0))) => // _ <- /=.
rewrite affine_hyperE /affine_family addrC (bigD1 c) //= big1 => [|j jc].
  by rewrite mxE !eqxx scale1r addr0.
by rewrite mxE (negPf jc) scale0r.
Qed.

(** A.2, permutations. In particular a one-hot context selects any permutation of the features. *)
Theorem A2_permutations (x : mlp R ds n) (w : 'rV[R]_n) b (sigma : 'I_dz -> {perm 'I_n}) s c :
  modulated (@full R n) (HyperNet x (affine_hyper (- 1%:M) (fun c => perm_mx (sigma c))) w b) s (delta_mx c 0) =
  \sum_i w 0 i * eval x s (sigma c i) 0 + b.
Proof.
rewrite A2_finite_family -mulmxA mxE; congr (_ + _); apply: eq_bigr => i _; congr (_ * _).
by rewrite -row_permE mxE.
Qed.

End A2.

(** A.2, scalings. T(c) = c I is realised for every number c by one affine layer. *)
Theorem A2_scalings (R : realFieldType) ds n (x : mlp R ds n) (w : 'rV[R]_n) b s (c : R) :
  modulated (@full R n) (HyperNet x (affine_hyper (- 1%:M) (fun _ : 'I_1 => 1%:M)) w b) s (vec1 c) =
  c * (w *m eval x s) 0 0 + b.
Proof.
rewrite -[- 1%:M]add0r A3_adapter_can /affine_family add0r big_ord1 vec1E.
by rewrite -scalemxAr mulmx1 -scalemxAl mxE.
Qed.

(** ** A.3 Affine families *)

Section A3.
Variables (R : realFieldType) (ds dz n : nat).

(** An MLP on s with z carried beside it: w^T g(s) + c . z + b is a concatenating network. First for z >= 0, which
    passes ReLU unchanged; then z = z+ - z-. *)
Lemma carry_pos m k q (g : mlp R m k) (w : 'rV[R]_k) (c : 'rV[R]_q) b : exists f : mlp R (m + q) 1,
  forall s (y : 'cV[R]_q), (forall i, 0 <= y i 0) -> eval f (col_mx s y) = w *m eval g s + c *m y + b.
Proof.
elim: g w => [m' k' W v|m' l k' W v rest IH] w.
  exists (Affine (row_mx (w *m W) c) (w *m v + b)) => s y _ /=.
  by rewrite mul_row_col mulmxDr mulmxA addrA; congr (_ + _); rewrite addrAC.
have [f Hf] := IH w.
exists (Hidden (block_mx W 0 0 1%:M) (col_mx v 0) f) => s y y0 /=.
by rewrite mul_block_col !mul0mx mul1mx addr0 add0r add_col_mx addr0 reluv_col (reluv_pos y0) Hf.
Qed.

Lemma carry (g : mlp R ds n) (w : 'rV[R]_n) (c : 'rV[R]_dz) (b : R) : exists f : mlp R (ds + dz) 1,
  forall s z, concat f s z = (w *m eval g s) 0 0 + (c *m z) 0 0 + b.
Proof.
have add11 (P Q : 'M[R]_1) : (P + Q) 0 0 = P 0 0 + Q 0 0 by rewrite mxE.
rewrite /concat; case: g w => [m k W v|m l k W v rest] w.
  exists (Affine (row_mx (w *m W) c) (w *m v + b%:M)) => s z /=.
  rewrite mul_row_col mulmxDr mulmxA !add11 [b%:M _ _]mxE mulr1n.
  by rewrite !addrA; congr (_ + _); rewrite addrAC.
have [f Hf] := carry_pos rest w (row_mx c (- c)) b%:M.
exists (Hidden (block_mx W 0 0 (col_mx 1%:M (- 1%:M))) (col_mx v 0) f) => s z /=.
rewrite mul_block_col !mul0mx addr0 add0r add_col_mx addr0 reluv_col Hf; last by move=> i; apply: reluv_ge0.
rewrite !add11 [b%:M _ _]mxE mulr1n; congr (_ + _ 0 0 + _).
rewrite mul_col_mx reluv_col mul_row_col !mulNmx !mul1mx -mulmxBr; congr (_ *m _).
by apply/colP=> i; rewrite !mxE relu_split.
Qed.

Variables (x : mlp R ds n) (w : 'rV[R]_n) (b : R) (T0 : 'M[R]_n) (T : 'I_dz -> 'M[R]_n).

(** What the hyper-modulated network of A.3 computes, and the part of it that multiplies z_j. *)
Definition target s z : R := (w *m affine_family T0 T z *m eval x s) 0 0 + b.
Definition slope j s : R := (w *m T j *m eval x s) 0 0.

Lemma targetE s z : target s z = (w *m T0 *m eval x s) 0 0 + \sum_j z j 0 * slope j s + b.
Proof.
rewrite /target /affine_family mulmxDr mulmxDl mxE mulmx_sumr mulmx_suml summxE; congr (_ + _ + _).
by apply: eq_bigr => j _; rewrite -scalemxAr -scalemxAl mxE.
Qed.

Lemma pieces_readout (u : 'rV[R]_n) s d a b' : a <= b' -> pieces (fun t => (u *m eval x (line s d t)) 0 0) a b'.
Proof.
move=> ab; apply: (@pieces_ext _ (fun t => (u *m eval x (line s d t) + 0) 0 0)); first by move=> t _; rewrite addr0.
by apply: (pieces_layer u 0 ab) => i; apply: pieces_line.
Qed.

(** A.3. Let S be convex and not empty (a box, say: [box_convex]) and let the contexts have non-empty interior. Some
    concatenating network equals w^T T(z) x(s) + b on S x Z if and only if for every j the function s -> w^T T_j x(s) is
    constant on S. (The direction "only if" is the paper's separation: one T_j whose readout varies is enough. The
    direction "if" says that there is nothing else to separate.) *)
Theorem A3_concat_can_iff (S : 'cV[R]_ds -> Prop) (Z : 'cV[R]_dz -> Prop) :
  (exists s, S s) -> convex S -> has_interior Z ->
  (exists f : mlp R (ds + dz) 1, forall s z, S s -> Z z -> concat f s z = target s z) <->
  (forall j s s', S s -> S s' -> slope j s = slope j s').
Proof.
move=> [s0 Ss0] Sconv [z0 [r [r0 Zbox]]]; split; last first.
  move=> const; have [f Hf] := carry x (w *m T0) (\row_j slope j s0) b.
  exists f => s z Ss _; rewrite Hf targetE; congr (_ + _ + _).
  by rewrite mxE; apply: eq_bigr => j _; rewrite mxE mulrC (const j s0 s).
move=> [f Hf] j s s' Ss Ss'; apply/eqP/negPn/negP => neq.
pose d := s' - s.
have [|a [b1 [al [be [a0 ab b1' be0 Hslope]]]]] := pieces_slope ler01 (pieces_readout (w *m T j) s d ler01).
  by rewrite /line scale0r addr0 scale1r addrC subrK.
have [a2 [b2 [a02 ab2 b2' [ga [de Hrest]]]]] := pieces_zoom ab (pieces_readout (w *m affine_family T0 T z0) s d (ltW ab)).
pose e : 'cV[R]_dz := (r / 2%:R) *: delta_mx j 0.
have in01 t : a2 <= t <= b2 -> 0 <= t <= 1.
  by move=> /andP[h1 h2]; rewrite (le_trans (le_trans a0 a02) h1) (le_trans (le_trans h2 b2') b1').
have split_target t : target (line s d t) (line z0 e t) =
    (w *m affine_family T0 T z0 *m eval x (line s d t)) 0 0 + t * (r / 2%:R) * slope j (line s d t) + b.
  rewrite targetE; congr (_ + _).
  have := targetE (line s d t) z0; rewrite /target => /addIr ->; rewrite -addrA; congr (_ + _).
  rewrite [LHS](bigD1 j) //= [X in _ = X + _](bigD1 j) //= -addrA [X in _ = _ + X]addrC addrA; congr (_ + _).
    by rewrite !mxE !eqxx mulr1 mulrDl.
  by apply: eq_bigr => k kj; rewrite !mxE (negPf kj) /= !mulr0 addr0.
have quad t : a2 <= t <= b2 -> concat f (line s d t) (line z0 e t) =
    (ga + b) + (de + r / 2%:R * al) * t + (r / 2%:R * be) * t ^+ 2.
  move=> ht; have /andP[t0 t1] := in01 t ht.
  have St : S (line s d t) by apply: Sconv => //; apply: in01.
  have Zt : Z (line z0 e t).
    apply: Zbox; have -> : line z0 e t = line z0 (delta_mx j 0) (t * (r / 2%:R)) by rewrite /line scalerA.
    by apply: box_line => //; rewrite mulr_ge0 ?ler_pimull // divr_ge0 ?ler0n // ltW.
  rewrite Hf // split_target Hrest // /slope Hslope; first by ring.
  by case/andP: ht => h1 h2; rewrite (le_trans a02 h1) (le_trans h2 b2').
have := pieces_quadratic ab2 (pieces_concat f s d z0 e (ltW ab2)) quad.
by apply/eqP; rewrite mulf_neq0 // mulf_neq0 ?invr_neq0 ?pnatr_eq0 // gt_eqF.
Qed.

End A3.
