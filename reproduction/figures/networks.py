"""Figures of trained networks on DI: their behaviour in an upright and an inverted world, and the geometry of their
codes.

They are drawn from the tables next to committed networks (`reproduction.measured`), so the bytes are the same on every
machine.
"""

import textwrap

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dmash_core.diagnostics.embeddings import F4_CONTEXTS
from reproduction.figures.style import _kilo, arm_order, arm_style, styled

TRAJECTORIES = ("dr", "dma-star-sh")
GOAL = 0.1  # radius within which DI's reward is 1
_WORLDS = {1.0: ("upright", "-"), -1.0: ("inverted", (0, (2, 1.5)))}


def _arms(table: pd.DataFrame, seed: int = 0) -> list[str]:
    return sorted(table.loc[table["seed"] == seed, "arm"].unique(), key=arm_order)


@styled
def trajectories(episodes: pd.DataFrame, arms=TRAJECTORIES) -> tuple[Figure, pd.DataFrame]:
    """Paths of the mean policy of seed 0: a panel per arm, five episodes in each world from the same initial states."""
    shown = [arm for arm in _arms(episodes) if arm in arms]
    table = episodes[(episodes["seed"] == 0) & episodes["arm"].isin(shown)].reset_index(drop=True)
    fig = Figure(figsize=(3.5 * len(shown), 4.2))
    axes = fig.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)
    for ax, arm in zip(axes[0], shown, strict=True):
        own = table[table["arm"] == arm]
        for inversion, (world, line) in _WORLDS.items():
            part = own[own["inversion"] == inversion]
            value = part.groupby("episode")["reward"].sum().mean()
            for episode, path in part.groupby("episode"):
                label = f"{world} (inversion {inversion:+g}): {value:.0f}" if episode == 0 else None
                ax.plot(path["x"], path["y"], color=arm_style(arm).color, ls=line, lw=1.2, label=label)
                start = "start" if episode == 0 and inversion < 0 else None
                ax.plot(path["x"].iloc[0], path["y"].iloc[0], "*", color="0.3", ms=7, label=start)
        ax.add_patch(Circle((0, 0), GOAL, fill=False, color="0.2", lw=1.5))
        ax.annotate("goal", (0, -GOAL), (0, -3), textcoords="offset points", ha="center", va="top", fontsize=7)
        title = f"{arm_style(arm).name}, seed 0, {_kilo(own['steps'].iloc[0])} steps"
        ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xlabel="$p_x$", title=title)
        ax.legend(title="mean return of 5", loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    axes[0, 0].set_ylabel("$p_y$")
    return fig, table


@styled
def cosine_matrices(cosines: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Figure 4 for seed 0: cosines of the mean codes of six contexts, a column per arm, a row per mode of the
    encoder."""
    shown, table = _arms(cosines), cosines[cosines["seed"] == 0].reset_index(drop=True)
    encoders = list(table["encoder"].unique())
    ticks = [f"{mass:g}" for mass in F4_CONTEXTS[:, 0]]
    size = (0.9 + 2.0 * len(shown), 0.2 + 2.0 * len(encoders))
    fig = Figure(figsize=size)
    axes = fig.subplots(len(encoders), len(shown), squeeze=False)
    for row, (line, encoder) in enumerate(zip(axes, encoders, strict=True)):
        for ax, arm in zip(line, shown, strict=True):
            own = table[(table["encoder"] == encoder) & (table["arm"] == arm)]
            matrix = own.pivot(index="i", columns="j", values="cosine").to_numpy()
            look = {"vmin": -1, "vmax": 1, "cmap": "RdBu_r", "cbar": False, "square": True}
            labels = {"annot": True, "fmt": ".2f", "annot_kws": {"fontsize": 5.5}}
            sns.heatmap(matrix, xticklabels=ticks, yticklabels=ticks, ax=ax, **look, **labels)
            ax.tick_params(axis="y", rotation=0)
            ax.axhline(len(ticks) / 2, color="black", linewidth=0.8)
            ax.axvline(len(ticks) / 2, color="black", linewidth=0.8)
            if row == 0:
                title = f"{arm_style(arm).name} (seed 0, {_kilo(own['steps'].iloc[0])})"
                ax.set_title(textwrap.fill(title, 28))
            if row == len(encoders) - 1:
                ax.set_xlabel("mass: upright | inverted")
        line[0].set_ylabel(f"{encoder} mode\nmass: inverted | upright")
    fig.colorbar(axes[0, 0].collections[0], ax=axes, shrink=0.6, label="cosine of mean codes")
    return fig, table
