"""The benchmark against its specification: literal numbers, plain loops, symmetries, seeding, errors."""

import json
import math
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from scipy.stats import kstest

from dmash_core.benchmark import SETS, SUITE, ContextDimension, context_sets, get_spec, make_batch, overview
from dmash_core.benchmark.contexts import build_context_sets, check_disjoint
from dmash_core.errors import UserError

NAMES = ["DI", "DI-Friction", "DI-Perm", "ODE", "ODE-3"]
MUJOCO = ["Cartpole", "Cheetah", "Reacher-E", "Reacher-H", "Reacher-H-Perm", "BallInCup", "Walker", "WalkerGym"]
MUJOCO += ["HopperGym"]  # its physics is tested in test_mujoco.py
ALL = NAMES + MUJOCO


def episode(name):
    """An episode length short enough for a test."""
    return 25 if name in MUJOCO else get_spec(name).horizon


def step_from(name, context, physics, action):
    """One step of one environment from a given physics state: (physics after, observation, reward)."""
    batch = make_batch(name, [context])
    batch.reset(seed=0)
    state = batch.state_dict()
    state["physics"] = {key: np.array([value], dtype=np.float64) for key, value in physics.items()}
    batch.load_state_dict(state)
    observations, rewards, *_ = batch.step([action])
    return {key: array[0] for key, array in batch.state_dict()["physics"].items()}, observations[0], rewards[0]


def rollout(name, contexts, actions, seed=0):
    """Observations (T + 1, B, obs_dim) and rewards (T, B) of one episode under `actions` (T, B, act_dim)."""
    batch = make_batch(name, contexts, len(actions))
    observations, rewards = [batch.reset(seed=seed)[0]], []
    for action in actions:
        observation, reward, *_ = batch.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards)


def random_actions(steps, num_envs, seed=0, act_dim=2):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, num_envs, act_dim))


# ---- physics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, context, velocity",
    [
        ("DI", (0.8, -1), (0.15, -0.175)),  # F = (-0.4, 1)
        ("DI", (0.8, 1), (0.25, -0.425)),  # F = (0.4, -1)
        ("DI-Friction", (0.5, 1.5), (0.22, -0.41)),  # v shrinks by 1 - 0.1 * 1.5 / 0.5 = 0.7; F = (0.4, -1)
        ("DI-Perm", (2.0, 1), (0.15, -0.28)),  # F = (-1, 0.4)
        ("DI-Perm", (2.0, 0), (0.22, -0.35)),  # F = (0.4, -1)
    ],
)
def test_double_integrator_step_by_hand(name, context, velocity):
    physics, observation, reward = step_from(name, context, {"p": (0.5, -0.9), "v": (0.2, -0.3)}, (0.4, -1.0))
    np.testing.assert_allclose(physics["p"], (0.52, -0.93), rtol=0, atol=1e-15)  # with the velocity before the step
    np.testing.assert_allclose(physics["v"], velocity, rtol=0, atol=1e-15)
    np.testing.assert_allclose(observation, (0.52, -0.93, *velocity), rtol=0, atol=1e-7)
    assert reward == 0


def test_double_integrator_clips_force_position_and_velocity():
    physics, *_ = step_from("DI", (1.0, 1), {"p": (0.95, -0.95), "v": (1, -0.97)}, (5, -1))
    assert physics["p"].tolist() == [1, -1] and physics["v"].tolist() == [1, -1]
    physics, *_ = step_from("DI", (1.0, -1), {"p": (0, 0), "v": (0, 0)}, (5, 0.5))
    np.testing.assert_allclose(physics["v"], (-0.1, -0.05), atol=1e-15)


@pytest.mark.parametrize(
    "position, velocity, reward",
    [
        ((0.1, 0), (0, 0), 1),  # the boundary belongs to the goal
        ((0.1 + 1e-9, 0), (0, 0), 0),
        ((0.08, 0.08), (0, 0), 0),  # Euclidean norm, not the largest entry
        ((-0.06, 0.07), (0, 0), 1),
        ((0.15, 0), (-1, 0), 1),  # reward of the state reached
        ((0.05, 0), (1, 0), 0),
    ],
)
def test_double_integrator_reward(position, velocity, reward):
    assert step_from("DI", (1.0, 1), {"p": position, "v": velocity}, (0, 0))[2] == reward


