"""The benchmark in external code: setting, reading, sampling, hiding and inferring contexts; scoring; copies."""

import copy
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, flatten, flatten_space
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RenderCollection

from dmash_core.benchmark import (
    SUITE,
    ContextObservation,
    ContextSampler,
    ContextSpace,
    TransitionWindow,
    VectorContextObservation,
    VectorContextSampler,
    VectorTransitionWindow,
    context_sets,
    evaluate,
    get_spec,
    make_batch,
    mujoco,
)
from dmash_core.errors import UserError
from dmash_core.evaluation import EVALUATION_STREAM, Evaluator, Rollout
from dmash_core.methods import METHODS
from dmash_core.training import raw_runs
from dmash_core.training.policies import block_contexts, make_agent

NAMES = [*SUITE, "ODE-3"]


def names_of(name):
    return [dimension.name for dimension in get_spec(name).dimensions]


def actions_for(name, steps, num_envs, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, num_envs, get_spec(name).act_dim))


def same(one, other):
    """Whether two results of `step` have bit-identical observations and rewards."""
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one[:2], other[:2], strict=True))


# ---- contexts at reset ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_context_set_at_reset_is_the_environment_made_with_it(name):
    sets, actions = context_sets(name), actions_for(name, 25, 20)
    fresh, moved = make_batch(name, sets["eval-out"]), make_batch(name, sets["train"])
    moved.reset(seed=1)
    moved.step(actions[0])
    moved.reset(seed=1, options={"context": sets["eval-in"]})  # and again, via another context
    first = moved.reset(seed=3, options={"context": sets["eval-out"]})
    assert np.array_equal(first[0], fresh.reset(seed=3)[0]) and np.array_equal(moved.contexts, sets["eval-out"])
    assert all(same(moved.step(action), fresh.step(action)) for action in actions)
    assert np.array_equal(moved.reset()[0], fresh.reset()[0])  # without options they do not change
    back, unmoved = moved.reset(seed=1, options={"context": sets["train"]}), make_batch(name, sets["train"])
    assert np.array_equal(back[0], unmoved.reset(seed=1)[0])
    assert all(same(moved.step(action), unmoved.step(action)) for action in actions)


def test_the_ways_to_say_a_context():
    batch = make_batch("DI", np.ones((2, 2)))
    for given, rows in [
        ({"mass": 0.5, "inversion": -1}, [[0.5, -1], [0.5, -1]]),
        ({"mass": [0.5, 2]}, [[0.5, 1], [2, 1]]),  # unnamed dimensions have their defaults
        ({"inversion": np.int64(-1)}, [[1, -1], [1, -1]]),
        ([0.5, -1], [[0.5, -1], [0.5, -1]]),
        ([[0.5, -1], [2, 1]], [[0.5, -1], [2, 1]]),
        ([{"mass": 0.5}, {"inversion": -1}], [[0.5, 1], [1, -1]]),
        (batch.context, [[1, 1], [1, 1]]),
        ({}, [[1, 1], [1, 1]]),
    ]:
        batch.reset(seed=0, options={"context": given})
        assert batch.contexts.tolist() == rows
        assert not batch.contexts.flags.writeable
    env = gymnasium.make("AIB/DI-v0", mass=2)
    env.reset(options={"context": {"inversion": -1}})
    assert env.unwrapped.context == {"mass": 1.0, "inversion": -1.0}
    env.reset(options={"context": np.array([0.7, 1])})
    assert env.unwrapped.context == {"mass": 0.7, "inversion": 1.0}
    env.reset(options={"context": None})
    env.reset(options={})
    assert env.unwrapped.context == {"mass": 0.7, "inversion": 1.0}


REFUSED = [
    ({"context": {"mas": 1}}, "unknown context 'mas'; did you mean 'mass'"),
    ({"context": {"mass": -1}}, "'mass' must be finite and positive, not -1"),
    ({"context": {"mass": np.inf}}, "'mass' must be finite"),
    ({"context": {"inversion": 0}}, "'inversion' must be -1 or 1, not 0"),
    ({"context": {"mass": "heavy"}}, "'mass' must be a number"),
    ({"context": {"mass": [1, 2, 3]}}, "'mass' must be a number"),
    ({"context": [1, 1, 1]}, r"a context must be .* \(mass, inversion\).*not an array of shape \(3,\)"),
    ({"context": [[1, 1]] * 3}, r"not an array of shape \(3, 2\)"),
    ({"context": "heavy"}, "a context must be"),
    ({"context": 0.5}, r"not an array of shape \(\)"),
    ({"contexts": {"mass": 1}}, "unknown reset option 'contexts'; did you mean 'context'"),
    ({"mass": 1}, "unknown reset option 'mass'"),
    ([("context", {"mass": 1})], "reset options must be a dictionary"),
]


