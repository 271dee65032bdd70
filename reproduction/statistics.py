"""Scores and their uncertainty: a thin layer over rliable (Agarwal et al., 2021) and scipy.

An AER is the average episodic return over the contexts and rollouts of one context set. Across environments, AERs are
min-max scaled and summarised by their interquartile mean (IQM) with 95 % stratified-bootstrap intervals over seeds.
Every function is deterministic.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from rliable import library, metrics
from scipy import stats

LEAST_T = 3
"""Minimum number of runs for a Student's t interval; with two runs (t = 12.7) it covers the whole axis and says
nothing."""
LEAST_BOOTSTRAP = 5
"""Minimum number of runs per task for a bootstrap interval; from two or three runs it is much too narrow."""

CELL = ["env", "arm", "seed", "step", "split"]


def normalise(returns: ArrayLike, low: float, high: float) -> np.ndarray:
    """Min-max scale returns of any shape so that `low` (number or array) maps to 0 and `high` to 1. Not clipped.

    ValueError unless low < high and both are finite.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"scaling needs finite bounds with low < high, not {low} and {high}")
    return (np.asarray(returns, dtype=float) - low) / (high - low)


def aer(returns: pd.DataFrame) -> pd.DataFrame:
    """Average over contexts and rollouts, from `raw_runs.load_returns`: columns env, arm, seed, step, split, aer."""
    return returns.groupby(CELL, observed=True)["value"].mean().rename("aer").reset_index()


def mean_interval(values: ArrayLike) -> tuple[float, float, float]:
    """Mean over seeds (one value per seed) with its 95 % Student's t interval: (mean, low, high).

    Below LEAST_T seeds both bounds are NaN. Student's t is used instead of the bootstrap, because resampling a few
    seeds gives intervals that are much too narrow.
    """
    values = np.asarray(values, dtype=float)
    if not values.size:
        raise ValueError("a mean needs at least one seed")
    mean = float(values.mean())
    if len(values) < LEAST_T:
        return mean, np.nan, np.nan
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return mean, mean - half, mean + half


@contextmanager
def _fixed_draws(seed: int = 0) -> Iterator[None]:
    # rliable 1.2.0 passes its random_state to arch but still draws its indices from NumPy's global state, so only
    # seeding that state makes an interval reproducible. It is restored so that no other draws change.
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def iqm_interval(scores: ArrayLike, reps: int = 10_000) -> tuple[float, float, float]:
    """Interquartile mean of a (runs x tasks) matrix of scaled scores with its 95 % interval: (iqm, low, high).

    The bootstrap resamples runs within each task. Below LEAST_BOOTSTRAP runs per task both bounds are NaN.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores must be a finite (runs x tasks) matrix, not of shape {scores.shape}")
    if len(scores) < LEAST_BOOTSTRAP:
        return float(metrics.aggregate_iqm(scores)), np.nan, np.nan
    with _fixed_draws():
        point, interval = library.get_interval_estimates(
            {"scores": scores}, lambda s: np.array([metrics.aggregate_iqm(s)]), reps=reps
        )
    return float(point["scores"][0]), *interval["scores"][:, 0].tolist()


def _matrices(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y must be (runs x tasks) matrices with the same tasks, not {x.shape} and {y.shape}")
    return x, y


def _pair(statistic, x: ArrayLike, y: ArrayLike, reps: int) -> tuple[float, float, float]:
    """statistic(x, y) and its 95 % interval by the stratified bootstrap of both, if both have LEAST_BOOTSTRAP runs."""
    x, y = _matrices(x, y)
    if min(len(x), len(y)) < LEAST_BOOTSTRAP:
        return float(statistic(x, y)), np.nan, np.nan
    with _fixed_draws():
        point, interval = library.get_interval_estimates(
            {"pair": (x, y)}, lambda a, b: np.array([statistic(a, b)]), reps=reps
        )
    return float(point["pair"][0]), *interval["pair"][:, 0].tolist()


def probability_of_improvement(x: ArrayLike, y: ArrayLike, reps: int = 2_000) -> tuple[float, float, float]:
    """Probability that a run of X beats a run of Y on the same task, averaged over tasks, with its 95 % interval.

    `x` and `y` are (runs x tasks) with the same tasks and possibly different numbers of runs. A tie counts one half.
    With fewer than LEAST_BOOTSTRAP runs on a side both bounds are NaN. The statistic is rliable's, whose own function
    calls scipy's rank test for each task and is a hundred times slower; a test compares the two.
    """
    return _pair(lambda a, b: (1 + np.sign(a[:, None] - b).mean()) / 2, x, y, reps)


def relative_gain(x: ArrayLike, y: ArrayLike, reps: int = 2_000) -> tuple[float, float, float]:
    """Percentage by which the IQM of `x` exceeds that of `y`, with its 95 % interval (resampling both within tasks).

    `x` and `y` are (runs x tasks) matrices of scaled scores. With fewer than LEAST_BOOTSTRAP runs on a side both bounds
    are NaN; if the IQM of `y` is not positive, all three values are NaN.
    """

    def gain(a, b):
        over = metrics.aggregate_iqm(b)
        return 100 * (metrics.aggregate_iqm(a) / over - 1) if over > 0 else np.nan

    return _pair(gain, x, y, reps)


def episode_interval(mean: ArrayLike, sd: ArrayLike, episodes: int) -> tuple[float, float, float]:
    """Mean over contexts of one agent's returns, with its 95 % interval over new episodes: (mean, low, high).

    `mean` and `sd` (C,) are over `episodes` in each context. Contexts and networks are held fixed, so the interval says
    nothing about other seeds. With a single episode the bounds are NaN.
    """
    centre = float(np.mean(mean))
    half = float(stats.norm.ppf(0.975) * np.sqrt(np.square(sd).sum() / episodes) / np.size(sd))
    return centre, centre - half, centre + half


def leave_one_out(scores: pd.DataFrame) -> pd.DataFrame:
    """Ranks of the arms (1 is best) by their mean score over all environments and with each environment left out.

    `scores` is (arms x environments), scaled and without gaps. Columns: "all", then one per left-out environment.
    """
    means = {"all": scores.mean(axis=1)} | {env: scores.drop(columns=env).mean(axis=1) for env in scores}
    return pd.DataFrame(means).rank(ascending=False)
