"""Claims: the decision rules, what is excluded and reported, and whether generated files are up to date."""

import contextlib
import dataclasses
import json
import re
import shutil
import subprocess
import zlib

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from rliable import metrics
from scipy import stats
from test_cli import call

from dmash_core.benchmark.contexts import distance_outside
from dmash_core.benchmark.suite import SUITE, get_spec
from dmash_core.errors import UserError
from dmash_core.methods import METHODS, get_method, replace
from dmash_core.training import raw_runs
from dmash_core.training.raw_runs import Run
from dmash_core.training.settings import TrainSettings
from dmash_core.training.trainer import Trainer
from reproduction import cli, figures, titles
from reproduction.claims import CLAIMS, get_claim, theory, training_cells
from reproduction.evidence import (
    CONTRADICTED,
    GROUPS,
    NOT_CHECKED,
    REPRODUCED,
    ROOT,
    UNDECIDED,
    Comparison,
    Evidence,
    Finding,
    cache,
    calibration,
    cells,
    check,
    checks,
    claim,
    combine,
    computed,
    decide,
    group,
    listings,
    missing_cells,
    proof,
    published,
    published_values,
    rules,
    seeds,
    show,
    twin,
    unjudged,
    welch,
    wordings,
)  # fmt: skip
from reproduction.evidence.claim import as_data, conclude, tally
from reproduction.evidence.comparisons import target, theorem_names
from reproduction.evidence.cost import price, speeds
from reproduction.evidence.forecast import cheapest, forecast, likely
from reproduction.evidence.rules import Estimate, interquartile, one_sample
from reproduction.evidence.runs import _NETWORKS, Measure, departure, rolled_out
from reproduction.sweep.grid import load_profile
from reproduction.theory import regret


@pytest.fixture(autouse=True)
def no_stored_verdicts(tmp_path, monkeypatch):
    """Keep tests from reading or writing the verdicts in build/."""
    monkeypatch.setattr(cache, "FOLDER", tmp_path / "verdicts")


STEPS, EVERY = 100_000, 5_000
WORDS = rules.VERDICTS


def make(arm="dr", seed=0, level=50.0, env="DI", steps=STEPS, noise=1.0, change=None, diverged=False, rows=(),
         version=2, rollouts=2):  # fmt: skip
    """A raw run with two contexts per set and a few rollouts. Returns are `level` (a number or a function of the step)
    plus Gaussian noise of standard deviation `noise`; `rows` are additional (step, metric, split, value)."""
    slug, *options = arm.split("+")
    options = {k: float(v) for k, _, v in (o.partition("=") for o in options)}
    rng = np.random.default_rng([seed, zlib.crc32(f"{env} {arm}".encode())])
    found = [
        {"step": step, "metric": "return", "split": split, "context": c, "rollout": r,
         "value": (level(step) if callable(level) else level) + noise * rng.standard_normal()}
        for step in range(0, steps + 1, EVERY) for split in raw_runs.SETS for c in range(2) for r in range(rollouts)
    ]  # fmt: skip
    none = {"context": None, "rollout": None}
    found += [{"step": s, "metric": m, "split": split, **none, "value": v} for s, m, split, v in rows]
    frame = pd.DataFrame(found).astype({"context": "Int16", "rollout": "Int16"})
    config = TrainSettings(env, slug, replace(get_method(slug), **options)).config()
    meta = {
        "env": env, "arm": arm, "seed": seed, "steps": steps, "schema_version": version,
        "config": config | (change or {}),
        "contexts": {split: [[0.1 + i, -1.0] for i in range(2)] for split in raw_runs.SETS}, "env_steps": steps,
        "started": "2026-12-01T00:00:00+00:00", "finished": "2026-12-02T00:00:00+00:00", "wall_time_s": 1.5,
        "machine": {}, "versions": {}, "git_commit": None, "git_dirty": None,
    }  # fmt: skip
    if diverged:
        meta["diverged"] = {"step": steps + 1, "reason": "the critic's loss is not finite"}
    return Run(raw_runs.run_path("runs", env, arm, seed), meta, frame)


def of(*found, **more):
    return Evidence("runs", found, **more)


def many(n, arm="dr", level=50.0, spread=0.0, **more):
    """`n` runs of an arm with levels evenly spaced from level - spread to level + spread."""
    levels = np.linspace(level - spread, level + spread, n)
    return [make(arm, seed, float(at), noise=0.01, **more) for seed, at in enumerate(levels)]


def find(plan, *found, parts=1):
    return plan.find(of(*found), parts)


BETTER = seeds("DI", "concat", "dr").better()


# ---------------------------------------------------------------- the rules


def test_estimates_by_seeds_are_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(2, 1, 10), rng.normal(0, 3, 12)
    theirs = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.97)
    assert welch(x, y).interval(0.97) == pytest.approx(tuple(theirs))
    assert one_sample(x).interval(0.9) == pytest.approx(tuple(stats.ttest_1samp(x, 0).confidence_interval(0.9)))
    stacked = welch(np.stack([x, x + 1]), np.stack([y[:10], y[2:]]))  # leading axes are studies
    assert stacked.value == pytest.approx([x.mean() - y[:10].mean(), x.mean() + 1 - y[2:].mean()])
    alike = welch([1.0] * 10, [0.0] * 10)
    assert alike.interval(0.97) == (1, 1)
    assert np.isnan(welch([1.0], [0.0, 1.0]).interval(0.97)).all()


def test_interquartile_mean_by_hand():
    """0 to 7: the mean of the middle four is 3.5; winsorised to 2, 2, 2, 3, 4, 5, 5, 5 the variance is 2."""
    found = interquartile(np.arange(8.0)[None])
    assert (found.value, found.error, found.freedom) == (3.5, 1.0, 3)  # sqrt(8 * 2 / 4^2), 4 - 1
    x = np.random.default_rng(1).normal(size=(13, 3))
    assert interquartile(x).value == pytest.approx(metrics.aggregate_iqm(x.T))
    apart = interquartile(np.array([[0.0] * 5, [100.0] * 5]))  # environments are fixed: their distance is not an error
    assert apart.error == 0
    failed = interquartile(np.array([[1.0] * 8 + [0.0] * 2]))  # trimmed here, but perhaps not in another study
    assert failed.value == 1 and failed.error == pytest.approx(np.std([1] * 8 + [0] * 2, ddof=1) / np.sqrt(10))


def test_an_interval_decides():
    t = stats.t.ppf(0.985, 9), stats.t.ppf(0.95, 9), stats.t.ppf(1 - 0.015 / 4, 9)

    def verdict(question, value, **more):
        return int(decide(Estimate(np.float64(value), np.float64(0.01), np.float64(9)), question, **more))

    assert [verdict("better", s * 0.01 * t[0]) for s in (1.01, 0.99, -0.99, -1.01)] == [0, 2, 2, 1]
    assert verdict("better", 0.01 * t[0] * 1.01, parts=4) == UNDECIDED  # four comparisons: a quarter of the error each
    assert verdict("better", 0.01 * t[2] * 1.01, parts=4) == REPRODUCED
    inside, outside = 0.05 - 0.01 * t[1], 0.05 + 0.01 * t[0]
    for question in ("same", "agrees"):
        assert [verdict(question, s * inside) for s in (0.99, 1.01, -0.99, -1.01)] == [0, 2, 0, 2]
        assert [verdict(question, s * outside) for s in (0.99, 1.01, -0.99, -1.01)] == [2, 1, 2, 1]
    assert [verdict("not worse", v) for v in (0.9, -0.99 * inside, -1.01 * inside, -1.01 * outside)] == [0, 0, 2, 1]
    # the first look can show a difference but not equality
    assert verdict("same", 0.0, last=False) == verdict("not worse", 0.0, last=False) == UNDECIDED
    assert verdict("same", 0.5, last=False) == CONTRADICTED and verdict("better", 0.5, last=False) == REPRODUCED
    assert verdict("agrees", 0.83, region=(0.74, 0.84)) == UNDECIDED  # half the interval is 0.018
    assert verdict("agrees", 0.79, region=(0.74, 0.84)) == REPRODUCED
    assert verdict("agrees", 0.79, region=(0.74, 0.84), slack=0.05) == UNDECIDED  # rounding counts against us
    with pytest.raises(TypeError, match="a question is one of"):
        verdict("sane", 0.0)


def test_findings_combine():
    r, c, u, n = REPRODUCED, CONTRADICTED, UNDECIDED, NOT_CHECKED
    cases = {(r,): r, (r, r): r, (r, c): c, (c, n): c, (r, u): u, (r, n): u, (u, n): u, (n, n): n}
    assert {codes: int(combine(codes)) for codes in cases} == cases
    every = [*[r] * 14, *[c] * 2]  # R1: two of sixteen that rise are not tolerated
    assert combine([every, [r] * 16]).tolist() == [c, r]


def test_two_looks_and_no_more():
    assert [rules.look_at("seeds", n) for n in (0, 9, 10, 19, 20, 50)] == [None, None, 10, 10, 20, 20]
    assert [rules.look_at("environments", n) for n in (0, 1, 2, 3, 10)] == [None, 1, 1, 3, 3]


def test_seeds_that_would_decide():
    """A difference of one standard error, 0.01: the interval must shrink by t, so the seeds grow by its square."""
    found = Estimate(np.float64(0.01), np.float64(0.01), np.float64(18))
    needed = rules.seeds_needed(found, "better", 1, 10, (-0.05, 0.05))
    assert needed == int(np.ceil(10 * stats.t.ppf(0.985, 18) ** 2))
    needed = rules.seeds_needed(found, "same", 1, 10, (-0.05, 0.05))
    assert needed == int(np.ceil(10 * (stats.t.ppf(0.95, 18) / 4) ** 2))
    assert rules.seeds_needed(dataclasses.replace(found, value=np.float64(0.0)), "better", 1, 10, (-1, 1)) is None


# ---------------------------------------------------------------- what is read from a run


def test_the_score_is_the_mean_of_the_last_five_evaluations():
    run = make(level=lambda step: step / 2000, noise=0.0)  # 0 to 50; the last five: 40, 42.5, 45, 47.5, 50
    value, last = of(run).values("DI", "dr", Measure(), STEPS)[0]
    assert (value, last) == (pytest.approx(0.45), pytest.approx(0.50))
    assert of(run).values("DI", "dr", Measure(when="whole"), STEPS)[0][0] == pytest.approx(0.25)
    value, last = of(run).values("DI", "dr", Measure(), 30_000)[0]  # a claim about the first 30,000 steps
    assert (value, last) == (pytest.approx(0.10), pytest.approx(0.15))
    assert of(run).values("DI", "dr", Measure(), 2 * STEPS) == {}


