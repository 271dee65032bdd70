(** * A.15, A.17 and A.18 for any law of the code

    [Variability.v] has finite probability spaces. Here the sample space is any type, and the expectation any positive,
    normalised, linear functional on the variables that have one: every probability space is an instance, with L2 its square
    integrable and L1 its integrable variables. Contexts are finitely many (the method trains on 20); codes and gradients are
    any square integrable variables, so continuous codes are covered. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Variability.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** A probability space, as far as it is needed. *)
Record space (R : realFieldType) (outcome : Type) := Space {
  L1 : (outcome -> R) -> Prop;
  L2 : (outcome -> R) -> Prop;
  mean : (outcome -> R) -> R;
  L1_ext : forall X Y, X =1 Y -> L1 X -> L1 Y;
  L2_ext : forall X Y, X =1 Y -> L2 X -> L2 Y;
  L1_add : forall X Y, L1 X -> L1 Y -> L1 (fun w => X w + Y w);
  L1_scale : forall k X, L1 X -> L1 (fun w => k * X w);
  L2_add : forall X Y, L2 X -> L2 Y -> L2 (fun w => X w + Y w);
  L2_scale : forall k X, L2 X -> L2 (fun w => k * X w);
  L2_const : forall k, L2 (fun=> k);
  L2_mul : forall X Y, L2 X -> L2 Y -> L1 (fun w => X w * Y w);
  mean_ext : forall X Y, X =1 Y -> mean X = mean Y;
  mean_add : forall X Y, L1 X -> L1 Y -> mean (fun w => X w + Y w) = mean X + mean Y;
  mean_scale : forall k X, L1 X -> mean (fun w => k * X w) = k * mean X;
  mean_one : mean (fun=> 1) = 1;
  mean_ge0 : forall X, L1 X -> (forall w, 0 <= X w) -> 0 <= mean X
}.

(** Finite probability spaces are instances. *)
Definition finite_space (R : realFieldType) (Omega : finType) (P : Omega -> R) (isP : Variability.probability P) :
  space R Omega.
Proof.
apply: (@Space R Omega (fun=> True) (fun=> True) (Variability.expect P)) => //.
- by move=> X Y XY; apply: Variability.expect_ext.
- by move=> X Y _ _; apply: Variability.expect_add.
- by move=> k X _; apply: Variability.expect_scale.
- exact: Variability.expect_const.
- by move=> X _ X0; apply: Variability.expect_ge0.
Defined.

Section Definitions.
Variables (R : realFieldType) (outcome : Type) (M : space R outcome).
Implicit Types (X Y : outcome -> R).

Definition hit (K : finType) (V : outcome -> K) (k : K) : outcome -> R := fun w => (V w == k)%:R.

(** V can be observed: its events cut square integrable variables into such variables. *)
Definition observable (K : finType) (V : outcome -> K) : Prop :=
  forall X k, L2 M X -> L2 M (fun w => X w * hit V k w).

(** E[X | V = k], 0 by convention where P(V = k) = 0, and E[X | V]. *)
Definition mean_at (K : finType) (V : outcome -> K) X (k : K) : R := mean M (fun w => X w * hit V k w) / mean M (hit V k).
Definition cond (K : finType) (V : outcome -> K) X : outcome -> R := fun w => mean_at V X (V w).

Variable d : nat.
Implicit Type Z : outcome -> 'rV[R]_d.

Definition coord Z i : outcome -> R := fun w => Z w 0 i.
Definition square_integrable Z : Prop := forall i, L2 M (coord Z i).

(** tr Cov(Z) = E|Z - E Z|^2 *)
Definition total_variance Z : R := \sum_i mean M (fun w => (coord Z i w - mean M (coord Z i)) ^+ 2).

Variables (K : finType) (C : outcome -> K) (S : K -> bool).
Definition mode : outcome -> bool := fun w => S (C w).

