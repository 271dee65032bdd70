"""Comparisons: what the body of a claim yields. A comparison is data: the runs it needs and how they are judged.

    seeds("DI", "dma-star-sh", "dr").better()            one environment, the runs are the sample
    group("All", "dma-star-sh", "dr").better()           a group, its environments are the sample
    published("N-32").agrees()                           our value against one of published.csv
    proof("...", "A1_adapter_can"), twin("...", "test_theory.py::test_a1")
    computed(function), unjudged("...", "why")

`.shown()` instead of a question shows the numbers on the page without judging them.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from dmash_core.benchmark.suite import SUITE, get_spec
from dmash_core.errors import UserError
from reproduction.evidence.rules import (
    ALPHA,
    CONTRADICTED,
    DELTA,
    FAILED,
    LOOKS,
    NOT_CHECKED,
    PUBLISHED_SEEDS,
    REPRODUCED,
    SAME,
    UNDECIDED,
    VERDICTS,
    Estimate,
    decide,
    interquartile,
    look_at,
    minus,
    one_sample,
    seeds_needed,
    welch,
)  # fmt: skip
from reproduction.evidence.runs import MEASURES, Evidence, Measure, arm_names, failed
from reproduction.figures.style import ARMS, SLUGS, arm_style
from reproduction.figures.tables import groups
from reproduction.paths import PUBLISHED, ROOT
from reproduction.statistics import LEAST_T

MOST_SHOWN = 20
"""Maximum number of seeds of a comparison that is shown but not judged."""
GROUPS = {name: tuple(envs) for name, envs in groups(SUITE).items()}


@dataclass(frozen=True)
class Finding:
    """The outcome of one comparison.

    judged: whether the claim's verdict depends on it; the verdict of a finding that is not judged is "shown".
    published: as text; published_id: its id in published.csv; paper: the same value as a number in our unit. value,
    low, high: ours, with the interval that decides (None if there is none). last: the value by the last evaluation
    alone. seeds: the minimum over cells. steps: {environment: steps}. points: {arm or environment: single values}.
    failed: {arm: failed runs of how many}. scope: what the verdict generalises to.
    """

    what: str
    verdict: str
    reason: str
    judged: bool = True
    published: str = ""
    published_id: str = ""
    paper: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    last: float | None = None
    unit: str = ""
    seeds: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    points: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    scope: str = ""

    @property
    def measured(self) -> str:
        """Our value as text: value, interval, seeds and steps; empty if nothing was measured."""
        if self.value is None:
            return ""
        interval = f" [{self.low:.3g}, {self.high:.3g}]" if self.low is not None else ""
        last = "" if self.last in (None, self.value) else f" (last evaluation: {self.last:.3g})"
        seeds = f", {self.seeds} seed{'s' * (self.seeds != 1)}" if self.seeds else ""
        steps = sorted(set(self.steps.values()))
        at = f" at {' to '.join(f'{s:,}' for s in dict.fromkeys((steps[0], steps[-1])))} steps" if steps else ""
        return f"{self.value:.3g}{interval}{' ' * bool(self.unit)}{self.unit}{last}{seeds}{at}"

    @property
    def single(self) -> str:
        """The single values as text; empty if there are too many for one line."""
        if not self.points or sum(map(len, self.points.values())) > 40:
            return ""
        return "; ".join(f"{name}: {', '.join(f'{v:.3g}' for v in values)}" for name, values in self.points.items())


def _known(value: float) -> float | None:
    """None if `value` is not finite, such as a mean over the other environments when there is only one."""
    return value if np.isfinite(value) else None


# ---------------------------------------------------------------- published values


@cache
def published_values() -> dict[str, dict]:
    """The rows of published.csv by id; numbers as float, NaN if missing."""
    return {row["id"]: row for row in pd.read_csv(PUBLISHED).to_dict("records")}


@dataclass(frozen=True)
class Target:
    """A published value on our scale: from `least` to `most` (equal except for a range of matrix entries), its rounding
    error `slack`, its text, and whether it is a statistic of PUBLISHED_SEEDS runs with its own error."""

    least: float
    most: float
    slack: float
    text: str
    estimated: bool = True


@cache
def target(id_: str) -> Target:
    """The published value `id_`. A relative gain becomes the difference of its two scores: 58.1 % is 0.68 over 0.43, a
    difference of 0.25. TypeError if the id does not exist or no comparison measures it."""
    if id_ not in published_values():
        raise TypeError(f"there is no published value {id_}")
    row = published_values()[id_]
    metric, value = row["metric"], row["value"]
    if metric == "normalised AER":
        return Target(value, value, 0.005, f"{value:g}")
    if metric in ("AER", "AER/100"):
        value *= 100 if metric == "AER/100" else 1
        top = get_spec(row["env"]).score_high
        return Target(value / top, value / top, 0.5 / top, f"{value:g} (of {top:g})")
    if metric == "relative gain %":
        where = {(r["arm"], r["env"], r["split"]): r["value"] for r in published_values().values()
                 if r["metric"] == "normalised AER"}  # fmt: skip
        ours, other = (where[arm, row["env"], row["split"]] for arm in row["arm"].split(" vs "))
        text = f"{value:g} % ({ours:g} against {other:g}: {ours - other:.2g})"
        return Target(ours - other, ours - other, 0.01, text)
    if metric.startswith("cosine"):
        return Target(row["low"], row["high"], 0.0, f"{row['low']:g} to {row['high']:g}", estimated=False)
    raise TypeError(f"no comparison measures the published value {id_} ({metric})")


# ---------------------------------------------------------------- comparisons of runs


@dataclass(frozen=True)
class Comparison:
    """A comparison of runs. unit: a key of LOOKS. arms: one, or two of which the first is claimed to be higher.

    question: one of QUESTIONS, or "shown". name: of the group. steps: by default the benchmark's. leave_one_out: the
    answer must hold with any one environment of the group left out.
    """

    unit: str
    envs: tuple[str, ...]
    arms: tuple[str, ...]
    measure: Measure
    name: str
    published: str = ""
    steps: int | None = None
    leave_one_out: bool = False
    question: str = ""

    def __post_init__(self):
        for env in self.envs:
            try:
                get_spec(env)
            except UserError as error:
                raise TypeError(str(error)) from error
        for arm in self.arms:
            if arm.split("+")[0] not in ARMS:
                raise TypeError(f"there is no arm {arm}")
        if not self.envs or not 1 <= len(self.arms) <= 2:
            raise TypeError("a comparison needs at least one environment, and one or two arms")

    def _asks(self, question: str) -> "Comparison":
        if self.question:
            raise TypeError(f"this comparison already asks {self.question}")
        if (question == "agrees") != bool(self.published) and question != "shown":
            raise TypeError("agrees must be used for published values, and only for them")
        if question in ("same", "not worse", "agrees") and MEASURES[self.measure.metric][2] is None:
            raise TypeError(f"{self.measure.metric} has no range, so {question} is undefined")
        return replace(self, question=question)

    def better(self) -> "Comparison":
        """The first arm is higher or, with one arm, its value is above zero."""
        return self._asks("better")

    def same(self) -> "Comparison":
        """The arms differ by less than DELTA of the range or, with one arm, its value is that close to zero."""
        return self._asks("same")

    def not_worse(self) -> "Comparison":
        """The first arm is at most DELTA of the range lower."""
        return self._asks("not worse")

    def agrees(self) -> "Comparison":
        """Ours lies within DELTA of the range of the published value."""
        return self._asks("agrees")

    def shown(self) -> "Comparison":
        """Shown on the page but not judged."""
        return self._asks("shown")

    # ------------------------------------------------------------ properties

    @property
    def judged(self) -> bool:
        """Whether the claim's verdict depends on it."""
        return self.question != "shown"

    @property
    def seeds(self) -> int:
        """Seeds per cell needed to reproduce it; for a published value that is only shown, the paper's number."""
        if not self.judged and self.published:
            return PUBLISHED_SEEDS
        return LOOKS[self.unit][-1 if self.question in ("same", "not worse", "agrees") else 0]

    def length(self, env: str) -> int:
        """Training steps of its runs in `env`."""
        return self.steps or get_spec(env).gradient_steps

    @property
    def what(self) -> str:
        """Arms, environments and measure as text."""
        return f"{arm_names(self.arms)}, {self.name}: {self.measure.label}{', each left out' * self.leave_one_out}"

    @property
    def scope(self) -> str:
        """What its verdict generalises to, in a sentence."""
        if self.unit == "seeds":
            return f"Further seeds of these arms on {self.name}, but no other environment."
        if self.published:
            return f"Further seeds on these {len(self.envs)} environments of the paper."
        return (f"Environments of which these {len(self.envs)} are a sample: the differences between environments are "
                "the error, so one seed in each is enough.")  # fmt: skip

    def criterion(self, parts: int) -> str:
        """A sentence that states its question in numbers, as one of `parts` comparisons of a claim."""
        first, last = LOOKS[self.unit]
        delta = f"{self.region()[1] - (target(self.published).most if self.published else 0.0):.3g}"
        wide, narrow = f"{100 * (1 - ALPHA / parts):.4g} %", f"{100 * (1 - 2 * SAME / parts):.4g} %"
        where = {
            "better": f"reproduced if the {wide} interval lies above zero, contradicted if it lies below",
            "not worse": f"reproduced if the {narrow} interval lies above -{delta}, contradicted if the {wide} "
            "interval lies below",
            "same": f"reproduced if the {narrow} interval lies within {delta} of zero, contradicted if the {wide} "
            "interval lies beyond",
            "agrees": f"reproduced if the {narrow} interval lies within {delta} of the published value, contradicted "
            f"if the {wide} interval lies beyond",
        }[self.question]
        if self.question != "better":
            where += f"; reproduced only with {last} seeds"
        if self.published and target(self.published).estimated:
            how = "interquartile mean, including the error of the published value"
        elif self.unit == "environments":
            how = f"paired over {len(self.envs)} environments, Student's t"
        else:
            how = "Welch's t over seeds" if len(self.arms) == 2 else "Student's t over seeds"
        cells = "in each environment" if self.unit == "environments" else "of each arm"
        return f"{self.question} ({how}; evaluated with {first} and with {last} seeds {cells}): {where}."

    def in_paper(self) -> str:
        """The id of the published value for the same arms, environments and set, even if the question is not whether
        ours agrees with it; empty if there is none."""
        plain = Measure(split=self.measure.split)
        if self.measure != plain or self.steps or self.leave_one_out:
            return ""
        arms = " vs ".join(arm_style(arm).name for arm in self.arms)
        for id_, row in published_values().items():
            metric = "relative gain %" if len(self.arms) == 2 else "normalised AER"
            if (row["env"], row["split"], row["arm"], row["metric"]) == (self.name, self.measure.split, arms, metric):
                return id_
        return ""

    def in_numbers(self, parts: int) -> dict:
        """Its question as plain data, on the scale of `Finding.points`: question, unit, looks, whether its published
        value has its own error (`estimated`), the edges of what counts as the same, and, as one of `parts` comparisons,
        the levels of the intervals that decide "yes" and "no"."""
        top = self._scale()[0]
        goal = target(self.published) if self.published else None
        region = [edge * top for edge in self.region()] if MEASURES[self.measure.metric][2] is not None else None
        return {
            "question": self.question, "unit": self.unit, "looks": list(LOOKS[self.unit]), "parts": parts,
            "estimated": bool(goal and goal.estimated), "leave_one_out": self.leave_one_out, "region": region,
            "yes": 1 - (ALPHA if self.question == "better" else 2 * SAME) / parts, "no": 1 - ALPHA / parts,
        }  # fmt: skip

    # ------------------------------------------------------------ judging

    def estimate(self, cells: tuple[np.ndarray, ...]) -> Estimate:
        """The estimate from one array (..., environments, seeds) per arm. leave_one_out adds a last axis over
        environments."""
        if self.published and target(self.published).estimated:
            found = [interquartile(x) for x in cells]
            found = found[0] if len(found) == 1 else minus(*found)
            return found.widened(np.sqrt(1 + min(x.shape[-1] for x in cells) / PUBLISHED_SEEDS))
        if self.unit == "seeds":
            found = [x[..., 0, :] for x in cells]
            return one_sample(found[0]) if len(found) == 1 else welch(*found)
        means = [x.mean(axis=-1) for x in cells]
        difference = means[0] if len(means) == 1 else means[0] - means[1]
        if not self.leave_one_out:
            return one_sample(difference)
        n = difference.shape[-1]
        return one_sample(difference[..., [[j for j in range(n) if j != i] for i in range(n)]])

    def region(self, published: np.ndarray | None = None) -> tuple:
        """What counts as the same: DELTA of the range on either side of zero or of the published value (`published` for
        simulated studies)."""
        delta = DELTA * (MEASURES[self.measure.metric][2] or 1.0)
        if not self.published:
            return -delta, delta
        goal = target(self.published)
        least, most = (goal.least, goal.most) if published is None else (published, published)
        return least - delta, most + delta

    def judge(
        self, cells: tuple[np.ndarray, ...], parts: int = 1, published: np.ndarray | None = None
    ) -> tuple[Estimate, np.ndarray]:
        """Estimate and verdicts (indices) at the last look that the seeds allow; `cells` as in `estimate`."""
        seeds = min(x.shape[-1] for x in cells)
        look = look_at(self.unit, seeds) if self.judged else seeds
        found = self.estimate(tuple(x[..., : look or seeds] for x in cells))
        if not look or not self.judged:
            return found, np.full(np.shape(found.value), UNDECIDED)
        last = look == LOOKS[self.unit][-1]
        codes = decide(found, self.question, parts, last, self.region(published), self._slack)
        if self.leave_one_out:  # reproduced if reproduced in every subset, contradicted if contradicted in every subset
            agreed = [np.where((codes == code).all(axis=-1), code, UNDECIDED) for code in (REPRODUCED, CONTRADICTED)]
            codes = np.where(agreed[0] == REPRODUCED, REPRODUCED, agreed[1])
        return found, codes

    def find(self, evidence: Evidence, parts: int = 1) -> Finding:
        """The finding from the available runs."""
        cells = {
            (arm, env): evidence.values(env, arm, self.measure, self.length(env))
            for arm in self.arms
            for env in self.envs
        }
        lacking = self._lacking(cells)
        envs = [env for env in self.envs if all(cells[a, env] for a in self.arms)]
        top, unit = self._scale()
        common = {
            "what": self.what, "judged": self.judged, "published_id": self.published, "scope": self.scope,
            "published": target(self.published).text if self.published else "", "unit": unit,
        }  # fmt: skip
        if self._estimated:
            common["paper"] = target(self.published).least * top
        if not self.published and (id_ := self.in_paper()):
            common |= {"published": target(id_).text, "published_id": id_, "paper": target(id_).least * top}
        aside = []
        for arm in self.arms:
            shorter = {env: len(evidence.short(env, arm, self.length(env))) for env in self.envs}
            if n := sum(shorter.values()):
                runs, where = "runs do" if n > 1 else "run does", ", ".join(env for env in shorter if shorter[env])
                aside.append(f"{n} shorter {runs} not count ({arm_style(arm).name} on {where})")
        looks, wanted = LOOKS[self.unit], self.seeds if self.judged else LOOKS[self.unit][0]
        if not self.judged:  # no decision, so show all seeds from 0 on
            looks = range(looks[0], MOST_SHOWN + 1)
        have = {look: min(len(set(cell) & set(range(look))) for cell in cells.values()) for look in (*looks, wanted)}
        look = max((look for look in looks if have[look] == look), default=None)
        needs = self._needs(cells, wanted, have[wanted])
        if not envs:
            said = "; ".join([needs, f"no full-length run of {lacking}", *aside])
            return Finding(verdict=VERDICTS[NOT_CHECKED] if self.judged else "shown", reason=said, **common)
        chosen = range(look) if look else sorted(set(range(looks[-1])) & set.union(*map(set, cells.values())))
        if self.unit == "environments" and not look:  # the same seeds in every available environment
            chosen = sorted(set.intersection(*(set(cells[a, env]) for a in self.arms for env in envs)))
        numbers = {
            key: np.array([cell[s] for s in chosen if s in cell]) for key, cell in cells.items() if key[1] in envs
        }
        if not all(map(len, numbers.values())):
            return Finding(verdict=VERDICTS[UNDECIDED] if self.judged else "shown",
                           reason="the environments have no seed in common", **common)  # fmt: skip
        arrays, lasts = (tuple(np.array([numbers[a, env][:, i] for env in envs]) for a in self.arms) for i in (0, 1))
        found, code = self.judge(arrays, parts)
        pick = int(np.argmin(found.value)) if self.leave_one_out else ()
        found = Estimate(*(np.asarray(part)[pick] for part in (found.value, found.error, found.freedom)))
        last = np.asarray(self.judge(lasts, parts)[0].value)  # of the same seeds
        common |= {
            "value": _known(float(found.value) * top), "last": _known(float(last.min()) * top),
            "seeds": min(map(len, numbers.values())), "steps": {env: self.length(env) for env in envs},
            "points": self._points(numbers, envs, top), "failed": self._failed(numbers),
        }  # fmt: skip
        if lacking:
            common["unit"] += f" over {', '.join(envs)} alone"
        if look and not (self._estimated and look < LEAST_T):  # if seeds are the sample, two give no interval
            low, high = found.interval(self._level(int(code), parts), self._slack)
            common |= {"low": float(low) * top, "high": float(high) * top} if np.isfinite(low) else {}
        reason = self._reason(found, int(code), parts, look, needs, lacking)
        if self.unit == "environments" and len(self.arms) == 2 and not self.published and look:
            d = arrays[0].mean(axis=-1) - arrays[1].mean(axis=-1)
            p = stats.binomtest(int((d > 0).sum()), int((d != 0).sum()) or 1).pvalue
            reason += f"; higher in {(d > 0).sum()} of {len(d)} environments (sign test: p = {p:.2g})"
        if common["failed"]:
            reason += "; failed: " + ", ".join(f"{name} {said}" for name, said in common["failed"].items())
        verdict = VERDICTS[NOT_CHECKED if lacking else int(code)] if self.judged else "shown"
        return Finding(verdict=verdict, reason="; ".join([reason, *aside]), **common)

    def _needs(self, cells: dict, wanted: int, have: int) -> str:
        """The number of seeds needed and available or, with several environments, how many of them have none."""
        seeds = f"{wanted} seed{'s' * (wanted > 1)} needed"
        without = sum(not any(seed in cells[a, env] for a in self.arms for seed in range(wanted)) for env in self.envs)
        if without and len(self.envs) > 1:
            return f"{seeds} in each environment, {without} of {len(self.envs)} have none of full length"
        return f"{seeds}, {have} available"

    def _scale(self) -> tuple[float, str]:
        """The factor by which our numbers are multiplied for display, and their unit."""
        metric = published_values()[self.published]["metric"] if self.published else ""
        if metric in ("AER", "AER/100"):
            return get_spec(self.envs[0]).score_high, "AER"
        return 1.0, MEASURES[self.measure.metric][1] if metric != "normalised AER" else metric

    @property
    def _estimated(self) -> bool:
        """Whether it is compared with a published statistic over seeds."""
        return bool(self.published) and target(self.published).estimated

    @property
    def _slack(self) -> float:
        return target(self.published).slack if self.published else 0.0

    def _level(self, code: int, parts: int) -> float:
        """The level of the interval that decided, or failed to decide."""
        return 1 - (ALPHA if self.question in ("better", "shown") or code == CONTRADICTED else 2 * SAME) / parts

    def _lacking(self, cells: dict) -> str:
        """The environments and arms without a run, at most four by name."""
        names = [f"{env} ({', '.join(arm_style(a).name for a in self.arms if not cells[a, env])})"
                 for env in self.envs if not all(cells[a, env] for a in self.arms)]  # fmt: skip
        return ", ".join(names[:4]) + f" and {len(names) - 4} more" * (len(names) > 4)

    def _reason(self, found: Estimate, code: int, parts: int, look: int | None, needs: str, lacking: str) -> str:
        if lacking:
            return f"{needs}; no full-length run of {lacking}"
        if look is None:
            return needs
        if not self.judged:
            return "not judged"
        level = self._level(code, parts)
        low, high = found.interval(level, self._slack)
        if code == UNDECIDED and look < self.seeds:
            return needs
        region = self.region()
        zone = {"better": "zero", "not worse": f"{region[0]:.3g}"}.get(
            self.question, f"{region[0]:.3g} to {region[1]:.3g}"
        )
        around = self.question in ("same", "agrees")
        where = {
            REPRODUCED: "lies within" if around else "lies above",
            CONTRADICTED: "lies beyond" if around else "lies below",
            UNDECIDED: "crosses an edge of" if around else "crosses",
        }[code]
        reason = f"the {100 * level:.4g} % interval {where} {zone}"
        if code == UNDECIDED and self.unit == "seeds":
            n = seeds_needed(found, self.question, parts, look, region)
            reason += f"; at this value and spread, {f'{n} seeds' if n else 'no number of seeds'} would decide"
        elif code == UNDECIDED:
            reason += f"; over {len(self.envs)} environments its half-width is {float(high - found.value):.2g}"
        return reason + f" (at most {LOOKS[self.unit][-1]} are used)" * (code == UNDECIDED and self.unit == "seeds")

    def _points(self, numbers: dict, envs: list[str], top: float) -> dict[str, list[float]]:
        def rounded(values):
            return [float(f"{v:.4g}") for v in np.atleast_1d(values) * top]

        if self.unit == "seeds":
            return {arm_style(arm).name: rounded(numbers[arm, self.envs[0]][:, 0]) for arm in self.arms}
        means = {(arm, env): values[:, 0].mean() for (arm, env), values in numbers.items()}
        first, *other = self.arms
        return {env: rounded(means[first, env] - (means[other[0], env] if other else 0.0)) for env in envs}

    def _failed(self, numbers: dict) -> dict[str, str]:
        if (self.measure.metric, self.measure.contexts) != ("return", "mean"):
            return {}
        count = {
            arm: [failed(values[:, 0], FAILED) for (a, _), values in numbers.items() if a == arm] for arm in self.arms
        }
        runs = {arm: sum(len(values) for (a, _), values in numbers.items() if a == arm) for arm in self.arms}
        return {arm_style(arm).name: f"{sum(n)} of {runs[arm]}" for arm, n in count.items() if sum(n)}


