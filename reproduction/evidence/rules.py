"""The rules shared by all claims: estimates, intervals, verdicts. Nothing here depends on runs or claims.

All functions take arrays with any leading axes, so that `calibration` can pass thousands of simulated studies through
the same code that judges the real one.

There are two units of analysis. *Seeds*, for a claim about one environment: Welch's t over runs. *Environments*, for a
claim about a group: Student's t over the differences in all its environments. There are exactly two looks at the data:
at 10 and 20 seeds or, over a group, at 1 and 3 seeds in every environment. Each look spends ALPHA, so the error rate is
at most 6 % whether one stops at the first look or goes on to the second.

- better: the interval (level 1 - ALPHA) lies above zero. Contradicted: below.
- same, agrees: the 90 % interval lies within DELTA of zero, or of the published value. Contradicted: the interval of
  level 1 - ALPHA lies beyond.
- not worse: the 90 % interval lies above -DELTA. Contradicted: the other interval lies below.

The last three can be reproduced at the second look only. If an arm fails in one run of five, ten runs show no failure
in 11 % of cases, and the arm would pass as the same as one that never fails; with twenty runs this falls to 1 %. A
claim of several comparisons divides every error rate by their number (Bonferroni).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

ALPHA = 0.03
"""Error rate of "better" and of every contradiction at each of two looks: 6 % in total."""
SAME = 0.05
"""Error rate of "same", "agrees" and "not worse", decided at one look: the 90 % interval of two one-sided tests."""
DELTA = 0.05
"""The largest difference that counts as none, as a share of the measure's range. The context-aware arms of Table 2
differ by 0.07 of the range of scores: a larger margin would call the best and the worst of them the same, a smaller one
would need hundreds of runs."""
LOOKS = {"seeds": (10, 20), "environments": (1, 3)}
"""Numbers of seeds (0, 1, 2, ...) per cell at which a comparison is evaluated."""
PUBLISHED_SEEDS = 10
"""Seeds behind every published score, to account for its error in comparisons."""
FAILED = 0.5
"""A run whose score is below this share of its arm's median has failed."""
QUESTIONS = ("better", "same", "not worse", "agrees")
VERDICTS = ("reproduced", "contradicted", "undecided", "not checked")
REPRODUCED, CONTRADICTED, UNDECIDED, NOT_CHECKED = range(4)
"""Indices into VERDICTS."""


