"""Checks what the proofs say and what they assume. Called by the Makefile next to it; plain standard library.

Coq answers, not a reading of the sources. Copies of the .v files alone are compiled in an empty folder, and then
- Statements.v restates every main theorem in full; Coq checks each restatement against the proof;
- digests.txt pins each statement and every definition that one rests on, as Coq prints them (Set Printing All);
- coqchk re-checks the compiled files; no constant of ours may be an axiom, and nothing may rest on type-in-type,
  unsafe fixpoints or assumed positivity;
- Print Assumptions of a main theorem may name no axiom that ALLOWED does not list for its file.
The main theorems are those that Statements.v restates. The sources' `Theorem`s and README.md's table name the same.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ["-q", "-w", "-notation-overridden,-ambiguous-paths"]

# The general files hold over any ordered field and may assume nothing. Information.v needs the logarithm, hence Coq's
# real numbers, and these are the axioms that Coq's own library of reals brings in.
REALS = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
}
ALLOWED = {"Information": REALS}

STATEMENT = re.compile(r"^Check \(@(\w+)\.(\w+) :", re.M)
THEOREM = re.compile(r"\bTheorem\s+(\w+)")
ROW = re.compile(r"^\|[^|]*\|\s*`(\w+)\.v`\s+`(\w+)`\s*\|", re.M)


class Refused(Exception):
    """The check does not accept this folder; the message says why."""


def coq(program, folder, *arguments):
    """What a Coq program prints; Refused where it fails. (coqchk writes its summary to standard error.)"""
    command = [program, "-Q", str(folder), "DMASH", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if run.returncode:
        raise Refused(f"{arguments[-1]}: {run.stderr or run.stdout}".strip())
    return run.stdout + run.stderr


def compile_all(coqc, folder, modules):
    """Compile `modules` and Statements in `folder`, skipping what is compiled there already."""
    for module in [*modules, "Statements"]:
        if not (folder / f"{module}.vo").exists():
            coq(coqc, folder, *FLAGS, f"{module}.v")


def ask(coqc, folder, modules, commands):
    """What Coq prints for each of `commands` (text -> text), in one run. Nothing is imported: names are qualified."""
    lines = [f"From DMASH Require {' '.join(modules)}.", "Set Printing All.", "Set Printing Width 200.",
             "Set Printing Depth 100000."]  # fmt: skip
    for i, command in enumerate(commands):
        lines += [f'Goal True. idtac "@@ {i}". Abort.', command]
    path = folder / "ask.v"
    path.write_text("\n".join(lines) + "\n")
    blocks = re.split(r"^@@ (\d+)$", coq(coqc, folder, *FLAGS, "ask.v"), flags=re.M)[1:]
    answers = {commands[int(i)]: text.strip() for i, text in zip(blocks[::2], blocks[1::2], strict=True)}
    if len(answers) != len(set(commands)):
        raise Refused("Coq did not answer every question")
    return answers


def digests(coqc, folder, modules, theorems):
    """{name: digest} of the statements and of every definition of ours that one rests on."""
    ours = re.compile(rf"(?<![\w.])((?:{'|'.join(modules)})(?:\.\w+)+)")
    found, wanted = {}, {name for name in theorems}
    while wanted:
        commands = [c for name in sorted(wanted) for c in (f"About {name}.", f"Check @{name}.", f"Print {name}.")]
        answers = ask(coqc, folder, modules, commands)
        printed = {}
        for name in wanted:
            # a proof may be written in another way; a statement and a definition may not
            opaque = name in theorems or "is opaque" in answers[f"About {name}."]
            printed[name] = answers[f"Check @{name}."] + ("" if opaque else "\n" + answers[f"Print {name}."])
        for name, text in printed.items():
            found[name] = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:32]
        wanted = {other for text in printed.values() for other in ours.findall(text)} - set(found)
    return found


def assumptions(coqc, folder, modules, theorems):
    """{theorem: [axiom, ...]}, as printed by Coq."""
    answers, found = ask(coqc, folder, modules, [f"Print Assumptions {name}." for name in theorems]), {}
    for name in theorems:
        text = answers[f"Print Assumptions {name}."]
        if text == "Closed under the global context":
            found[name] = []
        elif text.startswith("Axioms:\n"):
            # an axiom starts in the first column, its type follows a colon there or on indented lines
            found[name] = [line.split()[0] for line in text.splitlines()[1:] if line and not line[0].isspace()]
        else:
            raise Refused(f"cannot read what Coq printed for {name}:\n{text}")
    return found


def recheck(coqchk, folder, modules):
    """coqchk on our files: Refused for an axiom of ours and for a switched-off check."""
    names = [word for module in [*modules, "Statements"] for word in ("-norec", f"DMASH.{module}")]
    heading, context = None, {}
    for line in coq(coqchk, folder, "-silent", "-o", *names).splitlines():
        if line.startswith("* "):
            heading, _, rest = line[2:].partition(":")
            context[heading] = [rest.strip()] if rest.strip() else []
        elif heading and line.strip():
            context[heading].append(line.strip())
    ours = [axiom for axiom in context["Axioms"] if axiom.startswith("DMASH.")]
    if ours:
        raise Refused(f"coqchk: assumed without proof: {', '.join(ours)}")
    for heading in (
        "Constants/Inductives relying on type-in-type",
        "Constants/Inductives relying on unsafe (co)fixpoints",
        "Inductives whose positivity is assumed",
    ):
        if context[heading] != ["<none>"]:
            raise Refused(f"coqchk: {heading}: {', '.join(context[heading])}")


def read_digests(source):
    return dict(line.split() for line in (source / "digests.txt").read_text().splitlines() if line)


def names_agree(source, modules):
    """The main theorems, as Module.name; Refused where sources, Statements.v and README.md name different ones."""
    unlisted = {p.stem for p in source.glob("*.v")} - {*modules, "Statements"}
    if unlisted:
        raise Refused(f"{', '.join(sorted(unlisted))}: not in the Makefile's list")
    stated = STATEMENT.findall((source / "Statements.v").read_text())
    sources = {(m, name) for m in modules for name in THEOREM.findall((source / f"{m}.v").read_text())}
    rows = set(ROW.findall((source / "README.md").read_text()))
    for what, names in (("the sources' theorems", sources), ("README.md's table", rows)):
        if missing := set(stated) - names:
            raise Refused(f"{what} lack {', '.join(sorted(map('.'.join, missing)))}, which Statements.v restates")
        if extra := names - set(stated):
            raise Refused(f"{what} have {', '.join(sorted(map('.'.join, extra)))}, which Statements.v does not restate")
    return [f"{module}.{name}" for module, name in stated]


def check(source, modules, coqc, coqchk, update=False, cache=None):
    """Check the folder `source`; Refused with the reason if it does not hold. Returns {theorem: [axiom, ...]}.

    `cache` is a folder of this very session in which the same sources were compiled from nothing (see selftest).
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in source.glob("*.v"):  # never a .vo: what was compiled elsewhere, from whatever, is not looked at
            shutil.copy(path, folder)
        if cache:
            reuse(cache, folder, modules)
        theorems = names_agree(source, modules)
        compile_all(coqc, folder, modules)
        recheck(coqchk, folder, modules)
        found = digests(coqc, folder, modules, theorems)
        if update:
            (source / "digests.txt").write_text("".join(f"{k} {v}\n" for k, v in sorted(found.items())))
        pinned = read_digests(source)
        changed = sorted(k for k in {*found, *pinned} if found.get(k) != pinned.get(k))
        if changed:
            raise Refused(f"digests.txt: no longer what was pinned: {', '.join(changed)}")
        axioms = assumptions(coqc, folder, modules, theorems)
        for theorem, names in axioms.items():
            if bad := sorted(set(names) - ALLOWED.get(theorem.split(".")[0], set())):
                raise Refused(f"{theorem} assumes {', '.join(bad)}")
        return axioms


