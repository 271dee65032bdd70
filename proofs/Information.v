(** * Information about the context under compression (not in the paper)

    "Total information falls under compression" holds when the compressed embedding is a function of the embedding
    (data processing), and fails in general for Z' = E[Z | S]. Stated over Coq's real numbers, because of the logarithm. *)

From mathcomp Require Import all_ssreflect.
From Coq Require Import Reals Lra.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Local Open Scope R_scope.

(** *** Finite sums of real numbers *)

Lemma Rplus_assoc' : associative Rplus. Proof. by move=> x y z; rewrite Rplus_assoc. Qed.
Canonical Rplus_monoid := Monoid.Law Rplus_assoc' Rplus_0_l Rplus_0_r.
Canonical Rplus_comoid := Monoid.ComLaw Rplus_comm.
Canonical Rmult_muloid := Monoid.MulLaw Rmult_0_l Rmult_0_r.
Canonical Rplus_addoid := Monoid.AddLaw Rmult_plus_distr_r Rmult_plus_distr_l.

(** Real numbers can be compared for equality (this is where Coq's axioms about them enter). *)
Lemma Req_axiom : Equality.axiom (fun x y : R => if Req_EM_T x y then true else false).
Proof. by move=> x y; case: Req_EM_T => h; constructor. Qed.
Canonical R_eqType := EqType R (EqMixin Req_axiom).

Notation "\rsum_ i F" := (\big[Rplus/0]_i F) (at level 41, F at level 41, i at level 0, format "\rsum_ i  F").

Definition ind (b : bool) : R := if b then 1 else 0.

Section Sums.
Variable I : finType.
Implicit Types F G : I -> R.

Lemma rsum_le F G : (forall i, F i <= G i) -> \rsum_i F i <= \rsum_i G i.
Proof. by move=> FG; apply: (big_ind2 (fun x y => x <= y)) => [|x y u v|i _]; [lra|lra|]. Qed.

Lemma rsum_ge0 F : (forall i, 0 <= F i) -> 0 <= \rsum_i F i.
Proof. by move=> F0; apply: big_ind => [|x y|i _]; [lra|lra|]. Qed.

Lemma rsum_term F i : (forall j, 0 <= F j) -> F i <= \rsum_j F j.
Proof.
move=> F0; rewrite (bigD1 i) //=; suff: 0 <= \big[Rplus/0]_(j | j != i) F j by lra.
by apply: big_ind => [|x y|j _]; [lra|lra|].
Qed.

Lemma rsum_scale k F : \rsum_i (k * F i) = k * \rsum_i F i.
Proof. by rewrite big_distrr. Qed.

End Sums.

(** ** Mutual information *)

Section Space.
Variables (Omega : finType) (P : Omega -> R).

Definition probability := (forall w, 0 <= P w) /\ \rsum_w P w = 1.

Definition prob (A : pred Omega) : R := \rsum_w (P w * ind (A w)).

(** I(X; Y) = E[ ln ( P(X, Y) / (P(X) P(Y)) ) ], in nats, for random variables with values in any types. Outcomes of
    probability 0 add nothing. *)
Definition information (T T' : eqType) (X : Omega -> T) (Y : Omega -> T') : R :=
  \rsum_w (P w * ln (prob (fun v => (X v == X w) && (Y v == Y w)) /
                     (prob (fun v => X v == X w) * prob (fun v => Y v == Y w)))).

(** The same as a sum over values, the form found in textbooks. *)
Lemma information_values (T T' : finType) (X : Omega -> T) (Y : Omega -> T') :
  information X Y = \rsum_x \rsum_y (prob (fun v => (X v == x) && (Y v == y)) *
    ln (prob (fun v => (X v == x) && (Y v == y)) / (prob (fun v => X v == x) * prob (fun v => Y v == y)))).
Proof.
pose h x y := ln (prob (fun v => (X v == x) && (Y v == y)) / (prob (fun v => X v == x) * prob (fun v => Y v == y))).
transitivity (\rsum_x \rsum_y (prob (fun v => (X v == x) && (Y v == y)) * h x y)); last by [].
have expand x y : prob (fun v => (X v == x) && (Y v == y)) * h x y =
    \rsum_w (P w * ind ((X w == x) && (Y w == y)) * h x y) by rewrite big_distrl.
rewrite (eq_bigr _ (fun x _ => eq_bigr _ (fun y _ => expand x y))).
rewrite (eq_bigr _ (fun x _ => exchange_big _ _ _ _ _ _)) exchange_big; apply: eq_bigr => w _ /=.
rewrite (bigD1 (X w)) //= (bigD1 (Y w)) //= !eqxx big1 => [|y /negPf ne]; last first.
  by rewrite eq_sym in ne; rewrite ne /ind /=; lra.
rewrite big1 => [|x /negPf ne]; first by rewrite /h /ind /=; lra.
by apply: big1 => y _; rewrite eq_sym in ne; rewrite ne /ind /=; lra.
Qed.

(** Only which outcomes share a value matters, not what the values are. *)
Lemma information_relabel (T1 T2 T : eqType) (X1 : Omega -> T1) (X2 : Omega -> T2) (Y : Omega -> T) :
  (forall v w, (X1 v == X1 w) = (X2 v == X2 w)) -> information X1 Y = information X2 Y.
Proof.
move=> e; apply: eq_bigr => w _; congr (_ * ln (_ / (_ * _))); apply: eq_bigr => v _; by rewrite e.
Qed.

End Space.

(** ** Data processing *)

Section DataProcessing.
Variables (Omega : finType) (P : Omega -> R).
Hypothesis isP : probability P.

Lemma prob_ge0 A : 0 <= prob P A.
Proof. by apply: rsum_ge0 => w; rewrite /ind; case: (A w); have := isP.1 w; lra. Qed.

Lemma prob_point (A : pred Omega) w : A w -> P w <= prob P A.
Proof.
move=> Aw; have -> : P w = P w * ind (A w) by rewrite Aw /ind; lra.
by apply: (rsum_term (F := fun v => P v * ind (A v))) => v; rewrite /ind; case: (A v); have := isP.1 v; lra.
Qed.

Lemma ratio_le1 x : 0 <= x -> x * / x <= 1.
Proof. by move=> x0; case: (Req_dec x 0) => [->|xne]; [lra|rewrite Rinv_r //; lra]. Qed.

Lemma inv_ge0 x : 0 <= x -> 0 <= / x.
Proof.
move=> x0; case: (Req_dec x 0) => [->|xne]; first by rewrite Rinv_0; lra.
by left; apply: Rinv_0_lt_compat; lra.
Qed.

Lemma ln_ge x : 0 < x -> 1 - / x <= ln x.
Proof.
move=> x0; have ix : 0 < / x by apply: Rinv_0_lt_compat.
have := exp_ineq1_le (ln (/ x)); rewrite exp_ln // ln_Rinv //; lra.
Qed.

Variables (A B K : eqType) (Z : Omega -> A) (f : A -> B) (C : Omega -> K).

Let fZ w := f (Z w).
Let z w := prob P (fun v => Z v == Z w).
Let zc w := prob P (fun v => (Z v == Z w) && (C v == C w)).
Let b w := prob P (fun v => fZ v == fZ w).
Let bc w := prob P (fun v => (fZ v == fZ w) && (C v == C w)).

(** The mean of p(z) p(f(z), c) / (p(z, c) p(f(z))) is at most 1. *)
Lemma ratio_mean : \rsum_w (P w * (z w * bc w * / zc w * / b w)) <= 1.
Proof.
pose joint v u := prob P (fun w => (Z w == Z v) && (C w == C u)).
have inner v : \rsum_w (P w * ind (Z w == Z v) * (bc w * / zc w)) <= b v.
  have swap : \rsum_w (P w * ind (Z w == Z v) * (bc w * / zc w)) =
      \rsum_u (P u * ind (fZ u == fZ v) * (joint v u * / joint v u)).
    transitivity (\rsum_w \rsum_u (P u * ind (fZ u == fZ v) * (P w * ind ((Z w == Z v) && (C w == C u)) * / joint v u))).
      apply: eq_bigr => w _; rewrite /bc /prob big_distrl -rsum_scale; apply: eq_bigr => u _ /=.
      case: eqP => [e|_]; last by rewrite /ind /=; lra.
      have -> : fZ w = fZ v by rewrite /fZ e.
      rewrite [C w == C u]eq_sym; case: (C u =P C w) => [ec|_]; last by rewrite andbF /ind /=; lra.
      have -> : zc w = joint v u by apply: eq_bigr => x _; rewrite e ec.
      by rewrite andbT /ind /=; lra.
    rewrite exchange_big; apply: eq_bigr => u _ /=; rewrite rsum_scale; congr (_ * _).
    by rewrite [X in _ = X * _]/joint /prob big_distrl.
  rewrite swap /b /prob; apply: rsum_le => u.
  have := ratio_le1 (prob_ge0 (fun w => (Z w == Z v) && (C w == C u))); rewrite -/(joint v u) => r1.
  have p0 : 0 <= P u * ind (fZ u == fZ v) by rewrite /ind; case: eqP => _; have := isP.1 u; lra.
  by have := Rmult_le_compat_l _ _ _ p0 r1; lra.
have -> : \rsum_w (P w * (z w * bc w * / zc w * / b w)) =
    \rsum_v (P v * (/ b v * \rsum_w (P w * ind (Z w == Z v) * (bc w * / zc w)))).
  transitivity (\rsum_w \rsum_v (P v * (/ b v * (P w * ind (Z w == Z v) * (bc w * / zc w))))).
    apply: eq_bigr => w _; rewrite /z /prob.
    have -> : P w * ((\rsum_v (P v * ind (Z v == Z w))) * bc w * / zc w * / b w) =
      (P w * bc w * / zc w * / b w) * (\rsum_v (P v * ind (Z v == Z w))) by ring.
    rewrite -rsum_scale; apply: eq_bigr => v _; rewrite [Z v == Z w]eq_sym.
    case: eqP => [e|_]; last by rewrite /ind; lra.
    have -> : b w = b v by apply: eq_bigr => x _; rewrite /fZ e.
    by rewrite /ind; lra.
  by rewrite exchange_big; apply: eq_bigr => v _; rewrite -rsum_scale -rsum_scale.
rewrite -isP.2; apply: rsum_le => v.
have b0 : 0 <= b v by apply: prob_ge0.
have := Rmult_le_compat_l _ _ _ (inv_ge0 b0) (inner v); have := ratio_le1 b0 => r1 r2.
by rewrite -[X in _ <= X]Rmult_1_r; apply: Rmult_le_compat_l; [apply: isP.1|lra].
Qed.

(** Data processing, finite case. A function of the embedding knows no more about the context than the embedding:
    I(f(Z); C) <= I(Z; C). *)
Theorem data_processing : information P (fun w => f (Z w)) C <= information P Z C.
Proof.
suff : 0 <= information P Z C - information P fZ C by rewrite /fZ; lra.
pose gap w := P w * (1 - z w * bc w * / zc w * / b w).
have step w : gap w <= P w * ln (zc w / (z w * prob P (fun v => C v == C w))) -
                        P w * ln (bc w / (b w * prob P (fun v => C v == C w))).
  case: (Req_dec (P w) 0) => [P0|Pne]; first by rewrite /gap P0; lra.
  have Pw : 0 < P w by have := isP.1 w; lra.
  have pz : 0 < z w by apply: Rlt_le_trans Pw (prob_point _); rewrite eqxx.
  have pzc : 0 < zc w by apply: Rlt_le_trans Pw (prob_point _); rewrite !eqxx.
  have pb : 0 < b w by apply: Rlt_le_trans Pw (prob_point _); rewrite eqxx.
  have pbc : 0 < bc w by apply: Rlt_le_trans Pw (prob_point _); rewrite !eqxx.
  have pc : 0 < prob P (fun v => C v == C w) by apply: Rlt_le_trans Pw (prob_point _); rewrite eqxx.
  have div x y : 0 < x -> 0 < y -> 0 < x / y by move=> *; apply: Rdiv_lt_0_compat.
  have e : ln (zc w / (z w * prob P (fun v => C v == C w))) - ln (bc w / (b w * prob P (fun v => C v == C w))) =
           ln ((zc w * b w) / (z w * bc w)).
    set c := prob P _ in pc *.
    have -> : zc w / (z w * c) = ((zc w * b w) / (z w * bc w)) * (bc w / (b w * c)).
      by field; repeat split; apply: Rgt_not_eq.
    by rewrite ln_mult; [lra|apply: div; apply: Rmult_lt_0_compat|apply: div => //; apply: Rmult_lt_0_compat].
  have r : 0 < (zc w * b w) / (z w * bc w) by apply: div; apply: Rmult_lt_0_compat.
  have := ln_ge r; rewrite -e.
  have -> : / ((zc w * b w) / (z w * bc w)) = z w * bc w * / zc w * / b w.
    by field; repeat split; apply: Rgt_not_eq.
  move=> h; rewrite -Rmult_minus_distr_l; apply: Rmult_le_compat_l; lra.
have -> : information P Z C - information P fZ C = \rsum_w (P w * ln (zc w / (z w * prob P (fun v => C v == C w))) -
                        P w * ln (bc w / (b w * prob P (fun v => C v == C w)))).
  rewrite /information /Rminus -[- \big[_/_]_w _]Rmult_1_l -Ropp_mult_distr_r Ropp_mult_distr_l -rsum_scale -big_split.
  by apply: eq_bigr => w _; rewrite /zc /z /bc /b /=; lra.
apply: Rle_trans (rsum_le step); rewrite /gap.
have -> : \rsum_w (P w * (1 - z w * bc w * / zc w * / b w)) =
    \rsum_w P w + -1 * \rsum_w (P w * (z w * bc w * / zc w * / b w)).
  by rewrite -rsum_scale -big_split; apply: eq_bigr => w _ /=; lra.
have := ratio_mean; rewrite isP.2; lra.
Qed.

End DataProcessing.

(** ** The compressed embedding Z' = E[Z | S] *)

Section Compressed.
Variables (Omega : finType) (P : Omega -> R) (S : Omega -> bool) (Z : Omega -> R).

(** E[Z | S = s] and the random variable E[Z | S], for a scalar embedding. *)
Definition expect_mode (s : bool) : R := \rsum_w (P w * ind (S w == s) * Z w) / prob P (fun w => S w == s).
Definition compressed : Omega -> R := fun w => expect_mode (S w).

End Compressed.

(** The same for an embedding of d numbers. *)
Section Vectors.
Variables (Omega : finType) (P : Omega -> R) (S : Omega -> bool) (d : nat) (Z : Omega -> d.-tuple R).

Definition vcompressed : Omega -> d.-tuple R := fun w => [tuple compressed P S (fun v => tnth (Z v) i) w | i < d].

(** If the mode can be decoded from the embedding, S = decode(Z), compression does lose information. *)
Theorem compression_of_decodable (K : eqType) (C : Omega -> K) (decode : d.-tuple R -> bool) : probability P ->
  (forall w, S w = decode (Z w)) -> information P vcompressed C <= information P Z C.
Proof.
move=> isP dec; pose at_ s : d.-tuple R := [tuple expect_mode P S (fun v => tnth (Z v) i) s | i < d].
rewrite (@information_relabel _ P _ _ _ vcompressed (fun w => at_ (decode (Z w)))).
  exact: (data_processing isP Z (fun x => at_ (decode x))).
by move=> v w; rewrite /vcompressed /compressed !dec.
Qed.

End Vectors.

(** ** The counterexample: information rises under compression

    S and U are independent fair bits, C = (S, U), Z = [S or U]. *)

Section Counterexample.

Definition bits : finType := [finType of bool * bool].
Definition fair (w : bits) : R := / 4.
Definition mode (w : bits) : bool := w.1.
Definition either (w : bits) : R := if w.1 || w.2 then 1 else 0.

(** The context C = (S, U): everything there is. *)
Definition both (w : bits) : bits := w.

Lemma sum4 (F : bits -> R) : \rsum_w F w = F (true, true) + F (true, false) + (F (false, true) + F (false, false)).
Proof.
rewrite (eq_bigr (fun w : bits => F (w.1, w.2))) => [|[] //].
by rewrite -(pair_bigA _ (fun a b => F (a, b))) /= !big_bool.
Qed.

Lemma fair_probability : probability fair.
Proof. by split=> [w|]; rewrite ?sum4 /fair; lra. Qed.

(** E[Z | S] is 1 in mode true and 1/2 in mode false. *)
Lemma compressed_either w : compressed fair mode either w = if mode w then 1 else / 2.
Proof.
by rewrite /compressed /expect_mode /prob !sum4 /fair /mode /either /ind; case: w => [[] u] /=; field.
Qed.

Lemma if_eq (x y : R) (a b : bool) : x <> y -> ((if a then x else y) == (if b then x else y)) = (a == b).
Proof. by move=> xy; case: a b => [] []; rewrite ?eqxx //; apply/negbTE/eqP => // /esym. Qed.

(** I(Z; C) = ln 4 - (3/4) ln 3, about 0.562 nats, and I(Z'; C) = ln 2, about 0.693: compression by E[. | S] has raised the
    information about the context. *)
Theorem compression_can_raise_information :
  [/\ probability fair, information fair either both = ln 4 - 3 / 4 * ln 3,
      information fair (compressed fair mode either) both = ln 2
    & information fair either both < information fair (compressed fair mode either) both].
Proof.
have ln4 : ln 4 = 2 * ln 2 by rewrite (_ : 4 = 2 * 2) ?ln_mult; lra.
have e1 : information fair either both = ln 4 - 3 / 4 * ln 3.
  rewrite (@information_relabel _ _ _ _ _ either (fun w => w.1 || w.2)); last first.
    by move=> v w; apply: if_eq; lra.
  have collect x1 x2 x3 x4 : x1 = 4 / 3 -> x2 = 4 / 3 -> x3 = 4 / 3 -> x4 = 4 ->
      / 4 * ln x1 + / 4 * ln x2 + (/ 4 * ln x3 + / 4 * ln x4) = ln 4 - 3 / 4 * ln 3.
    by move=> -> -> -> ->; rewrite /Rdiv ln_mult ?ln_Rinv; lra.
  by rewrite /information /prob !sum4 /fair /ind /=; apply: collect; field.
have e2 : information fair (compressed fair mode either) both = ln 2.
  rewrite (@information_relabel _ _ _ _ _ (compressed fair mode either) mode); last first.
    by move=> v w; rewrite !compressed_either; apply: if_eq; lra.
  have collect x1 x2 x3 x4 : x1 = 2 -> x2 = 2 -> x3 = 2 -> x4 = 2 ->
      / 4 * ln x1 + / 4 * ln x2 + (/ 4 * ln x3 + / 4 * ln x4) = ln 2.
    by move=> -> -> -> ->; lra.
  by rewrite /information /prob !sum4 /fair /ind /=; apply: collect; field.
split=> //; first exact: fair_probability.
rewrite e1 e2 ln4.
have ln16 : ln 16 = 4 * ln 2.
  by rewrite (_ : 16 = (2 * 2) * (2 * 2)) ?ln_mult; lra.
have ln27 : ln 27 = 3 * ln 3.
  by rewrite (_ : 27 = 3 * (3 * 3)) ?ln_mult; lra.
have : ln 16 < ln 27 by apply: ln_increasing; lra.
lra.
Qed.

End Counterexample.