def test_ode_step_by_hand():
    # a = 0.6 + 0.8i, a^2 = -0.28 + 0.96i, a^3 = -0.936 + 0.352i
    physics, observation, _ = step_from("ODE", (2, -3), {"x": 1.0}, (0.6, 0.8))
    assert physics["x"] == pytest.approx(1 + 0.01 * (1.2 + 0.84), abs=1e-15)
    assert observation == pytest.approx([1.0204], abs=1e-6)
    physics, *_ = step_from("ODE-3", (2, -3, 4), {"x": 1.0}, (0.6, 0.8))
    assert physics["x"] == pytest.approx(1 + 0.01 * (1.2 + 0.84 - 3.744), abs=1e-15)
    physics, *_ = step_from("ODE-1", (2,), {"x": 1.0}, (0.6, 0.8))
    assert physics["x"] == pytest.approx(1.012, abs=1e-15)


def test_ode_clips_state_and_action():
    assert step_from("ODE", (10, 0), {"x": 19.95}, (1, 0))[0]["x"] == 20
    assert step_from("ODE", (10, 0), {"x": -19.95}, (-1, 0))[0]["x"] == -20
    assert step_from("ODE", (10, 0), {"x": 0}, (7, 0))[0]["x"] == pytest.approx(0.1)


@pytest.mark.parametrize("sign", [-1, 1])
def test_ode_reward_levels(sign):
    levels = {0: 1, 0.049: 1, 0.05: 1 / 2, 0.099: 1 / 2, 0.1: 1 / 3, 0.199: 1 / 3, 0.2: 1 / 4, 0.499: 1 / 4}
    levels |= {0.5: 0.05, 1.999: 0.05, 2: 0, 19: 0}
    for x, reward in levels.items():
        assert step_from("ODE", (0, 0), {"x": sign * x}, (1, 1))[2] == reward, x
    assert step_from("ODE", (5, 0), {"x": -0.05}, (1, 0))[2] == 1  # reaches 0


class PlainDoubleIntegrator:
    """The twin of one environment, in Python floats."""

    def __init__(self, name, context, rng):
        self.mass, second = context.tolist()
        self.friction = second if name == "DI-Friction" else 0.0
        self.inversion = second if name == "DI" else 1.0
        self.swap = name == "DI-Perm" and second == 1
        self.rng = rng

    def reset(self):
        u = [self.rng.uniform(-0.2, 0.2) for _ in range(2)]
        self.p = [x + 0.8 if x > 0 else x - 0.8 for x in u]
        self.v = [0.0, 0.0]
        return [*self.p, *self.v]

    def step(self, action):
        a = action.tolist()
        if self.swap:
            a = [a[1], a[0]]
        for i in range(2):
            force = min(max(self.inversion * a[i], -1.0), 1.0)
            self.p[i] = min(max(self.p[i] + self.v[i] * 0.1, -1.0), 1.0)
            v = self.v[i] * (1 - 0.1 * self.friction / self.mass) + force / self.mass * 0.1
            self.v[i] = min(max(v, -1.0), 1.0)
        reward = 1.0 if math.sqrt(self.p[0] * self.p[0] + self.p[1] * self.p[1]) <= 0.1 else 0.0
        return [*self.p, *self.v], reward


class PlainODE:
    def __init__(self, name, context, rng):
        self.c, self.rng = context.tolist(), rng

    def reset(self):
        self.x = self.rng.uniform(-1, 1)
        return [self.x]

    def step(self, action):
        a = complex(*action.tolist())
        xdot, power = 0.0, complex(1)
        for c in self.c:
            power = power * a
            xdot += c * power.real
        self.x = min(max(self.x + 0.01 * xdot, -20.0), 20.0)
        for edge, reward in [(0.05, 1), (0.1, 1 / 2), (0.2, 1 / 3), (0.5, 1 / 4), (2, 0.05)]:
            if abs(self.x) < edge:
                return [self.x], reward
        return [self.x], 0.0


