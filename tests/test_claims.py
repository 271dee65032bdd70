"""Claims: what decides them, what is left out of them and said, and that what is written from them is fresh."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from test_cli import call
from test_runs import make

from dmash_core import claims, figures, regret, rules, runs
from dmash_core.benchmark.contexts import distance_outside
from dmash_core.benchmark.suite import get_spec
from dmash_core.claims import CONTRADICTED, NOT_CHECKED, REPRODUCED, UNDECIDED, Claim, Evidence, Finding, Needs
from dmash_core.methods import get_method, replace
from dmash_core.sweep import load_profile
from dmash_core.training import TrainSettings

STEPS, EVERY = 100_000, 50_000


def put(root, arm="dr", seed=0, level=50.0, steps=STEPS, env="DI", change=None, noise=1.0, diverged=False):
    """A synthetic run of an arm of the code: its returns lie around `level` + seed, by `noise`; returns its path."""
    slug, *options = arm.split("+")
    options = {k: float(v) for k, _, v in (o.partition("=") for o in options)}
    frame, meta = make(env=env, arm=arm, seed=seed, steps=steps, every=EVERY)
    config = TrainSettings(env, slug, replace(get_method(slug), **options)).config()
    meta["config"] = config | {"eval_every": EVERY, "eval_rollouts": 3} | (change or {})
    if diverged:
        meta["diverged"] = {"step": steps + 1, "reason": "the critic's loss is not finite"}
    returns = frame["metric"] == "return"
    frame.loc[returns, "value"] = level + seed + noise * np.random.default_rng(seed).standard_normal(returns.sum())
    path = runs.run_path(root, env, arm, seed)
    runs.write_run(path, frame, meta)
    return path


@pytest.fixture(autouse=True)
def _evaluations_of_these_runs(monkeypatch):
    """The synthetic runs are evaluated less often than the benchmark's; that is no departure here."""
    inner = runs.first_difference
    keys = ("eval_every", "eval_rollouts")

    def difference(found, wanted):
        return inner({k: v for k, v in found.items() if k not in keys}, wanted)

    monkeypatch.setattr(rules, "first_difference", difference)


def claim(*checks, arms=("dr", "concat"), envs=("DI",), seeds=5, steps=None, **kwargs):
    words = dict.fromkeys(("statement", "where", "rule", "reason"), "x") | {"kind": "table"}
    return Claim("X", checks=checks, needs=Needs(envs, arms, seeds, steps), **words | kwargs)


ORDER = {"kind": "order", "envs": ["DI"], "higher": "concat", "lower": ["dr"], "statistic": "difference"}


def verdict(root, *checks, **kwargs):
    return claims.check(claim(*checks, **kwargs), Evidence(root))


# ---------------------------------------------------------------- claims.yaml


def test_every_claim_and_every_published_value_has_a_row():
    known = claims.load_claims()
    wanted = "A.1 A.2 A.3 A.5 A.6 A.7 A.8 A.15 A.17 A.18 T1 T2 T6 T7 T8 T9 F2 F3 F4 tSNE S6.5 G1 G2 G3 L1".split()
    assert set(known) == {*wanted, *(f"F{i}" for i in range(10, 19)), *(f"R{i}" for i in range(1, 9))}
    assert {id_ for c in known.values() for id_ in c.published} == set(rules.published_values())
    for c in known.values():
        words = [[one.get("higher"), *one.get("lower", ()), *one.get("arms", ())] for one in c.checks]
        asked = {arm for arms in words for arm in arms if arm}
        assert asked <= set(c.needs.arms), c.id
        for one in c.checks:
            for name in one.get("theorems", ()):
                assert any(f"Theorem {name}" in file.read_text() for file in (rules.ROOT / "proofs").glob("*.v")), name
            for node in rules._nodes(one) if one["kind"] == "test" else ():
                file, name = node.split("::")
                assert f"\ndef {name}(" in (rules.ROOT / file).read_text(), node
        for row in map(rules.published_values().get, c.published):
            if c.needs.arms:
                assert {rules.SLUGS[name] for name in row["arm"].split(" vs ")} <= set(c.needs.arms), row["id"]
                assert set(rules.GROUPS.get(row["env"], [row["env"]])) <= set(c.needs.envs), row["id"]