def test_rollouts_are_averaged_before_contexts_and_contexts_before_steps():
    """Two rollouts at all evaluations except the last, which has ten and yet has the same weight."""
    run = make(noise=0.0, level=10)
    frame, last = run.frame, run.frame["step"] == STEPS
    more = frame[last].loc[lambda rows: rows["rollout"] == 0]
    more = pd.concat([more.assign(rollout=r) for r in range(2, 10)])
    frame = pd.concat([frame, more], ignore_index=True)
    frame.loc[frame["step"] == STEPS, "value"] = 60.0
    # one context of a set has more rollouts than the other, with return 90
    frame.loc[(frame["step"] == STEPS) & (frame["split"] == "train") & (frame["context"] == 1), "value"] = 90.0
    extra = frame[(frame["step"] == STEPS) & (frame["split"] == "train") & (frame["context"] == 1)]
    frame = pd.concat([frame, extra.assign(rollout=lambda rows: rows["rollout"] + 10)], ignore_index=True)
    found = of(dataclasses.replace(run, frame=frame.astype({"rollout": "Int16", "context": "Int16"})))
    value, last = found.values("DI", "dr", Measure(), STEPS)[0]
    assert last == pytest.approx((0.75 + 0.6 + 0.6) / 3) and value == pytest.approx((4 * 0.1 + last) / 5)
    assert found.values("DI", "dr", Measure(split="train", contexts="min"), STEPS)[0][1] == pytest.approx(0.6)


def test_runs_that_diverged_keep_their_last_return():
    stopped = make(
        level=lambda step: 40.0, noise=0.0, steps=50_000, diverged=True, rows=[(50_000, "variability", "train", 1)]
    )
    assert of(stopped).values("DI", "dr", Measure(), STEPS)[0] == (pytest.approx(0.4), pytest.approx(0.4))
    assert of(stopped).values("DI", "dr", Measure(metric="variability", split="train"), STEPS) == {}
    short = make(level=40.0, steps=50_000)
    assert of(short).values("DI", "dr", Measure(), STEPS) == {} and of(short).short("DI", "dr", STEPS) == [0]


def test_diagnostics_are_not_scaled_and_may_be_missing():
    rows = [(step, "variability", "train", step / 1e5) for step in range(0, STEPS + 1, EVERY)]
    found = of(make(rows=rows), make(seed=1))
    assert found.values("DI", "dr", Measure(metric="variability", split="train"), STEPS) == {
        0: (pytest.approx(0.9), 1.0)
    }
    # a diagnostic without a split
    shadow = [(step, "shadow_actor", None, 3.0) for step in range(0, STEPS + 1, EVERY)]
    found = of(make(rows=shadow)).values("DI", "dr", Measure(metric="shadow_actor"), STEPS)
    assert found == {0: (3.0, 3.0)}


def test_the_fall_with_the_distance_by_hand():
    # DI trains masses 0.5 to 1.5; inversion is discrete. ODE trains both coefficients from -5 to 5
    di, ode = (get_spec(env).dimensions for env in ("DI", "ODE"))
    np.testing.assert_allclose(distance_outside(di, [[1.0, -1], [0.1, 1], [2.0, -1]]), [0, 0.4, 0.5])
    np.testing.assert_allclose(distance_outside(ode, [[5, -5], [8, -9]]), [0, 0.5])
    run = make(noise=0.0, level=80)
    run.meta["contexts"]["eval-out"] = [[0.4, -1.0], [0.1, 1.0]]  # 0.1 and 0.4 widths outside
    run.frame.loc[(run.frame["split"] == "eval-out") & (run.frame["context"] == 1), "value"] = 20.0
    fall = Measure(metric="fall", split="eval-out")
    value, last = of(run).values("DI", "dr", fall, STEPS)[0]
    assert value == last == pytest.approx(0.6 / 0.3)
    run.meta["contexts"]["eval-out"] = [[0.4, -1.0], [0.4, 1.0]]  # equal distances
    assert of(run).values("DI", "dr", fall, STEPS) == {}


def test_a_network_is_evaluated_by_the_protocol(tmp_path):
    """With the run's rollouts, its last recorded evaluation is reproduced; noise changes it."""
    options = dict(horizon=40, random_steps=80, eval_every=80, eval_rollouts=10)
    path = Trainer(TrainSettings("ODE", "dr", get_method("dr"), **options), [0], 160, tmp_path, progress=False).run()[0]
    run = raw_runs.read_run(path)
    last = run.frame[(run.frame["metric"] == "return") & (run.frame["step"] == run.meta["steps"])]["value"].mean()
    network = path.with_suffix(".safetensors")
    assert last > 0 and 200 * rolled_out(network, Measure().settings("ODE")) == pytest.approx(last, abs=1e-3)
    noisy = Measure(metric="rolled out", change=(("action_noise", 0.9),)).settings("ODE")
    assert 200 * rolled_out(network, noisy) != pytest.approx(last, abs=1e-3)
    other = Measure(metric="rolled out", change=(("unseen", (("friction", 0.5),)), ("delay", 3))).settings("DI")
    assert other.changes() == "delay 3, friction 0.5"
    assert Measure(metric="change", change=(("warm_up", 0.25),)).settings("DI").warm_up == 6


def test_networks_that_claims_look_into_can_be_committed():
    """An ignored network would give a verdict here that no clone has."""
    plans = [plan for one in CLAIMS.values() for plan in one.comparisons if plan.measure.metric in _NETWORKS]
    wanted = {raw_runs.run_path("runs", env, arm, seed).with_suffix(".safetensors")
              for plan in plans for env in plan.envs for arm in plan.arms for seed in range(10)}  # fmt: skip
    assert len(wanted) >= 80
    command = ["git", "-C", ROOT, "check-ignore", "--no-index", "--stdin"]
    said = subprocess.run(command, input="\n".join(map(str, sorted(wanted))), capture_output=True, text=True)
    if said.returncode not in (0, 1):
        pytest.skip(f"no repository here: {said.stderr}")
    assert said.stdout == "", "ignored, but claims look into them"


def test_networks_are_compared(tmp_path, monkeypatch):
    found = [make(arm, seed) for arm in ("concat", "dr") for seed in range(10)]
    found = [dataclasses.replace(run, path=tmp_path / run.path) for run in found]
    for run in found[:-1]:
        run.path.parent.mkdir(parents=True, exist_ok=True)
        run.path.with_suffix(".safetensors").touch()
    loss = {"dr": 0.05, "concat": 0.3}
    from reproduction.evidence import runs as reading

    def fake(path, settings):
        return 0.8 - loss[path.parent.name] * bool(settings.changes()) + 0.001 * int(path.stem[-1])

    monkeypatch.setattr(reading, "rolled_out", fake)
    change = {"metric": "change", "change": (("delay", 2),)}
    one = find(seeds("DI", "dr", **change).same(), *found)
    assert one.seeds == 9 and one.verdict == "undecided" and one.reason.startswith("20 seeds needed, 9 available")
    other = find(seeds("DI", "concat", **change).same(), *found)
    assert other.value == pytest.approx(-0.3) and other.verdict == "contradicted" and "with delay 2" in other.what
    found[-1].path.with_suffix(".safetensors").touch()
    pair = find(seeds("DI", "dr", "concat", metric="rolled out", change=(("delay", 2),)).better(), *found)
    assert pair.verdict == "reproduced" and pair.value == pytest.approx(0.25)


# ---------------------------------------------------------------- what is left out


def test_runs_that_cannot_be_used_are_named_and_left_out():
    old, other, good = make(seed=0, version=1), make(seed=1, change={"per_context": 6}), make(seed=2)
    named = make("concat", 3)
    named.meta["arm"] = "dr"  # the configuration of another arm
    evidence = of(old, other, good, dataclasses.replace(named, path=raw_runs.run_path("runs", "DI", "dr", 3)))
    assert list(evidence.runs) == [("DI", "dr", 2)]
    reasons = {path.stem: why for path, why in evidence.left_out.items()}
    assert reasons["seed-0"] == "version 1 of the raw runs, which another agent made"
    assert "per_context is 6 and not 12" in reasons["seed-1"] and "concat" in reasons["seed-3"]
    verdict = check(fake_claim(BETTER), evidence)
    assert len(verdict.left_out) == 3 and verdict.verdict == "not checked"
    said = show._left_out(dataclasses.replace(verdict, left_out=(("a", "old"), ("b", "new"), ("c", "old"))))
    assert said == ["a and 1 more: old", "b: new"]


def test_copies_count_for_nothing_and_are_named():
    """A copy under another seed's number: neither is used, since the original cannot be identified."""
    first, second = make(seed=0), make(seed=1)
    copy = dataclasses.replace(make(seed=4), frame=first.frame)
    elsewhere = dataclasses.replace(make("concat", seed=4), frame=first.frame)
    evidence = of(first, second, copy, elsewhere)
    assert list(evidence.runs) == [("DI", "dr", 1)] and len(evidence.left_out) == 3
    assert "runs/DI/dr/seed-4.parquet" in evidence.left_out[first.path]
    nudged = first.frame.copy()
    nudged.loc[0, "value"] = np.nextafter(nudged.loc[0, "value"], 1e9)
    assert len(of(first, dataclasses.replace(copy, frame=nudged)).runs) == 2


def test_bad_files_and_backups(tmp_path, monkeypatch):
    path = put(tmp_path, monkeypatch, seed=0)
    shutil.copytree(tmp_path / "DI", tmp_path / "backup" / "DI")
    broken = put(tmp_path, monkeypatch, seed=1)
    broken.write_bytes(broken.read_bytes()[:-20])
    evidence = Evidence(tmp_path)
    assert list(evidence.runs) == [("DI", "dr", 0)]
    assert sorted(why[:9] for why in evidence.left_out.values()) == ["a copy of", "not a comp"[:9]]
    assert path.exists()


def put(root, monkeypatch, **more):
    """Write a run of `make` to a file."""
    monkeypatch.setattr(raw_runs, "SCHEMA_VERSION", 2)
    run = make(**more, rollouts=10)
    path = root / run.path.relative_to("runs")
    raw_runs.write_run(path, run.frame, {k: v for k, v in run.meta.items() if k != "schema_version"})
    return path


# ---------------------------------------------------------------- comparisons by seeds


def test_below_ten_seeds_there_are_points_and_no_interval():
    found = find(BETTER, *many(9, "concat", 80, 2), *many(9, "dr", 20, 2))
    assert (found.verdict, found.reason) == ("undecided", "10 seeds needed, 9 available")
    assert found.value == pytest.approx(0.6, abs=1e-3) and found.low is None and found.high is None and found.seeds == 9
    assert found.points["DR"][0] == pytest.approx(0.18, abs=1e-3) and len(found.points["Concat"]) == 9
    assert found.single.startswith("Concat: 0.78, ") and "9 seeds at 100,000 steps" in found.measured
    none = find(BETTER, *many(9, "concat"))
    assert none.verdict == "not checked" and none.reason.startswith(
        "10 seeds needed, 0 available; no full-length run of DI"
    )
    assert none.value is None and not none.measured


