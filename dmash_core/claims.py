"""Every claim of the paper, decided by a rule that was written down beforehand (``claims.yaml``).

A claim is a row of ``claims.yaml``: what is claimed and where, the published values by their ids in ``published.csv``,
the raw runs that it needs, and its checks. Each check (a function in ``rules.py``) gives findings, computed from
proofs, tests or raw runs, and `check` combines them into one verdict:

- contradicted: a finding is. Of many published values some lie outside of our 95 % intervals by chance alone: a claim
  that has them (``several: true``) is contradicted when more do than chance allows (binomial, one sided, 5 %).
- reproduced: everything is decided, and the claim is not contradicted.
- undecided: something was compared, and something is open (too few seeds, too short, wide intervals, runs missing).
- not checked: nothing could be compared, or a theorem's proof could not be run; reason and cost say what it takes.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml
from scipy import stats

from dmash_core.benchmark.suite import get_spec
from dmash_core.errors import UserError, unknown
from dmash_core.figures import ARMS, aer_markdown, aer_table
from dmash_core.rules import (
    CONTRADICTED,
    NOT_CHECKED,
    REPRODUCED,
    ROOT,
    RULES,
    UNDECIDED,
    VERDICTS,
    Evidence,
    Finding,
    published_values,
    run_tests,
)
from dmash_core.sweep import Cell, Folder

CLAIMS = ROOT / "claims.yaml"
BEGIN, END = "<!-- claims: written by dmash claims --readme -->", "<!-- claims: end -->"
KINDS = ("theorem", "table", "figure", "efficiency", "question")


@dataclass(frozen=True)
class Needs:
    """The raw runs of a claim: every environment x arm with so many seeds, each trained for so many steps.

    Without steps it is each environment's own number in the benchmark; without environments no runs are needed.
    """

    envs: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    seeds: int = 10
    steps: int | None = None


@dataclass(frozen=True)
class Claim:
    """One row of claims.yaml. `rule` says in words what `checks` say in the form that the code executes."""

    id: str
    statement: str
    where: str
    kind: str
    rule: str
    reason: str
    checks: tuple[dict, ...]
    published: tuple[str, ...] = ()
    checked_by: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    note: str = ""
    cost: str = ""
    several: bool = False
    headline: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    headline: its first measured finding with that verdict, else its first measured, else its first. seeds: the fewest
    of any measured finding. steps: of all findings together. used: files of raw runs. left_out: (file, reason) of those
    that could not be used. missing: what would have to be trained, in words. cost: of checking it fully. command: what
    repeats this check.
    """

    id: str
    verdict: str
    reason: str
    headline: Finding
    seeds: int
    steps: dict[str, int]
    findings: tuple[Finding, ...]
    used: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    cost: str
    command: str


# ---------------------------------------------------------------- reading claims.yaml


