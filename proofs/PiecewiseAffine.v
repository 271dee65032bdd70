(** * ReLU networks along a line

    Restricted to a line, a ReLU network is affine on finitely many pieces, whatever its depth and width. A product
    s * z along a diagonal is a parabola, and a parabola is affine on no interval. The lower bounds of A.1 and A.3 are
    these two remarks. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

Section PiecewiseAffine.
Variable R : realFieldType.
Implicit Types (f g : R -> R) (a b c t : R).

Definition affine_on f a b := exists alpha beta, forall t, a <= t <= b -> f t = alpha + beta * t.

(** Affine on finitely many pieces of [a, b]. *)
Inductive pieces f : R -> R -> Prop :=
| One_piece a b : affine_on f a b -> pieces f a b
| Cut a c b : a <= c -> c <= b -> pieces f a c -> pieces f c b -> pieces f a b.

Lemma affine_on_sub f a b a' b' : affine_on f a b -> a <= a' -> b' <= b -> affine_on f a' b'.
Proof.
move=> [al [be H]] aa bb; exists al, be => t /andP[t1 t2].
by apply: H; rewrite (le_trans aa t1) (le_trans t2 bb).
Qed.

Lemma pieces_sub f a b : pieces f a b -> forall a' b', a <= a' -> a' <= b' -> b' <= b -> pieces f a' b'.
Proof.
elim=> {a b} [a b H|a c b ac cb _ IH1 _ IH2] a' b' aa ab bb.
  by apply: One_piece; apply: affine_on_sub H aa bb.
have [b'c|cb'] := leP b' c; first exact: IH1.
have [a'c|ca'] := leP a' c; last by apply: IH2 => //; apply: ltW.
by apply: (@Cut _ _ c) => //; [apply: ltW|apply: IH1|apply: IH2 => //; apply: ltW].
Qed.

(** *** Closure: what a network does to its inputs keeps finitely many pieces. *)

Lemma pieces_ext f g a b : (forall t, a <= t <= b -> f t = g t) -> pieces f a b -> pieces g a b.
Proof.
move=> fg H; elim: H fg => {a b} [a b [al [be H]]|a c b ac cb _ IH1 _ IH2] fg.
  by apply: One_piece; exists al, be => t ht; rewrite -fg // H.
apply: (@Cut _ _ c) => //; [apply: IH1|apply: IH2] => t /andP[t1 t2]; apply: fg.
  by rewrite t1 (le_trans t2 cb).
by rewrite t2 (le_trans ac t1).
Qed.

Lemma pieces_affine al be a b : pieces (fun t => al + be * t) a b.
Proof. by apply: One_piece; exists al, be. Qed.

Lemma pieces_const al a b : pieces (fun=> al) a b.
Proof. by apply: One_piece; exists al, 0 => t _; rewrite mul0r addr0. Qed.

Lemma pieces_add f g a b : a <= b -> pieces f a b -> pieces g a b -> pieces (fun t => f t + g t) a b.
Proof.
move=> ab H; elim: H g ab => {a b} [a b [al [be H]]|a c b ac cb _ IH1 _ IH2] g ab Hg; last first.
  by apply: (@Cut _ _ c) => //; [apply: IH1|apply: IH2] => //; apply: (pieces_sub Hg).
elim: Hg H {ab} => {a b} [a b [al' [be' H']]|a c b ac cb _ IH1 _ IH2] H.
  by apply: One_piece; exists (al + al'), (be + be') => t ht; rewrite H // H' //; ring.
apply: (@Cut _ _ c) => //; [apply: IH1|apply: IH2] => t /andP[t1 t2]; apply: H.
  by rewrite t1 (le_trans t2 cb).
by rewrite t2 (le_trans ac t1).
Qed.

Lemma pieces_scale f k a b : pieces f a b -> pieces (fun t => k * f t) a b.
Proof.
elim=> {a b} [a b [al [be H]]|a c b ac cb _ IH1 _ IH2]; last exact: (@Cut _ _ c).
by apply: One_piece; exists (k * al), (k * be) => t ht; rewrite H //; ring.
Qed.

Lemma pieces_sum (I : finType) (F : I -> R -> R) a b :
  a <= b -> (forall i, pieces (F i) a b) -> pieces (fun t => \sum_i F i t) a b.
Proof.
move=> ab H; suff: forall r : seq I, pieces (fun t => \sum_(i <- r) F i t) a b by apply.
elim=> [|i r IH].
  by apply: pieces_ext (pieces_const 0 a b) => t _; rewrite big_nil.
by apply: pieces_ext (pieces_add ab (H i) IH) => t _; rewrite big_cons.
Qed.

(** ReLU bends an affine function at most once, at its root. *)
Lemma pieces_relu_affine al be a b : a <= b -> pieces (fun t => relu (al + be * t)) a b.
Proof.
move=> ab; have [->|be0] := eqVneq be 0.
  by apply: pieces_ext (pieces_const (relu al) a b) => t _; rewrite mul0r addr0.
pose c := - al / be.
have val t : al + be * t = be * (t - c) by rewrite /c; field.
have one a' b' : (b' <= c) || (c <= a') -> pieces (fun t => relu (al + be * t)) a' b'.
  move=> side; apply: One_piece.
  have [pos|neg] : (forall t, a' <= t <= b' -> 0 <= al + be * t) \/ (forall t, a' <= t <= b' -> al + be * t <= 0).
  - have [bp|bn] : 0 <= be \/ be <= 0 by apply/orP; exact: le_total.
    + case/orP: side => h; [right|left] => t /andP[t1 t2]; rewrite val.
        by rewrite mulr_ge0_le0 // subr_le0 (le_trans t2).
      by rewrite mulr_ge0 // subr_ge0 (le_trans h).
    + case/orP: side => h; [left|right] => t /andP[t1 t2]; rewrite val.
        by rewrite mulr_le0 // subr_le0 (le_trans t2).
      by rewrite mulr_le0_ge0 // subr_ge0 (le_trans h).
  - by exists al, be => t ht; rewrite relu_pos // pos.
  - by exists 0, 0 => t ht; rewrite relu_neg ?neg // mul0r addr0.
have [bc|/ltW cb] := leP b c; first by apply: one; rewrite bc.
have [ca|/ltW ac] := leP c a; first by apply: one; rewrite ca orbT.
by apply: (@Cut _ _ c) => //; apply: one; rewrite lexx ?orbT.
Qed.

Lemma pieces_relu f a b : a <= b -> pieces f a b -> pieces (fun t => relu (f t)) a b.
Proof.
move=> ab H; elim: H ab => {a b} [a b [al [be H]] ab|a c b ac cb _ IH1 _ IH2 ab].
  by apply: pieces_ext (pieces_relu_affine al be ab) => t ht; rewrite H.
by apply: (@Cut _ _ c); auto.
Qed.

(** Coordinate by coordinate, an MLP keeps finitely many pieces. *)
Lemma pieces_layer m n (W : 'M[R]_(n, m)) (v : 'cV[R]_n) (x : R -> 'cV[R]_m) a b : a <= b ->
  (forall j, pieces (fun t => x t j 0) a b) -> forall i, pieces (fun t => (W *m x t + v) i 0) a b.
Proof.
move=> ab Hx i.
apply: (@pieces_ext (fun t => \sum_j W i j * x t j 0 + v i 0)); first by move=> t _; rewrite !mxE.
by apply: (pieces_add ab) (pieces_const _ _ _); apply: (pieces_sum ab) => j; apply: pieces_scale.
Qed.

Lemma pieces_eval m n (f : mlp R m n) (x : R -> 'cV[R]_m) a b : a <= b ->
  (forall j, pieces (fun t => x t j 0) a b) -> forall i, pieces (fun t => eval f (x t) i 0) a b.
Proof.
move=> ab; elim: f x => [m' n' W v|m' k n' W v rest IH] x Hx /=; first exact: pieces_layer.
apply: IH => j; apply: (@pieces_ext (fun t => relu ((W *m x t + v) j 0))).
  by move=> t _; rewrite [RHS]mxE.
by apply: (pieces_relu ab); apply: pieces_layer.
Qed.

(** The line through x of direction d. *)
Definition line n (x d : 'cV[R]_n) t : 'cV[R]_n := x + t *: d.

Lemma pieces_line m n (f : mlp R m n) (x d : 'cV[R]_m) a b i : a <= b ->
  pieces (fun t => eval f (line x d t) i 0) a b.
Proof.
move=> ab; apply: (pieces_eval _ ab) => j.
by apply: pieces_ext (pieces_affine (x j 0) (d j 0) a b) => t _; rewrite !mxE mulrC.
Qed.

Lemma pieces_concat ds dz (f : mlp R (ds + dz) 1) (s d : 'cV[R]_ds) (z e : 'cV[R]_dz) a b : a <= b ->
  pieces (fun t => concat f (line s d t) (line z e t)) a b.
Proof.
move=> ab; apply: pieces_ext (pieces_line f (col_mx s z) (col_mx d e) 0 ab) => t _.
by rewrite /line scale_col_mx add_col_mx.
Qed.

(** *** What finitely many pieces give *)

(** An interval contains a smaller one on which the function is affine. *)
Lemma pieces_zoom f a b : a < b -> pieces f a b -> exists a' b', [/\ a <= a', a' < b', b' <= b & affine_on f a' b'].
Proof.
move=> ab H; elim: H ab => {a b} [a b H|a c b ac cb _ IH1 _ IH2] ab.
  by exists a, b.
have [ac'|ca] := ltP a c.
  by have [a' [b' [? ? bc ?]]] := IH1 ac'; exists a', b'; split=> //; apply: le_trans bc cb.
have cb' : c < b by apply: le_lt_trans ca ab.
by have [a' [b' [ca' ? ? ?]]] := IH2 cb'; exists a', b'; split=> //; apply: le_trans ac ca'.
Qed.

(** A function that takes different values at the ends has a piece of non-zero slope. (This needs finitely many pieces:
    a function that is merely affine somewhere on every interval can climb with slope zero on each of them.) *)
Lemma pieces_slope f a b : a <= b -> pieces f a b -> f a != f b ->
  exists a' b' alpha beta, [/\ a <= a', a' < b', b' <= b, beta != 0 & forall t, a' <= t <= b' -> f t = alpha + beta * t].
Proof.
move=> ab H; elim: H ab => {a b} [a b [al [be H]]|a c b ac cb _ IH1 _ IH2] ab neq.
  exists a, b, al, be; split=> //.
    by rewrite lt_neqAle ab andbT; apply: contraNneq neq => ->.
  by apply: contraNneq neq => be0; rewrite !H ?lexx ?ab // be0 !mul0r.
have [e|ne] := eqVneq (f a) (f c).
  rewrite e in neq; have [a' [b' [al [be [h1 h2 h3 h4 h5]]]]] := IH2 cb neq.
  by exists a', b', al, be; split=> //; apply: le_trans ac h1.
have [a' [b' [al [be [h1 h2 h3 h4 h5]]]]] := IH1 ac ne.
by exists a', b', al, be; split=> //; apply: le_trans h3 cb.
Qed.

(** A parabola is affine on no interval: what is affine in pieces and quadratic has leading coefficient zero. *)
Lemma pieces_quadratic f c0 c1 c2 a b : a < b -> pieces f a b ->
  (forall t, a <= t <= b -> f t = c0 + c1 * t + c2 * t ^+ 2) -> c2 = 0.
Proof.
move=> ab H Hq; have [u [v [au uv vb [al [be Ha]]]]] := pieces_zoom ab H.
have two0 : (2%:R : R) != 0 by rewrite pnatr_eq0.
pose m := (u + v) / 2%:R.
have half (x y : R) : 0 <= y - x -> x <= (x + y) / 2%:R <= y.
  move=> xy; apply/andP; split; rewrite -subr_ge0.
    have -> : (x + y) / 2%:R - x = (y - x) / 2%:R by field.
    by rewrite divr_ge0 // ler0n.
  have -> : y - (x + y) / 2%:R = (y - x) / 2%:R by field.
  by rewrite divr_ge0 // ler0n.
have /andP[um mv] : u <= m <= v by apply: half; rewrite subr_ge0 ltW.
have eqs t : u <= t <= v -> al + be * t = c0 + c1 * t + c2 * t ^+ 2.
  by move=> /andP[t1 t2]; rewrite -Ha ?t1 ?t2 // Hq // (le_trans au t1) (le_trans t2 vb).
have eu := eqs u; rewrite lexx (ltW uv) in eu.
have ev := eqs v; rewrite lexx (ltW uv) in ev.
have em := eqs m; rewrite um mv in em.
have : c2 * (v - u) ^+ 2 = 2%:R * ((c0 + c1 * u + c2 * u ^+ 2) + (c0 + c1 * v + c2 * v ^+ 2)
                                    - 2%:R * (c0 + c1 * m + c2 * m ^+ 2)) by rewrite /m; field.
rewrite -eu // -ev // -em //.
have -> : 2%:R * (al + be * u + (al + be * v) - 2%:R * (al + be * m)) = 0 :> R by rewrite /m; field.
by move/eqP; rewrite mulf_eq0 sqrf_eq0 subr_eq0 [v == u]eq_sym (lt_eqF uv) orbF => /eqP.
Qed.

End PiecewiseAffine.