@pytest.mark.parametrize("name", [*NAMES, "ODE-20"])
def test_batch_is_bitwise_a_loop_over_single_environments(name):
    contexts = np.concatenate(list(context_sets(name).values()))
    spec, batch = get_spec(name), make_batch(name, contexts)
    plain_class = PlainODE if name.startswith("ODE") else PlainDoubleIntegrator
    plain = [plain_class(name, c, np.random.default_rng([5, i])) for i, c in enumerate(contexts)]
    actions = random_actions(300, len(contexts))
    observed = batch.reset(seed=5)[0]
    assert np.array_equal(observed, np.array([env.reset() for env in plain], dtype=np.float32))
    rewarded = 0.0
    for t, action in enumerate(actions):
        if t and t % spec.horizon == 0:
            observed = batch.reset()[0]
            assert np.array_equal(observed, np.array([env.reset() for env in plain], dtype=np.float32))
        observed, rewards, terminated, truncated, _ = batch.step(action)
        expected, expected_rewards = zip(*[env.step(a) for env, a in zip(plain, action, strict=True)], strict=True)
        state = np.concatenate([array.reshape(len(plain), -1) for array in batch.state_dict()["physics"].values()], 1)
        assert np.array_equal(state, np.array(expected)), t  # float64, bit for bit
        assert np.array_equal(observed, np.array(expected, dtype=np.float32)) and observed.dtype == np.float32
        assert np.array_equal(rewards, expected_rewards) and rewards.dtype == np.float64
        assert not terminated.any() and (truncated == ((t + 1) % spec.horizon == 0)).all()
        rewarded += rewards.sum()
    assert rewarded > 0


def test_double_integrator_resets_in_the_four_corners():
    num_envs = 4000
    observations, _ = make_batch("DI", np.tile([1.0, 1.0], (num_envs, 1))).reset(seed=1)
    p, v = observations[:, :2].astype(np.float64), observations[:, 2:]
    assert not v.any()
    assert (np.abs(p) > 0.8).all() and (np.abs(p) <= 1).all()
    corners = np.bincount((p[:, 0] > 0) * 2 + (p[:, 1] > 0), minlength=4)
    assert (np.abs(corners - num_envs / 4) < 5 * math.sqrt(num_envs * 3 / 16)).all()
    for entry in np.abs(p).T:
        assert kstest(entry, "uniform", args=(0.8, 0.2)).pvalue > 1e-3
    assert abs(np.corrcoef(np.abs(p).T)[0, 1]) < 5 / math.sqrt(num_envs)


def test_ode_resets_uniformly():
    batch = make_batch("ODE", np.zeros((4000, 2)))
    x = batch.reset(seed=1)[0][:, 0]
    assert kstest(x, "uniform", args=(-1, 2)).pvalue > 1e-3
    assert not np.isin(batch.reset()[0][:, 0], x).any()  # the streams continue


# ---- symmetries, and that every context reaches the physics --------------------------------------------------------


def test_inversion_is_the_negated_action():
    mass, actions = np.linspace(0.5, 1.5, 7), random_actions(100, 7)
    plus = rollout("DI", np.stack([mass, np.ones(7)], 1), actions)
    minus = rollout("DI", np.stack([mass, -np.ones(7)], 1), -actions)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(plus, minus, strict=True))


def test_swap_is_the_exchanged_action():
    mass, actions = np.linspace(0.5, 1.5, 7), random_actions(100, 7)
    straight = rollout("DI-Perm", np.stack([mass, np.zeros(7)], 1), actions)
    swapped = rollout("DI-Perm", np.stack([mass, np.ones(7)], 1), actions[:, :, ::-1])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(straight, swapped, strict=True))


def test_double_integrators_agree_where_their_contexts_do():
    mass, actions = np.linspace(0.5, 1.5, 7), random_actions(100, 7)
    variants = [("DI", 1), ("DI-Perm", 0), ("DI-Friction", 0)]
    runs = [rollout(name, np.stack([mass, np.full(7, second)], 1), actions)[0] for name, second in variants]
    assert np.array_equal(runs[0], runs[1]) and np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize(
    "name, j", [(name, j) for name in [*NAMES, "ODE-20"] for j in range(len(get_spec(name).dimensions))]
)
def test_every_context_dimension_changes_the_trajectory(name, j):
    dimensions = get_spec(name).dimensions
    contexts = np.tile([dimension.default for dimension in dimensions], (2, 1))
    contexts[:, j] = dimensions[j].grid("train")[[0, -1]]
    actions = np.repeat(random_actions(50, 1), 2, axis=1)
    observations, _ = rollout(name, contexts, actions, seed=[(3, 1), (3, 1)])
    assert np.array_equal(observations[0, 0], observations[0, 1])
    assert np.abs(observations[-1, 0] - observations[-1, 1]).max() > 1e-4


# ---- context sets --------------------------------------------------------------------------------------------------