def seeds(env: str, arm: str, other: str | None = None, *, steps: int | None = None, **measure) -> Comparison:
    """A comparison on one environment: an arm, or its difference from another. `measure`: fields of Measure."""
    return Comparison("seeds", (env,), (arm, other) if other else (arm,), Measure(**measure), env, steps=steps)


def group(
    envs: str | Iterable[str], arm: str, other: str, *, name: str = "", leave_one_out: bool = False, **measure
) -> Comparison:
    """A comparison over a group of the paper (All, Overlap, Non-overlap), or over a list of environments with a
    `name`."""
    if isinstance(envs, str) and envs not in GROUPS:
        raise TypeError(f"a group must be one of {', '.join(GROUPS)}, not {envs!r}")
    found, name = (GROUPS[envs], envs) if isinstance(envs, str) else (tuple(envs), name)
    return Comparison("environments", found, (arm, other), Measure(**measure), name, leave_one_out=leave_one_out)


def published(id_: str) -> Comparison:
    """A comparison with the published value `id_` by the same statistic of our runs: an interquartile mean, the
    difference of two, or the mean cosine of networks."""
    target(id_)
    row = published_values()[id_]
    arms, env, metric = tuple(SLUGS[name] for name in row["arm"].split(" vs ")), row["env"], row["metric"]
    measure = Measure(metric if metric.startswith("cosine") else "return", row["split"])
    unit = "environments" if env in GROUPS else "seeds"
    return Comparison(unit, GROUPS.get(env, (env,)), arms, measure, env, published=id_)


