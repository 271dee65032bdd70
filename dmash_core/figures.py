"""Figures and tables from raw runs.

Each is written as PDF, PNG and the CSV that it is drawn from, byte by byte the same when made again
from the same runs.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dmash_core.benchmark.suite import SUITE, get_spec
from dmash_core.errors import UserError
from dmash_core.methods import MAIN_ARMS
from dmash_core.runs import SPLITS, Run, load_returns, scan
from dmash_core.statistics import aer, iqm_interval, mean_interval, normalise

STYLE = Path(__file__).with_name("style.mplstyle")
PUBLISHED = Path(__file__).parents[1] / "published.csv"
SETS = (*SPLITS, "aggregated")  # the three context sets, and the mean of an agent's three AERs


@dataclass(frozen=True)
class ArmStyle:
    """How one arm looks in every figure: the paper's name, colour, line style, marker."""

    name: str
    color: str
    line: object = "-"
    marker: str = "o"

    @property
    def look(self) -> dict:
        """The arguments of a line that is drawn in this style."""
        return {"color": self.color, "linestyle": self.line, "marker": self.marker}


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
    "dma-star-h-rl-only": ArmStyle("DMA*-H, RL only", "#56B4E9", _DASH, "H"),
    "dma-star-sh-critic": ArmStyle("DMA*-SH, critic not detached", "#CC79A7", "-", "1"),
    "dma-star-sh-actor": ArmStyle("DMA*-SH, actor not detached", "#8C7A00", "-", "2"),
    "dma-star-sh-both": ArmStyle("DMA*-SH, neither detached", "#000000", "-", "3"),
    "dma-star-sh-policy": ArmStyle("DMA*-SH, actor's own adapter not detached", "#0072B2", "-", "4"),
    "pearl": ArmStyle("PEARL", "#0072B2", _DASHDOT, "d"),
    "varibad": ArmStyle("VariBAD", "#CC79A7", _DOT, "8"),
    "amago-transformer": ArmStyle("Amago, Transformer (our compact version)", "#8C7A00", _DASH, "X"),
    "dma-star-sh-inverse": ArmStyle("DMA*-SH, inverse dynamics", "#0072B2", _DASHDOT, "<"),
    "dma-star-sh-reward": ArmStyle("DMA*-SH, reward prediction", "#009E73", _DASHDOT, ">"),
    "da-inferred": ArmStyle("DA with an inferred code", "#CC79A7", _DASHDOT, "s"),
    "dma-star-causal": ArmStyle("DMA*, window before target", "#0072B2", _DOT, "<"),
    "dma-star-sh-causal": ArmStyle("DMA*-SH, window before target", "#D55E00", _DASH, "o"),
    "dma-star-sh-whole": ArmStyle("DMA*-SH, whole hypernetwork", "#D55E00", _DASHDOT, "o"),
    "dma-star-sh-only-dynamics": ArmStyle("DMA*-SH, dynamics only", "#0072B2", _DOT, "v"),
    "dma-star-sh-only-actor": ArmStyle("DMA*-SH, actor only", "#009E73", _DOT, "v"),
    "dma-star-sh-only-critic": ArmStyle("DMA*-SH, critics only", "#CC79A7", _DOT, "v"),
    "dma-star-sh-only-dynamics-actor": ArmStyle("DMA*-SH, dynamics and actor only", "#56B4E9", _DOT, "v"),
    "dma-star-sh-only-dynamics-critic": ArmStyle("DMA*-SH, dynamics and critics only", "#8C7A00", _DOT, "v"),
}
_ORDER = list(ARMS)
ARCHITECTURE = ("dma-star", "dma-star-sh", *_ORDER[_ORDER.index("dma-sh") : _ORDER.index("pearl")])  # Figure 15
# The name of an arm in the paper -> its slug.
SLUGS = {style.name.removesuffix(" (our compact version)"): slug for slug, style in ARMS.items()}


def arm_style(label: str) -> ArmStyle:
    """The style of an arm's label. `dma-star-sh+masking=0.2` looks like `dma-star-sh`, but dotted and named with its
    options; an arm that ARMS does not know is grey under its own label."""
    slug, *options = label.split("+")
    style = ARMS.get(slug, ArmStyle(slug, "#777777", _DASH, "*"))
    return ArmStyle(f"{style.name} ({', '.join(options)})", style.color, _DOT, style.marker) if options else style


