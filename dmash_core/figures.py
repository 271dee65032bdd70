"""Figures and tables from raw runs.

Each is written as PDF, PNG and the CSV that it is drawn from, byte by byte the same when made again
from the same runs.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dmash_core.benchmark.suite import get_spec
from dmash_core.errors import UserError
from dmash_core.runs import SPLITS, Run, load_returns, scan
from dmash_core.statistics import aer, mean_interval

STYLE = Path(__file__).with_name("style.mplstyle")


@dataclass(frozen=True)
class ArmStyle:
    """How one arm looks in every figure: the paper's name, colour, line style, marker."""

    name: str
    color: str
    line: object = "-"
    marker: str = "o"


_DASH, _DOT, _DASHDOT = (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2))
ARMS = {
    "dr": ArmStyle("DR", "#000000", _DOT, "x"),
    "concat": ArmStyle("Concat", "#E69F00", _DASH, "s"),
    "da": ArmStyle("DA", "#CC79A7", _DASHDOT, "D"),
    "amago": ArmStyle("Amago (our compact version)", "#8C7A00", _DOT, "P"),
    "dma": ArmStyle("DMA", "#009E73", _DASH, "v"),
    "dma-pearl": ArmStyle("DMA-Pearl", "#56B4E9", _DASHDOT, "^"),
    "dma-star": ArmStyle("DMA*", "#0072B2", "-", "<"),
    "dma-star-sh": ArmStyle("DMA*-SH", "#D55E00", "-", "o"),
    "dma-sh": ArmStyle("DMA-SH", "#E69F00", _DASHDOT, "p"),
    "dma-star-h": ArmStyle("DMA*-H", "#009E73", "-", "h"),
    "dma-star-h-rl": ArmStyle("DMA*-H (RL only)", "#56B4E9", _DASH, "H"),
    "dma-star-sh-dynamics": ArmStyle("DMA*-SH, dynamics only", "#CC79A7", "-", "1"),
    "dma-star-sh-policy": ArmStyle("DMA*-SH, policy only", "#8C7A00", "-", "2"),
    "dma-star-sh-critic": ArmStyle("DMA*-SH, critics only", "#56B4E9", "-", "3"),
}
_ORDER = list(ARMS)


def arm_style(label: str) -> ArmStyle:
    """The style of an arm's label. `dma-star-sh+masking=0.2` looks like `dma-star-sh`, but dotted and named with its
    options; an arm that ARMS does not know is grey under its own label."""
    slug, *options = label.split("+")
    style = ARMS.get(slug, ArmStyle(slug, "#777777", _DASH, "*"))
    return ArmStyle(f"{style.name} ({', '.join(options)})", style.color, _DOT, style.marker) if options else style


def _arm_order(label: str) -> tuple:
    slug = label.split("+")[0]
    return (_ORDER.index(slug) if slug in _ORDER else len(_ORDER), label)


def _styled(function):
    """Run `function` under the project's style alone, whatever the user's own matplotlib settings are."""

    @functools.wraps(function)
    def inner(*args, **kwargs):
        with matplotlib.style.context(STYLE, after_reset=True):
            return function(*args, **kwargs)

    return inner


def _kilo(steps: float) -> str:
    """A number of steps in few characters: 100k, 2.5k, 40."""
    return f"{steps / 1000:g}k" if steps >= 1000 else f"{steps:g}"


@_styled
def save(fig: Figure, table: pd.DataFrame, name: str, out_dir: str | Path) -> list[Path]:
    """Write `fig` as {name}.pdf and .png and `table` as {name}.csv; the paths written. UserError where that fails."""
    out_dir = Path(out_dir)
    paths = [out_dir / f"{name}.{suffix}" for suffix in ("pdf", "png", "csv")]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        # No dates and no version of matplotlib: they would change the bytes and not the picture.
        fig.savefig(paths[0], metadata={"CreationDate": None, "Creator": None, "Producer": None})
        fig.savefig(paths[1], metadata={"Software": None})
        table.to_csv(paths[2], index=False, float_format="%.6g", lineterminator="\n")
    except OSError as error:
        raise UserError(f"cannot write the figure {name} into {out_dir}: {error.strerror or error}") from error
    return paths


