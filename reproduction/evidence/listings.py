"""Tables of the raw runs in README.md, FINDINGS.md and docs/comparisons.md.

None of them decides a claim. `published_table` was written on 2026-11-28, when only DI had runs: before there was any
run of an environment that it lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import SUITE, get_spec
from dmash_core.methods import MAIN_ARMS
from reproduction.evidence.comparisons import GROUPS, published_values, target
from reproduction.evidence.rules import PUBLISHED_SEEDS
from reproduction.evidence.runs import LAST, TOYS, Evidence, Measure
from reproduction.figures.style import SLUGS, arm_order, arm_style, env_order
from reproduction.statistics import LEAST_T, mean_interval

GAINS = ("dma-star-sh", "concat", "dr")
"""DMA*-SH, and the arms over which the paper claims a gain on all environments and which run on all of them here."""
LEAST_FREEDOM = 2
"""Minimum degrees of freedom for using a spread between seeds: three runs on one environment, or two on each of two."""


def table_row(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(' '.join(str(cell).split()) for cell in cells)} |".replace("*", r"\*")


def _pairs(evidence: Evidence, arms: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """(environment, arm) of the runs that count, in the benchmark's order, for ``arms`` or all arms."""
    pairs = {key[:2] for key in evidence.runs if arms is None or key[1] in arms}
    return sorted(pairs, key=lambda pair: (env_order(pair[0]), arm_order(pair[1])))


def _scores(evidence: Evidence, env: str, arm: str, split: str, steps: int) -> dict[int, float]:
    """{seed: AER averaged over the last LAST evaluations}, on the scale of the environment."""
    spec = get_spec(env)
    found = evidence.values(env, arm, Measure(split=split), steps)
    return {seed: spec.score_low + (spec.score_high - spec.score_low) * value for seed, (value, _) in found.items()}


def _common_steps(evidence: Evidence, env: str, arms: Sequence[str]) -> int:
    """The most steps that every arm with runs on an environment has reached. Diverged runs stop early and do not set
    it, since their last return counts until the end."""
    runs = [[run for run in evidence.of(env, arm).values() if "diverged" not in run.meta] for arm in arms]
    longest = [max(run.meta["steps"] for run in own) for own in runs if own]
    return min(longest, default=get_spec(env).gradient_steps)


def results_table(evidence: Evidence) -> str:
    """A Markdown table with a row per environment that has runs that count and a column per main arm: the score used by
    claims (AER, mean of the last LAST evaluations and of the three context sets), mean over seeds, from LEAST_T seeds
    on with the half-width of its 95 % interval (Student's t). All arms of a row are compared at the same step."""
    pairs = _pairs(evidence, MAIN_ARMS)
    if not pairs:
        return "There are no valid raw runs yet."
    arms = sorted({arm for _, arm in pairs}, key=arm_order)
    lines = [table_row("environment", "steps", "seeds", *(arm_style(arm).name for arm in arms))]
    lines.append("|---|---:|---:|" + "---:|" * len(arms))
    for env in dict.fromkeys(env for env, _ in pairs):
        steps = _common_steps(evidence, env, arms)
        found = {arm: list(_scores(evidence, env, arm, "aggregated", steps).values()) for arm in arms}
        seeds = [len(values) for values in found.values() if values]
        cells = []
        for values in found.values():
            mean, low, _ = mean_interval(values) if values else (np.nan,) * 3
            cells.append(f"{mean:.1f} ±{mean - low:.1f}" if np.isfinite(low) else f"{mean:.1f}" if values else "")
        count = f"{min(seeds)}" if min(seeds) == max(seeds) else f"{min(seeds)}-{max(seeds)}"
        lines.append(table_row(env, f"{steps:,}", count, *cells))
    return "\n".join(lines)