(** E tr Cov(Z | C) = E|Z - E[Z | C]|^2 *)
Definition within_context Z : R := \sum_i mean M (fun w => (coord Z i w - cond C (coord Z i) w) ^+ 2).
(** E tr Cov(E[Z | C] | S) = E|E[Z | C] - E[Z | S]|^2 *)
Definition within_mode Z : R := \sum_i mean M (fun w => (cond C (coord Z i) w - cond mode (coord Z i) w) ^+ 2).
(** p (1 - p) |E[Z | S = +1] - E[Z | S = -1]|^2 *)
Definition p_plus : R := mean M (hit mode true).
Definition between_modes Z : R :=
  p_plus * (1 - p_plus) * \sum_i (mean_at mode (coord Z i) true - mean_at mode (coord Z i) false) ^+ 2.

(** Z' = E[Z | S] *)
Definition compressed Z : outcome -> 'rV[R]_d := fun w => \row_i cond mode (coord Z i) w.

End Definitions.

(** G(Z) is the mean of g given Z: the error is orthogonal to every square integrable function of Z. *)
Definition conditional_mean (R : realFieldType) outcome (M : space R outcome) m d
    (g : outcome -> 'rV[R]_m) (Z : outcome -> 'rV[R]_d) (G : 'rV[R]_d -> 'rV[R]_m) : Prop :=
  square_integrable M g /\ square_integrable M (fun w => G (Z w)) /\
  forall k (h : 'rV[R]_d -> R), L2 M (fun w => h (Z w)) -> mean M (fun w => (g w 0 k - G (Z w) 0 k) * h (Z w)) = 0.

Section Theory.
Variables (R : realFieldType) (outcome : Type) (M : space R outcome).
Implicit Types (X Y : outcome -> R).
Local Notation E := (mean M).
Local Notation L1 := (L1 M).
Local Notation L2 := (L2 M).

Lemma L2_L1 X : L2 X -> L1 X.
Proof. by move=> X2; apply: (L1_ext (X := fun w => X w * 1)) (L2_mul X2 (L2_const M 1)) => w; rewrite mulr1. Qed.

Lemma L1_const k : L1 (fun=> k). Proof. exact/L2_L1/L2_const. Qed.

Lemma E_const k : E (fun=> k) = k.
Proof.
rewrite (mean_ext M (Y := fun=> k * 1)); last by move=> w; rewrite mulr1.
by rewrite mean_scale ?mean_one ?mulr1 //; apply: L1_const.
Qed.

Lemma L2_opp X k : L2 X -> L2 (fun w => X w - k).
Proof. by move=> X2; apply: L2_add => //; apply: L2_const. Qed.

Lemma L2_sub X Y : L2 X -> L2 Y -> L2 (fun w => X w - Y w).
Proof.
move=> X2 Y2; apply: (L2_ext (X := fun w => X w + (-1) * Y w)); first by move=> w; rewrite mulN1r.
by apply: L2_add => //; apply: L2_scale.
Qed.

Lemma E_sub X Y : L1 X -> L1 Y -> E (fun w => X w - Y w) = E X - E Y.
Proof.
move=> X1 Y1; rewrite (mean_ext M (Y := fun w => X w + (-1) * Y w)); last by move=> w; rewrite mulN1r.
by rewrite mean_add ?mean_scale ?mulN1r //; apply: L1_scale.
Qed.

Lemma L1_sqr X : L2 X -> L1 (fun w => X w ^+ 2).
Proof. by move=> X2; apply: L1_ext (L2_mul X2 X2) => w; rewrite expr2. Qed.

Lemma E_sum (I : finType) (F : I -> outcome -> R) : (forall i, L1 (F i)) ->
  L1 (fun w => \sum_i F i w) /\ E (fun w => \sum_i F i w) = \sum_i E (F i).
Proof.
move=> F1; suff: forall r : seq I, L1 (fun w => \sum_(i <- r) F i w) /\
  E (fun w => \sum_(i <- r) F i w) = \sum_(i <- r) E (F i) by apply.
elim=> [|i r [IH1 IH2]].
  split; first by apply: L1_ext (L1_const 0) => w; rewrite big_nil.
  by rewrite big_nil -[RHS](E_const 0); apply: mean_ext => w; rewrite big_nil.
have ext : (fun w => F i w + \sum_(j <- r) F j w) =1 (fun w => \sum_(j <- i :: r) F j w).
  by move=> w; rewrite big_cons.
split; first by apply: L1_ext ext _; apply: L1_add.
by rewrite -(mean_ext M ext) mean_add // IH2 big_cons.
Qed.

(** *** Conditioning on finitely many events *)

Section Given.
Variables (K : finType) (V : outcome -> K).
Hypothesis obs : observable M V.

Lemma hit_L2 k : L2 (hit R V k).
Proof. by apply: L2_ext (obs k (L2_const M 1)) => w; rewrite mul1r. Qed.

(** A function of V is the sum of its values on the events. *)
Lemma spread (h : K -> R) w : h (V w) = \sum_k h k * hit R V k w.
Proof.
rewrite (bigD1 (V w)) //= /hit eqxx mulr1 big1 ?addr0 // => k kV.
by rewrite eq_sym (negPf kV) mulr0.
Qed.

Lemma fun_L2 (h : K -> R) : L2 (fun w => h (V w)).
Proof.
apply: (L2_ext (X := fun w => \sum_k h k * hit R V k w)); first by move=> w; rewrite -spread.
suff: forall r : seq K, L2 (fun w => \sum_(k <- r) h k * hit R V k w) by apply.
elim=> [|k r IH]; first by apply: L2_ext (L2_const M 0) => w; rewrite big_nil.
apply: (L2_ext (X := fun w => h k * hit R V k w + \sum_(j <- r) h j * hit R V j w)); first by move=> w; rewrite big_cons.
by apply: L2_add => //; apply: L2_scale; apply: hit_L2.
Qed.

Lemma cond_L2 X : L2 (cond M V X). Proof. exact: fun_L2. Qed.

(** E[X; V = k] = E[X | V = k] P(V = k), also where the event has probability 0: there a square integrable variable has
    no weight. *)
Lemma cell X k : L2 X -> E (fun w => X w * hit R V k w) = mean_at M V X k * E (hit R V k).
Proof.
move=> X2; rewrite /mean_at; have [p0|pne] := eqVneq (E (hit R V k)) 0; last by rewrite divfK.
rewrite p0 mulr0; apply/eqP/negPn/negP => cne.
set c := E _ in cne; pose q := E (fun w => (X w * hit R V k w) ^+ 2).
have Xk : L2 (fun w => X w * hit R V k w) by apply: obs.
pose a := - (q + 1) / (2%:R * c).
have expand w : (X w * hit R V k w + a * hit R V k w) ^+ 2 =
    (X w * hit R V k w) ^+ 2 + (2%:R * a * (X w * hit R V k w) + a ^+ 2 * hit R V k w).
  by rewrite /hit; case: eqP => _ /=; ring.
have : 0 <= E (fun w => (X w * hit R V k w + a * hit R V k w) ^+ 2).
  apply: mean_ge0 => [|w]; last exact: sqr_ge0.
  by apply: L1_sqr; apply: L2_add => //; apply: L2_scale; apply: hit_L2.
rewrite (mean_ext M expand) mean_add; last 2 first.
- exact: L1_sqr.
- by apply: L1_add; apply: L1_scale; apply: L2_L1 => //; apply: hit_L2.
rewrite mean_add; last 2 first.
- by apply: L1_scale; apply: L2_L1.
- by apply: L1_scale; apply: L2_L1; apply: hit_L2.
rewrite !mean_scale ?p0; last 2 first.
- exact/L2_L1/hit_L2.
- exact: L2_L1.
rewrite -/q -/c mulr0 addr0 leNgt; apply/negP/negPn.
have -> : q + 2%:R * a * c = -1 by rewrite /a; field; rewrite ?cne.
by rewrite oppr_lt0 ltr01.
Qed.

(** E[(X - E[X | V]) h(V)] = 0 *)
Lemma orthogonal X (h : K -> R) : L2 X -> E (fun w => (X w - cond M V X w) * h (V w)) = 0.
Proof.
move=> X2; have ext w : (X w - cond M V X w) * h (V w) =
    \sum_k h k * (X w * hit R V k w - mean_at M V X k * hit R V k w).
  rewrite (spread h) mulr_sumr; apply: eq_bigr => k _; rewrite /hit /cond.
  by case: eqP => [->|_] /=; ring.
have cell1 k : L1 (fun w => X w * hit R V k w - mean_at M V X k * hit R V k w).
  by apply: L2_L1; apply: L2_sub; [apply: obs|apply: L2_scale; apply: hit_L2].
have [_] := @E_sum K (fun k w => h k * (X w * hit R V k w - mean_at M V X k * hit R V k w)) (fun k => L1_scale (h k) (cell1 k)).
rewrite (mean_ext M ext) => ->; rewrite big1 // => k _.
rewrite mean_scale // E_sub; last 2 first.
- by apply: L2_L1; apply: obs.
- by apply: L1_scale; apply: L2_L1; apply: hit_L2.
by rewrite mean_scale ?cell ?subrr ?mulr0 //; apply: L2_L1; apply: hit_L2.
Qed.

(** E(X - h(V))^2 = E(X - E[X | V])^2 + E(E[X | V] - h(V))^2 *)
Lemma pythagoras X (h : K -> R) : L2 X ->
  E (fun w => (X w - h (V w)) ^+ 2) = E (fun w => (X w - cond M V X w) ^+ 2) + E (fun w => (cond M V X w - h (V w)) ^+ 2).
Proof.
move=> X2; have hV := fun_L2 h; have cX := cond_L2 X.
pose k v := mean_at M V X v - h v.
rewrite (mean_ext M (Y := fun w => (X w - cond M V X w) ^+ 2 + ((cond M V X w - h (V w)) ^+ 2 +
  2%:R * ((X w - cond M V X w) * k (V w))))); last by move=> w; rewrite /k /cond; ring.
have l1 : L1 (fun w => (X w - cond M V X w) ^+ 2) by apply/L1_sqr/L2_sub.
have l2 : L1 (fun w => (cond M V X w - h (V w)) ^+ 2) by apply/L1_sqr/L2_sub.
have l3 : L1 (fun w => (X w - cond M V X w) * k (V w)) by apply: L2_mul; [apply: L2_sub|apply: fun_L2].
rewrite mean_add //; last by apply: L1_add => //; apply: L1_scale.
by rewrite mean_add // ?mean_scale // ?orthogonal // ?mulr0 ?addr0 //; apply: L1_scale.
Qed.

End Given.

Section Context.
Variables (K : finType) (C : outcome -> K) (S : K -> bool).
Hypothesis obs : observable M C.
Local Notation S' := (mode C S).

Lemma mode_observable : observable M S'.
Proof.
move=> X b X2; apply: (L2_ext (X := fun w => \sum_k (S k == b)%:R * (X w * hit R C k w))).
  move=> w; rewrite (bigD1 (C w)) //= big1 => [|k kC].
    by rewrite addr0 /hit /mode eqxx mulr1 mulrC.
  by rewrite /hit [C w == k]eq_sym (negPf kC) !mulr0.
suff: forall r : seq K, L2 (fun w => \sum_(k <- r) (S k == b)%:R * (X w * hit R C k w)) by apply.
elim=> [|k r IH]; first by apply: L2_ext (L2_const M 0) => w; rewrite big_nil.
apply: (L2_ext (X := fun w => (S k == b)%:R * (X w * hit R C k w) + \sum_(j <- r) (S j == b)%:R * (X w * hit R C j w))).
  by move=> w; rewrite big_cons.
by apply: L2_add => //; apply: L2_scale; apply: obs.
Qed.
Let obs' := mode_observable.

Lemma E_cond (K' : finType) (V : outcome -> K') X : observable M V -> L2 X -> E (cond M V X) = E X.
Proof.
move=> o X2; have := orthogonal o (fun=> 1) X2; rewrite (mean_ext M (Y := fun w => X w - cond M V X w)).
  by rewrite E_sub; [move/eqP; rewrite subr_eq0 => /eqP|apply: L2_L1|apply/L2_L1/cond_L2].
by move=> w; rewrite mulr1.
Qed.

(** A function of the mode has mean p h(+1) + (1 - p) h(-1). *)
Lemma E_mode (h : bool -> R) : E (fun w => h (S' w)) = p_plus M C S * h true + (1 - p_plus M C S) * h false.
Proof.
rewrite (mean_ext M (Y := fun w => h false + (h true - h false) * hit R S' true w)).
  rewrite mean_add ?E_const ?mean_scale -/(p_plus M C S); first by ring.
  - exact/L2_L1/(hit_L2 obs').
  - exact: L1_const.
  - exact/L1_scale/L2_L1/(hit_L2 obs').
by move=> w; rewrite /hit; case: (S' w) => /=; ring.
Qed.

Lemma between_one X : L2 X -> E (fun w => (cond M S' X w - E X) ^+ 2) =
  p_plus M C S * (1 - p_plus M C S) * (mean_at M S' X true - mean_at M S' X false) ^+ 2.
Proof.
move=> X2; rewrite -(E_cond obs' X2) /cond (E_mode (mean_at M S' X)).
by rewrite (E_mode (fun b => (mean_at M S' X b - _) ^+ 2)); ring.
Qed.

Lemma split_one X : L2 X -> E (fun w => (X w - E X) ^+ 2) =
  E (fun w => (X w - cond M C X w) ^+ 2) + E (fun w => (cond M C X w - cond M S' X w) ^+ 2) +
  E (fun w => (cond M S' X w - E X) ^+ 2).
Proof.
move=> X2; rewrite (pythagoras obs' (fun=> E X) X2); congr (_ + _).
exact: (pythagoras obs (fun k => mean_at M S' X (S k)) X2).
Qed.

Variable d : nat.
Implicit Type Z : outcome -> 'rV[R]_d.

(** A.15 for any law of the code. *)
Theorem A15_general Z : square_integrable M Z ->
  total_variance M Z = within_context M C Z + within_mode M C S Z + between_modes M C S Z.
Proof.
move=> Z2; rewrite /total_variance /within_context /within_mode /between_modes mulr_sumr -!big_split.
by apply: eq_bigr => i _ /=; rewrite -between_one // -split_one.
Qed.

Lemma E_sqr_ge0 X : L2 X -> 0 <= E (fun w => X w ^+ 2).
Proof. by move=> X2; apply: mean_ge0 => [|w]; [apply: L1_sqr|apply: sqr_ge0]. Qed.

Lemma compressed_L2 Z : square_integrable M (compressed M C S Z).
Proof. by move=> i; apply: L2_ext (cond_L2 obs' (coord Z i)) => w; rewrite /coord mxE. Qed.

(** A.18 for any law of the code: Z' = E[Z | S] keeps the between-mode term and loses the other two. *)
Theorem A18_general_terms Z : square_integrable M Z ->
  [/\ within_context M C (compressed M C S Z) = 0, within_mode M C S (compressed M C S Z) = 0
    & between_modes M C S (compressed M C S Z) = between_modes M C S Z].
Proof.
move=> Z2; have Z2' := compressed_L2 Z.
have eq_coord i : coord (compressed M C S Z) i =1 fun w => mean_at M S' (coord Z i) (S (C w)).
  by move=> w; rewrite /coord mxE.
have zero i : E (fun w => (coord (compressed M C S Z) i w - mean_at M S' (coord Z i) (S (C w))) ^+ 2) = 0.
  by rewrite -[RHS](E_const 0); apply: mean_ext => w; rewrite eq_coord subrr expr0n.
have inC i : E (fun w => (coord (compressed M C S Z) i w - cond M C (coord (compressed M C S Z) i) w) ^+ 2) = 0.
  have := pythagoras obs (fun k => mean_at M S' (coord Z i) (S k)) (Z2' i); rewrite zero => /esym/eqP.
  rewrite paddr_eq0 => [/andP[/eqP//]||]; apply: E_sqr_ge0; apply: L2_sub => //; first exact: cond_L2.
    exact: cond_L2.
  exact: (fun_L2 obs (fun k => mean_at M S' (coord Z i) (S k))).
have inS i : E (fun w => (coord (compressed M C S Z) i w - cond M S' (coord (compressed M C S Z) i) w) ^+ 2) = 0.
  have := pythagoras obs' (fun b => mean_at M S' (coord Z i) b) (Z2' i); rewrite /mode zero => /esym/eqP.
  rewrite paddr_eq0 => [/andP[/eqP//]||]; apply: E_sqr_ge0; apply: L2_sub => //; first exact: cond_L2.
    exact: cond_L2.
  exact: (fun_L2 obs (fun k => mean_at M S' (coord Z i) (S k))).
have inM i : E (fun w => (cond M C (coord (compressed M C S Z) i) w - cond M S' (coord (compressed M C S Z) i) w) ^+ 2) = 0.
  have := pythagoras obs (fun k => mean_at M S' (coord (compressed M C S Z) i) (S k)) (Z2' i).
  by rewrite -/(cond M S' _) inC add0r => <-; apply: inS.
split; rewrite /within_context /within_mode ?big1 //.
rewrite /between_modes !mulr_sumr; apply: eq_bigr => i _.
rewrite -(between_one (Z2 i)) -(between_one (Z2' i)).
have := split_one (Z2' i); rewrite inC inM !add0r => <-.
have -> : E (coord (compressed M C S Z) i) = E (coord Z i).
  by rewrite (mean_ext M (eq_coord i)); apply: (E_cond obs' (Z2 i)).
by apply: mean_ext => w; rewrite eq_coord.
Qed.

Theorem A18_general Z : square_integrable M Z ->
  total_variance M (compressed M C S Z) <= total_variance M Z /\
  (total_variance M (compressed M C S Z) = total_variance M Z <->
   within_context M C Z = 0 /\ within_mode M C S Z = 0).
Proof.
move=> Z2; have [c0 m0 b] := A18_general_terms Z2.
rewrite [total_variance M (compressed _ _ _ _)]A15_general ?c0 ?m0 ?b ?add0r ?(A15_general Z2); last exact: compressed_L2.
have wc : 0 <= within_context M C Z.
  by apply: sumr_ge0 => i _; apply: E_sqr_ge0; apply: L2_sub => //; apply: cond_L2.
have wm : 0 <= within_mode M C S Z.
  by apply: sumr_ge0 => i _; apply: E_sqr_ge0; apply: L2_sub; apply: cond_L2.
split; first by rewrite ler_addr addr_ge0.
split=> [/eqP|[-> ->]]; last by rewrite !add0r.
by rewrite -[X in X == _]add0r (inj_eq (addIr _)) eq_sym paddr_eq0 // => /andP[/eqP-> /eqP->].
Qed.

End Context.

(** A.17 for any law of the code: the mean gradient G is L-Lipschitz everywhere. *)
Theorem A17_general m d (g : outcome -> 'rV[R]_m) (Z : outcome -> 'rV[R]_d) (G : 'rV[R]_d -> 'rV[R]_m) L :
  square_integrable M Z -> conditional_mean M g Z G ->
  (forall z z', Variability.normsq (G z - G z') <= L ^+ 2 * Variability.normsq (z - z')) ->
  total_variance M g <= \sum_k mean M (fun w => (g w 0 k - G (Z w) 0 k) ^+ 2) + L ^+ 2 * total_variance M Z.
Proof.
move=> Z2 [g2 [G2 orth]] lip.
pose zbar : 'rV[R]_d := \row_i E (coord Z i).
(* the variance of g_k is at most its mean squared distance from any constant *)
have best X c : L2 X -> E (fun w => (X w - E X) ^+ 2) <= E (fun w => (X w - c) ^+ 2).
  move=> X2; have sub a : E (fun w => (X w - a) ^+ 2) = E (fun w => X w ^+ 2) + (a ^+ 2 - 2%:R * a * E X).
    rewrite (mean_ext M (Y := fun w => X w ^+ 2 + (a ^+ 2 * 1 + - (2%:R * a) * X w))); last by move=> w; ring.
    rewrite mean_add; [|exact: L1_sqr|by apply: L1_add; [apply: L1_scale; apply: L1_const|apply: L1_scale; apply: L2_L1]].
    rewrite mean_add; [|by apply: L1_scale; apply: L1_const|by apply: L1_scale; apply: L2_L1].
    by rewrite !mean_scale ?mean_one ?mulr1 ?mulNr //; [apply: L2_L1|apply: L1_const].
  rewrite !sub ler_add2l -subr_ge0.
  have -> : c ^+ 2 - 2%:R * c * E X - (E X ^+ 2 - 2%:R * E X * E X) = (c - E X) ^+ 2 by ring.
  exact: sqr_ge0.
have one k : E (fun w => (coord g k w - E (coord g k)) ^+ 2) <=
    E (fun w => (g w 0 k - G (Z w) 0 k) ^+ 2) + E (fun w => (G (Z w) 0 k - G zbar 0 k) ^+ 2).
  apply: le_trans (best _ (G zbar 0 k) (g2 k)) _; rewrite le_eqVlt; apply/orP; left; apply/eqP.
  pose h z := G z 0 k - G zbar 0 k.
  have hL2 : L2 (fun w => h (Z w)) by apply: L2_opp; apply: G2.
  have eL2 : L2 (fun w => g w 0 k - G (Z w) 0 k) by apply: L2_sub; [apply: g2|apply: G2].
  rewrite (mean_ext M (Y := fun w => (g w 0 k - G (Z w) 0 k) ^+ 2 + (h (Z w) ^+ 2 +
    2%:R * ((g w 0 k - G (Z w) 0 k) * h (Z w))))); last by move=> w; rewrite /h /coord; ring.
  have l3 := L2_mul eL2 hL2.
  rewrite mean_add; [|exact: L1_sqr|by apply: L1_add; [apply: L1_sqr|apply: L1_scale]].
  by rewrite mean_add ?mean_scale ?orth ?mulr0 ?addr0 //; [apply: L1_sqr|apply: L1_scale].
apply: le_trans (ler_sum _ (fun k _ => one k)) _; rewrite big_split ler_add2l /total_variance mulr_sumr.
have l2G k : L1 (fun w => (G (Z w) 0 k - G zbar 0 k) ^+ 2) by apply: L1_sqr; apply: L2_opp; apply: G2.
have l2Z i : L1 (fun w => L ^+ 2 * (coord Z i w - E (coord Z i)) ^+ 2).
  by apply: L1_scale; apply: L1_sqr; apply: L2_opp.
have [sG1 sG] := E_sum l2G; have [sZ1 sZ] := E_sum l2Z; rewrite -sG.
rewrite (eq_bigr (fun i => E (fun w => L ^+ 2 * (coord Z i w - E (coord Z i)) ^+ 2))) => [|i _]; last first.
  by rewrite mean_scale //; apply: L1_sqr; apply: L2_opp.
rewrite -sZ -subr_ge0 -E_sub //; apply: mean_ge0 => [|w].
  apply: L1_ext (L1_add sZ1 (L1_scale (-1) sG1)) => w; by rewrite mulN1r.
rewrite subr_ge0 -mulr_sumr; have := lip (Z w) zbar; rewrite /Variability.normsq.
under eq_bigr do rewrite !mxE; move/le_trans; apply.
by under eq_bigr do rewrite !mxE.
Qed.

(** The same with the last term split in three by A.15. *)
Theorem A17_general_with_A15 m d (K : finType) (C : outcome -> K) (S : K -> bool)
    (g : outcome -> 'rV[R]_m) (Z : outcome -> 'rV[R]_d) (G : 'rV[R]_d -> 'rV[R]_m) L :
  observable M C -> square_integrable M Z -> conditional_mean M g Z G ->
  (forall z z', Variability.normsq (G z - G z') <= L ^+ 2 * Variability.normsq (z - z')) ->
  total_variance M g <= \sum_k mean M (fun w => (g w 0 k - G (Z w) 0 k) ^+ 2) +
    L ^+ 2 * (within_context M C Z + within_mode M C S Z + between_modes M C S Z).
Proof. by move=> obs Z2 cm lip; rewrite -A15_general //; apply: A17_general. Qed.

End Theory.
