(** * Binary contexts: where concatenation computes s * z exactly (not in the paper)

    A.1 needs contexts that range over an interval. When z takes the values +1 and -1 only, a small concatenating
    network equals s * z on all bounded states; it fails on unbounded ones. *)

From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import ring.
From DMASH Require Import Networks.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory Order.TTheory.
Local Open Scope ring_scope.

Section Bounded.
Variable R : realFieldType.
Implicit Types s z B : R.

(** A concatenating network on scalars with one hidden layer of k neurons: neuron i has weight u i on s, v i on z,
    offset c i and output weight a i. *)
Definition shallow k (u v c a : 'I_k -> R) (a0 : R) : mlp R (1 + 1) 1 :=
  Hidden (row_mx (\matrix_(i, j < 1) u i) (\matrix_(i, j < 1) v i)) (\col_i c i) (Affine (\row_i a i) (vec1 a0)).

Lemma shallowE k (u v c a : 'I_k -> R) a0 s z :
  concat (shallow u v c a a0) (vec1 s) (vec1 z) = \sum_i a i * relu (u i * s + v i * z + c i) + a0.
Proof.
rewrite /concat /= mul_row_col mxE [vec1 a0 _ _]vec1E mxE; congr (_ + _); apply: eq_bigr => i _.
by rewrite !mxE !big_ord1 !mxE !mulr1n.
Qed.

Lemma shallow_widths k (u v c a : 'I_k -> R) a0 : widths (shallow u v c a a0) = [:: k].
Proof. by []. Qed.

Definition pick (x : seq R) (i : nat) : R := nth 0 x i.

(** Four neurons: relu(s + B(z - 1)) - relu(-s + B(z - 1)) gives s when z = 1 and is silent when z = -1; the other two do
    the opposite. *)
Definition four B : mlp R (1 + 1) 1 :=
  @shallow 4 (pick [:: 1; -1; 1; -1]) (pick [:: B; B; - B; - B]) (fun=> - B) (pick [:: 1; -1; -1; 1]) 0.

(** Two neurons: 2 relu(s + B z) - relu(s + B z + 2 B) + B. *)
Definition two B : mlp R (1 + 1) 1 :=
  @shallow 2 (pick [:: 1; 1]) (pick [:: B; B]) (pick [:: 0; 2%:R * B]) (pick [:: 2%:R; -1]) B.

Lemma bounds s B : `|s| <= B -> [/\ 0 <= s + B, s - B <= 0, 0 <= B - s & - s - B <= 0].
Proof.
rewrite ler_norml => /andP[h1 h2]; rewrite subr_le0 h2 subr_ge0 h2 -[- s <= B]/(- s <= B).
by split=> //; [rewrite -[B]opprK subr_ge0|rewrite subr_le0 ler_oppl].
Qed.

(** With |s| <= B and z in {+1, -1}, one hidden layer of four neurons equals s * z exactly. *)
Theorem binary_four_neurons B s z : `|s| <= B -> z = 1 \/ z = -1 -> concat (four B) (vec1 s) (vec1 z) = s * z.
Proof.
move=> sB zz; have B0 : 0 <= B by apply: le_trans sB.
have [h1 h2 h3 h4] := bounds sB.
rewrite shallowE !big_ord_recl big_ord0 /pick /= !addr0.
case: zz => ->.
  rewrite -[X in 1 * relu X]/(_) .
Abort.

End Bounded.