def test_the_last_evaluation_is_of_the_same_seeds():
    """If one arm has more seeds, only as many as the other's count, also for the last evaluation."""
    found = find(BETTER, make("concat", 0, 60.0, noise=0.0), make("concat", 1, 90.0, noise=0.0),
                 make("dr", 0, 20.0, noise=0.0))  # fmt: skip
    assert found.value == pytest.approx(0.4) == pytest.approx(found.last)


def test_ten_seeds_decide_an_order():
    up = find(BETTER, *many(10, "concat", 60, 5), *many(10, "dr", 20, 5))
    theirs = stats.ttest_ind(np.linspace(0.55, 0.65, 10), np.linspace(0.15, 0.25, 10), equal_var=False)
    assert up.verdict == "reproduced" and (up.low, up.high) == pytest.approx(
        tuple(theirs.confidence_interval(0.97)), abs=2e-3
    )
    assert up.reason.startswith("the 97 % interval lies above zero") and up.steps == {"DI": STEPS}
    down = find(seeds("DI", "dr", "concat").better(), *many(10, "concat", 60, 5), *many(10, "dr", 20, 5))
    assert down.verdict == "contradicted" and down.value == pytest.approx(-up.value)
    tie = find(BETTER, *many(10, "concat", 50, 5), *many(10, "dr", 49, 5))
    assert tie.verdict == "undecided" and re.search(r"at this value and spread, \d+ seeds would decide", tie.reason)
    shown = find(seeds("DI", "concat", "dr").shown(), *many(10, "concat", 60, 5), *many(10, "dr", 20, 5))
    assert (shown.verdict, shown.judged, shown.reason) == ("shown", False, "not judged") and shown.low == up.low


def test_only_the_seeds_of_a_look_count():
    """Between looks, additional seeds change nothing; seeds beyond the last look never count."""
    ten = [*many(10, "concat", 60, 5), *many(10, "dr", 20, 5)]
    more = [make("dr", seed, 100.0) for seed in range(10, 19)]
    assert find(BETTER, *ten, *more).value == find(BETTER, *ten).value
    both = [*more, make("dr", 19, 100.0), *(make("concat", seed, 60.0) for seed in range(10, 20))]
    late = find(BETTER, *ten, *both)
    assert late.seeds == 20 and late.value == pytest.approx(0.0, abs=0.01)
    beyond = [make("dr", seed, 100.0) for seed in range(20, 30)]
    assert find(BETTER, *ten, *beyond).value == find(BETTER, *ten).value
    nine = find(BETTER, *ten[:19], *beyond)  # other seeds cannot replace a missing one
    assert nine.reason == "10 seeds needed, 9 available"


def test_what_is_shown_has_all_seeds_from_0_on():
    plan = seeds("DI", "concat", "dr").shown()
    runs_ = [*many(14, "concat", 60, 5), *many(13, "dr", 20, 5)]
    assert find(plan, *runs_).seeds == 13 and find(plan, *runs_).low is not None
    value = np.linspace(0.55, 0.65, 14)[:13].mean() - 0.2
    assert find(plan, *runs_).value == pytest.approx(value, abs=1e-3)
    few = find(plan, *many(4, "concat", 60, 5), *many(3, "dr", 20, 5))
    assert few.low is None and few.verdict == "shown" and few.reason == "10 seeds needed, 3 available"


def test_the_same_is_shown_with_twenty_seeds():
    same = seeds("DI", "concat", "dr").same()
    ten = [*many(10, "concat", 50, 1), *many(10, "dr", 50.5, 1)]
    assert find(same, *ten).verdict == "undecided" and find(same, *ten).reason == "20 seeds needed, 10 available"
    twenty = [*many(20, "concat", 50, 1), *many(20, "dr", 50.5, 1)]
    found = find(same, *twenty)
    assert found.verdict == "reproduced" and found.reason.startswith("the 90 % interval lies within -0.05 to 0.05")
    far = find(same, *many(10, "concat", 60, 1), *many(10, "dr", 50, 1))
    assert far.verdict == "contradicted" and far.reason.startswith("the 97 % interval lies beyond -0.05 to 0.05")
    worse = find(seeds("DI", "concat", "dr").not_worse(), *many(20, "concat", 47, 1), *many(20, "dr", 50, 1))
    assert worse.verdict == "reproduced" and worse.value < 0


def test_delta_is_a_share_of_the_measures_range():
    """0.05 of ln 20 nats is 0.15: a loss of 0.1 nats is not worse, a loss of 0.3 is."""

    def arm(name, value):
        return [make(name, seed, rows=[(step, "informativeness", "train", value + 0.001 * seed)
                for step in range(0, STEPS + 1, EVERY)]) for seed in range(20)]  # fmt: skip

    plan = seeds("DI", "concat", "dr", metric="informativeness", split="train").not_worse()
    verdicts = [find(plan, *arm("concat", 2 - loss), *arm("dr", 2)).verdict for loss in (0.1, 0.3)]
    assert verdicts == ["reproduced", "contradicted"]


def test_failed_runs_are_counted_and_shown():
    found = [*many(8, "concat", 60, 1), make("concat", 8, 29.0), make("concat", 9, 31.0), *many(10, "dr", 60, 1)]
    said = find(BETTER, *found)
    assert said.failed == {"Concat": "1 of 10"} and said.reason.endswith("; failed: Concat 1 of 10")  # half of 60 is 30
    assert find(BETTER, *many(10, "concat", 60, 1), *many(10, "dr", 60, 1)).failed == {}


def test_shorter_runs_do_not_count_and_are_named():
    short = [make("dr", 0, 20.0, steps=50_000), *many(10, "dr", 20)[1:]]
    found = find(BETTER, *many(10, "concat", 80), *short)
    assert found.reason == "10 seeds needed, 9 available; 1 shorter run does not count (DR on DI)"
    everywhere = [make("concat", env=env, steps=50_000) for env in ("ODE", "Walker")]
    reason = find(group("All", "concat", "dr").better(), *many(10, "concat", 80), *short, *everywhere).reason
    aside = "2 shorter runs do not count (Concat on ODE, Walker); 1 shorter run does not count (DR on DI)"
    assert "12 of 13 have none of full length" in reason and reason.endswith(aside)
    cut = seeds("DI", "concat", "dr", steps=50_000).better()
    assert find(cut, *many(10, "concat", 80), *short).verdict == "reproduced"


# ---------------------------------------------------------------- comparisons by environments

TOYS = ("DI", "DI-Perm", "DI-Friction", "ODE")
OVER = group(TOYS, "dma-star-sh", "dr", name="toys").better()


def toys(differences, seeds=1):
    """Runs of both arms on the toys, the first better by these differences of the scaled return."""
    return [
        run for env, d in zip(TOYS, differences, strict=True) for seed in range(seeds)
        for run in (make("dr", seed, 40.0 * get_spec(env).score_high / 100, env=env, noise=1e-6),
                    make("dma-star-sh", seed, (0.4 + d) * get_spec(env).score_high, env=env, noise=1e-6))
    ]  # fmt: skip


def test_one_seed_in_every_environment_decides_over_a_group():
    d = [0.3, 0.32, 0.28, 0.34]
    found = find(OVER, *toys(d))
    theirs = stats.ttest_1samp(d, 0).confidence_interval(0.97)
    assert found.verdict == "reproduced" and (found.low, found.high) == pytest.approx(tuple(theirs), abs=1e-6)
    assert found.seeds == 1 and found.reason.endswith("higher in 4 of 4 environments (sign test: p = 0.12)")
    assert found.points["ODE"] == [pytest.approx(0.34)] and "one seed in each is enough" in found.scope
    # better in three of four environments, but zero on average
    mixed = find(OVER, *toys([0.05, 0.05, 0.05, -0.15]))
    assert mixed.verdict == "undecided" and "higher in 3 of 4" in mixed.reason
    assert find(OVER, *toys([-0.3, -0.32, -0.28, -0.34])).verdict == "contradicted"


def test_every_environment_has_the_same_seeds():
    two = [*toys([0.3, 0.32, 0.28, 0.34]), *(make(arm, 1, 100.0) for arm in ("dr", "dma-star-sh"))]
    assert find(OVER, *two).value == find(OVER, *toys([0.3, 0.32, 0.28, 0.34])).value and find(OVER, *two).seeds == 1
    found = find(OVER, *toys([0.3, 0.32, 0.28, 0.34], seeds=3))
    assert found.seeds == 3 and found.verdict == "reproduced"
    lacking = find(OVER, *(run for run in two if run.meta["env"] != "ODE"))
    assert lacking.verdict == "not checked" and lacking.value is not None and lacking.low is None
    assert "ODE (DMA*-SH, DR)" in lacking.reason and lacking.unit.endswith("over DI, DI-Perm, DI-Friction alone")


def test_leaving_one_environment_out():
    plan = group(TOYS, "dma-star-sh", "dr", name="toys", leave_one_out=True).better()
    assert find(plan, *toys([0.3, 0.32, 0.28, 0.34])).verdict == "reproduced"
    one_against = find(plan, *toys([0.3, 0.32, 0.28, -0.2]))  # holds only if ODE is left out
    assert one_against.verdict == "undecided"
    carried = [0.9, 0.01, -0.01, 0.0]
    found = find(plan, *toys(carried))
    assert found.verdict == "undecided" and found.value == pytest.approx(0.0, abs=1e-6)  # the minimum, with DI left out
    assert find(plan, *toys([-0.3, -0.32, -0.28, -0.34])).verdict == "contradicted"
    alone = find(plan, *(run for run in toys([0.3, 0.32, 0.28, 0.34]) if run.meta["env"] == "DI"))
    assert alone.verdict == "not checked" and alone.value is alone.last is None  # not NaN, which JSON lacks


# ---------------------------------------------------------------- published values


def test_published_values_on_our_scale():
    assert target("N-32").least == 0.79 and target("N-32").slack == 0.005
    assert target("listing-3").least == pytest.approx(0.71) and target("listing-3").slack == pytest.approx(0.005)
    assert target("T2-1").least == pytest.approx(0.967) and target("T2-1").slack == pytest.approx(0.0005)
    gain = target("T9-10")  # 58.1 % is 0.68 over 0.43
    assert gain.least == pytest.approx(0.25) and gain.slack == 0.01 and gain.text == "58.1 % (0.68 against 0.43: 0.25)"
    assert (target("F4-6").least, target("F4-6").most, target("F4-6").estimated) == (0.14, 0.23, False)
    for row in published_values().values():  # every gain is the ratio of its two scores, up to their rounding
        if row["metric"] == "relative gain %":
            where = {(r["arm"], r["env"], r["split"]): r["value"] for r in published_values().values()}
            ours, other = (where[arm, row["env"], row["split"]] for arm in row["arm"].split(" vs "))
            low, high = (100 * ((ours + e) / (other - e) - 1) for e in (-0.005, 0.005))
            assert low < row["value"] < high, row["id"]
    with pytest.raises(TypeError, match="no published value N-99"):
        target("N-99")