def test_continuous_grids():
    mass = get_spec("DI").dimensions[0]
    train, inside, outside = (mass.grid(which) for which in SETS)
    # train: steps of 1 / 49; eval-in: steps of 0.98 / 49 = 0.02; eval-out: steps of 0.39 / 24 and 0.49 / 24
    assert train[:4].tolist() == [0.5, 0.5204, 0.5408, 0.5612] and train[-2:].tolist() == [1.4796, 1.5]
    assert inside[:3].tolist() == [0.51, 0.53, 0.55] and inside[-1] == 1.49
    assert outside[:3].tolist() == [0.1, 0.1162, 0.1325] and outside[24:27].tolist() == [0.49, 1.51, 1.5304]
    assert outside[-1] == 2.0
    c0 = get_spec("ODE").dimensions[0]
    assert c0.grid("train")[:2].tolist() == [-5, -4.7959] and c0.grid("eval-in")[:2].tolist() == [-4.9, -4.7]
    assert c0.grid("eval-out")[[0, 24, 25, 49]].tolist() == [-10, -5.1, 5.1, 10]
    for dimension in (mass, c0, get_spec("DI-Friction").dimensions[1]):
        assert all(len(np.unique(dimension.grid(which))) == 50 for which in SETS)


def test_training_set_of_the_double_integrator():
    sets = context_sets("DI")
    # Every 99 / 19 = 5.21th of the 100 pairs, rounded down: 0, 5, 10, 15, 20, 26, ..., 93, 99
    assert sets["train"][:6].tolist() == [[0.5, -1], [0.5408, 1], [0.602, -1], [0.6429, 1], [0.7041, -1], [0.7653, -1]]
    assert sets["train"][-2:].tolist() == [[1.4388, 1], [1.5, 1]]
    assert sets["eval-in"][[0, 1, -1]].tolist() == [[0.51, -1], [0.55, 1], [1.49, 1]]
    assert sets["eval-out"][[0, 1, -1]].tolist() == [[0.1, -1], [0.1325, 1], [2.0, 1]]
    for contexts in sets.values():
        assert (contexts[:, 1] == -1).sum() == 11 and (contexts[:, 1] == 1).sum() == 9


def test_product_of_two_continuous_dimensions():
    train = context_sets("ODE")["train"]
    # Every 2499 / 19 = 131.5th of the 2500 pairs: 131 = 2 * 50 + 31, 263 = 5 * 50 + 13
    expected = [[-5, -5], [-5 + 20 / 49, -5 + 310 / 49], [-5 + 50 / 49, -5 + 130 / 49]]
    np.testing.assert_array_equal(train[:3], np.round(expected, 4))
    assert train[-1].tolist() == [5, 5]


@pytest.mark.parametrize("name", [*SUITE, "ODE-1", "ODE-3", "ODE-20"])
def test_sets_are_complete_disjoint_and_in_their_ranges(name):
    spec, sets = get_spec(name), context_sets(name, seed=4)
    assert list(sets) == list(SETS)
    for contexts in sets.values():
        assert contexts.shape == (20, len(spec.dimensions)) and contexts.dtype == np.float64
        assert len(np.unique(contexts, axis=0)) == 20
        make_batch(name, contexts).reset(seed=0)
    for first, second in [("train", "eval-in"), ("train", "eval-out"), ("eval-in", "eval-out")]:
        assert not (sets[first][:, None] == sets[second][None]).all(axis=2).any()
    for j, dimension in enumerate(spec.dimensions):
        if dimension.values is not None:
            assert all(set(contexts[:, j]) == set(dimension.values) for contexts in sets.values())
            continue
        low, high = dimension.train
        assert (low <= sets["train"][:, j]).all() and (sets["train"][:, j] <= high).all()
        assert (low < sets["eval-in"][:, j]).all() and (sets["eval-in"][:, j] < high).all()
        outside = sets["eval-out"][:, j]
        assert ((outside < low) | (outside > high)).all()  # in all continuous dimensions
        assert dimension.outer[0] <= outside.min() and outside.max() <= dimension.outer[1]


def test_many_dimensions_are_drawn_independently_from_the_seed():
    sets, again, other = context_sets("ODE-20", 1), context_sets("ODE-20", 1), context_sets("ODE-20", 2)
    for which in SETS:
        assert np.array_equal(sets[which], again[which]) and not np.array_equal(sets[which], other[which])
        grid = get_spec("ODE-20").dimensions[0].grid(which)
        assert np.isin(sets[which], grid).all()
        columns = np.searchsorted(grid, sets[which]).T
        assert len({tuple(column) for column in columns}) == 20
        assert len(np.unique(columns)) == 50  # 400 draws reach every value
    assert np.array_equal(context_sets("DI", 1)["train"], context_sets("DI", 2)["train"])


