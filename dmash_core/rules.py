"""The kinds of check that claims.yaml uses: each computes findings from proofs, tests or raw runs.

Raw runs are compared in each environment at the largest step that all runs of the comparison were evaluated at, not
beyond the claim's number of steps; a finding says which steps. Published numbers are compared at the claim's full
number of steps only, an order of arms from half of it on (`HALF`). Arms with different numbers of seeds in different
environments enter a matrix of runs x tasks with the seeds that they have everywhere, the first ones.
"""

import json
import math
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from dmash_core import embeddings, statistics, theory
from dmash_core.benchmark.contexts import distance_outside
from dmash_core.benchmark.suite import SUITE, get_spec
from dmash_core.errors import UserError
from dmash_core.evaluation import PROTOCOL, EvalSettings, Evaluator
from dmash_core.figures import PUBLISHED, SLUGS, arm_style, groups
from dmash_core.methods import Method, get_method
from dmash_core.regret import worst_case_regret
from dmash_core.runs import Run, first_difference, scan
from dmash_core.training import TrainSettings, block_contexts, load_policy, make_agent

ROOT = Path(__file__).resolve().parents[1]
VERDICTS = ("reproduced", "contradicted", "undecided", "not checked")
REPRODUCED, CONTRADICTED, UNDECIDED, NOT_CHECKED = VERDICTS
GROUPS = groups(SUITE)
HALF = 0.5
"""Share of the claim's steps from which on an order of arms is decided."""
BOOTSTRAP_SEEDS, T_SEEDS = 5, 3
"""Fewest seeds with which a bootstrap interval, and an interval by Student's t, decide anything."""
PUBLISHED_SEEDS = 10
MARGIN = 0.1
"""Half-width of an interval, as a share of the range of scores, up to which lying inside it says something; and what
"the same" means where a check has no `margin` of its own."""
ROUNDED = 0.005
"""Half of the last digit of a published score."""


# ---------------------------------------------------------------- evidence


@dataclass(frozen=True)
class Finding:
    """One comparison within a claim.

    published: as text, and its id in published.csv. value, low, high: ours with its 95 % interval, None where there is
    none. seeds: the fewest of any cell in it. steps: {environment: the step at which its runs were compared}.
    """

    what: str
    verdict: str
    reason: str
    published: str = ""
    published_id: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    seeds: int = 0
    steps: dict[str, int] = field(default_factory=dict)

    @property
    def measured(self) -> str:
        """Our value for reading: value, interval, seeds and steps; empty where nothing was measured."""
        if self.value is None:
            return ""
        interval = f" [{self.low:.3g}, {self.high:.3g}]" if self.low is not None else ""
        seeds = f", {self.seeds} seed{'s' * (self.seeds != 1)}" if self.seeds else ""
        steps = sorted(set(self.steps.values()))
        at = f" at {' to '.join(f'{s:,}' for s in dict.fromkeys((steps[0], steps[-1])))} steps" if steps else ""
        return f"{self.value:.3g}{interval}{' ' * bool(self.unit)}{self.unit}{seeds}{at}"


def _numbers(value: float, low: float, high: float, factor: float = 1.0) -> dict:
    """The three as fields of a Finding; a bound that is not finite is None."""
    return {
        k: float(v) * factor if np.isfinite(v) else None for k, v in (("value", value), ("low", low), ("high", high))
    }


def departure(run: Run) -> str | None:
    """Why a run is not what its environment and arm stand for in the claims, in one clause; None when it is."""
    env, arm, config = run.meta["env"], run.meta["arm"], run.meta["config"]
    try:
        method = Method(**config["method"])
        if method.window == get_spec(env).window:
            method = replace(method, window=None)
        wanted = TrainSettings(env, arm.split("+")[0], method)
    except (UserError, TypeError, KeyError) as error:
        return f"its configuration does not fit this code: {error}"
    if wanted.label != arm:
        return f"its configuration is that of {wanted.label} and not of {arm}"
    # A setting that is younger than a run is not in that run, and then says nothing.
    differs = first_difference(config, wanted.config())
    return differs and "its configuration differs from the claims': {} is {} and not {}".format(*differs)


