(** * When compression within modes lowers the variance of the gradient itself (A.17, A.18)

    A.17 and A.18 compare bounds. Here is the variance: what it does under Z' = E[Z | S] in three terms that can be measured,
    when it has to fall, and laws under which it rises. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Variability.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

Section Account.
Variables (R : realFieldType) (Omega : finType) (P : Omega -> R).
Hypothesis isP : probability P.
Local Notation E := (expect P).

Variables (m : nat) (S : Omega -> bool) (T : eqType) (Z : Omega -> T).
Implicit Types g : Omega -> 'rV[R]_m.

Definition mode_code (w : Omega) : bool * T := (S w, Z w).

(** E[tr Cov(g | S, Z)]: noise of the gradient at a given mode and code. *)
Definition noise_at_code g : R := E (fun w => \tr (Cov_at P g mode_code (mode_code w))).
(** E[tr Cov(E[g | S, Z] | S)]: what the code moves the mean gradient within a mode. *)
Definition signal_of_code g : R := E (fun w => \tr (Cov_at P (vcond P g mode_code) S (S w))).
(** E[tr Cov(g | S)]: noise of a gradient within modes. *)
Definition noise_in_mode g : R := E (fun w => \tr (Cov_at P g S (S w))).
(** tr Cov(E[g | S]): what the mode moves the mean gradient. *)
Definition signal_of_mode g : R := \tr (Cov P (vcond P g S)).

Lemma var_split X :
  var P X = E (cvar P mode_code X) + E (cvar P S (cond P X mode_code)) + var P (cond P X S).
Proof.
rewrite (total_variance isP mode_code) -addrA; congr (_ + _); rewrite (total_variance isP S); congr (_ + _).
by apply: var_eq => w; apply: (tower isP mode_code fst).
Qed.

Lemma tr_Cov_vcond (T' : eqType) (V : Omega -> T') g : \tr (Cov P (vcond P g V)) = \sum_i var P (cond P (coord g i) V).
Proof. by rewrite tr_Cov; apply: eq_bigr => i _; apply: var_eq => w; rewrite coord_vcond. Qed.

Lemma signal_of_codeE g : signal_of_code g = \sum_i E (cvar P S (cond P (coord g i) mode_code)).
Proof.
rewrite /signal_of_code tr_Cov_at; apply: eq_bigr => i _; apply: expect_ext.
by apply: cvar_eq => w; rewrite coord_vcond.
Qed.

Lemma variance_split g : \tr (Cov P g) = noise_at_code g + signal_of_code g + signal_of_mode g.
Proof.
rewrite /noise_at_code /signal_of_mode signal_of_codeE tr_Cov_vcond tr_Cov tr_Cov_at -!big_split.
by apply: eq_bigr => i _; apply: var_split.
Qed.

Lemma variance_in_mode g : \tr (Cov P g) = noise_in_mode g + signal_of_mode g.
Proof.
rewrite /noise_in_mode /signal_of_mode tr_Cov_vcond tr_Cov tr_Cov_at -big_split.
by apply: eq_bigr => i _; apply: total_variance.
Qed.

(** The account. Let g be the gradient under the code Z and g' the one under any replacement. The variance falls by the
    signal that the code gave within modes, less the noise that the replacement adds, plus what the separation of the modes
    loses:
    tr Cov(g) - tr Cov(g') = E[tr Cov(E[g | S, Z] | S)] - (E[tr Cov(g' | S)] - E[tr Cov(g | S, Z)])
                             + (tr Cov(E[g | S]) - tr Cov(E[g' | S])). *)
Theorem compression_account g g' :
  \tr (Cov P g) - \tr (Cov P g') =
  signal_of_code g - (noise_in_mode g' - noise_at_code g) + (signal_of_mode g - signal_of_mode g').
Proof. by rewrite variance_split (variance_in_mode g'); ring. Qed.

(** The exact condition. Where each mode keeps its mean gradient, the variance does not rise if and only if the noise that
    the replacement adds is at most the signal that the code gave within modes. *)
Theorem compression_criterion g g' : (forall w, P w != 0 -> vcond P g S w = vcond P g' S w) ->
  (\tr (Cov P g') <= \tr (Cov P g)) = (noise_in_mode g' - noise_at_code g <= signal_of_code g).
Proof.
move=> keep; rewrite -subr_ge0 compression_account; suff -> : signal_of_mode g = signal_of_mode g'.
  by rewrite subrr addr0 subr_ge0.
rewrite /signal_of_mode !tr_Cov_vcond; apply: eq_bigr => i _.
have same w : P w != 0 -> cond P (coord g i) S w = cond P (coord g' i) S w.
  by move=> /keep /rowP/(_ i); rewrite !mxE.
have e : E (cond P (coord g i) S) = E (cond P (coord g' i) S) by apply: expect_ae.
by rewrite /var e; apply: expect_ae => w /same ->.
Qed.

End Account.

(** ** A condition under which it falls *)

Section Falls.
Variables (R : realFieldType) (Omega : finType) (P : Omega -> R).
Hypothesis isP : probability P.
Local Notation E := (expect P).

(** E[X | V] is nearest: if g' is a conditional mean of g in the sense that g - g' is orthogonal to all functions of V, and
    g' is a function of V, the variance falls by E|g - g'|^2. *)
Lemma variance_drop (T : eqType) (V : Omega -> T) (X : Omega -> R) (h : T -> R) :
  (forall k : T -> R, E (fun w => (X w - h (V w)) * k (V w)) = 0) ->
  var P X = var P (fun w => h (V w)) + E (fun w => (X w - h (V w)) ^+ 2).
Proof.
move=> orth; have mean_ : E X = E (fun w => h (V w)).
  have := orth (fun=> 1); rewrite (expect_ext P (Y := fun w => X w + (-1) * h (V w))); last by move=> w; ring.
  by rewrite expect_add expect_scale mulN1r => /eqP; rewrite subr_eq0 => /eqP.
rewrite /var mean_; set c := E (fun w => h (V w)).
rewrite (expect_ext P (Y := fun w => (h (V w) - c) ^+ 2 + ((X w - h (V w)) ^+ 2 +
  2%:R * ((X w - h (V w)) * (h (V w) - c))))); last by move=> w; ring.
by rewrite !expect_add expect_scale (orth (fun v => h v - c)) mulr0 addr0.
Qed.

Variables (m d : nat) (S : Omega -> bool) (T : eqType) (Y : Omega -> T).

(** Everything but the code: the mode and the rest. *)
Definition rest (w : Omega) : T * bool := (Y w, S w).

(** The variance itself. Let the gradient be affine in the code, g = A(Y, S) + B(Y, S) Z, and let the code tell nothing of
    its mean beyond the mode, E[Z | Y, S] = E[Z | S] (for instance Z independent of Y given S). Then Z' = E[Z | S] lowers
    the variance of the gradient by exactly E|B(Y, S) (Z - Z')|^2. *)
Theorem compression_lowers_variance (A : T * bool -> 'rV[R]_m) (B : T * bool -> 'M[R]_(d, m)) (Z : Omega -> 'rV[R]_d) :
  (forall i w, P w != 0 -> cond P (coord Z i) rest w = cond P (coord Z i) S w) ->
  let g w := A (rest w) + Z w *m B (rest w) in
  let g' w := A (rest w) + compressed P S Z w *m B (rest w) in
  \tr (Cov P g) = \tr (Cov P g') + E (fun w => normsq ((Z w - compressed P S Z w) *m B (rest w))).
Proof.
move=> indep g g'; rewrite !tr_Cov /normsq expect_sum -big_split; apply: eq_bigr => k _ /=.
pose h (v : T * bool) := (A v + mean_at P Z S v.2 *m B v) 0 k.
have g'E : coord g' k =1 fun w => h (rest w) by [].
have gap w : coord g k w - h (rest w) = ((Z w - compressed P S Z w) *m B (rest w)) 0 k.
  by rewrite /coord /g /h mulmxBl !mxE opprD addrACA subrr add0r.
rewrite (var_eq P g'E) (expect_ext P (Y := fun w => (coord g k w - h (rest w)) ^+ 2)); last by move=> w; rewrite gap.
apply: variance_drop => f.
rewrite (expect_ext P (Y := fun w => \sum_i (coord Z i w - cond P (coord Z i) S w) * (B (rest w) i k * f (rest w)))).
  rewrite expect_sum big1 // => i _.
  pose b (v : T * bool) := B v i k * f v.
  have := projection isP rest (coord Z i) b.
  rewrite (expect_ae (Y := fun w => cond P (coord Z i) S w * b (rest w))) => [pr|w Pw]; last by rewrite indep.
  rewrite (expect_ext P (Y := fun w => coord Z i w * b (rest w) + (-1) * (cond P (coord Z i) S w * b (rest w)))).
    by rewrite expect_add expect_scale pr mulN1r subrr.
  by move=> w; rewrite /b; ring.
move=> w; rewrite gap mxE mulr_suml; apply: eq_bigr => i _.
by rewrite !mxE mulrA.
Qed.

End Falls.

(** ** Neither half of the condition can be dropped, and the method's gradient has neither *)

Section Rises.
Variable R : realFieldType.

Definition coin (w : bool) : R := 1 / 2%:R.
Definition sign (b : bool) : R := if b then 1 else -1.

Lemma coin_probability : probability coin.
Proof. by split=> [w|]; rewrite ?big_bool /coin /= ?divr_ge0 ?ler01 ?ler0n //; field. Qed.

(** Without independence. One mode, Z a fair sign and Y = Z: g = Z - Y is affine in Z and never varies, g' = 0 - Y does. *)
Theorem compression_needs_independence :
  let S (_ : bool) := true in
  let Z (w : bool) : 'rV[R]_1 := (sign w)%:M in
  let g (w : bool) : 'rV[R]_1 := (- sign w)%:M + Z w *m 1%:M in
  let g' (w : bool) : 'rV[R]_1 := (- sign w)%:M + compressed coin S Z w *m 1%:M in
  \tr (Cov coin g) = 0 /\ \tr (Cov coin g') = 1.
Proof.
move=> S Z g g'; have ex X : expect coin X = (X true + X false) / 2%:R by rewrite /expect big_bool /coin /=; field.
have Z0 w : compressed coin S Z w = 0.
  apply/rowP=> i; rewrite !mxE ord1 /expect_at big_bool /coord /Z !mxE /= /coin /sign !mulr1n.
  have -> : 1 / 2%:R * 1 + 1 / 2%:R * -1 = 0 :> R by ring.
  by rewrite mul0r.
rewrite !tr_Cov !big_ord1 /var !ex /coord /g /g' !Z0 !mul0mx !mulmx1 !mxE /sign /= !mulr1n.
by split; field.
Qed.

(** Without affinity. Two fair signs Y and Z, independent, one mode: g = Y (1 - |Z|) is 0, g' = Y (1 - |E Z|) = Y varies. *)
Theorem compression_needs_affinity :
  let P (w : bool * bool) : R := 1 / 4%:R in
  let S (_ : bool * bool) := true in
  let Z (w : bool * bool) : 'rV[R]_1 := (sign w.2)%:M in
  let G (w : bool * bool) (z : 'rV[R]_1) : 'rV[R]_1 := (sign w.1 * (1 - `|z 0 0|))%:M in
  probability P /\ \tr (Cov P (fun w => G w (Z w))) = 0 /\ \tr (Cov P (fun w => G w (compressed P S Z w))) = 1.
Proof.
move=> P S Z G.
have sum4 (F : bool * bool -> R) : \sum_w F w = F (true, true) + F (true, false) + (F (false, true) + F (false, false)).
  rewrite (eq_bigr (fun w : bool * bool => F (w.1, w.2))) => [|[] //].
  by rewrite -(pair_bigA _ (fun a b => F (a, b))) /= !big_bool.
have ex X : expect P X = (X (true, true) + X (true, false) + (X (false, true) + X (false, false))) / 4%:R.
  by rewrite /expect sum4 /P; field.
have Z0 w : compressed P S Z w = 0.
  apply/rowP=> i; rewrite !mxE ord1 /expect_at; set q := prob _ _.
  rewrite (eq_bigl xpredT) // sum4 /coord /Z !mxE /P /sign /= !mulr1n.
  have -> : 1 / 4%:R * 1 + 1 / 4%:R * -1 + (1 / 4%:R * 1 + 1 / 4%:R * -1) = 0 :> R by ring.
  by rewrite mul0r.
split; first by split=> [w|]; rewrite ?sum4 /P ?divr_ge0 ?ler01 ?ler0n //; field.
rewrite !tr_Cov !big_ord1 /var !ex /coord /G !Z0 /Z !mxE /sign /= !mulr1n normrN normr1 normr0.
by split; field.
Qed.

(** The method's own gradient. One step of the integrator x' = x + S a from x = -1, force f = 1 wanted, S a fair sign. The
    code is Z in {1, 2} for S = 1 and {-1, -2} for S = -1, each with probability 1/2: its sign is the mode, and the rest of
    it is noise, independent of everything. The policy draws a = Z / 3 + x / 3, the reward is -(S a - 1)^2, and
    g = reward * x / (1/3) * Z is the score-function gradient in the policy's one parameter. x takes the values -3, ..., 3
    with weights (1, 9, 45, 70, 45, 9, 1) / 180, whose moments up to the seventh are those of a standard normal; g and its
    square need no others. *)
Definition push : finType := [finType of bool * bool * 'I_7].

Definition lattice (i : 'I_7) : R := nth 0 [:: 1; 9%:R; 45%:R; 70%:R; 45%:R; 9%:R; 1] i / 180%:R.
Definition step_noise (i : 'I_7) : R := nth 0 [:: - 3%:R; - 2%:R; -1; 0; 1; 2%:R; 3%:R] i.

Definition push_law (w : push) : R := 1 / 4%:R * lattice w.2.
Definition push_mode (w : push) : bool := w.1.1.
Definition push_code (w : push) : 'rV[R]_1 := (sign w.1.1 * (if w.1.2 then 1 else 2%:R))%:M.
Definition push_gradient (z : 'rV[R]_1) (w : push) : 'rV[R]_1 :=
  let a := (z 0 0 + step_noise w.2) / 3%:R in
  (- (sign w.1.1 * a - 1) ^+ 2 * (3%:R * step_noise w.2) * z 0 0)%:M.

Lemma lattice_sum (F : R -> R) : \sum_i lattice i * F (step_noise i) =
  (F (- 3%:R) + 9%:R * F (- 2%:R) + 45%:R * F (-1) + 70%:R * F 0 + 45%:R * F 1 + 9%:R * F 2%:R + F 3%:R) / 180%:R.
Proof.
rewrite !big_ord_recl big_ord0 /lattice /step_noise /=.
by move: (F _) (F _) (F _) (F _) (F _) (F _) (F _) => f1 f2 f3 f4 f5 f6 f7; field.
Qed.

(** Moments of the lattice law: 1, 0, 1, 0, 3, 0, 15, 0, as those of a standard normal. *)
Theorem lattice_moments :
  [/\ \sum_i lattice i = 1, \sum_i lattice i * step_noise i ^+ 2 = 1,
      \sum_i lattice i * step_noise i ^+ 4 = 3%:R & \sum_i lattice i * step_noise i ^+ 6 = 15%:R] /\
  [/\ \sum_i lattice i * step_noise i = 0, \sum_i lattice i * step_noise i ^+ 3 = 0,
      \sum_i lattice i * step_noise i ^+ 5 = 0 & \sum_i lattice i * step_noise i ^+ 7 = 0].
Proof.
have one : \sum_i lattice i = 1.
  rewrite -[RHS](_ : \sum_i lattice i * 1 = 1); first by apply: eq_bigr => i _; rewrite mulr1.
  by rewrite (lattice_sum (fun=> 1)); field.
have poly F v : (F (- 3%:R) + 9%:R * F (- 2%:R) + 45%:R * F (-1) + 70%:R * F 0 + 45%:R * F 1 + 9%:R * F 2%:R + F 3%:R) =
    180%:R * v -> \sum_i lattice i * F (step_noise i) = v :> R.
  by move=> e; rewrite lattice_sum e; field.
split; split=> //.
- by apply: (poly (fun x => x ^+ 2)); ring.
- by apply: (poly (fun x => x ^+ 4)); ring.
- by apply: (poly (fun x => x ^+ 6)); ring.
- by apply: (poly id); ring.
- by apply: (poly (fun x => x ^+ 3)); ring.
- by apply: (poly (fun x => x ^+ 5)); ring.
- by apply: (poly (fun x => x ^+ 7)); ring.
Qed.

(** A polynomial of degree six in the noise. *)
Lemma lattice_poly c0 c1 c2 c3 c4 c5 c6 :
  \sum_i lattice i * (c0 + c1 * step_noise i + c2 * step_noise i ^+ 2 + c3 * step_noise i ^+ 3 + c4 * step_noise i ^+ 4 +
    c5 * step_noise i ^+ 5 + c6 * step_noise i ^+ 6) = c0 + c2 + 3%:R * c4 + 15%:R * c6.
Proof.
rewrite (lattice_sum (fun x => c0 + c1 * x + c2 * x ^+ 2 + c3 * x ^+ 3 + c4 * x ^+ 4 + c5 * x ^+ 5 + c6 * x ^+ 6)).
by field.
Qed.

(** Counterexample to "compression within modes lowers the gradient's variance": the variance of the code falls from 5/2 to
    9/4, that of the gradient rises from 23/2 to 825/64. *)
Theorem compression_can_raise_variance :
  [/\ probability push_law,
      \tr (Cov push_law push_code) = 5%:R / 2%:R, \tr (Cov push_law (compressed push_law push_mode push_code)) = 9%:R / 4%:R,
      \tr (Cov push_law (fun w => push_gradient (push_code w) w)) = 23%:R / 2%:R
    & \tr (Cov push_law (fun w => push_gradient (compressed push_law push_mode push_code w) w)) = 825%:R / 64%:R].
Proof.
have expand (X : push -> R) : expect push_law X =
    (\sum_i lattice i * X (true, true, i) + \sum_i lattice i * X (true, false, i) +
     (\sum_i lattice i * X (false, true, i) + \sum_i lattice i * X (false, false, i))) / 4%:R.
  rewrite /expect (eq_bigr (fun w : push => push_law (w.1, w.2) * X (w.1, w.2))) => [|[] //].
  rewrite -(pair_bigA _ (fun b i => push_law (b, i) * X (b, i))) /=.
  rewrite (eq_bigr (fun b : bool * bool => (\sum_i lattice i * X (b, i)) / 4%:R)) => [|b _]; last first.
    by rewrite mulr_suml; apply: eq_bigr => i _; rewrite /push_law /=; field.
  rewrite (eq_bigr (fun b : bool * bool => (\sum_i lattice i * X ((b.1, b.2), i)) / 4%:R)) => [|[] //].
  rewrite -(pair_bigA _ (fun b c => (\sum_i lattice i * X ((b, c), i)) / 4%:R)) /= !big_bool /=.
  by rewrite -!mulrDl.
have [[one _ _ _] _] := lattice_moments.
have const (c : R) : \sum_i lattice i * c = c by rewrite -mulr_suml one mul1r.
have isP : probability push_law.
  split=> [w|].
    rewrite /push_law /lattice !mulr_ge0 ?invr_ge0 ?ler01 ?ler0n //.
    by case: w => [b [[|[|[|[|[|[|[|]]]]]]] ?]]; rewrite /= ?ler01 ?ler0n.
  have := expand (fun=> 1); rewrite !const /expect; under eq_bigr do rewrite mulr1.
  by move->; field.
have mode_mean (b : bool) : mean_at push_law push_code push_mode b = (sign b * (3%:R / 2%:R))%:M.
  apply/rowP=> j; rewrite !ord1 !mxE /= mulr1n /expect_at /prob.
  have ind (X : push -> R) : \sum_(w | push_mode w == b) push_law w * X w =
      expect push_law (fun w => X w * (push_mode w == b)%:R).
    rewrite /expect big_mkcond; apply: eq_bigr => w _.
    by case: ifP => _; rewrite ?mulr1 // !mulr0.
  rewrite ind (eq_bigr (fun w => push_law w * 1)) => [|w _]; last by rewrite mulr1.
  rewrite (ind (fun=> 1)).
  rewrite (expect_ext _ (Y := fun w => sign w.1.1 * (if w.1.2 then 1 else 2%:R) * (push_mode w == b)%:R)); last first.
    by move=> w; rewrite /coord /push_code !mxE /= mulr1n.
  by rewrite !expand /push_mode /= !const; case: b {ind} => /=; rewrite /sign; field.
pose half b : R := sign b * (3%:R / 2%:R).
have compE w : compressed push_law push_mode push_code w = (half w.1.1)%:M by exact: mode_mean.
have trE (g : push -> 'rV[R]_1) : \tr (Cov push_law g) = var push_law (coord g 0) by rewrite tr_Cov big_ord1.
(* a code: its variance *)
have code (x : push -> 'rV[R]_1) c : (forall w : push, x w = (c w.1)%:M) ->
    let mu := (c (true, true) + c (true, false) + (c (false, true) + c (false, false))) / 4%:R in
    \tr (Cov push_law x) = ((c (true, true) - mu) ^+ 2 + (c (true, false) - mu) ^+ 2 +
      ((c (false, true) - mu) ^+ 2 + (c (false, false) - mu) ^+ 2)) / 4%:R.
  move=> xc mu; rewrite trE (var_eq _ (Y := fun w => c w.1)); last by move=> w; rewrite /coord xc mxE /= mulr1n.
  by rewrite /var !expand /= !const -/mu.
(* a gradient at a code: its mean and mean square given the code, then the variance *)
have gradient (x : push -> 'rV[R]_1) c : (forall w : push, x w = (c w.1)%:M) ->
    let u b := sign b.1 * c b / 3%:R - 1 in
    let k b := sign b.1 / 3%:R in
    let mean_ b := - (2%:R * u b * k b) * (3%:R * c b) in
    let square b := (u b ^+ 4 + 18%:R * u b ^+ 2 * k b ^+ 2 + 15%:R * k b ^+ 4) * (3%:R * c b) ^+ 2 in
    \tr (Cov push_law (fun w => push_gradient (x w) w)) =
      (square (true, true) + square (true, false) + (square (false, true) + square (false, false))) / 4%:R -
      ((mean_ (true, true) + mean_ (true, false) + (mean_ (false, true) + mean_ (false, false))) / 4%:R) ^+ 2.
  move=> xc u k mean_ square; pose G (w : push) : R :=
    - (u w.1 + k w.1 * step_noise w.2) ^+ 2 * (3%:R * step_noise w.2) * c w.1.
  rewrite trE (var_eq _ (Y := G)); last first.
    case=> b i; rewrite /coord /push_gradient xc !mxE /= !mulr1n /G /u /k /=.
    by move: (sign b.1) (c b) (step_noise i) => p q r; field.
  have EG : expect push_law G = (mean_ (true, true) + mean_ (true, false) + (mean_ (false, true) + mean_ (false, false))) / 4%:R.
    have inner b : \sum_i lattice i * G (b, i) = mean_ b.
      have := lattice_poly 0 (- (u b ^+ 2 * (3%:R * c b))) (- (2%:R * u b * k b * (3%:R * c b))) (- (k b ^+ 2 * (3%:R * c b))) 0 0 0.
      move=> e; have -> : mean_ b = 0 + - (2%:R * u b * k b * (3%:R * c b)) + 3%:R * 0 + 15%:R * 0 by rewrite /mean_; ring.
      rewrite -e; apply: eq_bigr => i _; rewrite /G /=; congr (_ * _).
      by move: (u b) (k b) (c b) (step_noise i) => p q r x'; ring.
    by rewrite expand !inner.
  have EG2 : expect push_law (fun w => G w ^+ 2) =
      (square (true, true) + square (true, false) + (square (false, true) + square (false, false))) / 4%:R.
    have inner b : \sum_i lattice i * G (b, i) ^+ 2 = square b.
      have := lattice_poly 0 0 (u b ^+ 4 * (3%:R * c b) ^+ 2) (4%:R * u b ^+ 3 * k b * (3%:R * c b) ^+ 2)
        (6%:R * u b ^+ 2 * k b ^+ 2 * (3%:R * c b) ^+ 2) (4%:R * u b * k b ^+ 3 * (3%:R * c b) ^+ 2) (k b ^+ 4 * (3%:R * c b) ^+ 2).
      move=> e; have -> : square b = 0 + u b ^+ 4 * (3%:R * c b) ^+ 2 + 3%:R * (6%:R * u b ^+ 2 * k b ^+ 2 * (3%:R * c b) ^+ 2) +
        15%:R * (k b ^+ 4 * (3%:R * c b) ^+ 2) by rewrite /square; ring.
      rewrite -e; apply: eq_bigr => i _; rewrite /G /=; congr (_ * _).
      by move: (u b) (k b) (c b) (step_noise i) => p q r x'; ring.
    by rewrite expand !inner.
  rewrite -EG2 -EG /var (expect_ext _ (Y := fun w => G w ^+ 2 + (- (2%:R * expect push_law G) * G w + expect push_law G ^+ 2))).
    by rewrite !expect_add expect_scale (expect_const isP); ring.
  by move=> w; ring.
split.
- exact: isP.
- by rewrite (code _ (fun b => sign b.1 * (if b.2 then 1 else 2%:R))) // /sign /=; field.
- by rewrite (code _ (fun b => half b.1) compE) /half /sign /=; field.
- by rewrite (gradient _ (fun b => sign b.1 * (if b.2 then 1 else 2%:R))) // /sign /=; field.
- by rewrite (gradient _ (fun b => half b.1) compE) /half /sign /=; field.
Qed.

End Rises.