@pytest.mark.parametrize("options, message", REFUSED)
def test_a_refused_reset_changes_nothing(options, message):
    env = gymnasium.make("AIB/DI-v0", mass=0.8)
    batch = make_batch("DI", [[0.8, 1], [0.9, -1]])
    env.reset(seed=1)
    batch.reset(seed=1)
    for thing, inside in ((env, env.unwrapped.batch), (batch, batch)):
        before = pickle.dumps(inside.state_dict())
        with pytest.raises(UserError, match=message) as caught:
            thing.reset(seed=5, options=options)
        assert "\n" not in str(caught.value)
        assert pickle.dumps(inside.state_dict()) == before


def test_a_list_of_contexts_is_one_for_each():
    with pytest.raises(UserError, match="2 environments need 2 contexts, not 3"):
        make_batch("DI", [[1, 1], [1, 1]]).reset(options={"context": [{"mass": 1}] * 3})
    with pytest.raises(UserError, match="unknown reset option 'reset_mask'; .*Valid: context"):
        gymnasium.make("AIB/DI-v0").reset(options={"reset_mask": [True]})


def test_a_context_that_does_not_compile_changes_nothing():
    batch = make_batch("Cartpole", [[0.5, 1]])
    batch.reset(seed=0)
    before = pickle.dumps(batch.state_dict())
    with pytest.raises(UserError, match="MuJoCo cannot simulate the context length = 1e-300"):
        batch.reset(seed=1, options={"context": [1e-300, 1]})
    assert pickle.dumps(batch.state_dict()) == before


def test_a_context_is_compiled_once(monkeypatch):
    compiled = []
    compile_ = mujoco.MujocoEnv.compile.__func__
    monkeypatch.setattr(
        mujoco.MujocoEnv, "compile", classmethod(lambda cls, *a, **k: compiled.append(a) or compile_(cls, *a, **k))
    )
    mujoco._compiled.cache_clear()
    env = gymnasium.make("AIB/Walker-v0")
    for gravity in (3.0, 4.0, 3.0, 9.81, 4.0):
        env.reset(options={"context": {"gravity": gravity}})
    gymnasium.make("AIB/Walker-v0", gravity=4.0)
    assert len(compiled) == 3
    assert mujoco._compiled.cache_info().currsize == 3


# ---- reading contexts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_context_stands_in_every_info(name):
    rows = context_sets(name)["eval-in"][:2]
    env = gymnasium.make(f"AIB/{name}-v0")
    expected = dict(zip(names_of(name), rows[1].tolist(), strict=True))
    infos = [env.reset(seed=0, options={"context": expected})[1], env.step(env.action_space.sample())[4]]
    assert infos == [{"context": expected}] * 2 and env.unwrapped.context == expected
    assert all(type(value) is float for value in infos[0]["context"].values())
    infos[1]["context"]["mass"] = 99
    assert env.unwrapped.context == expected  # the caller's value
    assert repr(env.unwrapped) in str(env)
    assert all(f"{key}={value:g}" in str(env) for key, value in expected.items())


def test_a_batch_s_info_is_what_gymnasium_makes_of_single_ones():
    batch = gymnasium.make_vec("AIB/DI-v0", num_envs=3, mass=[0.5, 1, 2], inversion=-1)
    single = [lambda mass=mass: gymnasium.make("AIB/DI-v0", mass=mass, inversion=-1) for mass in (0.5, 1, 2)]
    together = gymnasium.vector.SyncVectorEnv(single)
    actions = np.zeros((3, 2), dtype=np.float32)
    for ours, theirs in [
        (batch.reset(seed=0)[1], together.reset(seed=0)[1]),
        (batch.step(actions)[4], together.step(actions)[4]),
    ]:
        assert ours.keys() == theirs.keys() == {"context", "_context"}
        assert ours["context"].keys() == theirs["context"].keys()
        for key, value in theirs["context"].items():
            assert np.array_equal(ours["context"][key], value) and ours["context"][key].dtype == value.dtype
        assert np.array_equal(ours["_context"], theirs["_context"])
    lists = gymnasium.wrappers.vector.DictInfoToList(batch)
    assert lists.reset(seed=0)[1][2] == {"context": {"mass": 2.0, "inversion": -1.0}}
    with pytest.raises(ValueError, match="read-only"):
        ours["context"]["mass"][0] = 3
    assert batch.unwrapped.context["mass"].tolist() == [0.5, 1, 2]
    assert repr(batch) == "DoubleIntegrator(AIB/DI-v0, num_envs=3, mass=[0.5 1 2], inversion=-1)"
    assert "mass=0.5..1.5, inversion=-1..1" in repr(make_batch("DI", context_sets("DI")["train"]))
    assert "SingleEnv<AIB/DI-v0>(mass=0.8, inversion=-1)" in repr(gymnasium.make("AIB/DI-v0", mass=0.8, inversion=-1))


