"""When each claim was worded, in which commit, and what had been trained by then.

A row of claims/wordings.csv records that a claim, or the rules shared by all claims ("rules"), has had the wording with
this digest since its date, and why it changed. The digest covers everything a verdict depends on, so no rule can change
without a new row: a test fails until `dmash claims --record WHY` writes one. The commit that added a row is read from
git, not stored. A row of claims/earlier.csv is a wording, or a raw run, of the previous agent; that file is history and
does not change. All dates are stored, so a clone without history shows the same ones.

A row of the shared rules may name the only arms whose runs the change concerns (column arms: slugs separated by
spaces). Claims that judge no run of these arms then keep their earlier date.
"""

import ast
import csv
import hashlib
import inspect
import subprocess
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from dmash_core.errors import UserError
from reproduction.evidence import comparisons, rules, runs
from reproduction.evidence.claim import CLAIMS, Claim, registered
from reproduction.evidence.runs import Evidence

LEDGER = Path(__file__).parents[1] / "claims" / "wordings.csv"
EARLIER = LEDGER.with_name("earlier.csv")
RULES = "rules"
"""The id of the shared rules."""
_SHARED = (
    rules, comparisons.target, comparisons.Comparison.estimate, comparisons.Comparison.region,
    comparisons.Comparison.judge, runs.departure, runs.copies, runs.Evidence.series, runs.Evidence.values,
    runs.Evidence._logged, runs.Evidence._fall, runs._of_networks,
)  # fmt: skip


def _code(source: str) -> str:
    """Source code without comments, docstrings and formatting."""
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
    """The rows by id, oldest first: digest, date, why and commit (8 hex digits; empty outside git and for uncommitted
    rows)."""
    rows = list(csv.DictReader(path.read_text().splitlines(), restval="")) if path.exists() else []
    commits = _commits(path)
    found: dict[str, list[dict]] = {}
    for number, row in enumerate(rows, start=2):
        found.setdefault(row.pop("id"), []).append(row | {"commit": commits.get(number, "")})
    return found


