"""The MuJoCo environments against the originals, and against models compiled and stepped one by one."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.seeding import np_random

from dmash_core.benchmark import context_sets, get_spec, make_batch, opengl
from dmash_core.benchmark.mujoco import MujocoEnv
from dmash_core.errors import Diverged, UserError

with warnings.catch_warnings():  # there may be no display
    warnings.simplefilter("ignore")
    from dm_control import suite

DMC = {
    "Cartpole": ("cartpole", "balance"),
    "Cheetah": ("cheetah", "run"),
    "Reacher-E": ("reacher", "easy"),
    "Reacher-H": ("reacher", "hard"),
    "Reacher-H-Perm": ("reacher", "hard"),
    "BallInCup": ("ball_in_cup", "catch"),
    "Walker": ("walker", "walk"),
}
GYM = {"WalkerGym": "Walker2d-v5", "HopperGym": "Hopper-v5"}
NAMES = [*DMC, *GYM]
INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION


class Original:
    """dm_control's or Gymnasium's environment: flat observations, simulator state, one random stream."""

    def __init__(self, name, seed=0):
        if name in DMC:
            self.env = suite.load(*DMC[name], task_kwargs={"random": seed})
            self.model, self.data = self.env.physics.model.ptr, self.env.physics.data.ptr
        else:
            self.env = gymnasium.make(GYM[name], terminate_when_unhealthy=False).unwrapped
            self.env.reset(seed=seed)
            self.env._np_random = np_random(seed)[0]
            self.model, self.data = self.env.model, self.env.data

    @staticmethod
    def stream(name, seed):
        """The random stream of the original, to use in our reset too."""
        return np.random.RandomState(seed) if name in DMC else np_random(seed)[0]

    def reset(self):
        result = self.env.reset()
        return result[0] if isinstance(result[0], np.ndarray) else flat(result.observation)

    def step(self, action):
        result = self.env.step(action)
        return result[:2] if isinstance(result[0], np.ndarray) else (flat(result.observation), result.reward)

    def physics(self):
        """Its state in the format of a batch of one."""
        state = np.empty(mujoco.mj_stateSize(self.model, INTEGRATION))
        mujoco.mj_getState(self.model, self.data, state, INTEGRATION)
        return {"state": state[None], "target": self.model.geom_pos[6:7, :2].copy()}  # Reacher's target is geom 6


def flat(observation):
    return np.concatenate([np.ravel(part) for part in observation.values()])


def default(name, count=1):
    return np.array([[d.default for d in get_spec(name).dimensions]] * count)


def outer(name):
    """Contexts over the whole outer range: its corners and the benchmark's set."""
    ends = [d.values or d.outer for d in get_spec(name).dimensions]
    return np.concatenate([[(a, b) for a in ends[0] for b in ends[1]], context_sets(name)["eval-out"]])


def random_actions(name, steps, count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, count, get_spec(name).act_dim))


def put(batch, physics):
    batch.load_state_dict(batch.state_dict() | {"physics": physics})


# ---- the originals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_default_context_is_the_original_for_a_whole_episode(name):
    original, batch = Original(name), make_batch(name, default(name))
    original.reset()
    batch.reset(seed=1)
    put(batch, original.physics())
    low_rewards = set()
    for action in random_actions(name, 1000, 1):
        observation, reward = original.step(action[0])
        ours = batch.step(action)
        # physics bit for bit; rewards use NumPy's array functions where the original uses scalar ones
        assert np.array_equal(batch._observe()[0], observation)
        assert np.array_equal(ours[0][0], observation.astype(np.float32))
        assert ours[1][0] == pytest.approx(reward, rel=0, abs=1e-12)
        low_rewards.add(round(float(reward), 3))
    assert np.array_equal(batch.state_dict()["physics"]["state"], original.physics()["state"])
    assert ours[3][0] and (len(low_rewards) > 20 or name.startswith(("Reacher", "BallInCup")))


@pytest.mark.parametrize("name", ["Reacher-E", "Reacher-H", "BallInCup"])
def test_sparse_rewards_at_the_goal(name):
    original, batch = Original(name), make_batch(name, default(name))
    batch.reset(seed=0)
    seen = []
    for seed in range(60):
        original.reset()
        if name == "BallInCup":
            original.data.qpos[2:] = np.random.default_rng(seed).uniform((-0.06, 0.25), (0.06, 0.45))
        else:  # the target near the finger
            near = np.random.default_rng(seed).uniform(-1, 1, 2) * (0.1 if name == "Reacher-E" else 0.03)
            original.model.geom("target").pos[:2] = original.data.geom("finger").xpos[:2] + near
        mujoco.mj_forward(original.model, original.data)
        put(batch, original.physics())
        action = random_actions(name, 1, 1, seed)[0]
        seen.append(original.step(action[0])[1])
        assert batch.step(action)[1][0] == seen[-1]
    assert 5 < sum(seen) < 55