class Evidence:
    """The raw runs under a folder: those that can be used, by (environment, arm, seed), and why others cannot.

    `used` collects the files that the findings since the last `clear` rest on.
    """

    def __init__(self, root: str | Path):
        self.root, self.runs, self.used = Path(root), {}, set()
        runs, bad = scan(root)
        self.left_out: dict[Path, str] = {error.path: error.reason for error in bad}
        for run in runs:
            if reason := departure(run):
                self.left_out[run.path] = reason
            else:
                self.runs[run.meta["env"], run.meta["arm"], run.meta["seed"]] = run
        self._series: dict[tuple, pd.Series] = {}

    def of(self, env: str, arm: str) -> list[Run]:
        """The usable runs of a cell of environment x arm, by seed."""
        return [run for key, run in sorted(self.runs.items()) if key[:2] == (env, arm)]

    def networks(self, env: str, arm: str) -> list[Path]:
        """The files of final networks that lie beside these runs."""
        return [path for run in self.of(env, arm) if (path := run.path.with_suffix(".safetensors")).exists()]

    def series(self, run: Run, metric: str, split: str, contexts: str) -> pd.Series:
        """`metric` of a run against its steps: the mean (or "min") over contexts of the mean over rollouts."""
        key = (run.path, metric, split, contexts)
        if key not in self._series:
            rows = run.frame[run.frame["metric"] == metric]
            if split != "aggregated" and rows["split"].notna().any():
                rows = rows[rows["split"] == split]
            by_context = rows.groupby(["step", "split", "context"], observed=True, dropna=False)["value"].mean()
            self._series[key] = by_context.groupby("step").agg(contexts)
        return self._series[key]


@dataclass
class Scores:
    """What `scores` found: {arm: (runs x environments)}, the steps compared, the fewest seeds, and what is wanting."""

    of: dict[str, np.ndarray]
    steps: dict[str, int]
    seeds: int
    lacking: list[str]
    share: float
    """The smallest share of the claim's steps."""
    metric: str = "return"
    diverged: tuple[str, ...] = ()
    """Runs that diverged before those steps, and count with their last return."""

    def alone(self) -> str:
        """What has to stand behind a number over a part of the environments."""
        return f" over {', '.join(self.steps)} alone" if self.lacking else ""

    def short(self) -> str:
        """What has to stand behind a verdict from shorter runs, or from runs that diverged."""
        said = "" if self.share >= 1 else f", at {100 * self.share:.0f} % of the steps"
        return said + "".join(f"; {run} diverged and counts with its last return" for run in self.diverged)

    def open(self, seeds: int, share: float) -> tuple[str, str] | None:
        """Verdict and reason where these runs cannot decide with at least so many seeds and steps; else None."""
        if self.lacking:
            that = "" if self.metric == "return" else f" that log {self.metric}"
            return NOT_CHECKED, f"there are no usable runs{that} of {'; '.join(self.lacking)}"
        if self.share < share:
            return UNDECIDED, f"trained {100 * self.share:.0f} % of the steps, {100 * share:.0f} % are needed"
        if self.seeds < seeds:
            return UNDECIDED, f"{self.seeds} seed{'s' * (self.seeds != 1)}, {seeds} are needed"
        return None


def scores(
    evidence: Evidence,
    claim,
    envs: Iterable[str],
    arms: Iterable[str],
    metric: str = "return",
    split: str = "aggregated",
    contexts: str = "mean",
    at: str = "last",
) -> Scores:
    """`metric` of arms x environments, returns min-max scaled by the benchmark's bounds.

    at: "last" takes the largest step that all runs of an environment have, "mean" the mean over all such steps; a run
    that diverged keeps the return of its last evaluation from then on, and does not shorten the others. Environments
    that lack an arm are left out, and named.
    """
    columns, steps, lacking, share, arms = defaultdict(list), {}, [], 1.0, list(dict.fromkeys(arms))
    diverged: list[str] = []
    for env in envs:
        spec = SUITE.get(env) or (get_spec(env) if env.startswith("ODE-") else None)
        runs = {arm: evidence.of(env, arm) for arm in arms}
        series = {arm: [evidence.series(run, metric, split, contexts) for run in runs[arm]] for arm in arms}
        if metric == "return":
            evaluated = sorted(set().union(*(s.index for part in series.values() for s in part)))
            for arm, part in series.items():
                for i, run in enumerate(runs[arm]):
                    if "diverged" in run.meta:
                        part[i] = part[i].reindex([step for step in evaluated if step >= part[i].index[0]]).ffill()
        series = {arm: [s for s in part if len(s)] for arm, part in series.items()}
        without = [arm_style(arm).name for arm in arms if not series[arm]]
        if spec is None or without:
            lacking.append(env if len(without) == len(arms) else f"{env} ({', '.join(without)})")
            continue
        wanted = claim.needs.steps or spec.gradient_steps
        common = set.intersection(*(set(s.index) for part in series.values() for s in part))
        common = sorted(step for step in common if step <= wanted)
        if not common:
            lacking.append(f"{env} (no evaluated step in common)")
            continue
        steps[env], share = int(common[-1]), min(share, common[-1] / wanted)
        diverged += [
            f"{arm_style(arm).name}'s seed {run.meta['seed']} on {env}"
            for arm in arms for run in runs[arm] if "diverged" in run.meta and run.meta["steps"] < common[-1]
        ]  # fmt: skip
        for arm in arms:
            values = np.array([s.loc[common[-1]] if at == "last" else s.loc[common].mean() for s in series[arm]])
            scaled = statistics.normalise(values, spec.score_low, spec.score_high) if metric == "return" else values
            columns[arm].append(scaled)
            evidence.used |= {run.path for run in runs[arm]}
    n = {arm: min(map(len, columns[arm])) for arm in columns}
    matrices = {arm: np.stack([column[: n[arm]] for column in columns[arm]], axis=1) for arm in columns}
    return Scores(matrices, steps, min(n.values(), default=0), lacking, share, metric, tuple(diverged))


