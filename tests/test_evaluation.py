"""Evaluation: the published protocol against a plain twin, and every departure from it that EvalSettings allows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dmash_core.benchmark.contexts import distance_outside, outer_grid
from dmash_core.benchmark.suite import get_spec, make_batch
from dmash_core.diagnostics.embeddings import codes
from dmash_core.errors import UserError
from dmash_core.evaluation import EVALUATION_STREAM, PROTOCOL, EvalSettings, Evaluator, Rollout, record_rollout
from dmash_core.methods import METHODS
from dmash_core.training.policies import block_contexts, make_agent
from dmash_core.training.settings import TrainSettings
from dmash_core.training.trainer import Trainer
from reproduction import measured
from reproduction.figures import build, maps

NARROW = dict(width=16, hypernetwork_width=8, bottleneck=4)
K, T = 24, {"DI": 100, "ODE": 200}


def agent(arm="dma-star-sh", env="DI", seeds=(0,)):
    return make_agent(env, replace(METHODS[arm], **NARROW), seeds)


def words(seed, step, n):
    return [(seed, EVALUATION_STREAM, step, i) for i in range(n)]


def twin(agent, env_name, contexts, seed, step):
    """Returns in B contexts (B, d) under the published protocol, with a list of transitions as the window."""
    env, told = make_batch(env_name, contexts), torch.as_tensor(contexts, dtype=torch.float32)[None]
    obs, _ = env.reset(seed=words(seed, step, len(contexts)))
    layout = agent.layout
    first = torch.as_tensor(obs)[None]
    window = [torch.cat([first, torch.zeros(1, len(contexts), layout.n_act + layout.n_obs)], dim=-1)] * K
    total = np.zeros(len(contexts))
    for t in range(K + T[env_name]):
        if t == K:
            obs, _ = env.reset()
        read = torch.stack([window[-K:][i] for i in (0, 7, 15, 23)], dim=2)
        now = torch.as_tensor(obs)[None]
        action = agent.act(now, read, told)
        obs, reward, *_ = env.step(action[0].numpy())
        window.append(torch.cat([now, action, torch.as_tensor(obs)[None] - now], dim=-1))
        total += reward if t >= K else 0
    return total


@pytest.mark.parametrize("env", ["DI", "ODE"])
@pytest.mark.parametrize("arm", ["dr", "concat", "da", "dma-pearl", "dma-star", "dma-star-h", "dma-star-sh"])
def test_the_default_is_the_published_protocol_bit_for_bit(arm, env):
    who, contexts = agent(arm, env), block_contexts(env, [3])
    expected = twin(who, env, np.concatenate([contexts[s][0] for s in contexts]), 3, 500)
    for settings in ({}, {"settings": PROTOCOL}, {"settings": EvalSettings(warm_up=K, unseen={})}):
        returns = Evaluator(who, env, contexts, [3], 1, **settings)(500)
        assert np.array_equal(returns.ravel(), expected)
    assert env == "DI" or len(set(expected)) > 30  # the returns are not all equal


@pytest.mark.parametrize("arm", ["concat", "dma-star-sh"])
def test_returns_belong_to_their_context_and_rollout(arm):
    """Each rollout of each context against the plain twin, whose environments are ordered by context."""
    who, contexts = agent(arm, "ODE"), block_contexts("ODE", [3])
    rows = np.concatenate([contexts[s][0] for s in contexts])
    expected = twin(who, "ODE", np.repeat(rows, 3, axis=0), 3, 500).reshape(3, 20, 3)
    returns = Evaluator(who, "ODE", contexts, [3], 3)(500)
    assert np.array_equal(returns[0], expected)
    flat = expected.reshape(60, 3)
    assert np.ptp(flat, axis=1).max() > 1 and len({tuple(row) for row in flat}) > 50  # a mix-up would be visible


@pytest.mark.parametrize("arm", ["da", "dma-star-sh"])
def test_each_seed_of_a_block_has_its_own_returns(arm):
    """Two seeds at once against each alone, with the networks from ``policy_state``."""
    seeds = [3, 8]
    block, contexts = agent(arm, "ODE-3", seeds), block_contexts("ODE-3", seeds)
    together = Evaluator(block, "ODE-3", contexts, seeds, 2)(500)
    for i, seed in enumerate(seeds):
        alone = agent(arm, "ODE-3", [99])
        alone.modules.load_state_dict(block.policy_state(i))
        own = {split: values[i : i + 1] for split, values in contexts.items()}
        returns = Evaluator(alone, "ODE-3", own, [seed], 2)(500)
        # a block sums in a different order and rewards are stepwise: all but a few are equal up to rounding
        assert np.isclose(together[i], returns[0], atol=0.2).mean() > 0.95
        assert np.isclose(together[1 - i], returns[0], atol=0.2).mean() < 0.5


def first_observations(contexts):
    """First observations of the warm-up episodes."""
    return make_batch("DI", contexts).reset(seed=words(0, 0, 2))[0]


def test_warm_up_limits_what_the_window_holds():
    who, contexts = agent(), np.array([[0.5, 1.0], [1.5, -1.0]])
    starts, rows = [], {}
    for k in (0, 1, 9, K):
        rollout = Rollout(who, "DI", contexts[None], settings=EvalSettings(warm_up=k))
        rollout.warm_up(words(0, 0, 2))
        assert rollout.env_steps == k
        starts.append(rollout.obs.numpy())
        now = rollout.history.now
        rows[k] = rollout.history.rows[0, :, now - K : now].numpy()
        s, a, s_next, _ = (t.numpy() for t in who.layout.split(torch.as_tensor(rows[k][:, : K - k])))
        assert not a.any() and np.array_equal(s, s_next) and (s == s[:, :1]).all() and (k == K or s.any())
        assert (rows[k][:, K - k :] != 0).any(axis=2).all()
    assert all(np.array_equal(start, starts[0]) for start in starts)  # the scored episode has the same initial state
    assert np.array_equal(rows[9][:, K - 9 :], rows[K][:, :9]) and np.array_equal(rows[1][:, -1], rows[K][:, 0])
    z = [record_rollout(who, "DI", contexts, settings=EvalSettings(warm_up=k))["z"] for k in (0, 1, 8, 9, K)]
    still = torch.as_tensor(rows[0])[None]
    assert torch.equal(still[0, :, 0, :4], torch.as_tensor(first_observations(contexts)))
    assert not np.array_equal(z[1][0], z[0][0]) and not np.array_equal(z[3][0], z[2][0])
    assert not np.array_equal(z[4][0], z[3][0])
    with pytest.raises(UserError, match="must be at most the window of 24 transitions, not 25"):
        Rollout(who, "DI", contexts[None], settings=EvalSettings(warm_up=25))


@pytest.mark.parametrize("kind", ["code_noise", "obs_noise", "action_noise"])
@pytest.mark.parametrize("arm", ["concat", "da", "dma", "dma-star-sh"])
def test_noise_is_none_at_zero_and_repeatable_above(arm, kind):
    who, contexts = agent(arm, "ODE"), block_contexts("ODE", [0])

    def returns(sigma, step=100):
        return Evaluator(who, "ODE", contexts, [0], 1, EvalSettings(**{kind: sigma}))(step)

    noisy = returns(0.3)
    assert np.array_equal(returns(0.0), Evaluator(who, "ODE", contexts, [0], 1)(100))
    assert np.array_equal(noisy, returns(0.3))
    assert not np.array_equal(noisy, returns(0.0)) and not np.array_equal(noisy, returns(0.6))
    if kind == "obs_noise":
        assert not np.array_equal(noisy, returns(0.3, step=200))


def test_noise_has_its_size_and_a_stream_for_each_kind_and_seed():
    who, contexts = agent("concat", seeds=(0, 1)), np.tile([[[1.0, 1.0]]], (2, 1, 1))
    start = [(s, EVALUATION_STREAM, 0, i) for s in (0, 1) for i in range(2000)]

    def rollout(**settings):
        made = Rollout(who, "DI", contexts, 2000, EvalSettings(**settings))
        made.reset(start)
        return made

    obs = rollout(obs_noise=0.2).obs - rollout().obs
    code = rollout(code_noise=0.2).conditioning().vector - rollout().conditioning().vector
    assert code.shape == (2, 2000, 2)  # 2000 environments share a context but not its noise
    for noise in (obs, code):
        assert noise.std(dim=1) == pytest.approx(0.2, rel=0.1) and noise.mean(dim=1) == pytest.approx(0.0, abs=0.03)
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(obs[0].ravel()[:4000], code[0].ravel())[0, 1]) < 0.05  # in order of drawing
    both = rollout(obs_noise=0.2, code_noise=0.2)
    both.conditioning()
    assert torch.equal(both.obs, rollout(obs_noise=0.2).obs)  # one kind does not shift another's draws
    loud, sent = rollout(action_noise=50.0), []
    step = loud.env.step
    loud.env.step = lambda actions: (sent.append(actions), step(actions))[1]
    loud.step(torch.zeros(2, 2000, 2))
    assert set(np.unique(np.abs(sent[0]) == 1)) == {True, False} and np.abs(sent[0]).max() == 1.0  # clipped


def test_code_noise_reaches_the_hypernetwork_and_needs_a_code():
    who = agent("dma-star-sh")
    rollout = Rollout(who, "DI", np.array([[[1.0, 1.0]]]), settings=EvalSettings(code_noise=0.1))
    rollout.warm_up(words(0, 0, 1))
    code = rollout.conditioning()
    assert all(torch.equal(a, b) for a, b in zip(code.omega, who.condition_on(code.vector).omega, strict=True))
    clean = who.conditioning(rollout.history.window(), rollout.contexts)
    assert not torch.equal(code.vector, clean.vector)
    assert torch.equal(rollout.mean_action(clean), who.act(rollout.obs, rollout.history.window(), rollout.contexts))
    with pytest.raises(UserError, match="code_noise needs an arm with a code"):
        Rollout(agent("dr"), "DI", np.array([[[1.0, 1.0]]]), settings=EvalSettings(code_noise=0.1))


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_delay_shifts_actions_exactly(delay):
    contexts, rng = np.array([[1.0, 1.0], [0.7, -1.0]]), np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (10, 2, 2)).astype(np.float32)
    rollout = Rollout(agent(), "DI", contexts[None], settings=EvalSettings(delay=delay))
    plain = make_batch("DI", contexts)
    rollout.reset(words(0, 0, 2))
    rollout.history.start_warm_up(rollout.obs)
    plain.reset(seed=words(0, 0, 2))
    for _ in range(2):  # no action of the first episode is pending in the second
        late = np.concatenate([np.zeros((delay, 2, 2), np.float32), actions])
        for t in range(10):
            rollout.step(torch.as_tensor(actions[t])[None])
            expected, *_ = plain.step(late[t])
            assert np.array_equal(rollout.obs[0].numpy(), expected)
        rollout.reset()
        plain.reset()
    remembered = rollout.agent.layout.split(rollout.history.rows[0, :, K : K + 10])[1]
    assert np.array_equal(remembered.numpy().swapaxes(0, 1), actions)  # the actions that the agent chose


def trajectory(name, contexts, unseen=None):
    env, rng = make_batch(name, contexts, unseen=unseen), np.random.default_rng(1)
    return np.stack([env.reset(seed=5)[0], *(env.step(rng.uniform(-1, 1, (2, 2)))[0] for _ in range(50))])


def test_unseen_dynamics_reach_the_physics():
    mass, upright = np.array([[0.5], [1.7]]), np.ones((2, 1))
    di = np.hstack([mass, upright])
    friction = trajectory("DI", di, {"friction": 0.7})
    assert np.array_equal(friction, trajectory("DI-Friction", np.hstack([mass, 0.7 * upright])))
    assert not np.array_equal(friction, trajectory("DI", di))
    assert np.array_equal(trajectory("DI", di), trajectory("DI", di, {"friction": 0.0, "swap": 0.0}))
    assert np.array_equal(trajectory("DI", di, {"swap": 1.0}), trajectory("DI-Perm", di))
    rollout = Rollout(agent("concat"), "DI", di[None], settings=EvalSettings(unseen={"friction": 0.7}))
    assert rollout.conditioning().vector.shape == (1, 2, 2)  # the agent does not see the unseen dimension
    cart, push = [[0.5, 1.0], [0.5, 1.0]], np.ones((2, 1))
    poles = []
    for unseen in (None, {"pole_mass": 0.1}, {"pole_mass": 0.3}):
        env = make_batch("Cartpole", cart, unseen=unseen)
        env.reset(seed=0)
        poles.append(env.step(push)[0])
    assert np.array_equal(poles[0], poles[1]) and not np.array_equal(poles[0], poles[2])
    for unseen, said in [
        ({"frction": 1.0}, "unknown DI dynamics parameter 'frction'; did you mean 'friction'"),
        ({"friction": -1.0}, "'friction' must be finite and non-negative, not -1"),
    ]:
        with pytest.raises(UserError, match=said):
            make_batch("DI", di, unseen=unseen)
    with pytest.raises(UserError, match="unknown ODE dynamics parameter 'friction'"):
        make_batch("ODE", di, unseen={"friction": 1.0})


def test_settings_say_what_they_change():
    assert PROTOCOL.changes() == ""
    assert EvalSettings(delay=2, obs_noise=0.05, unseen={"friction": 0.5}).changes() == (
        "obs noise 0.05, delay 2, friction 0.5"
    )
    for bad in ({"delay": -1}, {"obs_noise": float("nan")}, {"code_noise": float("inf")}):
        with pytest.raises(UserError, match="must be non-negative and finite"):
            EvalSettings(**bad)


def test_codes_are_those_acted_on_also_after_a_short_warm_up():
    who, contexts = agent("dma-star"), np.array([[0.5, 1.0], [1.5, -1.0]])
    rollout = Rollout(who, "DI", contexts[None], 1, EvalSettings(warm_up=3))
    rollout.warm_up(words(0, 0, 2))
    acted, ended = [], False
    while not ended:
        code = rollout.conditioning()
        acted.append(code.vector[0].numpy())
        _, ended = rollout.step(rollout.mean_action(code))
    found = codes(rollout, [0], windows=100)[""][0].numpy()  # (C, 100, 8): all of them, in some order
    for c in range(2):
        expected = np.stack(acted)[:, c]
        order, other = np.lexsort(found[c].T.round(4)), np.lexsort(expected.T.round(4))
        np.testing.assert_allclose(found[c][order], expected[other], atol=1e-5)


# ------------------------------------------------------------------ maps


def test_grid_and_distance_by_hand():
    di, ode = get_spec("DI").dimensions, get_spec("ODE").dimensions
    assert np.allclose(outer_grid(di, 3), [[m, s] for m in (0.1, 1.05, 2.0) for s in (-1, 1)])
    grid = outer_grid(ode, 5)
    assert len(grid) == 25 and grid[:6].tolist() == [[-10, y] for y in (-10, -5, 0, 5, 10)] + [[-5, -10]]
    assert distance_outside(di, [[2.0, -1], [0.1, 1], [1.5, 1], [0.5, -1], [0.7, 1]]) == pytest.approx(
        [0.5, 0.4, 0, 0, 0]
    )
    found = distance_outside(ode, [[10, -7.5], [5, 5], [-6, 0], [-10, 10]])
    assert found == pytest.approx([(0.25 + 0.0625) ** 0.5, 0, 0.1, 0.5**0.5])
    for points, env in ((1, "DI"), (3, "ODE-3"), (3, "ODE-1")):
        with pytest.raises(UserError, match="two dimensions and at least 2 points per dimension"):
            outer_grid(get_spec(env).dimensions, points)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A finished run on ODE that learned for one episode."""
    settings = TrainSettings("ODE", "dma", replace(METHODS["dma"], **NARROW), random_steps=200, eval_every=400,
                             per_context=2, eval_rollouts=1)  # fmt: skip
    (path,) = Trainer(settings, [4], 400, tmp_path_factory.mktemp("runs"), progress=False).run()
    return path.with_suffix(".safetensors")


