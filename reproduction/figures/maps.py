"""Return over the context plane (R1): figures of the tables that `dmash measure` makes from checkpoints.

A map is stored next to its checkpoint as `runs/ENV/ARM/seed-S.map.csv` and identifies it by checksum. It is data, like
a raw run, and is not remade with the figures, because the last bits of a rollout depend on the machine.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from dmash_core.benchmark.suite import context_sets, get_spec
from dmash_core.errors import UserError
from reproduction.figures.style import arm_order, arm_style, styled
from reproduction.measured import COLUMNS
from reproduction.statistics import episode_interval, mean_interval

COLOURS, HALO = "viridis", [withStroke(linewidth=2.4, foreground="black")]


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges (M + 1,) of the cells around sorted grid values (M,): midpoints, and the outermost values themselves."""
    return np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])


def _panel(ax, env: str, cells: pd.DataFrame, top: float):
    """Plot one arm's map: colour is the return, the box the training ranges, dots the training contexts. Returns the
    mesh.

    A discrete second dimension becomes one strip per value.
    """
    x, y = get_spec(env).dimensions
    flat, xs, ys = y.values is not None, np.unique(cells[x.name]), np.unique(cells[y.name])
    grid = cells.pivot(index=y.name, columns=x.name, values="mean").to_numpy()
    rows = 1.15 * np.arange(len(ys)) if flat else ys  # strips with a gap between them
    low, high = (rows[0], rows[-1] + 1) if flat else y.train
    look = {"cmap": COLOURS, "vmin": 0, "vmax": top, "rasterized": True}
    if flat:
        for bottom, strip in zip(rows, grid, strict=True):
            mesh = ax.pcolormesh(_edges(xs), [bottom, bottom + 1], strip[None], **look)
        ax.set_yticks(rows + 0.5, [f"{value:+g}".replace("-", "−") for value in ys])
        ax.tick_params(axis="y", length=0)
    else:
        mesh = ax.pcolormesh(_edges(xs), _edges(ys), grid, **look)
        ax.set_yticks([*y.outer, *y.train, 0])
    box = Rectangle(
        (x.train[0], low), x.train[1] - x.train[0], high - low, fill=False, edgecolor="white", linewidth=1.2
    )
    ax.add_patch(box).set_path_effects(HALO)
    train = context_sets(env)["train"]
    at = np.searchsorted(ys, train[:, 1]) * 1.15 + 0.12 if flat else train[:, 1]
    ax.plot(train[:, 0], at, "o", color="white", markersize=2.6, markeredgecolor="black", markeredgewidth=0.6)
    ax.set(xlim=(xs[0], xs[-1]), ylim=(rows[0], rows[-1] + flat), xticks=[*x.outer, *x.train, np.mean(x.train)])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return mesh


def _curve(env: str, cells: pd.DataFrame) -> pd.DataFrame:
    """One arm's return against distance from the training box: columns distance, mean, low, high.

    With one continuous dimension the distance is signed (below or above the range) and every grid value is a point;
    with two, points are bins a tenth of a range wide. The interval is over seeds (Student's t) or, for a single seed,
    over its episodes, which says nothing about other training runs.
    """
    continuous = [dimension for dimension in get_spec(env).dimensions if dimension.values is None]
    distance, middle = cells["distance"].to_numpy(), np.mean(continuous[0].train)
    if len(continuous) == 1:
        distance = np.where(cells[continuous[0].name] < middle, -distance, distance)
    bins = distance.round(6) if len(continuous) == 1 else np.ceil(10 * distance)
    rows = []
    for _, part in cells.assign(distance=distance).groupby(bins):
        if part["seed"].nunique() > 1:
            interval = mean_interval(part.groupby("seed")["mean"].mean())
        else:
            interval = episode_interval(part["mean"], part["sd"], part["rollouts"].iloc[0])
        rows.append((part["distance"].mean(), *interval))
    return pd.DataFrame(rows, columns=["distance", "mean", "low", "high"])


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """Label positions: `heights` moved up, from the lowest on, until neighbours are at least `gap` apart."""
    places = heights.astype(float)
    order = np.argsort(heights, kind="stable")
    for below, above in zip(order, order[1:], strict=False):
        places[above] = max(places[above], places[below] + gap)
    return places


