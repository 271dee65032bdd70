"""The law of total variance in the browser: variance.js held to NumPy in headless Chromium, and the page around it.

`FAULTS` are mistakes that one could make in variance.js; each has to be noticed.
"""

import base64
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from test_play import AGENTS, CHROMIUM, browser, opened  # noqa: F401

from dmash_core.diagnostics.variance import Law
from dmash_core.errors import UserError
from reproduction.paths import ROOT
from reproduction.play import export, variance
from reproduction.theory import explorer
from reproduction.theory.explorer import Samples, Scenario

SOURCE = (export.PAGE / "variance.js").read_text()
RECORDED = {arm: ROOT / f"runs/DI/{arm}/seed-0.safetensors" for arm in ("dma", "dma-star", "dma-star-sh")}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get update && apt-get install -y chromium"
)


def samples():
    rng = np.random.default_rng(0)
    mass, mode = np.tile([0.5, 1.0, 1.5], 2), np.repeat([1.0, -1.0], 3)
    label = rng.permutation(np.repeat(np.arange(6), 60))
    noise = 0.05 * (1 + label)[:, None] * rng.standard_normal((360, 3))
    return Samples(np.stack([0.1 * mode * mass, 0.3 * mass, mode], axis=1)[label] + noise, label, mode, mass)


def simplex():
    """The same in two groups of four that sum to one but for the rounding of float32, as SimNorm's codes do."""
    taken = samples()
    z = np.exp(taken.z @ np.random.default_rng(1).standard_normal((3, 8))).reshape(-1, 2, 4)
    return replace(taken, z=(z / z.sum(axis=2, keepdims=True)).reshape(-1, 8).astype(np.float32).astype(float))


@pytest.fixture(scope="module")
def blank(browser):  # noqa: F811
    page = browser.new_page()
    page.add_script_tag(content=AGENTS)
    page.add_script_tag(content=SOURCE)
    yield page
    page.close()


CASES = {
    "synthetic": (Scenario(), None),
    "one dimension": (Scenario(dim=1, compression=0.5), None),
    "many dimensions, rare mode": (Scenario(0.5, 0.7, 1.0, 0.05, 16), None),
    "no noise": (Scenario(noise=0.0, spread=0.2), None),
    "a point a mode": (Scenario(0.0, 0.0), None),
    "compressed": (Scenario(dim=3, compression=0.9), None),
    "wholly compressed": (Scenario(dim=3, p=0.3, compression=1.0), None),
    "samples": (Scenario(0.05, 0.5, 1.0, 0.7, 3, 0.3), samples()),
    "on simplices": (Scenario(0.05, 0.2, 0.6, 0.4, 8), simplex()),
    "samples as they are": (explorer.measure(samples()), samples()),
}


class Recorder:
    """A generator that remembers what it drew."""

    def __init__(self, seed):
        self.rng, self.drawn = np.random.default_rng(seed), []

    def __getattr__(self, name):
        def draw(*words, **options):
            self.drawn.append(getattr(self.rng, name)(*words, **options))
            return self.drawn[-1]

        return draw


def as_json(taken):
    return taken and {name: value.tolist() for name, value in vars(taken).items()}


NUMBERS = """([knobs, samples, normals, pick, draws]) => {
    const again = () => { let i = 0; return { pick, normal: () => {
        if (i >= normals.length) throw new Error("more draws");
        return normals[i++];
    } }; };
    const plain = (rows) => rows.map((row) => Array.from(row));
    const law = dmash.scenario(knobs, samples, again());
    const theta = dmash.gains(dmash.scenario({ ...knobs, compression: 0 }, samples, again()));
    const { pair, ...gradient } = dmash.gradient(law, theta), measured = samples ? dmash.measure(samples) : {};
    return {
        z: plain(law.z), weight: plain(law.weight), theta: Array.from(theta), plane: dmash.plane(law), ...gradient,
        ...dmash.terms(law), variability: dmash.variability(law), information: dmash.information(law),
        ...dmash.sampled(law, theta, draws), distance: pair ? pair.distance : 0,
        ...Object.fromEntries(Object.entries(measured).map(([name, value]) => [`knob ${name}`, value])),
    };
}"""