def test_agreement_with_a_published_value():
    """T7: 71 on DI-Friction, within the training range."""
    plan = get_claim("T7").comparisons[0]
    assert (plan.published, plan.question, plan.envs) == ("listing-3", "agrees", ("DI-Friction",))
    runs_ = many(20, "dma-star-sh", 72, 2, env="DI-Friction")
    found = find(plan, *runs_)
    scores = np.array([plan_value(run) for run in runs_])
    half = interquartile(scores[None]).error * np.sqrt(3) * stats.t.ppf(0.95, 9) + 0.005  # ten more seeds; rounding
    assert found.verdict == "reproduced" and found.high - found.value == pytest.approx(100 * half)
    assert found.value == pytest.approx(72, abs=0.1) and found.unit == "AER" and found.paper == pytest.approx(71)
    assert find(plan, *many(20, "dma-star-sh", 75, 2, env="DI-Friction")).verdict == "undecided"
    assert find(plan, *many(20, "dma-star-sh", 85, 2, env="DI-Friction")).verdict == "contradicted"
    assert find(plan, *many(10, "dma-star-sh", 72, 2, env="DI-Friction")).reason == "20 seeds needed, 10 available"
    shown = find(published("listing-10").shown(), *runs_)
    assert shown.verdict == "shown" and shown.paper == pytest.approx(62)


def plan_value(run):
    rows = run.frame[(run.frame["metric"] == "return") & (run.frame["split"] == "eval-in")]
    return rows[rows["step"] > STEPS - 5 * EVERY].groupby(["step", "context"])["value"].mean().mean() / 100


def test_values_of_a_group_are_judged_over_all_its_environments_or_not_at_all():
    """T2 and T9: a score and gains over 13 environments."""
    levels = {"dma-star-sh": 79.0, "dr": 54.0, "concat": 70.0}

    def study(envs, seeds):
        return [make(arm, seed, level * get_spec(env).score_high / 100, env=env, steps=get_spec(env).gradient_steps)
                for env in envs for arm, level in levels.items() for seed in range(seeds)]  # fmt: skip

    score = get_claim("T2").comparisons[0]
    assert (score.published, score.question, len(score.envs)) == ("N-32", "agrees", 13)
    alone = find(score, *study(["DI"], 3))
    assert alone.verdict == "not checked" and alone.value == pytest.approx(0.79, abs=0.01) and alone.low is None
    assert alone.reason.startswith(
        "3 seeds needed in each environment, 12 of 13 have none of full length; no full-length run of DI-Friction"
    )
    assert "over DI alone" in alone.unit
    one, three = study(SUITE, 1), study(SUITE, 3)
    assert find(score, *three).verdict == "reproduced" and find(score, *three).low is not None
    assert find(score, *one).reason == "3 seeds needed, 1 available" and find(score, *one).value is not None
    t9 = get_claim("T9")
    assert t9.parts == 2 and [plan.arms[1] for plan in t9.comparisons if plan.judged] == ["dr", "concat"]
    found = check(t9, of(*one))  # one seed decides the sign and shows the size
    assert found.verdict == "reproduced" and found.seeds == 1
    sizes = {one.published_id: one for one in found.findings}
    assert sizes["T9-10"].value == pytest.approx(0.25, abs=0.01) and sizes["T9-10"].paper == pytest.approx(0.25)
    assert sizes["T9-10"].verdict == "shown" and sizes["T9-10"].low is None
    assert sizes["T9-12"].value is None and "no full-length run" in sizes["T9-12"].reason  # no runs of DA


def test_cosines_lie_within_the_published_entries(tmp_path, monkeypatch):
    from reproduction.evidence import runs as reading

    found = [dataclasses.replace(run, path=tmp_path / run.path) for run in many(20, "dma-star-sh")]
    for run in found:
        run.path.parent.mkdir(parents=True, exist_ok=True)
        run.path.with_suffix(".safetensors").touch()

    def verdict(value):
        monkeypatch.setattr(
            reading, "_cosines", lambda path: {"across": value + 0.001 * int(path.stem[5:]), "within": 1}
        )
        return find(published("F4-6").agrees(), *found).verdict  # 0.14 to 0.23, give or take 0.1

    assert [verdict(v) for v in (0.05, 0.18, 0.30, 0.36, -0.2)] == [
        "reproduced", "reproduced", "reproduced", "contradicted", "contradicted"
    ]  # fmt: skip


# ---------------------------------------------------------------- claims as functions


@pytest.fixture(autouse=True)
def claims_in_order():
    """Restore the register after each test, including its order, which tables follow."""
    before = dict(CLAIMS)
    yield
    CLAIMS.clear()
    CLAIMS.update(before)


def fake_claim(*plans, monkeypatch=None, id_="X", **more):
    """A claim that yields `plans`, registered and then removed."""

    def body():
        """Rule.

        Reason."""
        yield from plans

    words = {"where": "here", "kind": "table"} | more
    try:
        return claim(id_, "DMA*-SH above DMA* and DMA", **words)(body)
    finally:
        CLAIMS.pop(id_, None)


def test_every_claim_and_every_published_value_is_there():
    wanted = "A.1 A.2 A.3 A.5 A.6 A.7 A.8 A.15 A.17 A.18 T1 T2 T6 T7 T8 T9 F2 F3 F4 tSNE S6.5 G1 G2 G3".split()
    ours = {"L1", "C1", "N1", "N2", "N3"}
    assert set(CLAIMS) == {*wanted, *ours, *(f"F{i}" for i in range(10, 19)), *(f"R{i}" for i in range(1, 9))}
    assert {id_ for c in CLAIMS.values() for id_ in c.published} == set(published_values())
    assert {c.id for c in CLAIMS.values() if c.headline} == {
        "A.7", "T2", "T9", "F2", "F3", "S6.5", "F15", "G2", "L1", "R1"
    }  # fmt: skip
    for c in CLAIMS.values():
        judged = [plan for plan in c.comparisons if plan.judged]
        assert len({plan.unit for plan in judged}) <= 1, c.id  # hence one kind of sample
        assert all(len(sentence) > 20 for sentence in (c.rule + c.reason + c.rule, c.statement)), c.id
    assert get_claim("R1").parts == 16 and get_claim("F2").parts == 7 and get_claim("A.1").parts == 1
    assert "98.12 % interval lies above zero" not in get_claim("F2").criteria[0]
    assert "the 99.57 % interval lies above zero" in get_claim("F2").criteria[0]  # 0.03 / 7
    with pytest.raises(UserError, match="unknown claim 'F99'"):
        get_claim("F99")


def test_groups_are_those_of_the_paper():
    assert len(GROUPS["All"]) == 13  # ODE-k, the fourteenth row of Table 1, is a family
    assert set(GROUPS["Overlap"]) == {"DI-Friction", "BallInCup", "Walker", "WalkerGym", "HopperGym"}


@pytest.mark.parametrize(
    "plan, said",
    [
        (lambda: seeds("DI", "dma-star", "dma-star-causal").sane(), "no attribute 'sane'"),
        (lambda: seeds("DI", "dma-start").better(), "no arm dma-start"),
        (lambda: seeds("DJ", "dma-star").better(), "unknown environment 'DJ'"),
        (lambda: seeds("DI", "dma-star", "dr", splits="train").better(), "unexpected keyword argument 'splits'"),
        (lambda: seeds("DI", "dma-star", "dr", split="trian").better(), "split must be one of train"),
        (lambda: seeds("DI", "dma-star", "dr", metric="variabilty").better(), "metric must be one of return"),
        (lambda: seeds("DI", "dma-star", change=(("dealy", 2),)).better(), "dealy"),
        (lambda: group("Al", "dma-star", "dr").better(), "a group must be one of All"),
        (lambda: seeds("DI", "dma-star", "dr"), "not a comparison with a question"),
        (lambda: seeds("DI", "dma-star", "dr").better().same(), "already asks better"),
        (lambda: seeds("DI", "dma-star", "dr").agrees(), "agrees must be used for published values"),
        (lambda: published("N-32").better(), "agrees must be used for published values"),
        (lambda: published("N-99").agrees(), "no published value N-99"),
        (lambda: published("A7-1").agrees(), "no comparison measures"),
        (lambda: seeds("DI", "dma", "dr", metric="variability").same(), "has no range"),
        (lambda: proof("p", "A1_concat_cant"), "no theorem A1_concat_cant"),
        (lambda: twin("t", "test_theory.py::test_a1"), "no test_theory.py::test_a1"),
        (lambda: "better", "not a comparison with a question"),
        (lambda: seeds("DI", "dma", "dr").shown(), "no judged comparison"),
    ],
)
def test_misspellings_fail_when_a_claim_is_loaded(plan, said):
    def body():
        """Rule.

        Reason."""
        yield plan()

    with pytest.raises(TypeError, match=re.escape(said)):
        claim("X", "statement", where="here", kind="table")(body)
    assert "X" not in CLAIMS


def test_what_else_a_claim_needs():
    def bare():
        """Only a rule."""
        yield BETTER

    with pytest.raises(TypeError, match="needs a docstring: its rule, an empty line, and the reason"):
        claim("X", "statement", where="here", kind="table")(bare)
    with pytest.raises(TypeError, match="headlin"):
        fake_claim(BETTER, headlin=True)
    with pytest.raises(TypeError, match="its kind must be one of"):
        fake_claim(BETTER, kind="tabel")
    with pytest.raises(TypeError, match="its id unused"):
        claim("T9", "statement", where="here", kind="table")(get_claim_body())
    with pytest.raises(TypeError, match="no published value A7-9"):
        fake_claim(BETTER, published=["A7-9"])


def get_claim_body():
    def body():
        """Rule.

        Reason."""
        yield BETTER

    return body


def test_a_claim_divides_its_errors_and_judges_what_it_says():
    found = [*many(10, "concat", 53, 5), *many(10, "dr", 49.2, 5), *many(10, "da", 49.2, 5)]
    one = check(fake_claim(BETTER), of(*found))
    assert one.verdict == "reproduced" and one.seeds == 10 and one.trained.startswith("2026-12-02")
    assert len(one.used) == 20 and not one.missing
    both = check(fake_claim(BETTER, seeds("DI", "concat", "da").better()), of(*found))
    assert both.verdict == "undecided" and "98.5 % interval" in both.reason
    shown = check(fake_claim(BETTER, seeds("DI", "concat", "da").shown()), of(*found))
    assert shown.verdict == "reproduced" and [f.judged for f in shown.findings] == [True, False]
    data = json.loads(json.dumps(dataclasses.asdict(shown), allow_nan=False))
    assert Finding(**data["headline"]) == shown.headline


