"""Which raw runs count, and the numbers that comparisons read from them.

The score of a run is its scaled return, averaged over the last LAST evaluations of the claim's full number of steps,
because a single evaluation is half noise. The last evaluation is reported too, since the published protocol does not
say which of the two was used.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from math import log
from pathlib import Path

import numpy as np
import pandas as pd

from dmash_core.benchmark.contexts import distance_outside
from dmash_core.benchmark.suite import get_spec
from dmash_core.diagnostics import embeddings
from dmash_core.errors import UserError
from dmash_core.evaluation import PROTOCOL, EvalSettings, Evaluator
from dmash_core.methods import method_from
from dmash_core.training.policies import block_contexts, load_policy
from dmash_core.training.raw_runs import Run, first_difference, scan
from dmash_core.training.settings import TrainSettings
from reproduction import statistics
from reproduction.figures.style import arm_style

SCHEMA = 2
"""Raw runs of earlier versions come from another agent and enter no statistic."""
LAST = 5
"""Number of final evaluations averaged into the score of a run."""
TOYS = ("DI", "DI-Perm", "DI-Friction", "ODE")
"""The environments that are not simulated by MuJoCo."""
MEASURES = {
    "return": ("return", "of the range of scores", 1.0),
    "fall": ("fall of the return with the distance", "of the range of scores per width of the training range", None),
    "variability": ("Variability", "", None),
    "informativeness": ("Informativeness", "nats", log(20)),
    "shadow_actor": ("shadow gradient through the actor's adapter", "", None),
    "cosine within mode": ("cosine within a mode", "", 2.0),
    "cosine across modes": ("cosine across modes", "", 2.0),
    "rolled out": ("return", "of the range of scores", 1.0),
    "change": ("change of the return", "of the range of scores", 1.0),
}
"""What can be compared: label, unit and range (DELTA is a share of it; None if unbounded). The last four are computed
from the final networks, "rolled out" and "change" under changed EvalSettings."""
_NETWORKS = ("cosine within mode", "cosine across modes", "rolled out", "change")


@dataclass(frozen=True)
class Measure:
    """What is read from a run. split: a context set, or "aggregated". contexts: "mean" or "min" over the contexts of a
    set. when: "end" (the last five evaluations) or "whole" (all of them). change: fields of EvalSettings, with warm_up
    as a share of K."""

    metric: str = "return"
    split: str = "aggregated"
    contexts: str = "mean"
    when: str = "end"
    change: tuple[tuple[str, object], ...] = ()

    def __post_init__(self):
        known = {
            "metric": MEASURES, "split": ("train", "eval-in", "eval-out", "aggregated"),
            "contexts": ("mean", "min"), "when": ("end", "whole"),
        }  # fmt: skip
        for name, words in known.items():
            if getattr(self, name) not in words:
                raise TypeError(f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}")
        try:
            self.settings("DI")
        except UserError as error:
            raise TypeError(str(error)) from error

    def settings(self, env: str) -> EvalSettings:
        """How the networks are rolled out in `env`."""
        change = dict(self.change)
        if "warm_up" in change:
            change["warm_up"] = round(change["warm_up"] * get_spec(env).window)
        if "unseen" in change:
            change["unseen"] = dict(change["unseen"])
        return replace(PROTOCOL, **change)

    @property
    def label(self) -> str:
        """Metric, set and change as text."""
        words = ["worst context" if self.contexts == "min" else "", "mean of the curve" if self.when == "whole" else ""]
        words += [f"with {self.settings('DI').changes()}" if self.change else ""]
        label = MEASURES[self.metric][0] + "".join(f" ({word})" for word in words if word)
        return (
            label
            if self.metric in ("shadow_actor", "cosine within mode", "cosine across modes")
            else f"{label}, {self.split}"
        )


def departure(run: Run) -> str | None:
    """Why a run does not match its environment and arm as the claims define them, in one clause; None if it does."""
    if run.meta["schema_version"] < SCHEMA:
        return f"version {run.meta['schema_version']} of the raw runs, which another agent made"
    env, arm, config = run.meta["env"], run.meta["arm"], run.meta["config"]
    try:
        method = method_from(config["method"])
        if method.window == get_spec(env).window:
            method = replace(method, window=None)
        wanted = TrainSettings(env, arm.split("+")[0], method)
    except (UserError, TypeError, KeyError) as error:
        return f"its configuration does not fit this code: {error}"
    if wanted.label != arm:
        return f"its configuration is that of {wanted.label} and not of {arm}"
    # Settings introduced after the run was made are absent from its configuration and are ignored.
    differs = first_difference(config, wanted.config())
    return differs and "its configuration differs from the claims': {} is {} and not {}".format(*differs)


def _rows(run: Run) -> str:
    """A hash of a run's rows, independent of its environment, arm and seed."""
    words = run.frame.astype({"metric": str, "split": str})
    return hashlib.sha256(pd.util.hash_pandas_object(words, index=False).to_numpy().tobytes()).hexdigest()