def test_the_profile_paper_has_what_every_claim_needs():
    trained = {cell.key: cell.steps for cell in load_profile("paper")}
    for c in claims.load_claims().values():
        wanted, absent = claims.cells(c)
        assert not absent and not [cell for cell in wanted if trained.get(cell.key, 0) < cell.steps], c.id


def test_groups_are_those_of_the_paper():
    assert len(rules.GROUPS["All"]) == 13  # ODE-k, the fourteenth row of Table 1, is a family
    assert set(rules.GROUPS["Overlap"]) == {"DI-Friction", "BallInCup", "Walker", "WalkerGym", "HopperGym"}
    assert {*rules.GROUPS["Overlap"], *rules.GROUPS["Non-overlap"]} == set(claims.load_claims()["T2"].needs.envs)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"kind": "tabel"}, "unknown kind 'tabel'; did you mean 'table'?"),
        ({"published": ["T9-99"]}, "unknown published value 'T9-99'"),
        ({"needs": {"arms": ["dma-start"]}}, "unknown arm 'dma-start'"),
        ({"checks": [{"kind": "ordre"}]}, "unknown kind of check 'ordre'; did you mean 'order'?"),
        ({"colour": "red"}, "unknown word 'colour'"),
        ({"rule": None}, "rule"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, change, said):
    row = dict.fromkeys(("statement", "where", "rule", "reason"), "x")
    row |= {"id": "X", "kind": "table", "published": ["T9-2..4"], "checks": [{"kind": "none", "what": "a", "why": "b"}]}
    path = tmp_path / "claims.yaml"
    path.write_text(json.dumps({"claims": [row]}))  # JSON is YAML
    assert claims.load_claims(path)["X"].published == ("T9-2", "T9-3", "T9-4")
    path.write_text(json.dumps({"claims": [{k: v for k, v in (row | change).items() if v is not None}]}))
    with pytest.raises(claims.UserError, match="claim X") as error:
        claims.load_claims(path)
    assert said in str(error.value)
    path.write_text(json.dumps({"claims": [row, row]}))
    with pytest.raises(claims.UserError, match="two claims X"):
        claims.load_claims(path)


# ---------------------------------------------------------------- verdicts


def finding(verdict_):
    return Finding("f", verdict_, "because")


def test_findings_combine():
    def of(*verdicts, several=False):
        return claims.combine([finding(v) for v in verdicts], several)[0]

    r, c, u, n = REPRODUCED, CONTRADICTED, UNDECIDED, NOT_CHECKED
    assert (of(r), of(c), of(u), of(n)) == (r, c, u, n)
    assert of(r, r) == r and of(r, c, n) == c and of(r, u) == u and of(r, n) == u and of(u, n) == u and of(n, n) == n
    # of 20 true values one or two outside of their intervals are chance (1 or more: 64 %, 3 or more: 8 %), four are not
    assert [of(*[c] * k, *[r] * (20 - k), several=True) for k in (1, 3, 4)] == [r, r, c]
    assert of(c, several=True) == c and of(c, r, several=True) == r


def test_an_order_is_decided_by_its_interval(tmp_path):
    for seed in range(3):
        put(tmp_path, "dr", seed, level=20)
        put(tmp_path, "concat", seed, level=60)
        put(tmp_path, "da", seed, level=60)
    up, down = verdict(tmp_path, ORDER), verdict(tmp_path, ORDER | {"higher": "dr", "lower": ["concat"]})
    assert (up.verdict, down.verdict) == (REPRODUCED, CONTRADICTED)
    assert up.headline.value == pytest.approx(0.4, abs=0.01) and up.headline.low > 0.35 and up.seeds == 3
    assert up.steps == {"DI": STEPS} and len(up.used) == 6 and not up.left_out
    tie = ORDER | {"higher": "da", "lower": ["concat"]}
    assert verdict(tmp_path, tie, arms=("da", "concat")).verdict == UNDECIDED
    assert verdict(tmp_path, tie | {"same": True}, arms=("da", "concat")).verdict == REPRODUCED
    assert verdict(tmp_path, ORDER | {"same": True}).verdict == CONTRADICTED