def test_what_a_claim_needs_follows_from_its_comparisons():
    evidence = of(*many(10, "concat", 60, 5), *many(9, "dr", 20, 5))
    assert [cell.key for cell in missing_cells(fake_claim(BETTER), evidence)] == [("DI", "dr", 9)]
    decided = of(*many(10, "concat", 60, 5), *many(10, "dr", 20, 5))
    assert missing_cells(fake_claim(BETTER), decided) == []
    tied = of(*many(10, "concat", 50, 5), *many(10, "dr", 49, 5))  # undecided: needs the second look
    assert {cell.seed for cell in missing_cells(fake_claim(BETTER), tied)} == set(range(10, 20))
    same = seeds("DI", "concat", "dr").same()
    assert len(missing_cells(fake_claim(same), of(*many(10, "concat")))) == 30
    assert len(missing_cells(fake_claim(BETTER, seeds("ODE", "concat", "dr").shown()), of())) == 20
    stopped = of(*many(10, "concat", 60, 5), *many(9, "dr", 20, 5), make("dr", 9, 20.0, steps=50_000, diverged=True))
    assert missing_cells(fake_claim(BETTER), stopped) == []  # it would diverge again


def test_the_profile_paper_has_what_every_claim_needs():
    trained = {cell.key: cell.steps for cell in load_profile("paper", claims=training_cells)}
    absent = set()
    for c in CLAIMS.values():
        for plan in c.comparisons:
            wanted, lost = cells(plan, plan.seeds)
            absent |= set(lost)
            assert not [cell for cell in wanted if trained.get(cell.key, 0) < cell.steps], c.id
    assert absent <= {"DI with dma-star-sh-whole"}  # an arm that was added with the chunked hypernetwork


# ---------------------------------------------------------------- without raw runs


def test_tests_are_run_and_can_contradict(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('x', [0, 1])\ndef test_good(x): pass\n"
        "@pytest.mark.parametrize('x', [0, 1])\ndef test_bad(x): assert x\n"
        "def test_skipped(): pytest.skip('no')\n"
    )
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    monkeypatch.setattr(checks, "_outcomes", {})
    names = ("test_good", "test_bad", "test_skipped")
    plans = [checks.Twin("w", (f"test_a.py::{name}",)) for name in names]
    checks.run_tests(plans)
    found = [checks.check_twin(plan) for plan in plans]
    assert [f.verdict for f in found] == ["reproduced", "contradicted", "not checked"]
    assert found[1].reason == "test_bad: failed"
    found = [checks.check_twin(dataclasses.replace(plan, refutes=True)) for plan in plans]
    assert [f.verdict for f in found] == ["contradicted", "undecided", "not checked"]
    both = checks.Twin("w", ("test_a.py::test_good", "test_a.py::test_bad"))
    assert checks.check_twin(both).verdict == "contradicted"
    lost = checks.check_twin(checks.Twin("w", ("test_b.py::test_c",)))
    assert lost.verdict == "not checked" and "test_b.py" in lost.reason


def fake_proofs(monkeypatch, stdout, code=0):
    checks.proved.cache_clear()
    monkeypatch.setattr(checks.shutil, "which", lambda tool: f"/bin/{tool}")
    done = subprocess.CompletedProcess([], code, stdout, "Error: it does not hold")
    monkeypatch.setattr(checks.subprocess, "run", lambda *a, **k: done)


def test_proofs(monkeypatch):
    one = proof("w", "A1_adapter_can")
    try:
        fake_proofs(monkeypatch, "make: x\nExpressivity.A1_adapter_can: no axioms\nproofs: 1 main theorems\n")
        found = checks.check_proof(one)
        assert found.verdict == "reproduced" and found.reason == "proved; rests on no axioms"
        assert checks.check_proof(dataclasses.replace(one, refutes=True)).verdict == "contradicted"
        assert checks.check_proof(dataclasses.replace(one, theorems=("A9_unknown",))).verdict == "undecided"
        fake_proofs(monkeypatch, "", 2)
        found = checks.check_proof(one)
        assert found.verdict == "undecided" and "it does not hold" in found.reason
        checks.proved.cache_clear()
        monkeypatch.setattr(checks.shutil, "which", lambda tool: None)
        found = checks.check_proof(one)
        assert found.verdict == "not checked" and "lacks make, coqc, coqchk" in found.reason
        # passing tests do not replace a proof that could not be run
        assert conclude([found, Finding("twin", "reproduced", "1 passes")]) == ("not checked", found.reason)
        assert conclude([found, Finding("twin", "contradicted", "1 fails")])[0] == "contradicted"
    finally:
        checks.proved.cache_clear()


def test_a_claim_can_say_that_it_is_not_judged():
    found = check(get_claim("tSNE"), of())
    assert found.verdict == "not checked" and "no number in a t-SNE picture" in found.reason
    half = check(fake_claim(unjudged("a", "b"), computed(lambda: [Finding("c", "reproduced", "d")])), of())
    assert half.verdict == "undecided"


@pytest.mark.parametrize("gap, verdict", [(0.1, "reproduced"), (-0.1, "contradicted"), (0.0, "undecided")])
def test_noise_of_codes(monkeypatch, gap, verdict):
    """A.6 with fake fits: ten networks of each class, the concatenating ones worse by `gap`."""
    rows = [
        {"setting": setting, "class": kind, "noise": size, "parameters": n, "seed": s,
         "error": 0.1 + gap * (kind == "concatenating") + 0.01 * s}
        for setting, size in theory.NOISES.items()
        for kind, n in (("concatenating", 90), ("modulated", 40)) for s in range(10)
    ]  # fmt: skip
    sizes = [{"setting": s, "class": k, "parameters": n, "reached": 10 * (n > 30)} for s in theory.NOISES
             for k in ("concatenating", "modulated") for n in (30, 60, 90)]  # fmt: skip
    theory._noise.cache_clear()
    monkeypatch.setattr(theory.expressivity, "noise_experiment", lambda *a: (rows, sizes))
    found = theory.noise()
    theory._noise.cache_clear()
    assert [f.verdict for f in found] == [verdict] * 3 + ["shown"] * 3 and found[0].value == pytest.approx(gap)
    assert "concatenating more than 30 and up to 60" in found[3].reason
    few = [row for row in rows if row["seed"]]
    monkeypatch.setattr(theory.expressivity, "noise_experiment", lambda *a: (few, sizes))
    assert [f.verdict for f in theory.noise()][:3] == ["undecided"] * 3
    theory._noise.cache_clear()


def test_costs(monkeypatch, tmp_path):
    """Parameters are counted; speed and memory must have the published sign and half to twice the published size."""
    monkeypatch.setattr(theory, "ROOT", tmp_path)
    monkeypatch.setattr(theory, "_parameters", lambda env, arm: {"dma-star-sh": 104, "da": 100, "dma": 80}[arm])
    (tmp_path / "benchmarks").mkdir()
    assert [f.verdict for f in theory.efficiency()] == [
        "reproduced", "not checked", "not checked", "contradicted", "not checked", "not checked"
    ]  # fmt: skip
    rows = [{"env": "DI", "arm": a, "ms_per_step": ms, "peak_mib": m} for a, ms, m in
            (("dma-star-sh", 10, 100), ("da", 14, 90), ("dma", 4, 85))]  # fmt: skip
    (tmp_path / "benchmarks" / "a.json").write_text(json.dumps(rows))
    found = theory.efficiency()
    assert [f.verdict for f in found[1:3]] == ["reproduced", "contradicted"]  # 40 % faster; 11 % more memory, not less
    assert [f.verdict for f in found[4:]] == ["reproduced", "reproduced"] and found[4].value == pytest.approx(150)


def test_regret_of_one_policy_for_all_contexts():
    """One policy works for two masses and two frictions; none of the family works for both signs of the action."""
    few = {"DI": [[0.7, 1.0], [1.3, -1.0]], "DI-Friction": [[0.7, 0.7], [1.3, 1.3]]}
    found = {env: regret.worst_case_regret(env, np.array(contexts)) for env, contexts in few.items()}
    assert found["DI"] > 0.9 and found["DI-Friction"] < 0.1
    assert regret.worst_case_regret("DI", np.array([[0.7, -1.0], [1.3, -1.0]])) < 0.1  # found if there is one


def test_regret_is_judged_by_the_class_of_the_environment(monkeypatch):
    values = {"DI": 0.9, "DI-Perm": 0.05, "DI-Friction": 0.05, "ODE": 0.3}
    monkeypatch.setattr(theory, "_regret", values.get)
    assert [f.verdict for f in theory.regret()] == ["reproduced", "contradicted", "reproduced", "undecided"]
    monkeypatch.setattr(theory, "_regret", lambda env: 0.9)
    assert theory.regret()[2].verdict == "contradicted"  # DI-Friction is classified as overlapping


def test_returns_of_policies_by_hand():
    """Under inversion the reflected controller equals the original, and all policies get the same initial states."""
    theta = np.array([[-2.0, 0, -2, 0], [0, -2, 0, -2]])
    both = np.array([[1.0, 1.0], [1.0, -1.0]])
    found = regret.returns("DI", np.stack([theta, -theta])[:, None], both, starts=3, seed=0)
    assert found.shape == (2, 2) and found[0, 0] > 70 and found[0, 1] == 0 and found[1, 1] > 70
    own = regret.returns("DI", np.stack([[theta, -theta]]), both, starts=3, seed=0)  # (1, C, 2, 4): one per context
    np.testing.assert_array_equal(own, [[found[0, 0], found[1, 1]]])


# ---------------------------------------------------------------- wordings


def test_no_wording_has_changed_without_a_row():
    assert not wordings.changed(), "run: dmash claims --record WHY"
    rows = wordings.ledger()
    assert set(rows) == {wordings.RULES, *CLAIMS}
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["date"]) and row["why"]
        for of in rows.values()
        for row in of
    )