@cache
def _commits(path: Path) -> dict[int, str]:
    """{line number: commit that wrote the line}, from git blame."""
    command = ["git", "-C", str(path.parent), "blame", "--abbrev=7", "-s", path.name]
    done = subprocess.run(command, capture_output=True, text=True)
    hashes = [line.split()[0].lstrip("^") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return {number: name for number, name in enumerate(hashes, start=1) if name.strip("0")}


def changed(path: Path = LEDGER) -> list[str]:
    """The ids whose wording differs from the last one in the ledger."""
    known = ledger(path)
    return [id_ for id_ in (RULES, *registered()) if id_ not in known or known[id_][-1]["digest"] != digest(id_)]


def record(why: str, path: Path = LEDGER, arms: Sequence[str] = ()) -> list[str]:
    """Append a row for every id whose wording has changed and return these ids. UserError if the file cannot be
    written."""
    ids, new = changed(path), not path.exists()
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with open(path, "a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["id", "digest", "date", "why", "arms"]] * new)
            writer.writerows([id_, digest(id_), date, why, " ".join(arms)] for id_ in ids)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return ids


def said(rows: list[dict]) -> list[str]:
    """Format wordings for display, newest first."""
    lines = []
    for number, row in reversed(list(enumerate(rows, start=1))):
        commit = f", commit {row['commit']}" if row["commit"] else ", not committed"
        lines.append(f"{number} of {len(rows)}: {row['date'][:10]}{commit}: {row['why']}")
    return lines


def _utc(date: str) -> str:
    """Format an ISO date for display and comparison: 2026-11-28 14:52 (UTC)."""
    return datetime.fromisoformat(date).astimezone(UTC).strftime("%Y-%m-%d %H:%M") if date else ""


# ---------------------------------------------------------------- rules and the dates of their data


@dataclass(frozen=True)
class Event:
    """One date of a timeline. date: UTC, to the minute. kind: "wording", "shared rules", "earlier wording", "run" (it
    counts; the date is the end of its training) or "earlier run" (of another agent; the date of its commit). what: the
    reason for a wording, or the file of a run. commit: empty for a run, or if unknown to git."""

    date: str
    kind: str
    what: str
    commit: str = ""


FIXED, AFTER, AGAIN = "fixed before the data", "changed after data", "changed after an earlier agent's data"
OPEN, NONE = "no data yet", "reads no raw runs"
"""Marks of a rule; see `Timeline.mark`."""


@dataclass(frozen=True)
class Timeline:
    """The wordings of a claim and the runs it is about, in chronological order. compares: whether it judges runs."""

    events: tuple[Event, ...]
    compares: bool

    def of(self, *kinds: str) -> list[Event]:
        """The events of the given kinds."""
        return [event for event in self.events if event.kind in kinds]

    @property
    def changed(self) -> str:
        """When the claim or the shared rules were last worded."""
        return max((event.date for event in self.of("wording", "shared rules")), default="")

    @property
    def mark(self) -> str:
        """FIXED: the last wording predates the end of the first run that counts and all runs of an earlier agent.
        AFTER: it postdates the end of a run that counts. AGAIN: it postdates runs of an earlier agent in the same cells
        but predates all that count. OPEN: there are no runs of either kind. NONE: the claim compares no runs."""
        if not self.compares:
            return NONE
        runs, earlier = self.of("run"), self.of("earlier run")
        if any(event.date < self.changed for event in runs):
            return AFTER
        if any(event.date < self.changed for event in earlier):
            return AGAIN
        return FIXED if runs else OPEN

    def said(self) -> str:
        """The mark as a sentence with its dates."""
        runs, earlier, changed = self.of("run"), self.of("earlier run"), self.changed
        seen = [event for event in runs if event.date < changed]
        before = [event for event in earlier if event.date < changed]
        also = f" {_runs(before)} of an earlier agent had been seen by then; they do not count." if before else ""
        if self.mark == AFTER:
            ended = f"{len(seen)} of the {len(runs)} runs that it uses had ended"
            return f"Changed after the data, on {changed}: {ended} by then (the first on {runs[0].date}).{also}"
        if self.mark == AGAIN:
            after = (
                f"before the first run that counts had ended ({runs[0].date})" if runs else "before any run that counts"
            )
            return f"Changed on {changed}, {after}.{also}"
        if self.mark == FIXED:
            return f"Fixed before the data: worded on {changed}; the first of its runs ended on {runs[0].date}."
        return f"Worded on {changed}; no raw runs have been judged by it yet."


def _runs(events: list[Event]) -> str:
    return f"{len(events)} run{'s' * (len(events) != 1)}"


@cache
def earlier(path: Path = EARLIER) -> tuple[dict, ...]:
    """The rows of the history before the ledger: what ("wording" or "run"), id (a claim or the file of a run), date,
    commit, why."""
    return tuple(csv.DictReader(path.read_text().splitlines()))


def timeline(claim: Claim, evidence: Evidence, path: Path | None = None) -> Timeline:
    """The events of a claim: its wordings, those of the shared rules if it compares runs, and the runs of its judged
    comparisons, by this agent and the earlier one. Only the dates of runs are read from `evidence`."""
    rows = ledger(path or LEDGER)
    found = [Event(_utc(r["date"]), "wording", r["why"], r["commit"]) for r in rows.get(claim.id, [])]
    found += [
        Event(_utc(r["date"]), "earlier wording", r["why"], r["commit"])
        for r in earlier() if (r["what"], r["id"]) == ("wording", claim.id)
    ]  # fmt: skip
    judged = [plan for plan in claim.comparisons if plan.judged]
    if judged:
        pairs = {(env, arm) for plan in judged for env in plan.envs for arm in plan.arms}
        slugs = {arm.split("+")[0] for _, arm in pairs}
        found += [
            Event(_utc(r["date"]), "shared rules", r["why"], r["commit"])
            for r in rows.get(RULES, []) if not r["arms"] or slugs & set(r["arms"].split())
        ]  # fmt: skip
        for key, run in evidence.runs.items():
            if key[:2] in pairs:
                found.append(Event(_utc(run.meta["finished"]), "run", f"{key[0]}/{key[1]}/seed-{key[2]}"))
        for r in earlier():
            if r["what"] == "run" and tuple(r["id"].split("/")[1:3]) in pairs:
                name = r["id"].removeprefix("runs/").removesuffix(".parquet")
                found.append(Event(_utc(r["date"]), "earlier run", name, r["commit"]))
    return Timeline(tuple(sorted(found, key=lambda event: (event.date, event.kind))), bool(judged))


def order(claim: Claim, evidence: Evidence) -> str:
    """Sentences on whether the wording predates the data: `Timeline.said` for a claim that compares runs, otherwise the
    date of its last wording."""
    line = timeline(claim, evidence)
    if line.compares:
        return line.said()
    count = len(line.of("wording", "earlier wording"))
    again = f"; this is wording {count}, written after its data had been seen" if count > 1 else ""
    return f"It uses no raw runs. Worded on {line.changed or 'no date'}{again}."