def test_rows_of_a_map_are_single_evaluations(checkpoint):
    table = measured.evaluate_map(checkpoint, points=4, rollouts=3)
    assert (table["arm"].iloc[0], table["seed"].iloc[0], table["steps"].iloc[0]) == (
        "dma+width=16+bottleneck=4+hypernetwork_width=8", 4, 400)  # fmt: skip
    who, _ = measured.load_policy(checkpoint)
    for row in (0, 5, 15):
        rollout = Rollout(who, "ODE", table.loc[[row], ["c0", "c1"]].to_numpy()[None], 3)
        returns = rollout.episode(words(4, 400, 48)[3 * row : 3 * row + 3])
        assert table["mean"][row] == pytest.approx(returns.mean(), abs=1e-9)
        assert table["sd"][row] == pytest.approx(returns.std(ddof=1), abs=1e-9)
    pd.testing.assert_frame_equal(table, measured.evaluate_map(checkpoint, points=4, rollouts=3, batch=7))
    late = measured.evaluate_map(checkpoint, points=4, rollouts=3, settings=EvalSettings(delay=5))
    assert not late["mean"].equals(table["mean"])
    assert not measured.evaluate_map(checkpoint, points=4, rollouts=3, seed=5)["mean"].equals(table["mean"])


def test_maps_that_cannot_be_used_are_named(checkpoint, tmp_path):
    folder = tmp_path / "ODE" / "dma"
    table = measured.evaluate_map(checkpoint, points=2, rollouts=1).assign(arm="dma")
    for seed in range(5):
        measured.write_table(table, folder / f"seed-{seed}.map.csv")
    (folder / "seed-1.map.csv").write_text("")
    measured.write_table(table.drop(columns="mean"), folder / "seed-2.map.csv")
    measured.write_table(table.assign(arm="dr"), folder / "seed-3.map.csv")
    (folder / "seed-4.safetensors").write_bytes(b"other networks")
    (folder / "seed-0.safetensors").write_bytes(checkpoint.read_bytes())
    good, bad = measured.read_tables(tmp_path)
    assert len(good) == 4 and good["sd"].isna().all()
    reasons = ("not a table", "lacks the column mean", "is of ODE/dr", "outdated for seed-4.safetensors")
    for said, reason in zip(bad, reasons, strict=True):
        assert reason in said and str(folder) in said
    assert measured.read_tables(tmp_path / "nowhere")[0].empty
    with pytest.raises(UserError, match="there are no maps of DI to draw"):
        maps.context_map(good, "DI")


