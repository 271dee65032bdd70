(** * What the main theorems say

    Every main theorem, restated in full and checked against its proof. The modules are loaded and not imported: a notation,
    a scope or a hint in one of them cannot change how these lines are read. `digests.txt` pins what the definitions in them
    say, as Coq prints them. A change of a theorem or of a definition that one rests on has to change this folder in three
    places, each of them in plain sight. *)

From Coq Require Import Reals.
From mathcomp Require Import all_ssreflect all_fingroup all_algebra.
From DMASH Require Networks PiecewiseAffine Expressivity Bottleneck BinaryContexts Approximation Memoryless
  Switching NoSeparation Ascent Variability GradientVariance General Information.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** ** A.1, A.2, A.3 *)

Check (@Expressivity.A1_concat_cannot_bilinear :
  forall (R : realFieldType) (ds dz : nat) (M : 'M_(ds, dz)) (A : 'cV_ds -> 'cV_dz -> Prop),
  M != 0 ->
  Networks.has_interior2 (R:=R) A ->
  ~
  (exists f : Networks.mlp R (ds + dz) 1,
     forall (s : 'cV_ds) (z : 'cV_dz), A s z -> Networks.concat f s z = (s^T *m M *m z) 0 0)).

Check (@Expressivity.A1_concat_cannot :
  forall (R : realFieldType) (A : R -> R -> Prop),
  (exists s0 z0 r : R, 0 < r /\ (forall s z : R, `|s - s0| < r -> `|z - z0| < r -> A s z)) ->
  ~
  (exists f : Networks.mlp R (1 + 1) 1,
     forall s z : R, A s z -> Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z)).

Check (@Expressivity.A1_adapter_can :
  forall (R : realFieldType) (s z : R),
  Networks.modulated (Networks.diagonal (R:=R) (n:=2)) (Expressivity.inversion_net R)
    (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z).

Check (@Expressivity.A2_operator :
  forall (R : realFieldType) (ds dz n : nat) (N : Networks.hypernet R ds dz n (n * n))
    (T : 'cV_dz -> 'M_n) (D : 'cV_dz -> Prop),
  (forall z : 'cV_dz,
   D z -> Networks.full_matrix (R:=R) (n:=n) (Networks.eval (Networks.hyper N) z) = T z - 1%:M) ->
  forall (s : 'cV_ds) (z : 'cV_dz),
  D z ->
  Networks.modulated (Networks.full (R:=R) (n:=n)) N s z =
  (Networks.head N *m T z *m Networks.eval (Networks.trunk N) s) 0 0 + Networks.bias N).

Check (@Expressivity.A3_adapter_can :
  forall (R : realFieldType) (ds dz n : nat) (x : Networks.mlp R ds n) (w : 'rV_n)
    (b : R) (T0 : 'M_n) (T : 'I_dz -> 'M_n) (s : 'cV_ds) (z : 'cV_dz),
  Networks.modulated (Networks.full (R:=R) (n:=n))
    {|
      Networks.trunk := x;
      Networks.hyper := Expressivity.affine_hyper (R:=R) (T0 - 1%:M) T;
      Networks.head := w;
      Networks.bias := b
    |} s z = (w *m Expressivity.affine_family (R:=R) T0 T z *m Networks.eval x s) 0 0 + b).

Check (@Expressivity.A2_finite_family :
  forall (R : realFieldType) (ds dz n : nat) (x : Networks.mlp R ds n) (w : 'rV_n)
    (b : R) (T : 'I_dz -> 'M_n) (s : 'cV_ds) (c : ordinal_finType dz),
  Networks.modulated (Networks.full (R:=R) (n:=n))
    {|
      Networks.trunk := x;
      Networks.hyper := Expressivity.affine_hyper (R:=R) (- 1%:M) T;
      Networks.head := w;
      Networks.bias := b
    |} s (delta_mx c 0) = (w *m T c *m Networks.eval x s) 0 0 + b).

Check (@Expressivity.A2_permutations :
  forall (R : realFieldType) (ds dz n : nat) (x : Networks.mlp R ds n) (w : 'rV_n)
    (b : R) (sigma : 'I_dz -> 'S_n) (s : 'cV_ds) (c : ordinal_finType dz),
  Networks.modulated (Networks.full (R:=R) (n:=n))
    {|
      Networks.trunk := x;
      Networks.hyper := Expressivity.affine_hyper (R:=R) (- 1%:M) (fun c0 : 'I_dz => perm_mx (sigma c0));
      Networks.head := w;
      Networks.bias := b
    |} s (delta_mx c 0) = \sum_i w 0 i * Networks.eval x s (sigma c i) 0 + b).

Check (@Expressivity.A2_scalings :
  forall (R : realFieldType) (ds n : nat) (x : Networks.mlp R ds n) (w : 'rV_n) (b : R) (s : 'cV_ds) (c : R),
  Networks.modulated (Networks.full (R:=R) (n:=n))
    {|
      Networks.trunk := x;
      Networks.hyper := Expressivity.affine_hyper (R:=R) (- 1%:M) (fun=> 1%:M);
      Networks.head := w;
      Networks.bias := b
    |} s (Networks.vec1 (R:=R) c) = c * (w *m Networks.eval x s) 0 0 + b).

Check (@Expressivity.A3_concat_can_iff :
  forall (R : realFieldType) (ds dz n : nat) (x : Networks.mlp R ds n) (w : 'rV_n)
    (b : R) (T0 : 'M_n) (T : 'I_dz -> 'M_n) (S0 : 'cV_ds -> Prop) (Z : 'cV_dz -> Prop),
  (exists s : 'cV_ds, S0 s) ->
  Networks.convex (R:=R) S0 ->
  Networks.has_interior (R:=R) Z ->
  (exists f : Networks.mlp R (ds + dz) 1,
     forall (s : 'cV_ds) (z : 'cV_dz),
     S0 s -> Z z -> Networks.concat f s z = Expressivity.target x w b T0 T s z) <->
  (forall (j : 'I_dz) (s s' : 'cV_ds),
   S0 s -> S0 s' -> Expressivity.slope x w T j s = Expressivity.slope x w T j s')).


(** ** A.5 *)

Check (@Bottleneck.A5_bottleneck_can :
  forall (R : realFieldType) (ds dz n k : nat) (x : Networks.mlp R ds n) (w : 'rV_n)
    (b : R) (T0 : 'M_n) (T : 'I_dz -> 'M_n) (s : 'cV_ds) (z : 'cV_dz),
  (forall i : 'I_n, 0 <= Networks.eval x s i 0) ->
  Networks.modulated (Networks.bottleneck (R:=R) (k:=n + k))
    {|
      Networks.trunk := x;
      Networks.hyper := Bottleneck.bottleneck_hyper (R:=R) k (T0 - 1%:M) T;
      Networks.head := w;
      Networks.bias := b
    |} s z = (w *m Expressivity.affine_family (R:=R) T0 T z *m Networks.eval x s) 0 0 + b).

Check (@Bottleneck.A5_bottleneck_product :
  forall (R : realFieldType) (k : nat) (s z : R),
  Networks.modulated (Networks.bottleneck (R:=R) (k:=2 + k)) (Bottleneck.inversion_bottleneck R k)
    (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z).

Check (@Bottleneck.A5_width_one_cannot :
  forall (R : realFieldType) (n : nat) (x : R -> 'cV_n) (W_down : R -> 'rV_n) (W_up : R -> 'cV_n)
    (w : 'rV_n) (b : R),
  ~ (forall s z : R, (w *m (x s + W_up z *m Networks.reluv (R:=R) (W_down z *m x s))) 0 0 + b = s * z)).

Check (@Bottleneck.A5_width_one_can :
  forall (R : realFieldType) (B s z : R),
  0 < B ->
  `|z| <= B ->
  Networks.modulated (Networks.bottleneck (R:=R) (k:=1)) (Bottleneck.narrow_net (R:=R) B)
    (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z).

Check (@Bottleneck.A5_actions :
  forall (R : realFieldType) (ds dz n d k : nat) (x : Networks.mlp R ds n) (W : 'M_(d, n))
    (Q : 'M_(n, d)) (b : 'cV_d) (T0 : 'M_d) (T : 'I_dz -> 'M_d),
  W *m Q = 1%:M ->
  exists h : Networks.mlp R dz ((d + d + k) * n + n * (d + d + k)),
    forall (s : 'cV_ds) (z : 'cV_dz),
    W *m (Networks.eval x s +
          Networks.bottleneck (R:=R) (k:=d + d + k) (Networks.eval x s) (Networks.eval h z)) + b =
    Expressivity.affine_family (R:=R) T0 T z *m (W *m Networks.eval x s) + b).

Check (@Bottleneck.A5_trained :
  forall (R : realFieldType) (ds dz d m k : nat) (x : Networks.mlp R ds (d + d + m))
    (V : 'M_(d, d + d + m)) (T0 : 'M_d) (T : 'I_dz -> 'M_d),
  exists
    h : Networks.mlp R dz
          ((d + d + (d + d + (d + d)) + k) * (d + d + m) +
           (d + d + (d + d + (d + d)) + k + ((d + d + m) * (d + d + (d + d + (d + d)) + k) + (d + d + m)))),
    forall (s : 'cV_ds) (z : 'cV_dz),
    row_mx (row_mx 1%:M (- 1%:M)) 0 *m Bottleneck.trained (R:=R) (k:=d + d + (d + d + (d + d)) + k)
                                         (Networks.eval x s) (Networks.eval h z) =
    Expressivity.affine_family (R:=R) T0 T z *m (V *m Networks.eval x s)).


(** ** binary contexts *)

Check (@BinaryContexts.binary_four_neurons :
  forall (R : realFieldType) (B : R),
  Networks.widths (BinaryContexts.four (R:=R) B) = [:: 4%N] /\
  (forall s z : R,
   `|s| <= B ->
   z = 1 \/ z = -1 ->
   Networks.concat (BinaryContexts.four (R:=R) B) (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z)).

Check (@BinaryContexts.binary_two_neurons :
  forall (R : realFieldType) (B : R),
  Networks.widths (BinaryContexts.two (R:=R) B) = [:: 2%N] /\
  (forall s z : R,
   `|s| <= B ->
   z = 1 \/ z = -1 ->
   Networks.concat (BinaryContexts.two (R:=R) B) (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z)).

Check (@BinaryContexts.binary_one_neuron_cannot :
  forall (R : realFieldType) (B : R) (f : Networks.mlp R (1 + 1) 1),
  0 < B ->
  Networks.widths f = [:: 1%N] ->
  ~
  (forall s z : R,
   `|s| <= B -> z = 1 \/ z = -1 -> Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z)).

Check (@BinaryContexts.binary_unbounded_cannot :
  forall (R : realFieldType) (z1 z2 s0 : R),
  z1 != z2 ->
  ~
  (exists f : Networks.mlp R (1 + 1) 1,
     forall s z : R,
     s0 <= s ->
     z = z1 \/ z = z2 -> Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * z)).


(** ** A.1: how close, and without interior *)

Check (@Approximation.A1_segment :
  forall (R : realFieldType) (ds dz : nat) (M : 'M_(ds, dz)) (A : 'cV_ds -> 'cV_dz -> Prop)
    (s d : 'cV_ds) (z e : 'cV_dz),
  (forall t : R, 0 <= t <= 1 -> A (PiecewiseAffine.line (R:=R) s d t) (PiecewiseAffine.line (R:=R) z e t)) ->
  (d^T *m M *m e) 0 0 != 0 ->
  ~
  (exists f : Networks.mlp R (ds + dz) 1,
     forall (s0 : 'cV_ds) (z0 : 'cV_dz), A s0 z0 -> Networks.concat f s0 z0 = (s0^T *m M *m z0) 0 0)).

Check (@Approximation.A1_simnorm :
  forall (R : realFieldType) (ds q : nat) (M : 'M_(ds, q + q)) (s0 : 'cV_ds) (r : R) (i j : 'I_q) (g : bool),
  let at_ := fun k : 'I_q => if g then lshift q k else rshift q k in
  0 < r ->
  col (at_ i) M != col (at_ j) M ->
  ~
  (exists f : Networks.mlp R (ds + (q + q)) 1,
     forall (s : 'cV_ds) (z : 'cV_(q + q)),
     Networks.box (R:=R) s0 r s ->
     Approximation.simnorm (R:=R) (q:=q) z -> Networks.concat f s z = (s^T *m M *m z) 0 0)).

Check (@Approximation.A1_approximation_segment :
  forall (R : realFieldType) (ds dz : nat) (M : 'M_(ds, dz)) (f : Networks.mlp R (ds + dz) 1)
    (s d : 'cV_ds) (z e : 'cV_dz) (eps : R),
  (forall t : R,
   0 <= t <= 1 ->
   `|Networks.concat f (PiecewiseAffine.line (R:=R) s d t) (PiecewiseAffine.line (R:=R) z e t) -
     ((PiecewiseAffine.line (R:=R) s d t)^T *m M *m PiecewiseAffine.line (R:=R) z e t) 0 0| <= eps) ->
  `|(d^T *m M *m e) 0 0| <= 8 * eps * (\prod_(k <- Networks.widths f) k.+1%:R) ^+ 2).

Check (@Approximation.A1_approximation :
  forall (R : realFieldType) (f : Networks.mlp R (1 + 1) 1) (r eps : R),
  0 <= r ->
  (forall s z : R,
   `|s| <= r ->
   `|z| <= r -> `|Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) - s * z| <= eps) ->
  r ^+ 2 <= 2 * eps * (\prod_(k <- Networks.widths f) k.+1%:R) ^+ 2).


(** ** A.8 *)

Check (@Memoryless.memoryless_negative :
  forall (R : realFieldType) (pi : R -> R),
  Memoryless.crosses (R:=R) pi ->
  ~ (forall S x : R, S = 1 \/ S = -1 -> 0 < x -> exists t : nat, Memoryless.state (R:=R) pi S x t < x)).

Check (@Memoryless.memoryless_networks :
  forall (R : realFieldType) (f : Networks.mlp R 1 1) (squash : R -> R),
  squash 0 = 0 ->
  (forall y : R, 0 < y -> 0 < squash y) ->
  (forall y : R, y < 0 -> squash y < 0) ->
  ~
  (forall S0 x : R,
   S0 = 1 \/ S0 = -1 ->
   0 < x ->
   exists t : nat,
     Memoryless.state (R:=R) (fun x0 : R => squash (Networks.eval f (Networks.vec1 (R:=R) x0) 0 0)) S0 x t < x)).

Check (@Memoryless.memoryless_one_start :
  forall (R : realFieldType) (S0 : R) (t : nat),
  S0 = 1 \/ S0 = -1 ->
  Memoryless.state (R:=R) (fun x : R => Networks.eval (Memoryless.reader R) (Networks.vec1 (R:=R) x) 0 0) S0 1
    t.+2 = 0).

Check (@Memoryless.inversion_price :
  forall (R : realFieldType) (d : nat) (p : R) (a f : 'rV_d),
  p * Memoryless.inversion_loss (R:=R) true a f + (1 - p) * Memoryless.inversion_loss (R:=R) false a f =
  4 * p * (1 - p) * Variability.normsq (R:=R) f + Variability.normsq (R:=R) (a - (2 * p - 1) *: f)).

Check (@Memoryless.inversion_minimax :
  forall (R : realFieldType) (d : nat) (Omega : finType) (P : Omega -> R) (a : Omega -> 'rV_d) (f : 'rV_d),
  Variability.probability (R:=R) P ->
  (Variability.normsq (R:=R) f <=
   Variability.expect (R:=R) P (fun w : Omega => Memoryless.inversion_loss (R:=R) true (a w) f) \/
   Variability.normsq (R:=R) f <=
   Variability.expect (R:=R) P
     (fun w : Omega => Memoryless.inversion_loss (R:=R) false (a w) f)) /\
  (forall plus : bool, Memoryless.inversion_loss (R:=R) plus 0 f = Variability.normsq (R:=R) f)).


(** ** A.6 *)

Check (@Switching.switch_exact :
  forall (R : realFieldType) (B delta : R),
  0 < delta ->
  Networks.widths (Switching.switch (R:=R) B delta) = [:: 3%N; 2%N] /\
  (forall s z n : R,
   `|s| <= B ->
   `|n| + delta <= `|z| ->
   Networks.concat (Switching.switch (R:=R) B delta) (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) (z + n)) =
   s * Num.sg z)).

Check (@Switching.switch_slope :
  forall (R : realFieldType) (f : R -> R) (s delta L : R),
  0 < delta ->
  f delta = s ->
  f (- delta) = - s ->
  (forall u v : R, `|u| <= delta -> `|v| <= delta -> `|f u - f v| <= L * `|u - v|) -> `|s| / delta <= L).

Check (@Switching.switch_modulated_least :
  forall (R : realFieldType) (delta s : R),
  0 < delta ->
  (forall z : R,
   Networks.modulated (Networks.diagonal (R:=R) (n:=2)) (Switching.switch_modulated (R:=R) delta)
     (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * Switching.clipped (R:=R) delta z) /\
  (forall z : R,
   delta <= `|z| ->
   Networks.modulated (Networks.diagonal (R:=R) (n:=2)) (Switching.switch_modulated (R:=R) delta)
     (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s * Num.sg z) /\
  (forall z : R,
   `|z| <= delta ->
   Networks.modulated (Networks.diagonal (R:=R) (n:=2)) (Switching.switch_modulated (R:=R) delta)
     (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) z) = s / delta * z)).

Check (@Switching.switch_excess :
  forall (R : realFieldType) (f : Networks.mlp R (1 + 1) 1) (B delta eta : R),
  0 < delta ->
  0 <= B ->
  (forall s : R,
   `|s| <= B ->
   Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) delta) = s /\
   Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) (- delta)) = - s) ->
  (forall s u v : R,
   `|s| <= B ->
   `|u| <= delta ->
   `|v| <= delta ->
   `|Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) u) -
     Networks.concat f (Networks.vec1 (R:=R) s) (Networks.vec1 (R:=R) v)| <= (`|s| + eta) / delta * `|u - v|) ->
  B <= 4 * eta * (\prod_(k <- Networks.widths f) k.+1%:R) ^+ 2).


(** ** bounded binary contexts: one set of functions *)

Check (@NoSeparation.binary_any_pair :
  forall (R : realFieldType) (ds : nat) (f g : Networks.mlp R ds 1) (B : R),
  exists h : Networks.mlp R (ds + 1) 1,
    forall s : 'cV_ds,
    NoSeparation.bounded (R:=R) B s ->
    Networks.concat h s (Networks.vec1 (R:=R) 1) = Networks.eval f s 0 0 /\
    Networks.concat h s (Networks.vec1 (R:=R) (-1)) = Networks.eval g s 0 0).

Check (@NoSeparation.binary_trained_is_concat :
  forall (R : realFieldType) (ds n k p : nat) (x : Networks.mlp R ds n) (w : 'rV_n)
    (b : R) (h : 'cV_p -> 'cV_(k * n + (k + (n * k + n)))) (z1 z2 : 'cV_p) (B : R),
  exists f : Networks.mlp R (ds + 1) 1,
    forall s : 'cV_ds,
    NoSeparation.bounded (R:=R) B s ->
    Networks.concat f s (Networks.vec1 (R:=R) 1) =
    (w *m Bottleneck.trained (R:=R) (k:=k) (Networks.eval x s) (h z1)) 0 0 + b /\
    Networks.concat f s (Networks.vec1 (R:=R) (-1)) =
    (w *m Bottleneck.trained (R:=R) (k:=k) (Networks.eval x s) (h z2)) 0 0 + b).

Check (@NoSeparation.binary_classes_coincide :
  forall (R : realFieldType) (ds : nat) (B : R) (u v : 'cV_ds -> R),
  (exists f : Networks.mlp R (ds + 1) 1,
     forall s : 'cV_ds,
     NoSeparation.bounded (R:=R) B s ->
     Networks.concat f s (Networks.vec1 (R:=R) 1) = u s /\
     Networks.concat f s (Networks.vec1 (R:=R) (-1)) = v s) <->
  (exists (n : nat) (N : Networks.hypernet R ds 1 n (n * n)),
     forall s : 'cV_ds,
     NoSeparation.bounded (R:=R) B s ->
     Networks.modulated (Networks.full (R:=R) (n:=n)) N s (Networks.vec1 (R:=R) 1) = u s /\
     Networks.modulated (Networks.full (R:=R) (n:=n)) N s (Networks.vec1 (R:=R) (-1)) = v s)).

Check (@NoSeparation.one_hot_any_family :
  forall (R : realFieldType) (ds q : nat) (f : 'I_q -> Networks.mlp R ds 1) (B : R),
  exists h : Networks.mlp R (ds + q) 1,
    forall (s : 'cV_ds) (c : ordinal_finType q),
    NoSeparation.bounded (R:=R) B s -> Networks.concat h s (delta_mx c 0) = Networks.eval (f c) s 0 0).


(** ** F15 *)

Check (@Ascent.ascent_unbounded :
  forall (R : realFieldType) (n : nat) (w x : 'cV_n) (b eta : R) (omega : 'cV_n) (t : nat),
  0 <= eta ->
  Ascent.critic (R:=R) w x b omega + t%:R * eta * (\sum_(i | Ascent.liked (R:=R) w x omega i) w i 0 ^+ 2) <=
  Ascent.critic (R:=R) w x b (Ascent.ascent (R:=R) w x eta omega t)).

Check (@Ascent.ascent_detached_bounded :
  forall (R : realFieldType) (ds da : nat) (Q : Networks.mlp R (ds + da) 1) (s : 'cV_ds),
  exists M : R, forall a : 'cV_da, (forall i : 'I_da, `|a i 0| <= 1) -> `|Networks.concat Q s a| <= M).


(** ** A.15, A.17, A.18 on finite spaces *)

Check (@Variability.A15_decomposition :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (d : nat) (S0 : Omega -> bool) (U : finType) (u : Omega -> U) (Z : Omega -> 'rV_d),
  \tr (Variability.Cov (R:=R) P Z) =
  Variability.within_context (R:=R) P S0 (U:=U) u Z +
  Variability.within_mode (R:=R) P S0 (U:=U) u Z +
  Variability.between_modes (R:=R) P S0 Z).

Check (@Variability.A18_terms :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (d : nat) (S0 : Omega -> bool) (U : finType) (u : Omega -> U) (Z : Omega -> 'rV_d),
  [/\ Variability.within_context (R:=R) P S0 (U:=U) u
        (Variability.compressed (R:=R) P S0 Z) = 0,
      Variability.within_mode (R:=R) P S0 (U:=U) u
        (Variability.compressed (R:=R) P S0 Z) = 0
    & Variability.between_modes (R:=R) P S0
        (Variability.compressed (R:=R) P S0 Z) =
      Variability.between_modes (R:=R) P S0 Z]).

Check (@Variability.A18_compression :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (d : nat) (S0 : Omega -> bool) (U : finType) (u : Omega -> U) (Z : Omega -> 'rV_d),
  \tr (Variability.Cov (R:=R) P (Variability.compressed (R:=R) P S0 Z)) <=
  \tr (Variability.Cov (R:=R) P Z) /\
  (\tr (Variability.Cov (R:=R) P (Variability.compressed (R:=R) P S0 Z)) =
   \tr (Variability.Cov (R:=R) P Z) <->
   Variability.within_context (R:=R) P S0 (U:=U) u Z = 0 /\
   Variability.within_mode (R:=R) P S0 (U:=U) u Z = 0)).

Check (@Variability.A17_gradient_variance :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (m d : nat) (g : Omega -> 'rV_m) (Z : Omega -> 'rV_d) (L : R),
  let G := Variability.mean_at (R:=R) P (T:=matrix_eqType R 1 d) g Z in
  (forall w w' : Omega,
   0 < P w ->
   0 < P w' ->
   Variability.normsq (R:=R) (G (Z w) - G (Z w')) <= L ^+ 2 * Variability.normsq (R:=R) (Z w - Z w')) ->
  \tr (Variability.Cov (R:=R) P g) <=
  Variability.expect (R:=R) P
    (fun w : Omega => \tr (Variability.Cov_at (R:=R) P (T:=matrix_eqType R 1 d) g Z (Z w))) +
  L ^+ 2 * \tr (Variability.Cov (R:=R) P Z)).

Check (@Variability.A17_with_A15 :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (m d : nat) (g : Omega -> 'rV_m) (Z : Omega -> 'rV_d) (L : R) (S0 : Omega -> bool)
    (U : finType) (u : Omega -> U),
  let G := Variability.mean_at (R:=R) P (T:=matrix_eqType R 1 d) g Z in
  (forall w w' : Omega,
   0 < P w ->
   0 < P w' ->
   Variability.normsq (R:=R) (G (Z w) - G (Z w')) <= L ^+ 2 * Variability.normsq (R:=R) (Z w - Z w')) ->
  \tr (Variability.Cov (R:=R) P g) <=
  Variability.expect (R:=R) P
    (fun w : Omega => \tr (Variability.Cov_at (R:=R) P (T:=matrix_eqType R 1 d) g Z (Z w))) +
  L ^+ 2 *
  (Variability.within_context (R:=R) P S0 (U:=U) u Z +
   Variability.within_mode (R:=R) P S0 (U:=U) u Z +
   Variability.between_modes (R:=R) P S0 Z)).


(** ** the variance of the gradient itself *)

Check (@GradientVariance.compression_account :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (m : nat) (S0 : Omega -> bool) (T : eqType) (Z : Omega -> T) (g g' : Omega -> 'rV_m),
  \tr (Variability.Cov (R:=R) P g) - \tr (Variability.Cov (R:=R) P g') =
  GradientVariance.signal_of_code (R:=R) P S0 (T:=T) Z g -
  (GradientVariance.noise_in_mode (R:=R) P S0 g' -
   GradientVariance.noise_at_code (R:=R) P S0 (T:=T) Z g) +
  (GradientVariance.signal_of_mode (R:=R) P S0 g -
   GradientVariance.signal_of_mode (R:=R) P S0 g')).

Check (@GradientVariance.compression_criterion :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (m : nat) (S0 : Omega -> bool) (T : eqType) (Z : Omega -> T) (g g' : Omega -> 'rV_m),
  (forall w : Omega,
   P w != 0 ->
   Variability.vcond (R:=R) P (T:=bool_eqType) g S0 w =
   Variability.vcond (R:=R) P (T:=bool_eqType) g' S0 w) ->
  (\tr (Variability.Cov (R:=R) P g') <= \tr (Variability.Cov (R:=R) P g)) =
  (GradientVariance.noise_in_mode (R:=R) P S0 g' -
   GradientVariance.noise_at_code (R:=R) P S0 (T:=T) Z g <=
   GradientVariance.signal_of_code (R:=R) P S0 (T:=T) Z g)).

Check (@GradientVariance.compression_lowers_variance :
  forall (R : realFieldType) (Omega : finType) (P : Omega -> R),
  Variability.probability (R:=R) P ->
  forall (m d : nat) (S0 : Omega -> bool) (T : eqType) (Y : Omega -> T) (A : T * bool -> 'rV_m)
    (B : T * bool -> 'M_(d, m)) (Z : Omega -> 'rV_d),
  (forall (i : 'I_d) (w : Omega),
   P w != 0 ->
   Variability.cond (R:=R) P (T:=prod_eqType T bool_eqType)
     (Variability.coord (R:=R) Z i) (GradientVariance.rest S0 (T:=T) Y) w =
   Variability.cond (R:=R) P (T:=bool_eqType) (Variability.coord (R:=R) Z i) S0
     w) ->
  let g :=
    fun w : Omega =>
    A (GradientVariance.rest S0 (T:=T) Y w) +
    Z w *m B (GradientVariance.rest S0 (T:=T) Y w) in
  let g' :=
    fun w : Omega =>
    A (GradientVariance.rest S0 (T:=T) Y w) +
    Variability.compressed (R:=R) P S0 Z w *m B
                                                               (GradientVariance.rest S0 (T:=T)
                                                                  Y w) in
  \tr (Variability.Cov (R:=R) P g) =
  \tr (Variability.Cov (R:=R) P g') +
  Variability.expect (R:=R) P
    (fun w : Omega =>
     Variability.normsq (R:=R)
       ((Z w - Variability.compressed (R:=R) P S0 Z w) *m B
                                                                           (GradientVariance.rest
                                                                              S0 (T:=T) Y w)))).

Check (@GradientVariance.compression_needs_independence :
  forall R : realFieldType,
  let S0 := xpredT in
  let Z := fun w : bool => (GradientVariance.sign R w)%:M in
  let g := fun w : bool => (- GradientVariance.sign R w)%:M + Z w *m 1%:M in
  let g' :=
    fun w : bool =>
    (- GradientVariance.sign R w)%:M +
    Variability.compressed (R:=R) (GradientVariance.coin R) S0 Z w *m 1%:M in
  \tr (Variability.Cov (R:=R) (GradientVariance.coin R) g) = 0 /\
  \tr (Variability.Cov (R:=R) (GradientVariance.coin R) g') = 1).

Check (@GradientVariance.compression_needs_affinity :
  forall R : realFieldType,
  let P := fun=> 1 / 4 in
  let S0 := xpredT in
  let Z := fun w : bool * bool => (GradientVariance.sign R w.2)%:M in
  let G := fun (w : bool * bool) (z : 'cV_1) => (GradientVariance.sign R w.1 * (1 - `|z 0 0|))%:M in
  Variability.probability (R:=R) (Omega:=prod_finType bool_finType bool_finType) P /\
  \tr (Variability.Cov (R:=R) (Omega:=prod_finType bool_finType bool_finType) P
         (fun w : prod_finType bool_finType bool_finType => G w (Z w))) = 0 /\
  \tr (Variability.Cov (R:=R) (Omega:=prod_finType bool_finType bool_finType) P
         (fun w : prod_finType bool_finType bool_finType =>
          G w (Variability.compressed (R:=R) (Omega:=prod_finType bool_finType bool_finType) P S0 Z w))) = 1).

Check (@GradientVariance.lattice_moments :
  forall R : realFieldType,
  [/\ \sum_i GradientVariance.lattice R i = 1,
      \sum_i GradientVariance.lattice R i * GradientVariance.step_noise R i ^+ 2 = 1,
      \sum_i GradientVariance.lattice R i * GradientVariance.step_noise R i ^+ 4 = 3
    & \sum_i GradientVariance.lattice R i * GradientVariance.step_noise R i ^+ 6 = 15] /\
  [/\ \sum_i GradientVariance.lattice R i * GradientVariance.step_noise R i = 0,
      \sum_i GradientVariance.lattice R i * GradientVariance.step_noise R i ^+ 3 = 0,
      \sum_i GradientVariance.lattice R i * GradientVariance.step_noise R i ^+ 5 = 0
    & \sum_i GradientVariance.lattice R i * GradientVariance.step_noise R i ^+ 7 = 0]).

Check (@GradientVariance.compression_can_raise_variance :
  forall R : realFieldType,
  [/\ Variability.probability (R:=R) (GradientVariance.push_law R),
      \tr (Variability.Cov (R:=R) (GradientVariance.push_law R)
             (GradientVariance.push_code R)) = 5 / 2,
      \tr (Variability.Cov (R:=R) (GradientVariance.push_law R)
             (Variability.compressed (R:=R) (GradientVariance.push_law R)
                GradientVariance.push_mode (GradientVariance.push_code R))) = 9 / 4,
      \tr (Variability.Cov (R:=R) (GradientVariance.push_law R)
             (fun w : GradientVariance.push =>
              GradientVariance.push_gradient (R:=R) (GradientVariance.push_code R w) w)) =
      23 / 2
    & \tr (Variability.Cov (R:=R) (GradientVariance.push_law R)
             (fun w : GradientVariance.push =>
              GradientVariance.push_gradient (R:=R)
                (Variability.compressed (R:=R) (GradientVariance.push_law R)
                   GradientVariance.push_mode (GradientVariance.push_code R) w) w)) =
      825 / 64]).


(** ** A.15, A.17, A.18 for any law of the code *)

Check (@General.A15_general :
  forall (R : realFieldType) (outcome : Type) (M : General.space R outcome) (K : finType)
    (C : outcome -> K) (S0 : K -> bool),
  General.observable M (K:=K) C ->
  forall (d : nat) (Z : outcome -> 'rV_d),
  General.square_integrable M Z ->
  General.total_variance M Z =
  General.within_context M (K:=K) C Z + General.within_mode M (K:=K) C S0 Z +
  General.between_modes M (K:=K) C S0 Z).

Check (@General.A18_general_terms :
  forall (R : realFieldType) (outcome : Type) (M : General.space R outcome) (K : finType)
    (C : outcome -> K) (S0 : K -> bool),
  General.observable M (K:=K) C ->
  forall (d : nat) (Z : outcome -> 'rV_d),
  General.square_integrable M Z ->
  [/\ General.within_context M (K:=K) C (General.compressed M (K:=K) C S0 Z) = 0,
      General.within_mode M (K:=K) C S0 (General.compressed M (K:=K) C S0 Z) = 0
    & General.between_modes M (K:=K) C S0 (General.compressed M (K:=K) C S0 Z) =
      General.between_modes M (K:=K) C S0 Z]).

Check (@General.A18_general :
  forall (R : realFieldType) (outcome : Type) (M : General.space R outcome) (K : finType)
    (C : outcome -> K) (S0 : K -> bool),
  General.observable M (K:=K) C ->
  forall (d : nat) (Z : outcome -> 'rV_d),
  General.square_integrable M Z ->
  General.total_variance M (General.compressed M (K:=K) C S0 Z) <= General.total_variance M Z /\
  (General.total_variance M (General.compressed M (K:=K) C S0 Z) = General.total_variance M Z <->
   General.within_context M (K:=K) C Z = 0 /\ General.within_mode M (K:=K) C S0 Z = 0)).

Check (@General.A17_general :
  forall (R : realFieldType) (outcome : Type) (M : General.space R outcome) (m d : nat)
    (g : outcome -> 'rV_m) (Z : outcome -> 'rV_d) (G : 'rV_d -> 'rV_m) (L : R),
  General.square_integrable M Z ->
  General.conditional_mean M g Z G ->
  (forall z z' : 'rV_d, Variability.normsq (R:=R) (G z - G z') <= L ^+ 2 * Variability.normsq (R:=R) (z - z')) ->
  General.total_variance M g <=
  \sum_k General.mean M (fun w : outcome => (g w 0 k - G (Z w) 0 k) ^+ 2) +
  L ^+ 2 * General.total_variance M Z).

Check (@General.A17_general_with_A15 :
  forall (R : realFieldType) (outcome : Type) (M : General.space R outcome) (m d : nat)
    (K : finType) (C : outcome -> K) (S0 : K -> bool) (g : outcome -> 'rV_m) (Z : outcome -> 'rV_d)
    (G : 'rV_d -> 'rV_m) (L : R),
  General.observable M (K:=K) C ->
  General.square_integrable M Z ->
  General.conditional_mean M g Z G ->
  (forall z z' : 'rV_d, Variability.normsq (R:=R) (G z - G z') <= L ^+ 2 * Variability.normsq (R:=R) (z - z')) ->
  General.total_variance M g <=
  \sum_k General.mean M (fun w : outcome => (g w 0 k - G (Z w) 0 k) ^+ 2) +
  L ^+ 2 *
  (General.within_context M (K:=K) C Z + General.within_mode M (K:=K) C S0 Z +
   General.between_modes M (K:=K) C S0 Z)).


(** ** information under compression *)

Local Open Scope R_scope.

Check (@Information.data_processing :
  forall (Omega : finType) (P : Omega -> R),
  Information.probability P ->
  forall (A B K : eqType) (Z : Omega -> A) (f : A -> B) (C : Omega -> K),
  Information.information P (T:=B) (T':=K) (fun w : Omega => f (Z w)) C <=
  Information.information P (T:=A) (T':=K) Z C).

Check (@Information.compression_of_decodable :
  forall (Omega : finType) (P : Omega -> R) (S : Omega -> bool) (d : nat) (Z : Omega -> d.-tuple R)
    (K : eqType) (C : Omega -> K) (decode : d.-tuple R -> bool),
  Information.probability P ->
  (forall w : Omega, S w = decode (Z w)) ->
  Information.information P (T:=tuple_eqType d Information.R_eqType) (T':=K)
    (Information.vcompressed P S Z) C <=
  Information.information P (T:=tuple_eqType d Information.R_eqType) (T':=K) Z C).

Check (@Information.compression_can_raise_information :
  [/\ Information.probability Information.fair,
      Information.information Information.fair (T:=Information.R_eqType)
        (T':=Information.bits) Information.either Information.both = ln 4 - 3 / 4 * ln 3,
      Information.information Information.fair (T:=Information.R_eqType)
        (T':=Information.bits)
        (Information.compressed Information.fair Information.mode Information.either)
        Information.both = ln 2
    & Information.information Information.fair (T:=Information.R_eqType)
        (T':=Information.bits) Information.either Information.both <
      Information.information Information.fair (T:=Information.R_eqType)
        (T':=Information.bits)
        (Information.compressed Information.fair Information.mode Information.either)
        Information.both]).
