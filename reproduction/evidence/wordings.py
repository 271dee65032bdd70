"""When each claim was worded, and in which commit: a ledger beside the claims, read together with git.

A row of claims/wordings.csv says that from its date on a claim, or the rules that all claims share ("rules"), had a
wording with this digest, and why it changed. The digest covers all that a verdict depends on, so a rule cannot change
without a row: a test fails until `dmash claims --record WHY` has written it. The commit that added a row is asked of
git and not stored.
"""

import ast
import csv
import hashlib
import inspect
import subprocess
import textwrap
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from dmash_core.errors import UserError
from reproduction.evidence import comparisons, rules, runs
from reproduction.evidence.claim import CLAIMS, Verdict

LEDGER = Path(__file__).parents[1] / "claims" / "wordings.csv"
RULES = "rules"
"""The id of what all claims share."""
_SHARED = (
    rules, comparisons.target, comparisons.Comparison.estimate, comparisons.Comparison.region,
    comparisons.Comparison.judge, runs.departure, runs.copies, runs.Evidence.series, runs.Evidence.values,
    runs.Evidence._logged, runs.Evidence._fall, runs._of_networks,
)  # fmt: skip


def _code(source: str) -> str:
    """Code without comments, docstrings and layout."""
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
            node.body = kept or [ast.Pass()]
    return ast.unparse(tree)


def digest(id_: str) -> str:
    """12 hex digits of a claim's wording, or of the shared rules."""
    if id_ == RULES:
        text = "\n".join(_code(inspect.getsource(one)) for one in _SHARED) + f"{runs.LAST} {runs.SCHEMA}"
    else:
        text = CLAIMS[id_].wording()
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ledger(path: Path = LEDGER) -> dict[str, list[dict]]:
    """The rows by id, oldest first: digest, date, why, and commit (8 hex digits; empty outside git, or before it is
    committed)."""
    rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
    commits = _commits(path)
    found: dict[str, list[dict]] = {}
    for number, row in enumerate(rows, start=2):
        found.setdefault(row.pop("id"), []).append(row | {"commit": commits.get(number, "")})
    return found


@cache
def _commits(path: Path) -> dict[int, str]:
    """{line: the commit that wrote it}, as git has it."""
    command = ["git", "-C", str(path.parent), "blame", "--abbrev=7", "-s", path.name]
    done = subprocess.run(command, capture_output=True, text=True)
    hashes = [line.split()[0].lstrip("^") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return {number: name for number, name in enumerate(hashes, start=1) if name.strip("0")}


def changed(path: Path = LEDGER) -> list[str]:
    """The ids whose wording is not the last one in the ledger."""
    known = ledger(path)
    return [id_ for id_ in (RULES, *CLAIMS) if id_ not in known or known[id_][-1]["digest"] != digest(id_)]


def record(why: str, path: Path = LEDGER) -> list[str]:
    """Add a row for every id whose wording has changed, and return these ids. UserError if the file cannot be
    written."""
    ids, new = changed(path), not path.exists()
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with open(path, "a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["id", "digest", "date", "why"]] * new + [[id_, digest(id_), date, why] for id_ in ids])
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return ids


def said(rows: list[dict]) -> list[str]:
    """Wordings for reading, the newest first."""
    lines = []
    for number, row in reversed(list(enumerate(rows, start=1))):
        commit = f", commit {row['commit']}" if row["commit"] else ", not committed"
        lines.append(f"{number} of {len(rows)}: {row['date'][:10]}{commit}: {row['why']}")
    return lines


@cache
def _committed(root: Path) -> dict[str, str]:
    """{raw run, relative to `root`: when it was last committed}, as git has it."""
    command = ["git", "-C", str(root), "log", "--format=@%cI", "--name-only", "--", "runs"]
    done, found, date = subprocess.run(command, capture_output=True, text=True), {}, ""
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        date = line[1:] if line.startswith("@") else date
        if line and not line.startswith("@"):
            found.setdefault(line, date)  # the newest commit comes first
    return found


def _utc(date: str) -> str:
    """An ISO date for reading and comparing: 2026-11-28 14:52 (UTC)."""
    return datetime.fromisoformat(date).astimezone(UTC).strftime("%Y-%m-%d %H:%M") if date else ""


def order(mine: list[dict], shared: list[dict], verdict: Verdict, root: Path = comparisons.ROOT) -> str:
    """Whether the wording of a claim and the shared rules were there before its first raw run was compared: before it
    was committed, or, for runs that are not, before it was finished."""
    if not verdict.trained:
        return "no raw run has been compared under it yet"
    worded = max((_utc(rows[-1]["date"]) for rows in (mine, shared) if rows), default="")
    known = _committed(root)
    dates = [known.get(str(Path(path).resolve()).removeprefix(f"{root}/"), "") for path in verdict.used]
    first, trained = min(map(_utc, filter(None, dates)), default=""), _utc(verdict.trained)
    when = "after" if worded and worded <= (first or trained) else "before"
    said = f"finished on {trained} and {f'committed on {first}' if first else 'is not committed'}"
    return f"the first of its raw runs was {said}, {when} its last wording of {worded or 'no date'}"