def _summary(cell: pd.DataFrame, steps: Iterable[int], value: str = "aer") -> list[dict]:
    """Mean and 95 % interval over the seeds of `cell` (columns seed, step, `value`) at each of `steps`."""
    grid = cell.pivot(index="step", columns="seed", values=value)
    rows = []
    for step in steps:
        mean, low, high = mean_interval(grid.loc[step])
        rows.append({"step": int(step), "seeds": grid.shape[1], value: mean, "low": low, "high": high})
    return rows


def _common_steps(cell: pd.DataFrame) -> np.ndarray:
    """The evaluated steps that all seeds of `cell` have, ascending."""
    return functools.reduce(np.intersect1d, [seed["step"].unique() for _, seed in cell.groupby("seed")])


def learning_table(runs: Sequence[Run], env: str) -> pd.DataFrame:
    """AER against steps in `env`, a row for each (arm, split, step that all seeds of the arm have).

    Columns env, arm, split, step, seeds, aer, low, high; the bounds are NaN for one seed.
    """
    scores = aer(load_returns([run for run in runs if run.meta["env"] == env]))
    rows = [
        {"env": env, "arm": arm, "split": split, **row}
        for arm in sorted(scores["arm"].unique(), key=_arm_order)
        for split in SPLITS
        for cell in [scores[(scores["arm"] == arm) & (scores["split"] == split)]]
        for row in _summary(cell, _common_steps(cell))
    ]
    table = pd.DataFrame(rows, columns=["env", "arm", "split", "step", "seeds", "aer", "low", "high"])
    return table.astype({"step": int, **dict.fromkeys(["aer", "low", "high"], float)})  # an empty table too