def test_margins(tmp_path):
    for seed in range(3):
        put(tmp_path, "dr", seed, level=50)
        put(tmp_path, "concat", seed, level=43)
    close, options = ORDER | {"same": True}, {"arms": ("dr", "concat")}
    worse = ORDER | {"not_worse": True}  # Concat lies 0.07 below DR, with an interval of 0.03 to either side
    assert verdict(tmp_path, worse | {"margin": 0.15}, **options).verdict == REPRODUCED
    assert verdict(tmp_path, worse | {"margin": 0.07}, **options).verdict == UNDECIDED
    assert verdict(tmp_path, worse | {"margin": 0.02}, **options).verdict == CONTRADICTED
    better = worse | {"higher": "dr", "lower": ["concat"], "margin": 0.02}
    assert verdict(tmp_path, better, **options).verdict == REPRODUCED  # one-sided
    assert verdict(tmp_path, close | {"margin": 0.15}, **options).verdict == REPRODUCED
    found = verdict(tmp_path, close | {"margin": 0.02}, **options)
    assert found.verdict == CONTRADICTED and "outside of -0.02 to 0.02" in found.reason


def test_a_run_that_diverged_keeps_its_last_return_and_is_not_trained_again(tmp_path):
    for seed in range(3):
        put(tmp_path, "concat", seed, level=60)
        put(tmp_path, "dr", seed, level=20, steps=STEPS if seed else EVERY, diverged=not seed)
    found = verdict(tmp_path, ORDER, seeds=3)
    assert found.verdict == REPRODUCED and found.steps == {"DI": STEPS} and not found.missing
    assert found.headline.value == pytest.approx(0.4, abs=0.01)
    assert found.reason.endswith("; DR's seed 0 on DI diverged and counts with its last return")
    assert verdict(tmp_path, ORDER | {"at": "mean"}, seeds=3).headline.value == pytest.approx(0.4, abs=0.01)


def test_an_order_may_not_fail_by_chance_beside_published_values():
    def of(*verdicts):
        published = [dataclasses.replace(finding(v), published_id="P") for v in verdicts]
        return claims.combine(published, True)[0], claims.combine([*published, finding(CONTRADICTED)], True)[0]

    assert of(CONTRADICTED, *[REPRODUCED] * 19) == (REPRODUCED, CONTRADICTED)


def test_a_published_gain_is_as_wide_as_its_rounding():
    # Table 8, all environments: 0.68 of DMA*-SH and 0.43 of DR, of which 58.1 % is the ratio
    gain = rules.published_values()["T9-10"]
    least, most = rules._unrounded(gain)
    assert (least, most) == (pytest.approx(100 * (0.675 / 0.435 - 1)), pytest.approx(100 * (0.685 / 0.425 - 1)))
    for id_, row in rules.published_values().items():
        if row["metric"] == "relative gain %":
            least, most = rules._unrounded(row)
            assert least < row["value"] < most, id_


