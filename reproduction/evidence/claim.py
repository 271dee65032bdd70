"""Claims: decorated functions whose bodies yield comparisons, and their verdicts.

    @claim("F12", "Input norm: AvgL1Norm is better than none.", where="Figure 12", kind="figure")
    def f12():
        '''The rule in words.

        The reason for it.'''
        yield seeds("DI", "dma-star-sh", "dma-star-sh+input_norm=none").better()

The body runs once, at import, and computes nothing; any mistake in it raises a TypeError then. The runs that a claim
needs follow from its comparisons and are stated nowhere else.
"""

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dmash_core.errors import UserError
from reproduction.evidence.checks import check_plan, run_tests
from reproduction.evidence.comparisons import Comparison, Computed, Finding, Proof, Twin, Unjudged, published_values
from reproduction.evidence.cost import price, speeds
from reproduction.evidence.rules import LOOKS, NOT_CHECKED, UNDECIDED, VERDICTS, combine
from reproduction.evidence.runs import Evidence
from reproduction.sweep.grid import Cell
from reproduction.yaml12 import load

KINDS = ("theorem", "table", "figure", "efficiency", "question")
AREAS = ("training", "theory", "benchmark", "cost")
"""What a claim is about. Verdicts are counted by area."""
CLAIMS: dict[str, "Claim"] = {}
"""The registered claims by id, in order of definition."""


def registered() -> dict[str, "Claim"]:
    """CLAIMS. RuntimeError if `reproduction.claims`, which fills it, has not been imported: otherwise an empty registry
    would be reported as "nothing has changed"."""
    if not CLAIMS:
        raise RuntimeError("no claim is registered: import reproduction.claims first")
    return CLAIMS


@dataclass(frozen=True)
class Claim:
    """A claim, its place in the paper, the rule and its reason in words, and the plans that decide it.

    published: ids in published.csv. checked_by: files. note: what the paper does not say. cost: in addition to training
    missing runs. headline: named in the README. title: a few words for lists, by default the statement.
    """

    id: str
    statement: str
    where: str
    kind: str
    rule: str
    reason: str
    plans: tuple[Comparison | Proof | Twin | Computed | Unjudged, ...]
    published: tuple[str, ...] = ()
    checked_by: tuple[str, ...] = ()
    note: str = ""
    cost: str = ""
    headline: bool = False
    title: str = ""

    @property
    def area(self) -> str:
        """One of AREAS: theory for theorems and their remarks, training for claims decided by raw runs (or that would
        need them), benchmark for tables of specifications, cost for what is computed from machines and sizes."""
        if self.kind == "theorem":
            return "theory"
        if any(isinstance(plan, Computed) for plan in self.plans):
            return "cost"
        return "benchmark" if all(isinstance(plan, Twin) for plan in self.plans) else "training"

    @property
    def same_as(self) -> str:
        """The id of an earlier claim with identical plans, so that the verdict counts once; empty if there is none."""
        for id_, other in CLAIMS.items():
            if id_ == self.id:
                break
            if other.plans == self.plans:
                return id_
        return ""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The plans that need raw runs."""
        return tuple(plan for plan in self.plans if isinstance(plan, Comparison))

    @property
    def parts(self) -> int:
        """The number of judged comparisons of runs; every error rate is divided by it."""
        return sum(plan.judged for plan in self.comparisons) or 1

    @property
    def criteria(self) -> tuple[str, ...]:
        """The judged comparisons' questions in numbers; each sentence once."""
        return tuple(dict.fromkeys(plan.criterion(self.parts) for plan in self.comparisons if plan.judged))

    def wording(self) -> str:
        """Everything in the claim that a verdict depends on, as text that changes if and only if any of it does."""
        plans = [inspect.getsource(plan.function) if isinstance(plan, Computed) else repr(plan) for plan in self.plans]
        return json.dumps([self.id, self.statement, self.rule, self.reason, plans])