@pytest.mark.parametrize("name", NAMES)
def test_the_space_of_contexts(name):
    env, spec = gymnasium.make(f"AIB/{name}-v0").unwrapped, get_spec(name)
    space = env.context_space
    assert isinstance(space, gymnasium.spaces.Dict) and list(space) == list(space.names) == names_of(name)
    assert space.default == env.context and space.default in space and space.default in space.train
    sets = {k: [dict(zip(space.names, row, strict=True)) for row in v.tolist()] for k, v in context_sets(name).items()}
    assert all(context in space for rows in sets.values() for context in rows)
    assert all(context in space.train for context in sets["train"] + sets["eval-in"])
    assert not any(context in space.train for context in sets["eval-out"])
    for ranges in (space.train, space.outer):
        ranges.seed(3)
        drawn = [ranges.sample() for _ in range(200)]
        assert all(context in ranges and env.reset(options={"context": context}) for context in drawn[:3])
        ranges.seed(3)
        assert ranges.sample() == drawn[0]
        for dimension in spec.dimensions:
            values = [context[dimension.name] for context in drawn]
            if dimension.values is not None:
                assert set(values) == set(dimension.values)
            else:
                low, high = getattr(dimension, ranges.ranges)
                assert low <= min(values) < low + 0.1 * (high - low) < high - 0.1 * (high - low) < max(values) <= high
    # Gymnasium's flattened context, in the order of the dimensions
    flat = flatten(space, {k: np.asarray(v) for k, v in space.default.items()})
    assert isinstance(flatten_space(space), Box) and flat.tolist() == list(space.default.values())
    again = pickle.loads(pickle.dumps(space))
    assert again == space and isinstance(again, ContextSpace) and space.train != space
    assert all(word in repr(space) for word in (*space.names, "default"))


def test_what_is_not_in_the_space():
    space = gymnasium.make("AIB/DI-v0").unwrapped.context_space
    assert {"mass": 0.1, "inversion": -1} in space and {"mass": np.float32(2), "inversion": np.int64(1)} in space
    for wrong in ({"mass": 1}, {"mass": 1, "inversion": 0}, {"mass": 2.1, "inversion": 1}, [1, 1], None, {},
                  {"mass": "1 kg", "inversion": 1}, {"mass": [1], "inversion": 1}):  # fmt: skip
        assert wrong not in space
    with pytest.raises(UserError, match="unknown range of contexts 'inner'"):
        ContextSpace(get_spec("DI").dimensions, "inner")


# ---- wrappers ------------------------------------------------------------------------------------------------------


