(** * Bounded binary contexts: the two classes are one (not in the paper)

    With states in a box and two contexts, the functions that concatenating networks compute and the functions that
    hyper-modulated networks compute are the same set. So nothing that depends on a network's values there can separate
    the classes: no loss, no regret, no number of samples that a search over the whole class needs. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks PiecewiseAffine Expressivity Bottleneck.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

(** ** Building networks from networks *)

Section Build.
Variable R : realFieldType.

(** An affine map before a network. *)
Lemma mlp_before m k n (f : mlp R k n) (W : 'M[R]_(k, m)) (c : 'cV[R]_k) :
  exists h : mlp R m n, forall x, eval h x = eval f (W *m x + c).
Proof.
case: f W c => [k' n' V b|k' l n' V b rest] W c.
  by exists (Affine (V *m W) (V *m c + b)) => x /=; rewrite mulmxDr mulmxA addrA.
exists (Hidden (V *m W) (V *m c + b) rest) => x /=.
by rewrite mulmxDr mulmxA addrA.
Qed.

(** One network after another. *)
Lemma mlp_after m k n (f : mlp R m k) (g : mlp R k n) : exists h : mlp R m n, forall x, eval h x = eval g (eval f x).
Proof.
elim: f n g => [m' k' W b|m' l k' W b rest IH] n g; first exact: mlp_before.
by have [h Hh] := IH n g; exists (Hidden W b h) => x /=.
Qed.

(** Two networks side by side. A shallow one passes its input on as its positive and negative part. *)
Lemma pass m n (W : 'M[R]_(n, m)) b (x : 'cV[R]_m) :
  row_mx W (- W) *m reluv (col_mx 1%:M (- 1%:M) *m x + 0) + b = W *m x + b.
Proof.
rewrite addr0 mul_col_mx reluv_col mul_row_col mul1mx mulNmx mul1mx mulNmx -mulmxBr; congr (W *m _ + b).
by apply/colP=> i; rewrite !mxE relu_split.
Qed.

Lemma mlp_beside_affine m n (W : 'M[R]_(n, m)) (b : 'cV[R]_n) m' n' (g : mlp R m' n') :
  exists h : mlp R (m + m') (n + n'), forall x y, eval h (col_mx x y) = col_mx (W *m x + b) (eval g y).
Proof.
elim: g m W b => [m2 n2 V c|m2 k2 n2 V c rest IH] m W b.
  exists (Affine (block_mx W 0 0 V) (col_mx b c)) => x y /=.
  by rewrite mul_block_col !mul0mx addr0 add0r add_col_mx.
have [h Hh] := IH _ (row_mx W (- W)) b.
exists (Hidden (block_mx (col_mx 1%:M (- 1%:M)) 0 0 V) (col_mx 0 c) h) => x y /=.
by rewrite mul_block_col !mul0mx addr0 add0r add_col_mx reluv_col Hh pass.
Qed.

Lemma mlp_swap m n m' n' (f : mlp R m n) (g : mlp R m' n') :
  (exists h : mlp R (m + m') (n + n'), forall x y, eval h (col_mx x y) = col_mx (eval f x) (eval g y)) ->
  exists h : mlp R (m' + m) (n' + n), forall y x, eval h (col_mx y x) = col_mx (eval g y) (eval f x).
Proof.
move=> [h Hh]; pose turn p q : 'M[R]_(p + q, q + p) := block_mx 0 1%:M 1%:M 0.
have turnE p q (u : 'cV[R]_q) (v : 'cV[R]_p) : turn p q *m col_mx u v = col_mx v u.
  by rewrite mul_block_col !mul0mx !mul1mx add0r addr0.
have [h1 H1] := mlp_before h (turn m m') 0; have [h2 H2] := mlp_after h1 (Affine (turn n' n) 0).
by exists h2 => y x; rewrite H2 /= H1 addr0 addr0 turnE Hh turnE.
Qed.