def copies(runs: Iterable[Run]) -> dict[Path, str]:
    """Runs with equal rows under different names, and what each is a copy of. None of them counts, because the original
    cannot be identified."""
    same = defaultdict(list)
    for run in runs:
        same[_rows(run)].append(run.path)
    groups = [paths for paths in same.values() if len(paths) > 1]
    return {
        path: f"its rows are those of {', '.join(str(other) for other in paths if other != path)}: one is a copy"
        for paths in groups
        for path in paths
    }


class Evidence:
    """The raw runs that count, by (environment, arm, seed), and why others do not (`left_out`: path -> reason).

    `used` collects the files behind all findings since its last `clear`.
    """

    def __init__(self, root: str | Path, runs: Iterable[Run] | None = None):
        """Read the folder `root`; `runs`, if given, replaces its files."""
        self.root, self.used = Path(root), set()
        runs, bad = scan(root) if runs is None else (list(runs), [])
        self.left_out: dict[Path, str] = {error.path: error.reason for error in bad}
        self.left_out |= {run.path: reason for run in runs if (reason := departure(run))}
        self.left_out |= copies(run for run in runs if run.path not in self.left_out)
        self.runs = {
            (run.meta["env"], run.meta["arm"], run.meta["seed"]): run for run in runs if run.path not in self.left_out
        }
        self._series: dict[tuple, pd.Series] = {}

    def of(self, env: str, arm: str) -> dict[int, Run]:
        """The runs of an environment and arm that count, by seed."""
        return {key[2]: run for key, run in sorted(self.runs.items()) if key[:2] == (env, arm)}

    def short(self, env: str, arm: str, steps: int) -> list[int]:
        """The seeds whose runs have fewer than `steps` steps and did not diverge."""
        return [s for s, r in self.of(env, arm).items() if r.meta["steps"] < steps and "diverged" not in r.meta]

    def series(self, run: Run, measure: Measure) -> pd.Series:
        """A measure of a run by step, unscaled: the mean over rollouts, then over contexts (or the minimum), then over
        sets. The number of rollouts may vary between steps."""
        key = (run.path, measure.metric, measure.split, measure.contexts)
        if key not in self._series:
            rows = run.frame[run.frame["metric"] == measure.metric]
            if measure.split != "aggregated" and rows["split"].notna().any():
                rows = rows[rows["split"] == measure.split]
            by = ["step", "split", "context"]
            contexts = rows.groupby(by, observed=True, dropna=False)["value"].mean()
            sets = contexts.groupby(["step", "split"], observed=True, dropna=False).agg(measure.contexts)
            self._series[key] = sets.groupby("step").mean().sort_index()
        return self._series[key]

    def values(self, env: str, arm: str, measure: Measure, steps: int) -> dict[int, tuple[float, float]]:
        """{seed: (value, value by the last evaluation alone)} of the runs that reached `steps` steps.

        Returns are scaled to [0, 1]. A diverged run keeps its last return until the end and has no other measures. Runs
        without the logged measure, or without the networks that it needs, are left out.
        """
        found = {}
        for seed, run in self.of(env, arm).items():
            if seed in self.short(env, arm, steps):
                continue
            value = _of_networks(run, measure) if measure.metric in _NETWORKS else self._logged(run, measure, steps)
            if value is not None and np.isfinite(value).all():
                found[seed] = value
                self.used.add(run.path)
        return found

    def _logged(self, run: Run, measure: Measure, steps: int) -> tuple[float, float] | None:
        if measure.metric == "fall":
            return self._fall(run, steps)
        series = self.series(run, measure)
        if series.empty or ("diverged" in run.meta and measure.metric != "return"):
            return None
        every = run.meta["config"]["eval_every"]
        if "diverged" in run.meta:
            series = series.reindex(range(int(series.index[0]), steps + 1, every)).ffill()
        series = series.loc[:steps]
        if series.index[-1] != steps:
            return None
        if measure.metric == "return":
            spec = get_spec(run.meta["env"])
            series = (series - spec.score_low) / (spec.score_high - spec.score_low)
        return float((series if measure.when == "whole" else series.iloc[-LAST:]).mean()), float(series.iloc[-1])

    def _fall(self, run: Run, steps: int) -> tuple[float, float] | None:
        """The negative slope, over the eval-out contexts, of the scaled return against the distance to the training
        range, in widths of that range."""
        frame, spec = run.frame, get_spec(run.meta["env"])
        rows = frame[(frame["metric"] == "return") & (frame["split"] == "eval-out") & (frame["step"] <= steps)]
        grid = rows.groupby(["step", "context"])["value"].mean().unstack("context").sort_index()
        if grid.empty:
            return None
        distance = distance_outside(spec.dimensions, run.meta["contexts"]["eval-out"])[grid.columns.to_numpy(int)]
        if np.ptp(distance) == 0:  # no slope
            return None
        scaled = statistics.normalise(grid.iloc[-LAST:], spec.score_low, spec.score_high)
        mean, last = (-np.polyfit(distance, y, 1)[0] for y in (scaled.mean(axis=0), scaled[-1]))
        return float(mean), float(last)