def claim(
    id: str,
    statement: str,
    *,
    where: str,
    kind: str,
    published: Sequence[str] = (),
    checked_by: Sequence[str] = (),
    note: str = "",
    cost: str = "",
    headline: bool = False,
    title: str = "",
) -> Callable[[Callable[[], Iterator]], Claim]:
    """Register the decorated function as a claim. TypeError for any mistake in it, including a misspelling."""

    def register(body: Callable[[], Iterator]) -> Claim:
        rule, _, reason = inspect.cleandoc(body.__doc__ or "").partition("\n\n")
        if not reason:
            raise TypeError(f"claim {id} needs a docstring: its rule, an empty line, and the reason")
        try:
            plans = tuple(body())
        except Exception as error:
            raise TypeError(f"claim {id}: {error}") from error
        kinds = (Comparison, Proof, Twin, Computed, Unjudged)
        if wrong := [plan for plan in plans if not isinstance(plan, kinds) or getattr(plan, "question", "x") == ""]:
            raise TypeError(f"claim {id} yields {wrong[0]}, which is not a comparison with a question")
        if not any(plan.judged for plan in plans):
            raise TypeError(f"claim {id} has no judged comparison")
        if kind not in KINDS or id in CLAIMS:
            raise TypeError(f"claim {id}: its kind must be one of {', '.join(KINDS)}, and its id unused")
        ids = dict.fromkeys([*published, *(p.published for p in plans if isinstance(p, Comparison) and p.published)])
        if lost := [one for one in ids if one not in published_values()]:
            raise TypeError(f"claim {id}: there is no published value {lost[0]}")
        words = (" ".join(text.split()) for text in (rule, reason))
        CLAIMS[id] = Claim(
            id, statement, where, kind, *words, plans, tuple(ids), tuple(checked_by), note, cost, headline,
            title or statement,
        )  # fmt: skip
        return CLAIMS[id]

    return register


# ---------------------------------------------------------------- missing runs and their cost


def cells(plan: Comparison, seeds: int) -> tuple[list[Cell], list[str]]:
    """The training runs of a comparison with the given number of seeds, ordered by seed, and what the code lacks."""
    found, absent = [], []
    for seed in range(seeds):
        for env in plan.envs:
            for arm in plan.arms:
                slug, *options = arm.split("+")
                method = {k: load(v) for k, _, v in (o.partition("=") for o in options)}
                cell = Cell(env, slug, arm, seed, plan.length(env), method=method)
                try:
                    cell.train_settings()
                    found.append(cell)
                except UserError:
                    absent.append(f"{env} with {arm}")
    return found, list(dict.fromkeys(absent))


def needed(claims: Sequence[Claim]) -> list[Cell]:
    """The runs that claims need, each once with the most steps. Ordered: judged before shown, environments of 100,000
    steps before longer ones, all first seeds before second ones."""
    wanted: dict[tuple, tuple] = {}
    for one in claims:
        for plan in one.comparisons:
            for cell in cells(plan, plan.seeds)[0]:
                place = (not plan.judged, cell.steps > 100_000, cell.seed, len(wanted))
                before = wanted.get(cell.key, (place, cell))
                longest = max(before[1], cell, key=lambda c: c.steps)
                wanted[cell.key] = min(before[0], place), longest
    return [cell for _, cell in sorted(wanted.values(), key=lambda pair: pair[0])]


def missing_cells(claim: Claim, evidence: Evidence) -> list[Cell]:
    """The cells of the judged comparisons without a usable run of full length, up to the next look that could
    decide."""
    found: dict[tuple, Cell] = {}
    for plan in claim.comparisons:
        if plan.judged:
            todo = []
            for seeds in (plan.seeds, LOOKS[plan.unit][-1]):
                there = {(e, a): evidence.of(e, a) for e in plan.envs for a in plan.arms}
                todo = [
                    cell for cell in cells(plan, seeds)[0]
                    if (run := there[cell.env, cell.label].get(cell.seed)) is None
                    or (run.meta["steps"] < cell.steps and "diverged" not in run.meta)
                ]  # fmt: skip
                if todo or plan.find(evidence, claim.parts).verdict != VERDICTS[UNDECIDED]:
                    break
            found |= {cell.key: cell for cell in todo}
    return list(found.values())


def _to_do(claim: Claim, evidence: Evidence) -> tuple[tuple[str, ...], str]:
    """What is missing (environments that lack the same runs share a line) and the cost of deciding the claim."""
    left, lines = missing_cells(claim, evidence), []
    alike: dict[tuple, list[str]] = {}
    for env in dict.fromkeys(cell.env for cell in left):
        here = [cell for cell in left if cell.env == env]
        alike.setdefault((here[0].steps, *Counter(cell.label for cell in here).items()), []).append(env)
    for (steps, *arms), envs in alike.items():
        lacks = ", ".join(f"{arm} {n} seed{'s' * (n > 1)}" for arm, n in arms)
        lines.append(f"{', '.join(envs)}, {steps:,} steps: {lacks}")
    absent = list(dict.fromkeys(name for plan in claim.comparisons for name in cells(plan, 1)[1]))
    if absent:
        lines.append(f"not in the code: {', '.join(absent)}")
    if not left:
        return tuple(lines), claim.cost
    return tuple(lines), "; ".join([str(price(left, speeds(evidence))), *([claim.cost] if claim.cost else [])])


