"""Checks what the proofs assume. Called by the Makefile next to it; plain standard library.

The main theorems are those declared with the keyword `Theorem` (the rest are `Lemma`s), so the list lives in the
sources alone. The check fails when
- a source admits something or declares an axiom, or has variables and hypotheses outside a section;
- `Print Assumptions` of a main theorem names an axiom that ALLOWED does not list for its file;
- README.md's table and the theorems differ.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# The general files hold over any ordered field and may assume nothing. Information.v needs the logarithm, hence Coq's
# real numbers, and these are the axioms that Coq's own library of reals brings in.
REALS = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
}
ALLOWED = {"Information": REALS}

FORBIDDEN = re.compile(
    r"\b(Admitted|admit|give_up|Axioms?|Parameters?|Conjectures?|bypass_check|Abort)\b"
    r"|Unset\s+(?:Guard|Positivity|Universe)\s+Checking|type-in-type"
)
OUTSIDE = re.compile(r"^\s*(?:#\[[^\]]*\]\s*)?(?:(?:Local|Global)\s+)?(Variables?|Hypothes[ei]s|Context)\b")
ROW = re.compile(r"^\|[^|]*\|\s*`(\w+)\.v`\s+`(\w+)`\s*\|", re.M)


def without_comments(text):
    """The source with (nested) comments and strings blanked out."""
    out, depth, i = [], 0, 0
    while i < len(text):
        if depth == 0 and text[i] == '"':
            i = text.index('"', i + 1) + 1
        elif text.startswith("(*", i):
            depth, i = depth + 1, i + 2
        elif depth and text.startswith("*)", i):
            depth, i = depth - 1, i + 2
        else:
            out.append(text[i] if depth == 0 or text[i] == "\n" else " ")
            i += 1
    return "".join(out)


def scan(module):
    """The theorems of a module, and complaints about its source."""
    text = without_comments((HERE / f"{module}.v").read_text())
    complaints = [f"{module}.v: {m.group(0)!r} is not allowed" for m in FORBIDDEN.finditer(text)]
    sections = 0
    for sentence in re.split(r"\.(?:\s|$)", text):
        words = sentence.split()
        if words[:1] == ["Section"]:
            sections += 1
        elif words[:1] == ["End"]:
            sections -= 1
        elif sections == 0 and OUTSIDE.match(sentence):
            complaints.append(f"{module}.v: {' '.join(words)[:60]!r} stands outside a section")
    theorems = re.findall(r"\bTheorem\s+(\w+)", text)
    return theorems, complaints


def assumptions(coqc, theorems):
    """{(module, name): [axiom, ...]}, as printed by Coq."""
    lines = [f"From DMASH Require {m}." for m in dict.fromkeys(m for m, _ in theorems)]
    for module, name in theorems:
        lines.append(f'Goal True. idtac "@@ {module} {name}". Abort.')
        lines.append(f"Print Assumptions {module}.{name}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "assumptions.v"
        path.write_text("\n".join(lines) + "\n")
        run = subprocess.run([coqc, "-q", "-Q", HERE, "DMASH", path], capture_output=True, text=True, cwd=folder)
    if run.returncode:
        sys.exit(f"proofs: Print Assumptions did not run\n{run.stdout}{run.stderr}")
    found = {}
    for block in run.stdout.split("@@ ")[1:]:
        head, *body = block.splitlines()
        module, name = head.split()
        if body[:1] == ["Closed under the global context"]:
            found[module, name] = []
        elif body[:1] == ["Axioms:"]:
            # an axiom starts in the first column, its type follows a colon there or on indented lines
            found[module, name] = [line.split()[0] for line in body[1:] if line and not line[0].isspace()]
        else:
            sys.exit(f"proofs: cannot read what Coq printed for {module}.{name}:\n{block}")
    return found


def check(coqc, modules):
    complaints = []
    unlisted = {p.stem for p in HERE.glob("*.v")} - set(modules)
    complaints += [f"{m}.v is not in the Makefile's list" for m in sorted(unlisted)]
    theorems = []
    for module in modules:
        names, found = scan(module)
        theorems += [(module, name) for name in names]
        complaints += found
    if not theorems:
        complaints.append("there is no theorem")
    rows = set(ROW.findall((HERE / "README.md").read_text()))
    complaints += [f"{m}.{n} is not in README.md's table" for m, n in theorems if (m, n) not in rows]
    complaints += [f"README.md's table names {m}.{n}, which is not a theorem" for m, n in sorted(rows - set(theorems))]

    found = assumptions(coqc, theorems)
    for module, name in theorems:
        if (module, name) not in found:
            complaints.append(f"Coq printed nothing for {module}.{name}")
            continue
        axioms = found[module, name]
        print(f"{module}.{name}: {', '.join(axioms) or 'no axioms'}")
        bad = sorted(set(axioms) - ALLOWED.get(module, set()))
        complaints += [f"{module}.{name} assumes {axiom}" for axiom in bad]
    for complaint in complaints:
        print(f"proofs: {complaint}", file=sys.stderr)
    if complaints:
        return 1
    print(f"proofs: {len(theorems)} main theorems, no axiom outside the allow-list")
    return 0


# What the checks must refuse: file, text to add, and words that the refusal must contain.
BREAKAGES = {
    "a proof left open": ("Variability.v", "\nLemma open_end : False.\nAdmitted.\n", "'Admitted' is not allowed"),
    "an axiom": ("Variability.v", "\nAxiom cheat : False.\n", "'Axiom' is not allowed"),
    "a hypothesis outside a section": ("Variability.v", "\nVariable cheat : False.\n", "stands outside a section"),
    "an axiom of Coq's library": (
        "Variability.v",
        "\nFrom Coq Require Import Classical.\n"
        "Theorem excluded_middle (A : Prop) : A \\/ ~ A.\nProof. exact: classic. Qed.\n",
        "Variability.excluded_middle assumes",
    ),
    "an axiom beside the reals": (
        "Information.v",
        "\nFrom Coq Require Import ClassicalEpsilon.\n"
        "Theorem choice (A : Prop) : {A} + {~ A}.\nProof. exact: excluded_middle_informative. Qed.\n",
        "Information.choice assumes",
    ),
    "a theorem missing from the table": (
        "Variability.v",
        "\nTheorem unlisted : True.\nProof. by []. Qed.\n",
        "Variability.unlisted is not in README.md",
    ),
    "a proof that does not hold": (
        "Variability.v",
        "\nTheorem wrong : False.\nProof. by []. Qed.\n",
        "No applicable tactic",
    ),
}


def selftest(modules):
    """Breaks a copy of this folder in each of these ways and expects `make` to refuse it for the right reason."""
    failed = 0
    for what, (file, addition, words) in BREAKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "proofs"
            shutil.copytree(HERE, copy)
            with open(copy / file, "a") as source:
                source.write(addition)
            env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
            run = subprocess.run(["make", "-C", copy], capture_output=True, text=True, env=env)
        refused = run.returncode != 0 and words in run.stdout + run.stderr
        failed += not refused
        print(f"{'refused' if refused else 'NOT REFUSED'}: {what}")
        if not refused:
            print(run.stdout + run.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--coqc", default="coqc")
    parser.add_argument("--selftest", action="store_true")
    args = parser.parse_args()
    sys.exit(selftest(args.modules) if args.selftest else check(args.coqc, args.modules))
