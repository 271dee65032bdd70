"""The interactive page, run in headless Chromium and compared with PyTorch and NumPy: networks, physics, episodes.

`FAULTS` are plausible mistakes in agents.js; for each, a comparison must fail.
"""

import functools
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dmash_core.benchmark.suite import make_batch
from dmash_core.errors import UserError
from dmash_core.evaluation import EVALUATION_STREAM, EvalSettings, Rollout
from dmash_core.methods import METHODS
from dmash_core.training.policies import load_policy, make_agent
from reproduction.figures.style import arm_style
from reproduction.paths import ROOT
from reproduction.play import export
from reproduction.play.export import Arm

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
RECORDED = sorted(ROOT.glob("runs/DI/*/seed-0.safetensors"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
AGENTS = (export.PAGE / "agents.js").read_text()
WORLD = {"mass": 1.0, "inversion": 1.0, "friction": 0.0, "delay": 0, "obs_noise": 0.0, "action_noise": 0.0}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get update && apt-get install -y chromium"
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def scripts(browser, source=AGENTS):
    """A blank page with agents.js or a faulty copy of it."""
    page = browser.new_page()
    page.add_script_tag(content=source)
    yield page
    page.close()


@pytest.fixture(scope="module")
def blank(browser):
    with scripts(browser) as page:
        yield page


def fresh(arm, **options):
    """An agent with random networks, including the parameters of norms; weights are larger than PyTorch's default, so
    that each part matters."""
    method = replace(METHODS[arm], **options)
    agent = make_agent("DI", method, [0])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in agent.modules.named_parameters():
            parameter *= 1.4
            if "norm" in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return Arm(agent, {"arm": arm, "env": "DI", "seed": 0, "steps": 0, "git_commit": None})


FRESH = {
    "da": {}, "da-scaled": {"scale_context": True}, "dma-star-sh": {}, "dma-star-h": {}, "dma-star": {},
    "dma-pearl": {},
    "dma-star-windownorm": {"input_norm": "windownorm"}, "dma-layernorm": {"input_norm": "layernorm"},
    "dma-simnorm": {"input_norm": "simnorm", "output_norm": "avgl1"}, "dma-star-K": {"window": 10},
    "da-inferred": {}, "dma": {}, "dr": {}, "concat": {},
}  # fmt: skip


@functools.cache
def any_arm(name):
    """A recorded arm "runs:ARM", or a new agent from FRESH."""
    if name.startswith("runs:"):
        return Arm(*load_policy(ROOT / f"runs/DI/{name[5:]}/seed-0.safetensors"))
    return fresh(next(arm for arm in sorted(METHODS, key=len, reverse=True) if name.startswith(arm)), **FRESH[name])


ARMS = [*(f"runs:{path.parent.name}" for path in RECORDED), *FRESH]


@functools.cache
def exported(arm, dtype):
    """The page's data of an arm, without embeddings, which would need a rollout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "mean_codes", lambda arm: np.zeros((20, 8)))
        return export.export_arm(arm, dtype)


@functools.cache
def states(arm, n=100):
    """n observations, windows of raw transitions and contexts from the agent's episodes in ten worlds, with PyTorch's
    codes (or None) and actions for them."""
    agent = arm.agent
    contexts = np.array([[mass, sign] for mass in (0.3, 0.8, 1.0, 1.7, 2.0) for sign in (1.0, -1.0)])
    running = Rollout(agent, "DI", contexts[None], n // 10)
    running.warm_up([(5, EVALUATION_STREAM, i) for i in range(n)])
    for _ in range(15):
        running.step(running.mean_action())
    conditioning = running.conditioning()
    rows = running.history.rows[0, :, running.history.now - agent.layout.window : running.history.now]
    return (
        {
            "obs": running.obs[0].tolist(),
            "windows": agent.layout.encoder_input(rows).tolist(),
            "worlds": [WORLD | {"mass": c[0], "inversion": c[1]} for c in contexts.repeat(n // 10, axis=0)],
        },
        conditioning.vector[0].numpy() if agent.method.context == "inferred" else None,
        running.mean_action()[0].numpy(),
    )


FORWARD = """([arm, inputs]) => {
    const agent = dmash.load(arm), { context } = agent.method, n = inputs.obs.length, z = [], actions = [];
    for (let i = 0; i < n; i++) {
        z.push(context === "inferred" ? Array.from(dmash.encode(agent, inputs.windows[i])) : null);
        const code = context === "inferred" ? z[i] : context === "true" ? dmash.context(agent, inputs.worlds[i]) : null;
        actions.push(dmash.policy(agent, inputs.obs[i], code).action);
    }
    return { z, actions };
}"""


def forward_error(page, arm, dtype, known):
    """Largest differences of codes and actions from PyTorch's."""
    inputs, z, actions = known
    found = page.evaluate(FORWARD, [exported(arm, dtype), inputs])
    wrong = 0.0 if z is None else np.abs(np.array(found["z"]) - z).max()
    return wrong, np.abs(np.array(found["actions"]) - actions).max()


@pytest.mark.parametrize("name", ARMS)
def test_networks_are_pytorchs(blank, name):
    arm = any_arm(name)
    known = states(arm)
    assert known[2].std(axis=0).min() > 1e-3  # constant actions would make the comparison void
    if known[1] is not None:
        assert known[1].std(axis=0).max() > 1e-3
    exact, rounded = (forward_error(blank, arm, dtype, known) for dtype in ("float32", "int16"))
    print(f"{name}: float32 {max(exact):.1e}, int16 {rounded[1]:.1e}")
    assert max(exact) < 1e-5
    assert rounded[1] < 1e-3


def test_without_is_the_actor_without_its_adapter(blank):
    arm = any_arm("dma-star-sh")
    inputs, z, actions = states(arm, 10)
    found = blank.evaluate(
        "([arm, inputs, z]) => inputs.obs.map((obs, i) => dmash.policy(dmash.load(arm), obs, z[i]).without)",
        [exported(arm, "float32"), inputs, z.tolist()],
    )
    actor = arm.agent.modules["actor"]
    with torch.no_grad():
        plain = torch.tanh(actor(torch.tensor(inputs["obs"])[None]).chunk(2, dim=-1)[0])[0].numpy()
    assert np.abs(np.array(found) - plain).max() < 1e-5 < np.abs(plain - actions).max()


# ------------------------------------------------------------------ physics and episodes

PHYSICS = """([worlds, p, v, actions]) => worlds.map((world, i) => {
    let state = { p: p[i], v: v[i] };
    return actions.map((row) => {
        state = dmash.physics(state, row[i], world);
        return [...state.p, ...state.v, state.reward];
    });
})"""


def physics_error(page):
    """Largest difference of p, v and reward from the benchmark, over an episode in eight worlds up to the borders."""
    rng, worst = np.random.default_rng(0), 0.0
    for friction in (0.0, 0.6):
        contexts = np.array([[mass, sign] for mass in (0.1, 0.5, 1.0, 2.0) for sign in (1.0, -1.0)])
        env = make_batch("DI", contexts, unseen={"friction": friction})
        env.reset(seed=1)
        start = env._get_physics()
        # pulled towards the origin to reach the goal, then pushed hard to reach the border
        actions, seen = [], []
        for t in range(100):
            pull = -3 * (env._p + env._v) * contexts[:, 1:]
            actions.append((pull if t < 60 else 1.0) + rng.uniform(-1, 1, (8, 2)))
            _, reward, *_ = env.step(actions[-1])
            seen.append(np.concatenate([env._p, env._v, reward[:, None]], axis=1))
        seen = np.array(seen)
        assert seen[..., 4].any() and not seen[..., 4].all() and (np.abs(seen[..., :2]) == 1).any()
        worlds = [WORLD | {"mass": m, "inversion": s, "friction": friction} for m, s in contexts]
        found = page.evaluate(
            PHYSICS, [worlds, start["p"].tolist(), start["v"].tolist(), [a.tolist() for a in actions]]
        )
        worst = max(worst, np.abs(np.array(found).transpose(1, 0, 2) - seen).max())
    return worst


def test_physics_is_the_benchmarks(blank):
    assert physics_error(blank) < 1e-6


START = """const begin = ([arm, world, starts, draws]) => {
    const next = (list) => {
        let i = 0;
        return () => { if (i >= list.length) throw new Error("more draws"); return list[i++]; };
    };
    return new dmash.Episode(dmash.load(arm), world, starts, { obs: next(draws.obs), action: next(draws.action) });
};"""
# Compare after each step, then continue from the Rollout's state, so that errors do not accumulate.
STEPS = """([given, seen, turn]) => {START
    const episode = begin(given), { world } = episode, worst = {};
    const look = (name, found, wanted) => wanted.forEach((v, i) => {
        const wrong = Math.abs(v - found[i]);
        if (!(wrong <= worst[name])) worst[name] = Number.isNaN(wrong) ? 1e9 : wrong;
    });
    look("obs", episode.obs, seen.obs[0]);
    seen.action.forEach((action, i) => {
        if (episode.time === turn) world.inversion *= -1;
        episode.step();
        look("action", episode.action, action);
        if (seen.z) look("z", episode.z, seen.z[i]);
        look("row", episode.rows[episode.rows.length - 1], seen.row[i]);
        look("reward", [episode.last], [seen.reward[i]]);
        look("state", [...episode.state.p, ...episode.state.v], seen.state[i + 1]);
        look("obs", episode.obs, seen.obs[i + 1]);
        episode.rows[episode.rows.length - 1] = seen.row[i];
        episode.obs = seen.obs[i + 1];
        [episode.state.p, episode.state.v] = [seen.state[i + 1].slice(0, 2), seen.state[i + 1].slice(2)];
    });
    return worst;
}""".replace("START", START)
EPISODE = """([given, steps]) => {START
    const episode = begin(given);
    while (episode.time < steps) episode.step();
    return episode.total;
}""".replace("START", START)


def recorded_episode(arm, context, settings, turn=None, steps=100, seed=3):
    """One episode of the Rollout, warm-up included: observations, actions and results per step; starts and draws."""
    agent, words = arm.agent, (seed, EVALUATION_STREAM, 0)
    layout, agent.layout = agent.layout, replace(agent.layout, horizon=steps)
    running = Rollout(agent, "DI", np.array([[context]]), settings=settings)
    agent.layout = layout
    seen = {"obs": [], "state": [], "action": [], "z": [], "row": [], "reward": []}
    step, window = running.step, layout.window

    def look():
        seen["obs"].append(running.obs[0, 0].tolist())
        seen["state"].append(np.concatenate([running.env._p[0], running.env._v[0]]).tolist())

    def spy(action):
        look()
        if agent.method.context == "inferred":
            seen["z"].append(running.conditioning().vector[0, 0].tolist())
        seen["action"].append(action[0, 0].tolist())
        reward, ended = step(action)
        seen["row"].append(layout.encoder_input(running.history.rows[0, 0, running.history.now - 1]).tolist())
        seen["reward"].append(float(reward[0, 0]))
        return reward, ended

    running.step = spy
    env = make_batch("DI", np.array([context]))
    env.reset(seed=[words])
    starts = [env._p[0].tolist()]
    running.warm_up([words])
    starts.append(running.env._p[0].tolist())
    for t in range(steps):
        if t == turn:
            running.env._inversion = -running.env._inversion
            running.contexts = running.contexts * torch.tensor([1.0, -1.0])
        running.step(running.mean_action())
    look()
    assert len(seen["action"]) == window + steps
    draws = {  # the streams of Rollout.reset
        kind: np.random.default_rng([*words, 2 + i]).standard_normal(4000, dtype=np.float32).tolist()
        for i, kind in enumerate(("obs", "action"))
    }
    world = WORLD | {"mass": context[0], "inversion": context[1], "friction": settings.unseen.get("friction", 0.0)}
    world |= {"delay": settings.delay, "obs_noise": settings.obs_noise, "action_noise": settings.action_noise}
    return {k: v for k, v in seen.items() if v}, [world, starts, draws], sum(seen["reward"][window:])


HARD = EvalSettings(delay=2, obs_noise=0.02, action_noise=0.3, unseen={"friction": 0.4})


def step_error(page, arm, context=(0.8, -1.0), settings=HARD, turn=None):
    """Largest difference of any quantity at any step of an episode, with or without a switch of the inversion."""
    seen, given, _ = recorded_episode(arm, list(context), settings, turn)
    worst = page.evaluate(STEPS, [[exported(arm, "float32"), *given], seen, turn])
    assert set(worst) == set(seen)
    return max(worst.values())


def returns(page, arm, sign, dtype):
    """The returns of one free-running episode, in the page and from evaluation."""
    _, given, wanted = recorded_episode(arm, [1.0, sign], EvalSettings())
    return page.evaluate(EPISODE, [[exported(arm, dtype), *given], 100]), wanted


@pytest.mark.parametrize("name", ARMS)
def test_every_step_in_a_hard_world_is_evaluations(blank, name):
    wrong = step_error(blank, any_arm(name))
    print(f"{name}: {wrong:.1e}")
    assert wrong < 1e-5


@pytest.mark.parametrize("name", [name for name in ARMS if name.startswith("runs:")])
def test_every_step_after_a_turn_is_evaluations(blank, name):
    wrong = step_error(blank, any_arm(name), (1.0, 1.0), EvalSettings(), turn=15)
    print(f"{name}: {wrong:.1e}")
    assert wrong < 1e-5


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", [name for name in ARMS if name.startswith("runs:")])
def test_the_pages_networks_return_what_evaluation_says(blank, name, sign):
    found, wanted = returns(blank, any_arm(name), sign, "int16")
    print(f"{name} {sign:+}: returns {found} and {wanted}")
    assert abs(found - wanted) <= 2


# ------------------------------------------------------------------ sabotage

FAULTS = {  # text of agents.js, its faulty replacement, the comparison that must fail, on which agent
    "window backwards": ("of agent.positions)", "of agent.positions.slice().reverse())", "forward", "dma-star"),
    "the last steps instead of evenly spaced ones": (
        "of agent.positions)",
        "of agent.positions.map((_, i, p) => agent.window - p.length + i))",
        "forward",
        "dma-star",
    ),
    "no input norm": (
        'norm(layer(w, "encoder.input", rows[t]), w, "encoder.input_norm")',
        'layer(w, "encoder.input", rows[t])',
        "forward",
        "dma-star",
    ),
    "no WindowNorm": ("if (windowed) {", "if (false) {", "forward", "dma-star-windownorm"),
    "WindowNorm with n": ("(c.length - 1)", "c.length", "forward", "dma-star-windownorm"),
    "one softmax over all of z": (
        "Float64Array.from([...softmax(x.slice(0, x.length / 2)), ...softmax(x.slice(x.length / 2))])",
        "Float64Array.from(softmax(x))",
        "forward",
        "dma-star",
    ),
    "groups of SimNorm interleaved": (
        "Float64Array.from([...softmax(x.slice(0, x.length / 2)), ...softmax(x.slice(x.length / 2))])",
        "((a, b) => x.map((_, i) => (i % 2 ? b : a)[i >> 1]))(softmax(x.filter((_, i) => i % 2 === 0)), "
        "softmax(x.filter((_, i) => i % 2)))",
        "forward",
        "dma-star",
    ),
    "gates of the LSTM in another order": ("gates[2 * n + j]", "gates[3 * n + j]", "forward", "dma"),
    "W_up column by column": ("omega[up + j * k + i]", "omega[up + i * n + j]", "forward", "dma-star-sh"),
    "b_down after W_up": ("omega[k * n + i]", "omega[2 * k * n + i]", "forward", "dma-star-sh"),
    "chunk embedding before the code": (
        "[...code, ...chunks.subarray(chunk * size, (chunk + 1) * size)]",
        "[...chunks.subarray(chunk * size, (chunk + 1) * size), ...code]",
        "forward",
        "dma-star-sh",
    ),
    "no skip around the adapter": ("y = x.slice();", "y = new Float64Array(n);", "forward", "dma-star-sh"),
    "a ReLU before the adapter": (
        "act(adapter(dmash.omega(agent, code), x,",
        "act(adapter(dmash.omega(agent, code), relu(x),",
        "forward",
        "dma-star-sh",
    ),
    "code before the observation": ("[...obs, ...code]", "[...code, ...obs]", "forward", "concat"),
    "a true context scaled": ("method.scale_context ?", "true ?", "forward", "da"),
    "a true context not scaled": ("method.scale_context ?", "false ?", "forward", "da-scaled"),
    "position with the new velocity": (
        "clip(x + v[i] * DT)",
        "clip(x + clip(v[i] * damping + (force[i] / world.mass) * DT) * DT)",
        "physics",
        "",
    ),
    "mass left out of friction": ("(DT * world.friction) / world.mass", "DT * world.friction", "physics", ""),
    "no inversion": ("clip(world.inversion * a)", "clip(a)", "physics", ""),
    "a square instead of a ring": (
        "Math.sqrt(moved[0] ** 2 + moved[1] ** 2) <= 0.1",
        "Math.max(...moved.map(Math.abs)) <= 0.1",
        "physics",
        "",
    ),
    "a delay of one step more": ("length: this.world.delay }", "length: this.world.delay + 1 }", "episode", "dma"),
    "the window remembers what arrived": (
        "[...obs, ...action, ...this.obs",
        "[...obs, ...sent, ...this.obs",
        "episode",
        "dma",
    ),
    "the window remembers true states": (
        "[...obs, ...action, ...this.obs.map((x, i) => Math.fround(x - obs[i]))]",
        "[...obs, ...action, ...this.obs.map((_, i) => [...this.state.p, ...this.state.v][i] - obs[i])]",
        "episode",
        "dma",
    ),
    "the window is emptied after the warm-up": (
        "if (this.time === 0) this.reset(this.start);",
        "if (this.time === 0) { this.reset(this.start); "
        "this.rows = this.rows.map(() => [...this.obs, 0, 0, 0, 0, 0, 0]); }",
        "episode",
        "dma",
    ),
    "delayed actions survive the warm-up": (
        "if (this.time === 0) this.reset(this.start);",
        "if (this.time === 0) this.place(this.start);",
        "episode",
        "dma",
    ),
    "warm-up is scored": ("if (this.time >= 0) this.total", "this.total", "return", "runs:concat"),
    "no noise on actions": ("sigma ? a + sigma * this.noise.action() : a", "a", "episode", "dma"),
}


def comparison(page, kind, name):
    """The error that each test measures, and its upper limit."""
    if kind == "physics":
        return physics_error(page), 1e-6
    arm = any_arm(name)
    if kind == "forward":
        return max(forward_error(page, arm, "float32", states(arm))), 1e-5
    if kind == "episode":
        return step_error(page, arm), 1e-5
    found, wanted = returns(page, arm, -1.0, "float32")
    return abs(found - wanted), 1e-9


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(browser, fault):
    text, wrong, kind, name = FAULTS[fault]
    assert AGENTS.count(text) == 1, "agents.js has changed: word this fault anew"
    with scripts(browser, AGENTS.replace(text, wrong)) as page:
        number, limit = comparison(page, kind, name)
    assert not number < 100 * limit


@pytest.mark.parametrize("kind, name", sorted({fault[2:] for fault in FAULTS.values()}))
def test_nothing_is_noticed_without_a_fault(blank, kind, name):
    number, limit = comparison(blank, kind, name)
    assert number < limit


# ------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return export.build(tmp_path_factory.mktemp("play") / "page", ROOT / "runs")


@contextmanager
def opened(browser, built, words="", **options):
    """The page opened from a file, as by a reader; fails at the end on any network request or error."""
    faults = []
    page = browser.new_page(**({"viewport": {"width": 1300, "height": 900}} | options))
    page.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or faults.append(r.url))
    page.set_default_timeout(120_000)  # the machine may be training during the tests
    page.goto(f"{built.as_uri()}{words}")
    yield page
    page.close()
    assert not faults, faults


def now(page):
    """The state of the page's episode: time, inversion, and each arm's name, return, position and embedding."""
    return page.evaluate(
        "({ time: dmashPage.time, inversion: dmashPage.world.inversion, mass: dmashPage.world.mass, "
        "playing: dmashPage.playing, arms: dmashPage.runs.map((run) => [run.agent.arm, run.episode.total, "
        "run.episode.state.p, run.episode.z && Array.from(run.episode.z)]) })"
    )


def arms_of(page):
    return [arm[0] for arm in now(page)["arms"]]


def test_it_is_small_and_tells_what_it_holds(browser, built):
    assert sum(path.stat().st_size for path in built.parent.iterdir()) < 3e6
    with opened(browser, built) as page:
        assert page.locator("#events").is_hidden()
        rows = page.locator("#made tbody tr").all_text_contents()
        assert len(rows) == len({path.parent.name for path in RECORDED}) == len(arms_of(page))
        meta = load_policy(RECORDED[0])[1]
        assert any(f"{meta['steps']:,}" in row and meta["git_commit"][:8] in row for row in rows)
        for canvas in page.locator("canvas[role=img]").all():
            assert canvas.get_attribute("aria-label")
        for canvas in page.locator("canvas.plane, #maps canvas[role=img]").all():
            assert canvas.get_attribute("tabindex") == "0"


def test_story_is_of_the_recorded_runs(browser, built):
    with opened(browser, built) as page:
        buttons = page.locator("#story button")
        assert buttons.count() == 5
        worlds = [(1.0, 1), (1.0, -1), (None, None), (2.0, 1), (None, None)]
        for i, (mass, sign) in enumerate(worlds):
            buttons.nth(i).click()
            told = page.text_content("#told")
            assert told and buttons.nth(i).get_attribute("aria-pressed") == "true"
            if mass is None:
                continue
            assert now(page)["mass"] == mass and now(page)["inversion"] == sign
            for path in ROOT.glob("runs/DI/*/seed-0.map.csv"):
                table = pd.read_csv(path)
                cell = table[np.isclose(table["mass"], mass) & (table["inversion"] == sign)]["mean"].item()
                assert f"{arm_style(path.parent.name).name} {cell:.0f}" in told


def test_the_same_address_is_the_same_episode(browser, built):
    words = (
        "#seed=3&mass=1.5&obs_noise=0.02&action_noise=0.3&delay=1&steps=60&turn=5,30&place=40:0.5:-0.5&start=0.9:0.9"
    )
    words += "&arms=dma,dma-star-sh"
    with opened(browser, built, words) as page:
        page.click("#end")
        first = now(page)
        assert first["time"] == 60 and [arm[0] for arm in first["arms"]] == ["dma", "dma-star-sh"]
        said = page.text_content("#events")
        assert "inverted at step 5" in said and "moved at step 40" in said and "starts from (0.9, 0.9)" in said
        address = page.evaluate("location.hash")
    with opened(browser, built, address) as page:
        page.click("#end")
        assert now(page) == first
    with opened(browser, built, words.replace("seed=3", "seed=4")) as page:
        page.click("#end")
        assert now(page)["arms"] != first["arms"]
    with opened(browser, built, "#mass=heavy&seed=-7&steps=1e9&arms=nobody&turn=x&place=1:2&start=up&delay=99") as page:
        assert now(page)["mass"] == 1.0 and page.input_value("#seed") == "0" and page.input_value("#steps") == "1000"
        assert len(arms_of(page)) == len(RECORDED) and page.input_value("#control-delay") == "5"


def test_turned_and_moved_while_it_runs(browser, built):
    with opened(browser, built, "#arms=dma-star-sh") as page:
        for _ in range(34):
            page.keyboard.press("s")
        assert now(page)["time"] == 10
        codes = page.evaluate("dmashData.arms.find((arm) => arm.arm === 'dma-star-sh').codes")
        far = np.square(np.array(codes["means"]) - np.array(now(page)["arms"][0][3])).sum(axis=1)
        mass, sign = codes["contexts"][far.argmin()]
        nearest = f"z nearest to mass {mass:.2f}, {'upright' if sign > 0 else 'inverted'}"
        assert nearest in page.text_content(".thought") and nearest in page.get_attribute("canvas.mind", "aria-label")
        page.keyboard.press("t")
        assert now(page)["time"] == 11 and now(page)["inversion"] == -1
        assert "turn=10" in page.evaluate("location.hash")
        for _ in range(9):
            page.keyboard.press("s")
        box = page.locator("canvas.plane").bounding_box()
        page.mouse.click(box["x"] + box["width"] * (0.5 + 0.5 / 2.24), box["y"] + box["height"] * (0.5 + 0.25 / 2.24))
        place = now(page)["arms"][0][2]
        assert now(page)["time"] == 21 and np.allclose(place, [0.5, -0.25], atol=0.02)
        page.focus("canvas.plane")
        for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        assert now(page)["time"] == 22 and np.allclose(now(page)["arms"][0][2], [-0.2, 0.1], atol=1e-6)
        page.click("#end")
        last = now(page)
        page.click("#again")
        assert now(page)["time"] == -24 and now(page)["inversion"] == 1
        page.click("#end")
        assert now(page) == last
        page.click("#forget")
        page.click("#end")
        assert now(page)["inversion"] == 1 and now(page)["arms"] != last["arms"] and page.locator("#events").is_hidden()


def test_sliders_and_maps_set_the_world(browser, built):
    with opened(browser, built, "#arms=dr,dma-star") as page:
        page.keyboard.press("s")
        page.focus("#control-mass")
        page.keyboard.press("ArrowRight")
        assert now(page)["mass"] == 1.05 and now(page)["time"] == -24 and "mass=1.05" in page.evaluate("location.hash")
        page.keyboard.press("End")
        assert now(page)["mass"] == 2.0
        page.focus("#control-inversion")
        page.keyboard.press("ArrowLeft")
        assert now(page)["inversion"] == -1 and "inverted" in page.text_content("#sliders")
        chart = page.locator("#maps canvas[role=img]").first
        chart.focus()
        for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
        assert now(page)["mass"] == 1.9 and now(page)["inversion"] == 1 and now(page)["playing"]
        assert "DR, mass 1.9, upright: return" in page.text_content("#map-said")
        box = chart.bounding_box()
        chart.click(position={"x": 1, "y": box["height"] * 0.75})
        assert now(page)["mass"] == 0.1 and now(page)["inversion"] == -1
        page.click("#end")
        last = now(page)
        page.locator("#arms input").first.uncheck()  # the other agent's episode does not change
        assert now(page) == last | {"arms": last["arms"][1:]} and arms_of(page) == ["dma-star"]


def test_frames_are_drawn_in_time(browser, built):
    """A step of both agents with its frame takes less than 1/60 s of thread time; the actual frame rate also depends on
    the machine's load."""
    with opened(browser, built, "#arms=dr,dma-star-sh&steps=1000") as page:
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})  # thread time, not wall time

        def spent():
            return {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}["ScriptDuration"]

        act = "(n) => { for (let i = 0; i < n; i++) { document.querySelector('#step').click(); } }"
        page.evaluate(act, 50)
        began = spent()
        page.evaluate(act, 100)
        work = 1000 * (spent() - began) / 100
        assert now(page)["time"] == 126
        page.keyboard.press(" ")
        rate = page.evaluate("""() => new Promise((done) => {
            const began = performance.now();
            let frames = 0;
            const count = (now) => {
                frames += 1;
                if (now - began < 2000) requestAnimationFrame(count); else done((frames / (now - began)) * 1000);
            };
            requestAnimationFrame(count);
        })""")
        assert now(page)["playing"] and now(page)["time"] > 126
        page.keyboard.press(" ")
        assert not now(page)["playing"]
    print(f"two arms: {work:.1f} ms for a step of both and its frame, {rate:.0f} frames a second now")
    assert 0 < work < 1000 / 60


