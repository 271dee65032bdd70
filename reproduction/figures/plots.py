"""Figures of raw runs, each drawn from a table of `reproduction.figures.tables`."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import get_spec
from dmash_core.errors import UserError
from dmash_core.training.raw_runs import Run
from reproduction.figures.style import ArmStyle, _kilo, arm_order, arm_style, styled
from reproduction.figures.tables import learning_table


def _single(cells: pd.Series) -> np.ndarray:
    """The values of single seeds (rows, seeds) in a table's column `single`; shape (rows, 0) if there are intervals."""
    words = [cell.split() if isinstance(cell, str) else [] for cell in cells]
    return np.array(words, dtype=float) if words and all(map(len, words)) else np.empty((len(words), 0))


def _draw_curve(ax: Axes, curve: pd.DataFrame, value: str, style: ArmStyle) -> None:
    """Plot one arm's rows of a table against steps, with intervals or, for two seeds, with a thin line per seed. The
    part with fewer seeds is a separate thin line."""
    for seeds, part in curve.groupby("seeds"):
        x, all_of_them = part["step"] / 1000, seeds == curve["seeds"].max()
        # At most about eight markers per line for legibility; the CSV has every point.
        look = style.look if all_of_them else style.look | {"marker": None, "linewidth": 0.7, "alpha": 0.8}
        ax.plot(x, part[value], **look, markevery=max(1, len(x) // 8))
        for one in _single(part["single"]).T:
            ax.plot(x, one, color=style.color, linewidth=0.6, alpha=0.55, zorder=1.5)
        ax.fill_between(x, part["low"], part["high"], color=style.color, alpha=0.13, linewidth=0.4)


def _said(seeds: int | str) -> str:
    """A number of seeds, or a range such as "2 to 3", for a legend."""
    return f"{seeds} seed" if str(seeds) == "1" else f"{seeds} seeds"


@styled
def learning_curves(runs: Sequence[Run], env: str) -> tuple[Figure, pd.DataFrame]:
    """AER against steps in `env`: the figure and its table (`learning_table`). UserError if `env` has no runs.

    One panel per context set; mean and 95 % interval over seeds, from 0 to the highest possible return.
    """
    table, lengths = learning_table(runs, env), {}
    for run in runs:
        if run.meta["env"] == env:
            lengths.setdefault(run.meta["arm"], []).append(run.meta["steps"])
    if not lengths:
        raise UserError(f"there are no runs of {env} to draw")
    top, handles = get_spec(env).score_high, []
    same = {steps for every in lengths.values() for steps in every}
    for arm in sorted(lengths, key=arm_order):
        n, ends = len(lengths[arm]), table[table["arm"] == arm].groupby("seeds")["step"].max()
        words = [_said(n)]
        if len(same) > 1 or not len(ends):
            reach = f"{_kilo(ends[n])} steps" if len(ends) else "no step in common"
            reach += "".join(f", then {seeds} to {_kilo(ends[seeds])}" for seeds in ends.index[::-1] if seeds < n)
            words.append(reach)
        if diverged := sum("diverged" in run.meta for run in runs if run.meta["env"] == env and run.meta["arm"] == arm):
            words.append(f"{diverged} diverged")
        label = f"{arm_style(arm).name} ({', '.join(words)})"
        handles.append(Line2D([], [], **arm_style(arm).look, label=label))
    widest = max(len(handle.get_label()) for handle in handles)
    columns = min(len(handles), 3 if widest < 30 else 2 if widest < 60 else 1)
    fig = Figure(figsize=(7.0, 2.3 + 0.17 * math.ceil(len(lengths) / columns)))
    axes = fig.subplots(1, len(SETS), sharex=True, sharey=True)
    for arm in sorted(lengths, key=arm_order):
        style = arm_style(arm)
        for split, ax in zip(SETS, axes, strict=True):
            curve = table[(table["arm"] == arm) & (table["split"] == split)]
            _draw_curve(ax, curve, "aer", style)
    for split, ax in zip(SETS, axes, strict=True):
        ax.set(title=split, xlabel="training steps (thousands)", ylim=(0, top))
    axes[0].set_xlim(left=0)
    axes[0].set_ylabel(f"{env}: AER (0 to {top:g})")
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3)
    return fig, table


@styled
def diagnostic_curves(
    table: pd.DataFrame, metrics: dict[str, str], envs: Sequence[str], arms: Sequence[str], scale: str = "linear"
) -> Figure:
    """Plot `diagnostic_table`: a row of panels per environment, a column per metric (name -> title), a line per arm
    with its 95 % interval over seeds. The legend says in how many environments an arm has runs, and lists the arms
    without any."""
    size = max(4.2, 0.8 + 1.75 * len(metrics)), 0.8 + 1.25 * len(envs) + 0.17 * len(arms)
    fig = Figure(figsize=size)
    axes = fig.subplots(len(envs), len(metrics), squeeze=False, sharex="row")
    for env, panels in zip(envs, axes, strict=True):
        for metric, ax in zip(metrics, panels, strict=True):
            cell = table[(table["metric"] == metric) & (table["env"] == env)]
            for arm in arms:
                _draw_curve(ax, cell[cell["arm"] == arm], "value", arm_style(arm))
            ax.set_yscale(scale)
            if scale == "log":
                ax.minorticks_off()
                low, high = np.log10(ax.get_ylim())
                if math.floor(high) <= math.ceil(low):  # fewer than two labels give no scale
                    ax.set_ylim(10.0 ** math.floor(low), 10.0 ** math.ceil(high))
            elif (cell["value"] >= 0).all():
                ax.set_ylim(bottom=0)  # even if an interval extends below
        panels[0].set_ylabel(env)
    for title, top, foot in zip(metrics.values(), axes[0], axes[-1], strict=True):
        top.set_title(title, loc="left")
        foot.set_xlabel("training steps (thousands)")
    # the thin part beyond the last step of all seeds is not counted
    seeds = table.groupby(["arm", "env"])["seeds"].max().groupby("arm").agg(["min", "max", "size"])
    there, handles = [arm for arm in arms if arm in seeds.index], []
    for arm in there:
        low, high, count = seeds.loc[arm]
        words = [_said(" to ".join(map(str, dict.fromkeys([low, high]))))]
        if count < len(envs):
            words.append(f"{count} of {len(envs)} environments")
        handles.append(Line2D([], [], **arm_style(arm).look, label=f"{arm_style(arm).name} ({', '.join(words)})"))
    absent = ", ".join(arm_style(arm).name for arm in arms if arm not in there)
    if handles:
        columns = min(int(fig.get_figwidth() / 2.4), len(handles))
        title = f"without runs: {absent}" if absent else None
        fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3, title=title)
    return fig