def numpys(knobs, taken):
    """All numbers by dmash_core and the explorer, and what was drawn for them."""
    law, theta = (explorer.scenario_law(k, taken) for k in (knobs, replace(knobs, compression=0.0)))
    theta = theta.policy()
    rng = Recorder(1)
    g = law.sample_gradients(theta, explorer.STD, 500, rng)
    flat, size, sign, xi = rng.drawn
    draws = [
        {"code": int(i // law.weight.shape[1]), "context": int(i % law.weight.shape[1]), "f": f.tolist(), "xi": x}
        for i, f, x in zip(flat, size * sign, xi.tolist(), strict=True)
    ]
    square = np.square(g - g.mean(axis=0)).sum(axis=1)
    known = {"z": law.z, "weight": law.weight, "theta": theta, "plane": explorer.plane(law)} | law.terms()
    known |= law.gradient(theta, explorer.STD) | {"variability": law.variability(), "information": law.information()}
    known |= {"measured": g.var(axis=0, ddof=1).sum(), "error": square.std(ddof=1) / np.sqrt(len(g))}
    if taken is not None:
        known |= {f"knob {name}": value for name, value in asdict(explorer.measure(taken)).items()}
    normals = np.random.default_rng(0).standard_normal(400 * knobs.dim).tolist()
    pick = [] if taken is None else np.random.default_rng(0).permutation(len(taken.z)).tolist()
    return known, [normals, pick, draws]


def number_errors(page, knobs, taken, given=None):
    """The largest difference of each number to NumPy's, relative to its largest entry; `given` are the samples as the
    page has them, if it is not told them as they are."""
    known, drawn = numpys(knobs, taken)
    words = [{name: float(value) for name, value in asdict(knobs).items()}, given or as_json(taken), *drawn]
    found = page.evaluate(NUMBERS, words)
    close = found.pop("distance")
    assert set(found) == set(known)
    assert not known["L"] or np.abs(np.array(found["z"])[:, None] - np.array(found["z"])).max() >= close > 0
    wrong = {}
    for name, value in known.items():
        difference = np.abs(np.array(found[name], dtype=float) - value).max()
        wrong[name] = difference / max(np.abs(value).max(), 1e-6)
    return {name: 1e9 if np.isnan(value) else value for name, value in wrong.items()}


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_numpys(blank, name):
    wrong = number_errors(blank, *CASES[name])
    print(f"{name}: {max(wrong.values()):.1e} ({max(wrong, key=wrong.get)})")
    assert max(wrong.values()) < 1e-9, wrong


@pytest.mark.parametrize("arm", [arm for arm, path in RECORDED.items() if path.exists()])
def test_numbers_of_learned_codes_are_numpys(blank, arm):
    taken = explorer.learned_samples(RECORDED[arm], rollouts=4)
    given = blank.evaluate("(one) => dmash.samples(one)", variance.learned(RECORDED[arm]))
    for knobs in (explorer.measure(taken), replace(explorer.measure(taken), p=0.8, spread=0.3, compression=0.5)):
        wrong = number_errors(blank, knobs, taken, given)
        print(f"{arm}: {max(wrong.values()):.1e} ({max(wrong, key=wrong.get)})")
        assert max(wrong.values()) < 1e-9, wrong


def test_account_is_of_its_own_law(blank):
    """What the page shows, with the draws of its own, computed again from the codes that it drew."""
    for knobs in (Scenario(), Scenario(dim=4, compression=0.6, p=0.2)):
        words = {name: float(value) for name, value in asdict(knobs).items()}
        found = blank.evaluate("(k) => { const a = dmash.account(k, null, 3); return { ...a, theta: [...a.theta], law: "
                               "{ ...a.law, z: a.law.z.map((z) => [...z]), weight: a.law.weight } }; }", words)  # fmt: skip
        law, numbers = (
            Law(*(np.array(found["law"][k], float) for k in ("z", "weight", "mode", "mass"))),
            found["numbers"],
        )
        known = law.terms() | law.gradient(np.array(found["theta"]), explorer.STD)
        known |= {"variability": law.variability(), "information": law.information()}
        for name, value in known.items():
            assert numbers[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert numbers["a15"] < 1e-12 and len(law.z) == pytest.approx(300, abs=10)
        i, j = numbers["pair"]["codes"]
        assert numbers["pair"]["distance"] == pytest.approx(np.linalg.norm(law.z[i] - law.z[j]), rel=1e-12)
        first = blank.evaluate("(k) => [0, 0, 1].map((seed) => dmash.account(k, null, seed).numbers)", words)
        assert first[0] == first[1] != first[2]


def test_draws_follow_the_law(blank):
    weight = np.array([[0.5, 0.1], [0.0, 0.4]])
    found = blank.evaluate("(weight) => dmash.draws({ weight }, 20000, 5)", weight.tolist())
    count = np.zeros((2, 2))
    np.add.at(count, ([one["code"] for one in found], [one["context"] for one in found]), 1)
    assert (np.abs(count / 20000 - weight) <= 5 * np.sqrt(weight * (1 - weight) / 20000)).all()
    f, xi = (np.array([one[name] for one in found]) for name in ("f", "xi"))
    assert 0.8 <= np.abs(f).min() < 0.801 and 0.999 < np.abs(f).max() <= 1
    assert np.abs(np.sign(f).mean(axis=0)).max() < 0.036 and abs(np.abs(f).mean() - 0.9) < 0.0015
    assert np.abs(np.corrcoef(np.hstack([f, xi]).T) - np.eye(4)).max() < 0.036
    assert np.abs(xi.mean(axis=0)).max() < 0.036 and np.abs(xi.std(axis=0) - 1).max() < 0.025


def test_measured_is_the_exact_variance_within_its_error(blank):
    found = blank.evaluate("(k) => [1, 2, 3, 4, 5, 6].map((seed) => dmash.account(k, null, seed, 20000).numbers)",
                           {name: float(value) for name, value in asdict(Scenario()).items()})  # fmt: skip
    score = np.array([(one["measured"] - one["variance"]) / one["error"] for one in found])
    assert np.abs(score).max() < 4 and score.min() < 0 < score.max() and np.abs(score).max() > 0.1


FAULTS = {  # text of variance.js, what a mistake would make of it, and the case that has to notice
    "variance within a mode without its square": ("both[0] * both[1] *", "both[0] *", "synthetic"),
    "contexts of the other mode too": ("mode[c] === own ? p : 0", "p", "synthetic"),
    "no column of ones": ("[...z, 1]", "[...z, 0]", "many dimensions, rare mode"),
    "policy of full strength": ("strength = 0.5", "strength = 1", "synthetic"),
    "weights instead of their roots": ("Math.sqrt(pz[i]) * f[j]", "pz[i] * f[j]", "samples"),
    "no cut of small singular values": ("sizes[j] > 1e-6 * largest", "sizes[j] > 0", "on simplices"),
    "starts from 0": ("(1 - 0.8 ** (k + 1)) / ((k + 1) * 0.2)", "1 / (k + 1)", "synthetic"),
    "a sixth moment of one coordinate": ("6 * raw(4) * raw(2)", "3 * raw(4) * raw(2)", "synthetic"),
    "mass forgotten": ("law.mode.map((s, c) => s / law.mass[c])", "law.mode.slice()", "synthetic"),
    "centre not taken off": ("dot(pz, second) - dot(centre, centre)", "dot(pz, second)", "synthetic"),
    "L instead of its square": ("noise + steepest *", "noise + Math.sqrt(steepest) *", "synthetic"),
    "neighbours alone": ("j < i; j++) {\n    const dz", "j < Math.min(i, 1); j++) {\n    const dz", "synthetic"),
    "variance with n": ("measured: add(square) / (n - 1)", "measured: mean", "synthetic"),
    "error of one draw": ("/ (n - 1) / n)", "/ (n - 1))", "synthetic"),
    "noise in place of its square": ("(2 * s * s)", "(2 * s)", "synthetic"),
    "posterior without its prior": (" + Math.log(prob[c]);", ";", "many dimensions, rare mode"),
    "noise is not compressed": ("codes.noise.map((s) => (1 - amount) * s)", "codes.noise", "compressed"),
    "spread as a range": ("/ masses), mode =", "/ (masses - 1)), mode =", "synthetic"),
    "noise shared by contexts": ("samples.label[i] === c);", "true);", "samples"),
    "residuals are not compressed": ("(1 - knobs.compression) * noise * residual", "noise * residual", "samples"),
    "every sample counts alike": ("prob[c] / label.filter((other) => other === c).length", "1", "samples"),
    "the first samples": ("pick.slice(0, atoms)", "pick.map((_, i) => i).slice(0, atoms)", "samples"),
    "axes in the order of the coordinates": (".sort((a, b) => sizes[b] - sizes[a])", "", "samples"),
    "axes either way round": ("< 0 ? columns[j].map((x) => -x)", "> 0 ? columns[j].map((x) => -x)", "samples"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_noticed(browser, fault):  # noqa: F811
    text, wrong, case = FAULTS[fault]
    assert SOURCE.count(text) == 1, "variance.js has changed: word this fault anew"
    page = browser.new_page()
    page.add_script_tag(content=AGENTS)
    page.add_script_tag(content=SOURCE.replace(text, wrong))
    number = max(number_errors(page, *CASES[case]).values())
    page.close()
    assert not number < 1e-7