def test_every_change_of_a_rule_is_seen(monkeypatch):
    before = wordings.digest("F12"), wordings.digest(wordings.RULES)
    c = get_claim("F12")
    changes = [
        {"statement": c.statement + "!"},
        {"rule": c.rule + "!"},
        {"plans": (dataclasses.replace(c.plans[0], question="same"), *c.plans[1:])},
        {"plans": (c.plans[0], dataclasses.replace(c.plans[1], question="better"))},
        {"plans": (dataclasses.replace(c.plans[0], measure=Measure(split="train")), *c.plans[1:])},
    ]
    for change in changes:
        monkeypatch.setitem(CLAIMS, "F12", dataclasses.replace(c, **change))
        assert wordings.digest("F12") != before[0], change
    monkeypatch.setitem(CLAIMS, "F12", c)
    assert wordings.digest("F12") == before[0]
    assert wordings._code("x = 0.03  # a\ndef f():\n    'b'\n    return 1") == wordings._code(
        "x = 0.03\ndef f():\n    return 1"
    )
    assert wordings._code("x = 0.03") != wordings._code("x = 0.05")
    assert wordings.digest(wordings.RULES) == before[1]


def test_a_changed_rule_is_recorded_and_shown(tmp_path, monkeypatch):
    """Two wordings, each in the commit that added it; then the order of wording and runs."""
    path = tmp_path / "wordings.csv"
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert wordings.record("first", path) == [wordings.RULES, *CLAIMS] and wordings.record("again", path) == []
    assert wordings.ledger(path)["F12"][0]["commit"] == ""
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    c = get_claim("F12")
    monkeypatch.setitem(CLAIMS, "F12", dataclasses.replace(c, rule="Another."))
    assert wordings.changed(path) == ["F12"] and wordings.record("it asked for too little", path) == ["F12"]
    subprocess.run([*git, "commit", "-qam", "two"], check=True)
    wordings._commits.cache_clear()
    rows = wordings.ledger(path)["F12"]
    log = subprocess.run([*git, "log", "--format=%H"], check=True, capture_output=True, text=True).stdout.split()
    assert (
        len(rows) == 2
        and [bool(full.startswith(r["commit"])) for full, r in zip(log[::-1], rows, strict=True)] == [True] * 2
    )
    newest, oldest = wordings.said(rows)
    assert newest.startswith("2 of 2: ") and newest.endswith(f"commit {rows[1]['commit']}: it asked for too little")
    assert oldest.endswith(": first")


def test_a_rule_is_marked_by_its_history(tmp_path, monkeypatch):
    """By the dates stored in the ledger and in the runs, so a clone without history gives the same."""
    path = tmp_path / "wordings.csv"
    x = fake_claim(BETTER)
    monkeypatch.setattr(wordings, "earlier", lambda: ())

    def mark(mine, shared, *found, before=(), arms=""):
        rows = [f"X,0,{mine},first", f"rules,0,{shared},first,{arms}" if arms else f"rules,0,{shared},first"]
        path.write_text("\n".join(["id,digest,date,why,arms", *rows]) + "\n")
        monkeypatch.setattr(wordings, "earlier", lambda: before)
        line = wordings.timeline(x, of(*found), path)
        return line.mark, line.said()

    early, late = "2026-12-01T12:00:00Z", "2026-12-02T12:00:00Z"
    run, other = make(), make("concat")  # finished on 2026-12-02 at 00:00
    assert mark(early, early) == (
        "no data yet",
        "Worded on 2026-12-01 12:00; no raw runs have been judged by it yet.",
    )
    fixed = mark(early, early, run)
    assert (
        fixed[0] == wordings.FIXED
        and "worded on 2026-12-01 12:00; the first of its runs ended on 2026-12-02 00:00" in fixed[1]
    )
    after = mark(late, early, run, other)
    assert after[0] == wordings.AFTER
    assert after[1].startswith(
        "Changed after the data, on 2026-12-02 12:00: 2 of the 2 runs that it uses had ended by then"
    )
    assert mark(early, late, run)[0] == wordings.AFTER  # the shared rules count too
    assert mark(early, late, run, arms="amago da")[0] == wordings.FIXED  # but not where they concern other arms
    assert mark(early, late, run, arms="amago dr")[0] == wordings.AFTER
    assert mark(early, early, make("da"))[0] == wordings.OPEN  # a run of another arm is not data of this claim
    seen = (
        {"what": "run", "id": "runs/DI/dr/seed-0.parquet", "date": "2026-11-01T00:00:00Z", "commit": "a", "why": ""},
    )
    again = mark(early, early, run, before=seen)
    assert again[0] == wordings.AGAIN and "1 run of an earlier agent had been seen by then" in again[1]
    none = fake_claim(computed(lambda: []))
    assert wordings.timeline(none, of(), path).mark == wordings.NONE


def test_no_page_says_fixed_before_the_data_where_the_ledger_says_otherwise():
    """The actual claims: T9 shares rules that were changed after two of its runs had ended."""
    evidence = Evidence(ROOT / "runs")
    marks = {id_: wordings.timeline(c, evidence).mark for id_, c in CLAIMS.items()}
    assert marks["T9"] == marks["R1"] == wordings.AFTER
    assert {marks[id_] for id_ in ("F3", "F4", "F15", "L1")} <= {wordings.AFTER, wordings.AGAIN}
    assert marks["A.1"] == wordings.NONE
    assert len(wordings.timeline(get_claim("F4"), evidence).of("earlier wording")) == 3


def test_the_history_before_the_ledger_is_gits():
    """earlier.csv matches git's history, if the commits are available; it never changes."""
    rows = wordings.earlier()
    assert {row["what"] for row in rows} == {"wording", "run"} and len(rows) == 96
    shallow = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True
    )
    if shallow.stdout.strip() != "false":
        pytest.skip("no history here")
    for commit in {row["commit"] for row in rows}:
        said = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%ct", commit], capture_output=True, text=True)
        dates = {pd.Timestamp(row["date"]).timestamp() for row in rows if row["commit"] == commit}
        assert dates == {float(said.stdout)}, commit


# ---------------------------------------------------------------- counting, cost, forecast


def test_checks_are_counted_by_area_and_once():
    rows = [("training", "undecided", ""), ("theory", "reproduced", ""), ("cost", "contradicted", ""),
            ("cost", "contradicted", "A.7")]  # fmt: skip
    assert {area: dict(count) for area, count in tally(rows).items() if count} == {
        "training": {"undecided": 1}, "theory": {"reproduced": 1}, "cost": {"contradicted": 1}
    }  # fmt: skip
    assert get_claim("R7").same_as == "A.7" and get_claim("A.7").same_as == ""
    areas = {id_: c.area for id_, c in CLAIMS.items()}
    assert (areas["A.18"], areas["T1"], areas["A.7"], areas["R7"]) == ("theory", "benchmark", "cost", "cost")
    assert {areas[id_] for id_ in ("T2", "F15", "tSNE", "R3", "R8", "C1")} == {"training"}
    lines = show.area_lines([("A.18", "theory", "contradicted", ""), ("T9", "training", "not checked", "")])
    assert lines[0] == "Training, 1 check: 0 reproduced, 1 not checked."
    assert lines[1] == "Theory, 1 check: 0 reproduced, 1 contradicted (contradicted: A.18)."


def test_published_ids_lead_to_their_claims():
    for id_ in published_values():
        name, value = titles.claim_of(id_.upper())
        assert value == id_ and id_ in get_claim(name).published, id_
    assert titles.claim_of("tsne") == ("tSNE", "") and titles.claim_of("Headline-1") == ("T9", "headline-1")
    assert titles.titles() == {id_: c.title for id_, c in CLAIMS.items()}
    assert max(map(len, titles.titles().values())) < 70
    with pytest.raises(UserError, match=r"unknown claim 'F99'.*T9 \(Gains over DR and Concat\)"):
        titles.claim_of("F99")


def test_numbers_of_the_paper_stand_beside_what_is_not_compared_to_them():
    """T9 compares an order; the paper's gain is shown next to it, as a difference of the same two scores."""
    plan = get_claim("T9").comparisons[0]
    assert plan.in_paper() == "headline-1" and not plan.published
    found = check(get_claim("T9"), of()).findings[0]
    assert found.published.startswith("58.1 %") and found.paper == pytest.approx(0.25)
    assert seeds("DI", "dma-star-sh", "dr", contexts="min").better().in_paper() == ""


def test_costs_of_runs():
    known = speeds(of(make("dr"), make("concat")))  # 100,000 steps in 1.5 s
    assert known["DI", "dr"] == known["", "concat"] == pytest.approx(STEPS / 1.5)
    there, _ = cells(BETTER, 2)
    cost = price(there, known)
    assert (len(cost.cells), cost.guessed, cost.hours) == (4, 0, pytest.approx(4 * 1.5 / 3600))
    elsewhere, _ = cells(seeds("ODE", "concat", "dr").better(), 1)
    assert price(elsewhere, known).guessed == 2 and "measured in other environments" in str(price(elsewhere, known))


def test_a_forecast_needs_three_seeds_and_keeps_to_the_rule():
    two, three = ([*many(n, "concat", 60, 5), *many(n, "dr", 20, 5)] for n in (2, 3))
    assert "fewer than 3 seeds" in likely(BETTER, of(*two), 1)
    assert re.search(r"at 10 seeds is 0\.\d+ to 0\.\d+: reproduced", likely(BETTER, of(*three), 1))
    tie = [*many(4, "concat", 50, 9), *many(4, "dr", 49.9, 9)]
    assert likely(BETTER, of(*tie), 1).endswith("20 seeds will not decide it")
    assert "at 20 seeds" in likely(
        seeds("DI", "concat", "dr").same(), of(*many(4, "concat", 50, 1), *many(4, "dr", 50, 1)), 1
    )
    assert forecast(fake_claim(OVER), of()) == ["no forecast: too few environments, so the spread is unknown"]
    x, y = fake_claim(BETTER, id_="X"), fake_claim(seeds("ODE", "concat", "dr").better(), id_="Y")
    evidence = of(*many(9, "concat", 60, 5), *many(10, "dr", 20, 5))
    assert [(one.id, len(cost.cells)) for one, cost in cheapest([y, x], evidence)] == [("X", 1), ("Y", 20)]


def test_verdicts_are_kept_until_something_changes(tmp_path, monkeypatch):
    runs_ = tmp_path / "runs"
    put(runs_, monkeypatch, arm="dr", seed=0)
    x = fake_claim(BETTER)

    def load(claim=x):
        return cache.load(claim, cache.digest(claim, runs_))

    verdict, key = check(x, Evidence(runs_)), cache.digest(x, runs_)
    assert load() is None
    cache.store(x, verdict, key)
    assert load() == verdict
    assert load(dataclasses.replace(x, rule="Another.")) is None
    path = put(runs_, monkeypatch, arm="concat", seed=0)
    assert load() is None
    path.unlink()
    assert load() == verdict
    monkeypatch.setattr(cache, "TOOLS", ("sh",))  # a different set of tools on this machine
    assert load() is None
    kinds = {
        id_: {path.parts[-2] for path in cache.reads(get_claim(id_), ROOT / "runs")} for id_ in ("A.1", "A.7", "T9")
    }
    assert "proofs" in kinds["A.1"] and "tests" in kinds["A.1"] and "benchmarks" in kinds["A.7"]
    assert "dma-star-sh" in kinds["T9"] and "proofs" not in kinds["T9"]