@styled
def interval_figure(
    table: pd.DataFrame,
    value: str = "aer",
    label: str = "AER",
    splits: Sequence[str] = SETS,
    top: Callable[[str], float] = lambda env: get_spec(env).score_high,
    reference: float | None = None,
) -> Figure:
    """Plot `aer_table` or a similar table as dots with intervals: a row of panels per environment, a panel per set, a
    line per arm.

    `value` is the column to plot, from 0 to `top(env)`; `reference` draws a line across all panels.
    """
    rows = {env: part for env, part in table.groupby("env", sort=False)}
    heights = [0.55 + 0.2 * part["arm"].nunique() for part in rows.values()]
    fig = Figure(figsize=(7.0, 0.3 + sum(heights)))
    axes = fig.subplots(len(rows), len(splits), sharex="row", sharey="row", squeeze=False, height_ratios=heights)
    for (env, part), panels in zip(rows.items(), axes, strict=True):
        limit, labels, arms = top(env), [], list(dict.fromkeys(part["arm"]))
        gap = ",\n" if len(env) > 12 else ", "  # on one line, a long name runs into the next panel's title
        for split, ax in zip(splits, panels, strict=True):
            for y, arm in enumerate(arms):
                row = part[(part["arm"] == arm) & (part["split"] == split)].iloc[0]
                style = arm_style(arm)
                if split == splits[0]:
                    steps = row["step"] if isinstance(row["step"], str) or pd.isna(row["step"]) else _kilo(row["step"])
                    labels.append(style.name + ("" if pd.isna(steps) else f" ({steps}, {_said(row['seeds'])})"))
                if np.isnan(row[value]):
                    ax.text(0.02 * limit, y, "missing", color="#777777", style="italic", va="center", fontsize=6.5)
                    continue
                ax.plot([row["low"], row["high"]], [y, y], color=style.color, solid_capstyle="butt")
                for out, end, arrow in ((row["low"] < 0, 0, "<"), (row["high"] > limit, limit, ">")):
                    if out:  # the interval extends beyond the axis
                        ax.plot([end], [y], color=style.color, marker=arrow, markersize=4, clip_on=False)
                single = _single(part.loc[[row.name], "single"]) if "single" in part else np.empty((1, 0))
                if single.size:
                    ax.plot(single[0], [y] * single.shape[1], ".", color=style.color, markersize=5, alpha=0.7)
                point = dict(color=style.color, marker=style.marker, markersize=5)
                ax.plot([row[value]], [y], linestyle="none", clip_on=False, **point)
            if reference is not None:
                ax.axvline(reference, color="#777777", linewidth=0.7, zorder=0)
            ax.set(title=f"{env}{gap}{split}", xlim=(0, limit), ylim=(len(arms) - 0.5, -0.5))
            if len(splits) > 3:
                ax.set_title(ax.get_title(), fontsize=7)
                ax.set_xticks([0, limit / 2, limit])
            ax.set_yticks(range(len(arms)), labels)
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="y", visible=False)
    for ax in axes[-1]:
        ax.set_xlabel(label)
    return fig


