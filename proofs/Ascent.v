(** * Why an actor's gradient through the shared adapter can run away (F15)

    A frozen critic Q(omega) = w . ReLU(x + omega) + b, where omega is the bias that the shared hypernetwork writes into the
    adapter (b_up) and x what comes before. The actor ascends Q. If its gradient reaches omega, Q rises without bound,
    whatever the returns are. If it reaches actions only, Q stays bounded. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks NoSeparation.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

Section Ascent.
Variables (R : realFieldType) (n : nat).
Variables (w x : 'cV[R]_n) (b : R).
Implicit Type omega : 'cV[R]_n.

Definition critic omega : R := \sum_i w i 0 * relu (x i 0 + omega i 0) + b.

(** The gradient of the critic in omega; the derivative of ReLU at 0 is taken as 0, as in PyTorch. *)
Definition critic_gradient omega : 'cV[R]_n := \col_i (w i 0 * (0 < x i 0 + omega i 0)%R%:R).

Variable eta : R.

(** omega after t steps of gradient ascent. *)
Fixpoint ascent omega (t : nat) : 'cV[R]_n :=
  match t with
  | 0%N => omega
  | t'.+1 => let o := ascent omega t' in o + eta *: critic_gradient o
  end.

(** Units that are active at first and that the critic likes. *)
Definition liked omega (i : 'I_n) : bool := (0 < x i 0 + omega i 0) && (0 < w i 0).

(** F15, a mechanism. The critic's value rises at least linearly and without end: after t steps it has gained
    t eta sum w_i^2 over the units that were active at first with w_i > 0. *)
Theorem ascent_unbounded omega (t : nat) : 0 <= eta ->
  critic omega + t%:R * eta * (\sum_(i | liked omega i) w i 0 ^+ 2) <= critic (ascent omega t).
Proof.
move=> e0.
have stays i u : liked omega i -> 0 < x i 0 + ascent omega u i 0.
  move=> /andP[a0 w0]; elim: u => //= u IH; rewrite !mxE IH mulr1 addrA.
  by rewrite ltr_paddr // mulr_ge0 // ltW.
suff step (o : 'cV[R]_n) : (forall i, liked omega i -> 0 < x i 0 + o i 0) ->
    critic o + eta * (\sum_(i | liked omega i) w i 0 ^+ 2) <= critic (o + eta *: critic_gradient o).
  elim: t => [|t IH]; first by rewrite mul0r mul0r addr0.
  apply: le_trans (step _ (fun i => stays i t)); rewrite -addn1 natrD mulrDl mul1r mulrDl addrA.
  by rewrite ler_add2r.
move=> act; rewrite /critic addrAC ler_add2r mulr_sumr [X in _ + X]big_mkcond -big_split /=.
apply: ler_sum => i _; rewrite !mxE addrA; set y := x i 0 + o i 0; set v := w i 0.
case: ifP => [like|_].
  have y0 : 0 < y by apply: act.
  have v0 : 0 < v by case/andP: like.
  rewrite y0 mulr1 !relu_pos ?(ltW y0) //; last by rewrite addr_ge0 ?(ltW y0) // mulr_ge0 // ltW.
  by rewrite le_eqVlt; apply/orP; left; apply/eqP; ring.
rewrite addr0; have [y0|y0] := ltP 0 y; last by rewrite mulr0 mulr0 addr0.
rewrite mulr1; have [v0|v0] := lerP 0 v.
  apply: ler_wpmul2l => //; rewrite !relu_pos ?(ltW y0) ?ler_addl ?mulr_ge0 //.
  by rewrite addr_ge0 ?(ltW y0) // mulr_ge0.
apply: ler_wnmul2l; first exact: ltW.
rewrite (relu_pos (ltW y0)) /relu le_maxl (ltW y0) andbT.
by rewrite ger_addl mulr_ge0_le0 // ltW.
Qed.

End Ascent.

(** The control. Detached, the actor moves nothing but its action, which is squashed into [-1, 1]: a frozen critic of any
    depth, at a state s and an omega that stand still, is bounded along every sequence of actions. *)
Theorem ascent_detached_bounded (R : realFieldType) ds da (Q : mlp R (ds + da) 1) (s : 'cV[R]_ds) :
  exists M, forall a : 'cV[R]_da, (forall i, `|a i 0| <= 1) -> `|concat Q s a| <= M.
Proof.
pose C := 1 + \sum_i `|s i 0|.
have [M HM] := mlp_bounded Q C; exists M => a a1; apply: HM => j.
rewrite -[j]splitK; case: (split j) => i /=; rewrite ?col_mxEu ?col_mxEd.
  by rewrite /C (bigD1 i) //= addrCA ler_addl addr_ge0 ?ler01 ?sumr_ge0.
by apply: le_trans (a1 i) _; rewrite /C ler_addl sumr_ge0.
Qed.
