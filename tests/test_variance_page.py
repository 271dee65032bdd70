"""The law of total variance in the browser: variance.js against NumPy in headless Chromium, and its page.

`FAULTS` are plausible mistakes in variance.js; the tests must detect each.
"""

import json
from dataclasses import asdict, replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
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
    """The same in two groups of four that sum to one up to float32 rounding, like SimNorm codes."""
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


def test_learned_codes_stay_as_they_are_at_their_own_knobs():
    taken = samples()
    law = explorer.scenario_law(explorer.measure(taken), taken, atoms=10**6)
    assert law.variability() == pytest.approx(taken.law().variability(), rel=1e-9)
    between = explorer.scenario_law(replace(explorer.measure(taken), separation=0.0), taken, atoms=10**6)
    assert between.variability() < 0.5 * law.variability()


@pytest.mark.parametrize("name", CASES)
def test_terms_and_bound_at_every_corner(name):
    _, numbers = explorer.report(*CASES[name])
    assert all(np.isfinite(value) for value in numbers.values())
    assert sum(numbers[k] for k in explorer.TERMS) == pytest.approx(numbers["variability"], rel=1e-12, abs=1e-15)
    assert numbers["variance"] <= numbers["bound"] * (1 + 1e-9)


def test_policy_does_not_read_rounding():
    """For codes on simplices, least squares could fit float32 rounding errors; theta would be in the thousands."""
    taken = simplex()
    law = explorer.scenario_law(explorer.measure(taken), taken)
    features = np.column_stack([law.z, np.ones(len(law.z))])
    sizes = np.linalg.svd(features, compute_uv=False)
    assert (sizes < 1e-6 * sizes[0]).sum() == 2 and sizes[-1] > 1e-9 * sizes[0]
    exact = replace(law, z=law.z - law.z.reshape(-1, 2, 4).mean(axis=2).repeat(4, axis=1))
    assert law.policy() == pytest.approx(exact.policy(), rel=1e-3)
    fitted = np.linalg.lstsq(features, law.weight @ (law.mode * law.mass) / law.weight.sum(axis=1), rcond=1e-9)[0]
    assert np.abs(fitted).max() > 1000 * np.abs(law.policy()).max()


class Recorder:
    """A generator that records its draws."""

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
    """All numbers from dmash_core and the explorer, and the draws used for them."""
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
    """The largest difference of each number from NumPy's, relative to its largest entry. `given` are the samples in the
    page's format, if they are not passed as they are."""
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


ACCOUNT = """(knobs) => {
    const { law, theta, numbers } = dmash.account(knobs, null, 3);
    return { numbers, theta: Array.from(theta), law: { ...law, z: law.z.map((z) => Array.from(z)) } };
}"""


def test_account_is_of_its_own_law(blank):
    """The page's numbers, with its own draws, recomputed from the codes that it drew."""
    for knobs in (Scenario(), Scenario(dim=4, compression=0.6, p=0.2)):
        words = {name: float(value) for name, value in asdict(knobs).items()}
        found = blank.evaluate(ACCOUNT, words)
        law = Law(*(np.array(found["law"][k], float) for k in ("z", "weight", "mode", "mass")))
        numbers = found["numbers"]
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


