"""How often the rules are wrong: studies simulated from known truths are judged by the same code as the real one.

A row of the table is a rule or a whole claim under one truth. Each simulated study passes through `Comparison.judge`
and `rules.combine` at both looks and is wrong if either look gives a verdict that the truth forbids: the error rate of
someone who stops at whichever look suits them. BOUND applies to every row, except to rows marked as limits. These
exceed what any rule can guarantee with so few runs; they are measured and shown, not bounded.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reproduction.evidence.claim import registered
from reproduction.evidence.comparisons import Comparison, group, published, seeds, target
from reproduction.evidence.rules import (
    CONTRADICTED,
    DELTA,
    LOOKS,
    PUBLISHED_SEEDS,
    REPRODUCED,
    UNDECIDED,
    combine,
    interquartile,
)  # fmt: skip
from reproduction.evidence.runs import MEASURES

BOUND = 0.06
REPLICATES = 20_000
EFFECT = 0.15
"""A difference that a claim calls better, as a share of the range: half the gap between the context-aware arms and
DR."""
SPREAD = 0.05
"""Standard deviation of a run's score: that of the context-aware arms on DI, averaged over five evaluations."""
FAILS = 0.2
"""Share of failed runs of an arm that sometimes fails; a failed run has at most 0.3 of its score."""
COLUMNS = ["rule", "truth", "unit", "sample", "comparisons", "wrong", "false", "right_1", "right_2", "limit"]


@dataclass(frozen=True)
class Truth:
    """The truth in simulated studies.

    effect: claimed, equal (no difference at all), edge (no difference for "better", exactly DELTA otherwise), opposite,
    or one opposite (the last comparison; the others are as claimed). size: of a difference. spread, other_spread: of
    the runs of first and second arms. between: standard deviation of a difference between environments. fails: arms
    that sometimes fail, "all" or "first"; rate: how often. pattern: differences by environment, added to random ones.
    skewed: one environment in ten loses what the others gain. balanced: the failing arm is otherwise better by as much
    as its failures cost, so that the means are equal.
    """

    name: str
    effect: str = "claimed"
    size: float = EFFECT
    spread: float = SPREAD
    other_spread: float | None = None
    between: float = 0.05
    fails: str = ""
    rate: float = FAILS
    pattern: tuple[float, ...] = ()
    skewed: bool = False
    balanced: bool = False
    limit: bool = False


def _offsets(plans: Sequence[Comparison], truth: Truth) -> dict[tuple, float]:
    """The mean of each (measure, arm, environments), relative to the first arm, as a share of the measure's range."""
    found: dict[tuple, float] = {}
    for i, plan in enumerate(plans):
        effect = truth.effect
        if effect == "one opposite":
            effect = "opposite" if i == len(plans) - 1 else "claimed"
        better = plan.question == "better"
        gap = {
            "claimed": truth.size if better else 0.0,
            "equal": 0.0,
            "edge": 0.0 if better else -DELTA,
            "opposite": -truth.size,
        }[effect]
        first, *other = ((plan.measure, arm, plan.envs) for arm in plan.arms)
        if plan.published and target(plan.published).estimated:
            gap += target(plan.published).least if other else 0.0
        if not other:
            found[first] = gap
            continue
        second = other[0]
        if first not in found:
            found[first] = found[second] + gap if second in found else 0.0
        if second not in found or (found[first] - found[second] - gap) * np.sign(gap or 1) < -1e-12:
            found[second] = found[first] - gap
    return found


def _runs(
    rng: np.random.Generator, shape: tuple[int, ...], level: np.ndarray, spread: float, rate: float, scale: float
) -> np.ndarray:
    values = level + spread * rng.standard_normal(shape)
    if rate:
        values = np.where(rng.random(shape) < rate, values * rng.uniform(0, 0.3, shape), values)
    return scale * values