def _of_networks(run: Run, measure: Measure) -> tuple[float, float] | None:
    path = run.path.with_suffix(".safetensors")
    if "diverged" in run.meta or not path.exists():
        return None
    if measure.metric.startswith("cosine"):
        value = _cosines(path)[measure.metric.split()[1]]
    else:
        value = rolled_out(path, measure.settings(run.meta["env"]))
        value -= rolled_out(path, PROTOCOL) if measure.metric == "change" else 0.0
    return value, value


@cache
def _cosines(path: Path) -> dict[str, float]:
    """The mean cosines "within" and "across" the modes of a trained agent on DI, with the encoder in evaluation
    mode."""
    agent, meta = load_policy(path)
    entries = embeddings.by_mode(embeddings.di_cosines(agent, meta["seed"])[""])
    return {kind: float(values.mean()) for kind, values in entries.items()}


_rolled: dict[tuple[Path, str], float] = {}


def rolled_out(path: Path, settings: EvalSettings) -> float:
    """The mean scaled return of a trained agent over the three sets, with ten rollouts per context."""
    key = path, settings.changes()
    if key not in _rolled:
        agent, meta = load_policy(path)
        spec = get_spec(meta["config"]["env"])
        evaluator = Evaluator(agent, spec.name, block_contexts(spec.name, [meta["seed"]]), [meta["seed"]], 10, settings)
        returns = statistics.normalise(evaluator(meta["steps"]), spec.score_low, spec.score_high)
        _rolled[key] = float(returns.mean())
    return _rolled[key]


def failed(scores: Iterable[float], share: float) -> int:
    """The number of runs of an arm below `share` of their median."""
    scores = np.asarray(list(scores))
    return int((scores < share * np.median(scores)).sum()) if len(scores) else 0


def arm_names(arms: Iterable[str]) -> str:
    """Arms as text: DMA*-SH against DR."""
    return " against ".join(arm_style(arm).name for arm in arms)