def arm_order(label: str) -> tuple:
    """Sorts labels of arms as the paper orders them, unknown ones last."""
    slug = label.split("+")[0]
    return (_ORDER.index(slug) if slug in _ORDER else len(_ORDER), label)


def styled(function):
    """Run `function` under the project's style alone, whatever the user's own matplotlib settings are."""

    @functools.wraps(function)
    def inner(*args, **kwargs):
        with matplotlib.style.context(STYLE, after_reset=True):
            return function(*args, **kwargs)

    return inner


def _kilo(steps: float) -> str:
    """A number of steps in few characters: 100k, 2.5k, 40."""
    return f"{steps / 1000:g}k" if steps >= 1000 else f"{steps:g}"


@styled
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
    """Mean and 95 % interval at each of `steps` over the seeds of `cell` (columns seed, step, `value`) that have it."""
    grid = cell.pivot(index="step", columns="seed", values=value)
    rows = []
    for step in steps:
        there = grid.loc[step].dropna()
        mean, low, high = mean_interval(there)
        rows.append({"step": int(step), "seeds": len(there), value: mean, "low": low, "high": high})
    return rows


def _common_steps(cell: pd.DataFrame) -> np.ndarray:
    """The evaluated steps that all seeds of `cell` have, ascending; none if untrained networks are all they share."""
    common = functools.reduce(np.intersect1d, [seed["step"].unique() for _, seed in cell.groupby("seed")])
    return common if common.any() or not cell["step"].any() else common[:0]


def _curve_steps(cell: pd.DataFrame) -> list[int]:
    """The steps that all seeds of `cell` have, and then those to which the longer ones go on."""
    common, steps = _common_steps(cell), np.unique(cell["step"])
    return [*common, *steps[steps > common[-1]]] if len(common) else []