@pytest.mark.parametrize("name", NAMES)
def test_resets_draw_what_the_originals_draw(name):
    seeds = range(8)
    batch = make_batch(name, default(name, len(seeds)))
    batch._reset([Original.stream(name, seed) for seed in seeds])
    observations = batch._observe()
    for i, seed in enumerate(seeds):
        original = Original(name, seed)
        assert np.array_equal(observations[i], original.reset())
        assert np.array_equal(batch.qpos[i], original.data.qpos) and np.array_equal(batch.qvel[i], original.data.qvel)


def test_the_ball_starts_without_a_collision_in_every_context():
    batch = make_batch("BallInCup", np.repeat(outer("BallInCup"), 20, axis=0))
    batch.reset(seed=0)
    touching, rng = 0, np.random.default_rng(0)
    for context, qpos in zip(outer("BallInCup"), batch.qpos.reshape(-1, 20, 4), strict=True):
        model = compiled("BallInCup", context)
        data = mujoco.MjData(model)
        for ours in qpos:
            data.qpos[:] = ours
            mujoco.mj_forward(model, data)
            assert data.ncon == 0
            data.qpos[2:] = rng.uniform((-0.2, 0.2), (0.2, 0.5))
            mujoco.mj_forward(model, data)
            touching += data.ncon > 0
    assert touching > 20  # unchecked draws would have collided this often


# ---- contexts ------------------------------------------------------------------------------------------------------


def compiled(name, context):
    """The model of one context with all of MuJoCo's optimisations, as a MuJoCo user would compile it."""
    names = [d.name for d in get_spec(name).dimensions]
    model = type(make_batch(name, default(name))).compile(dict(zip(names, context, strict=True)))
    model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_is_models_compiled_and_stepped_one_by_one(name):
    contexts = outer(name)
    batch = make_batch(name, contexts)
    batch.reset(seed=0)
    twins = [(model := compiled(name, context), mujoco.MjData(model)) for context in contexts]
    for (model, data), state in zip(twins, batch._state, strict=True):
        mujoco.mj_setState(model, data, state, INTEGRATION)
    actuated = 0
    for actions in random_actions(name, 60, len(contexts)):
        batch.step(actions)
        for i, (model, data) in enumerate(twins):
            data.ctrl[:] = batch.actuate(actions)[i]
            mujoco.mj_step(model, data, batch.substeps)
            state = np.empty_like(batch._state[i])
            mujoco.mj_getState(model, data, state, INTEGRATION)
            assert np.array_equal(batch._state[i], state), (contexts[i], batch.elapsed)
            actuated += np.abs(data.qfrc_actuator).max() > 0
    assert actuated == 60 * len(contexts)


def read_back(name, field):
    """The batch's values of a model field over the outer range: contexts (B, 2), values."""
    batch = make_batch(name, outer(name))
    return batch.contexts, batch.sims.expand(field).copy(), batch.sims.model