def test_without_motion_in_the_dark_and_on_a_phone(browser, built):
    with opened(browser, built, reduced_motion="reduce") as page:
        page.click("#play")
        assert now(page)["time"] == 100 and not now(page)["playing"]
    bright = """(c) => {
        const pixels = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        return Math.max(...pixels.filter((_, i) => i % 4 === 0));
    }"""
    for scheme, visible in (("light", lambda v: v < 60), ("dark", lambda v: v > 180)):
        with opened(browser, built, color_scheme=scheme) as page:
            swatch = page.locator("h3", has_text="DR").locator("canvas")
            assert visible(swatch.evaluate(bright))  # dark on light, light on dark
    with opened(browser, built, viewport={"width": 390, "height": 844}) as page:
        shown = arms_of(page)
        assert len(shown) == 2 and page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator("#arms label", has_text="DMA*").nth(0).locator("input").check()
        assert len(arms_of(page)) == 2 and arms_of(page) != shown
    with opened(browser, built) as page:
        page.click("#end")
        last = now(page)
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function("dmashPage.runs.length === 2")
        assert now(page)["arms"] == [arm for arm in last["arms"] if arm[0] in arms_of(page)]
        page.set_viewport_size({"width": 1300, "height": 900})
        page.wait_for_function("dmashPage.runs.length > 2")
        assert now(page) == last