def runs_table(evidence: Evidence) -> str:
    """A Markdown table with a row per run that counts: the AER of each context set averaged over the last LAST
    evaluations, and the worst and best of these evaluations on eval-out."""
    lines = [
        "| environment | arm | seed | steps | train | eval-in | eval-out | worst, best of the last five, eval-out |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    pairs = _pairs(evidence)
    for env, arm in pairs:
        for seed, run in evidence.of(env, arm).items():
            steps = run.meta["steps"]
            cells = [f"{_scores(evidence, env, arm, split, steps)[seed]:.1f}" for split in SETS]
            last = evidence.series(run, Measure(split="eval-out")).iloc[-LAST:]
            diverged = ", diverged" if "diverged" in run.meta else ""
            words = (f"{steps:,}{diverged}", *cells, f"{last.min():.1f}, {last.max():.1f}")
            lines.append(table_row(env, arm_style(arm).name, seed, *words))
    return "\n".join(lines) if pairs else "There are no valid raw runs yet."


@dataclass(frozen=True)
class Gain:
    """DMA*-SH and the other arms of GAINS on one environment, at the most steps that all arms with runs there have."""

    steps: int
    seeds: tuple[int, ...]
    """Of each arm of GAINS."""
    scores: dict[str, list[float]]
    """{set: the AER of each arm of GAINS, NaN without runs}, for "aggregated" and "eval-out"."""
    leads: dict[str, list[float]]
    """{set: the lead of DMA*-SH over each other arm, as a share of the range of scores}."""


def _gains(evidence: Evidence) -> dict[str, Gain]:
    """{environment: Gain} of those in which DMA*-SH and another arm of GAINS have runs, in the benchmark's order."""
    gains = {}
    for env in SUITE:
        there = [bool(evidence.of(env, arm)) for arm in GAINS]
        if not (there[0] and any(there[1:])):
            continue
        steps = _common_steps(evidence, env, GAINS)
        scale = get_spec(env).score_high - get_spec(env).score_low
        scores, leads, seeds = {}, {}, ()
        for split in ("aggregated", "eval-out"):
            found = [list(_scores(evidence, env, arm, split, steps).values()) for arm in GAINS]
            seeds = tuple(map(len, found))
            ours, *others = scores[split] = [float(np.mean(values)) if values else np.nan for values in found]
            leads[split] = [(ours - other) / scale for other in others]
        gains[env] = Gain(steps, seeds, scores, leads)
    return gains


def gains_table(evidence: Evidence) -> str:
    """A Markdown table with a row per environment in which DMA*-SH and another of GAINS have runs of equal length: the
    AER of each, averaged over seeds and the three sets, and the lead of DMA*-SH as a share of the range of scores, on
    all sets and on eval-out alone. Steps are the most that all arms of the row have."""
    ours, *others = (arm_style(arm).name for arm in GAINS)
    titles = [f"ahead of {name} (eval-out)" for name in others]
    lines = [table_row("environment", "steps", "seeds", ours, *others, *titles), "|---|---:|---|" + "---:|" * 5]
    for env, gain in _gains(evidence).items():
        cells = [f"{mean:.1f}" if np.isfinite(mean) else "" for mean in gain.scores["aggregated"]]
        for ahead, out in zip(*gain.leads.values(), strict=True):
            cells.append(f"{ahead:+.3f} ({out:+.3f})" if np.isfinite(ahead) else "")
        lines.append(table_row(env, f"{gain.steps:,}", ", ".join(map(str, gain.seeds)), *cells))
    return "\n".join(lines) if len(lines) > 2 else "No environment has runs of DMA\\*-SH and another arm yet."


def groups_table(evidence: Evidence) -> str:
    """A Markdown table with the mean of the leads in `gains_table` over each group of environments, with the interval
    of the claims' rule for groups: Student's t with the environments as the sample, here 95 %, from LEAST_T of them on.

    Unlike that rule, it counts runs of any length, so no claim uses it. Written on 2026-11-29, when all of these runs
    but that of DMA*-SH on WalkerGym were known.
    """
    lines = [
        "| group | environments | over | lead | 95 % interval | ahead in | lead, eval-out | 95 % interval | ahead in |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    gains = _gains(evidence)
    for name, envs in GROUPS.items():
        for i, arm in enumerate(GAINS[1:]):
            known = [gains[env].leads for env in envs if env in gains]
            found = [leads for leads in known if np.isfinite(leads["aggregated"][i])]
            if len(found) < LEAST_T:
                continue
            cells = []
            for split in ("aggregated", "eval-out"):
                leads = [one[split][i] for one in found]
                mean, low, high = mean_interval(leads)
                cells += [f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}", sum(lead > 0 for lead in leads)]
            lines.append(table_row(name, f"{len(found)} of {len(envs)}", arm_style(arm).name, *cells))
    return "\n".join(lines) if len(lines) > 2 else f"No group has {LEAST_T} environments with runs yet."


def spread(evidence: Evidence, arm: str, split: str) -> tuple[float, int]:
    """The standard deviation of an arm's score between seeds, as a share of the range of scores, pooled over the toys
    with two or more full runs, and its degrees of freedom; (nan, 0) without such a toy."""
    squares, freedom = 0.0, 0
    for env in TOYS:
        found = evidence.values(env, arm, Measure(split=split), get_spec(env).gradient_steps)
        values = np.array([value for value, _ in found.values()])
        if len(values) > 1:
            squares, freedom = squares + float(((values - values.mean()) ** 2).sum()), freedom + len(values) - 1
    return (float(np.sqrt(squares / freedom)), freedom) if freedom else (float("nan"), 0)


def published_table(evidence: Evidence) -> str:
    """A Markdown table with a row per published AER of an environment and arm that has a run of full length: our mean,
    and how far it may differ from the published mean of PUBLISHED_SEEDS seeds if both come from the same agent.

    The margin is t(0.975) s sqrt(1 / n + 1 / PUBLISHED_SEEDS), for n runs and the `spread` s of the arm, given at least
    LEAST_FREEDOM degrees of freedom. It assumes that the spread on the toys holds for every environment.
    """
    lines = [
        "| environment | arm | set | published | measured | runs | difference | may differ by | so it lies |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for id_, row in published_values().items():
        env, arm, split = row["env"], SLUGS.get(row["arm"]), row["split"]
        if env not in SUITE or arm is None or row["metric"] not in ("AER", "AER/100"):
            continue
        spec = get_spec(env)
        scores = list(_scores(evidence, env, arm, split, spec.gradient_steps).values())
        if not scores:
            continue
        published, mean = target(id_).least * spec.score_high, float(np.mean(scores))
        s, freedom = spread(evidence, arm, split)
        band, word = "", "too few runs on the toys to tell"
        if freedom >= LEAST_FREEDOM:
            share = stats.t.ppf(0.975, freedom) * s * np.sqrt(1 / len(scores) + 1 / PUBLISHED_SEEDS)
            width = share * (spec.score_high - spec.score_low)
            band, word = f"{width:.1f}", "inside" if abs(mean - published) <= width else "outside"
        cells = (env, arm_style(arm).name, split, f"{published:g}", f"{mean:.1f}", len(scores))
        lines.append(table_row(*cells, f"{mean - published:+.1f}", band, word))
    return "\n".join(lines) if len(lines) > 2 else "No environment with a published row has a run of full length yet."