def test_the_context_in_the_observation():
    made = {"mass": 0.8, "inversion": -1}
    plain = gymnasium.make("AIB/DI-v0", **made).reset(seed=0)[0]
    flat = ContextObservation(gymnasium.make("AIB/DI-v0", **made))
    assert np.array_equal(flat.reset(seed=0)[0], np.float32([*plain, 0.8, -1]))
    assert flat.observation_space.low.tolist()[-2:] == [0, -1] and np.isinf(flat.observation_space.high[-2])
    mass = ContextObservation(gymnasium.make("AIB/DI-v0", **made), hidden=["inversion"])
    assert np.array_equal(mass.reset(seed=0)[0], np.float32([*plain, 0.8]))
    assert mass.reset(seed=0)[1]["context"] == made  # hidden from the agent, not from its user
    turned = ContextObservation(gymnasium.make("AIB/DI-v0", **made), features=["inversion", "mass"])
    assert turned.reset(seed=0)[0].tolist()[-2:] == [-1, np.float32(0.8)]
    apart = ContextObservation(gymnasium.make("AIB/DI-v0", **made), as_dict=True)
    observation, _ = apart.reset(seed=0)
    assert list(observation) == list(apart.observation_space) == ["obs", "context"]
    assert np.array_equal(observation["obs"], plain) and np.array_equal(observation["context"], np.float32([0.8, -1]))
    both = ContextObservation(TransitionWindow(gymnasium.make("AIB/DI-v0", **made)))
    assert list(both.reset(seed=0)[0]) == ["obs", "window", "context"]
    for options, message in [
        ({"features": ["friction"]}, "unknown context 'friction'"),
        ({"hidden": ["friction"]}, "unknown context 'friction'"),
        ({"hidden": ["mass", "inversion"]}, "no context feature to observe"),
    ]:
        with pytest.raises(UserError, match=message):
            ContextObservation(gymnasium.make("AIB/DI-v0"), **options)
    with pytest.raises(UserError, match="has no contexts"):
        ContextObservation(gymnasium.make("CartPole-v1"))
    with pytest.raises(UserError, match="VectorContextObservation wraps a batch: use ContextObservation for"):
        VectorContextObservation(gymnasium.make("AIB/DI-v0"))


WRAPPED = {
    "flat": lambda env: ContextObservation(ContextSampler(env, selector="random")),
    "dict": lambda env: ContextObservation(
        ContextSampler(env, "eval-out"), as_dict=True, hidden=env.unwrapped.context_space.names[:1]
    ),
    "uniform": lambda env: ContextSampler(env, selector="uniform"),
    "window": lambda env: TransitionWindow(ContextSampler(env, "eval-in", "random")),
}  # fmt: skip


@pytest.mark.filterwarnings(
    "error",
    "ignore:.*observation space (min|max)imum value is -?infinity",
    "ignore:.*is different from the unwrapped version",
)
@pytest.mark.parametrize("name", ["DI", "ODE-3", "Cartpole", "BallInCup", "HopperGym"])
@pytest.mark.parametrize("wrap", WRAPPED)
def test_gymnasium_checker_on_the_wrappers(name, wrap):
    env = WRAPPED[wrap](gymnasium.make(f"AIB/{name}-v0"))
    check_env(env, skip_render_check=True)
    observation, _ = env.reset(seed=1)
    assert observation in env.observation_space
    assert env.step(env.action_space.sample())[0] in env.observation_space


def contexts_of(env, resets, seed=None):
    first = [env.reset(seed=seed)[1]["context"]]
    return [tuple(context.values()) for context in first + [env.reset()[1]["context"] for _ in range(resets - 1)]]


def test_contexts_are_sampled_at_reset():
    train = [tuple(row) for row in context_sets("DI")["train"].tolist()]
    robin = ContextSampler(gymnasium.make("AIB/DI-v0"))
    assert contexts_of(robin, 25) == train + train[:5]
    assert contexts_of(robin, 3, seed=18) == [train[18], train[19], train[0]]  # the seed determines the first context
    random = ContextSampler(gymnasium.make("AIB/DI-v0"), "eval-out", "random")
    drawn = contexts_of(random, 200, seed=1)
    assert set(drawn) == {tuple(row) for row in context_sets("DI")["eval-out"].tolist()}
    assert contexts_of(random, 200, seed=1) == drawn != contexts_of(random, 200, seed=2)
    uniform = ContextSampler(gymnasium.make("AIB/DI-v0"), selector="uniform")
    masses, inversions = np.array(contexts_of(uniform, 200, seed=1)).T
    assert 0.5 <= masses.min() < 0.55 and 1.45 < masses.max() <= 1.5 and len(set(masses)) == 200
    assert 60 < (inversions == 1).sum() < 140
    own = ContextSampler(gymnasium.make("AIB/DI-v0"), selector=lambda rng: {"mass": rng.uniform(3, 4)})
    assert all(3 <= mass <= 4 and inversion == 1 for mass, inversion in contexts_of(own, 10, seed=0))
    assert contexts_of(own, 3, seed=0) == contexts_of(own, 3, seed=0)
    for given in ([[2, -1], [3, 1]], [{"mass": 2, "inversion": -1}, {"mass": 3}]):
        assert contexts_of(ContextSampler(gymnasium.make("AIB/DI-v0"), given), 3) == [(2, -1), (3, 1), (2, -1)]
    # a context in the options takes precedence and does not advance the round robin
    robin.reset(seed=0)
    assert robin.reset(options={"context": {"mass": 9}})[1]["context"] == {"mass": 9, "inversion": 1}
    assert tuple(robin.reset()[1]["context"].values()) == train[1]
    # the sampler does not change the initial states
    alone = gymnasium.make("AIB/DI-v0")
    assert np.array_equal(robin.reset(seed=5)[0], alone.reset(seed=5)[0])
    assert np.array_equal(robin.reset()[0], alone.reset()[0])
    third = ContextSampler(gymnasium.make("AIB/ODE-3-v0"), set_seed=3)
    assert np.array_equal(third.contexts, context_sets("ODE-3", 3)["train"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"context_set": "test"}, "unknown context set 'test'"),
        ({"selector": "best"}, "unknown selector 'best'"),
        ({"context_set": "eval-out", "selector": "uniform"}, "draws from the training range, not from 'eval-out'"),
        ({"context_set": [[1, 1]], "selector": "uniform"}, "not from given contexts"),
        ({"context_set": [[1, 0]]}, "'inversion' must be -1 or 1"),
        ({"context_set": [1, 1]}, r"shape \(B, 2\)"),
        ({"context_set": [{"mas": 1}]}, "unknown context 'mas'"),
    ],
)
def test_refused_samplers(options, message):
    with pytest.raises(UserError, match=message):
        ContextSampler(gymnasium.make("AIB/DI-v0"), **options)
    with pytest.raises(UserError, match=message):
        VectorContextSampler(gymnasium.make_vec("AIB/DI-v0", num_envs=2), **options)