def test_turned_is_evaluation_turned_round():
    arm = any_arm("runs:dma-star")
    found = export.turned(replace(arm, meta=arm.meta | {"seed": 3}), [1.0, 1.0], 15, 100, 1)
    known, _, _ = recorded_episode(arm, [1.0, 1.0], EvalSettings(), turn=15, seed=3)
    assert found["reward"][:, 0].tolist() == known["reward"][-100:]
    assert np.abs(found["z"][:, 0] - np.array(known["z"][-100:])).max() < 1e-6
    plain = export.turned(replace(arm, meta=arm.meta | {"seed": 3}), [1.0, 1.0], 100, 100, 1)
    assert np.abs(plain["z"] - found["z"]).max() > 0.1 and arm.agent.layout.horizon == 100


def test_own_networks_on_the_page(tmp_path):
    said = []
    paths = [ROOT / f"runs/DI/{arm}/seed-0.safetensors" for arm in ("dr", "dma-star", "dr")]
    page = export.build(tmp_path / "page", ROOT / "runs", [*paths, __file__], say=said.append)
    data = json.loads((page.parent / "data.js").read_text().removeprefix("globalThis.dmashData = ").rstrip(";\n"))
    assert [arm["arm"] for arm in data["arms"]] == ["dr", "dma-star"] and "DMA*-SH" not in str(data["story"])
    assert "seed 0 of dr is already included" in said[0] and "not a checkpoint" in said[1] and len(said) == 2
    assert data["arms"][0]["map"] and data["rollouts"] > 0
    lone = export.build(tmp_path / "lone", tmp_path, paths[:1], say=said.append)  # without its map
    data = json.loads((lone.parent / "data.js").read_text().removeprefix("globalThis.dmashData = ").rstrip(";\n"))
    assert data["arms"][0]["map"] == [] and "no map is recorded" in data["story"][0]["text"].lower()