def test_a_run_that_ends_during_a_check_does_not_count_as_checked(tmp_path, monkeypatch):
    """Its verdict is of the runs before, so the next call checks again."""
    runs_, x, checked = tmp_path / "runs", fake_claim(BETTER), []
    put(runs_, monkeypatch, arm="dr", seed=0)
    monkeypatch.setattr(cache, "FOLDER", tmp_path / "verdicts")
    monkeypatch.setitem(CLAIMS, "X", x)

    def check_while_training(claim, evidence):
        if not checked:
            put(runs_, monkeypatch, arm="concat", seed=0)
        checked.append(sorted(evidence.runs))
        return check(claim, evidence)

    monkeypatch.setattr("reproduction.evidence.check", check_while_training)
    for _ in range(3):
        with contextlib.suppress(SystemExit):  # 3: not checked
            cli._check_one("X", "", runs_, False, 1, False, False)
    assert [len(keys) for keys in checked] == [1, 2]


def test_a_claim_in_a_terminal_says_once_what_is_missing():
    said = show.describe(get_claim("T9"), check(get_claim("T9"), of()), of())
    assert said.count("Walker,") == 1 and "58.1 %" in said and "no number" not in said
    assert "Cheetah" in said and "\nforecast" in said and "make claim ID=T9" in said


# ---------------------------------------------------------------- calibration


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(show.CALIBRATION)


def test_no_rule_is_wrong_more_often_than_its_bound(table):
    bounded = table[~table["limit"]]
    assert (bounded["false"] <= calibration.BOUND).all() and calibration.BOUND == 0.06
    limits = table.loc[table["limit"], ["rule", "truth"]].agg(": ".join, axis=1).tolist()
    assert len(limits) == 4 and all(
        "1 in 10" in one or "equal means" in one or "nothing on average" in one for one in limits
    )
    # a row for every rule and for every claim decided by raw runs
    cells_ = [*calibration.rule_cells(), *calibration.claim_cells()]
    assert table[["rule", "truth"]].to_numpy().tolist() == [[name, truth.name] for name, _, truth in cells_]
    judged = {c.id for c in CLAIMS.values() if any(plan.judged for plan in c.comparisons)}
    assert judged <= set(table["rule"])
    questions = {(plan.question, plan.unit) for c in CLAIMS.values() for plan in c.comparisons if plan.judged}
    assert questions <= {(plan.question, plan.unit) for _, plans, _ in calibration.rule_cells() for plan in plans}
    assert show.CALIBRATION.with_suffix(".md").read_text() == show.calibration_page(table)


def test_the_table_is_that_of_the_rules_as_they_are(table):
    """Simulate a cell of each kind again: the same numbers, for every study."""
    kept = {("better", "equal arms"), ("same", "different by just 0.05"), ("agrees with a gain", "the published one"),
            ("better without each environment", "equal arms"), ("not worse, one arm", "the opposite"),
            ("F2", "as claimed"), ("T7", "the opposite"), ("R1", "one comparison the opposite")}  # fmt: skip
    again = [
        cell for cell in (*calibration.rule_cells(), *calibration.claim_cells()) if (cell[0], cell[2].name) in kept
    ]
    assert len({(name, truth.name) for name, _, truth in again}) == len(kept)
    for name, plans, truth in again:
        row = calibration.row(name, plans, truth)
        found = table[
            (table["rule"] == name) & (table["truth"] == truth.name) & (table["sample"] == row["sample"])
        ].iloc[0]
        for column in ("false", "right_1", "right_2"):
            assert found[column] == pytest.approx(row[column], rel=1e-4, nan_ok=True), (name, truth.name, column)


def test_a_weaker_rule_breaks_the_bound(monkeypatch):
    """The table under the earlier rules: three seeds, the same level at every look, every comparison at full error."""
    equal = calibration.Truth("equal arms", "equal")

    def false(plans, truth=equal, n=4000):
        return calibration.row("x", plans, truth, n)["false"]

    two = seeds("DI", "dma-star-sh", "dr")
    with monkeypatch.context() as patch:
        patch.setattr(rules, "ALPHA", 0.05)
        assert false([two.better()]) > calibration.BOUND
    with monkeypatch.context() as patch:
        patch.setattr(Comparison, "judge", _without_bonferroni)
        plans = [plan for plan in get_claim("F2").comparisons if plan.judged]
        assert false(plans) > 2 * calibration.BOUND
    fails = calibration.Truth("the first arm fails 1 in 5", "equal", fails="first", spread=0.01)
    with monkeypatch.context() as patch:
        patch.setitem(rules.LOOKS, "seeds", (3, 5))
        assert false([two.same()], fails) > 3 * calibration.BOUND
    assert false([two.same()], fails) < 0.02


_judge = Comparison.judge


def _without_bonferroni(self, cells, parts=1, published=None):
    return _judge(self, cells, 1, published)


def test_simulated_truths_are_what_they_say():
    """The mean difference of simulated arms, the published value, and the verdicts that a truth rules out."""
    truths = {"claimed": 0.15, "equal": 0.0, "edge": -0.05, "opposite": -0.15}
    for effect, gap in truths.items():
        question = seeds("DI", "dma-star-sh", "dr")
        question = question.not_worse() if effect == "edge" else question.better()
        offsets = calibration._offsets([question], calibration.Truth("x", effect))
        measure = Measure(), "dma-star-sh", ("DI",)
        assert offsets[measure] - offsets[Measure(), "dr", ("DI",)] == pytest.approx(gap)
    chain = [plan for plan in get_claim("F17").comparisons if plan.judged]
    levels = [calibration._offsets(chain, calibration.CLAIMED)[Measure(), arm, ("DI",)] for arm in
              ("dma-star-sh", "dma-pearl", "pearl")]  # fmt: skip
    assert levels[0] - levels[1] >= 0.15 - 1e-9 and levels[1] - levels[2] >= 0.15 - 1e-9
    better, same = [seeds("DI", "dma", "dr").better()], [seeds("DI", "dma", "dr").same()]
    verdicts = calibration._verdicts
    assert verdicts(better, calibration.EQUAL) == ({CONTRADICTED, REPRODUCED}, None)
    assert verdicts(same, calibration.EQUAL) == ({CONTRADICTED}, REPRODUCED)
    assert (
        verdicts(better, calibration.OPPOSITE)
        == verdicts(same, calibration.FIRST_FAILS)
        == ({REPRODUCED}, CONTRADICTED)
    )
    assert verdicts(same, calibration.Truth("edge", "edge")) == ({REPRODUCED}, None)


# ---------------------------------------------------------------- the command, and what is written


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wordings, "LEDGER", tmp_path / "none.csv")
    monkeypatch.setattr(titles, "titles", lambda: {"X": "", "Y": ""})
    x = fake_claim(BETTER)
    CLAIMS.clear()
    CLAIMS.update(X=x, Y=dataclasses.replace(x, id="Y", headline=True))
    for seed in range(10):
        put(tmp_path / "runs", monkeypatch, arm="concat", seed=seed, level=60.0)
    say = ("claims", "--runs", tmp_path / "runs")
    assert call(monkeypatch, *say, "--id", "X") == 3
    assert "10 seeds needed, 0 available" in capsys.readouterr().out
    for seed in range(10):
        put(tmp_path / "runs", monkeypatch, arm="dr", seed=seed, level=20.0)
    assert call(monkeypatch, *say, "--id", "X") == 0
    said = capsys.readouterr().out
    assert "VERDICT     reproduced" in said and "in numbers" in said and "decided\n" in said
    assert "reproduced if the 97 % interval lies above zero" in " ".join(said.split()) and "20 raw runs used" in said
    monkeypatch.setattr("reproduction.evidence.check", None)  # stored verdicts are not recomputed
    assert call(monkeypatch, *say, "--id", "x") == 0
    assert capsys.readouterr().out == said
    monkeypatch.undo()
    monkeypatch.setattr(wordings, "LEDGER", tmp_path / "none.csv")
    monkeypatch.setattr(titles, "titles", lambda: {"X": "", "Y": ""})
    monkeypatch.setattr(cache, "FOLDER", tmp_path / "verdicts")
    monkeypatch.setattr(raw_runs, "SCHEMA_VERSION", 2)
    assert call(monkeypatch, *say, "--id", "X", "--json") == 0
    assert json.loads(capsys.readouterr().out)["result"]["verdict"] == "reproduced"
    assert call(monkeypatch, *say, "--id", "Z") == 2
    assert "unknown claim 'Z'" in capsys.readouterr().err
    assert call(monkeypatch, *say, "--out", tmp_path / "c.json", "--json") == 0
    printed = json.loads(capsys.readouterr().out)["claims"]
    rows = json.loads((tmp_path / "c.json").read_text())["claims"]
    assert printed == rows and [(row["id"], row["result"]["verdict"]) for row in rows] == [
        ("X", "reproduced"), ("Y", "reproduced")
    ]  # fmt: skip
    assert rows[0]["result"]["findings"][0]["seeds"] == 10 and rows[0]["criteria"]
    assert call(monkeypatch, "claims", "--train") == 2


def test_training_is_never_started_unasked_and_only_what_is_missing(tmp_path, monkeypatch):
    from reproduction.sweep import sweep

    asked = []
    monkeypatch.setitem(CLAIMS, "X", fake_claim(BETTER))
    monkeypatch.setattr(titles, "titles", lambda: {"X": ""})
    monkeypatch.setattr(sweep.Sweep, "run", lambda self: asked.extend(self.cells))
    for seed in range(9):
        put(tmp_path, monkeypatch, arm="dr", seed=seed)
        put(tmp_path, monkeypatch, arm="concat", seed=seed)
    put(tmp_path, monkeypatch, arm="dr", seed=9)
    call(monkeypatch, "claims", "--runs", tmp_path, "--id", "X")
    assert not asked
    call(monkeypatch, "claims", "--runs", tmp_path, "--id", "X", "--train")
    assert [cell.key for cell in asked] == [("DI", "concat", 9)]


def test_a_table_above_the_bound_fails(tmp_path, monkeypatch, capsys, table):
    monkeypatch.setattr(show, "CALIBRATION", tmp_path / "t.csv")
    monkeypatch.setattr(show.write_calibration, "__defaults__", (tmp_path / "t.csv",))
    monkeypatch.setattr(calibration, "calibrate", lambda: table)
    assert call(monkeypatch, "claims", "--calibrate") == 0
    assert (tmp_path / "t.csv").read_bytes() == (ROOT / "docs" / "calibration.csv").read_bytes()
    bad = table.assign(false=table["false"].where(table.index != 3, 0.061))
    monkeypatch.setattr(calibration, "calibrate", lambda: bad)
    assert call(monkeypatch, "claims", "--calibrate") == 1