def test_wrappers_of_a_batch_do_what_those_of_single_environments_do():
    """Compared with a SyncVectorEnv of the same environments, seeds and wrappers; each stream here is [seed, i]."""

    def single(i):
        env = gymnasium.make("AIB/DI-v0")
        return ContextObservation(TransitionWindow(ContextSampler(env, context_sets("DI")["train"][i:][:1])))

    batch = VectorContextObservation(
        VectorTransitionWindow(VectorContextSampler(gymnasium.make_vec("AIB/DI-v0", num_envs=4)))
    )
    ours, _ = batch.reset(seed=0)
    envs = [single(i) for i in range(4)]
    theirs = [env.reset(options={"context": context_sets("DI")["train"][i]})[0] for i, env in enumerate(envs)]
    physics = batch.unwrapped.state_dict()["physics"]
    for i, env in enumerate(envs):  # the same states
        alone = env.unwrapped.batch
        alone.load_state_dict(alone.state_dict() | {"physics": {k: v[i : i + 1] for k, v in physics.items()}})
        inner = env.env
        inner._observed, inner._window[:, :4] = ours["obs"][i], ours["obs"][i]
    for action in actions_for("DI", 30, 4):
        ours = batch.step(action)[0]
        theirs = [env.step(one)[0] for env, one in zip(envs, action, strict=True)]
        for key in ("obs", "window", "context"):
            assert np.array_equal(ours[key], np.stack([one[key] for one in theirs]))
    assert ours["window"].shape == (4, 24, 10)
    assert ours in batch.observation_space
    contexts = VectorContextSampler(gymnasium.make_vec("AIB/DI-v0", num_envs=4))
    rounds = [contexts.reset()[1]["context"]["mass"] for _ in range(5)]
    assert np.array_equal(np.concatenate(rounds), context_sets("DI")["train"][:, 0])
    with pytest.raises(UserError, match="single non-negative integer"):
        contexts.reset(seed=[1, 2, 3, 4])


def test_environments_of_gymnasium_s_vector_have_different_contexts():
    envs = gymnasium.make_vec(
        "AIB/DI-v0", num_envs=4, vectorization_mode="sync", wrappers=[lambda env: ContextSampler(env)]
    )
    assert np.array_equal(envs.reset(seed=0)[1]["context"]["mass"], context_sets("DI")["train"][:4, 0])