@dataclass(frozen=True)
class Estimate:
    """Values with standard errors and degrees of freedom: arrays of equal shape."""

    value: np.ndarray
    error: np.ndarray
    freedom: np.ndarray

    def interval(self, level: float, slack: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Student's t interval (low, high), widened by `slack` on both sides; NaN without degrees of freedom."""
        with np.errstate(invalid="ignore"):
            half = self.error * stats.t.ppf((1 + level) / 2, self.freedom) + slack
        return self.value - half, self.value + half

    def widened(self, factor: float) -> "Estimate":
        """A copy with `factor` times the standard error."""
        return Estimate(self.value, self.error * factor, self.freedom)


def one_sample(x: ArrayLike) -> Estimate:
    """Mean over the last axis (Student's t)."""
    x = np.asarray(x, dtype=float)
    n = x.shape[-1]
    spread = x.std(axis=-1, ddof=1) if n > 1 else np.full(x.shape[:-1], np.nan)
    return Estimate(x.mean(axis=-1), spread / np.sqrt(n), np.full(x.shape[:-1], n - 1.0 if n > 1 else np.nan))


def welch(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Mean of x minus mean of y over the last axes (Welch's t)."""
    a, b = one_sample(x), one_sample(y)
    total = a.error**2 + b.error**2
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = total**2 / (a.error**4 / a.freedom + b.error**4 / b.freedom)
    freedom = np.where(total > 0, freedom, np.minimum(a.freedom, b.freedom))
    return Estimate(a.value - b.value, np.sqrt(total), freedom)


def interquartile(x: ArrayLike) -> Estimate:
    """Interquartile mean of (..., environments, seeds), pooling all values of a study as rliable does.

    The environments are fixed and the seeds are the sample. The error is that of a trimmed mean (Tukey and McLaughlin
    1963), from the spread of the winsorised values within each environment, or that of the plain mean if larger,
    because failed runs are trimmed in some studies and not in others. A bootstrap of few seeds is too narrow.
    """
    x = np.asarray(x, dtype=float)
    envs, seeds = x.shape[-2:]
    pooled = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    size = pooled.shape[-1]
    cut = int(0.25 * size)
    low, high = pooled[..., cut, None, None], pooled[..., size - cut - 1, None, None]
    value = pooled[..., cut : size - cut].mean(axis=-1)
    if seeds < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    trimmed = seeds * np.clip(x, low, high).var(axis=-1, ddof=1).sum(axis=-1) / (size - 2 * cut) ** 2
    plain = seeds * x.var(axis=-1, ddof=1).sum(axis=-1) / size**2
    error = np.sqrt(np.maximum(trimmed, plain))
    return Estimate(value, error, np.full_like(value, max(size - 2 * cut - envs, 1)))


def minus(a: Estimate, b: Estimate) -> Estimate:
    """The difference of two independent estimates, with the smaller degrees of freedom."""
    return Estimate(a.value - b.value, np.hypot(a.error, b.error), np.minimum(a.freedom, b.freedom))


def decide(
    estimate: Estimate,
    question: str,
    parts: int = 1,
    last: bool = True,
    region: tuple[float, float] = (-DELTA, DELTA),
    slack: float = 0.0,
) -> np.ndarray:
    """Verdicts (indices) of estimates under one of QUESTIONS, by the rules at the top of this file.

    parts: number of comparisons of the claim. last: whether this is the second look. region: what counts as the same.
    slack: rounding of a published value; it widens every interval.
    """
    low, high = estimate.interval(1 - ALPHA / parts, slack)
    inner_low, inner_high = estimate.interval(1 - 2 * SAME / parts, slack)
    if question == "better":
        yes, no = low > 0, high < 0
    elif question == "not worse":
        yes, no = last & (inner_low > region[0]), high < region[0]
    elif question in ("same", "agrees"):
        yes = last & (inner_low >= region[0]) & (inner_high <= region[1])
        no = (low > region[1]) | (high < region[0])
    else:
        raise TypeError(f"a question is one of {', '.join(QUESTIONS)}, not {question!r}")
    return np.where(yes, REPRODUCED, np.where(no, CONTRADICTED, UNDECIDED))


def combine(codes: ArrayLike) -> np.ndarray:
    """Combine the verdicts of a claim's comparisons over the last axis: contradicted if any is, reproduced if all are,
    not checked if all are, else undecided."""
    codes = np.asarray(codes)
    rest = np.where((codes == NOT_CHECKED).all(axis=-1), NOT_CHECKED, UNDECIDED)
    rest = np.where((codes == REPRODUCED).all(axis=-1), REPRODUCED, rest)
    return np.where((codes == CONTRADICTED).any(axis=-1), CONTRADICTED, rest)


def look_at(unit: str, seeds: int) -> int | None:
    """The last look reached with `seeds` seeds, as a number of seeds; None before the first look."""
    return max((look for look in LOOKS[unit] if look <= seeds), default=None)


def seeds_needed(estimate: Estimate, question: str, parts: int, look: int, region: tuple[float, float]) -> int | None:
    """Number of seeds that would decide one estimate if its value and spread stayed the same; None if no number would.

    The interval shrinks with the square root of the number of seeds.
    """
    _, high = estimate.interval(1 - (ALPHA if question == "better" else 2 * SAME) / parts)
    half, value = float(high - estimate.value), float(estimate.value)
    edges = (0.0,) if question == "better" else region[:1] if question == "not worse" else region
    room = min(abs(value - edge) for edge in edges)
    return None if room <= 0 or not np.isfinite(half) else int(np.ceil(look * (half / room) ** 2))
