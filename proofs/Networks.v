(** * Networks

    The objects that the theorems are about, as concrete data: ReLU networks of any depth, any width and any
    dimensions, the concatenating network, and the network whose features pass through an adapter with weights
    written by a hypernetwork.

    Everything lives over an arbitrary ordered field [R], so the theorems hold for the reals, for the rationals and
    for every field between them, and no axiom about real numbers is used. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** ** The rectifier *)

Section Relu.
Variable R : realFieldType.
Implicit Types x y : R.

Definition relu x : R := Num.max x 0.

(** On vectors the rectifier acts on each coordinate. *)
Definition reluv n (x : 'cV[R]_n) : 'cV[R]_n := map_mx relu x.

Lemma relu_pos x : 0 <= x -> relu x = x.
Proof. by move=> x0; rewrite /relu max_l. Qed.

Lemma relu_neg x : x <= 0 -> relu x = 0.
Proof. by move=> x0; rewrite /relu max_r. Qed.

Lemma relu_ge0 x : 0 <= relu x.
Proof. by rewrite /relu le_maxr lexx orbT. Qed.

(** The positive part less the negative part is the number. *)
Lemma relu_split x : relu x - relu (- x) = x.
Proof.
have [x0|/ltW x0] := leP 0 x.
  by rewrite relu_pos // relu_neg ?oppr_le0 // subr0.
by rewrite relu_neg // relu_pos ?oppr_ge0 // sub0r opprK.
Qed.

Lemma relu_ge x : x <= relu x.
Proof. by rewrite /relu le_maxr lexx. Qed.

Lemma reluv_pos n (x : 'cV[R]_n) : (forall i, 0 <= x i 0) -> reluv x = x.
Proof. by move=> x0; apply/colP=> i; rewrite mxE relu_pos. Qed.

Lemma reluv_ge0 n (x : 'cV[R]_n) i : 0 <= (reluv x) i 0.
Proof. by rewrite mxE relu_ge0. Qed.

Lemma reluv_col m n (x : 'cV[R]_m) (y : 'cV[R]_n) : reluv (col_mx x y) = col_mx (reluv x) (reluv y).
Proof. by rewrite /reluv map_col_mx. Qed.

End Relu.

(** ** Multilayer perceptrons

    A typed list of layers: hidden layers end in ReLU, the last layer is affine. [mlp R m n] takes m inputs to n
    outputs; the widths in between are free. *)

Section Mlp.
Variable R : realFieldType.

Inductive mlp : nat -> nat -> Type :=
| Affine m n of 'M[R]_(n, m) & 'cV[R]_n : mlp m n
| Hidden m k n of 'M[R]_(k, m) & 'cV[R]_k & mlp k n : mlp m n.

Fixpoint eval m n (f : mlp m n) : 'cV[R]_m -> 'cV[R]_n :=
  match f with
  | Affine _ _ W b => fun x => W *m x + b
  | Hidden _ _ _ W b rest => fun x => eval rest (reluv (W *m x + b))
  end.

(** Widths of the hidden layers, first to last. *)
Fixpoint widths m n (f : mlp m n) : seq nat :=
  match f with
  | Affine _ _ _ _ => [::]
  | Hidden _ k _ _ _ rest => k :: widths rest
  end.

(** The concatenating network: one MLP, of scalar output, on the stacked vector [s; z]. H_concat is the set of
    functions [concat f], with f any MLP. *)
Definition concat ds dz (f : mlp (ds + dz) 1) (s : 'cV[R]_ds) (z : 'cV[R]_dz) : R := eval f (col_mx s z) 0 0.

End Mlp.

(** ** Hyper-modulated networks

    Trunk and hypernetwork are MLPs; x = trunk s are the features, omega = hyper z the weights of the adapter g; the
    output is w^T (x + g (x; omega)) + b with a head (w, b) that does not depend on z. *)

Section Hyper.
Variables (R : realFieldType) (ds dz n p : nat).

Record hypernet := HyperNet {
  trunk : mlp R ds n;
  hyper : mlp R dz p;
  head : 'rV[R]_n;
  bias : R
}.

Definition modulated (g : 'cV[R]_n -> 'cV[R]_p -> 'cV[R]_n) (N : hypernet) (s : 'cV[R]_ds) (z : 'cV[R]_dz) : R :=
  let x := eval (trunk N) s in (head N *m (x + g x (eval (hyper N) z))) 0 0 + bias N.

End Hyper.

(** The adapters: how omega is read as weights. *)

Section Adapters.
Variables (R : realFieldType) (n : nat).
Implicit Type x : 'cV[R]_n.

(** g (x; omega) = W(omega) x, omega the n * n entries of W, row after row. *)
Definition full_matrix (omega : 'cV[R]_(n * n)) : 'M[R]_n := vec_mx omega^T.
Definition full x (omega : 'cV[R]_(n * n)) : 'cV[R]_n := full_matrix omega *m x.

(** g (x; omega) = diag(omega) x. *)
Definition diagonal x (omega : 'cV[R]_n) : 'cV[R]_n := diag_mx omega^T *m x.

(** g (x; omega) = W_up(omega) ReLU(W_down(omega) x), of width k; omega holds W_down, then W_up. *)
Definition down k (omega : 'cV[R]_(k * n + n * k)) : 'M[R]_(k, n) := vec_mx (usubmx omega)^T.
Definition up k (omega : 'cV[R]_(k * n + n * k)) : 'M[R]_(n, k) := vec_mx (dsubmx omega)^T.
Definition bottleneck k x (omega : 'cV[R]_(k * n + n * k)) : 'cV[R]_n := up omega *m reluv (down omega *m x).

End Adapters.

(** ** Sets of inputs *)

Section Sets.
Variables (R : realFieldType) (n : nat).
Implicit Types (x y : 'cV[R]_n) (A : 'cV[R]_n -> Prop).

(** The open box of centre x and half-width r. *)
Definition box x (r : R) : 'cV[R]_n -> Prop := fun y => forall i, `|y i 0 - x i 0| < r.

Definition has_interior A := exists x r, 0 < r /\ forall y, box x r y -> A y.

Definition convex A := forall x y t, A x -> A y -> 0 <= t <= 1 -> A (x + t *: (y - x)).

Lemma box_convex x r : convex (box x r).
Proof.
move=> u v t hu hv /andP[t0 t1] i; move: (hu i) (hv i); rewrite !mxE !ltr_norml.
have mean a b c : a < c -> b < c -> a + t * (b - a) < c :> R.
  move=> ac bc; rewrite -subr_gt0.
  have -> : c - (a + t * (b - a)) = (1 - t) * (c - a) + t * (c - b) by ring.
  have [->|tne] := eqVneq t 0; first by rewrite subr0 mul0r addr0 mul1r subr_gt0.
  by rewrite ltr_paddl ?mulr_ge0 ?mulr_gt0 ?subr_gt0 ?subr_ge0 ?(ltW ac) // lt_neqAle eq_sym tne.
move=> /andP[u1 u2] /andP[v1 v2]; apply/andP; split.
  rewrite ltr_oppl; have -> : - (u i 0 + t * (v i 0 - u i 0) - x i 0) =
    - (u i 0 - x i 0) + t * (- (v i 0 - x i 0) - - (u i 0 - x i 0)) by ring.
  by apply: mean; rewrite ltr_oppl.
have -> : u i 0 + t * (v i 0 - u i 0) - x i 0 = (u i 0 - x i 0) + t * ((v i 0 - x i 0) - (u i 0 - x i 0)) by ring.
exact: mean.
Qed.

End Sets.

(** A set of pairs (s, z) with non-empty interior. *)
Definition has_interior2 (R : realFieldType) m n (A : 'cV[R]_m -> 'cV[R]_n -> Prop) :=
  exists x y r, 0 < r /\ forall u v, box x r u -> box y r v -> A u v.

(** ** Scalars as vectors, and the function s * z on scalars *)

Section Scalars.
Variable R : realFieldType.

Definition vec1 (x : R) : 'cV[R]_1 := x%:M.

Lemma vec1E x : vec1 x 0 0 = x.
Proof. by rewrite mxE eqxx mulr1n. Qed.

Definition col2 (x y : R) : 'cV[R]_2 := \col_i (if i == 0 then x else y).
Definition row2 (x y : R) : 'rV[R]_2 := \row_i (if i == 0 then x else y).

Lemma sum2 (F : 'I_2 -> R) : \sum_i F i = F 0 + F 1.
Proof. by rewrite big_ord_recl big_ord1; congr (F _ + F _); apply: val_inj. Qed.

(** The feature map of the paper's constructions: s -> (ReLU s, ReLU (-s)). *)
Definition two_sided : mlp R 1 2 := Hidden (col2 1 (-1)) 0 (Affine 1%:M 0).

Lemma two_sidedE s : eval two_sided (vec1 s) = col2 (relu s) (relu (- s)).
Proof.
apply/colP=> i; rewrite /= mul1mx addr0 addr0 !mxE big_ord1 vec1E !mxE.
by case: ifP; rewrite ?mul1r ?mulN1r.
Qed.

End Scalars.
