"""One style for every figure: colour, line and marker of each arm, and how figures are saved."""

import functools
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from dmash_core.benchmark.suite import SUITE
from dmash_core.errors import UserError

STYLE = Path(__file__).with_name("style.mplstyle")
_DASH, _DOT, _DASHDOT = (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2))


@dataclass(frozen=True)
class ArmStyle:
    """The look of one arm in every figure: the paper's name, colour, line style, marker."""

    name: str
    color: str
    line: object = "-"
    marker: str = "o"

    @property
    def look(self) -> dict:
        """Keyword arguments for plotting a line in this style."""
        return {"color": self.color, "linestyle": self.line, "marker": self.marker}


# No two arms share a colour or a marker. The main arms use Okabe and Ito's palette, the others Tol's.
ARMS = {
    "dr": ArmStyle("DR", "#000000", _DOT, "x"),
    "concat": ArmStyle("Concat", "#E69F00", _DASH, "s"),
    "da": ArmStyle("DA", "#CC79A7", _DASHDOT, "D"),
    "amago": ArmStyle("Amago (our compact version)", "#8C7A00", _DOT, "P"),
    "dma": ArmStyle("DMA", "#009E73", _DASH, "v"),
    "dma-pearl": ArmStyle("DMA-Pearl", "#56B4E9", _DASHDOT, "^"),
    "dma-star": ArmStyle("DMA*", "#0072B2", "-", "<"),
    "dma-star-sh": ArmStyle("DMA*-SH", "#D55E00", "-", "o"),
    "dma-sh": ArmStyle("DMA-SH", "#882255", _DASHDOT, "p"),
    "dma-star-h": ArmStyle("DMA*-H", "#332288", "-", "h"),
    "dma-star-h-rl-only": ArmStyle("DMA*-H, RL only", "#44AA99", _DASH, "H"),
    "dma-star-sh-critic": ArmStyle("DMA*-SH, critic not detached", "#999933", "-", "1"),
    "dma-star-sh-actor": ArmStyle("DMA*-SH, actor not detached", "#AA4499", "-", "2"),
    "dma-star-sh-both": ArmStyle("DMA*-SH, neither detached", "#117733", "-", "3"),
    "dma-star-sh-policy": ArmStyle("DMA*-SH, actor's own adapter not detached", "#CC6677", "-", "4"),
    "pearl": ArmStyle("PEARL", "#4477AA", _DASHDOT, "d"),
    "varibad": ArmStyle("VariBAD", "#AA3377", _DOT, "8"),
    "amago-transformer": ArmStyle("Amago, Transformer (our compact version)", "#661100", _DASH, "X"),
    "dma-star-sh-inverse": ArmStyle("DMA*-SH, inverse dynamics", "#228833", _DASHDOT, ">"),
    "dma-star-sh-reward": ArmStyle("DMA*-SH, reward prediction", "#BBAA33", _DASHDOT, "$r$"),
    "da-inferred": ArmStyle("DA with an inferred code", "#EE3377", _DASHDOT, "$i$"),
    "dma-star-causal": ArmStyle("DMA*, window before target", "#33BBEE", _DOT, "$c$"),
    "dma-star-sh-causal": ArmStyle("DMA*-SH, window before target", "#EE7733", _DASH, "$s$"),
    "dma-star-sh-whole": ArmStyle("DMA*-SH, whole hypernetwork", "#994455", _DASHDOT, "*"),
    "dma-star-sh-only-dynamics": ArmStyle("DMA*-SH, dynamics only", "#6699CC", _DOT, "$D$"),
    "dma-star-sh-only-actor": ArmStyle("DMA*-SH, actor only", "#009988", _DOT, "$A$"),
    "dma-star-sh-only-critic": ArmStyle("DMA*-SH, critics only", "#997700", _DOT, "$C$"),
    "dma-star-sh-only-dynamics-actor": ArmStyle("DMA*-SH, dynamics and actor only", "#762A83", _DOT, "$d$"),
    "dma-star-sh-only-dynamics-critic": ArmStyle("DMA*-SH, dynamics and critics only", "#5A5A5A", _DOT, "$q$"),
}
_ORDER = list(ARMS)
ARCHITECTURE = ("dma-star", "dma-star-sh", *_ORDER[_ORDER.index("dma-sh") : _ORDER.index("pearl")])  # Figure 15
# Name of an arm in the paper -> its slug.
SLUGS = {style.name.removesuffix(" (our compact version)"): slug for slug, style in ARMS.items()}


def arm_style(label: str) -> ArmStyle:
    """The style for an arm's label. `dma-star-sh+masking=0.2` looks like `dma-star-sh`, but is dotted (dash-dotted
    if its arm is dotted) and named with its options; an unknown arm is grey and named by its label."""
    slug, *options = label.split("+")
    style = ARMS.get(slug, ArmStyle(slug, "#777777", _DASH, "*"))
    if not options:
        return style
    line = _DASHDOT if style.line == _DOT else _DOT
    return ArmStyle(f"{style.name} ({', '.join(options)})", style.color, line, style.marker)


def arm_order(label: str) -> tuple:
    """Sort key for arm labels: the paper's order, unknown ones last."""
    slug = label.split("+")[0]
    return (_ORDER.index(slug) if slug in _ORDER else len(_ORDER), label)


def env_order(env: str) -> tuple:
    """Sort key for environments: the benchmark's order, others last by name."""
    known = list(SUITE)
    return (known.index(env) if env in known else len(known), env)


def styled(function):
    """Decorator: run `function` with the project's style only, ignoring the user's matplotlib settings."""

    @functools.wraps(function)
    def inner(*args, **kwargs):
        with matplotlib.style.context(STYLE, after_reset=True):
            return function(*args, **kwargs)

    return inner


def _kilo(steps: float) -> str:
    """A short form of a number of steps: 100k, 2.5k, 40."""
    return f"{steps / 1000:g}k" if steps >= 1000 else f"{steps:g}"


@styled
def save(fig: Figure, table: pd.DataFrame, name: str, out_dir: str | Path) -> list[Path]:
    """Write `fig` as {name}.pdf and .png and `table` as {name}.csv. Returns the paths. UserError if that fails."""
    out_dir = Path(out_dir)
    paths = [out_dir / f"{name}.{suffix}" for suffix in ("pdf", "png", "csv")]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        # Omit dates and matplotlib's version: they would change the bytes but not the figure.
        fig.savefig(paths[0], metadata={"CreationDate": None, "Creator": None, "Producer": None})
        fig.savefig(paths[1], metadata={"Software": None})
        table.to_csv(paths[2], index=False, float_format="%.6g", lineterminator="\n")
    except OSError as error:
        raise UserError(f"cannot write the figure {name} into {out_dir}: {error.strerror or error}") from error
    return paths