FAULTS = {  # text of variance.js, its faulty replacement, and the case that must detect it
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


# ------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    return variance.build(folder / "page", ROOT / "runs", [path for path in RECORDED.values() if path.exists()][-1:])


def shown(page, name):
    return float(page.text_content(f"[data-number={name}]"))


def moved(page, before):
    page.wait_for_function("(line) => document.querySelector('#numbers').textContent !== line", arg=before)


def press(page, knob, *keys):
    page.focus(f"#knob-{knob}")
    for key in keys:
        before = page.text_content("#numbers")
        page.keyboard.press(key)
        moved(page, before)


def test_knobs_by_keyboard_address_and_reset(browser, built):  # noqa: F811
    with opened(browser, built, "#codes=synthetic") as page:
        start, noise = page.text_content("#numbers"), shown(page, "within-context")
        press(page, "noise", *["ArrowRight"] * 5)
        assert shown(page, "within-context") == pytest.approx(noise * (0.35 / 0.3) ** 2, rel=0.01)
        assert page.text_content("label:has(#knob-noise) output") == "0.35"
        press(page, "compression", "End")
        assert shown(page, "within-context") == shown(page, "within-mode") == 0
        assert shown(page, "information") == pytest.approx(np.log(2), abs=1e-3)
        page.fill("#seed", "7")
        page.keyboard.press("Tab")
        page.wait_for_function("location.hash.includes('seed=7')")
        assert "noise=0.35" in page.url and "compression=1" in page.url and "p=" not in page.url.split("#")[1]
        kept, address = page.text_content("#numbers"), page.url.split("#")[1]
        took = [page.evaluate("dmashVariance.took")]
        with opened(browser, built, f"#{address}") as other:
            assert other.text_content("#numbers") == kept != start
        page.click("#reset")
        page.select_option("#codes", "synthetic")
        moved(page, kept)
        page.wait_for_function("(line) => document.querySelector('#numbers').textContent === line", arg=start)
        press(page, "separation", *["ArrowLeft"] * 4)
        took.append(page.evaluate("dmashVariance.took"))
    print(f"redrawn in {min(took):.0f} ms")
    assert min(took) < 1000  # even during training


def test_the_live_line_and_why_a_bound_says_nothing(browser, built):  # noqa: F811
    with opened(browser, built, "#codes=synthetic") as page:
        seen = page.evaluate("dmashVariance.numbers")
        digits = int(np.ceil(np.log10(seen["a15"])))
        ratio = seen["bound"] / seen["variance"]
        assert page.text_content("#line") == f"A.15 holds to 1e{digits}, A.17 holds, ratio {ratio:.3g}"
        assert ratio < 10 and "vacuous" not in page.text_content("#why")
        assert page.text_content("#why").startswith(f"L = {seen['L']:.3g} is set by one pair of codes")
    vacuous = "#codes=synthetic&dim=1&noise=0.05"
    with opened(browser, built, vacuous) as page:
        numbers, why = page.evaluate("dmashVariance.numbers"), page.text_content("#why")
        assert numbers["bound"] > 10 * numbers["variance"] and why.startswith("The bound is vacuous here, at ")
        law = page.evaluate("({ weight: dmashVariance.law.weight, mode: dmashVariance.law.mode, "
                            "mass: dmashVariance.law.mass })")  # fmt: skip
        for code in numbers["pair"]["codes"]:
            c = int(np.argmax(law["weight"][code]))
            assert f"{'an upright' if law['mode'][c] > 0 else 'an inverted'} world of mass {law['mass'][c]:.3g}" in why
        assert page.get_attribute("[data-pair]", "data-pair") == ",".join(map(str, numbers["pair"]["codes"]))
        assert page.locator("[data-break]").count() == 1  # only on the bar of the bound
        wide = page.locator("svg").bounding_box()
        for bar in page.locator("[data-bar]").all():
            box = bar.bounding_box()
            assert box["x"] + box["width"] <= wide["x"] + wide["width"]
    with opened(browser, built, "#codes=synthetic&compression=1") as page:
        assert page.locator("[data-break]").count() == 0


def test_bars_are_as_long_as_what_they_show(browser, built):  # noqa: F811
    with opened(browser, built, "#codes=synthetic&compression=1") as page:
        numbers = page.evaluate("dmashVariance.numbers")
        size = {bar.get_attribute("data-bar"): float(bar.get_attribute("width"))
                for bar in page.locator("[data-bar]").all()}  # fmt: skip
        unit = size["measured:measured"] / numbers["measured"]
        for name in ("unexplained", "explained"):
            assert size[f"exact:{name}"] == pytest.approx(unit * numbers[name], abs=0.02)
        assert size["bound:bound-between-mode"] == pytest.approx(
            unit * numbers["L"] ** 2 * numbers["between-mode"], abs=0.02
        )
        error = page.locator("[data-error]")
        ends = [float(error.get_attribute(name)) for name in ("x1", "x2")]
        assert ends[1] - ends[0] == pytest.approx(2 * 1.96 * numbers["error"] * unit, abs=0.03)
        label = page.get_attribute("svg", "aria-label")
        assert f"bound {numbers['bound']:.3g}" in label and f"{1.96 * numbers['error']:.3g}" in label


def test_codes_of_a_checkpoint_are_there(browser, built):  # noqa: F811
    with opened(browser, built) as page:
        data = json.loads(
            (built.parent / "codes.js").read_text().removeprefix("globalThis.dmashCodes = ").rstrip(";\n")
        )
        keys = [one["key"] for one in data["codes"]]
        assert page.input_value("#codes") == data["start"] == keys[0] and len(set(keys)) == len(keys)
        taken = explorer.learned_samples([path for path in RECORDED.values() if path.exists()][-1], rollouts=4)
        for name, value in explorer.measure(taken).__dict__.items():
            assert page.evaluate(f"dmashVariance.state['{name}']") == pytest.approx(value, rel=1e-9)
        assert page.is_disabled("#knob-dim") and page.locator("#made tbody tr").count() == len(keys)
        assert shown(page, "variability") == pytest.approx(taken.law().variability(), rel=0.1)
        press(page, "noise", "Home")
        assert shown(page, "within-context") == 0 and shown(page, "between-mode") > 0.1


def test_downloads_are_whole(browser, built, tmp_path):  # noqa: F811
    with opened(browser, built, "#codes=synthetic&dim=3", accept_downloads=True) as page:
        found = {}
        for name in ("picture", "numbers", "codes"):
            with page.expect_download() as waiting:
                page.click(f"#save-{name}")
            waiting.value.save_as(tmp_path / name)
            found[name] = (tmp_path / name).read_text()
        assert "<title>synthetic; noise 0.3" in found["picture"] and "var(" not in found["picture"]
        assert ElementTree.fromstring(found["picture"]).tag.endswith("svg")
        table = pd.read_csv(tmp_path / "numbers").set_index("name")["value"]
        seen = page.evaluate("dmashVariance.numbers")
        assert (
            float(table["bound"]) == seen["bound"] and float(table["knob_dim"]) == 3 and table["codes"] == "synthetic"
        )
        codes = pd.read_csv(tmp_path / "codes")
        assert list(codes)[:4] == ["z1", "z2", "z3", "probability"] and codes["probability"].sum() == pytest.approx(1)
        law = Law(codes[["z1", "z2", "z3"]].to_numpy(), codes.iloc[:, 4:].mul(codes["probability"], axis=0).to_numpy(),
                  np.repeat([1.0, -1.0], 5), np.tile(np.linspace(0.6, 1.4, 5), 2))  # fmt: skip
        assert law.terms() == pytest.approx({name: seen[name] for name in law.terms()}, rel=1e-9)


def test_in_the_dark_and_on_a_phone(browser, built):  # noqa: F811
    ground = {}
    for scheme in ("light", "dark"):
        with opened(browser, built, color_scheme=scheme) as page:
            ground[scheme] = page.get_attribute("svg > rect", "fill")
            assert ground[scheme] != page.get_attribute("svg > text", "fill")
    assert ground["light"] == "#fff" and ground["dark"] != "#fff"
    with opened(browser, built, viewport={"width": 390, "height": 844}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        frame = page.locator("svg").bounding_box()
        for text in page.locator("svg text").all():
            box = text.bounding_box()
            assert frame["x"] - 1 <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
            assert box["height"] >= 11


def test_without_networks_and_mistakes(browser, tmp_path):  # noqa: F811
    page = variance.build(tmp_path / "page", tmp_path)
    with opened(browser, page) as opened_page:
        assert "make explore" in opened_page.text_content("#note") and shown(opened_page, "bound") > 0
    said = []
    paths = [ROOT / "runs/DI/dr/seed-0.safetensors", tmp_path / "none", __file__]
    with pytest.raises(UserError, match="DR infers no code"):
        variance.build(tmp_path / "page", tmp_path, paths[:1])
    kept = [path for path in RECORDED.values() if path.exists()][:1]
    variance.build(tmp_path / "page", tmp_path, [*paths, *kept], say=said.append)
    assert len(said) == 3 and "infers no code" in said[0] and "none" in said[1]
    assert '"start":"dma-0"' in (tmp_path / "page" / "codes.js").read_text()