def test_mistakes_are_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="no networks for DI in .*: run make train"):
        export.build(tmp_path / "page", tmp_path)
    for arm, options, what in (("amago", {}, "a recurrent agent"), ("dma-star-sh-whole", {}, "a whole hypernetwork")):
        agent = make_agent("DI", replace(METHODS[arm], **options), [0])
        with pytest.raises(UserError, match=f"the page cannot run {what}"):
            export.weights(agent, "int16")


def test_planes_show_a_tetrahedron_as_a_square():
    means = np.full((4, 8), 0.01)
    means[:, 0] = means[:, 2] = [0.1, 0.2, 0.3, 0.4]  # two corners that always move together
    first, second = export.planes(means, "simnorm")
    for plane, group in ((first, 0), (second, 4)):
        corners = np.array(plane["corners"])
        assert {tuple(c) for c in corners} == {(-1, -1), (-1, 1), (1, -1), (1, 1)}
        for k in range(4):
            assert np.allclose(np.array(plane["axes"]) @ np.eye(8)[group + k], corners[k])
    assert not np.allclose(np.sum(np.array(first["corners"])[[0, 2]], axis=0), 0)  # neighbours, so they visibly move
    (flat,) = export.planes(np.random.default_rng(0).standard_normal((20, 8)), "none")
    axes = np.array(flat["axes"])
    assert flat["corners"] is None and abs(axes[0] @ axes[1]) < 1e-12


def test_the_lowest_seed_of_each_arm_is_taken(tmp_path):
    for name in ("dr/seed-10", "dr/seed-9", "dma/seed-0", "dma/seed-1"):
        path = tmp_path / "DI" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert {f"{path.parent.name}/{path.stem}" for path in export.checkpoints(tmp_path)} == {"dr/seed-9", "dma/seed-0"}


def test_steps_to_notice():
    means, mode = np.array([[0.0], [1.0]]), np.array([1.0, -1.0])
    z = np.array([[0.0, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1], [1, 0, 1]])[..., None]
    assert export.steps_to_notice(z, means, mode, -1.0, 1).tolist() == [3, np.inf, 0]