Lemma mlp_beside m n (f : mlp R m n) m' n' (g : mlp R m' n') : exists h : mlp R (m + m') (n + n'),
  forall x y, eval h (col_mx x y) = col_mx (eval f x) (eval g y).
Proof.
elim: f m' n' g => [m1 n1 W b|m1 k1 n1 W b rest IH] m' n' g; first exact: mlp_beside_affine.
case: g => [m2 n2 V c|m2 k2 n2 V c rest2].
  by apply: mlp_swap; apply: mlp_beside_affine.
have [h Hh] := IH _ _ rest2.
exists (Hidden (block_mx W 0 0 V) (col_mx b c) h) => x y /=.
by rewrite mul_block_col !mul0mx addr0 add0r add_col_mx reluv_col Hh.
Qed.

(** A network is bounded on every bounded set. *)
Lemma mlp_bounded m n (f : mlp R m n) C : exists M, forall x : 'cV[R]_m, (forall i, `|x i 0| <= C) ->
  forall i, `|eval f x i 0| <= M.
Proof.
have layer p q (W : 'M[R]_(q, p)) (b : 'cV[R]_q) D : exists M, forall x : 'cV[R]_p, (forall i, `|x i 0| <= D) ->
    forall i, `|(W *m x + b) i 0| <= M.
  exists (\sum_i (\sum_j `|W i j| * D + `|b i 0|)) => x Hx i.
  have D0 : forall j : 'I_p, 0 <= D by move=> j; apply: le_trans (Hx j).
  have row0 k : 0 <= \sum_j `|W k j| * D + `|b k 0|.
    by rewrite addr_ge0 // sumr_ge0 // => j _; rewrite mulr_ge0 ?(D0 j).
  apply: (@le_trans _ _ (\sum_j `|W i j| * D + `|b i 0|)); last first.
    by rewrite (bigD1 i) //= ler_addl sumr_ge0.
  rewrite mxE; apply: le_trans (ler_norm_add _ _) _; rewrite ler_add2r mxE.
  apply: le_trans (ler_norm_sum _ _ _) _; apply: ler_sum => j _.
  by rewrite normrM ler_wpmul2l.
elim: f C => [m' n' W b|m' k n' W b rest IH] C; first exact: layer.
have [D HD] := layer _ _ W b C; have [M HM] := IH D; exists M => x Hx i /=.
apply: HM => j; rewrite mxE /relu; have := HD x Hx j.
by apply: le_trans; have [h|h] := leP 0 ((W *m x + b) j 0); rewrite ?normr0.
Qed.

(** Two networks on the same input, added. *)
Lemma mlp_sum m (f g : mlp R m 1) : exists h : mlp R m 1, forall x, eval h x 0 0 = eval f x 0 0 + eval g x 0 0.
Proof.
have [fg Hfg] := mlp_beside f g; have [dup Hdup] := mlp_before fg (col_mx 1%:M 1%:M : 'M[R]_(m + m, m)) 0.
have [h Hh] := mlp_after dup (Affine (row_mx 1%:M 1%:M) 0); exists h => x.
by rewrite Hh /= Hdup !addr0 mul_col_mx !mul1mx Hfg mul_row_col !mul1mx mxE.
Qed.

End Build.

(** ** One set of functions *)

Section NoSeparation.
Variables (R : realFieldType) (ds : nat).
Implicit Types (s : 'cV[R]_ds) (B : R).

(** States of size at most B. *)
Definition bounded B s : Prop := forall i, `|s i 0| <= B.

(** Any two networks in s, one for each context, are one concatenating network on bounded states:
    ReLU(f(s) + M z) + ReLU(g(s) - M z) - M, with M a bound of both. *)
Theorem binary_any_pair (f g : mlp R ds 1) B : exists h : mlp R (ds + 1) 1, forall s, bounded B s ->
  concat h s (vec1 1) = eval f s 0 0 /\ concat h s (vec1 (-1)) = eval g s 0 0.
