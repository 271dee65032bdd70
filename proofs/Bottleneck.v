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

(** ** A.5 at the method's sizes

    The method has n = 256 features, of any sign, and a bottleneck of width k = 32, which is less than n. What reaches the
    action is W x for d actions, and there 2 d is enough. *)

Section Actions.
Variables (R : realFieldType) (dz n d k : nat).

(** M_0 + sum_j z_j M_j, for matrices of any shape. *)
Definition affine_sum p q (M0 : 'M[R]_(p, q)) (M : 'I_dz -> 'M[R]_(p, q)) (z : 'cV[R]_dz) : 'M[R]_(p, q) :=
  M0 + \sum_j z j 0 *: M j.

Lemma affine_sum_mxvec p q (M0 : 'M[R]_(p, q)) M z :
  vec_mx ((\matrix_(i, j) mxvec (M j) 0 i) *m z + (mxvec M0)^T)^T = affine_sum M0 M z.
Proof.
apply: (can_inj mxvecK); rewrite vec_mxK; apply/rowP=> i.
rewrite mxE [LHS]mxE [in RHS]linearD [in RHS]linear_sum /= [in RHS]mxE summxE mxE addrC mxE.
by congr (_ + _); apply: eq_bigr => j _; rewrite linearZ /= !mxE mulrC.
Qed.

Lemma affine_sum_mul p q p' q' (A : 'M[R]_(p', p)) (B : 'M[R]_(q, q')) M0 M z :
  affine_sum (A *m M0 *m B) (fun j => A *m M j *m B) z = A *m affine_sum M0 M z *m B.
Proof.
rewrite /affine_sum mulmxDr mulmxDl mulmx_sumr mulmx_suml; congr (_ + _); apply: eq_bigr => j _.
by rewrite -scalemxAr -scalemxAl.
Qed.

(** A constant W_down and an affine W_up, by one affine layer. *)
Definition steady_hyper (D : 'M[R]_(k, n)) (U0 : 'M[R]_(n, k)) (U : 'I_dz -> 'M[R]_(n, k)) : mlp R dz (k * n + n * k) :=
  Affine (col_mx 0 (\matrix_(i, j) mxvec (U j) 0 i)) (col_mx (mxvec D)^T (mxvec U0)^T).

Lemma steady_down D U0 U z : down (eval (steady_hyper D U0 U) z) = D.
Proof. by rewrite /down /= mul_col_mx add_col_mx mul0mx add0r col_mxKu trmxK mxvecK. Qed.

Lemma steady_up D U0 U z : up (eval (steady_hyper D U0 U) z) = affine_sum U0 U z.
Proof. by rewrite /up /= mul_col_mx add_col_mx col_mxKd; apply: affine_sum_mxvec. Qed.

End Actions.

(** A.5 for actions. Let W be the head of d actions and W Q = I (such a Q exists where the rows of W are independent).
    Any affine family T(z) of operators on the actions is realised by a bottleneck of any width 2 d + k, on every trunk,
    whatever the sign of its features. *)
