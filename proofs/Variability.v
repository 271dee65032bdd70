(** * Variability of an embedding and variance of a gradient (A.15, A.17, A.18)

    A finite probability space Omega with weights P; random variables are functions on Omega. The context is C = (S, U),
    S a mode in {+1, -1} (here a boolean, true for +1) and U any variable; Z is an embedding in R^d, which may be random
    given the context. Expectations, conditional expectations and covariances are defined by their formulas. Where an
    event has probability 0 the conditional expectation is 0 by convention, and no theorem needs positivity. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

Section Space.
Variables (R : realFieldType) (Omega : finType) (P : Omega -> R).

(** [P] is a probability. *)
Definition probability := (forall w, 0 <= P w) /\ \sum_w P w = 1.

(** *** Scalars *)

Implicit Types (X Y : Omega -> R).

Definition expect X : R := \sum_w P w * X w.
Definition prob (A : pred Omega) : R := \sum_(w | A w) P w.

(** E[X | V = v] = (sum over {V = v} of P X) / P(V = v). *)
Definition expect_at (T : eqType) X (V : Omega -> T) (v : T) : R := (\sum_(w | V w == v) P w * X w) / prob (fun w => V w == v).

(** E[X | V], a random variable. *)
Definition cond (T : eqType) X (V : Omega -> T) : Omega -> R := fun w => expect_at X V (V w).

(** *** Vectors, coordinate by coordinate *)

Variable d : nat.
Implicit Types (Z : Omega -> 'rV[R]_d).

Definition coord Z i : Omega -> R := fun w => Z w 0 i.
Definition mean Z : 'rV[R]_d := \row_i expect (coord Z i).
Definition mean_at (T : eqType) Z (V : Omega -> T) (v : T) : 'rV[R]_d := \row_i expect_at (coord Z i) V v.
Definition vcond (T : eqType) Z (V : Omega -> T) : Omega -> 'rV[R]_d := fun w => mean_at Z V (V w).

(** The covariance matrix, and its conditional version Cov(Z | V = v). *)
Definition Cov Z : 'M[R]_d := \matrix_(i, j) expect (fun w => (Z w 0 i - mean Z 0 i) * (Z w 0 j - mean Z 0 j)).
Definition Cov_at (T : eqType) Z (V : Omega -> T) v : 'M[R]_d :=
  \matrix_(i, j) expect_at (fun w => (Z w 0 i - mean_at Z V v 0 i) * (Z w 0 j - mean_at Z V v 0 j)) V v.

(** ||z||^2 *)
Definition normsq (z : 'rV[R]_d) : R := \sum_i z 0 i ^+ 2.

(** The paper's three terms. *)
Variables (S : Omega -> bool) (U : finType) (u : Omega -> U).

Definition context : Omega -> bool * U := fun w => (S w, u w).

Definition p_plus : R := prob S.

(** E[tr Cov(Z | S, U)] *)
Definition within_context Z : R := expect (fun w => \tr (Cov_at Z context (context w))).
(** E_S[tr Cov(E[Z | S, U] | S)] *)
Definition within_mode Z : R := expect (fun w => \tr (Cov_at (vcond Z context) S (S w))).
(** p (1 - p) ||E[Z | S = +1] - E[Z | S = -1]||^2 *)
Definition between_modes Z : R := p_plus * (1 - p_plus) * normsq (mean_at Z S true - mean_at Z S false).

End Space.

(** ** The law of total variance *)

Section TotalVariance.
Variables (R : realFieldType) (Omega : finType) (P : Omega -> R).
Hypothesis isP : probability P.
Implicit Types (X Y : Omega -> R).

Local Notation E := (expect P).

Lemma expect_ext X Y : X =1 Y -> E X = E Y.
Proof. by move=> XY; apply: eq_bigr => w _; rewrite XY. Qed.

Lemma expect_add X Y : E (fun w => X w + Y w) = E X + E Y.
Proof. by rewrite /expect -big_split; apply: eq_bigr => w _; rewrite mulrDr. Qed.

Lemma expect_scale k X : E (fun w => k * X w) = k * E X.
Proof. by rewrite /expect big_distrr; apply: eq_bigr => w _; rewrite /= mulrCA. Qed.

Lemma expect_const k : E (fun=> k) = k.
Proof. by rewrite /expect -big_distrl /= isP.2 mul1r. Qed.

Lemma expect_sum (I : finType) (F : I -> Omega -> R) : E (fun w => \sum_i F i w) = \sum_i E (F i).
Proof. by rewrite /expect exchange_big; apply: eq_bigr => w _; rewrite big_distrr. Qed.

Lemma expect_ge0 X : (forall w, 0 <= X w) -> 0 <= E X.
Proof. by move=> X0; apply: sumr_ge0 => w _; rewrite mulr_ge0 // isP.1. Qed.

Section Given.
Variables (T : eqType) (V : Omega -> T).

(** P(V = v) E[X | V = v] is the sum over {V = v}, also where P(V = v) = 0. *)
Lemma expect_atE X v : prob P (fun w => V w == v) * expect_at P X V v = \sum_(w | V w == v) P w * X w.
Proof.
rewrite /expect_at; have [pv0|pv] := eqVneq (prob P (fun w => V w == v)) 0; last by rewrite mulrC divfK.
rewrite pv0 mul0r big1 // => w Vw.
have : P w <= 0 by rewrite -pv0 /prob (bigD1 w) //= ler_addl sumr_ge0 // => w' _; apply: isP.1.
by move=> Pw; have /eqP-> : P w == 0 by [rewrite eq_le Pw isP.1]; rewrite mul0r.
Qed.

Lemma expect_at_ext X Y v : (forall w, V w = v -> X w = Y w) -> expect_at P X V v = expect_at P Y V v.
Proof. by move=> XY; congr (_ / _); apply: eq_bigr => w /eqP Vw; rewrite XY. Qed.

(** Projection: E[ E[X|V] h(V) ] = E[ X h(V) ]. *)
Lemma projection X (h : T -> R) : E (fun w => cond P X V w * h (V w)) = E (fun w => X w * h (V w)).
Proof.
have cell v : \sum_(w | V w == v) P w * (cond P X V w * h (V w)) = \sum_(w | V w == v) P w * (X w * h (V w)).
  transitivity (prob P (fun w => V w == v) * expect_at P X V v * h v).
    by rewrite /prob !big_distrl; apply: eq_bigr => w /eqP Vw; rewrite /= /cond Vw mulrA.
  by rewrite expect_atE big_distrl; apply: eq_bigr => w /eqP Vw; rewrite /= Vw mulrA.
pose r := undup [seq V w | w <- index_enum Omega].
have split_cells F : \sum_w F w = \sum_(v <- r) \sum_(w | V w == v) F w :> R.
  rewrite (exchange_big_dep xpredT) //=; apply: eq_bigr => w _.
  rewrite -big_filter.
  have -> : [seq v <- r | V w == v] = [:: V w].
    have inr : V w \in r by rewrite mem_undup map_f ?mem_index_enum.
    rewrite (eq_filter (a2 := pred1 (V w))) => [|v]; last by rewrite /= eq_sym.
    by rewrite filter_pred1_uniq ?undup_uniq.
  by rewrite big_seq1.
by rewrite /expect !split_cells; apply: eq_bigr => v _; apply: cell.
Qed.

Lemma expect_cond X : E (cond P X V) = E X.
Proof.
have := projection X (fun=> 1); rewrite (expect_ext (Y := cond P X V)); last by move=> w; rewrite mulr1.
by move->; apply: expect_ext => w; rewrite mulr1.
Qed.

Definition var X := E (fun w => (X w - E X) ^+ 2).
(** Var(X | V), a random variable. *)
Definition cvar X : Omega -> R := fun w => expect_at P (fun w' => (X w' - expect_at P X V (V w)) ^+ 2) V (V w).

Lemma expect_cvar X : E (cvar X) = E (fun w => (X w - cond P X V w) ^+ 2).
Proof.
rewrite -[RHS]expect_cond; apply: expect_ext => w; apply: expect_at_ext => w' Vw.
by rewrite /cond Vw.
Qed.

Lemma total_variance X : var X = E (cvar X) + var (cond P X V).
Proof.
rewrite expect_cvar /var expect_cond; set m := E X.
have cross : E (fun w => (X w - cond P X V w) * (cond P X V w - m)) = 0.
  have := projection X (fun v => expect_at P X V v - m); rewrite -/(cond P X V) => pr.
  rewrite (expect_ext (Y := fun w => X w * (cond P X V w - m) + (-1) * (cond P X V w * (cond P X V w - m)))).
    by rewrite expect_add expect_scale -pr mulN1r subrr.
  by move=> w; ring.
rewrite (expect_ext (Y := fun w => (X w - cond P X V w) ^+ 2 + (cond P X V w - m) ^+ 2 +
  2%:R * ((X w - cond P X V w) * (cond P X V w - m)))); last by move=> w; ring.
by rewrite !expect_add expect_scale cross mulr0 addr0.
Qed.

End Given.

End TotalVariance.

(** ** A.15, A.17 and A.18 *)

Section Variability.
Variables (R : realFieldType) (Omega : finType) (P : Omega -> R).
Hypothesis isP : probability P.
Local Notation E := (expect P).

(** Tower: conditioning on V first changes nothing when V tells what we condition on next. *)
Lemma tower (T T' : eqType) (V : Omega -> T) (f : T -> T') X v :
  expect_at P (cond P X V) (fun w => f (V w)) v = expect_at P X (fun w => f (V w)) v.
Proof.
rewrite /expect_at; congr (_ / _).
have ind Y : \sum_(w | f (V w) == v) P w * Y w = E (fun w => Y w * (f (V w) == v)%:R).
  rewrite /expect big_mkcond; apply: eq_bigr => w _.
  by case: ifP => _; rewrite ?mulr1 // !mulr0.
by rewrite !ind (projection isP V _ (fun c => (f c == v)%:R)).
Qed.

(** A function of V is its own conditional expectation given V, wherever there is any weight. *)
Lemma cond_own (T : eqType) (V : Omega -> T) (h : T -> R) w : P w != 0 -> cond P (fun w => h (V w)) V w = h (V w).
Proof.
move=> Pw; rewrite /cond /expect_at.
rewrite (eq_bigr (fun w' => P w' * h (V w))) => [|w' /eqP-> //].
rewrite -big_distrl /= -/(prob P (fun w' => V w' == V w)) mulrAC divff ?mul1r //.
apply: contraNneq Pw => pv0; rewrite eq_le (isP.1 w) andbT -pv0.
by rewrite /prob (bigD1 w) //= ler_addl sumr_ge0 // => w' _; apply: isP.1.
Qed.

Lemma expect_ae X Y : (forall w, P w != 0 -> X w = Y w) -> E X = E Y.
Proof.
move=> XY; apply: eq_bigr => w _; have [->|Pw] := eqVneq (P w) 0; first by rewrite !mul0r.
by rewrite XY.
Qed.

Lemma expect_mode (S : Omega -> bool) (h : bool -> R) :
  E (fun w => h (S w)) = p_plus P S * h true + (1 - p_plus P S) * h false.
Proof.
have -> : 1 - p_plus P S = \sum_(w | ~~ S w) P w.
  by rewrite -isP.2 (bigID S) /= addrC addKr.
rewrite /expect (bigID S) /= /p_plus /prob !big_distrl /=; congr (_ + _).
  by apply: eq_bigr => w ->.
by apply: eq_bigr => w /negPf->.
Qed.

Lemma var_mode (S : Omega -> bool) (h : bool -> R) :
  var P (fun w => h (S w)) = p_plus P S * (1 - p_plus P S) * (h true - h false) ^+ 2.
Proof. by rewrite /var (expect_mode S (fun b => (h b - _) ^+ 2)) expect_mode; ring. Qed.

(** Traces of covariances, coordinate by coordinate. *)
Lemma tr_Cov d (Z : Omega -> 'rV[R]_d) : \tr (Cov P Z) = \sum_i var P (coord Z i).
Proof. by apply: eq_bigr => i _; rewrite mxE; apply: eq_bigr => w _; rewrite mxE expr2. Qed.

Lemma tr_Cov_at d (Z : Omega -> 'rV[R]_d) (T : eqType) (V : Omega -> T) :
  E (fun w => \tr (Cov_at P Z V (V w))) = \sum_i E (cvar P V (coord Z i)).
Proof.
rewrite -expect_sum; apply: expect_ext => w; apply: eq_bigr => i _; rewrite mxE.
by apply: expect_at_ext => w' _; rewrite mxE expr2.
Qed.

Lemma coord_vcond d (Z : Omega -> 'rV[R]_d) (T : eqType) (V : Omega -> T) i : coord (vcond P Z V) i =1 cond P (coord Z i) V.
Proof. by move=> w; rewrite /coord mxE. Qed.

Lemma expect_at_eq (T : eqType) (V : Omega -> T) X Y v : X =1 Y -> expect_at P X V v = expect_at P Y V v.
Proof. by move=> XY; apply: expect_at_ext => w _. Qed.

Lemma var_eq X Y : X =1 Y -> var P X = var P Y.
Proof. by move=> XY; rewrite /var (expect_ext P XY); apply: expect_ext => w; rewrite XY. Qed.

Lemma cvar_eq (T : eqType) (V : Omega -> T) X Y : X =1 Y -> cvar P V X =1 cvar P V Y.
Proof. by move=> XY w; rewrite /cvar (expect_at_eq V _ XY); apply: expect_at_eq => w'; rewrite XY. Qed.

Lemma expect_cvar_ge0 (T : eqType) (V : Omega -> T) X : 0 <= E (cvar P V X).
Proof. by rewrite (expect_cvar isP); apply: expect_ge0 => // w; apply: sqr_ge0. Qed.

Section Context.
Variables (d : nat) (S : Omega -> bool) (U : finType) (u : Omega -> U).
Implicit Type Z : Omega -> 'rV[R]_d.
Local Notation C := (context S u).

(** The paper's three terms, coordinate by coordinate. *)
Lemma within_contextE Z : within_context P S u Z = \sum_i E (cvar P C (coord Z i)).
Proof. exact: tr_Cov_at. Qed.

Lemma within_modeE Z : within_mode P S u Z = \sum_i E (cvar P S (cond P (coord Z i) C)).
Proof.
rewrite /within_mode tr_Cov_at; apply: eq_bigr => i _; apply: expect_ext.
by apply: cvar_eq => w; rewrite coord_vcond.
Qed.

Lemma between_modesE Z : between_modes P S Z = \sum_i var P (cond P (coord Z i) S).
Proof.
rewrite /between_modes /normsq big_distrr; apply: eq_bigr => i _ /=.
by rewrite (var_mode S (expect_at P (coord Z i) S)) !mxE.
Qed.

Lemma within_context_ge0 Z : 0 <= within_context P S u Z.
Proof. by rewrite within_contextE sumr_ge0 // => i _; apply: expect_cvar_ge0. Qed.

Lemma within_mode_ge0 Z : 0 <= within_mode P S u Z.
Proof. by rewrite within_modeE sumr_ge0 // => i _; apply: expect_cvar_ge0. Qed.

(** A.15. The variability of any embedding is within-context noise, plus within-mode spread, plus between-mode separation:
    tr Cov(Z) = E[tr Cov(Z | S, U)] + E_S[tr Cov(E[Z | S, U] | S)] + p (1 - p) ||E[Z | S = +1] - E[Z | S = -1]||^2.
    Z is any random variable; contexts of probability 0 are allowed. *)
Theorem A15_decomposition Z :
  \tr (Cov P Z) = within_context P S u Z + within_mode P S u Z + between_modes P S Z.
Proof.
rewrite within_contextE within_modeE between_modesE tr_Cov -!big_split; apply: eq_bigr => i _ /=.
rewrite (total_variance isP C) -addrA; congr (_ + _).
rewrite (total_variance isP S); congr (_ + _); apply: var_eq => w.
exact: (tower C fst).
Qed.

(** The compressed embedding Z' = E[Z | S]. *)
Definition compressed Z : Omega -> 'rV[R]_d := vcond P Z S.

Lemma compressed_coord Z i : coord (compressed Z) i =1 cond P (coord Z i) S.
Proof. exact: coord_vcond. Qed.

Lemma compressed_own Z i w : P w != 0 -> cond P (coord (compressed Z) i) C w = cond P (coord Z i) S w.
Proof.
move=> Pw; rewrite {1}/cond (expect_at_eq C _ (compressed_coord Z i)).
exact: (cond_own C (fun c => expect_at P (coord Z i) S c.1) Pw).
Qed.

(** A.18. Z' = E[Z | S] keeps the between-mode term and loses the other two. *)
Theorem A18_terms Z : [/\ within_context P S u (compressed Z) = 0,
  within_mode P S u (compressed Z) = 0 & between_modes P S (compressed Z) = between_modes P S Z].
Proof.
split.
- rewrite within_contextE big1 // => i _; rewrite (expect_cvar isP) -[RHS](expect_const isP); apply: expect_ae => w Pw.
  by rewrite compressed_own // compressed_coord subrr expr0n.
- rewrite within_modeE big1 // => i _; rewrite (expect_cvar isP) -[RHS](expect_const isP); apply: expect_ae => w Pw.
  rewrite compressed_own // {2}/cond (tower C fst) (expect_at_eq _ _ (compressed_coord Z i)).
  by rewrite (tower S id) subrr expr0n.
- rewrite !between_modesE; apply: eq_bigr => i _; apply: var_eq => w.
  by rewrite {1}/cond (expect_at_eq _ _ (compressed_coord Z i)) (tower S id).
Qed.

(** A.18, consequence: the variability of Z' is the between-mode term, hence at most that of Z, and equal to it exactly
    when Z has neither within-context noise nor within-mode spread. *)
Theorem A18_compression Z : \tr (Cov P (compressed Z)) <= \tr (Cov P Z) /\
  (\tr (Cov P (compressed Z)) = \tr (Cov P Z) <-> within_context P S u Z = 0 /\ within_mode P S u Z = 0).
Proof.
have [c0 m0 b] := A18_terms Z.
rewrite [\tr (Cov P (compressed Z))]A15_decomposition c0 m0 b !add0r A15_decomposition.
have wc := within_context_ge0 Z; have wm := within_mode_ge0 Z.
split; first by rewrite ler_addr addr_ge0.
split=> [/eqP|[-> ->]]; last by rewrite !add0r.
by rewrite -[X in X == _]add0r (inj_eq (addIr _)) eq_sym paddr_eq0 // => /andP[/eqP-> /eqP->].
Qed.

End Context.

(** Var(X) is half the mean squared difference of two independent copies. *)
Lemma var_pairs X : 2%:R * var P X = \sum_w \sum_w' P w * P w' * (X w - X w') ^+ 2.
Proof.
transitivity (E (fun w => E (fun w' => (X w - X w') ^+ 2))); last first.
  apply: eq_bigr => w _; rewrite big_distrr; apply: eq_bigr => w' _ /=; exact: mulrA.
have inner w : E (fun w' => (X w - X w') ^+ 2) = (X w - E X) ^+ 2 + var P X.
  rewrite (expect_ext P (Y := fun w' => (X w - E X) ^+ 2 + ((X w' - E X) ^+ 2 +
     (- (2%:R * (X w - E X))) * (X w' + - E X)))); last by move=> w'; ring.
  rewrite expect_add expect_const // expect_add expect_scale expect_add expect_const // subrr mulr0 addr0.
  by [].
by rewrite (expect_ext P inner) expect_add expect_const // -/(var P X); ring.
Qed.

(** A.17. Let g be a stochastic gradient and G(z) = E[g | Z = z] be L-Lipschitz on the values that Z takes with positive
    probability (the paper's assumption). Then tr Cov(g) <= E[tr Cov(g | Z)] + L^2 tr Cov(Z). *)
Theorem A17_gradient_variance m d (g : Omega -> 'rV[R]_m) (Z : Omega -> 'rV[R]_d) (L : R) :
  let G := mean_at P g Z in
  (forall w w', 0 < P w -> 0 < P w' -> normsq (G (Z w) - G (Z w')) <= L ^+ 2 * normsq (Z w - Z w')) ->
  \tr (Cov P g) <= E (fun w => \tr (Cov_at P g Z (Z w))) + L ^+ 2 * \tr (Cov P Z).
Proof.
move=> G lip.
have pairs n (Y : Omega -> 'rV[R]_n) :
    (\sum_i var P (coord Y i)) * 2%:R = \sum_w \sum_w' P w * P w' * normsq (Y w - Y w').
  rewrite mulrC big_distrr /= (eq_bigr _ (fun i _ => var_pairs (coord Y i))) exchange_big; apply: eq_bigr => w _.
  rewrite exchange_big; apply: eq_bigr => w' _ /=; rewrite big_distrr; apply: eq_bigr => i _.
  by rewrite !mxE.
rewrite tr_Cov tr_Cov_at (eq_bigr _ (fun i _ => total_variance isP Z (coord g i))) big_split /= ler_add2l.
rewrite -(ler_pmul2l (ltr0Sn R 1)) tr_Cov mulrCA ![2%:R * _]mulrC pairs.
rewrite (eq_bigr (fun i => var P (coord (vcond P g Z) i))); last first.
  by move=> i _; apply: var_eq => w; rewrite coord_vcond.
rewrite pairs big_distrr /=; apply: ler_sum => w _; rewrite big_distrr /=; apply: ler_sum => w' _.
have [Pw|Pw] := eqVneq (P w) 0; first by rewrite Pw !mul0r mulr0.
have [Pw'|Pw'] := eqVneq (P w') 0; first by rewrite Pw' !(mulr0, mul0r).
rewrite mulrCA ler_wpmul2l ?mulr_ge0 ?isP.1 //.
by apply: lip; rewrite lt_neqAle eq_sym ?Pw ?Pw' isP.1.
Qed.

(** A.17 with A.15: the last term split in three. *)
Theorem A17_with_A15 m d (g : Omega -> 'rV[R]_m) (Z : Omega -> 'rV[R]_d) (L : R)
    (S : Omega -> bool) (U : finType) (u : Omega -> U) :
  let G := mean_at P g Z in
  (forall w w', 0 < P w -> 0 < P w' -> normsq (G (Z w) - G (Z w')) <= L ^+ 2 * normsq (Z w - Z w')) ->
  \tr (Cov P g) <= E (fun w => \tr (Cov_at P g Z (Z w))) +
                   L ^+ 2 * (within_context P S u Z + within_mode P S u Z + between_modes P S Z).
Proof. by move=> G lip; rewrite -A15_decomposition; apply: A17_gradient_variance. Qed.

End Variability.