def _draw_curve(ax: Axes, curve: pd.DataFrame, value: str, style: ArmStyle) -> None:
    """One arm's rows of a table against steps, with intervals; where fewer seeds go on, thin and not joined to it."""
    for seeds, part in curve.groupby("seeds"):
        x, all_of_them = part["step"] / 1000, seeds == curve["seeds"].max()
        # At most about eight markers a line, so that lines stay lines; the CSV has every point.
        look = style.look if all_of_them else style.look | {"marker": None, "linewidth": 0.7, "alpha": 0.8}
        ax.plot(x, part[value], **look, markevery=max(1, len(x) // 8))
        # The interval of two seeds (t = 12.7) covers every panel: it is there, but faint, so that lines can be read.
        faint = {"alpha": 0.035, "linewidth": 0.0} if seeds < 3 else {"alpha": 0.13, "linewidth": 0.4}
        ax.fill_between(x, part["low"], part["high"], color=style.color, **faint)


def learning_table(runs: Sequence[Run], env: str) -> pd.DataFrame:
    """AER against steps in `env`, a row for each (arm, split, step that all seeds of the arm have, or a later one).

    Columns env, arm, split, step, seeds, aer, low, high: over the seeds that have the step. One has NaN as bounds.
    """
    scores = aer(load_returns([run for run in runs if run.meta["env"] == env]))
    rows = [
        {"env": env, "arm": arm, "split": split, **row}
        for arm in sorted(scores["arm"].unique(), key=arm_order)
        for split in SPLITS
        for cell in [scores[(scores["arm"] == arm) & (scores["split"] == split)]]
        for row in _summary(cell, _curve_steps(cell))
    ]
    table = pd.DataFrame(rows, columns=["env", "arm", "split", "step", "seeds", "aer", "low", "high"])
    return table.astype({"step": int, **dict.fromkeys(["aer", "low", "high"], float)})  # an empty table too


@styled
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
    top, handles = get_spec(env).score_high, []
    for arm in sorted(lengths, key=arm_order):
        n, ends = len(lengths[arm]), table[table["arm"] == arm].groupby("seeds")["step"].max()
        reach = f"{_kilo(ends[n])} steps" if len(ends) else "no step in common"
        reach += "".join(f", then {seeds} to {_kilo(ends[seeds])}" for seeds in ends.index[::-1] if seeds < n)
        if diverged := sum("diverged" in run.meta for run in runs if run.meta["env"] == env and run.meta["arm"] == arm):
            reach += f", {diverged} diverged"
        label = f"{arm_style(arm).name} (n = {n}{', no interval' if n == 1 else ''}, {reach})"
        handles.append(Line2D([], [], **arm_style(arm).look, label=label))
    columns = 2 if len(handles) > 1 and max(len(handle.get_label()) for handle in handles) < 60 else 1
    fig = Figure(figsize=(7.0, 2.3 + 0.17 * math.ceil(len(lengths) / columns)))
    axes = fig.subplots(1, len(SPLITS), sharex=True, sharey=True)
    for arm in sorted(lengths, key=arm_order):
        style = arm_style(arm)
        for split, ax in zip(SPLITS, axes, strict=True):
            curve = table[(table["arm"] == arm) & (table["split"] == split)]
            _draw_curve(ax, curve, "aer", style)
    for split, ax in zip(SPLITS, axes, strict=True):
        ax.set(title=split, xlabel="training steps (thousands)", ylim=(0, top))
    axes[0].set_xlim(left=0)
    axes[0].set_ylabel(f"{env}: AER (0 to {top:g})")
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3)
    return fig, table


def diagnostic_table(runs: Sequence[Run], metrics: Iterable[str], split: str | None = "train") -> pd.DataFrame:
    """Diagnostics of training against steps, a row for each (env, arm, metric, step) as in `learning_table`.

    Columns env, arm, metric, split, step, seeds, value, low, high; `split` None takes those that belong to no set. A
    run that does not log a metric counts as no run of it.
    """
    rows = []
    for env, arm in sorted(
        {(run.meta["env"], run.meta["arm"]) for run in runs}, key=lambda key: (key[0], arm_order(key[1]))
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
                rows += [{**key, **row} for row in _summary(cell, _curve_steps(cell), "value")]
    return pd.DataFrame(rows, columns=["env", "arm", "metric", "split", "step", "seeds", "value", "low", "high"])


@styled
def diagnostic_curves(
    table: pd.DataFrame, metrics: dict[str, str], envs: Sequence[str], arms: Sequence[str], scale: str = "linear"
) -> Figure:
    """`diagnostic_table` drawn: a row of panels per metric (name -> axis label), a column per environment, a line per
    arm with its 95 % interval over seeds. What has no runs is called missing in its panel."""
    fig = Figure(figsize=(max(4.2, 0.6 + 2.2 * len(envs)), 0.7 + 1.5 * len(metrics) + 0.17 * len(arms)))
    axes = fig.subplots(len(metrics), len(envs), squeeze=False, sharex="col")
    for (metric, label), panels in zip(metrics.items(), axes, strict=True):
        for env, ax in zip(envs, panels, strict=True):
            cell, missing = table[(table["metric"] == metric) & (table["env"] == env)], []
            for arm in arms:
                curve, style = cell[cell["arm"] == arm], arm_style(arm)
                if curve.empty:
                    missing.append(style.name)
                    continue
                _draw_curve(ax, curve, "value", style)
            if missing:
                said = "missing: " + ("all" if len(missing) == len(arms) else ", ".join(missing))
                look = {"color": "#777777", "style": "italic", "fontsize": 6}
                ax.text(1, 1.01, said, transform=ax.transAxes, ha="right", va="bottom", **look)
            ax.set_yscale(scale)
            if scale == "linear" and (cell["value"] >= 0).all():
                ax.set_ylim(bottom=0)  # whatever the interval of two seeds says
        panels[0].set_ylabel(label)
    for env, top, foot in zip(envs, axes[0], axes[-1], strict=True):
        top.set_title(env, loc="left")
        foot.set_xlabel("training steps (thousands)")
    # what goes on past the step that all seeds have is thin, and not counted
    seeds, handles = table.groupby(["arm", "env"])["seeds"].max().groupby("arm").agg(["min", "max"]), []
    for arm in arms:
        if arm in seeds.index:
            style, count = arm_style(arm), " to ".join(map(str, dict.fromkeys(seeds.loc[arm])))
            said = f"{style.name} (n = {count}{', no interval' if seeds.loc[arm, 'max'] == 1 else ''})"
            handles.append(Line2D([], [], **style.look, label=said))
    if handles:
        columns = min(int(fig.get_figwidth() / 2.4), len(handles))
        fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3)
    return fig


def aer_table(runs: Sequence[Run], envs: Sequence[str] = (), arms: Sequence[str] = ()) -> pd.DataFrame:
    """AER per (env, arm, split): env, arm, split, step, seeds, aer, low, high, note.

    Each row is taken at the last step that all its seeds have, and says that step and how many seeds there are; where
    seeds are of different lengths the note says so. Every env x arm of those given or found in `runs` is in the table:
    one without runs has 0 seeds, an empty AER, and the note "missing". An arm with changed options that is not in
    `arms` is in it only where it has runs.
    """
    scores = aer(load_returns(list(runs)))
    envs, asked = [*dict.fromkeys([*envs, *sorted(scores["env"].unique())])], set(arms)
    rows = []
    for env in envs:
        for arm in sorted({*asked, *scores["arm"].unique()}, key=arm_order):
            both = scores[(scores["env"] == env) & (scores["arm"] == arm)]
            if both.empty and "+" in arm and arm not in asked:
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


def _ends(scores: pd.DataFrame, per: Sequence[str] = ("env", "arm")) -> pd.DataFrame:
    """The rows of `scores` (env, arm, seed, step, split, ...) at the last step that all seeds of a group have.

    Groups are equal in `per`: by arm, or, with ("env",), all arms together, so that they are compared at equal steps.
    Adds `end`, each seed's own last step. A group whose seeds have no step in common is left out.
    """
    parts = []
    for _, group in scores.groupby(list(per)):
        steps = [part["step"].unique() for _, part in group.groupby(["arm", "seed"])]
        if len(common := functools.reduce(np.intersect1d, steps)):
            end = group.groupby(["arm", "seed"])["step"].transform("max")
            parts.append(group.assign(end=end)[group["step"] == common[-1]])
    return pd.concat(parts, ignore_index=True) if parts else scores.assign(end=scores["step"]).iloc[:0]


def _scored(ends: pd.DataFrame) -> pd.DataFrame:
    """`ends` of AERs with rows of the split "aggregated", the mean of an agent's three sets, and with `score`, the AER
    min-max scaled by the bounds of its environment."""
    mean = ends.groupby(["env", "arm", "seed", "step", "end"], as_index=False)["aer"].mean()
    table = pd.concat([ends.astype({"split": str}), mean.assign(split="aggregated")], ignore_index=True)
    specs = table["env"].map(get_spec)
    low, high = (np.array([getattr(s, bound) for s in specs], float) for bound in ("score_low", "score_high"))
    return table.assign(score=normalise(table["aer"], low, high))


def _wide(cell: pd.DataFrame, value: str) -> tuple[np.ndarray, dict]:
    """One arm's `value` as (runs x tasks), of the seeds that every environment of `cell` has; and what to say of it."""
    wide = cell.pivot(index="seed", columns="env", values=value)
    whole, steps = wide.dropna(), sorted(cell["step"].unique())
    notes = [] if len(whole) == len(wide) else [f"{len(wide) - len(whole)} seeds lack an environment"]
    if (longer := cell["end"] > cell["step"]).any():
        notes.append(f"some seeds go on to {_kilo(cell['end'][longer].max())}")
    reach = " to ".join(_kilo(step) for step in dict.fromkeys([steps[0], steps[-1]]))
    said = {"over": ", ".join(wide.columns), "step": reach, "seeds": len(whole), "note": "; ".join(notes)}
    return whole.to_numpy(), said


def groups(envs: Iterable[str]) -> dict[str, list[str]]:
    """All, Overlap, Non-overlap -> those of `envs` in the benchmark's table; ODE-k beside ODE is in none of them."""
    known = [env for env in SUITE if env in set(envs)]
    kinds = {"Overlap": True, "Non-overlap": False}
    return {"All": known} | {kind: [env for env in known if SUITE[env].overlapping is so] for kind, so in kinds.items()}


_SCORE_COLUMNS = ["env", "arm", "split", "over", "step", "seeds", "value", "low", "high", "note"]


def score_table(
    runs: Sequence[Run], envs: Sequence[str] = (), arms: Sequence[str] = (), reps: int = 2_000
) -> pd.DataFrame:
    """IQM over seeds with its 95 % bootstrap interval, as in the paper's tables 2, 6, 7 and 8.

    A row for each environment, in its own units, and for each of `groups`, min-max scaled; x arm x set (`SETS`).
    Columns env (or group), arm, split, over (environments), step, seeds, value, low, high, note. A group is taken over
    the environments that the arm has runs of, which `over` names: only rows over the same ones can be compared.
    What has no runs has 0 seeds, no value, and the note "missing".
    """
    ends = _scored(_ends(aer(load_returns(list(runs)))))
    envs = [*dict.fromkeys([*envs, *sorted(ends["env"].unique())])]
    arms = sorted({*arms, *ends["arm"].unique()}, key=arm_order)
    rows = []
    for env, members, value in [
        *[(env, [env], "aer") for env in envs], *[(name, members, "score") for name, members in groups(envs).items()]
    ]:  # fmt: skip
        for arm in arms:
            for split in SETS:
                cell = ends[(ends["arm"] == arm) & (ends["split"] == split) & ends["env"].isin(members)]
                row = {"env": env, "arm": arm, "split": split, "seeds": 0, "note": "missing"}
                if len(cell):
                    scores, said = _wide(cell, value)
                    row |= said
                    if len(scores):
                        row |= dict(zip(("value", "low", "high"), iqm_interval(scores, reps), strict=True))
                rows.append(row)
    table = pd.DataFrame(rows, columns=_SCORE_COLUMNS)
    return table.astype(dict.fromkeys(["value", "low", "high"], float))


def published_scores(metrics: Sequence[str] = ("AER", "AER/100", "normalised AER")) -> pd.DataFrame:
    """Published values of these metrics: columns split, env, arm (our slug), published, id (in published.csv).

    Relative gains, "A vs B", are kept under the arm B.
    """
    table = pd.read_csv(PUBLISHED)
    table = table[table["metric"].isin(metrics)]
    scale = np.where(table["metric"] == "AER/100", 100.0, 1.0)
    arm = table["arm"].str.split(" vs ").str[-1].map(SLUGS)
    table = table.assign(arm=arm, published=(table["value"] * scale).round(6))
    return table[table["table"] != "Abstract"][["split", "env", "arm", "published", "id"]]  # which repeats table 9


def score_markdown(table: pd.DataFrame, split: str, gains: bool = False) -> str:
    """`score_table` (or, with `gains`, `pair_table` by `relative_gain`) in one set, for reading: the published value,
    with its id in published.csv, beside ours. Arms of an environment that have neither share one line."""
    published = published_scores(("relative gain %",)) if gains else published_scores()
    table = table[table["split"] == split].merge(published, "left", ["split", "env", "arm"])
    lines = [
        f"| environment | {'over ' * gains}arm | steps | seeds | ours{', %' * gains} | published | note |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for env, rows in table.groupby("env", sort=False):
        aggregate = env in groups(())
        digits = 3 if aggregate and not gains else 1
        empty = rows["value"].isna() & rows["published"].isna()
        for row in rows[~empty].itertuples():
            interval = f" [{row.low:.{digits}f}, {row.high:.{digits}f}]" if np.isfinite(row.low) else ""
            ours = "missing" if np.isnan(row.value) else f"{row.value:.{digits}f}{interval}"
            paper = "not at hand" if np.isnan(row.published) else f"{row.published:g} ({row.id})"
            name, steps = arm_style(row.arm).name.replace("*", r"\*"), "" if pd.isna(row.step) else row.step
            over = f"over {row.over}" if aggregate and not pd.isna(row.over) else ""
            note = "; ".join(filter(None, [over, "" if row.note == "missing" else row.note]))
            lines.append(f"| {env} | {name} | {steps} | {row.seeds} | {ours} | {paper} | {note} |")
        if empty.any():
            names = ", ".join(arm_style(arm).name.replace("*", r"\*") for arm in rows["arm"][empty])
            lines.append(f"| {env} | {'every arm' if empty.all() else names} | | 0 | missing | not at hand | |")
    return "\n".join(lines) + "\n"


def pair_table(
    runs: Sequence[Run],
    reference: str,
    arms: Sequence[str],
    measure: Callable[[np.ndarray, np.ndarray], tuple[float, float, float]],
    kinds: Sequence[str] = ("All",),
) -> pd.DataFrame:
    """`measure` of the arm `reference` against each of `arms`: a row for each of `kinds` (of `groups`) x arm x set.

    `measure` takes two (runs x tasks) matrices of scaled scores, as `statistics.probability_of_improvement` and
    `statistics.relative_gain` do. Columns as `score_table`'s: over the environments that both arms have runs of, each
    at the last step that all seeds of both have. `seeds` is the smaller of the two numbers.
    """
    scores, rows = aer(load_returns(list(runs))), []
    for arm in arms:
        pair = scores[scores["arm"].isin([reference, arm])]
        pair = _scored(_ends(pair[pair.groupby("env")["arm"].transform("nunique") == 2], per=("env",)))
        for kind in kinds:
            cells = pair[pair["env"].isin(groups(pair["env"])[kind])]
            for split in SETS:
                row = {"env": kind, "arm": arm, "split": split, "seeds": 0, "note": "missing"}
                cell = cells[cells["split"] == split]
                if len(cell):
                    (x, _), (y, said) = (_wide(cell[cell["arm"] == one], "score") for one in (reference, arm))
                    row |= said | {"seeds": min(len(x), len(y))}
                    if row["seeds"]:
                        row |= dict(zip(("value", "low", "high"), measure(x, y), strict=True))
                rows.append(row)
    return pd.DataFrame(rows, columns=_SCORE_COLUMNS).astype(dict.fromkeys(["value", "low", "high"], float))


@styled
def interval_figure(
    table: pd.DataFrame,
    value: str = "aer",
    label: str = "AER",
    splits: Sequence[str] = SPLITS,
    top: Callable[[str], float] = lambda env: get_spec(env).score_high,
    reference: float | None = None,
) -> Figure:
    """`aer_table` or one like it as dots with intervals: a row of panels per environment, one per set, a line per arm.

    `value` is the column that is drawn, from 0 to `top(env)`; `reference` draws a line across all panels.
    """
    rows = {env: part for env, part in table.groupby("env", sort=False)}
    heights = [0.55 + 0.2 * part["arm"].nunique() for part in rows.values()]
    fig = Figure(figsize=(7.0, 0.3 + sum(heights)))
    axes = fig.subplots(len(rows), len(splits), sharex="row", sharey="row", squeeze=False, height_ratios=heights)
    for (env, part), panels in zip(rows.items(), axes, strict=True):
        limit, labels, arms = top(env), [], list(dict.fromkeys(part["arm"]))
        for split, ax in zip(splits, panels, strict=True):
            for y, arm in enumerate(arms):
                row = part[(part["arm"] == arm) & (part["split"] == split)].iloc[0]
                style = arm_style(arm)
                if split == splits[0]:
                    steps = row["step"] if isinstance(row["step"], str) or pd.isna(row["step"]) else _kilo(row["step"])
                    labels.append(style.name + ("" if pd.isna(steps) else f" ({steps}, n = {row['seeds']})"))
                if np.isnan(row[value]):
                    ax.text(0.02 * limit, y, "missing", color="#777777", style="italic", va="center", fontsize=6.5)
                    continue
                ax.plot([row["low"], row["high"]], [y, y], color=style.color, solid_capstyle="butt")
                point = dict(color=style.color, marker=style.marker, markersize=5)
                ax.plot([row[value]], [y], linestyle="none", clip_on=False, **point)
            if reference is not None:
                ax.axvline(reference, color="#777777", linewidth=0.7, zorder=0)
            ax.set(title=f"{env}, {split}", xlim=(0, limit), ylim=(len(arms) - 0.5, -0.5))
            if len(splits) > 3:
                ax.set_title(ax.get_title(), fontsize=7)
                ax.set_xticks([0, limit / 2, limit])
            ax.set_yticks(range(len(arms)), labels)
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="y", visible=False)
    for ax in axes[-1]:
        ax.set_xlabel(label)
    return fig


def context_table(runs: Sequence[Run], env: str) -> pd.DataFrame:
    """Return in each context instance of `env` at the end of the runs: mean over seeds with its 95 % interval.

    Columns env, arm, split, context (index in its set), c0, c1, ... (the context), step, seeds, value, low, high; the
    step is the last that all seeds of the arm have. UserError where the instances differ from seed to seed.
    """
    runs = [run for run in runs if run.meta["env"] == env]
    if len({str(run.meta["contexts"]) for run in runs}) > 1:
        raise UserError(f"the context instances of {env} are drawn for each seed, so they have no means over seeds")
    returns = load_returns(runs)
    keys = ["env", "arm", "split", "seed", "step", "context"]
    returns = returns.groupby(keys, observed=True)["value"].mean().rename("aer").reset_index()
    rows = []
    for (arm, split, context, step), cell in _ends(returns).groupby(["arm", "split", "context", "step"], observed=True):
        mean, low, high = mean_interval(cell["aer"])
        where = {f"c{j}": c for j, c in enumerate(runs[0].meta["contexts"][split][context])}
        key = {"env": env, "arm": arm, "split": split, "context": context, **where, "step": step}
        rows.append({**key, "seeds": len(cell), "value": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


@styled
def context_figure(table: pd.DataFrame) -> Figure:
    """`context_table` drawn: a row of panels per arm, a panel per set, a point per context instance.

    Instances are sorted by their discrete dimension, if there is one, and then by the first; the axis below names them.
    """
    env, top = table["env"].iloc[0], get_spec(table["env"].iloc[0]).score_high
    dimensions = get_spec(env).dimensions
    columns = [f"c{j}" for j in range(len(dimensions))]
    order = sorted(columns, key=lambda column: dimensions[int(column[1:])].values is None)
    arms = sorted(table["arm"].unique(), key=arm_order)
    fig = Figure(figsize=(7.0, 0.9 + 0.85 * len(arms)))
    axes = fig.subplots(len(arms), len(SPLITS), sharex="col", sharey=True, squeeze=False)
    for arm, panels in zip(arms, axes, strict=True):
        style = arm_style(arm)
        for split, ax in zip(SPLITS, panels, strict=True):
            cell = table[(table["arm"] == arm) & (table["split"] == split)].sort_values(order)
            x = range(len(cell))
            ax.vlines(x, cell["low"], cell["high"], color=style.color, linewidth=1)
            ax.plot(x, cell["value"], linestyle="none", color=style.color, marker=style.marker, clip_on=False)
            ax.set(ylim=(0, top), xlim=(-0.7, len(cell) - 0.3))
            ax.set_xticks(x, [", ".join(f"{c:.3g}" for c in row) for row in cell[columns].to_numpy()])
            ax.tick_params(axis="x", rotation=90, labelsize=4.5)
        said = f"{_kilo(cell['step'].iloc[0])} steps, n = {cell['seeds'].iloc[0]}"
        panels[0].set_title(f"{style.name} ({said})", loc="left", fontsize=7)
    for split, ax in zip(SPLITS, axes[-1], strict=True):
        ax.set_xlabel(f"{split}: {', '.join(dimension.name for dimension in dimensions)}")
    fig.supylabel(f"{env}: return (0 to {top:g})", fontsize=8)
    return fig


def sweep_table(runs: Sequence[Run], points: Sequence[tuple[str, object, str, str]]) -> pd.DataFrame:
    """AER along a sweep: for each point (line, x, env, arm) the rows of `aer_table`, with columns line and x before."""
    points = pd.DataFrame(points, columns=["line", "x", "env", "arm"])
    cells = set(zip(points["env"], points["arm"], strict=True))
    runs = [run for run in runs if (run.meta["env"], run.meta["arm"]) in cells]
    return points.merge(aer_table(runs, points["env"].unique(), points["arm"].unique()), on=["env", "arm"])


@styled
def sweep_figure(table: pd.DataFrame, xlabel: str, top: float) -> Figure:
    """`sweep_table` drawn: a panel per set, a line per `line` (an arm) over the values x in the order of the table.

    Points without runs are called missing at the foot of the panel; the legend says steps and seeds.
    """
    xs = list(dict.fromkeys(table["x"]))
    fig = Figure(figsize=(7.0, 2.7))
    axes, handles = fig.subplots(1, len(SPLITS), sharey=True), []
    for line, part in table.groupby("line", sort=False):
        style, there = arm_style(line), part.dropna(subset="aer")
        look = style.look
        for split, ax in zip(SPLITS, axes, strict=True):
            curve = part[part["split"] == split]
            x = np.array([xs.index(value) for value in curve["x"]], dtype=float)
            ax.plot(x, curve["aer"], **look, clip_on=False)
            ax.vlines(x, curve["low"], curve["high"], color=style.color, linewidth=1)
        if len(there):
            steps = " to ".join(dict.fromkeys([_kilo(there["step"].min()), _kilo(there["step"].max())]))
            seeds = " to ".join(dict.fromkeys([str(there["seeds"].min()), str(there["seeds"].max())]))
            handles.append(Line2D([], [], **look, label=f"{style.name} ({steps} steps, n = {seeds})"))
    lost = table.groupby("x", sort=False)["aer"].apply(lambda values: values.isna().all())
    for split, ax in zip(SPLITS, axes, strict=True):
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
    """What a claim compares: ours (dot, with the interval that decides) and the published value (open diamond), a line
    per comparison.

    `findings` are those of build/claims.json; those that measured nothing are left to the table. A panel for each unit
    and power of ten.
    """
    columns = ["what", "verdict", "published", "published_id", "paper", "value", "low", "high", "unit", "seeds"]
    table = pd.DataFrame([{key: one[key] for key in columns} for one in findings if one["value"] is not None])
    paper = table["paper"].astype(float)  # NaN for a range, or without one
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


def by_picture(runs: Sequence[Run]) -> dict[str, tuple[str, list[Run]]]:
    """Which runs each picture of learning curves shows: name -> (environment, runs); every run is in one."""
    pictures = {}
    for env in sorted({run.meta["env"] for run in runs}):
        here = [run for run in runs if run.meta["env"] == env]
        arms = {run.meta["arm"] for run in here}
        drawn = {
            "learning-curves": arms & {*MAIN_ARMS},
            # beside the two arms that the others vary
            "architecture": arms & {*ARCHITECTURE} if arms & {*ARCHITECTURE} - {*MAIN_ARMS} else set(),
            "other-arms": arms - {*MAIN_ARMS, *ARCHITECTURE},
        }
        for name, chosen in drawn.items():
            if chosen:
                pictures[f"{name}-{env}"] = env, [run for run in here if run.meta["arm"] in chosen]
    return pictures


# Diagnostics of training: metrics (name -> label), and what is drawn of all runs: metrics, split, scale, arms
TERMS = {
    "within_context_noise": "noise\nin a context",
    "within_mode_spread": "spread\nin a mode",
    "between_mode_separation": "separation\nof modes",
}
SHADOWS = {
    "shadow_actor": "through the actor",
    "shadow_critics": "through the critics",
    "shadow_both": "through both",
}
_MEASURES = {"informativeness": "Informativeness", "variability": "Variability"}
_DIAGNOSTICS = {
    "embeddings": (_MEASURES | TERMS, "train", "linear", ("dma", "dma-star", "dma-star-sh")),
    "shadow-gradients": (SHADOWS, None, "log", ("dma-star-sh", "dma-star-h", "dma-star-h-rl-only")),
}


def by_diagnostic(runs: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """The rows that each picture of diagnostics shows (Figure 3 with the terms of A.15; section 6.5), if it has any."""
    tables = {
        name: diagnostic_table([run for run in runs if run.meta["arm"] in arms], metrics, split)
        for name, (metrics, split, _, arms) in _DIAGNOSTICS.items()
    }
    return {name: table for name, table in tables.items() if len(table)}


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
    for name, (env, drawn) in by_picture(runs).items():
        written += save(*learning_curves(drawn, env), name, out_dir)
    for name, table in by_diagnostic(runs).items():
        metrics, _, scale, arms = _DIAGNOSTICS[name]
        fig = diagnostic_curves(table, metrics, list(table["env"].unique()), arms, scale)
        written += save(fig, table, name, out_dir)
    table = aer_table(runs)
    written += save(interval_figure(table), table, "aer", out_dir)
    written.append(Path(out_dir) / "aer.md")
    written[-1].write_text(aer_markdown(table))
    for path in written:
        print(f"wrote {path}")
    print(f"{len(written)} files from {len(runs)} runs")
    return written
