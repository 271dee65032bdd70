"""What `make selftest` plants in copies of this folder, and words of the reason for which each must be refused.

First the nine that an audit once found to pass, then the seven that were refused before, then others.
"""
# ruff: noqa: E501

import os


def append(file, text):
    return lambda folder: (folder / file).write_text((folder / file).read_text() + text)


def replace(*edits):
    def edit(folder):
        for file, old, new in edits:
            text = (folder / file).read_text()
            if old not in text:
                raise SystemExit(f"selftest: {file} no longer has {old!r}")
            (folder / file).write_text(text.replace(old, new, 1))

    return edit


def stale(folder):
    """A broken source beside a compiled file that is newer."""
    append("Ascent.v", "\nLemma broken : False.\nProof. by []. Qed.\n")(folder)
    (folder / "Ascent.vo").write_bytes(b"not looked at")
    os.utime(folder / "Ascent.vo", (2**32, 2**32))


def premise(folder):
    """A hypothesis before the last theorem of a section, and a proof that uses nothing else."""
    mark = "(** A.18, consequence"
    before, after = (folder / "Variability.v").read_text().split(mark)
    theorem, rest = after.split("Qed.", 1)
    stated = theorem.split("Proof.")[0]
    text = f"{before}Hypothesis cheat : False.\n\n{mark}{stated}Proof. by case: cheat. Qed.{rest}"
    (folder / "Variability.v").write_text(text)


CHEAT_PREMISE = replace(
    ("Bottleneck.v", "0 < B -> `|z| <= B ->\n  modulated (@bottleneck R 2 1)", "B < B -> 0 < B -> `|z| <= B ->\n  modulated (@bottleneck R 2 1)"),
    ("Bottleneck.v", "move=> B0; rewrite ler_norml -subr_ge0 opprK => /andP[z1]", "move=> _ B0; rewrite ler_norml -subr_ge0 opprK => /andP[z1]"),
)  # fmt: skip