def test_many_dimensions_are_the_releases_instances():
    """One legacy generator, from the run's seed, draws set by set, context by context, coordinate by coordinate."""
    rng, sets = np.random.RandomState(3), context_sets("ODE-3", 3)  # noqa: NPY002
    for which in ("train", "eval-in", "eval-out"):
        grid = get_spec("ODE-3").dimensions[0].grid(which)
        rows = [tuple(grid[rng.randint(0, 50)] for _ in range(3)) for _ in range(20)]
        assert sets[which].tolist() == [list(row) for row in sorted(rows)]
    assert sets["train"][0].tolist() == [-4.5918, -4.7959, 0.3061]


def test_a_shared_instance_is_caught():
    sets = context_sets("DI")
    sets["eval-out"][3] = sets["train"][7]
    with pytest.raises(ValueError, match="'train' and 'eval-out' are not disjoint"):
        check_disjoint(sets)
    with pytest.raises(ValueError, match="not disjoint"):  # without a continuous dimension the sets coincide
        build_context_sets([ContextDimension("inversion", 1, values=(-1, 1))])


def test_table():
    rows = {
        n: (s.overlapping, s.horizon, s.window, s.gradient_steps, s.score_low, s.score_high) for n, s in SUITE.items()
    }
    assert rows["DI"] == rows["DI-Perm"] == (False, 100, 24, 100_000, 0, 100)
    assert rows["DI-Friction"] == (True, 100, 24, 100_000, 0, 100)
    assert rows["ODE"] == (False, 200, 24, 100_000, 0, 200)
    assert rows["Cartpole"] == (False, 1000, 128, 100_000, 0, 1000)
    for name in ("Cheetah", "Reacher-E", "Reacher-H", "Reacher-H-Perm"):
        assert rows[name] == (False, 1000, 128, 200_000, 0, 1000)
    assert rows["BallInCup"] == rows["Walker"] == (True, 1000, 128, 200_000, 0, 1000)
    assert rows["WalkerGym"] == rows["HopperGym"] == (True, 1000, 128, 500_000, 0, 4000)
    assert len(rows) == 13  # including ODE-k
    ranges = {(n, d.name): (d.default, d.train, d.outer) for n, s in SUITE.items() for d in s.dimensions if d.train}
    gravity, factor = (9.81, (4.91, 14.71), (0.98, 19.62)), (1, (0.8, 1.2), (0.4, 1.6))
    assert {key: values for key, values in ranges.items() if key[0] in MUJOCO} == {
        ("Cartpole", "length"): (0.5, (0.3, 0.85), (0.1, 2.0)),
        ("Cheetah", "length"): factor,
        ("Reacher-E", "length"): factor,
        ("Reacher-H", "length"): factor,
        ("Reacher-H-Perm", "length"): factor,
        ("BallInCup", "gravity"): (9.81, (8, 12), (1, 20)),
        ("BallInCup", "length"): (0.3, (0.24, 0.36), (0.1, 0.5)),
        **{(name, "gravity"): gravity for name in ("Walker", "WalkerGym", "HopperGym")},
        **{(name, "strength"): (1, (0.5, 1.5), (0.1, 2.0)) for name in ("Walker", "WalkerGym", "HopperGym")},
    }
    second = {name: SUITE[name].dimensions[1].name for name in MUJOCO[:5]}
    assert second.pop("Reacher-H-Perm") == "swap" and set(second.values()) == {"inversion"}
    assert [d.name for d in get_spec("DI").dimensions] == ["mass", "inversion"]
    assert [get_spec("DI-Friction").dimensions[1].name, get_spec("DI-Perm").dimensions[1].name] == ["friction", "swap"]
    for k in range(1, 21):
        assert [d.name for d in get_spec(f"ODE-{k}").dimensions] == [f"c{j}" for j in range(k)]
    for name in ALL:
        spec = get_spec(name)
        batch = make_batch(name, context_sets(name)["train"])
        assert batch.observation_space.shape == (20, spec.obs_dim) and batch.action_space.shape == (20, spec.act_dim)
        assert batch.horizon == spec.horizon and batch.metadata["autoreset_mode"] is AutoresetMode.DISABLED
        assert batch.reset(seed=0)[0].shape == (20, spec.obs_dim)
    for name in NAMES:
        assert [d.default for d in get_spec(name).dimensions] == {
            "DI": [1, 1], "DI-Friction": [1, 1], "DI-Perm": [1, 0], "ODE": [0, 0], "ODE-3": [0, 0, 0]
        }[name]  # fmt: skip