@styled
def context_figure(table: pd.DataFrame) -> Figure:
    """Plot `context_table`: a row of panels per arm, a panel per set, a point per context instance.

    Instances are sorted by their discrete dimension, if there is one, and then by the first; the x-axis labels them.
    """
    env, top = table["env"].iloc[0], get_spec(table["env"].iloc[0]).score_high
    dimensions = get_spec(env).dimensions
    columns = [f"c{j}" for j in range(len(dimensions))]
    order = sorted(columns, key=lambda column: dimensions[int(column[1:])].values is None)
    arms = sorted(table["arm"].unique(), key=arm_order)
    fig = Figure(figsize=(7.0, 0.9 + 0.85 * len(arms)))
    axes = fig.subplots(len(arms), len(SETS), sharex="col", sharey=True, squeeze=False)
    for arm, panels in zip(arms, axes, strict=True):
        style = arm_style(arm)
        for split, ax in zip(SETS, panels, strict=True):
            cell = table[(table["arm"] == arm) & (table["split"] == split)].sort_values(order)
            x = range(len(cell))
            ax.vlines(x, cell["low"], cell["high"], color=style.color, linewidth=1)
            ax.plot(x, cell["value"], linestyle="none", color=style.color, marker=style.marker, clip_on=False)
            ax.set(ylim=(0, top), xlim=(-0.7, len(cell) - 0.3))
            ax.set_xticks(x, [", ".join(f"{c:.3g}" for c in row) for row in cell[columns].to_numpy()])
            ax.tick_params(axis="x", rotation=90, labelsize=4.5)
        said = f"{_kilo(cell['step'].iloc[0])} steps, {_said(cell['seeds'].iloc[0])}"
        panels[0].set_title(f"{style.name} ({said})", loc="left", fontsize=7)
    for split, ax in zip(SETS, axes[-1], strict=True):
        ax.set_xlabel(f"{split}: {', '.join(dimension.name for dimension in dimensions)}")
    fig.supylabel(f"{env}: return (0 to {top:g})", fontsize=8)
    return fig