def published_ids(*words: str) -> tuple[str, ...]:
    """Ids of published values; "T9-1..3" stands for T9-1, T9-2, T9-3."""
    found = []
    for word in words:
        first, dots, last = word.partition("..")
        name, _, number = first.rpartition("-")
        found += [f"{name}-{i}" for i in range(int(number), int(last) + 1)] if dots else [word]
    return tuple(found)


# ---------------------------------------------------------------- checks without raw runs


@cache
def theorem_names() -> set[str]:
    """The theorems in proofs/."""
    return {
        name for path in (ROOT / "proofs").glob("*.v") for name in re.findall(r"^Theorem (\w+)", path.read_text(), re.M)
    }


@cache
def tests_in(file: str) -> set[str]:
    """The tests of a file in tests/."""
    path = ROOT / "tests" / file
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)) if path.exists() else set()


@dataclass(frozen=True)
class Proof:
    """Theorems that Coq must accept. refutes: they prove that the part called `what` does not hold."""

    what: str
    theorems: tuple[str, ...]
    refutes: bool = False
    judged = True


@dataclass(frozen=True)
class Twin:
    """Tests that must pass. refutes: if they pass, the part called `what` does not hold in general."""

    what: str
    nodes: tuple[str, ...]
    refutes: bool = False
    judged = True


