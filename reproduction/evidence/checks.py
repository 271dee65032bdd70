"""Checks that need no raw runs: proofs with Coq, numerical twins with pytest."""

import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache

from reproduction.evidence.comparisons import ROOT, Computed, Finding, Proof, Twin, Unjudged
from reproduction.evidence.rules import CONTRADICTED, NOT_CHECKED, REPRODUCED, UNDECIDED, VERDICTS

PROOF_COST = "make proofs needs Coq (Debian: coq libcoq-mathcomp-algebra libcoq-mathcomp-algebra-tactics) and a minute"

_listeners: list[Callable[[str], None]] = []
"""Receivers of progress reports from long checks; the command line prints them."""
EVERY = 5.0
"""Minimum seconds between two reports of the same check."""


def listen(listener: Callable[[str], None]) -> None:
    """Send occasional progress lines of long checks to `listener`."""
    _listeners[:] = [listener]


def say(line: str) -> None:
    """Send a line to the listener, if there is one."""
    for listener in _listeners:
        listener(line)


def _finding(what: str, code: int, reason: str) -> Finding:
    return Finding(what, VERDICTS[code], reason)


@cache
def proved() -> dict[str, str] | tuple[int, str]:
    """{theorem: axioms it rests on}, as printed by `make -C proofs`; on failure (verdict, reason)."""
    lacking = [tool for tool in ("make", "coqc", "coqchk") if shutil.which(tool) is None]
    if lacking or not (ROOT / "proofs").is_dir():
        return NOT_CHECKED, f"this machine lacks {', '.join(lacking) or 'the folder proofs/'}; {PROOF_COST}"
    say("proofs: Coq compiles and re-checks them (about a minute)")
    done = subprocess.run(["make", "-C", ROOT / "proofs"], capture_output=True, text=True)
    if done.returncode:
        return UNDECIDED, f"make -C proofs failed: {' '.join(done.stderr.split())[-300:]}"
    return dict(re.findall(r"^\w+\.(\w+): (.+)$", done.stdout, re.M))


def check_proof(plan: Proof) -> Finding:
    """Check that Coq accepts the theorems, with no axiom outside the allow-list."""
    found, what = proved(), f"{plan.what} (Coq: {', '.join(plan.theorems)})"
    if isinstance(found, tuple):
        return _finding(what, *found)
    if absent := [name for name in plan.theorems if name not in found]:
        return _finding(what, UNDECIDED, f"Coq accepted no theorem {', '.join(absent)}")
    axioms = "; ".join(dict.fromkeys(found[name] for name in plan.theorems))
    if plan.refutes:
        return _finding(what, CONTRADICTED, f"a counterexample is proved; rests on {axioms}")
    return _finding(what, REPRODUCED, f"proved; rests on {axioms}")


_outcomes: dict[str, str] = {}  # of pytest nodes: passed, failed, error, or why the test was not run


def run_tests(plans: Iterable[object]) -> None:
    """Run the tests of all twins in one process, except those already run."""
    nodes = [f"tests/{node}" for plan in plans if isinstance(plan, Twin) for node in plan.nodes]
    nodes = [node for node in nodes if node not in _outcomes]
    if not nodes:
        return
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-v", "-rA", "-p", "no:cacheprovider", *nodes]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, count, last = [], 0, time.monotonic()
    say(f"tests: {len(nodes)} to run")
    for line in running.stdout:
        lines.append(line)
        if re.match(r"tests/\S+ (PASSED|FAILED|ERROR)", line):
            count += 1
            if time.monotonic() - last > EVERY:
                last = time.monotonic()
                say(f"tests: {count} done, last {line.split()[0].split('::')[-1]}")
    running.wait()
    seen, said = defaultdict(set), "".join(lines)
    for word, name in re.findall(r"^(PASSED|FAILED|ERROR) (tests/\S+?)(?:\[.*\])?(?: - .*)?$", said, re.M):
        seen[name].add(word.lower())
    lost = " ".join(said.strip().splitlines()[-1:])
    for node in nodes:
        words = seen[node]
        _outcomes[node] = next((w for w in ("failed", "error", "passed") if w in words), f"not run: {lost}")


def check_twin(plan: Twin) -> Finding:
    """Check that the tests pass."""
    run_tests([plan])
    what = f"{plan.what} (tests: {', '.join(node.split('::')[1] for node in plan.nodes)})"
    wrong = [node for node in plan.nodes if _outcomes[f"tests/{node}"] != "passed"]
    if not wrong:
        said = "the counterexample's test passes" if plan.refutes else f"tests passed: {len(plan.nodes)}"
        return _finding(what, CONTRADICTED if plan.refutes else REPRODUCED, said)
    outcome = _outcomes[f"tests/{wrong[0]}"]
    code = NOT_CHECKED if outcome != "failed" else UNDECIDED if plan.refutes else CONTRADICTED
    return _finding(what, code, f"{wrong[0].split('::')[1]}: {outcome}")


def check_plan(plan: Proof | Twin | Computed | Unjudged) -> list[Finding]:
    """The findings of a plan that needs no raw runs."""
    if isinstance(plan, Computed):
        return plan.function()
    if isinstance(plan, Unjudged):
        return [_finding(plan.what, NOT_CHECKED, plan.why)]
    return [check_proof(plan) if isinstance(plan, Proof) else check_twin(plan)]