def test_networks_under_changes(tmp_path, monkeypatch):
    loss = {"dr": 0.05, "concat": 0.3}
    for arm in loss:
        for seed in range(3):
            put(tmp_path, arm, seed).with_suffix(".safetensors").touch()

    def evaluated(path, settings):
        return 0.8 - loss[path.parent.name] * bool(settings.changes()) + 0.01 * int(path.stem[-1]), STEPS

    monkeypatch.setattr(rules, "_evaluated", evaluated)
    alone = {"kind": "evaluation", "envs": ["DI", "ODE"], "arms": ["dr", "concat"], "under": [{"warm_up": 0.25}]}
    found = verdict(tmp_path, alone, envs=("DI", "ODE")).findings
    assert [f.verdict for f in found] == [REPRODUCED, CONTRADICTED, NOT_CHECKED, NOT_CHECKED]
    assert found[0].what == "DR, DI, aggregated, return with warm up 6 minus that of the protocol"
    assert found[1].value == pytest.approx(-0.3) and found[1].low == pytest.approx(-0.3)
    pair = {"kind": "evaluation", "envs": ["DI"], "higher": "dr", "lower": ["concat"], "under": [{"delay": 2}]}
    found = verdict(tmp_path, pair)
    assert found.verdict == REPRODUCED and found.headline.value == pytest.approx(0.25) and len(found.used) == 6
    (tmp_path / "DI" / "concat" / "seed-2.safetensors").unlink()
    assert verdict(tmp_path, pair).reason == "2 seeds, 3 are needed"


def test_a_network_is_evaluated_by_the_protocol(tmp_path):
    """With the rollouts of the run, what is recorded of its last evaluation comes out again."""
    path = rules.ROOT / "runs" / "DI" / "dr" / "seed-0.parquet"
    run = runs.read_run(path)
    assert run.meta["config"]["eval_rollouts"] == 10
    last = run.frame[(run.frame["metric"] == "return") & (run.frame["step"] == run.meta["steps"])]["value"].mean()
    value, steps = rules._evaluated(path.with_suffix(".safetensors"), rules.PROTOCOL)
    assert steps == run.meta["steps"] and 100 * value == pytest.approx(last, abs=0.5)