def _listed(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids of published values; "T9-1..3" stands for T9-1, T9-2, T9-3. UserError for one that does not exist."""
    found = []
    for word in ids:
        first, dots, last = word.partition("..")
        name, _, number = first.rpartition("-")
        found += [f"{name}-{i}" for i in range(int(number), int(last) + 1)] if dots else [word]
    for id_ in found:
        if id_ not in published_values():
            raise unknown("published value", id_, published_values())
    return tuple(found)


def _claim(row: dict) -> Claim:
    names = [f.name for f in fields(Claim)]
    if wrong := set(row) - set(names):
        raise unknown("word", wrong.pop(), names)
    needs = {k: tuple(v) if isinstance(v, list) else v for k, v in row.get("needs", {}).items()}
    checks = tuple(c | {"ids": _listed(c["ids"])} if "ids" in c else c for c in row["checks"])
    row = row | {"checks": checks, "checked_by": tuple(row.get("checked_by", ()))}
    claim = Claim(**row | {"published": _listed(row.get("published", ())), "needs": Needs(**needs)})
    if claim.kind not in KINDS:
        raise unknown("kind", claim.kind, KINDS)
    for arm in claim.needs.arms:
        if arm.split("+")[0] not in ARMS:
            raise unknown("arm", arm, ARMS)
    for check in claim.checks:
        if check.get("kind") not in RULES:
            raise unknown("kind of check", str(check.get("kind")), RULES)
    return claim


def load_claims(path: Path = CLAIMS) -> dict[str, Claim]:
    """The claims by id, in the order of the file; UserError that names file and claim for what is not one."""
    claims: dict[str, Claim] = {}
    try:
        rows = yaml.safe_load(path.read_text())["claims"]
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise UserError(f"cannot read the claims in {path}: {error}") from error
    for row in rows:
        try:
            claim = _claim(row)
        except (UserError, TypeError, KeyError, ValueError) as error:
            raise UserError(f"{path}, claim {row.get('id')}: {error}") from error
        if claim.id in claims:
            raise UserError(f"{path} has two claims {claim.id}")
        claims[claim.id] = claim
    return claims


def get_claim(id_: str, path: Path = CLAIMS) -> Claim:
    """A claim by its id; UserError with the nearest one for an unknown id."""
    claims = load_claims(path)
    if id_ not in claims:
        raise unknown("claim", id_, claims)
    return claims[id_]


# ---------------------------------------------------------------- what it would take


def cells(claim: Claim) -> tuple[list[Cell], list[str]]:
    """The training runs that a claim needs, every first seed first, and what of it the code does not have."""
    found, absent = [], []
    for seed in range(claim.needs.seeds):
        for env in claim.needs.envs:
            for arm in claim.needs.arms:
                slug, *options = arm.split("+")
                method = {k: yaml.safe_load(v) for k, _, v in (o.partition("=") for o in options)}
                try:
                    cell = Cell(env, slug, arm, seed, claim.needs.steps or get_spec(env).gradient_steps, method=method)
                    cell.train_settings()
                    found.append(cell)
                except UserError:
                    absent.append(f"{env} with {arm}")
    return found, list(dict.fromkeys(absent))


def missing_cells(claim: Claim, evidence: Evidence) -> list[Cell]:
    """The cells of a claim without a usable raw run that has the claim's length or diverged before."""

    def done(cell: Cell) -> bool:
        run = evidence.runs.get(cell.key)
        return run is not None and ("diverged" in run.meta or run.meta["steps"] >= cell.steps)

    return [cell for cell in cells(claim)[0] if not done(cell)]


def _to_do(claim: Claim, evidence: Evidence) -> tuple[tuple[str, ...], str]:
    """What is missing, a line for each environment, and the cost of checking the claim fully."""
    left, lines = missing_cells(claim, evidence), []
    for env in claim.needs.envs:
        here = [cell for cell in left if cell.env == env]
        if here:
            arms = Counter(cell.label for cell in here)
            lines.append(f"{env}, {here[0].steps:,} steps: {', '.join(f'{arm} {n} seeds' for arm, n in arms.items())}")
    absent = cells(claim)[1]
    if absent:
        lines.append(f"not in the code yet: {len(absent)} environment x arm pairs, such as {absent[0]}")
    if not left:
        return tuple(lines), claim.cost
    status = Folder(evidence.root).status(left)
    known = len(left) - status.unmeasured
    parts = [f"{len(left)} training runs"]
    if known:
        hours = status.core_seconds / 3600
        parts.append(f"about {hours:,.0f} hours of one core for {known} of them, at the speeds in {evidence.root}")
    if status.unmeasured:
        parts.append(f"{status.unmeasured} of unmeasured speed")
    return tuple(lines), "; ".join([*parts, *([claim.cost] if claim.cost else [])])


# ---------------------------------------------------------------- the verdict


def combine(findings: Sequence[Finding], several: bool) -> tuple[str, str]:
    """Verdict and reason of a claim from its findings, by the rules at the top of this file."""
    count = Counter(finding.verdict for finding in findings)
    against, decided = count[CONTRADICTED], count[CONTRADICTED] + count[REPRODUCED]
    # Published values, where a claim has any, may lie outside by chance; an order beside them may not.
    by_luck = [f for f in findings if f.published_id] or findings
    outside, of = (sum(f.verdict in kinds for f in by_luck) for kinds in ((CONTRADICTED,), (CONTRADICTED, REPRODUCED)))
    # As many of them by chance alone? The bound is met exactly by one of one, hence the slack for rounding.
    chance = several and outside == against and stats.binom.sf(outside - 1, of, 0.05) > 0.05 + 1e-9
    if against and not chance:
        verdict = CONTRADICTED
    elif count[NOT_CHECKED] == len(findings):
        verdict = NOT_CHECKED
    else:
        verdict = REPRODUCED if decided == len(findings) else UNDECIDED
    if len(findings) == 1:
        return verdict, findings[0].reason
    numbers = ", ".join(f"{count[v]} {v}" for v in VERDICTS if count[v])
    first = next((f for f in findings if f.verdict == verdict), findings[0])
    by_chance = f"; {against} of {of} outside is what chance allows" if against and chance else ""
    return verdict, f"of {len(findings)} comparisons {numbers}{by_chance}. {first.what}: {first.reason}"


def check(claim: Claim, evidence: Evidence) -> Verdict:
    """Compute all findings of a claim, and its verdict. Proofs and tests are run; nothing is trained."""
    evidence.used.clear()
    run_tests(claim.checks)
    by_kind = [(one["kind"], found) for one in claim.checks for found in RULES[one["kind"]](one, claim, evidence)]
    findings = tuple(found for _, found in by_kind)
    verdict, reason = combine(findings, claim.several)
    unproved = [found for kind, found in by_kind if kind == "proof" and found.verdict == NOT_CHECKED]
    if verdict == UNDECIDED and unproved:  # numbers that agree do not make a theorem
        verdict, reason = NOT_CHECKED, unproved[0].reason
    measured = [finding for finding in findings if finding.value is not None]
    cells_of = {(env, arm) for env in claim.needs.envs for arm in claim.needs.arms}
    left_out = [(str(p), why) for p, why in sorted(evidence.left_out.items()) if tuple(p.parts[-3:-1]) in cells_of]
    missing, cost = _to_do(claim, evidence)
    return Verdict(
        id=claim.id,
        verdict=verdict,
        reason=reason,
        headline=next((f for f in measured if f.verdict == verdict), (measured or findings)[0]),
        seeds=min((finding.seeds for finding in measured if finding.seeds), default=0),
        steps={env: step for finding in findings for env, step in finding.steps.items()},
        findings=findings,
        used=tuple(str(path) for path in sorted(evidence.used)),
        left_out=tuple(left_out),
        missing=missing,
        cost=cost,
        command=f"dmash claims --id {claim.id}",
    )


def check_all(
    runs_dir: str | Path = "runs", out: str | Path | None = "build/claims.json", path: Path = CLAIMS
) -> list[Verdict]:
    """The verdict of every claim; written to `out` with the claims themselves, as JSON, for the report."""
    evidence, claims = Evidence(runs_dir), load_claims(path)
    run_tests(one for claim in claims.values() for one in claim.checks)
    verdicts = [check(claim, evidence) for claim in claims.values()]
    if out is not None:
        rows = [asdict(claims[v.id]) | {"result": asdict(v)} for v in verdicts]
        try:
            Path(out).parent.mkdir(parents=True, exist_ok=True)
            Path(out).write_text(json.dumps({"claims": rows}, indent=1, allow_nan=False) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    return verdicts


# ---------------------------------------------------------------- for reading


def _line(name: str, text: str) -> str:
    return textwrap.fill(text, 118, initial_indent=f"{name:14}", subsequent_indent=" " * 14) if text else ""


def describe(claim: Claim, verdict: Verdict) -> str:
    """All that is known about a claim, as text for a terminal; comparisons without anything measured share a line."""
    head, rows, empty = (
        verdict.headline,
        [],
        [f for f in verdict.findings if f.verdict == NOT_CHECKED and not f.measured],
    )
    if len(verdict.findings) > 1:
        for f in verdict.findings:
            published = f"published {f.published}" if f.published else ""
            if f not in empty:
                rows.append(_line(f"  {f.verdict}", "; ".join(filter(None, [f.what, published, f.measured, f.reason]))))
        if empty:
            rows.append(_line("  not checked", f"{len(empty)}, such as {empty[0].what}: {empty[0].reason}"))
    lines = [
        _line(claim.id, claim.statement),
        _line("where", f"{claim.where} ({claim.kind}); checked by {', '.join(claim.checked_by)}"),
        _line("VERDICT", f"{verdict.verdict}: {verdict.reason}"),
        _line("published", f"{head.published} ({head.what}; {head.published_id})" if head.published else "no number"),
        _line("measured", f"{head.measured} ({head.what})" if head.measured else "no number"),
        *rows,
        _line("rule", claim.rule),
        _line("because", claim.reason),
        _line("note", claim.note),
        _line("runs", f"{len(verdict.used)} raw runs used" if claim.needs.arms else ""),
        *(_line("left out", f"{path}: {why}") for path, why in verdict.left_out),
        *(_line("missing", text) for text in verdict.missing),
        _line("cost", verdict.cost or "this command"),
        _line("repeat", verdict.command),
    ]
    return "\n".join(filter(None, lines))


def readme_table(verdicts: Sequence[Verdict], claims: dict[str, Claim]) -> str:
    """Markdown, a row for each claim that claims.yaml calls a headline."""
    lines = ["| claim | published | measured here | verdict |", "|---|---|---|---|"]
    for verdict in verdicts:
        claim, head = claims[verdict.id], verdict.headline
        if claim.headline:
            measured = f"{head.measured} ({head.what})" if head.measured else "no number yet"
            words = [claim.statement, head.published or "no number", measured, verdict.verdict]
            lines.append(f"| **{claim.id}** {' | '.join(words)} |".replace("*-", r"\*-").replace("A* ", r"A\* "))
    return "\n".join(lines)


def findings_tables(verdicts: Sequence[Verdict], claims: dict[str, Claim], evidence: Evidence) -> str:
    """Markdown: the AER of every arm, and a row for each comparison that raw runs decide or leave undecided, whatever
    its claim as a whole."""
    lines = [aer_markdown(aer_table(list(evidence.runs.values())))]
    lines += ["| claim | comparison | published | measured here | verdict |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        for found in verdict.findings:
            if claims[verdict.id].needs.arms and found.measured and found.verdict != NOT_CHECKED:
                words = [found.what, found.published or "no number", found.measured, f"{found.verdict}: {found.reason}"]
                lines.append(f"| {verdict.id} | {' | '.join(words)} |".replace("*", r"\*"))
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """`text` with `table` between the two markers; UserError where they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"there is no place for the table of claims: the text lacks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