@_styled
def learning_curves(runs: Sequence[Run], env: str) -> tuple[Figure, pd.DataFrame]:
    """AER against steps in `env`: the figure and its table (`learning_table`). UserError where `env` has no runs.

    A panel for each context set; mean and 95 % interval over seeds, from 0 to the highest return that is possible.
    """
    table, lengths = learning_table(runs, env), {}
    for run in runs:
        if run.meta["env"] == env:
            lengths.setdefault(run.meta["arm"], []).append(run.meta["steps"])
    if not lengths:
        raise UserError(f"there are no runs of {env} to draw")
    top, handles, columns = get_spec(env).score_high, [], min(2, len(lengths))
    fig = Figure(figsize=(7.0, 2.3 + 0.17 * math.ceil(len(lengths) / columns)))
    axes = fig.subplots(1, len(SPLITS), sharex=True, sharey=True)
    for arm in sorted(lengths, key=_arm_order):
        style = arm_style(arm)
        look = {"color": style.color, "linestyle": style.line, "marker": style.marker}
        for split, ax in zip(SPLITS, axes, strict=True):
            curve = table[(table["arm"] == arm) & (table["split"] == split)]
            x = curve["step"] / 1000
            # At most about eight markers a line, so that lines stay lines; the CSV has every point.
            ax.plot(x, curve["aer"], **look, markevery=max(1, len(x) // 8))
            ax.fill_between(x, curve["low"], curve["high"], color=style.color, alpha=0.13, linewidth=0.4)
        count = f"n = {len(lengths[arm])}" if len(lengths[arm]) > 1 else "n = 1, no interval"
        reach = f"{_kilo(curve['step'].max())} steps" if len(curve) else "no step in common"
        if len(set(lengths[arm])) > 1 and len(curve):
            reach = f"the {reach} that all have"
        handles.append(Line2D([], [], **look, label=f"{style.name} ({count}, {reach})"))
    for split, ax in zip(SPLITS, axes, strict=True):
        ax.set(title=split, xlabel="training steps (thousands)", ylim=(0, top))
    axes[0].set_xlim(left=0)
    axes[0].set_ylabel(f"{env}: AER (0 to {top:g})")
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3)
    return fig, table


def diagnostic_table(runs: Sequence[Run], metrics: Iterable[str], split: str | None = "train") -> pd.DataFrame:
    """Diagnostics of training against steps, a row for each (env, arm, metric, step that all seeds with it have).

    Columns env, arm, metric, split, step, seeds, value, low, high; `split` None takes those that belong to no set. A
    run that does not log a metric counts as no run of it.
    """
    rows = []
    for env, arm in sorted(
        {(run.meta["env"], run.meta["arm"]) for run in runs}, key=lambda key: (key[0], _arm_order(key[1]))
    ):
        own = [run for run in runs if (run.meta["env"], run.meta["arm"]) == (env, arm)]
        for metric in metrics:
            parts = []
            for run in own:
                there = run.frame["split"].isna() if split is None else run.frame["split"] == split
                part = run.frame.loc[(run.frame["metric"] == metric) & there, ["step", "value"]]
                parts.append(part.assign(seed=run.meta["seed"]))
            if len(cell := pd.concat(parts)):
                key = {"env": env, "arm": arm, "metric": metric, "split": split}
                rows += [{**key, **row} for row in _summary(cell, _common_steps(cell), "value")]
    return pd.DataFrame(rows, columns=["env", "arm", "metric", "split", "step", "seeds", "value", "low", "high"])


@_styled
def diagnostic_curves(
    table: pd.DataFrame, metrics: dict[str, str], envs: Sequence[str], arms: Sequence[str], scale: str = "linear"
) -> Figure:
    """`diagnostic_table` drawn: a row of panels per metric (name -> axis label), a column per environment, a line per
    arm with its 95 % interval over seeds. What has no runs is called missing in its panel."""
    fig = Figure(figsize=(max(4.2, 0.6 + 2.2 * len(envs)), 0.7 + 1.5 * len(metrics) + 0.17 * math.ceil(len(arms) / 3)))
    axes = fig.subplots(len(metrics), len(envs), squeeze=False, sharex="col")
    for (metric, label), panels in zip(metrics.items(), axes, strict=True):
        for env, ax in zip(envs, panels, strict=True):
            cell, missing = table[(table["metric"] == metric) & (table["env"] == env)], []
            for arm in arms:
                curve, style = cell[cell["arm"] == arm], arm_style(arm)
                if curve.empty:
                    missing.append(style.name)
                    continue
                x, look = curve["step"] / 1000, {"color": style.color, "linestyle": style.line, "marker": style.marker}
                ax.plot(x, curve["value"], **look, markevery=max(1, len(x) // 8))
                ax.fill_between(x, curve["low"], curve["high"], color=style.color, alpha=0.13, linewidth=0.4)
            if missing:
                said = "missing: " + ("all" if len(missing) == len(arms) else ", ".join(missing))
                ax.text(0.03, 0.97, said, transform=ax.transAxes, va="top", color="#777777", style="italic", fontsize=6)
            ax.set_yscale(scale)
            if scale == "linear" and (cell["value"] >= 0).all():
                ax.set_ylim(bottom=0)  # whatever the interval of two seeds says
        panels[0].set_ylabel(label)
    for env, top, foot in zip(envs, axes[0], axes[-1], strict=True):
        top.set_title(env)
        foot.set_xlabel("training steps (thousands)")
    seeds, handles = table.groupby("arm")["seeds"].agg(["min", "max"]), []
    for arm in arms:
        if arm in seeds.index:
            style, count = arm_style(arm), " to ".join(map(str, dict.fromkeys(seeds.loc[arm])))
            said = f"{style.name} (n = {count}{', no interval' if seeds.loc[arm, 'max'] == 1 else ''})"
            handles.append(Line2D([], [], color=style.color, linestyle=style.line, marker=style.marker, label=said))
    if handles:
        fig.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), handlelength=3)
    return fig


def aer_table(runs: Sequence[Run], envs: Sequence[str] = (), arms: Sequence[str] = ()) -> pd.DataFrame:
    """AER per (env, arm, split): env, arm, split, step, seeds, aer, low, high, note.

    Each row is taken at the last step that all its seeds have, and says that step and how many seeds there are; where
    seeds are of different lengths the note says so. Every env x arm of those given or found in `runs` is in the table:
    one without runs has 0 seeds, an empty AER, and the note "missing". An arm with changed options is in it only where
    it has runs.
    """
    scores = aer(load_returns(list(runs)))
    envs = [*dict.fromkeys([*envs, *sorted(scores["env"].unique())])]
    arms = sorted({*arms, *scores["arm"].unique()}, key=_arm_order)
    rows = []
    for env in envs:
        for arm in arms:
            both = scores[(scores["env"] == env) & (scores["arm"] == arm)]
            if both.empty and "+" in arm:
                continue
            for split in SPLITS:
                cell, key = both[both["split"] == split], {"env": env, "arm": arm, "split": split}
                common = _common_steps(cell) if len(cell) else []
                if not len(common):
                    note = "seeds have no evaluated step in common" if len(cell) else "missing"
                    rows.append({**key, "seeds": cell["seed"].nunique(), "note": note})
                    continue
                ends = cell.groupby("seed")["step"].max()
                note = "" if ends.nunique() == 1 else f"seeds end between {ends.min()} and {ends.max()}"
                rows.append({**key, **_summary(cell, common[-1:])[0], "note": note})
    table = pd.DataFrame(rows, columns=["env", "arm", "split", "step", "seeds", "aer", "low", "high", "note"])
    return table.astype({"step": "Int64", **dict.fromkeys(["aer", "low", "high"], float)})


def aer_markdown(table: pd.DataFrame) -> str:
    """The AER table for reading: a row per env and arm, with its steps and seeds; what is missing is called missing."""
    lines = [
        "AER: mean over seeds with its 95 % interval (Student's t; one seed has none). Compare only equal steps.",
        "",
        f"| environment | arm | steps | seeds | {' | '.join(SPLITS)} | note |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for (env, arm), rows in table.groupby(["env", "arm"], sort=False):
        cells = []
        for row in rows.itertuples():
            interval = f" [{row.low:.1f}, {row.high:.1f}]" if np.isfinite(row.low) else ""
            cells.append("missing" if np.isnan(row.aer) else f"{row.aer:.1f}{interval}")
        first = rows.iloc[0]
        steps = "" if pd.isna(first["step"]) else first["step"]
        name = arm_style(arm).name.replace("*", r"\*")
        lines.append(f"| {env} | {name} | {steps} | {first['seeds']} | {' | '.join(cells)} | {first['note']} |")
    return "\n".join(lines) + "\n"


@_styled
def aer_figure(table: pd.DataFrame) -> Figure:
    """`aer_table` as dots with intervals: a row of panels per environment, a panel per context set, a line per arm."""
    rows = {env: part for env, part in table.groupby("env", sort=False)}
    heights = [0.55 + 0.2 * part["arm"].nunique() for part in rows.values()]
    fig = Figure(figsize=(7.0, 0.3 + sum(heights)))
    axes = fig.subplots(len(rows), len(SPLITS), sharex="row", sharey="row", squeeze=False, height_ratios=heights)
    for (env, part), panels in zip(rows.items(), axes, strict=True):
        top, labels, arms = get_spec(env).score_high, [], list(dict.fromkeys(part["arm"]))
        for split, ax in zip(SPLITS, panels, strict=True):
            for y, arm in enumerate(arms):
                row = part[(part["arm"] == arm) & (part["split"] == split)].iloc[0]
                style = arm_style(arm)
                if split == SPLITS[0]:
                    steps = "" if pd.isna(row["step"]) else f" ({_kilo(row['step'])}, n = {row['seeds']})"
                    labels.append(style.name + steps)
                if np.isnan(row["aer"]):
                    ax.text(0.02 * top, y, "missing", color="#777777", style="italic", va="center", fontsize=6.5)
                    continue
                ax.plot([row["low"], row["high"]], [y, y], color=style.color, solid_capstyle="butt")
                point = dict(color=style.color, marker=style.marker, markersize=5)
                ax.plot([row["aer"]], [y], linestyle="none", clip_on=False, **point)
            ax.set(title=f"{env}, {split}", xlim=(0, top), ylim=(len(arms) - 0.5, -0.5))
            ax.set_yticks(range(len(arms)), labels)
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="y", visible=False)
    for ax in axes[-1]:
        ax.set_xlabel("AER")
    return fig


def build_all(runs_dir: str | Path = "runs", out_dir: str | Path = "figures") -> list[Path]:
    """Make every figure and table from the runs under `runs_dir`, and say for each file what was done; the paths.

    Runs that are not valid are named and left out. Without runs nothing is written and that is said.
    """
    runs, bad = scan(runs_dir)
    for error in bad:
        print(f"left out: {error}")
    if not runs:
        print(f"no runs in {runs_dir}: no figures to draw")
        return []
    written = []
    for env in sorted({run.meta["env"] for run in runs}):
        written += save(*learning_curves(runs, env), f"learning-curves-{env}", out_dir)
    table = aer_table(runs)
    written += save(aer_figure(table), table, "aer", out_dir)
    written.append(Path(out_dir) / "aer.md")
    written[-1].write_text(aer_markdown(table))
    for path in written:
        print(f"wrote {path}")
    print(f"{len(written)} files from {len(runs)} runs")
    return written