def test_cartpole_contexts_are_in_the_model():
    contexts, size, model = read_back("Cartpole", "geom_size")
    pole = model.geom("pole_1").id
    np.testing.assert_allclose(size[:, pole, 1], contexts[:, 0], rtol=1e-12)
    np.testing.assert_allclose(read_back("Cartpole", "geom_pos")[1][:, pole], contexts[:, :1] * [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(read_back("Cartpole", "body_ipos")[1][:, 2, 2], contexts[:, 0], rtol=1e-12)
    assert (read_back("Cartpole", "body_mass")[1][:, 2] == 0.1).all()
    inertia = read_back("Cartpole", "body_inertia")[1][:, 2, 0]
    # a rod about its centre has m (2 L)^2 / 12; the capsule's caps and width matter if it is short
    ratio = inertia / (0.1 * (2 * contexts[:, 0]) ** 2 / 12)
    assert (ratio > 1).all() and (ratio[contexts[:, 0] == 2.0] < 1.1).all()


def test_cheetah_contexts_are_in_the_model():
    contexts, size, model = read_back("Cheetah", "geom_size")
    pos, body = read_back("Cheetah", "geom_pos")[1], read_back("Cheetah", "body_pos")[1]
    plain = Original("Cheetah").model
    for part in ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"):
        g, b = model.geom(part).id, model.body(part).id
        scale = contexts[:, :1] * [1, 0, 1] + [0, 1, 0]
        np.testing.assert_allclose(pos[:, g], plain.geom_pos[g] * scale, rtol=1e-12)
        np.testing.assert_allclose(size[:, g, 1], plain.geom_size[g, 1] * contexts[:, 0], rtol=1e-12)
        assert (size[:, g, 0] == plain.geom_size[g, 0]).all()
        np.testing.assert_allclose(body[:, b], plain.body_pos[b] * (scale**0 if "thigh" in part else scale), rtol=1e-12)
    for part in ("torso", "head"):
        assert (size[:, model.geom(part).id] == plain.geom_size[model.geom(part).id]).all()
    mass = read_back("Cheetah", "body_mass")[1]
    np.testing.assert_allclose(mass.sum(axis=1), 14, rtol=1e-12)  # as the model requires, whatever the leg length
    long, short = contexts[:, 0] == 1.6, contexts[:, 0] == 0.4
    assert mass[long][0, 3] > mass[short][0, 3] and mass[long][0, 1] < mass[short][0, 1]


@pytest.mark.parametrize("name", ["Reacher-E", "Reacher-H", "Reacher-H-Perm"])
def test_reacher_contexts_are_in_the_model(name):
    contexts, body, model = read_back(name, "body_pos")
    for part in ("hand", "finger"):
        np.testing.assert_allclose(body[:, model.body(part).id], 0.12 * contexts[:, :1] * [1, 0, 0], rtol=1e-12)
    size = read_back(name, "geom_size")[1]
    for part, length in (("arm", 0.12), ("hand", 0.1)):
        np.testing.assert_allclose(size[:, model.geom(part).id, 1], length / 2 * contexts[:, 0], rtol=1e-12)
    assert (size[:, model.geom("finger").id, 0] == 0.01).all()
    assert (size[:, model.geom("target").id, 0] == (0.05 if name == "Reacher-E" else 0.015)).all()


def test_ball_in_cup_contexts_are_in_the_model():
    contexts, tendon, model = read_back("BallInCup", "tendon_range")
    np.testing.assert_array_equal(tendon[:, 0], contexts[:, 1:] * [0, 1])
    np.testing.assert_array_equal(read_back("BallInCup", "gravity")[1], -contexts[:, :1] * [0, 0, 1])
    height = read_back("BallInCup", "body_pos")[1][:, model.body("ball").id, 2]
    np.testing.assert_allclose(height, 0.2 - (contexts[:, 1] - 0.3), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["Walker", *GYM])
def test_walker_and_hopper_contexts_are_in_the_model(name):
    contexts, gear, _ = read_back(name, "actuator_gear")
    np.testing.assert_allclose(gear, Original(name).model.actuator_gear * contexts[:, 1, None, None], rtol=1e-15)
    np.testing.assert_array_equal(read_back(name, "gravity")[1], -contexts[:, :1] * [0, 0, 1])


@pytest.mark.parametrize("name", NAMES)
def test_every_context_dimension_changes_the_trajectory(name):
    spec = get_spec(name)
    contexts = [default(name)[0]]
    for j, dimension in enumerate(spec.dimensions):
        for value in dimension.values or (*dimension.outer, *dimension.train):
            contexts.append(default(name)[0])
            contexts[-1][j] = value
    contexts = np.unique(contexts, axis=0)
    batch = make_batch(name, contexts)
    batch.reset(seed=[3] * len(contexts))
    # start from one state, so that only the dynamics differ
    batch._state[:] = batch._state[:1]
    for actions in np.repeat(random_actions(name, 40, 1), len(contexts), axis=1):
        batch.step(actions)
    distance = np.abs(batch._observe()[:, None] - batch._observe()[None]).max(axis=2)
    assert distance[~np.eye(len(contexts), dtype=bool)].min() > 1e-4


@pytest.mark.parametrize("name", [n for n in NAMES if get_spec(n).dimensions[1].values])
def test_inversion_and_swap_are_undone_by_the_opposite_action(name):
    swap = get_spec(name).dimensions[1].name == "swap"
    lengths = context_sets(name)["eval-out"][:, 0]
    batches = [make_batch(name, [(length, value) for length in lengths]) for value in ((0, 1) if swap else (1, -1))]
    for batch in batches:
        batch.reset(seed=0)
    for actions in random_actions(name, 100, len(lengths)):
        plain, *rest = batches[0].step(actions)
        opposite, *other = batches[1].step(actions[:, ::-1] if swap else -actions)
        assert np.array_equal(plain, opposite) and np.array_equal(rest[0], other[0])


def test_unphysical_contexts_are_refused():
    for name, context, message in [
        ("Cartpole", (0, 1), "'length' must be finite and positive, not 0"),
        ("Cartpole", (0.5, 0), "'inversion' must be -1 or 1"),
        ("Cheetah", (-1, 1), "'length' must be finite and positive, not -1"),
        ("Reacher-H-Perm", (1, 0.5), "'swap' must be 0 or 1"),
        ("BallInCup", (-9.81, 0.3), "'gravity' must be finite and non-negative"),
        ("BallInCup", (9.81, 0), "'length' must be finite and positive"),
        ("Walker", (np.nan, 1), "'gravity' must be finite"),
        ("HopperGym", (9.81, -0.5), "'strength' must be finite and non-negative"),
        ("Cartpole", (1e-300, 1), "MuJoCo cannot simulate the context length = 1e-300, inversion = 1: "),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            make_batch(name, [context])
        assert "\n" not in str(caught.value)


# ---- episodes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_random_actions_last_a_whole_episode_in_every_outer_context(name):
    contexts = outer(name)
    batch = make_batch(name, contexts)
    batch.reset(seed=0)
    total = 0
    for t, actions in enumerate(random_actions(name, 1000, len(contexts))):
        observations, rewards, terminated, truncated, _ = batch.step(actions)
        assert not terminated.any() and truncated.all() == truncated.any() == (t == 999)
        assert np.isfinite(observations).all() and np.isfinite(rewards).all()
        total += rewards
    assert (total <= get_spec(name).score_high).all() and (name in GYM or (total >= 0).all())


@pytest.mark.parametrize("name", ["Cheetah", "WalkerGym"])
def test_unstable_physics_is_reported_and_not_trained_on(name):
    contexts = context_sets(name)["train"][:3]
    batch = make_batch(name, contexts)
    batch.reset(seed=0)
    for actions in random_actions(name, 6, 3):
        batch.step(actions)
    batch.qvel[1, 3] = 1e12
    said = ", ".join(f"{d.name} = {c:g}" for d, c in zip(get_spec(name).dimensions, contexts[1], strict=True))
    with pytest.raises(Diverged, match=f"BAD.*in step 7 of an episode of environment 1, whose context is {said}$"):
        batch.step(actions)
    batch.reset(seed=0)
    batch.step(actions)


@pytest.mark.parametrize("name", NAMES)
def test_snapshot_holds_all_that_the_simulator_goes_on_from(name):
    batch, other = (make_batch(name, context_sets(name)["eval-out"]) for _ in range(2))
    batch.reset(seed=0)
    actions = random_actions(name, 40, 20)
    for action in actions[:25]:
        batch.step(action)
    state = batch.state_dict()
    json.dumps(state["streams"])
    other.reset(seed=1)
    other.load_state_dict(state)
    assert np.array_equal(other._observe(), batch._observe())
    for action in actions[25:]:
        ours, theirs = batch.step(action), other.step(action)
        assert ours[0].tobytes() == theirs[0].tobytes() and ours[1].tobytes() == theirs[1].tobytes()
    assert np.array_equal(other._state, batch._state)


def test_threads_do_not_change_a_bit(monkeypatch):
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(MujocoEnv, "threads", threads)
        batch = make_batch("Cheetah", context_sets("Cheetah")["train"])
        batch.reset(seed=0)
        for action in random_actions("Cheetah", 30, 20):
            batch.step(action)
        assert batch.sims.num_threads == threads
        results.append(batch.state_dict()["physics"]["state"])
    assert np.array_equal(*results)


# ---- pictures ------------------------------------------------------------------------------------------------------


def picture(env):
    try:
        return env.render()
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", NAMES)
def test_pictures(name):
    dimension = get_spec(name).dimensions[0]
    kwargs = {"render_mode": "rgb_array"}
    env = gymnasium.make(f"AIB/{name}-v0", **kwargs)
    env.reset(seed=0)
    first = picture(env)
    assert first.shape == (240, 320, 3) and first.dtype == np.uint8 and first.std() > 5
    assert env.metadata["render_fps"] in (40, 50, 100, 125)
    for action in random_actions(name, 20, 1):
        env.step(action[0])
    assert (env.render() != first).any()
    env.close()
    vector = gymnasium.make_vec(f"AIB/{name}-v0", num_envs=2, **kwargs, **{dimension.name: dimension.outer})
    vector.reset(seed=[0, 0])
    vector.unwrapped._state[1] = vector.unwrapped._state[0]
    small, large = vector.render()
    assert dimension.name == "gravity" or (small != large).any()
    vector.close()


def test_without_a_renderer_one_sentence_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    tried = []

    def nothing(name):
        tried.append(name)
        raise ImportError(name)

    monkeypatch.setattr(opengl, "import_module", nothing)
    env = gymnasium.make("AIB/Cartpole-v0", render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(UserError, match="rendering requires EGL .*apt-get install libegl1.* or OSMesa .*libosmesa6"):
        env.render()
    assert tried == ["mujoco.egl", "mujoco.osmesa"]
    env.step(env.action_space.sample())  # everything else works


PICTURES = """
import gymnasium, dmash_core
for _ in range(3):
    env = gymnasium.make("AIB/Walker-v0", render_mode="rgb_array")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    try:
        print("picture" if env.render().std() > 5 else "nothing in it")
    except ValueError as error:
        print(error)
"""
NO_LIBRARY = "raise AttributeError(\"'NoneType' object has no attribute 'glGetError'\")\n"  # PyOpenGL's error


@pytest.mark.parametrize("value", [None, "", "on", "TRUE", " 1", "osmesa", "OSMesa"])
def test_mujoco_gl_is_read_as_mujoco_reads_it(value):
    """Also, renderers left open are closed at exit, silently."""
    environment = {k: v for k, v in os.environ.items() if k != "MUJOCO_GL"} | (
        {} if value is None else {"MUJOCO_GL": value}
    )
    done = subprocess.run([sys.executable, "-c", PICTURES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stderr == ""
    if "rendering requires" in done.stdout:
        pytest.skip(done.stdout.splitlines()[0])
    assert done.stdout == "picture\n" * 3


@pytest.mark.parametrize(
    "value, said",
    [
        (
            "osmesa",
            "rendering requires OSMesa (.*apt-get install libosmesa6), selected by MUJOCO_GL=osmesa",
        ),
        ("egl", "rendering requires EGL (.*apt-get install libegl1 .*), selected by MUJOCO_GL=egl"),
        ("", "rendering requires EGL (.*) or OSMesa (.*libosmesa6)"),
        ("glfw", "rendering requires GLFW and a display (.*DISPLAY), selected by MUJOCO_GL=glfw"),
        ("glx", "rendering requires GLFW and a display .*, selected by MUJOCO_GL=glx"),
        ("off", "rendering is disabled by the environment variable MUJOCO_GL=off: unset it to render"),
        ("0", "rendering is disabled by the environment variable MUJOCO_GL=0: unset it to render"),
        (
            "mesa",
            "MUJOCO_GL must be unset, off or one of egl, osmesa, glfw, glx, not 'mesa'",
        ),
    ],
)
def test_a_missing_library_matters_to_pictures_only(value, said, tmp_path):
    (tmp_path / "OpenGL").mkdir()
    (tmp_path / "OpenGL" / "__init__.py").write_text(NO_LIBRARY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"MUJOCO_GL": value, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", PICTURES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stderr == ""  # environments can be made and stepped; nothing aborts
    first, second, third = done.stdout.splitlines()
    assert first == second == third and re.fullmatch(said.replace("(", r"\(").replace(")", r"\)"), first)


def test_an_agent_is_trained_without_the_library_that_is_asked_for(tmp_path):
    (tmp_path / "OpenGL").mkdir()
    (tmp_path / "OpenGL" / "__init__.py").write_text(NO_LIBRARY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "reproduction.cli", "train", "--env", "Cartpole", "--arm", "dr", "--steps", "2"]
    command += ["--horizon", "5", "--random-steps", "5", "--eval-every", "2", "--eval-rollouts", "1", "--out", "runs"]
    environment = os.environ | {"MUJOCO_GL": "osmesa", "PYTHONPATH": path}
    environment["PYTHONPATH"] += os.pathsep + str(Path(__file__).parents[1])
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "Cartpole" / "dr" / "seed-0.parquet").exists()


def test_mujoco_s_own_renderer_is_left_as_it_was():
    script = (
        "import dmash_core.benchmark.dmc, mujoco, os; print(os.environ.get('MUJOCO_GL'), mujoco.GLContext.__module__)"
    )
    plain = "import mujoco, os; print(os.environ.get('MUJOCO_GL'), mujoco.GLContext.__module__)"
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for code in (script, plain)]
    assert done[0].returncode == 0 and done[0].stdout == done[1].stdout


def test_an_unknown_render_mode_is_refused():
    for name in ("DI", "Walker"):
        with pytest.raises(UserError, match=f"{name} has no render_mode 'depth'; valid: 'rgb_array'"):
            gymnasium.make_vec(f"AIB/{name}-v0", num_envs=2, render_mode="depth")