# ---------------------------------------------------------------- checks on raw runs


def check_published(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """Our interval against each published value among `ids` (the claim's own by default).

    An AER is a mean over seeds (Student's t), a normalised AER an interquartile mean and a relative gain the ratio of
    two (stratified bootstrap). Ours is widened by sqrt(1 + n / 10), n our seeds, to what a mean of ten further seeds
    would meet in 95 of 100 cases, since the published values come from ten seeds and have an error of their own.
    """
    return [_against(published_values()[id_], claim, evidence) for id_ in check.get("ids", claim.published)]


@cache
def published_values() -> dict[str, dict]:
    """The rows of published.csv by id; numbers as float, NaN where there is none."""
    return {row["id"]: row for row in pd.read_csv(PUBLISHED).to_dict("records")}


def _against(row: dict, claim, evidence: Evidence) -> Finding:
    arms = [SLUGS[name] for name in row["arm"].split(" vs ")]
    envs, metric, value = GROUPS.get(row["env"], (row["env"],)), row["metric"], row["value"]
    found = scores(evidence, claim, envs, arms, split=row["split"])
    factor, fewest, ours = 1.0, BOOTSTRAP_SEEDS, None
    if metric in ("AER", "AER/100"):
        # the scale of AER; a single environment, so the mean over seeds with Student's t
        factor, fewest = get_spec(row["env"]).score_high if row["env"] in SUITE else 1.0, T_SEEDS
        value *= 100 if metric == "AER/100" else 1
        ours = statistics.mean_interval(found.of[arms[0]][:, 0]) if found.of else None
    elif found.of:
        ours = (
            statistics.iqm_interval(found.of[arms[0]], reps=2_000)
            if metric == "normalised AER"
            else statistics.relative_gain(found.of[arms[0]], found.of[arms[1]])
        )
    unit = {"AER/100": "AER", "relative gain %": "%"}.get(metric, metric)
    what = f"{row['arm']}, {row['env']}, {row['split']}: {metric.removesuffix(' %').removesuffix('/100')}"
    common = {"what": what, "published": f"{value:g}{' %' * (unit == '%')}", "published_id": row["id"]}
    common |= {"unit": unit + found.alone(), "seeds": found.seeds, "steps": found.steps}
    common |= _numbers(*ours, factor) if ours else {}
    if still := found.open(fewest, 1.0):
        return Finding(verdict=still[0], reason=still[1], **common)
    point, low, high = (factor * x for x in ours)
    widened = math.sqrt(1 + found.seeds / PUBLISHED_SEEDS)
    bounds = point - widened * (point - low), point + widened * (high - point)
    said, least, most = f"{value:g}", value, value
    if metric == "relative gain %":
        least, most = _unrounded(row)
        said += f", of rounded scores and so {least:.3g} to {most:.3g},"
    inside = f"{said} lies {{}} [{bounds[0]:.3g}, {bounds[1]:.3g}], our interval widened for {PUBLISHED_SEEDS} seeds"
    if most < bounds[0] or least > bounds[1]:
        return Finding(verdict=CONTRADICTED, reason=inside.format("outside of"), **common)
    if metric == "relative gain %" and low <= 0 <= high:
        return Finding(verdict=UNDECIDED, reason="our interval contains no gain at all as well", **common)
    if metric != "relative gain %" and (high - low) / 2 > MARGIN * factor:
        reason = f"our interval is wider than {MARGIN:.0%} of the range of scores to either side"
        return Finding(verdict=UNDECIDED, reason=reason, **common)
    return Finding(verdict=REPRODUCED, reason=inside.format("within"), **common)


def _unrounded(gain: dict) -> tuple[float, float]:
    """The least and the largest gain in percent that a published one can stand for. They are ratios of published scores
    of two digits: 58.1 % is 0.68 / 0.43."""
    scores_of = {
        row["arm"]: row["value"]
        for row in published_values().values()
        if row["metric"] == "normalised AER" and (row["env"], row["split"]) == (gain["env"], gain["split"])
    }
    ours, other = (scores_of[name] for name in gain["arm"].split(" vs "))
    ends = [100 * ((ours + e) / (other - e) - 1) for e in (-ROUNDED, ROUNDED)]
    return min(ends[0], gain["value"]), max(ends[1], gain["value"])


def check_order(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """Whether `higher` lies above each of `lower`, in each of `splits`, over `envs` together or (`each`) one by one.

    statistic: "improvement", the probability that a run of the one beats a run of the other (stratified bootstrap,
    against one half), or "difference" of means (Welch's t, against zero). `same: true` asks instead whether the
    difference lies within `margin` of zero, `not_worse: true` whether it lies above minus `margin`. leave_one_out: over
    every choice of all environments but one; the finding is the least favourable. metric, contexts, at: as in `scores`.
    """
    envs = GROUPS.get(check["envs"], check["envs"]) if isinstance(check["envs"], str) else check["envs"]
    groups = [(env,) for env in envs] if check.get("each") else [tuple(envs)]
    return [
        _order(check, claim, evidence, group, split, lower)
        for group in groups
        for split in check.get("splits", ["aggregated"])
        for lower in check["lower"]
    ]


def _order(check: dict, claim, evidence: Evidence, envs: tuple, split: str, lower: str) -> Finding:
    higher, metric = check["higher"], check.get("metric", "return")
    options = {k: check[k] for k in ("metric", "contexts", "at") if k in check}
    found = scores(evidence, claim, envs, [higher, lower], split=split, **options)
    improvement = check["statistic"] == "improvement"
    statistic, zero = (
        (statistics.probability_of_improvement, 0.5) if improvement else (statistics.difference_interval, 0.0)
    )
    ours = None
    if found.of:
        x, y = found.of[higher], found.of[lower]
        columns = range(x.shape[1])
        subsets = [[c for c in columns if c != left] for left in columns] if check.get("leave_one_out") else [columns]
        found_in = [statistic(x[:, subset], y[:, subset]) for subset in subsets if len(subset)]
        ours = min(found_in, key=lambda t: t[1], default=None)
    names = f"{arm_style(higher).name} against {arm_style(lower).name}"
    where = check["envs"] if isinstance(check["envs"], str) and not check.get("each") else ", ".join(envs)
    words = [names, where, split, check.get("label", metric)]
    words += ["each environment left out in turn"] * bool(check.get("leave_one_out"))
    unit = "probability of improvement" if improvement else "of the range of scores" if metric == "return" else ""
    common = {"what": ", ".join(words), "unit": unit + found.alone(), "seeds": found.seeds, "steps": found.steps}
    common |= _numbers(*ours) if ours else {}
    if still := found.open(BOOTSTRAP_SEEDS if improvement else T_SEEDS, HALF):
        return Finding(verdict=still[0], reason=still[1], **common)
    margin = check.get("margin", MARGIN)
    if check.get("same"):
        verdict, reason = _within(ours, margin)
    else:
        verdict, reason = _side(ours, -margin if check.get("not_worse") else zero)
    return Finding(verdict=verdict, reason=reason + found.short(), **common)


def check_distance(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """Whether return falls with the context's distance from the training range: for each arm and environment, minus the
    slope over the eval-out contexts of the scaled return against the distance in widths of the training range."""
    findings = []
    for env in check["envs"]:
        for arm in check["arms"]:
            found = scores(evidence, claim, [env], [arm], split="eval-out")
            what = f"{arm_style(arm).name}, {env}, eval-out: fall of the scaled return with the distance"
            unit = "per width of the training range"
            common = {"what": what, "unit": unit, "seeds": found.seeds, "steps": found.steps}
            if found.of:
                falls = [-_slope(run, found.steps[env]) for run in evidence.of(env, arm)]
                ours = statistics.mean_interval(falls)
                common |= _numbers(*ours)
            if still := found.open(T_SEEDS, HALF):
                findings.append(Finding(verdict=still[0], reason=still[1], **common))
                continue
            verdict, reason = _side(ours, 0.0)
            findings.append(Finding(verdict=verdict, reason=reason + found.short(), **common))
    return findings


def _slope(run: Run, step: int) -> float:
    frame = run.frame
    rows = frame[(frame["metric"] == "return") & (frame["split"] == "eval-out") & (frame["step"] == step)]
    means, spec = rows.groupby("context")["value"].mean(), get_spec(run.meta["env"])
    distance = distance_outside(spec.dimensions, run.meta["contexts"]["eval-out"])[means.index.to_numpy(int)]
    return float(np.polyfit(distance, statistics.normalise(means, spec.score_low, spec.score_high), 1)[0])


def check_cosines(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """F4: the mean cosine of DI's mean embeddings within a mode and across modes, by the final networks of each run,
    against the published range of entries."""
    findings = []
    for row in map(published_values().get, claim.published):
        arm, kind = SLUGS[row["arm"]], row["metric"].split()[1]
        paths = evidence.networks("DI", arm)
        found = [_cosines(path) for path in paths]
        published = f"{row['low']:g} to {row['high']:g}"
        common = {"what": f"{row['arm']}: {row['metric']}", "published": published, "published_id": row["id"]}
        if not found:
            findings.append(Finding(verdict=NOT_CHECKED, reason=f"there are no networks of DI {arm}", **common))
            continue
        _, low, high = ours = statistics.mean_interval([cosines[kind] for cosines, _ in found])
        step, longest = (pick(steps for _, steps in found) for pick in (min, max))
        common |= {"seeds": len(found), "steps": {"DI": step}} | _numbers(*ours)
        evidence.used |= set(paths)
        share = step / get_spec("DI").gradient_steps
        if still := Scores({}, {}, len(found), [], share).open(T_SEEDS, HALF):
            findings.append(Finding(verdict=still[0], reason=still[1], **common))
            continue
        outside, wide = max(row["low"] - high, low - row["high"]), (high - low) / 2 > 2 * MARGIN
        verdict = CONTRADICTED if outside > MARGIN else UNDECIDED if outside > 0 or wide else REPRODUCED
        reason = "the interval overlaps the published range" if outside <= 0 else f"it lies outside by {outside:.2g}"
        reason += f", but is wider than {2 * MARGIN:g} to either side" if outside <= 0 and wide else ""
        reason += f"; the networks have {step:,} to {longest:,} steps" if longest > step else ""
        findings.append(Finding(verdict=verdict, reason=reason, **common))
    return findings


@cache
def _cosines(path: Path) -> tuple[dict[str, float], int]:
    """The mean cosine "within" and "across" the modes of a trained agent on DI, and the steps it was trained."""
    agent, meta = load_policy(path)
    entries = embeddings.by_mode(embeddings.di_cosines(agent, meta["seed"])[""])
    return {kind: float(values.mean()) for kind, values in entries.items()}, meta["steps"]


def check_evaluation(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """The final networks of each run, evaluated otherwise than by the protocol: mean scaled return over the three sets,
    in each environment and under each change in `under` (fields of EvalSettings; warm_up as a share of K).

    With `higher` and `lower`: whether the one lies above each of the others (Welch's t). With `arms`: whether the
    change leaves the return of an arm within `margin` (Student's t over the differences of each network).
    """
    pairs = [(check["higher"], arm) for arm in check["lower"]] if "higher" in check else [(a, a) for a in check["arms"]]
    return [
        _evaluation(check, evidence, env, change, arm, other)
        for env in check["envs"]
        for change in check["under"]
        for arm, other in pairs
    ]


def _evaluation(check: dict, evidence: Evidence, env: str, change: dict, arm: str, other: str) -> Finding:
    ours, theirs = evidence.networks(env, arm), evidence.networks(env, other)
    settings = replace(PROTOCOL, **change)
    if "warm_up" in change:
        settings = replace(settings, warm_up=round(change["warm_up"] * get_spec(env).window))
    names = "" if arm == other else f" against {arm_style(other).name}"
    what = f"{arm_style(arm).name}{names}, {env}, aggregated, return with {settings.changes()}"
    what += " minus that of the protocol" * (arm == other)
    if lacking := [arm_style(a).name for a, paths in ((arm, ours), (other, theirs)) if not paths]:
        return Finding(what, NOT_CHECKED, f"there are no networks of {env}: {', '.join(dict.fromkeys(lacking))}")
    evidence.used |= {*ours, *theirs}
    x, steps = zip(*(_evaluated(path, settings) for path in ours), strict=True)
    if arm == other:
        usual = [_evaluated(path, PROTOCOL)[0] for path in ours]
        found, their_steps = statistics.mean_interval(np.subtract(x, usual)), steps
    else:
        y, their_steps = zip(*(_evaluated(path, settings) for path in theirs), strict=True)
        found = statistics.difference_interval(np.array(x)[:, None], np.array(y)[:, None])
    least, longest, few = min(steps + their_steps), max(steps + their_steps), min(len(ours), len(theirs))
    share = least / get_spec(env).gradient_steps
    common = {"what": what, "unit": "of the range of scores", "seeds": few, "steps": {env: least}} | _numbers(*found)
    if still := Scores({}, {}, few, [], share).open(T_SEEDS, HALF):
        return Finding(verdict=still[0], reason=still[1], **common)
    verdict, reason = _within(found, check.get("margin", MARGIN)) if arm == other else _side(found, 0.0)
    reason += f"; the networks have {least:,} to {longest:,} steps" if longest > least else ""
    return Finding(verdict=verdict, reason=reason, **common)


_evaluations: dict[tuple[Path, str], tuple[float, int]] = {}


def _evaluated(path: Path, settings: EvalSettings) -> tuple[float, int]:
    """The mean scaled return over the three sets of a trained agent, ten rollouts a context, and its steps."""
    key = path, settings.changes()
    if key not in _evaluations:
        agent, meta = load_policy(path)
        spec = get_spec(meta["config"]["env"])
        evaluator = Evaluator(agent, spec.name, block_contexts(spec.name, [meta["seed"]]), [meta["seed"]], 10, settings)
        returns = statistics.normalise(evaluator(meta["steps"]), spec.score_low, spec.score_high)
        _evaluations[key] = float(returns.mean()), meta["steps"]
    return _evaluations[key]


# ---------------------------------------------------------------- checks without runs


@cache
def _proved() -> dict[str, str] | str:
    """{theorem: the axioms it rests on}, as `make -C proofs` prints them; a sentence where it does not run through."""
    lacking = [tool for tool in ("make", "coqc", "coqchk") if shutil.which(tool) is None]
    if lacking or not (ROOT / "proofs").is_dir():
        return f"not checked: this machine lacks {', '.join(lacking) or 'the folder proofs/'}"
    done = subprocess.run(["make", "-C", ROOT / "proofs"], capture_output=True, text=True)
    if done.returncode:
        return f"undecided: make -C proofs failed: {' '.join(done.stderr.split())[-300:]}"
    return dict(re.findall(r"^\w+\.(\w+): (.+)$", done.stdout, re.M))


def check_proof(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """Whether Coq accepts all `theorems`, with no axiom outside the allow-list. `refutes: true`: they prove that the
    part of the claim which is called `what` does not hold."""
    found, what = _proved(), f"{check['what']} (Coq: {', '.join(check['theorems'])})"
    if isinstance(found, str):
        verdict, _, reason = found.partition(": ")
        return [Finding(what, verdict, f"{reason}; {PROOF_COST}" if verdict == NOT_CHECKED else reason)]
    if absent := [name for name in check["theorems"] if name not in found]:
        return [Finding(what, UNDECIDED, f"there is no theorem {', '.join(absent)} among those that Coq accepted")]
    axioms = "; ".join(dict.fromkeys(found[name] for name in check["theorems"]))
    if check.get("refutes"):
        return [Finding(what, CONTRADICTED, f"a counterexample is proved; rests on {axioms}")]
    return [Finding(what, REPRODUCED, f"proved; rests on {axioms}")]


PROOF_COST = "make proofs needs Coq (Debian: coq libcoq-mathcomp-algebra libcoq-mathcomp-algebra-tactics) and a minute"


_outcomes: dict[str, str] = {}  # of pytest nodes: passed, failed or another word of pytest's, or why none was found


def _nodes(check: dict) -> list[str]:
    """The pytest nodes of a check; a bare name lies in the file named before it."""
    nodes, file = [], ""
    for node in check["nodes"]:
        file = node.split("::")[0] if "::" in node else file
        nodes.append(f"tests/{file}::{node.split('::')[-1]}")
    return nodes


def run_tests(checks: Iterable[dict]) -> None:
    """Run the tests of all checks of kind "test", in one process; what was run already is not run again."""
    nodes = [node for check in checks if check["kind"] == "test" for node in _nodes(check) if node not in _outcomes]
    if not nodes:
        return
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-rA", "-p", "no:cacheprovider", *nodes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seen = defaultdict(set)
    for word, name in re.findall(r"^(PASSED|FAILED|ERROR) (tests/\S+?)(?:\[.*\])?(?: - .*)?$", done.stdout, re.M):
        seen[name].add(word.lower())
    lost = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-1:])
    for node in nodes:
        words = seen[node]
        _outcomes[node] = next((w for w in ("failed", "error", "passed") if w in words), f"it was not run: {lost}")


def check_test(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """Whether the tests pass: `nodes`, each "test_file.py::test_name" or a name in the file before it. `refutes`: that
    they pass shows that the part of the claim which is called `what` does not hold in general."""
    run_tests([check])
    nodes, refutes = _nodes(check), check.get("refutes", False)
    what = f"{check['what']} (tests: {', '.join(node.split('::')[1] for node in nodes)})"
    wrong = [node for node in nodes if _outcomes[node] != "passed"]
    if not wrong:
        reason = "the counterexample's test passes" if refutes else f"{len(nodes)} pass" + "es" * (len(nodes) == 1)
        return [Finding(what, CONTRADICTED if refutes else REPRODUCED, reason)]
    reason = f"{wrong[0].split('::')[1]}: {_outcomes[wrong[0]]}"
    if _outcomes[wrong[0]] != "failed":
        return [Finding(what, NOT_CHECKED, reason)]
    return [Finding(what, UNDECIDED if refutes else CONTRADICTED, reason)]


def check_suite(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """Whether the code has the claim's environments."""
    absent = [env for env in claim.needs.envs if env not in SUITE]
    number = len(claim.needs.envs) - len(absent)
    verdict, reason = (NOT_CHECKED, f"absent: {', '.join(absent)}") if absent else (REPRODUCED, "all are there")
    return [Finding("environments in the code", verdict, reason, f"{len(claim.needs.envs)}", value=number)]


def check_noise(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """A.6, measured by `theory.noise_experiment`: in each setting the error under noise, concatenating minus modulated
    (Welch's t), and the number of parameters of the smallest network of which most seeds reach the level."""
    seeds, level = range(check.get("seeds", 10)), check.get("level", 0.04)
    noises = {"interval": 0.2, "switch": 0.2, "binary": 0.5}
    errors, sizes = _noise(len(seeds), level, check.get("steps", 1500), tuple(sorted(set(noises.values()))))
    findings = []
    for setting, noise in noises.items():
        at = [row for row in errors if row["setting"] == setting and row["noise"] == noise]
        x, y = ([[row["error"]] for row in at if row["class"] == kind] for kind in ("concatenating", "modulated"))
        what, few = f"{setting} codes, noise {noise:g}: concatenating minus modulated error", min(len(x), len(y))
        if few < T_SEEDS:
            findings.append(Finding(what, UNDECIDED, f"{few} networks of a class reached the clean error {level:g}"))
            continue
        found = statistics.difference_interval(x, y)
        verdict, reason = _side(found, 0.0)
        reason += f", over {len(x)} and {len(y)} networks"
        findings.append(Finding(what, verdict, reason, **_numbers(*found), unit="of the controller's range"))
    for setting in noises:
        # what a class needs lies above the largest size that failed, and up to the smallest one that did not
        (below, enough), (under, fits) = (
            (max((n for n in tried if n < least), default=0), least)
            for kind in ("concatenating", "modulated")
            for here in [[row for row in sizes if row["setting"] == setting and row["class"] == kind]]
            for tried in [[row["parameters"] for row in here]]
            for least in [min((r["parameters"] for r in here if 2 * r["reached"] > len(seeds)), default=math.inf)]
        )
        verdict = REPRODUCED if below >= fits else CONTRADICTED if under >= enough else UNDECIDED
        reason = f"needed for the clean error {level:g}: concatenating more than {below} and up to {enough:g}, "
        findings.append(
            Finding(f"{setting} codes: parameters", verdict, reason + f"modulated more than {under} and up to {fits:g}")
        )
    return findings


@cache
def _noise(n: int, level: float, steps: int, noises: tuple[float, ...]) -> tuple[list[dict], list[dict]]:
    return theory.noise_experiment(range(n), noises, steps, level)


def _side(ours: tuple[float, float, float], zero: float) -> tuple[str, str]:
    """Verdict and reason of an interval that is claimed to lie above `zero`."""
    _, low, high = ours
    if low > zero:
        return REPRODUCED, f"the interval lies above {zero:g}"
    return (CONTRADICTED, f"the interval lies below {zero:g}") if high < zero else (UNDECIDED, f"it contains {zero:g}")


def _within(ours: tuple[float, float, float], margin: float) -> tuple[str, str]:
    """Verdict and reason of an interval that is claimed to lie within `margin` of zero."""
    _, low, high = ours
    inside, outside = -margin <= low and high <= margin, low > margin or high < -margin
    verdict = REPRODUCED if inside else CONTRADICTED if outside else UNDECIDED
    where = {REPRODUCED: "within", CONTRADICTED: "outside of", UNDECIDED: "across an edge of"}[verdict]
    return verdict, f"the interval lies {where} {-margin:g} to {margin:g}"


def check_regret(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """A.8, by `regret.worst_case_regret`, an upper bound, the lower of two searches: at least 0.5 where contexts do
    not overlap, below 0.1 where they do; the other way round contradicts."""
    findings = []
    for env in check["envs"]:
        value, kind = _regret(env), "overlapping" if get_spec(env).overlapping else "non-overlapping"
        large, small = value >= 0.5, value < 0.1
        as_said, against = (small, large) if get_spec(env).overlapping else (large, small)
        verdict = REPRODUCED if as_said else CONTRADICTED if against else UNDECIDED
        reason = f"{value:.2f} is {'at least 0.5' if large else 'below 0.1' if small else 'between 0.1 and 0.5'}"
        what = f"{env}, called {kind}: worst regret of the best compromise"
        findings.append(Finding(what, verdict, reason, value=value, unit="of the oracle's return"))
    return findings


@cache
def _regret(env: str) -> float:
    return min(worst_case_regret(env, seed=seed) for seed in (0, 1))


def check_efficiency(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """A.7: parameters of all trained modules, counted everywhere; speed and memory on DI: benchmarks/*.json."""
    return [_efficiency(published_values()[id_]) for id_ in claim.published]


def _efficiency(row: dict) -> Finding:
    ours, other = (SLUGS[name] for name in row["arm"].split(" vs "))
    metric, value = row["metric"].removesuffix(" %"), row["value"]
    column = {"training speed": "ms_per_step", "training time": "ms_per_step", "peak memory": "peak_mib"}.get(metric)
    if column is None:
        found = [100 * (_parameters(env, ours) / _parameters(env, other) - 1) for env in SUITE]
    else:
        files = [json.loads(path.read_text()) for path in sorted((ROOT / "benchmarks").glob("*.json"))]
        # a file may hold measurements of something else, such as the environments
        measured = [{r["arm"]: r[column] for r in rows if column in r and r["env"] == "DI"} for rows in files]
        ratios = [by_arm[ours] / by_arm[other] for by_arm in measured if {ours, other} <= by_arm.keys()]
        found = [100 * ((1 / r if metric == "training speed" else r) - 1) for r in ratios]
    common = {"what": f"{row['arm']}: {metric}", "published": f"{value:g} %", "published_id": row["id"], "unit": "%"}
    if not found:
        return Finding(verdict=NOT_CHECKED, reason="no file in benchmarks/ has both arms", **common)
    common |= _numbers(float(np.median(found)), min(found), max(found))
    if column is None:
        verdict = REPRODUCED if min(abs(f - value) for f in found) <= 0.5 else CONTRADICTED
        return Finding(verdict=verdict, reason=f"counted in {len(found)} environments, range of all", **common)
    reason = f"median and range of {len(found)} measurements in benchmarks/"
    if all(f * value < 0 for f in found):
        return Finding(verdict=CONTRADICTED, reason=f"the other sign everywhere; {reason}", **common)
    close = all(0.5 <= f / value <= 2 for f in found)
    return Finding(verdict=REPRODUCED if close else UNDECIDED, reason=reason, **common)


@cache
def _parameters(env: str, arm: str) -> int:
    return sum(p.numel() for p in make_agent(env, get_method(arm), [0]).modules.parameters())


def check_none(check: dict, claim, evidence: Evidence) -> list[Finding]:
    """What cannot be checked here, and `why`."""
    return [Finding(check["what"], NOT_CHECKED, check["why"])]


RULES: dict[str, Callable[[dict, object, Evidence], list[Finding]]] = {
    "published": check_published,
    "order": check_order,
    "distance": check_distance,
    "cosines": check_cosines,
    "evaluation": check_evaluation,
    "proof": check_proof,
    "test": check_test,
    "suite": check_suite,
    "noise": check_noise,
    "regret": check_regret,
    "efficiency": check_efficiency,
    "none": check_none,
}