def test_overview():
    rows = {row["environment"]: list(row.values())[1:] for row in overview()}
    assert list(rows) == [*NAMES[:4], "ODE-k", *MUJOCO]
    contexts = "gravity 9.81, [8, 12], [1, 20]; length 0.3, [0.24, 0.36], [0.1, 0.5]"
    assert rows["BallInCup"] == ["dm_control ball_in_cup catch", 8, 2, contexts, "O", 1000, 128, 200_000, 1000]
    assert rows["DI"][3].endswith("; inversion in {-1, 1}") and rows["ODE"][0] == "own"


# ---- episodes, streams, snapshots ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_seeding(name):
    drawn = 2 if name == "BallInCup" else 0  # an observation entry that is random at reset
    batch = make_batch(name, np.repeat(context_sets(name)["train"][:1], 20, axis=0))
    first = batch.reset(seed=7)[0]
    second = batch.reset()[0]
    assert np.array_equal(batch.reset(seed=7)[0], first) and np.array_equal(batch.reset()[0], second)
    assert not np.isclose(first[:, drawn], second[:, drawn], atol=1e-9, rtol=0).any()
    assert len(np.unique(first[:, drawn])) == 20  # environments of a batch differ
    assert not np.isin(batch.reset(seed=8)[0][:, drawn], first[:, drawn]).any()
    assert np.array_equal(batch.reset(seed=[(7, i) for i in range(20)])[0], first)
    reversed_seeds = [(7, i) for i in reversed(range(20))]
    assert np.array_equal(batch.reset(seed=reversed_seeds)[0], first[::-1])
    assert np.array_equal(batch.reset(seed=np.arange(20))[0], batch.reset(seed=list(range(20)))[0])
    unseeded = make_batch(name, batch.contexts)
    assert not np.array_equal(unseeded.reset()[0], make_batch(name, batch.contexts).reset()[0])


@pytest.mark.parametrize("name", ALL)
def test_an_environment_does_not_depend_on_its_batch(name):
    contexts, spec = context_sets(name)["train"], get_spec(name)
    actions = random_actions(episode(name), 20, act_dim=spec.act_dim)
    observations, rewards = rollout(name, contexts, actions, seed=9)
    for i in (0, 7, 19):
        alone = rollout(name, contexts[i : i + 1], actions[:, i : i + 1], seed=[(9, i)])
        assert np.array_equal(alone[0][:, 0], observations[:, i]) and np.array_equal(alone[1][:, 0], rewards[:, i])
    keywords = {dimension.name: value for dimension, value in zip(spec.dimensions, contexts[0], strict=True)}
    single = gymnasium.make(f"AIB/{name}-v0", **keywords)
    assert np.array_equal(single.reset(seed=9)[0], observations[0, 0])
    for t, action in enumerate(actions):
        observation, reward, terminated, truncated, _ = single.step(action[0])
        assert np.array_equal(observation, observations[t + 1, 0]) and reward == rewards[t, 0]
        assert terminated is False and truncated is (t == spec.horizon - 1)


@pytest.mark.parametrize("name", ALL)
def test_snapshot_continues_bit_for_bit(name):
    contexts, length = context_sets(name)["train"], episode(name)
    actions = random_actions(2 * length, 20, act_dim=get_spec(name).act_dim)
    cut = length // 2

    def run(batch, start):
        record = []
        for t in range(start, len(actions)):
            if t == length:
                record.append(batch.reset()[0])
            observation, reward, _, truncated, _ = batch.step(actions[t])
            record += [observation, reward, truncated]
        return b"".join(array.tobytes() for array in record)

    batch = make_batch(name, contexts, length)
    batch.reset(seed=2)
    for action in actions[:cut]:
        batch.step(action)
    state = batch.state_dict()
    stored = json.dumps({"elapsed": state["elapsed"], "streams": state["streams"]})
    expected = run(batch, cut)  # steps and resets must not modify the snapshot
    other = make_batch(name, contexts, length)
    other.reset(seed=99)
    other.load_state_dict(state | json.loads(stored))
    assert run(other, cut) == expected
    fresh = make_batch(name, contexts, length)
    fresh.load_state_dict(state)
    assert run(fresh, cut) == expected
    with pytest.raises(UserError, match="different contexts"):
        make_batch(name, context_sets(name)["eval-in"]).load_state_dict(state)


