(** * What a policy without memory cannot do (A.8), and what inversion costs at the first step

    The integrator x' = x + S a with S = 1 or -1, S fixed and not seen. A memoryless policy is a function of x. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks PiecewiseAffine BinaryContexts Variability.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** ** All starts at once *)

Section Memoryless.
Variable R : realFieldType.
Implicit Types (pi : R -> R) (S x a b : R).

(** The state after t steps under the policy pi, in the context S, from x. *)
Fixpoint state pi S x (t : nat) : R :=
  match t with
  | 0%N => x
  | t'.+1 => state pi S x t' + S * pi (state pi S x t')
  end.

(** Where pi changes sign it has a root. Every continuous function on the reals has this property. *)
Definition crosses pi := forall a b, a <= b -> pi a * pi b < 0 -> exists c, [/\ a <= c, c <= b & pi c = 0].

(** A.8, as far as it is true. No policy that crosses brings every start x > 0 below itself, at some time, in both contexts.
    (A root stalls both contexts; without a root one of the two drifts away.) *)
Theorem memoryless_negative pi : crosses pi ->
  ~ forall S x, S = 1 \/ S = -1 -> 0 < x -> exists t, state pi S x t < x.
Proof.
move=> cross shrinks.
have noroot x : 0 < x -> pi x != 0.
  move=> x0; apply/eqP => root; have [t] := shrinks 1 x (or_introl erefl) x0.
  suff -> : state pi 1 x t = x by rewrite ltxx.
  by elim: t => //= t ->; rewrite root mulr0 addr0.
have drift S : S = 1 \/ S = -1 -> 0 < S * pi 1 -> False.
  move=> hS up; have same x : 1 <= x -> 0 < S * pi x.
    move=> x1; have x0 : 0 < x by apply: lt_le_trans x1.
    have S0 : S != 0 by case: hS => ->; rewrite ?oppr_eq0 oner_neq0.
    rewrite lt_neqAle eq_sym mulf_neq0 ?noroot //= leNgt; apply/negP => down.
    have [|c [c1 _ root]] := cross 1 x x1.
      have sq : S * S = 1 by case: hS => ->; rewrite ?mulrNN mulr1.
      have -> : pi 1 * pi x = (S * pi 1) * (S * pi x) by rewrite mulrACA sq mul1r.
      by rewrite pmulr_rlt0.
    by have := noroot c (lt_le_trans ltr01 c1); rewrite root eqxx.
  have [t] := shrinks S 1 hS ltr01; suff : 1 <= state pi S 1 t by move=> h /(le_lt_trans h); rewrite ltxx.
  elim: t => //= t IH; apply: (le_trans IH); rewrite ler_addl ltW //; exact: same.
have [pos|neg|zero] := ltrgt0P (pi 1).
- by apply: (drift 1) => //; [left|rewrite mul1r].
- by apply: (drift (-1)); [right|rewrite mulN1r oppr_gt0].
- by have := noroot 1 ltr01; rewrite zero eqxx.
Qed.

(** What is affine in pieces crosses. *)
Lemma pieces_root f a b : a <= b -> pieces f a b -> f a * f b < 0 -> exists c, [/\ a <= c, c <= b & f c = 0].
Proof.
move=> ab H; elim: H ab => {a b} [a b [al [be H]]|a c b ac cb _ IH1 _ IH2] ab opp.
  have fa : f a = al + be * a by rewrite H ?lexx.
  have fb : f b = al + be * b by rewrite H ?lexx ?ab.
  have ne : be != 0.
    by apply: contraTneq opp => be0; rewrite fa fb be0 !mul0r addr0 -expr2 -leNgt sqr_ge0.
  have val t : f t = al + be * t -> f t = be * (t - - al / be) by move=> ->; field.
  have inside : (a - - al / be) * (b - - al / be) < 0.
    have : be ^+ 2 * ((a - - al / be) * (b - - al / be)) < 0.
      by rewrite expr2 mulrACA -val // -val.
    by rewrite pmulr_rlt0 // lt_neqAle eq_sym sqrf_eq0 ne sqr_ge0.
  have [ac|ca] := leP a (- al / be); last first.
    have p : 0 < a - - al / be by rewrite subr_gt0.
    by move: inside; rewrite pmulr_rlt0 // subr_lt0 => /(le_lt_trans ab) /(lt_trans ca); rewrite ltxx.
  have [cb|bc] := leP (- al / be) b; last first.
    have p : b - - al / be < 0 by rewrite subr_lt0.
    by move: inside; rewrite nmulr_llt0 // subr_gt0 ltNge ac.
  by exists (- al / be); split=> //; rewrite H ?ac ?cb //; field.
have [fc|fc|fc] := ltrgt0P (f c * f a); last 1 first.
- exists c; split=> //; apply/eqP; move/eqP: fc; rewrite mulf_eq0 => /orP[//|/eqP fa].
  by move: opp; rewrite fa mul0r ltxx.
- have [|d [cd db fd]] := IH2 cb.
    have fa : f a != 0 by apply: contraTneq opp => ->; rewrite mul0r ltxx.
    have : (f c * f a) * (f a * f b) < 0 by rewrite pmulr_rlt0.
    have -> : f c * f a * (f a * f b) = f a ^+ 2 * (f c * f b) by ring.
    by rewrite pmulr_rlt0 // lt_neqAle eq_sym sqrf_eq0 fa sqr_ge0.
  by exists d; split=> //; apply: le_trans ac cd.
- by have [|d [ad dc fd]] := IH1 ac; [rewrite mulrC|exists d; split=> //; apply: le_trans dc cb].
Qed.

(** A policy a = squash(f(x)), with f a ReLU network of any size and a squashing that keeps the sign, as tanh does. *)
Theorem memoryless_networks (f : mlp R 1 1) (squash : R -> R) :
  squash 0 = 0 -> (forall y, 0 < y -> 0 < squash y) -> (forall y, y < 0 -> squash y < 0) ->
  ~ forall S x, S = 1 \/ S = -1 -> 0 < x ->
      exists t, state (fun x => squash (eval f (vec1 x) 0 0)) S x t < x.
Proof.
move=> s0 spos sneg; apply: memoryless_negative => a b ab.
set g := fun x => eval f (vec1 x) 0 0; rewrite -![eval f _ 0 0]/(g _) => opp.
have sgn y : squash y * y >= 0.
  have [y0|y0|->] := ltrgt0P y; last by rewrite mulr0.
    by rewrite mulr_ge0 ?ltW ?spos.
  by rewrite mulr_le0 ?ltW ?sneg.
have opp' : g a * g b < 0.
  have ne y : squash y != 0 -> 0 < squash y * y.
    move=> h; rewrite lt_neqAle sgn andbT eq_sym mulf_neq0 //.
    by apply: contraNneq h => ->; rewrite s0.
  have [na nb] : squash (g a) != 0 /\ squash (g b) != 0.
    by split; apply: contraTneq opp => ->; rewrite ?mul0r ?mulr0 ltxx.
  have : 0 < (squash (g a) * g a) * (squash (g b) * g b) by rewrite mulr_gt0 ?ne.
  by rewrite mulrACA nmulr_rgt0.
have [|c [ac cb root]] := @pieces_root g a b ab _ opp'.
  have := pieces_line f (0 : 'cV[R]_1) (vec1 1) 0 ab; apply: pieces_ext => t _.
  congr (eval f _ _ _); apply/colP=> i; by rewrite !ord1 !mxE eqxx !mulr1n add0r mulr1.
by exists c; split=> //; rewrite -/(g c) root.
Qed.

(** All starts matter. From x = 1 alone three hidden units bring both contexts to 0 within two steps, and keep them there:
    the policy reads the context from where the first step has led. *)
Definition reader : mlp R 1 1 :=
  @Hidden R 1 3 1 (\col_i nth 0 [:: 1; -1; 1] i) (\col_i nth 0 [:: 0; 0; -1] i)
    (Affine (\row_i nth 0 [:: 2%:R; -1; - (9%:R / 2%:R)] i) 0).

Lemma readerE x : eval reader (vec1 x) 0 0 = 2%:R * relu x - relu (- x) - 9%:R / 2%:R * relu (x - 1).
Proof.
rewrite /= addr0 !mxE !big_ord_recl big_ord0 /= !mxE !big_ord1 !mxE /= !mulr1n.
by rewrite !mul1r !mulN1r !addr0 mulNr addrA.
Qed.

Theorem memoryless_one_start S t : S = 1 \/ S = -1 -> state (fun x => eval reader (vec1 x) 0 0) S 1 t.+2 = 0.
Proof.
pose g x := eval reader (vec1 x) 0 0; rewrite -/g; move: g (readerE : forall x, g x = _) => pi readE.

have r1 : relu (1 : R) = 1 by rewrite relu_pos ?ler01.
have rm (x : R) : 0 <= x -> relu (- x) = 0 by move=> h; rewrite relu_neg // oppr_le0.
have p0 : pi 0 = 0.
  by rewrite readE sub0r oppr0 (rm 1) ?ler01 // relu_pos // !mulr0 !subr0.
have p1 : pi 1 = 2%:R by rewrite readE subrr r1 rm ?ler01 // relu_pos // mulr0 !subr0 mulr1.
have p3 : pi 3%:R = - 3%:R.
  rewrite readE rm ?ler0n // !relu_pos ?ler0n //; first by field.
  by rewrite subr_ge0 ler1n.
have pm : pi (-1) = -1.
  rewrite readE opprK r1 rm ?ler01 // relu_neg ?mulr0 ?subr0 ?sub0r //.
  by rewrite subr_le0 (le_trans (lerN10 R)) ?ler01.
move=> hS; have two : state pi S 1 2 = 0.
  case: hS => -> /=; rewrite p1 ?mul1r ?mulN1r.
    have -> : 1 + 2%:R = 3%:R :> R by ring.
    by rewrite p3 subrr.
  have -> : 1 - 2%:R = -1 :> R by ring.
  by rewrite pm opprK addNr.
have stay u : state pi S 1 u = 0 -> state pi S 1 u.+1 = 0 by move=> u0; rewrite /= u0 p0 mulr0 addr0.
by clear -two stay; elim: t => [|t IH]; [exact: two|exact: stay].
Qed.

End Memoryless.

(** ** One step: the price of not knowing the sign *)

Section Price.
Variables (R : realFieldType) (d : nat).
Implicit Types (a f : 'rV[R]_d).

(** Inversion, in one step: the loss of the force a where f is wanted and S a is what happens. *)
Definition inversion_loss (plus : bool) a f : R := normsq ((if plus then a else - a) - f).

(** The mean loss over P(S = +1) = p is a price that no force avoids, plus the distance from the best force. *)
Theorem inversion_price p a f :
  p * inversion_loss true a f + (1 - p) * inversion_loss false a f =
  4%:R * p * (1 - p) * normsq f + normsq (a - (2%:R * p - 1) *: f).
Proof.
rewrite /inversion_loss /normsq !mulr_sumr -!big_split; apply: eq_bigr => i _ /=; rewrite !mxE.
by move: (a 0 i) (f 0 i) => x y; ring.
Qed.

(** Every randomised force loses at least |f|^2 on average in one of the two contexts; a = 0 loses exactly that in both.
    The force may depend on anything but S: at its first step a policy with memory has nothing else. *)
Theorem inversion_minimax (Omega : finType) (P : Omega -> R) (a : Omega -> 'rV[R]_d) f : probability P ->
  (normsq f <= expect P (fun w => inversion_loss true (a w) f) \/
   normsq f <= expect P (fun w => inversion_loss false (a w) f)) /\
  (forall plus, inversion_loss plus 0 f = normsq f).
Proof.
move=> isP; split=> [|plus]; last first.
  rewrite /inversion_loss; have -> : (if plus then 0 else - 0 : 'rV[R]_d) = 0 by rewrite oppr0; case: plus.
  by rewrite sub0r /normsq; apply: eq_bigr => i _; rewrite mxE sqrrN.
set x := expect P _; set y := expect P _.
have : 2%:R * normsq f <= x + y.
  rewrite /x /y -expect_add -(expect_const isP (2%:R * normsq f)) -subr_ge0.
  have -> : expect P (fun w => inversion_loss true (a w) f + inversion_loss false (a w) f) -
      expect P (fun=> 2%:R * normsq f) = expect P (fun w => 2%:R * normsq (a w)).
    rewrite /expect -sumrB; apply: eq_bigr => w _; rewrite -mulrBr; congr (_ * _).
    rewrite /inversion_loss /normsq !mulr_sumr -!big_split -sumrB; apply: eq_bigr => i _ /=; rewrite !mxE.
    by move: (a w 0 i) (f 0 i) => x' y'; ring.
  apply: expect_ge0 => // w; rewrite mulr_ge0 ?ler0n //.
  by apply: sumr_ge0 => i _; apply: sqr_ge0.
have [?|lt_x] := leP (normsq f) x; first by left.
have [?|lt_y] := leP (normsq f) y; first by right.
have := ltr_add lt_x lt_y; have -> : normsq f + normsq f = 2%:R * normsq f by ring.
by move=> lt le; have := le_lt_trans le lt; rewrite ltxx.
Qed.

End Price.