Proof.
have [M1 HM1] := mlp_bounded f B; have [M2 HM2] := mlp_bounded g B.
pose M := Num.max M1 M2.
have [fg Hfg] := mlp_beside f g; have [fgz Hfgz] := mlp_beside fg (Affine (1%:M : 'M[R]_1) 0).
have [dup Hdup] := mlp_before fgz (block_mx (col_mx 1%:M 1%:M) 0 0 1%:M : 'M[R]_(ds + ds + 1, ds + 1)) 0.
pose gate : mlp R (1 + 1 + 1) 1 :=
  @Hidden R _ (1 + 1) 1 (row_mx 1%:M (col_mx M%:M (- M)%:M)) 0 (Affine (row_mx 1%:M 1%:M) (- M)%:M).
have [h Hh] := mlp_after dup gate.
exists h => s hs.
have out z : concat h s (vec1 z) = relu (eval f s 0 0 + M * z) + relu (eval g s 0 0 - M * z) - M.
  rewrite /concat Hh Hdup addr0 mul_block_col !mul0mx addr0 add0r mul1mx mul_col_mx !mul1mx Hfgz Hfg /=.
  rewrite mul1mx !addr0 mul_row_col mul1mx mul_col_mx add_col_mx reluv_col mul_row_col !mul1mx.
  by rewrite 2![in LHS]mxE !mxE !big_ord1 !mxE !mulr1n mulNr.
have := HM1 s hs 0; have := HM2 s hs 0; rewrite !ler_norml => /andP[l2 h2] /andP[l1 h1].
have Mf : M1 <= M by rewrite /M le_maxr lexx.
have Mg : M2 <= M by rewrite /M le_maxr lexx orbT.
move: (eval f s 0 0) (eval g s 0 0) out l1 h1 l2 h2 => a b out l1 h1 l2 h2.
have a1 : 0 <= a + M by rewrite -ler_subl_addr sub0r (le_trans _ l1) // ler_oppl opprK.
have a2 : a - M <= 0 by rewrite subr_le0 (le_trans h1).
have b1 : 0 <= b + M by rewrite -ler_subl_addr sub0r (le_trans _ l2) // ler_oppl opprK.
have b2 : b - M <= 0 by rewrite subr_le0 (le_trans h2).
split; rewrite out ?mulr1 ?mulrN1 ?opprK.
  by rewrite (relu_pos a1) (relu_neg b2); ring.
by rewrite (relu_neg a2) (relu_pos b1); ring.
Qed.

(** At a fixed omega the network with the adapter as it is trained is a network in s. *)
Lemma trained_mlp n k (x : mlp R ds n) (w : 'rV[R]_n) b omega : exists f : mlp R ds 1, forall s,
  eval f s 0 0 = (w *m @trained R n k (eval x s) omega) 0 0 + b.
Proof.
pose split_ : 'M[R]_(n + n, n) := col_mx 1%:M (- 1%:M).
pose tail : mlp R n 1 := Hidden (col_mx split_ (w_down omega)) (col_mx 0 (b_down omega))
  (Hidden (row_mx (row_mx 1%:M (- 1%:M)) (w_up omega)) (b_up omega) (Affine w b%:M)).
have [f Hf] := mlp_after x tail; exists f => s; rewrite Hf /= mxE [b%:M 0 0]mxE eqxx mulr1n; congr ((w *m reluv _) 0 0 + b).
rewrite mul_col_mx add_col_mx reluv_col mul_row_col; congr (_ + _ + _).
by have := pass (1%:M : 'M[R]_n) 0 (eval x s); rewrite !addr0 mul1mx.
Qed.

(** The method's networks included: whatever their hypernetwork, at two codes they are one concatenating network. *)
Theorem binary_trained_is_concat n k p (x : mlp R ds n) (w : 'rV[R]_n) b (h : 'cV[R]_p -> 'cV[R]_(k * n + (k + (n * k + n))))
    (z1 z2 : 'cV[R]_p) B : exists f : mlp R (ds + 1) 1, forall s, bounded B s ->
  concat f s (vec1 1) = (w *m @trained R n k (eval x s) (h z1)) 0 0 + b /\
  concat f s (vec1 (-1)) = (w *m @trained R n k (eval x s) (h z2)) 0 0 + b.
Proof.
have [f1 H1] := trained_mlp x w b (h z1); have [f2 H2] := trained_mlp x w b (h z2).
have [f Hf] := binary_any_pair f1 f2 B; exists f => s /Hf[-> ->].
by rewrite H1 H2.
Qed.

(** On bounded states and two contexts the classes are one set of functions. u and v are what is computed in the contexts
    1 and -1. *)
Theorem binary_classes_coincide B (u v : 'cV[R]_ds -> R) :
  (exists f : mlp R (ds + 1) 1, forall s, bounded B s ->
     concat f s (vec1 1) = u s /\ concat f s (vec1 (-1)) = v s) <->
  (exists n (N : hypernet R ds 1 n (n * n)), forall s, bounded B s ->
     modulated (@full R n) N s (vec1 1) = u s /\ modulated (@full R n) N s (vec1 (-1)) = v s).
Proof.
split=> [[f Hf]|[n [N HN]]].
  have at_ z : exists g : mlp R ds 1, forall s, eval g s 0 0 = concat f s (vec1 z).
    have [g Hg] := mlp_before f (col_mx 1%:M 0 : 'M[R]_(ds + 1, ds)) (col_mx 0 (vec1 z)).
    by exists g => s; rewrite Hg mul_col_mx mul1mx mul0mx add_col_mx addr0 add0r.
  have [g1 H1] := at_ 1; have [g2 H2] := at_ (-1); have [g Hg] := mlp_beside g1 g2.
  have [x Hx] := mlp_before g (col_mx 1%:M 1%:M : 'M[R]_(ds + ds, ds)) 0.
  pose T0 : 'M[R]_(1 + 1) := block_mx (1 / 2%:R)%:M (1 / 2%:R)%:M 0 0.
  pose T1 : 'M[R]_(1 + 1) := block_mx (1 / 2%:R)%:M (- (1 / 2%:R))%:M 0 0.
  exists (1 + 1)%N, (HyperNet x (affine_hyper (T0 - 1%:M) (fun _ : 'I_1 => T1)) (row_mx 1%:M 0) 0) => s hs.
  have out z : modulated (@full R (1 + 1)) (HyperNet x (affine_hyper (T0 - 1%:M) (fun _ : 'I_1 => T1)) (row_mx 1%:M 0) 0)
      s (vec1 z) = (1 + z) / 2%:R * concat f s (vec1 1) + (1 - z) / 2%:R * concat f s (vec1 (-1)).
    rewrite A3_adapter_can addr0 /affine_family big_ord1 vec1E Hx addr0 mul_col_mx !mul1mx Hg -H1 -H2.
    rewrite /T0 /T1 scale_block_mx add_block_mx -mulmxA mul_block_col mul_row_col mul1mx mul0mx addr0.
    rewrite mxE [(_ *m eval g1 s) 0 0]mxE [(_ *m eval g2 s) 0 0]mxE !big_ord1 !mxE !eqxx !mulr1n.
    by move: (eval g1 s 0 0) (eval g2 s 0 0) => p q; field.
  by have [<- <-] := Hf s hs; rewrite !out; split; field.
have fixed z : exists f : mlp R ds 1, forall s, eval f s 0 0 = modulated (@full R n) N s z.
  have [f Hf] := mlp_after (trunk N) (Affine (head N *m (1%:M + full_matrix (eval (hyper N) z))) (bias N)%:M).
  exists f => s; rewrite Hf /= mxE [(_)%:M 0 0]mxE eqxx mulr1n /modulated /full -mulmxA mulmxDl mul1mx.
  by [].
have [f1 H1] := fixed (vec1 1); have [f2 H2] := fixed (vec1 (-1)).
have [f Hf] := binary_any_pair f1 f2 B; exists f => s hs; have [-> ->] := Hf s hs; have [<- <-] := HN s hs.
by rewrite H1 H2.
Qed.

(** The same for any number of contexts under one-hot codes (A.2): any family of networks, one for each context, is one
    concatenating network on bounded states. So A.2's examples, permutations among them, do not separate the classes there.
    Context c adds ReLU(f_c(s) + M (2 z_c - 1)) - M z_c, which is f_c(s) where z_c = 1 and 0 where z_c = 0. *)
Theorem one_hot_any_family q (f : 'I_q -> mlp R ds 1) B : exists h : mlp R (ds + q) 1, forall s c, bounded B s ->
  concat h s (delta_mx c 0) = eval (f c) s 0 0.
Proof.
have [M HM] : exists M : 'I_q -> R, forall c (x : 'cV[R]_ds), (forall i, `|x i 0| <= B) ->
    forall i, `|eval (f c) x i 0| <= M c.
  by apply: (@fin_all_exists _ (fun=> R) (fun c M => forall x : 'cV[R]_ds, (forall i, `|x i 0| <= B) ->
    forall i, `|eval (f c) x i 0| <= M)) => c; apply: mlp_bounded.
pose term c s (z : 'cV[R]_q) := relu (eval (f c) s 0 0 + M c * (2%:R * z c 0 - 1)) - M c * z c 0.
have one c : exists h : mlp R (ds + q) 1, forall s (z : 'cV[R]_q), 0 <= z c 0 -> concat h s z = term c s z.
  have [fz Hfz] := mlp_beside (f c) (Affine (delta_mx 0 c : 'rV[R]_q) 0).
  pose gate : mlp R (1 + 1) 1 := @Hidden R _ (1 + 1) 1 (block_mx 1%:M (2%:R * M c)%:M 0 1%:M)
    (col_mx (- M c)%:M 0) (Affine (row_mx 1%:M (- M c)%:M) 0).
  have [h Hh] := mlp_after fz gate; exists h => s z z0.
  rewrite /concat Hh Hfz /term /= !addr0 -rowE; have : (row c z) 0 0 = z c 0 by rewrite mxE.
  move: (row c z) (eval (f c) s) => u y uz; rewrite mul_block_col !mul1mx mul0mx add0r add_col_mx addr0 reluv_col mul_row_col mul1mx.
  rewrite !mul_scalar_mx mxE /reluv; do !rewrite ?mxE ?eqxx ?mulr1n; rewrite uz (relu_pos z0) mulNr.
  by congr (relu _ - _); move: (y 0 0) (z c 0) (M c) => p' q' r'; ring.
have all (r : seq 'I_q) : exists h : mlp R (ds + q) 1, forall s (z : 'cV[R]_q), (forall c, 0 <= z c 0) ->
    concat h s z = \sum_(c <- r) term c s z.
  elim: r => [|c r [h Hh]].
    by exists (Affine 0 0) => s z _; rewrite /concat /= mul0mx addr0 mxE big_nil.
  have [g Hg] := one c; have [gh Hgh] := mlp_sum g h; exists gh => s z z0.
  by rewrite /concat Hgh -/(concat g s z) -/(concat h s z) Hg // Hh // big_cons.
have [h Hh] := all (index_enum _); exists h => s c hs; rewrite Hh => [|c']; last by rewrite mxE ler0n.
have bound c' : - M c' <= eval (f c') s 0 0 <= M c' by rewrite -ler_norml; apply: HM.
rewrite (bigD1 c) //= big1 => [|c' ne].
  have /andP[lo _] := bound c; rewrite /term !mxE !eqxx /= addr0 relu_pos; first by ring.
  have -> : eval (f c) s 0 0 + M c * (2%:R * 1 - 1) = eval (f c) s 0 0 + M c by ring.
  by rewrite -ler_subl_addr sub0r.
have /andP[_ hi] := bound c'; rewrite /term !mxE (negPf ne) /= relu_neg; first by ring.
by rewrite mulr0 sub0r mulrN1 subr_le0.
Qed.

End NoSeparation.