def test_the_window_is_the_one_that_dma_reads():
    agent = make_agent("DI", METHODS["dma-star"], [0])
    contexts = context_sets("DI")["train"][None, :5]
    driver = Rollout(agent, "DI", contexts)
    env = VectorTransitionWindow(gymnasium.make_vec("AIB/DI-v0", num_envs=5))
    seed = [(0, EVALUATION_STREAM, i) for i in range(5)]
    driver.reset(seed)
    driver.history.start_warm_up(driver.obs)
    observation, _ = env.reset(seed=seed, options={"context": contexts[0]})
    whole = torch.arange(24)

    def equal():
        first = driver.history._starts + (driver.history.now - 24)
        read = agent.layout.read(driver.history.rows.view(-1, agent.layout.row), first, whole)[0]
        return np.array_equal(read.numpy(), observation["window"])

    assert equal()
    for action in actions_for("DI", 24, 5).astype(np.float32):  # the warm-up
        driver.step(torch.from_numpy(action)[None])
        observation, *_ = env.step(action)
        assert equal()
    driver.reset()
    observation, _ = env.reset()  # the window continues
    assert equal()
    for action in actions_for("DI", 30, 5, 1).astype(np.float32):
        driver.step(torch.from_numpy(action)[None])
        observation, *_ = env.step(action)
        assert equal()
    kept = observation["window"][3].copy()
    changed = contexts[0].copy()
    changed[:3, 0] = 0.77
    observation, _ = env.reset(options={"context": changed})
    assert np.array_equal(observation["window"][3], kept)
    assert not observation["window"][:3, :, 4:].any()  # another context: copies of the first observation
    assert np.array_equal(observation["window"][0, 7, :4], observation["obs"][0])


def test_refused_windows():
    with pytest.raises(UserError, match="length must be at least 1, not 0"):
        TransitionWindow(gymnasium.make("AIB/DI-v0"), 0)
    with pytest.raises(UserError, match="apply it before any wrapper that returns a dict"):
        TransitionWindow(ContextObservation(gymnasium.make("AIB/DI-v0"), as_dict=True))
    with pytest.raises(UserError, match="pass length=K"):
        VectorTransitionWindow(make_batch("DI", [[1, 1]]))
    assert VectorTransitionWindow(make_batch("DI", [[1, 1]]), 3).reset(seed=0)[0]["window"].shape == (1, 3, 10)


# ---- scoring -------------------------------------------------------------------------------------------------------


def test_a_policy_is_scored_as_an_arm_is(tmp_path):
    """The same networks, evaluated by the Evaluator and as an external function."""
    agent = make_agent("ODE", METHODS["concat"], [3])
    evaluator = Evaluator(agent, "ODE", block_contexts("ODE", [3]), [3], 2)
    expected = evaluator(5_000)[0]

    def policy(observations, infos):
        contexts = np.stack([infos["context"][name] for name in ("c0", "c1")], axis=1)
        with torch.no_grad():
            code = agent.conditioning(None, torch.as_tensor(contexts, dtype=torch.float32)[None])
            return torch.tanh(agent.policy(torch.as_tensor(observations)[None], code)[0])[0].numpy()

    run = evaluate(policy, "AIB/ODE-v0", arm="somebody-s", seed=3, steps=5_000, rollouts=2, out=tmp_path)
    assert np.array_equal(run.frame["value"].to_numpy().reshape(3, 20, 2), expected) and expected.std() > 0
    assert run.path == tmp_path / "ODE" / "somebody-s" / "seed-3.parquet"
    again = raw_runs.read_run(run.path)
    assert again.meta["digest"] == run.meta["digest"] and again.meta["steps"] == 5_000
    assert raw_runs.load_returns([again]).equals(raw_runs.load_returns([run]))
    assert {split: np.shape(rows) for split, rows in again.meta["contexts"].items()} == dict.fromkeys(
        ("train", "eval-in", "eval-out"), (20, 2)
    )


def test_a_learning_curve_of_policies():
    curve = evaluate({step: lambda o, i, step=step: np.full((60, 2), step / 100) for step in (0, 50, 100)}, "ODE",
                     rollouts=1, seed=1)  # fmt: skip
    assert curve.meta["config"]["eval_every"] == 50 and curve.meta["config"]["eval_from"] == 0
    assert sorted(set(curve.frame["step"])) == [0, 50, 100]
    means = curve.frame.groupby("step")["value"].mean()
    assert len(set(means)) == 3
    alone = evaluate(lambda o, i: np.full((60, 2), 0.5), "ODE", rollouts=1, seed=1, steps=50)
    assert np.array_equal(alone.frame["value"], curve.frame.loc[curve.frame["step"] == 50, "value"])