@styled
def context_map(maps: pd.DataFrame, env: str) -> tuple[Figure, pd.DataFrame]:
    """Plot the return over the context plane of `env`, a panel per arm in `maps`, averaged over seeds, and below it the
    return against the distance from the training box. Returns the figure and its rows. UserError if there are none.
    """
    table = maps[maps["env"] == env]
    if table.empty:
        raise UserError(f"there are no maps of {env} to draw")
    x, y = get_spec(env).dimensions
    table = table[[x.name, y.name, *COLUMNS]]  # without the dimensions of other environments
    top, arms = get_spec(env).score_high, sorted(table["arm"].unique(), key=arm_order)
    flat = y.values is not None
    columns, height = 3, 0.8 if flat else 1.6
    lines = -(-len(arms) // columns)
    fig = Figure(figsize=(7.0, 0.65 + lines * (height + 0.35) + 2.2))
    upper, lower = fig.subfigures(2, 1, height_ratios=[0.65 + lines * (height + 0.35), 2.2])
    panels = upper.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    ax, curves = lower.subplots(), {}
    for arm, panel in zip(arms, panels, strict=False):
        cells, style = table[table["arm"] == arm], arm_style(arm)
        mesh = _panel(panel, env, cells.groupby([x.name, y.name], as_index=False)["mean"].mean(), top)
        inside = cells["distance"] == 0
        panel.set_title(style.name, loc="left", color=style.color, fontweight="bold")
        means = f"{cells.loc[inside, 'mean'].mean():.0f} in, {cells.loc[~inside, 'mean'].mean():.0f} out"
        panel.set_title(means, loc="right", fontsize=7)
        curve = curves[arm] = _curve(env, cells)
        ax.plot(curve["distance"], curve["mean"], color=style.color, linestyle=style.line)
        ax.fill_between(curve["distance"], curve["low"], curve["high"], color=style.color, alpha=0.2, linewidth=0)
    ends = np.array([curve["mean"].iloc[-1] for curve in curves.values()])
    for (arm, curve), end, place in zip(curves.items(), ends, _apart(ends, 0.075 * top), strict=True):
        style, last = arm_style(arm), curve["distance"].iloc[-1]
        ax.annotate(style.name, (last, end), (1.02, place / top), textcoords="axes fraction", color=style.color,
                    va="center", fontsize=7)  # fmt: skip
    for panel in panels[len(arms) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(arms) - columns) : len(arms)]:
        panel.set_xlabel(x.name)
        panel.tick_params(labelbottom=True)
    for panel in panels[::columns]:
        panel.set_ylabel(y.name)
    upper.colorbar(mesh, ax=list(panels), label=f"return (0 to {top:g})", shrink=0.8, pad=0.01)
    signed = curve["distance"].min() < 0
    ax.set(ylabel="return", ylim=(0, top), xlim=(curve["distance"].min(), curve["distance"].max()))
    ax.set_xlabel(f"{x.name} below (-) or above (+)" if signed else "distance from")
    ax.set_xlabel(f"{ax.get_xlabel()} the training range, in widths of it")
    seeds, steps = sorted(table["seed"].unique()), table["steps"].unique()
    over = "over seeds" if len(seeds) > 1 else "over episodes, which says nothing about other trainings"
    said = f"{' or '.join(f'{n:,}' for n in steps)} steps, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    ax.set_title(f"{said}, {table['rollouts'].min()} episodes a context; 95 % interval {over}", loc="left", fontsize=7)
    marks = "box: training range, inside and outside of which the mean return is given; dots: training contexts"
    upper.suptitle(marks, x=0.01, ha="left", fontsize=7)
    return fig, table