@dataclass(frozen=True)
class Computed:
    """Findings computed by a function from scratch or from files other than raw runs."""

    function: Callable[[], list[Finding]]
    judged = True

    def __repr__(self):
        return f"Computed({self.function.__name__})"


@dataclass(frozen=True)
class Unjudged:
    """A part of a claim that cannot be checked here, and why."""

    what: str
    why: str
    judged = True


def proof(what: str, *theorems: str, refutes: bool = False) -> Proof:
    """Create a Proof. TypeError for a theorem that is not in proofs/."""
    if (ROOT / "proofs").is_dir() and (lost := [name for name in theorems if name not in theorem_names()]):
        raise TypeError(f"proofs/ has no theorem {lost[0]}")
    return Proof(what, theorems, refutes)


def twin(what: str, *nodes: str, refutes: bool = False) -> Twin:
    """Create a Twin. `nodes`: "test_file.py::test_name", or a test name in the file of the preceding node. TypeError
    for a test that does not exist."""
    found, file = [], ""
    for node in nodes:
        file = node.split("::")[0] if "::" in node else file
        found.append(f"{file}::{node.split('::')[-1]}")
        if (ROOT / "tests").is_dir() and node.split("::")[-1] not in tests_in(file):
            raise TypeError(f"tests/ has no {found[-1]}")
    return Twin(what, tuple(found), refutes)


def computed(function: Callable[[], list[Finding]]) -> Computed:
    """Create a Computed."""
    return Computed(function)


def unjudged(what: str, why: str) -> Unjudged:
    """Create an Unjudged."""
    return Unjudged(what, why)