def test_what_a_policy_is_told():
    seen = []

    def policy(observations, infos):
        seen.append(
            (infos["episode_start"].all(), infos["warm_up"].all(), observations.copy(), infos["context"].copy())
        )
        return np.zeros((60, 2))

    evaluate(policy, "DI", rollouts=1)
    starts = [start for start, *_ in seen]
    assert len(seen) == 124 and [i for i, start in enumerate(starts) if start] == [0, 24]
    assert [warm for _, warm, *_ in seen] == [True] * 24 + [False] * 100
    rows = np.concatenate(list(context_sets("DI").values()))
    assert np.array_equal(seen[50][3]["mass"], rows[:, 0]) and not np.array_equal(seen[0][2], seen[24][2])
    windows = []
    evaluate(lambda o, i: windows.append(o["window"]) or o["window"][:, -1, 4:6], "DI", rollouts=1,
             wrappers=[VectorTransitionWindow])  # fmt: skip
    assert windows[0].shape == (60, 24, 10) and len(windows) == 124


@pytest.mark.parametrize(
    "policy, options, message",
    [
        (lambda o, i: (np.zeros((60, 2)), None), {}, "only actions: the first element of Stable-Baselines3's predict"),
        ("policy.zip", {}, "a policy must be a function"),
        ({}, {}, "non-empty mapping"),
        ({0: len, 10: len, 30: len}, {}, "ascending and equally spaced, not at 0, 10, 30"),
        ({5: len, 15: len}, {}, r"multiples of their spacing \(10\), not at 15"),
        ({-5: len}, {}, "the steps of a policy must be a non-negative integer, not -5"),
        ({1.5: len}, {}, "the steps of a policy must be a non-negative integer, not 1.5"),
        ({5: len}, {"steps": 7}, "steps applies to a single policy"),
        (len, {"arm": "dma-star-sh"}, "is an arm of this repository"),
        (len, {"arm": "dr+masking=0.2"}, "is an arm of this repository"),
        (len, {"arm": "../up"}, "arm must consist of"),
        (len, {"rollouts": 0}, "rollouts must be at least 1"),
        (len, {"seed": -1}, "seed must be a non-negative integer"),
        (len, {"env_id": "AIB/DJ-v0"}, "unknown environment 'DJ'"),
        (len, {"wrappers": [ContextObservation]}, "use VectorContextObservation for a batch"),
    ],
)
def test_refused_policies(policy, options, message):
    options = {"rollouts": 1} | options
    with pytest.raises(UserError, match=message):
        evaluate(policy, options.pop("env_id", "DI"), **options)


def test_actions_that_do_not_fit_are_refused():
    with pytest.raises(gymnasium.error.InvalidAction, match=r"must have shape \(60, 2\), not \(60, 3\)"):
        evaluate(lambda o, i: np.zeros((60, 3)), "DI", rollouts=1)
    with pytest.raises(gymnasium.error.InvalidAction, match="not finite"):
        evaluate(lambda o, i: np.full((60, 2), np.nan), "DI", rollouts=1)


# ---- copies --------------------------------------------------------------------------------------------------------

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", COPIES)
def test_copies_continue_where_the_original_stands(name, how):
    actions = actions_for(name, 30, 20)
    batch = make_batch(name, context_sets(name)["train"], horizon=25)
    batch.reset(seed=1, options={"context": context_sets(name)["eval-out"]})
    for action in actions[:10]:
        batch.step(action)
    single = WRAPPED["window"](gymnasium.make(f"AIB/{name}-v0", max_episode_steps=25))
    single.reset(seed=2)
    for action in actions[:10]:
        single.step(action[0])
    twins = COPIES[how](batch), COPIES[how](single)
    for action in actions[10:25]:
        assert same(batch.step(action), twins[0].step(action))
        ours, theirs = single.step(action[0]), twins[1].step(action[0])
        assert ours[1] == theirs[1] and ours[2:] == theirs[2:]
        assert all(np.array_equal(ours[0][key], theirs[0][key]) for key in ours[0])
    assert np.array_equal(batch.reset()[0], twins[0].reset()[0])  # random streams too
    ours, theirs = single.reset(), twins[1].reset()
    assert np.array_equal(ours[0]["window"], theirs[0]["window"]) and ours[1] == theirs[1]
    assert twins[1].unwrapped.np_random is twins[1].unwrapped.batch.streams[0]
    with pytest.raises(ValueError, match="read-only"):
        twins[0].contexts[:] = 1
    state = pickle.dumps(batch.state_dict())
    twins[0].step(actions[0])  # a copy shares nothing
    assert pickle.dumps(batch.state_dict()) == state
    before = COPIES[how](make_batch(name, context_sets(name)["train"]))
    with pytest.raises(gymnasium.error.ResetNeeded):
        before.step(actions[0])