def made_up(env, seeds, arm="dma"):
    """A map with known returns: 50 inside the training box, 50 - 100 x distance outside, plus the seed."""
    spec = get_spec(env)
    contexts = outer_grid(spec.dimensions, 21)
    table = pd.DataFrame(contexts, columns=[d.name for d in spec.dimensions])
    table["distance"] = distance_outside(spec.dimensions, contexts)
    about = {"env": env, "arm": arm, "steps": 1000, "rollouts": 4, "checkpoint": "0", "commit": "0", "sd": 2.0}
    return pd.concat([table.assign(seed=s, mean=50 - 100 * table["distance"] + s, **about) for s in seeds])


@pytest.mark.parametrize("env", ["DI", "ODE"])
def test_return_against_distance(env):
    one = maps._curve(env, made_up(env, [0]))
    assert np.allclose(one["mean"], 50 - 100 * one["distance"].abs())
    assert (one["distance"].min() < 0) == (env == "DI")  # lighter and heavier are distinguished
    inside = one[one["distance"] == 0].iloc[0]
    cells = (made_up(env, [0])["distance"] == 0).sum()
    assert inside["high"] - inside["low"] == pytest.approx(2 * 1.959964 * 2.0 / (4 * cells) ** 0.5)
    many = maps._curve(env, made_up(env, [0, 1, 2]))
    assert np.allclose(many["mean"], one["mean"] + 1)
    assert np.allclose(many["high"] - many["low"], 2 * 4.302653 / 3**0.5)  # Student's t, two degrees of freedom