@styled
def sweep_figure(table: pd.DataFrame, xlabel: str, top: float) -> Figure:
    """Plot `sweep_table`: a panel per set, a line per `line` (an arm) over the values x in the order of the table.

    Points without runs are marked missing at the bottom of the panel; the legend gives steps and seeds.
    """
    xs = list(dict.fromkeys(table["x"]))
    fig = Figure(figsize=(7.0, 2.7))
    axes, handles = fig.subplots(1, len(SETS), sharey=True), []
    for line, part in table.groupby("line", sort=False):
        style, there = arm_style(line), part.dropna(subset="aer")
        look = style.look
        for split, ax in zip(SETS, axes, strict=True):
            curve = part[part["split"] == split]
            x = np.array([xs.index(value) for value in curve["x"]], dtype=float)
            ax.plot(x, curve["aer"], **look, clip_on=False)
            ax.vlines(x, curve["low"], curve["high"], color=style.color, linewidth=1)
        if len(there):
            steps = " to ".join(dict.fromkeys([_kilo(there["step"].min()), _kilo(there["step"].max())]))
            seeds = " to ".join(dict.fromkeys([str(there["seeds"].min()), str(there["seeds"].max())]))
            handles.append(Line2D([], [], **look, label=f"{style.name} ({steps} steps, {_said(seeds)})"))
    lost = table.groupby("x", sort=False)["aer"].apply(lambda values: values.isna().all())
    for split, ax in zip(SETS, axes, strict=True):
        for value in lost.index[lost]:
            ax.text(xs.index(value), 0.02 * top, "missing", color="#777777", style="italic", rotation=90, fontsize=6,
                    ha="center", va="bottom")  # fmt: skip
        ax.set(title=split, xlabel=xlabel, ylim=(0, top), xlim=(-0.5, len(xs) - 0.5))
        ax.set_xticks(range(len(xs)), [f"{value:g}" if isinstance(value, float) else str(value) for value in xs])
    axes[0].set_ylabel(f"AER (0 to {top:g})")
    if handles:
        fig.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), handlelength=3)
    return fig


@styled
def finding_figure(findings: Sequence[dict]) -> tuple[Figure, pd.DataFrame]:
    """Plot a claim's comparisons, one line each: ours (dot, with the interval that decides) and the published value
    (open diamond).

    `findings` are those of build/claims.json; those that measured nothing are left out. One panel per unit and power of
    ten.
    """
    columns = ["what", "verdict", "published", "published_id", "paper", "value", "low", "high", "unit", "seeds"]
    table = pd.DataFrame([{key: one[key] for key in columns} for one in findings if one["value"] is not None])
    paper = table["paper"].astype(float)  # NaN for a published range or if there is none
    size = np.log10(np.maximum(table["value"].abs(), paper.abs().fillna(0)).clip(lower=100)).astype(int)
    parts = [part for _, part in table.assign(paper=paper).groupby([table["unit"], size], sort=False)]
    heights = [0.5 + 0.19 * len(part) for part in parts]
    fig = Figure(figsize=(7.0, 0.2 + sum(heights)))
    axes = fig.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, ax in zip(parts, axes, strict=True):
        y = np.arange(len(part))
        ax.hlines(y, part["low"].astype(float), part["high"].astype(float), color="#0072B2")
        ax.plot(part["value"], y, "o", color="#0072B2", label="ours, with its interval")
        ax.plot(part["paper"], y, "D", color="#D55E00", fillstyle="none", markersize=6, label="published")
        ax.set_yticks(y, part["what"] + " (" + part["verdict"] + ")", fontsize=6)
        ax.set(ylim=(len(part) - 0.5, -0.5), xlabel=part["unit"].iloc[0])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return fig, table