def test_shuffled_labels_decide_nothing(tmp_path):
    """The same runs, dealt out to two arms at random: a probability of improvement near one half, and no verdict."""
    levels = np.random.default_rng(0).permutation(20) * 3.0 + 10
    for i, level in enumerate(levels):
        put(tmp_path, ("dr", "concat")[i % 2], i // 2, level=level - i // 2)
    found = verdict(tmp_path, ORDER | {"statistic": "improvement"})
    assert found.verdict == UNDECIDED and 0.25 < found.headline.value < 0.75
    assert found.headline.low < 0.5 < found.headline.high


def test_few_seeds_and_short_runs_decide_nothing_and_say_so(tmp_path):
    for seed in range(2):
        put(tmp_path, "dr", seed, level=20)
        put(tmp_path, "concat", seed, level=80)
    found = verdict(tmp_path, ORDER)
    assert found.verdict == UNDECIDED and found.reason == "2 seeds, 3 are needed" and found.headline.value > 0.5
    put(tmp_path, "dr", 2, level=20, steps=EVERY)
    put(tmp_path, "concat", 2, level=80)
    found = verdict(tmp_path, ORDER)  # an order is decided from half of the steps on, at the largest common step
    assert found.verdict == REPRODUCED and found.steps == {"DI": EVERY} and "50 % of the steps" in found.reason
    assert "DI, 100,000 steps: dr 3 seeds, concat 2 seeds" in found.missing[0]  # seeds 2 (short), 3, 4 and 3, 4
    found = verdict(tmp_path, ORDER, steps=2 * STEPS)
    assert found.verdict == UNDECIDED and "25 % of the steps" in found.reason


def test_published_values(tmp_path, monkeypatch):
    row = {"id": "P-1", "split": "aggregated", "env": "DI", "arm": "DR", "metric": "AER", "value": 52.0}
    monkeypatch.setattr(rules, "published_values", lambda: {"P-1": row})

    def found():
        return verdict(tmp_path, {"kind": "published"}, published=("P-1",))

    for seed in range(5):
        put(tmp_path, "dr", seed)  # means 50, 51, ..., 54 but for noise
    assert found().verdict == REPRODUCED and found().headline.value == pytest.approx(52, abs=0.5)
    t = 2.776 * np.sqrt(2.5 / 5)  # half the interval
    assert found().headline.high - found().headline.value == pytest.approx(t, rel=0.3)
    row["value"] = 52 + 1.1 * t  # outside of our interval, inside of that for ten further seeds (1.22 times as wide)
    assert found().verdict == REPRODUCED
    row["value"] = 60.0
    assert found().verdict == CONTRADICTED
    row |= {"metric": "AER/100", "value": 0.52}
    assert found().verdict == REPRODUCED and found().headline.published == "52"
    for seed in range(5):
        put(tmp_path, "dr", seed, level=10 + 20 * seed)
    assert found().verdict == UNDECIDED and "wider" in found().reason


def test_gains_over_a_part_of_the_environments_are_shown_and_not_judged(tmp_path):
    for seed in range(5):
        put(tmp_path, "dr", seed, level=40, noise=0.0)
        put(tmp_path, "dma-star-sh", seed, level=80, noise=0.0)
    arms, envs = ("dr", "dma-star-sh"), rules.GROUPS["Non-overlap"]
    found = verdict(tmp_path, {"kind": "published", "ids": ["T9-16"]}, arms=arms, envs=envs)
    assert found.verdict == NOT_CHECKED and "Cartpole" in found.reason and "DI;" not in found.reason
    assert found.headline.value == pytest.approx(100 * (82 / 42 - 1)) and "over DI alone" in found.headline.measured
    assert found.headline.low < found.headline.value < found.headline.high


def test_distance_to_the_training_range():
    # DI trains masses 0.5 to 1.5; inversion is discrete. ODE trains both coefficients from -5 to 5
    di, ode = (get_spec(env).dimensions for env in ("DI", "ODE"))
    np.testing.assert_allclose(distance_outside(di, [[1.0, -1], [0.1, 1], [2.0, -1]]), [0, 0.4, 0.5])
    np.testing.assert_allclose(distance_outside(ode, [[5, -5], [8, -9]]), [0, 0.5])


def test_tests_are_run_and_can_contradict(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('x', [0, 1])\ndef test_good(x): pass\n"
        "@pytest.mark.parametrize('x', [0, 1])\ndef test_bad(x): assert x\n"
        "def test_skipped(): pytest.skip('no')\n"
    )
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    monkeypatch.setattr(rules, "_outcomes", {})
    names = ("test_good", "test_bad", "test_skipped")
    good, bad, skipped = ({"kind": "test", "what": "w", "nodes": [f"test_a.py::{name}"]} for name in names)
    rules.run_tests([good, bad, skipped])
    found = [rules.check_test(one, None, None)[0] for one in (good, bad, skipped)]
    assert [f.verdict for f in found] == [REPRODUCED, CONTRADICTED, NOT_CHECKED] and found[
        1
    ].reason == "test_bad: failed"
    found = [rules.check_test(one | {"refutes": True}, None, None)[0] for one in (good, bad, skipped)]
    assert [f.verdict for f in found] == [CONTRADICTED, UNDECIDED, NOT_CHECKED]
    both = {"what": "w", "nodes": ["test_a.py::test_good", "test_bad"]}
    assert rules.check_test({"kind": "test"} | both, None, None)[0].verdict == CONTRADICTED
    found = rules.check_test(good | {"nodes": ["test_b.py::test_c"]}, None, None)[0]
    assert found.verdict == NOT_CHECKED and "test_b.py" in found.reason


def fake_proofs(monkeypatch, stdout, code=0):
    rules._proved.cache_clear()
    monkeypatch.setattr(rules.shutil, "which", lambda tool: f"/bin/{tool}")
    done = rules.subprocess.CompletedProcess([], code, stdout, "Error: it does not hold")
    monkeypatch.setattr(rules.subprocess, "run", lambda *a, **k: done)


def test_proofs(monkeypatch):
    one = {"kind": "proof", "what": "w", "theorems": ["A1_adapter_can"]}

    def found(**more):
        return rules.check_proof(one | more, None, None)[0]

    try:
        fake_proofs(monkeypatch, "make: x\nExpressivity.A1_adapter_can: no axioms\nproofs: 1 main theorems\n")
        assert found().verdict == REPRODUCED and found().reason == "proved; rests on no axioms"
        assert found(refutes=True).verdict == CONTRADICTED
        assert found(theorems=["A9_unknown"]).verdict == UNDECIDED
        fake_proofs(monkeypatch, "", 2)
        assert found().verdict == UNDECIDED and "it does not hold" in found().reason
        rules._proved.cache_clear()
        monkeypatch.setattr(rules.shutil, "which", lambda tool: None)
        assert found().verdict == NOT_CHECKED and "lacks make, coqc, coqchk" in found().reason
        # tests that pass do not make up for a proof that could not be run
        passing = {"kind": "suite"}
        both = claims.check(claim(one, passing, arms=()), Evidence("nowhere"))
        assert both.verdict == NOT_CHECKED and "coqc" in both.reason
    finally:
        rules._proved.cache_clear()


def test_regret_of_one_policy_for_all_contexts():
    """One policy serves two masses and two frictions; for both signs of the action none of the family does."""
    few = {"DI": [[0.7, 1.0], [1.3, -1.0]], "DI-Friction": [[0.7, 0.7], [1.3, 1.3]]}
    found = {env: regret.worst_case_regret(env, np.array(contexts)) for env, contexts in few.items()}
    assert found["DI"] > 0.9 and found["DI-Friction"] < 0.1
    assert regret.worst_case_regret("DI", np.array([[0.7, -1.0], [1.3, -1.0]])) < 0.1  # the search finds what there is


def test_returns_of_policies_by_hand():
    """The reflected controller under inversion is the controller, and every policy meets the same initial states."""
    theta = np.array([[-2.0, 0, -2, 0], [0, -2, 0, -2]])
    both = np.array([[1.0, 1.0], [1.0, -1.0]])
    found = regret.returns("DI", np.stack([theta, -theta])[:, None], both, starts=3, seed=0)
    assert found.shape == (2, 2) and found[0, 0] > 70 and found[0, 1] == 0 and found[1, 1] > 70
    own = regret.returns("DI", np.stack([[theta, -theta]]), both, starts=3, seed=0)  # (1, C, 2, 4): each its own
    np.testing.assert_array_equal(own, [[found[0, 0], found[1, 1]]])


# ---------------------------------------------------------------- what is left out


def test_runs_that_cannot_be_used_are_named_and_left_out(tmp_path):
    for seed in range(4):
        put(tmp_path, "concat", seed, level=60)
    short, other, twice = (put(tmp_path, "dr", seed, level=20) for seed in (1, 2, 3))
    put(tmp_path, "dr", 0, level=20)
    short.write_bytes(short.read_bytes()[:-20])
    put(tmp_path, "dr", 2, level=90, change={"per_context": 6})
    again = put(tmp_path / "again", "dr", 3, level=90, change={"random_steps": 100})
    found = verdict(tmp_path, ORDER)
    reasons = dict(found.left_out)
    assert set(reasons) == {str(short), str(other), str(twice), str(again)}
    assert "not a whole Parquet file" in reasons[str(short)]
    assert "per_context is 6 and not 12" in reasons[str(other)]
    for path, twin in ((twice, again), (again, twice)):
        assert f"{twin} claims the same cell" in reasons[str(path)] and "random_steps" in reasons[str(path)]
    assert found.verdict == UNDECIDED and found.seeds == 1 and len(found.used) == 5
    assert "left out" in claims.describe(claim(ORDER), found)
    # a run under the name of another arm
    frame, meta = make(arm="dr", seed=7, steps=STEPS, every=EVERY)
    meta["config"] = TrainSettings("DI", "concat", get_method("concat")).config() | meta["config"]
    runs.write_run(runs.run_path(tmp_path, "DI", "dr", 7), frame, meta)
    assert any("concat" in reason for reason in Evidence(tmp_path).left_out.values())


def test_copies_count_once(tmp_path):
    path = put(tmp_path, "dr", 0)
    copy = tmp_path / "backup" / "DI" / "dr" / "seed-0.parquet"
    copy.parent.mkdir(parents=True)
    shutil.copy(path, copy)
    evidence = Evidence(tmp_path)
    assert len(evidence.of("DI", "dr")) == 1 and list(evidence.left_out.values())[0].startswith("a copy of")


def test_older_runs_without_a_younger_setting_are_fine():
    assert runs.first_difference({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}) is None
    assert runs.first_difference({"a": {"b": 1}}, {"a": {"b": 2}}) == ("a.b", 1, 2)


# ---------------------------------------------------------------- the command, and what is written


def test_command(tmp_path, monkeypatch, capsys):
    known = {c.id: c for c in (claim(ORDER), dataclasses.replace(claim(ORDER), id="Y", headline=True))}
    monkeypatch.setattr(claims, "load_claims", lambda *a: known)
    for seed in range(3):
        put(tmp_path / "runs", "concat", seed, level=60)
    say = ("claims", "--runs", tmp_path / "runs")
    assert call(monkeypatch, *say, "--id", "X") == 3
    assert "there are no usable runs of DI (DR)" in capsys.readouterr().out
    for seed in range(3):
        put(tmp_path / "runs", "dr", seed, level=20)
    assert call(monkeypatch, *say, "--id", "X") == 0
    said = capsys.readouterr().out
    assert "VERDICT       reproduced" in said and "3 seeds at 100,000 steps" in said and "core" in said
    assert call(monkeypatch, *say, "--id", "Z") == 2
    assert "unknown claim 'Z'" in capsys.readouterr().err
    assert call(monkeypatch, *say, "--out", tmp_path / "c.json") == 0
    rows = json.loads((tmp_path / "c.json").read_text())["claims"]
    assert [(row["id"], row["result"]["verdict"]) for row in rows] == [("X", REPRODUCED), ("Y", REPRODUCED)]
    assert rows[0]["result"]["findings"][0]["seeds"] == 3
    assert call(monkeypatch, "claims", "--train") == 2


def test_training_is_never_started_unasked_and_only_what_is_missing(tmp_path, monkeypatch):
    from dmash_core import sweep

    asked = []
    monkeypatch.setattr(claims, "load_claims", lambda *a: {"X": claim(ORDER, seeds=2)})
    monkeypatch.setattr(sweep.Sweep, "run", lambda self: asked.extend(self.cells))
    put(tmp_path, "dr", 0)
    call(monkeypatch, "claims", "--runs", tmp_path, "--id", "X")
    assert not asked
    call(monkeypatch, "claims", "--runs", tmp_path, "--id", "X", "--train")
    assert [cell.key for cell in asked] == [("DI", "concat", 0), ("DI", "dr", 1), ("DI", "concat", 1)]


@pytest.mark.parametrize(
    "values, verdict, said",
    [
        ([0.90, 0.91, 0.92], REPRODUCED, "overlaps"),
        ([0.5, 0.9, 1.3], UNDECIDED, "but is wider than 0.2"),
        ([0.990, 0.991, 0.992], UNDECIDED, "lies outside by 0.0085"),
        ([0.60, 0.61, 0.62], CONTRADICTED, "lies outside by 0.2"),
        ([0.90, 0.91], UNDECIDED, "2 seeds, 3 are needed"),
    ],
)
def test_cosines_of_networks(tmp_path, monkeypatch, values, verdict, said):
    """F4-1: DMA's cosine within a mode, published 0.84 to 0.98."""
    for seed in range(len(values)):
        put(tmp_path, "dma", seed).with_suffix(".safetensors").touch()
    found = {f"seed-{seed}": value for seed, value in enumerate(values)}
    monkeypatch.setattr(rules, "_cosines", lambda path: ({"within": found[path.stem], "across": -0.5}, STEPS))
    claim = claims.get_claim("F4")
    first = rules.check_cosines(claim.checks[0], claim, Evidence(tmp_path))[0]
    assert (first.published_id, first.verdict) == ("F4-1", verdict) and said in first.reason
    assert "networks have" not in first.reason  # they are of one length


def test_table_for_the_readme():
    known = {"X": dataclasses.replace(claim(ORDER), statement="DMA*-SH above DMA* and DMA", headline=True)}
    found = dataclasses.replace(claims.check(known["X"], Evidence("nowhere")), verdict="undecided")
    table = claims.readme_table([found], known)
    assert table.splitlines()[2].startswith(r"| **X** DMA\*-SH above DMA\* and DMA | no number | no number yet |")
    text = f"before\n{claims.BEGIN}\nold\n{claims.END}\nafter"
    once = claims.with_table(text, table)
    assert once == f"before\n{claims.BEGIN}\n{table}\n{claims.END}\nafter" == claims.with_table(once, table)
    with pytest.raises(claims.UserError, match="markers|lacks"):
        claims.with_table("nothing", table)


def test_table_for_the_findings(tmp_path):
    """Only what runs have measured, decided or not; of other environments' lack there is no row."""
    known = {id_: claims.get_claim(id_) for id_ in ("T2", "F15", "A.8")}
    found = Finding("DMA*-SH against DR", UNDECIDED, "1 seed", value=0.5, seeds=1)
    bare = replace(claims.check(known["F15"], Evidence(tmp_path)), findings=(found, replace(found, value=None)))
    others = [replace(bare, id="T2", findings=(replace(found, verdict=NOT_CHECKED),)), replace(bare, id="A.8")]
    put(tmp_path, "dr", seed=3)
    text = claims.findings_tables([bare, *others], known, Evidence(tmp_path))
    aer, _, compared = text.partition("| claim ")
    assert aer == figures.aer_markdown(figures.aer_table(list(Evidence(tmp_path).runs.values()))) + "\n" and "DR" in aer
    assert compared.splitlines()[2:] == [r"| F15 | DMA\*-SH against DR | no number | 0.5, 1 seed | undecided: 1 seed |"]


def test_what_is_committed_is_not_older_than_the_raw_runs():
    """The tables in README and FINDINGS and the CSVs that figures are drawn from, made again from runs/; without what
    networks do, whose last digits depend on the machine that rolls them out."""
    known = {id_: c for id_, c in claims.load_claims().items() if c.headline or c.needs.arms}
    rolled = {id_ for id_, c in known.items() if {one["kind"] for one in c.checks} & {"cosines", "evaluation"}}
    assert rolled == {"F4", "R4", "R8"} and not any(known.pop(id_).headline for id_ in rolled)

    def rows(text):
        return [line for line in text.splitlines() if line.split(" |")[0].removeprefix("| ") not in rolled]

    evidence = Evidence(claims.ROOT / "runs")
    assert not evidence.left_out, evidence.left_out
    verdicts = [claims.check(c, evidence) for c in known.values()]
    tables = {"README.md": claims.readme_table(verdicts, known)}
    tables["FINDINGS.md"] = claims.findings_tables(verdicts, known, evidence)
    for name, table in tables.items():
        text = (claims.ROOT / name).read_text()
        again = claims.with_table(text, table)
        assert rows(again) == rows(text), "run: dmash claims --readme"
    found = list(evidence.runs.values())
    tables = {"aer": figures.aer_table(found)}
    tables |= {name: figures.learning_table(drawn, env) for name, (env, drawn) in figures.by_picture(found).items()}
    tables |= figures.by_diagnostic(found)
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        assert (claims.ROOT / "figures" / f"{name}.csv").read_text() == text, "run: make figures"