def simulate(plans: Sequence[Comparison], truth: Truth, replicates: int, seed: int = 0) -> np.ndarray:
    """Verdicts (indices) of a claim with these comparisons, of shape (replicates, looks)."""
    rng = np.random.default_rng([seed, zlib.crc32(repr((plans, truth)).encode())])
    unit, ours, paper = plans[0].unit, _offsets(plans, truth), _offsets(plans, Truth("paper"))
    most = LOOKS[unit][-1]
    base = {env: rng.uniform(0.5, 0.8, (replicates, 1)) for plan in plans for env in plan.envs}
    cells: dict[tuple, np.ndarray] = {}
    judged = []
    for plan in plans:
        scale, arrays, study = MEASURES[plan.measure.metric][2] or 1.0, [], []
        goal = target(plan.published) if plan.published else None
        for place, arm in enumerate(plan.arms):
            rate = truth.rate if truth.fails == "all" or (truth.fails == "first" and not place) else 0.0
            spread = truth.other_spread if place and truth.other_spread is not None else truth.spread
            key = plan.measure, arm, plan.envs
            if key not in cells:
                parts = []
                for j, env in enumerate(plan.envs):
                    level = base[env] if len(plan.arms) == 2 or goal else 0.0
                    if goal and not goal.estimated:
                        level = (goal.least + goal.most) / 2 / scale
                    level = level + ours[key]
                    if truth.balanced and rate:
                        level = level / (1 - 0.85 * rate)
                    if unit == "environments" and not goal:
                        level = level + truth.between / np.sqrt(2) * rng.standard_normal((replicates, 1))
                    if truth.pattern and not place:
                        level = level + truth.pattern[j]
                    if truth.skewed and not place:
                        level = level + np.where(rng.random((replicates, 1)) < 0.1, -0.27, 0.03)
                    parts.append(_runs(rng, (replicates, most), level, spread, rate, scale))
                cells[key] = np.stack(parts, axis=1)
            arrays.append(cells[key])
            if goal and goal.estimated:
                levels = [base[env] + paper[key] for env in plan.envs]
                runs = [_runs(rng, (replicates, PUBLISHED_SEEDS), level, spread, rate, scale) for level in levels]
                step = 2 * goal.slack / len(plan.arms)
                study.append(np.round(interquartile(np.stack(runs, axis=1)).value / step) * step)
        value = None if not study else study[0] if len(study) == 1 else study[0] - study[1]
        judged.append((plan, arrays, value))
    codes = []
    for look in LOOKS[unit]:
        found = [p.judge(tuple(x[..., :look] for x in arrays), len(plans), value)[1] for p, arrays, value in judged]
        codes.append(combine(np.stack(found, axis=-1)))
    return np.stack(codes, axis=-1)


def _verdicts(plans: Sequence[Comparison], truth: Truth) -> tuple[set[int], int | None]:
    """The verdicts that a truth forbids, and the right one (None if only "undecided" is right)."""
    better = any(plan.question == "better" for plan in plans)
    if truth.effect == "claimed" and truth.fails != "first":
        return {CONTRADICTED}, REPRODUCED
    if truth.effect == "equal" and (truth.fails != "first" or truth.balanced):
        return ({CONTRADICTED, REPRODUCED}, None) if better else ({CONTRADICTED}, REPRODUCED)
    if truth.effect == "edge":
        return ({CONTRADICTED, REPRODUCED} if better else {REPRODUCED}), None
    return {REPRODUCED}, CONTRADICTED


def row(name: str, plans: Sequence[Comparison], truth: Truth, replicates: int = REPLICATES, seed: int = 0) -> dict:
    """One row of the table: the wrong verdicts, how often either look gives one, and how often each look gives the
    right one."""
    codes = simulate(plans, truth, replicates, seed)
    wrong, right = _verdicts(plans, truth)
    words = {CONTRADICTED: "contradicted", REPRODUCED: "reproduced", UNDECIDED: "undecided"}
    shares = [float((codes[:, i] == right).mean()) if right is not None else np.nan for i in (0, 1)]
    unit, envs = plans[0].unit, len(plans[0].envs)
    looks = " and ".join(map(str, LOOKS[unit]))
    return {
        "rule": name,
        "truth": truth.name,
        "unit": unit,
        "sample": f"{looks} seeds" + f" in {envs} environments" * (unit == "environments"),
        "comparisons": len(plans),
        "wrong": " or ".join(words[code] for code in sorted(wrong)),
        "false": float(np.isin(codes, list(wrong)).any(axis=-1).mean()),
        "right_1": shares[0],
        "right_2": shares[1],
        "limit": truth.limit,
    }


# ---------------------------------------------------------------- the cells

CLAIMED, EQUAL = Truth("as claimed"), Truth("equal arms", "equal")
OPPOSITE, ONE = Truth("the opposite", "opposite"), Truth("one comparison the opposite", "one opposite")
ALL_FAIL = Truth("equal arms, all fail 1 in 5", "equal", fails="all")
FIRST_FAILS = Truth("equal but for failures, 1 in 5, of the first arm", "equal", fails="first")
RARE = Truth("equal but for failures, 1 in 10, of the first arm", "equal", fails="first", rate=0.1, limit=True)
BALANCED = Truth("equal means: the first arm fails 1 in 5 and is better else", "equal", fails="first", balanced=True,
                 limit=True)  # fmt: skip