# ---------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim.

    headline: its first measured judged finding with the claim's verdict, else its first measured one, else its first.
    seeds: the minimum over measured judged findings. steps: of all findings. used: files of raw runs. left_out: (file,
    reason) of runs that do not count. missing: what would have to be trained. cost: of deciding the claim. trained:
    when its first raw run finished, empty without any. command: reproduces this verdict.
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
    trained: str
    command: str


def conclude(findings: Sequence[Finding]) -> tuple[str, str]:
    """Verdict and reason of a claim from its judged findings. A theorem without its proof is "not checked", whatever
    the result of its twins."""
    judged = [one for one in findings if one.judged]
    verdict = VERDICTS[int(combine([VERDICTS.index(one.verdict) for one in judged]))]
    unproved = [one for one in judged if one.verdict == VERDICTS[NOT_CHECKED] and "(Coq: " in one.what]
    if verdict == VERDICTS[UNDECIDED] and unproved:
        return VERDICTS[NOT_CHECKED], unproved[0].reason
    if len(judged) == 1:
        return verdict, judged[0].reason
    count = Counter(one.verdict for one in judged)
    first = next((one for one in judged if one.verdict == verdict), judged[0])
    numbers = ", ".join(f"{count[word]} {word}" for word in VERDICTS if count[word])
    return verdict, f"of {len(judged)} judged comparisons, {numbers}. {first.what}: {first.reason}"


def check(claim: Claim, evidence: Evidence) -> Verdict:
    """Compute all findings of a claim and its verdict. This runs proofs and tests but trains nothing."""
    evidence.used.clear()
    run_tests(claim.plans)
    findings: list[Finding] = []
    for plan in claim.plans:
        if isinstance(plan, Comparison):
            findings.append(plan.find(evidence, claim.parts if plan.judged else 1))
        else:
            findings += check_plan(plan)
    used = sorted(evidence.used)
    verdict, reason = conclude(findings)
    judged = [one for one in findings if one.judged]
    measured = [one for one in judged if one.value is not None]
    pairs = {(env, arm) for plan in claim.comparisons for env in plan.envs for arm in plan.arms}
    left_out = [(str(p), why) for p, why in sorted(evidence.left_out.items()) if tuple(p.parts[-3:-1]) in pairs]
    missing, cost = _to_do(claim, evidence)
    finished = sorted(run.meta["finished"] for run in evidence.runs.values() if run.path in set(used))
    return Verdict(
        id=claim.id,
        verdict=verdict,
        reason=reason,
        headline=next((one for one in measured if one.verdict == verdict), (measured or judged)[0]),
        seeds=min((one.seeds for one in measured if one.seeds), default=0),
        steps={env: step for one in findings for env, step in one.steps.items()},
        findings=tuple(findings),
        used=tuple(map(str, used)),
        left_out=tuple(left_out),
        missing=missing,
        cost=cost,
        trained=finished[0] if finished else "",
        command=f"dmash claims --id {claim.id}",
    )


def as_data(claim: Claim, verdict: Verdict) -> dict:
    """A claim and its verdict as JSON-ready data: the plans as text, and the rule of each judged comparison of runs in
    numbers (`rules`, by the comparison's `what`), so that a page can re-judge the same runs under other choices."""
    row = {key: value for key, value in vars(claim).items() if key != "plans"}
    asked = {plan.what: plan.in_numbers(claim.parts) for plan in claim.comparisons if plan.judged}
    return row | {
        "area": claim.area, "same_as": claim.same_as, "plans": [str(plan) for plan in claim.plans],
        "criteria": claim.criteria, "rules": asked, "result": asdict(verdict),
    }  # fmt: skip


def tally(verdicts: Sequence[tuple[str, str, str]]) -> dict[str, Counter]:
    """{area: number of claims with each verdict}, in the order of AREAS. `verdicts` has (area, verdict, `same_as`) for
    each claim; a check that decides two claims counts once."""
    found = {area: Counter() for area in AREAS}
    for area, verdict, same_as in verdicts:
        if not same_as:
            found[area][verdict] += 1
    return found


def write_json(rows: Sequence[dict], out: str | Path) -> None:
    """Write claims for the report. UserError if that fails."""
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps({"claims": rows}, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