def test_labels_are_kept_apart_in_order():
    places = maps._apart(np.array([50.0, 10.0, 51.0, 52.0]), 5.0)
    assert places.tolist() == [50.0, 10.0, 55.0, 60.0]


def test_the_same_maps_give_the_same_pictures(tmp_path, capsys):
    for env, arm in (("DI", "dma"), ("DI", "dma-star-sh"), ("ODE", "dr")):
        measured.write_table(made_up(env, [0], arm), tmp_path / "runs" / env / arm / "seed-0.map.csv")
    (tmp_path / "runs" / "DI" / "dma" / "seed-1.map.csv").write_text("half")
    a, b = (build.build_all(tmp_path / "runs", tmp_path / name) for name in "ab")
    assert [path.name for path in a] == [f"context-map-{e}.{x}" for e in ("DI", "ODE") for x in ("pdf", "png", "csv")]
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]
    assert "left out:" in capsys.readouterr().out
    figure, table = maps.context_map(measured.read_tables(tmp_path / "runs")[0], "DI")
    assert set(table["arm"]) == {"dma", "dma-star-sh"} and "c0" not in table
    lone = made_up("DI", [0]).assign(sd=np.nan, rollouts=1)  # a single episode gives no spread and no interval
    assert maps.context_map(lone, "DI")[1]["sd"].isna().all()
    strips = figure.subfigs[0].axes[0].collections
    assert [tuple(strip.get_clim()) for strip in strips] == [(0, 100), (0, 100)]  # one scale, 0 to the highest return
