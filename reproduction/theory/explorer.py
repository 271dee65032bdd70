"""The variance decomposition as something to play with: learned codes, a scenario of six knobs, and one fast picture.

`notebooks/explorer.ipynb` puts sliders around it; `notebooks/variance_decomposition.ipynb` uses the learned codes.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dmash_core.diagnostics.variance import Codes, Law, synthetic_codes
from reproduction.figures.style import STYLE

STD = 0.3  # of the policy's Gaussian
TERMS = {"within-context": "#56B4E9", "within-mode": "#E69F00", "between-mode": "#0072B2"}
LEARNED = ("dma", "dma-star", "dma-star-sh")
NUMBERS = {
    "within-context": "within-context noise",
    "within-mode": "within-mode spread",
    "between-mode": "between-mode separation",
    "variability": "tr Cov(Z)",
    "measured": "tr Cov(g), 4,000 sampled gradients",
    "variance": "tr Cov(g), exact",
    "bound": "bound of A.17",
    "L": "Lipschitz constant L",
    "information": "I(Z; C), nats",
}
MODES = {1.0: ("#0072B2", "o"), -1.0: ("#D55E00", "^")}


@dataclass(frozen=True)
class Samples:
    """Codes z (n, d) of contexts label (n,); mode and mass (C,) describe the contexts."""

    z: np.ndarray
    label: np.ndarray
    mode: np.ndarray
    mass: np.ndarray

    def law(self) -> Law:
        return Law.of_samples(self.z, self.label, self.mode, self.mass)


def learned_samples(path: str | Path, rollouts: int = 16, windows: int = 8) -> Samples:
    """Codes of a trained DI agent (a ``seed-*.safetensors``) acting in the 20 contexts that it was trained on.

    After the warm-up of an evaluation, `windows` codes an episode are taken from `rollouts` episodes of every context.
    Raises UserError where the file does not hold the networks of a finished run.
    """
    from dmash_core.diagnostics.embeddings import rollout_codes
    from dmash_core.training.policies import block_contexts, load_policy

    agent, meta = load_policy(path)
    contexts = block_contexts("DI", [meta["seed"]])["train"][0]
    z = rollout_codes(agent, "DI", contexts, meta["seed"], rollouts, rollouts * windows)[""]
    label = np.repeat(np.arange(len(contexts)), z.shape[1])
    return Samples(z.reshape(len(label), -1), label, contexts[:, 1], contexts[:, 0])


@dataclass(frozen=True)
class Scenario:
    """The knobs: rms distances of the code's three parts, P(S = +1), the code's dimension, compression to E[Z | S]."""

    noise: float = 0.3
    spread: float = 0.4
    separation: float = 2.0
    p: float = 0.5
    dim: int = 2
    compression: float = 0.0


def measure(samples: Samples) -> Scenario:
    """The knobs at which `scenario_law` leaves learned codes as they are."""
    law = samples.law()
    terms, prob = law.terms(), law.weight.sum(axis=0)
    p, d = float(prob[samples.mode > 0].sum()), samples.z.shape[1]
    separation = np.sqrt(terms["between-mode"] / max(p * (1 - p), 1e-300))
    return Scenario(np.sqrt(terms["within-context"] / d), np.sqrt(terms["within-mode"]), separation, p, d)


def scenario_law(knobs: Scenario, samples: Samples | None = None, atoms: int = 300, seed: int = 0) -> Law:
    """The law of the codes at `knobs`; of learned codes their three parts are scaled to what the knobs say.

    P(C | Z) is that of Gaussian codes with one noise a context, which for learned codes is a model, not a fact.
    """
    if samples is None:
        codes = synthetic_codes(knobs.separation, knobs.spread, knobs.noise, knobs.p, knobs.dim)
        return codes.squeezed(knobs.compression).law(atoms, np.random.default_rng(seed))
    now, (by_context, by_mode) = measure(samples), samples.law().means()
    scale = {k: getattr(knobs, k) / max(getattr(now, k), 1e-12) for k in ("noise", "spread", "separation")}
    middle = (by_mode[samples.mode > 0][0] + by_mode[samples.mode < 0][0]) / 2
    centre = scale["separation"] * (by_mode - middle) + scale["spread"] * (by_context - by_mode)
    per_mode = np.array([(samples.mode == m).sum() for m in samples.mode])
    prob = np.where(samples.mode > 0, knobs.p, 1 - knobs.p) / per_mode
    square = np.square(samples.z - by_context[samples.label]).mean(axis=1)
    own = np.sqrt(np.bincount(samples.label, square) / np.bincount(samples.label))  # of each context
    codes = Codes(centre, scale["noise"] * own, prob, samples.mode, samples.mass).squeezed(knobs.compression)
    pick = np.sort(np.random.default_rng(seed).permutation(len(samples.z))[:atoms])
    label, residual = samples.label[pick], scale["noise"] * (samples.z - by_context[samples.label])[pick]
    z = codes.centre[label] + (1 - knobs.compression) * residual
    each = prob[label] / np.bincount(label, minlength=len(prob))[label]
    return Law(z, codes.posterior(z) * (each / each.sum())[:, None], samples.mode, samples.mass)


def report(knobs: Scenario, samples: Samples | None = None, draws: int = 4000) -> tuple[Law, dict[str, float]]:
    """The law and every number that the explorer shows. The policy is trained half-way on the uncompressed code and
    stays the same under compression; "measured" is the variance of `draws` sampled gradients."""
    law = scenario_law(knobs, samples)
    theta = scenario_law(replace(knobs, compression=0.0), samples).policy()
    g = law.sample_gradients(theta, STD, draws, np.random.default_rng(1))
    numbers = law.terms() | {"variability": law.variability(), "information": law.information()}
    numbers |= law.gradient(theta, STD) | {"measured": float(g.var(axis=0, ddof=1).sum())}
    return law, numbers


def _octave(value: float, low: float) -> float:
    """The first of low, 1.5 low, 2 low, 3 low, 4 low, ... that is not below `value`: limits that seldom move."""
    steps = [low * 2**k * m for k in range(60) for m in (1, 1.5)]
    return next((step for step in steps if step >= value), steps[-1])


class Picture:
    """Codes, the three terms, gradient variance beside its bound, and information, drawn into one JPEG.

    Axes are drawn again only when their limit changes; else the artists are laid over a copy of them.
    """

    def __init__(self):
        with matplotlib.style.context(STYLE, after_reset=True):
            self.figure = Figure(figsize=(9.4, 3.0), dpi=100, layout="none")
            self.canvas = FigureCanvasAgg(self.figure)
            codes, terms, gradients, information = self.axes = [
                self.figure.add_axes((left, 0.1, width, 0.78))
                for left, width in ((0.05, 0.26), (0.375, 0.15), (0.585, 0.22), (0.885, 0.1))
            ]
            codes.set_title("codes, first two principal axes")
            codes.locator_params(nbins=5)
            terms.set(title="tr Cov(Z), three terms", xticks=[], xlim=(-1, 1))
            gradients.set(title="tr Cov(g)", xlim=(-0.6, 2.6))
            gradients.set_xticks(range(3), ["measured", "exact", "bound"])
            information.set(title="Informativeness", ylabel="I(Z; C), nats", xticks=[], xlim=(-1, 1))
            information.axhline(np.log(2), color="black", linewidth=0.8, linestyle=":")
            look = {"linestyle": "none", "markersize": 2.5, "alpha": 0.5}
            self.points = [codes.plot([], [], color=c, marker=m, **look)[0] for c, m in MODES.values()]
            first = [terms.bar([0], [0], color=color)[0] for color in TERMS.values()]
            labels = [terms.text(0.03, 0.97 - 0.07 * i, k, color=c, fontsize=7, va="top", transform=terms.transAxes)
                      for i, (k, c) in enumerate(TERMS.items())]  # fmt: skip
            places = [0, 1, 1, 2, 2, 2, 2]
            colors = ["#777777", "#BBBBBB", "#CC79A7", "#BBBBBB", *TERMS.values()]
            second = [gradients.bar([x], [0], color=c)[0] for x, c in zip(places, colors, strict=True)]
            self.ratio = gradients.text(0.03, 0.97, "", fontsize=7, va="top", transform=gradients.transAxes)
            self.stacks = [first, second[:1], second[1:3], second[3:], [information.bar([0], [0], color="#009E73")[0]]]
        self.artists = [*self.points, *sum(self.stacks, []), *labels, self.ratio]
        for artist in self.artists:
            artist.set_animated(True)
        self.limits = [None] * 4
        self.columns = [0, 310, 500, 760, 940]  # pixels between which each of the axes lies, labels included
        self.background = np.full((300, 940, 4), 255, np.uint8)

    def draw(self, law: Law, numbers: dict[str, float]) -> bytes:
        """The JPEG for a law and the numbers of `report`."""
        flat = plane(law)
        likely = law.mode[law.weight.argmax(axis=1)]
        for line, mode in zip(self.points, MODES, strict=True):
            line.set_data(*flat[likely == mode].T)
        parts, steepness = [numbers[name] for name in TERMS], numbers["L"] ** 2
        bound = [numbers["unexplained"], *(steepness * part for part in parts)]
        exact = [numbers["unexplained"], numbers["explained"]]
        for stack, heights in zip(self.stacks, (parts, [numbers["measured"]], exact, bound, [numbers["information"]]),
                                  strict=True):  # fmt: skip
            base = 0.0
            for bar, height in zip(stack, heights, strict=True):
                bar.set_y(base)
                bar.set_height(height)
                base += height
        self.ratio.set_text(f"bound / exact = {numbers['bound'] / max(numbers['variance'], 1e-300):.3g}")
        reach = min(1.15 * sum(bound), 8 * numbers["variance"])  # a bound far beyond that leaves the picture
        limits = (_octave(np.abs(flat).max(), 0.5), _octave(1.3 * sum(parts), 0.125), _octave(reach, 40.0), 3.1)
        with matplotlib.style.context(STYLE, after_reset=True):
            renderer = self.canvas.get_renderer()
            pixels = np.asarray(renderer.buffer_rgba())
            for i, (ax, old, new) in enumerate(zip(self.axes, self.limits, limits, strict=True)):
                if new != old:
                    ax.set_ylim(-new if i == 0 else 0, new)
                    if i == 0:
                        ax.set_xlim(-new, new)
                    pixels[:] = 255
                    ax.draw(renderer)
                    column = slice(self.columns[i], self.columns[i + 1])
                    self.background[:, column] = pixels[:, column]
            self.limits = limits
            pixels[:] = self.background
            for artist in self.artists:
                artist.axes.draw_artist(artist)
        file = io.BytesIO()
        Image.fromarray(pixels[..., :3]).save(file, "JPEG", quality=88)
        return file.getvalue()


def plane(law: Law) -> np.ndarray:
    """The codes (n, 2) in the plane of their first two principal axes, S = +1 to the right and above."""
    z = law.z - law.z.mean(axis=0)
    axes = np.linalg.svd(z, full_matrices=False)[2][:2]
    lean = axes @ (z.T @ (law.weight @ law.mode))
    flat = z @ (axes * np.where(lean < 0, -1.0, 1.0)[:, None]).T
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))


KNOBS = {  # title, lowest, highest, step
    "noise": ("noise", 0.0, 1.0, 0.01),
    "spread": ("within-mode spread", 0.0, 1.0, 0.01),
    "separation": ("mode separation", 0.0, 4.0, 0.05),
    "p": ("p = P(S = +1)", 0.05, 0.95, 0.05),
    "dim": ("dimension", 1, 16, 1),
    "compression": ("compression", 0.0, 1.0, 0.02),
}


def app(runs_dir: str | Path = "runs"):
    """The explorer as an ipywidgets box: a preset, six sliders, the picture, and its numbers.

    Presets are synthetic codes, and the learned ones of each arm whose DI/{arm}/seed-0.safetensors lies in `runs_dir`.
    """
    import time

    import ipywidgets as widgets

    from reproduction.figures.style import ARMS

    paths = {ARMS[arm].name: Path(runs_dir) / "DI" / arm / "seed-0.safetensors" for arm in LEARNED}
    there = [name for name, path in paths.items() if path.exists()]
    missing = [name for name in paths if name not in there]
    sliders = {}
    for name, (title, low, high, step) in KNOBS.items():
        kind, layout = widgets.IntSlider if name == "dim" else widgets.FloatSlider, widgets.Layout(width="440px")
        sliders[name] = kind(value=getattr(Scenario(), name), min=low, max=high, step=step, description=title,
                             style={"description_width": "130px"}, layout=layout)  # fmt: skip
    preset = widgets.Dropdown(options=["synthetic", *(f"{name}, learned on DI" for name in there)], description="codes")
    note = f"No trained networks of {', '.join(missing)} in {runs_dir}: no presets of them." if missing else ""
    image, table = widgets.Image(format="jpeg", width=940, height=300), widgets.HTML()
    picture, state = Picture(), {"samples": None, "busy": False}

    def redraw(_=None) -> None:
        if state["busy"]:
            return
        began = time.perf_counter()
        law, numbers = report(Scenario(**{name: slider.value for name, slider in sliders.items()}), state["samples"])
        image.value = picture.draw(law, numbers)
        cells = "".join(
            f"<tr><td>{title}</td><td class='number-{key}' style='text-align:right'>{value:.4g}</td></tr>"
            for key, title in NUMBERS.items()
            for value in [numbers[key] if numbers[key] > 1e-12 else 0.0]  # less is rounding
        )
        took = 1000 * (time.perf_counter() - began)
        table.value = f"<table class='numbers'>{cells}</table><p>redrawn in <span class='took'>{took:.0f}</span> ms</p>"

    def choose(change) -> None:
        index = preset.index
        state["samples"] = samples = None if index == 0 else learned_samples(paths[there[index - 1]], rollouts=4)
        knobs = Scenario() if samples is None else measure(samples)
        state["busy"] = True
        for name, slider in sliders.items():
            slider.max = max(KNOBS[name][2], getattr(knobs, name))
            slider.value = getattr(knobs, name)
        sliders["dim"].disabled = samples is not None
        state["busy"] = False
        redraw()

    for slider in sliders.values():
        slider.observe(redraw, "value")
    preset.observe(choose, "index")
    redraw()
    left = widgets.VBox([preset, *sliders.values(), widgets.HTML(note)])
    return widgets.VBox([image, widgets.HBox([left, table])])