@pytest.mark.parametrize("name", SUITE)
def test_a_reset_right_after_loading_starts_afresh(name):
    """Checkpoints are written at the end of an episode: the next call is a reset, before any step."""
    batch, other = (make_batch(name, context_sets(name)["train"]) for _ in range(2))
    batch.reset(seed=1)
    for _ in range(5):
        batch.step(np.full(batch.action_space.shape, 0.3))
    other.load_state_dict(batch.state_dict())
    assert np.array_equal(other.reset()[0], batch.reset()[0])


@pytest.mark.parametrize("name", NAMES)
def test_episode_ends_at_the_horizon_and_not_beyond(name):
    spec = get_spec(name)
    batch = make_batch(name, context_sets(name)["train"])
    action = np.zeros((20, 2))
    with pytest.raises(ResetNeeded, match="before the first step"):
        batch.step(action)
    for _ in range(2):
        batch.reset(seed=0)
        flags = [batch.step(action)[2:4] for _ in range(spec.horizon)]
        assert not any(truncated.any() for _, truncated in flags[:-1]) and flags[-1][1].all()
        assert not any(terminated.any() for terminated, _ in flags)
        with pytest.raises(ResetNeeded, match=f"{spec.horizon} steps"):
            batch.step(action)


@pytest.mark.parametrize("name", ["DI", "Cartpole"])
def test_the_length_of_an_episode_can_be_chosen(name):
    batch = make_batch(name, context_sets(name)["train"], horizon=7)
    batch.reset(seed=0)
    action = np.zeros((20, get_spec(name).act_dim))
    assert [batch.step(action)[3].all() for _ in range(7)] == [False] * 6 + [True]
    with pytest.raises(ResetNeeded, match="7 steps"):
        batch.step(action)
    with pytest.raises(UserError, match="horizon must be at least 1, not 0"):
        make_batch(name, context_sets(name)["train"], horizon=0)


def test_returned_arrays_are_the_callers():
    batch = make_batch("ODE", [[1.0, 0.0]])
    observation, _ = batch.reset(seed=0)
    before = batch.state_dict()["physics"]["x"].copy()
    observation[:] = 9
    batch.state_dict()["physics"]["x"][:] = 9
    assert np.array_equal(batch.state_dict()["physics"]["x"], before)
    kept = batch.step([[0.5, 0.5]])[0]
    copy = kept.copy()
    batch.step([[0.5, 0.5]])
    assert np.array_equal(kept, copy)
    with pytest.raises(ValueError, match="read-only"):
        batch.contexts[:] = 2


# ---- Gymnasium -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error", "ignore:.*observation space (min|max)imum value is -?infinity")
@pytest.mark.parametrize("name", [*ALL, "ODE-1", "ODE-20"])
def test_gymnasium_checker(name):
    env = gymnasium.make(f"AIB/{name}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    assert env.unwrapped.batch.contexts[0].tolist() == [d.default for d in get_spec(name).dimensions]


def test_single_environment_owns_its_stream():
    env = gymnasium.make("AIB/DI-v0", mass=0.8, inversion=-1)
    assert env.unwrapped.batch.contexts.tolist() == [[0.8, -1]]
    env.reset(seed=3)
    assert env.unwrapped.np_random is env.unwrapped.batch.streams[0] and env.unwrapped.np_random_seed == 3
    expected = env.reset()[0]
    env.unwrapped.np_random = np.random.default_rng([3, 0])
    env.reset()
    assert np.array_equal(env.reset()[0], expected)


def test_make_vec():
    mass = np.linspace(0.5, 1.5, 20)
    envs = gymnasium.make_vec(
        "AIB/DI-v0", num_envs=20, vectorization_mode="vector_entry_point", mass=mass, inversion=-1
    )
    contexts = np.stack([mass, -np.ones(20)], axis=1)
    assert np.array_equal(envs.unwrapped.contexts, contexts)
    actions = random_actions(3, 20)
    observations, _ = rollout("DI", contexts, actions, seed=1)
    assert np.array_equal(envs.reset(seed=1)[0], observations[0])
    assert np.array_equal(envs.step(actions[0])[0], observations[1])
    assert np.array_equal(gymnasium.make_vec("AIB/ODE-3-v0", num_envs=4).unwrapped.contexts, np.zeros((4, 3)))


def test_all_identifiers_and_the_module_prefix():
    for name in [*SUITE, *(f"ODE-{k}" for k in range(1, 21))]:
        assert f"AIB/{name}-v0" in gymnasium.registry
    script = "import gymnasium; print(gymnasium.make('dmash_core.benchmark:AIB/DI-v0').reset(seed=0)[0].shape)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "(4,)\n"), done.stderr


# ---- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, message",
    [
        ("DJ", "did you mean 'DI'"),
        ("ode", "did you mean 'ODE'"),
        ("", "unknown environment"),
        ("ODE-0", "k = 1, ..., 20"),
        ("ODE-21", "k = 1, ..., 20"),
        ("ODE--1", "k = 1, ..., 20"),
        ("ODE-03", "k = 1, ..., 20"),
    ],
)
def test_unknown_environment(name, message):
    for look_up in (get_spec, context_sets, lambda name: make_batch(name, [[1, 1]])):
        with pytest.raises(UserError, match=message):
            look_up(name)