def rule_cells() -> Iterator[tuple[str, list[Comparison], Truth]]:
    """(rule, comparisons, truth) for every single rule."""
    two, one = seeds("DI", "dma-star-sh", "dr"), seeds("DI", "dma-star-sh", metric="change")
    unequal = Truth("equal arms, spreads 0.02 and 0.15", "equal", spread=0.02, other_spread=0.15)
    noisy = Truth("equal arms, spread 0.15", "equal", spread=0.15)
    quiet = Truth("equal arms, spread 0.02", "equal", spread=0.02)
    edges = [Truth("different by just 0.05", "edge"),
             Truth("different by just 0.05, spread 0.02", "edge", spread=0.02)]  # fmt: skip
    powers = [Truth(f"better by {size:g}", size=size) for size in (0.03, 0.05, 0.1, 0.3)]
    for truth in (EQUAL, unequal, noisy, ALL_FAIL, FIRST_FAILS, *powers, CLAIMED, OPPOSITE, BALANCED):
        yield "better", [two.better()], truth
    for truth in (EQUAL, *powers, CLAIMED, OPPOSITE):
        yield "better, one arm", [one.better()], truth
    for name, plans in (("same", (two.same(), one.same())), ("not worse", (two.not_worse(), one.not_worse()))):
        for truth in (EQUAL, quiet, unequal, *edges, ALL_FAIL, FIRST_FAILS, OPPOSITE, RARE):
            yield name, [plans[0]], truth
        for truth in (EQUAL, quiet, *edges, OPPOSITE):
            yield f"{name}, one arm", [plans[1]], truth
    arms = ("dma-star-sh", "dr")
    six = group([f"ODE-{k}" for k in (1, 2, 3, 5, 10, 20)], *arms, name="ODE-k")
    even = [Truth("equal arms, no difference between environments", "equal", between=0.0),
            Truth("equal arms, environments differ by 0.15", "equal", between=0.15)]  # fmt: skip
    some = Truth("worse in 8 of 13, better in 5, nothing on average", "equal", pattern=(*[-0.05] * 8, *[0.08] * 5))
    lost = Truth("one environment in ten loses what nine gain, nothing on average", "equal", between=0.02, skewed=True,
                 limit=True)  # fmt: skip
    carried = Truth("one environment carries all", "equal", pattern=(1.0, *[0.0] * 12), between=0.03)
    for plan in (group("All", *arms), group("Non-overlap", *arms), six, group("All", *arms, leave_one_out=True)):
        name = "better without each environment" if plan.leave_one_out else "better over environments"
        extra = [] if len(plan.envs) != 13 else [some, carried] if plan.leave_one_out else [some, lost]
        for truth in (EQUAL, *even, ALL_FAIL, FIRST_FAILS, *powers, CLAIMED, OPPOSITE, *extra):
            yield name, [plan.better()], truth
    for id_, what in (("N-32", "a score"), ("T9-10", "a gain"), ("listing-3", "a single environment")):
        for truth in (
            Truth("the published one"),
            Truth("the published one, spread 0.02", spread=0.02),
            Truth("the published one, spread 0.15", spread=0.15),
            Truth("the published one, runs of both studies fail 1 in 5", fails="all"),
            Truth("0.05 off", "edge"),
            Truth("0.05 off, spread 0.02", "edge", spread=0.02),
            Truth("0.15 off", "opposite"),
        ):
            yield f"agrees with {what}", [published(id_).agrees()], truth


def claim_cells() -> Iterator[tuple[str, list[Comparison], Truth]]:
    """(id, judged comparisons, truth) for every claim that is decided by raw runs."""
    for id_, claim in registered().items():
        plans = [plan for plan in claim.comparisons if plan.judged]
        if not plans:
            continue
        yield id_, plans, CLAIMED
        if any(plan.question == "better" for plan in plans):
            yield id_, plans, EQUAL
        if len(plans) > 1:
            yield id_, plans, ONE
        yield id_, plans, OPPOSITE
        if plans[0].measure.metric == "return" and not plans[0].published:
            yield id_, plans, ALL_FAIL
            yield id_, plans, FIRST_FAILS


def calibrate(replicates: int = REPLICATES, seed: int = 0) -> pd.DataFrame:
    """The whole table, one row per cell; columns as in COLUMNS."""
    cells = [*rule_cells(), *claim_cells()]
    return pd.DataFrame([row(*cell, replicates, seed) for cell in cells], columns=COLUMNS)