Theorem A5_actions (R : realFieldType) ds dz n d k (x : mlp R ds n) (W : 'M[R]_(d, n)) (Q : 'M[R]_(n, d)) (b : 'cV[R]_d)
    (T0 : 'M[R]_d) (T : 'I_dz -> 'M[R]_d) : W *m Q = 1%:M ->
  exists h : mlp R dz ((d + d + k) * n + n * (d + d + k)), forall s z,
    W *m (eval x s + bottleneck (eval x s) (eval h z)) + b = affine_family T0 T z *m (W *m eval x s) + b.
Proof.
move=> WQ; pose B : 'M[R]_(d, d + d + k) := row_mx (row_mx 1%:M (- 1%:M)) 0.
exists (steady_hyper (col_mx (col_mx W (- W)) 0) (Q *m (T0 - 1%:M) *m B) (fun j => Q *m T j *m B)) => s z.
congr (_ + b); rewrite /bottleneck steady_down steady_up affine_sum_mul.
have -> : affine_sum (T0 - 1%:M) T z = affine_family T0 T z - 1%:M by rewrite /affine_sum /affine_family addrAC.
set y := eval x s; have read : B *m reluv (col_mx (col_mx W (- W)) 0 *m y) = W *m y.
  rewrite /B !mul_col_mx !reluv_col !mul_row_col !mul0mx addr0 !mul1mx mulNmx mul1mx mulNmx.
  by apply/colP=> i; rewrite !mxE relu_split.
rewrite -[_ *m B *m _]mulmxA read mulmxDr !mulmxA WQ mul1mx mulmxBl mul1mx mulmxBl -!mulmxA.
by rewrite [_ + (_ - _)]addrC subrK.
Qed.

(** ** The adapter as it is trained

    x~ = ReLU(x + W_up ReLU(W_down x + b_down) + b_up); omega holds W_down, b_down, W_up, b_up in this order. *)

Section Trained.
Variables (R : realFieldType) (n k : nat).
Implicit Type omega : 'cV[R]_(k * n + (k + (n * k + n))).

Definition w_down omega : 'M[R]_(k, n) := vec_mx (usubmx omega)^T.
Definition b_down omega : 'cV[R]_k := usubmx (dsubmx omega).
Definition w_up omega : 'M[R]_(n, k) := vec_mx (usubmx (dsubmx (dsubmx omega)))^T.
Definition b_up omega : 'cV[R]_n := dsubmx (dsubmx (dsubmx omega)).

Definition trained (x : 'cV[R]_n) omega : 'cV[R]_n :=
  reluv (x + w_up omega *m reluv (w_down omega *m x + b_down omega) + b_up omega).

(** A constant W_down, an affine W_up and no biases, by one affine layer. *)
Definition trained_hyper dz (D : 'M[R]_(k, n)) (U0 : 'M[R]_(n, k)) (U : 'I_dz -> 'M[R]_(n, k)) :
    mlp R dz (k * n + (k + (n * k + n))) :=
  Affine (col_mx 0 (col_mx 0 (col_mx (\matrix_(i, j) mxvec (U j) 0 i) 0)))
         (col_mx (mxvec D)^T (col_mx 0 (col_mx (mxvec U0)^T 0))).

Lemma trainedE dz D U0 (U : 'I_dz -> 'M[R]_(n, k)) x z :
  trained x (eval (trained_hyper D U0 U) z) = reluv (x + affine_sum U0 U z *m reluv (D *m x)).
Proof.
rewrite /trained /w_down /b_down /w_up /b_up /= !mul_col_mx !add_col_mx !mul0mx !add0r.
by rewrite !(col_mxKu, col_mxKd) trmxK mxvecK affine_sum_mxvec !addr0.
Qed.

End Trained.

(** A.5, the adapter as it is trained, its outer ReLU included. Any affine family T(z) of operators on d numbers V x(s) read
    from the trunk is realised on any trunk of at least 2 d features, whatever their signs, by any width 6 d + k. The head
    subtracts the second d features from the first d. *)
Theorem A5_trained (R : realFieldType) ds dz d m k (x : mlp R ds (d + d + m)) (V : 'M[R]_(d, d + d + m))
    (T0 : 'M[R]_d) (T : 'I_dz -> 'M[R]_d) :
  exists h : mlp R dz ((d + d + (d + d + (d + d)) + k) * (d + d + m) +
      ((d + d + (d + d + (d + d)) + k) + ((d + d + m) * (d + d + (d + d + (d + d)) + k) + (d + d + m)))),
    forall s z, row_mx (row_mx 1%:M (- 1%:M)) 0 *m trained (eval x s) (eval h z) = affine_family T0 T z *m (V *m eval x s).
Proof.
pose F : 'M[R]_(d + d, d + d + m) := row_mx 1%:M 0. (* the first 2 d features *)
pose P : 'M[R]_(d + d + m, d + d) := col_mx 1%:M 0. (* put back in their place *)
pose D : 'M[R]_(_, d + d + m) := col_mx (col_mx (col_mx V (- V)) (col_mx F (- F))) (0 : 'M[R]_(k, _)).
pose twice (M : 'M[R]_d) : 'M[R]_(d + d, d) := col_mx M (- M).
pose B1 : 'M[R]_(d, d + d + (d + d + (d + d)) + k) := row_mx (row_mx (row_mx 1%:M (- 1%:M)) 0) 0.
pose B2 : 'M[R]_(d + d, d + d + (d + d + (d + d)) + k) := row_mx (row_mx 0 (row_mx 1%:M (- 1%:M))) 0.
pose J : 'M[R]_(d + d, d) := col_mx 1%:M (- 1%:M).
exists (trained_hyper D (P *m (J *m T0 *m B1 - B2)) (fun j => P *m J *m T j *m B1)) => s z.
set y := eval x s; rewrite trainedE.
have split_relu p (q : 'cV[R]_p) : reluv q - reluv (- q) = q by apply/colP=> i; rewrite !mxE relu_split.
have read1 : B1 *m reluv (D *m y) = V *m y.
  rewrite /B1 /D !mul_col_mx !reluv_col !mul_row_col !mul0mx !addr0 !mul1mx !mulNmx !mul1mx.
  exact: split_relu.
have read2 : B2 *m reluv (D *m y) = F *m y.
  rewrite /B2 /D !mul_col_mx !reluv_col !mul_row_col !mul0mx !addr0 add0r !mul1mx !mulNmx !mul1mx.
  exact: split_relu.
have -> : affine_sum (P *m (J *m T0 *m B1 - B2)) (fun j => P *m J *m T j *m B1) z =
    P *m (J *m affine_family T0 T z *m B1 - B2).
  rewrite -[affine_family T0 T z]/(affine_sum T0 T z) -affine_sum_mul /affine_sum [in RHS]addrAC [in RHS]mulmxDr.
  by rewrite mulmx_sumr; congr (_ + _); apply: eq_bigr => j _; rewrite -scalemxAr !mulmxA.
rewrite -mulmxA mulmxBl -[_ *m B1 *m _]mulmxA read1 read2.
have FP : F *m P = 1%:M by rewrite /F /P mul_row_col mul0mx addr0 mul1mx.
have head_first (q : 'cV[R]_(d + d + m)) :
    row_mx (row_mx 1%:M (- 1%:M)) 0 *m reluv q = row_mx 1%:M (- 1%:M) *m reluv (F *m q) :> 'cV[R]_d.
  by rewrite -[q]vsubmxK reluv_col !mul_row_col !mul0mx !addr0 mul1mx.
rewrite head_first [F *m (y + _)]mulmxDr [F *m (P *m _)]mulmxA FP mul1mx [F *m y + _]addrC subrK.
rewrite -mulmxA /J mul_col_mx mul1mx mulNmx mul1mx reluv_col mul_row_col mul1mx mulNmx mul1mx.
exact: split_relu.
Qed.