# ------------------------------------------------------------------ the self-test


def reuse(cache, folder, modules):
    """Copy compiled files from `cache` for each module that is the same there, all that it requires included."""
    kept = set()
    for module in modules:
        text = (folder / f"{module}.v").read_bytes()
        required = " ".join(re.findall(r"From DMASH Require[^.]*", text.decode()))
        needs = set(re.findall(rf"\b({'|'.join(modules)})\b", required))
        if needs <= kept and text == (cache / f"{module}.v").read_bytes():
            kept.add(module)
            shutil.copy(cache / f"{module}.vo", folder)


def selftest(modules, coqc, coqchk):
    """Sabotages a copy of this folder in each of these ways and expects the check to refuse it for the right reason."""
    from sabotages import SABOTAGES

    failed = 0
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        for path in HERE.glob("*.v"):
            shutil.copy(path, cache)
        compile_all(coqc, cache, modules)
        for what, (sabotage, words) in SABOTAGES.items():
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "proofs"
                shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("*.vo*", "*.glob", ".*", "__pycache__"))
                sabotage(copy)
                try:
                    check(copy, modules, coqc, coqchk, cache=cache)
                    reason = "nothing"
                except Refused as refused:
                    reason = str(refused)
            ok = all(word in reason for word in words)
            failed += not ok
            print(f"{'refused' if ok else 'NOT REFUSED'}: {what} ({' ... '.join(words) if ok else reason})", flush=True)
    print(f"selftest: {len(SABOTAGES) - failed} of {len(SABOTAGES)} sabotages refused, each for its own reason")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--coqc", default="coqc")
    parser.add_argument("--coqchk", default="coqchk")
    parser.add_argument("--selftest", action="store_true")
    parser.add_argument("--update", action="store_true", help="rewrite digests.txt; then review the changes")
    args = parser.parse_args()
    if args.selftest:
        return selftest(args.modules, args.coqc, args.coqchk)
    try:
        axioms = check(HERE, args.modules, args.coqc, args.coqchk, args.update)
    except Refused as refused:
        print(f"proofs: {refused}", file=sys.stderr)
        return 1
    for theorem, names in axioms.items():
        print(f"{theorem}: {', '.join(names) or 'no axioms'}")
    print(f"proofs: {len(axioms)} main theorems, no axiom outside the allow-list")
    return 0


if __name__ == "__main__":
    sys.exit(main())