@pytest.mark.parametrize(
    "name, contexts, message",
    [
        ("DI", [[0, 1]], "'mass' must be finite and positive, not 0"),
        ("DI", [[1, 1], [-0.5, 1]], "'mass' must be finite and positive, not -0.5"),
        ("DI", [[np.inf, 1]], "'mass' must be finite"),
        ("DI", [[1, np.nan]], "'inversion' must be -1 or 1, not nan"),
        ("DI", [[1, 0]], "'inversion' must be -1 or 1, not 0"),
        ("DI-Perm", [[1, -1]], "'swap' must be 0 or 1, not -1"),
        ("DI-Friction", [[1, -0.1]], "'friction' must be finite and non-negative, not -0.1"),
        ("ODE", [[1, np.nan]], "'c1' must be finite"),
        ("DI", [[1, 1, 1]], r"shape \(B, 2\) with columns \(mass, inversion\), not \(1, 3\)"),
        ("DI", [1, 1], r"not \(2,\)"),
        ("DI", np.zeros((0, 2)), r"not \(0, 2\)"),
        ("DI", [["heavy", 1]], "must be numbers"),
        ("DI", [[1, 1], [1]], "must be numbers"),
    ],
)
def test_refused_contexts(name, contexts, message):
    with pytest.raises(UserError, match=message) as caught:
        make_batch(name, contexts)
    assert "\n" not in str(caught.value)


def test_contexts_outside_the_outer_range_can_be_simulated():
    make_batch("DI-Friction", [[5.0, 0.0]]).reset(seed=0)
    make_batch("ODE", [[50.0, -50.0]]).reset(seed=0)


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"mas": 1}, "unknown DI context 'mas'; did you mean 'mass'"),
        ({"friction": 1}, "Valid: mass, inversion"),
        ({"mass": -1}, "positive"),
        ({"mass": [1, 2, 3]}, "'mass' must be a number"),
        ({"mass": "heavy"}, "'mass' must be a number"),
    ],
)
def test_refused_keywords(keywords, message):
    with pytest.raises(UserError, match=message):
        gymnasium.make("AIB/DI-v0", **keywords)
    with pytest.raises(UserError, match=message):
        gymnasium.make_vec("AIB/DI-v0", num_envs=2, vectorization_mode="vector_entry_point", **keywords)


def test_single_environment_refuses_num_envs():
    with pytest.raises(UserError, match="'num_envs'"):
        gymnasium.make("AIB/DI-v0", num_envs=3)
    with pytest.raises(UserError, match="num_envs must be at least 1"):
        gymnasium.make_vec("AIB/DI-v0", num_envs=0, vectorization_mode="vector_entry_point")


@pytest.mark.parametrize(
    "actions, message",
    [
        (np.zeros((3, 2)), r"shape \(2, 2\), not \(3, 2\)"),
        (np.zeros(2), r"not \(2,\)"),
        ([[0, 0], [0, np.nan]], "environment 1 is not finite"),
        ([[np.inf, 0], [0, 0]], "environment 0 is not finite"),
    ],
)
def test_refused_actions(actions, message):
    batch = make_batch("DI", [[1, 1], [1, -1]])
    batch.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        batch.step(actions)
    assert batch.elapsed == 0  # a rejected action is not a step


@pytest.mark.parametrize("seed", [-1, 1.5, "seed", [1], [1, 2, 3], [1, None], [1, -2], [(1, 2), (1, 0.5)], [True, 1.0]])
def test_refused_seeds(seed):
    batch = make_batch("DI", [[1, 1], [1, -1]])
    with pytest.raises(UserError, match="seed must be a non-negative integer, or 2 integers or tuples of them"):
        batch.reset(seed=seed)


def test_partial_reset_is_refused():
    batch = make_batch("DI", [[1, 1], [1, -1]])
    batch.reset(seed=0, options={"reset_mask": np.array([True, True])})
    with pytest.raises(UserError, match="reset together"):
        batch.reset(options={"reset_mask": np.array([True, False])})