SABOTAGES = {
    "A18_compression becomes True": (
        replace(("Variability.v", "Theorem A18_compression Z :", "Theorem A18_compression (Z : Omega -> 'rV[R]_d) : True.\nProof. by []. Qed.\nLemma A18_old Z :")),
        "Statements.v",
    ),
    "a section hypothesis that becomes a premise": (premise, "Statements.v"),
    "contradictory premises": (CHEAT_PREMISE, "Statements.v"),
    "a notation redefined before a theorem": (
        replace(("BinaryContexts.v", "(** With s unbounded two contexts", "Local Notation \"~ x\" := (True \\/ x) (at level 75, right associativity) : type_scope.\n\n(** With s unbounded two contexts"),
                ("BinaryContexts.v", "move=> ne [f Hf].\n", "by left.\nQed.\n\nLemma old (z1 z2 s0 : R) : z1 != z2 ->\n  (exists f : mlp R (1 + 1) 1, forall s z, s0 <= s -> z = z1 \\/ z = z2 -> concat f (vec1 s) (vec1 z) = s * z) -> False.\nProof.\nmove=> ne [f Hf].\n")),
        "Statements.v",
    ),
    "a theorem demoted, a dummy in its place": (
        replace(("Variability.v", "Theorem A18_terms Z :", "Theorem A18_terms : True.\nProof. by []. Qed.\nLemma A18_true_terms Z :"),
                ("Variability.v", "have [c0 m0 b] := A18_terms Z.", "have [c0 m0 b] := A18_true_terms Z.")),
        "Statements.v",
    ),
    "an Admitted hidden by a string inside a comment": (
        append("Ascent.v", '\n(* "*)" *)\nLemma hidden : False.\nAdmitted.\n(* "" *)\n'), "assumed without proof: DMASH.Ascent.hidden"),
    "an unused instance of False": (
        append("Ascent.v", "\nClass absurd := { absurdity : False }.\nDeclare Instance unused : absurd.\n"),
        "assumed without proof: DMASH.Ascent.unused"),
    "a hypothesis after an empty module": (
        append("Ascent.v", "\nModule M. End M.\nHypothesis cheat : False.\n"), "assumed without proof: DMASH.Ascent.cheat"),
    "a broken source whose compiled file was touched": (stale, "No applicable tactic"),
    # known before
    "a proof left open": (append("Ascent.v", "\nLemma open_end : False.\nAdmitted.\n"), "assumed without proof: DMASH.Ascent.open_end"),
    "an axiom": (append("Ascent.v", "\nAxiom cheat : False.\n"), "assumed without proof: DMASH.Ascent.cheat"),
    "a variable outside a section": (append("Ascent.v", "\nVariable cheat : False.\n"), "assumed without proof: DMASH.Ascent.cheat"),
    "an axiom of Coq's library": (
        replace(("Variability.v", "From mathcomp Require Import ring.", "From mathcomp Require Import ring.\nFrom Coq Require Classical."),
                ("Variability.v", "Proof. by move=> G lip; rewrite -A15_decomposition; apply: A17_gradient_variance. Qed.",
                 "Proof. case: (Classical_Prop.classic True) => _; by move=> G lip; rewrite -A15_decomposition; apply: A17_gradient_variance. Qed.")),
        "Variability.A17_with_A15 assumes Classical_Prop.classic"),
    "an axiom beside the reals": (
        replace(("Information.v", "From Coq Require Import Reals Lra.", "From Coq Require Import Reals Lra.\nFrom Coq Require ClassicalEpsilon."),
                ("Information.v", "move=> isP dec; pose at_", "have _ := ClassicalEpsilon.excluded_middle_informative True; move=> isP dec; pose at_")),
        "Information.compression_of_decodable assumes"),
    "a theorem that is nowhere restated": (append("Ascent.v", "\nTheorem unlisted : True.\nProof. by []. Qed.\n"), "Ascent.unlisted, which Statements.v does not restate"),
    "a proof that does not hold": (append("Ascent.v", "\nLemma wrong : False.\nProof. by []. Qed.\n"), "No applicable tactic"),
    # others
    "a definition made harder, its lemma dropped": (
        replace(("Networks.v", "A x -> A y -> 0 <= t <= 1 -> A (x", "A x -> A y -> true || (0 <= t <= 1) -> A (x"),
                ("Networks.v", "Lemma box_convex x r : convex (box x r).\nProof.\nmove=> u v t hu hv /andP[t0 t1] i;", "Lemma box_between (x : 'cV[R]_n) r u v t : box x r u -> box x r v -> 0 <= t <= 1 -> box x r (u + t *: (v - u)).\nProof.\nmove=> hu hv /andP[t0 t1] i;")),
        "digests.txt: no longer what was pinned: Networks.convex"),
    "a restatement weakened with its theorem": (
        replace(("Switching.v", "B <= 4%:R * eta * (\\prod_(k <- widths f) k.+1%:R) ^+ 2.\nProof.", "True.\nProof. by []. Qed.\n\nLemma switch_old (f : mlp R (1 + 1) 1) B delta eta : 0 < delta -> 0 <= B ->\n  (forall s, `|s| <= B -> concat f (vec1 s) (vec1 delta) = s /\\ concat f (vec1 s) (vec1 (- delta)) = - s) ->\n  (forall s u v, `|s| <= B -> `|u| <= delta -> `|v| <= delta ->\n    `|concat f (vec1 s) (vec1 u) - concat f (vec1 s) (vec1 v)| <= (`|s| + eta) / delta * `|u - v|) ->\n  B <= 4%:R * eta * (\\prod_(k <- widths f) k.+1%:R) ^+ 2.\nProof."),
                ("Statements.v", "  B <= 4 * eta * (\\prod_(k <- Networks.widths f) k.+1%:R) ^+ 2).", "  True).")),
        "digests.txt: no longer what was pinned: Switching.switch_excess"),
    "a fixpoint that does not end": (
        append("Ascent.v", "\nUnset Guard Checking.\nFixpoint loop (n : nat) : False := loop n.\nLemma anything : False. Proof. exact: (loop 0). Qed.\nSet Guard Checking.\n"),
        "unsafe (co)fixpoints"),
    "a declared module with an axiom": (
        append("Ascent.v", "\nModule Type T. Axiom a : False. End T.\nDeclare Module D : T.\n"), "assumed without proof: DMASH.Ascent.D"),
    "Type in Type": (
        append("Ascent.v", "\nUnset Universe Checking.\nDefinition everything : Type@{Set} := Type.\nSet Universe Checking.\n"), "type-in-type"),
    "a theorem missing from the README": (
        replace(("README.md", "`A15_decomposition`", "`A15_decompositions`")), "README.md's table lack Variability.A15_decomposition"),
    "a file that no one lists": (lambda folder: (folder / "Extra.v").write_text("Axiom cheat : False.\n"), "Extra: not in the Makefile's list"),
}  # fmt: skip

# the words are a text, or several; where a restatement is what refuses, the theorem that it names
NAMED = {
    "A18_compression becomes True": "Variability.A18_compression",
    "a section hypothesis that becomes a premise": "Variability.A18_compression",
    "contradictory premises": "Bottleneck.A5_width_one_can",
    "a notation redefined before a theorem": "BinaryContexts.binary_unbounded_cannot",
    "a theorem demoted, a dummy in its place": "Variability.A18_terms",
}
SABOTAGES = {
    what: (plant, (words, NAMED[what]) if what in NAMED else (words,)) for what, (plant, words) in SABOTAGES.items()
}