# ---- time limits, registration, pictures ---------------------------------------------------------------------------


def lengths(env, limit=400):
    env.reset(seed=0)
    for step in range(1, limit + 1):
        *_, terminated, truncated, _ = env.step(np.zeros(env.action_space.shape, dtype=np.float32))
        assert not np.any(terminated)
        if np.all(truncated):
            return step
    return None


def test_time_limits_are_those_of_gymnasium_s_own_environments():
    for name in NAMES:
        assert gymnasium.spec(f"AIB/{name}-v0").max_episode_steps == get_spec(name).horizon
    env = gymnasium.make("AIB/DI-v0")
    assert env.spec.max_episode_steps == 100 and lengths(env) == 100
    longer = gymnasium.make("AIB/DI-v0", max_episode_steps=150)
    assert longer.spec.max_episode_steps == 150 and lengths(longer) == 150
    assert lengths(gymnasium.make("AIB/DI-v0", max_episode_steps=7)) == 7
    assert lengths(gymnasium.make("AIB/DI-v0", max_episode_steps=-1)) is None
    assert lengths(gymnasium.make(gymnasium.make("AIB/DI-v0", max_episode_steps=7).spec)) == 7
    for steps in (5, 150):
        assert lengths(gymnasium.make_vec("AIB/DI-v0", num_envs=2, max_episode_steps=steps)) == steps
    assert lengths(gymnasium.make_vec("AIB/DI-v0", num_envs=2)) == 100
    assert lengths(gymnasium.make_vec("AIB/DI-v0", num_envs=2, max_episode_steps=-1)) is None
    synced = gymnasium.make_vec("AIB/DI-v0", num_envs=2, max_episode_steps=5, vectorization_mode="sync")
    assert lengths(synced) == 5
    for wrong in (0, -2, 1.5, True, "long"):
        with pytest.raises(UserError, match="max_episode_steps must be a positive integer"):
            gymnasium.make_vec("AIB/DI-v0", num_envs=2, max_episode_steps=wrong)


@pytest.mark.parametrize(
    "script",
    [
        "import dmash_core, gymnasium; env = gymnasium.make('AIB/DI-v0')",
        "import gymnasium, dmash_core; env = gymnasium.make('AIB/ODE-20-v0')",
        "import gymnasium; env = gymnasium.make('dmash_core:AIB/DI-v0')",
        "import gymnasium; env = gymnasium.make('dmash_core.benchmark:AIB/DI-v0')",
        "import gymnasium; env = gymnasium.make_vec('dmash_core:AIB/DI-v0', num_envs=2)",
    ],
)
def test_environments_are_registered(script):
    script += "; env.reset(seed=0); import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr  # torch is not needed either


@pytest.mark.parametrize("name", ["DI", "DI-Friction", "DI-Perm", "ODE", "ODE-20"])
def test_the_toys_have_pictures(name):
    env = gymnasium.make(f"AIB/{name}-v0", render_mode="rgb_array")
    assert env.metadata["render_modes"] == ["rgb_array"] and env.metadata["render_fps"] in (10, 100)
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (240, 320, 3) and first.dtype == np.uint8 and first.std() > 5
    for _ in range(5):
        env.step(np.ones(2, dtype=np.float32))
        env.unwrapped.batch._set_physics({k: v + 0.1 for k, v in env.unwrapped.batch._get_physics().items()})
    assert (env.render() != first).any()
    assert gymnasium.make(f"AIB/{name}-v0").unwrapped.render() is None
    dimension = get_spec(name).dimensions[-1]
    ends = dimension.values or dimension.outer
    vector = gymnasium.make_vec(f"AIB/{name}-v0", num_envs=2, render_mode="rgb_array", **{dimension.name: ends})
    vector.reset(seed=[0, 0])
    one, other = vector.render()
    assert name == "DI-Friction" or (one != other).any()  # friction is not drawn
    frames = RenderCollection(env)
    frames.reset(seed=0)
    frames.step(np.zeros(2, dtype=np.float32))
    assert len(frames.render()) == 2