def test_tables_for_reading():
    x = fake_claim(BETTER)
    text, other = (f"before\n{show.BEGIN}\nold\n{show.END}\nafter".format(name, name) for name in ("claims", "runs"))
    once = show.with_table(text, "new")
    assert once == text.replace("old", "new") == show.with_table(once, "new")
    assert show.with_table(text + other, "new", "runs") == text + other.replace("old", "new")
    with pytest.raises(UserError, match="lacks"):
        show.with_table("nothing", "new")
    short = make("concat", level=lambda step: step / 1000, env="ODE", noise=0.0, steps=50_000)
    long = make("dr", level=lambda step: step / 1000, env="ODE", noise=0.0)
    evidence = of(*many(10, "concat", 60, 5), *many(2, "dr", 20, 5), make("da", noise=0.0), short, long)
    assert listings.results_table(evidence).splitlines() == [
        "| environment | steps | seeds | DR | Concat | DA |",
        "|---|---:|---:|---:|---:|---:|",
        "| DI | 100,000 | 1-10 | 20.0 | 60.0 ±2.4 | 50.0 |",  # two seeds: no interval
        "| ODE | 50,000 | 1 | 40.0 | 40.0 |  |",  # both at the same step: the mean of 30, 35, ..., 50
    ]
    levels = np.linspace(55, 65, 10)
    assert stats.sem(levels) * stats.t.ppf(0.975, 9) == pytest.approx(2.4, abs=0.05)
    evidence = of(*many(10, "concat", 60, 5), *many(10, "dr", 20, 5))
    page = show.comparisons_page([check(x, evidence)], {"X": x}, evidence)
    assert figures.aer_markdown(figures.aer_table(list(evidence.runs.values()))) in page
    assert page.count("| X |") == 1 and "| reproduced: the 97 % interval lies above zero |" in page
    assert "No comparison has enough raw runs" in show.comparisons_page([check(x, of())], {"X": x}, of())


def test_a_run_of_every_arm_counts():
    assert {arm: departure(make(arm)) for arm in METHODS} == dict.fromkeys(METHODS)


def test_table_of_single_runs():
    diverged = make("dr", 1, 30.0, noise=0.0, steps=50_000, diverged=True)
    found = of(make("concat", 3, lambda step: step / 1000, noise=0.0), diverged, make("dma-star-h", noise=0.0))
    assert listings.runs_table(found).splitlines()[2:] == [
        "| DI | DR | 1 | 50,000, diverged | 30.0 | 30.0 | 30.0 | 30.0, 30.0 |",
        "| DI | Concat | 3 | 100,000 | 90.0 | 90.0 | 90.0 | 80.0, 100.0 |",  # 80, 85, ..., 100
        "| DI | DMA\\*-H | 0 | 100,000 | 50.0 | 50.0 | 50.0 | 50.0, 50.0 |",
    ]
    assert listings.runs_table(of()) == "There are no valid raw runs yet."


def test_a_diverged_run_does_not_shorten_its_row():
    """Its last return counts until the end, so the others are still compared at full length."""
    early = make("dr", 0, 30.0, noise=0.0, steps=50_000, diverged=True)
    found = of(make("dma-star-sh", 0, lambda step: step / 1000, noise=0.0), early)
    assert listings.results_table(found).splitlines()[2] == "| DI | 100,000 | 1 | 30.0 | 90.0 |"
    assert listings.gains_table(found).splitlines()[2].startswith("| DI | 100,000 | 1, 0, 1 | 90.0 |  | 30.0 |")


def test_table_of_gains():
    runs = [*many(2, "dma-star-sh", 80, 5), *many(1, "dr", 30), make("concat", 0, lambda step: step / 1000, noise=0.0)]
    half = [make("dma-star-sh", env="ODE", level=150, noise=0.0), make("dr", env="ODE", level=lambda s: s / 1000,
            noise=0.0, steps=50_000)]  # fmt: skip
    rows = listings.gains_table(of(*runs, *half, make("da", env="DI-Perm"))).splitlines()[2:]
    assert rows == [
        "| DI | 100,000 | 2, 1, 1 | 80.0 | 90.0 | 30.0 | -0.100 (-0.100) | +0.500 (+0.500) |",
        # As long as the shortest, the mean of 30, ..., 50; ODE's range is 200.
        "| ODE | 50,000 | 1, 0, 1 | 150.0 |  | 40.0 |  | +0.550 (+0.550) |",
    ]
    assert "No environment" in listings.gains_table(of(*many(2, "dma-star-sh")))


def test_table_of_groups():
    """Leads over Concat of 0.1, 0.2 and 0.4 of the range on DI, DI-Friction and ODE: 0.233 +- 4.303 * 0.0882."""
    steps = {"DI": 100_000, "DI-Friction": 100_000, "ODE": 50_000}
    levels = {"dma-star-sh": (80, 60, 160), "concat": (70, 40, 80)}
    runs = [make(arm, env=env, level=level, noise=0.0, steps=steps[env])
            for arm, of_arm in levels.items() for env, level in zip(steps, of_arm, strict=True)]  # fmt: skip
    rows = listings.groups_table(of(*runs, make("dr", noise=0.0), make("dma-star-sh", env="Walker"))).splitlines()[2:]
    assert rows == [
        "| All | 3 of 13 | Concat | +0.233 | -0.146 to +0.613 | 3 | +0.233 | -0.146 to +0.613 | 3 |"
    ]  # two environments that do not overlap give no interval; Walker has no other arm, and DR is on one environment
    assert listings.groups_table(of(*runs[:-1])) == "No group has 3 environments with runs yet."


def test_published_values_beside_our_runs():
    """65 and 75 beside the published 62: s = 0.0707 over one degree of freedom of each of two toys."""
    toys = [*many(2, "dma-star-sh", 70, 5, env="DI-Friction"), *many(2, "dma-star-sh", 40, 5)]
    s, freedom = listings.spread(of(*toys), "dma-star-sh", "eval-out")
    assert s == pytest.approx(0.0707, abs=1e-3) and freedom == 2
    band = stats.t.ppf(0.975, 2) * s * np.sqrt(1 / 2 + 1 / 10) * 100
    rows = {row.split(" | ")[2]: row for row in listings.published_table(of(*toys)).splitlines()[2:]}
    assert set(rows) == {"train", "eval-in", "eval-out"}  # Tables 6 to 8; nothing is published of DI under this arm
    assert rows["eval-out"] == f"| DI-Friction | DMA\\*-SH | eval-out | 62 | 70.0 | 2 | +8.0 | {band:.1f} | inside |"
    assert rows["eval-in"].startswith(
        "| DI-Friction | DMA\\*-SH | eval-in | 71 | 70.0 | 2 | -1.0 |"
    )  # published as 0.71
    close = [*many(2, "dma-star-sh", 70, 1, env="DI-Friction"), *many(2, "dma-star-sh", 40, 1)]
    assert listings.published_table(of(*close)).splitlines()[-1].endswith(" | 62 | 70.0 | 2 | +8.0 | 4.7 | outside |")
    few = listings.published_table(of(*many(1, "dma-star-sh", 70, env="DI-Friction"), *many(2, "dma-star-sh", 40)))
    assert few.splitlines()[-1].endswith("|  | too few runs on the toys to tell |")
    assert "No environment" in listings.published_table(of(*many(3, "dma-star-sh")))
    short = make("dma-star-sh", env="DI-Friction", steps=50_000)
    assert "No environment" in listings.published_table(of(short))


def test_numbers_that_lead_the_findings_stand_in_generated_tables():
    lead, rest = (ROOT / "FINDINGS.md").read_text().partition("<!-- claims:")[::2]
    rest += (ROOT / "README.md").read_text()
    stated, there = (
        set(re.findall(r"(?<![\w.])[+-]?\d+\.\d+(?!\w)", re.sub(r"\bA\.\d+|\d+(\.\d+)? %", "", part)))
        for part in (lead, rest)
    )
    assert stated and stated <= there, stated - there


def test_what_is_committed_is_not_older_than_the_raw_runs(monkeypatch):
    """Regenerate README, FINDINGS and docs/comparisons.md from runs/.

    Proofs and twins are assumed to pass; other tests and `make proofs` check them. A.6 and A.8 take minutes to compute,
    so they may have any verdict here; `make claims` computes them.
    """
    monkeypatch.setattr(checks, "proved", lambda: dict.fromkeys(theorem_names(), "no axioms"))
    monkeypatch.setattr(checks, "_outcomes", dict.fromkeys(
        (f"tests/{node}" for c in CLAIMS.values() for plan in c.plans if isinstance(plan, checks.Twin)
         for node in plan.nodes), "passed"))  # fmt: skip
    evidence, slow = Evidence(ROOT / "runs"), ("A.6", "A.8")
    verdicts = {id_: check(c, evidence) for id_, c in CLAIMS.items() if id_ not in slow}
    json.dumps([as_data(CLAIMS[one.id], one) for one in verdicts.values()], allow_nan=False)  # as written to disk
    possible = []
    for first in WORDS:
        for second in WORDS:
            guess = {id_: dataclasses.replace(verdicts["A.1"], id=id_, verdict=word)
                     for id_, word in zip(slow, (first, second), strict=True)}  # fmt: skip
            possible.append(show.written([(verdicts | guess)[id_] for id_ in CLAIMS], CLAIMS, evidence))
    for path in possible[0]:
        assert path.read_text() in [texts[path] for texts in possible], f"{path.name}: run: dmash claims --readme"
    text = re.sub(r"<!--.*?-->|\]\([^)]*\)|!\[", " ", (ROOT / "README.md").read_text(), flags=re.S)
    words = [word for word in text.split() if re.search(r"\w", word)]  # not the bars of tables
    assert len(words) <= 700, f"README has {len(words)} words"


def test_every_committed_figure_is_drawn_again_from_what_is_committed(tmp_path):
    """All of figures/ and nothing else: tables byte for byte, pictures up to rounding on other processors."""
    written = figures.build_all(ROOT / "runs", tmp_path)
    assert {path.name for path in written} == {path.name for path in (ROOT / "figures").iterdir()}, "run: make figures"
    for path in written:
        committed = ROOT / "figures" / path.name
        if path.suffix in (".csv", ".md"):
            assert path.read_text() == committed.read_text(), f"{path.name}: run: make figures"
        elif path.suffix == ".png":
            one, other = imread(path), imread(committed)
            assert one.shape == other.shape and abs(one - other).mean() < 1e-3, f"{path.name}: run: make figures"
