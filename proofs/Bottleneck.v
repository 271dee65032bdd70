(** * Adapters with a bottleneck (A.5), and how wide it has to be *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks Expressivity.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** ** A.5 The positive part survives the bottleneck *)

Section A5.
Variables (R : realFieldType) (ds dz n k : nat).

(** Weights of a bottleneck of width n + k, as one affine layer in z. W_down = [I; 0] is constant and non-negative, so
    that its ReLU passes features x >= 0 through; W_up = [T(z) - I, 0]. *)
Definition wide_down : 'M[R]_(n + k, n) := col_mx 1%:M 0.
Definition wide_up (M : 'M[R]_n) : 'M[R]_(n, n + k) := row_mx M 0.

Definition bottleneck_hyper (T0 : 'M[R]_n) (T : 'I_dz -> 'M[R]_n) : mlp R dz ((n + k) * n + n * (n + k)) :=
  Affine (col_mx 0 (\matrix_(i, j) mxvec (wide_up (T j)) 0 i))
         (col_mx (mxvec wide_down)^T (mxvec (wide_up T0))^T).

Lemma bottleneck_hyper_down T0 T z : down (eval (bottleneck_hyper T0 T) z) = wide_down.
Proof. by rewrite /down /= mul_col_mx add_col_mx mul0mx add0r col_mxKu trmxK mxvecK. Qed.

Lemma bottleneck_hyper_up T0 T z : up (eval (bottleneck_hyper T0 T) z) = wide_up (affine_family T0 T z).
Proof.
rewrite /up /= mul_col_mx add_col_mx col_mxKd; apply: (can_inj mxvecK); rewrite vec_mxK.
have -> : wide_up (affine_family T0 T z) = wide_up T0 + \sum_j z j 0 *: wide_up (T j).
  rewrite /wide_up /affine_family (eq_bigr (fun j => row_mx (z j 0 *: T j) 0)) => [|j _]; last first.
    by rewrite scale_row_mx scaler0.
  have -> : \sum_j row_mx (z j 0 *: T j) (0 : 'M[R]_(n, k)) = row_mx (\sum_j z j 0 *: T j) 0.
    by elim/big_rec2: _ => [|j A B _ ->]; rewrite ?row_mx0 // add_row_mx addr0.
  by rewrite add_row_mx addr0.
apply/rowP=> i; rewrite mxE [LHS]mxE [in RHS]linearD [in RHS]linear_sum /= [in RHS]mxE summxE mxE addrC mxE.
by congr (_ + _); apply: eq_bigr => j _; rewrite linearZ /= !mxE mulrC.
Qed.

(** A.5, general form. If the trunk's n features are non-negative (those of a layer that ends in ReLU are), a bottleneck
    of any width n + k still realises every affine family T(z) on them, with a hypernetwork of one affine layer. *)
Theorem A5_bottleneck_can (x : mlp R ds n) (w : 'rV[R]_n) b (T0 : 'M[R]_n) (T : 'I_dz -> 'M[R]_n) s z :
  (forall i, 0 <= eval x s i 0) ->
  modulated (@bottleneck R n (n + k)) (HyperNet x (bottleneck_hyper (T0 - 1%:M) T) w b) s z =
  (w *m affine_family T0 T z *m eval x s) 0 0 + b.
Proof.
move=> x0; rewrite /modulated /bottleneck bottleneck_hyper_down bottleneck_hyper_up /=.
have -> : reluv (wide_down *m eval x s) = col_mx (eval x s) 0.
  by rewrite /wide_down mul_col_mx mul1mx mul0mx reluv_col (reluv_pos x0) reluv_pos // => i; rewrite mxE.
rewrite mul_row_col mul0mx addr0.
have -> : affine_family (T0 - 1%:M) T z = affine_family T0 T z - 1%:M by rewrite /affine_family addrAC.
by rewrite mulmxBl mul1mx [_ + (_ - _)]addrC subrK mulmxA.
Qed.

End A5.

Section Widths.
Variable R : realFieldType.

(** A.5 for actuator inversion: for every width k >= 2 a network with a bottleneck adapter equals s * z everywhere. *)
Definition inversion_bottleneck k : hypernet R 1 1 2 ((2 + k) * 2 + 2 * (2 + k)) :=
  HyperNet (two_sided R) (bottleneck_hyper k (0 - 1%:M) (fun _ : 'I_1 => diag_mx (row2 1 (-1)))) (row2 1 1) 0.

Theorem A5_bottleneck_product k s z :
  modulated (@bottleneck R 2 (2 + k)) (inversion_bottleneck k) (vec1 s) (vec1 z) = s * z.
Proof.
rewrite A5_bottleneck_can => [|i]; rewrite two_sidedE; last by rewrite mxE; case: ifP; rewrite relu_ge0.
rewrite addr0 /affine_family add0r big_ord1 vec1E -scalemxAr -scalemxAl mxE -mulmxA mxE sum2.
rewrite !mul_diag_mx !mxE /= !mul1r.
by rewrite -[s in RHS]relu_split; ring.
Qed.

(** *** Width one

    With one hidden unit the network computes w^T x(s) + u(z) ReLU(d(z) . x(s)) + b, where u(z) = w^T W_up(z). *)

(** Width two is needed on all of R^2 (not in the paper). With k = 1 nothing gives s * z with a head that does not
    depend on z: x is any function of s, W_down and W_up are any functions of z, network or not. *)
Theorem A5_width_one_cannot n (x : R -> 'cV[R]_n) (W_down : R -> 'M[R]_(1, n)) (W_up : R -> 'M[R]_(n, 1))
    (w : 'rV[R]_n) b :
  ~ forall s z, (w *m (x s + W_up z *m reluv (W_down z *m x s))) 0 0 + b = s * z.
Proof.
move=> H; pose p s := (w *m x s) 0 0 + b.
have side z : (forall s, p s <= s * z) \/ (forall s, s * z <= p s).
  have diff s : s * z - p s = (w *m W_up z) 0 0 * relu ((W_down z *m x s) 0 0).
    rewrite -H /p mulmxDr mulmxA [in LHS]mxE [(_ *m reluv _) 0 0]mxE big_ord1 [reluv _ _ _]mxE.
    by rewrite opprD addrACA subrr addr0 addrC addrA addNr add0r.
  have [u0|/ltW u0] := leP 0 ((w *m W_up z) 0 0); [left|right] => s.
    by rewrite -subr_ge0 diff mulr_ge0 // relu_ge0.
  by rewrite -subr_le0 diff mulr_le0_ge0 // relu_ge0.
pose m := `|p 1| + 1.
have m0 : 0 < m by rewrite ltr_paddl.
have mp : p 1 < m by rewrite (le_lt_trans (ler_norm _)) // ltr_addl.
have mn : - m < p 1 by rewrite ltr_oppl (le_lt_trans (ler_norm _)) // normrN ltr_addl.
have opp : ~ (m <= - m) by apply/negP; rewrite -ltNge (lt_trans _ m0) // oppr_lt0.
case: (side m) => [lo|hi]; case: (side (- m)) => [lo'|hi'].
- by move: (lo' 1); rewrite mul1r leNgt mn.
- by apply: opp; move: (le_trans (hi' (-1)) (lo (-1))); rewrite mulrNN !mulN1r mul1r.
- by apply: opp; move: (le_trans (hi 1) (lo' 1)); rewrite !mul1r.
- by move: (hi 1); rewrite mul1r leNgt mp.
Qed.

(** Width one on bounded contexts (not in the paper). For |z| <= B, for any bound B, one hidden unit is enough:
    s z = B |s| - ReLU((B - z) ReLU s + (B + z) ReLU(-s)). The hypernetwork is one affine layer. *)
Definition narrow_net (B : R) : hypernet R 1 1 2 (1 * 2 + 2 * 1) :=
  HyperNet (two_sided R)
    (Affine (col_mx (mxvec (row2 (-1) 1))^T 0) (col_mx (mxvec (row2 B B))^T (mxvec (col2 (- B^-1) 0))^T)) (row2 B B) 0.

Theorem A5_width_one_can B s z : 0 < B -> `|z| <= B ->
  modulated (@bottleneck R 2 1) (narrow_net B) (vec1 s) (vec1 z) = s * z.
Proof.
move=> B0; rewrite ler_norml -subr_ge0 opprK => /andP[z1]; rewrite -subr_ge0 => z2.
have Bne : B != 0 by rewrite gt_eqF.
rewrite /modulated -[trunk _]/(two_sided R) two_sidedE /bottleneck.
have -> : down (eval (hyper (narrow_net B)) (vec1 z)) = row2 (B - z) (B + z).
  rewrite /down /= mul_col_mx add_col_mx col_mxKu /vec1 mul_mx_scalar linearD linearZ /= !trmxK linearD linearZ /= !mxvecK.
  by apply/rowP=> i; rewrite !mxE; case: ifP => _; ring.
have -> : up (eval (hyper (narrow_net B)) (vec1 z)) = col2 (- B^-1) 0.
  by rewrite /up /= mul_col_mx add_col_mx col_mxKd mul0mx add0r trmxK mxvecK.
have pos : 0 <= (row2 (B - z) (B + z) *m col2 (relu s) (relu (- s))) 0 0.
  by rewrite mxE sum2 !mxE /= addr_ge0 // mulr_ge0 ?relu_ge0 // addrC.
rewrite reluv_pos => [|i]; last by rewrite ord1.
rewrite addr0 mxE sum2 !mxE !big_ord1 !mxE !sum2 !mxE /=.
by rewrite -[s in RHS]relu_split; field.
Qed.

End Widths.
