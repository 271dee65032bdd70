"""From raw runs to tables; every figure is drawn from one of them."""

import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import SUITE, get_spec
from dmash_core.errors import UserError
from dmash_core.training.raw_runs import Run, load_returns
from reproduction.figures.style import SLUGS, _kilo, arm_order, arm_style, env_order
from reproduction.paths import PUBLISHED
from reproduction.statistics import LEAST_T, aer, iqm_interval, mean_interval, normalise

SETS_AND_MEAN = (*SETS, "aggregated")  # the three context sets, and the mean of an agent's three AERs


def _summary(cell: pd.DataFrame, steps: Iterable[int], value: str = "aer") -> list[dict]:
    """Mean and 95 % interval at each of `steps` over the seeds of `cell` (columns seed, step, `value`) that have the
    step."""
    grid = cell.pivot(index="step", columns="seed", values=value)
    rows = []
    for step in steps:
        there = grid.loc[step].dropna()
        mean, low, high = mean_interval(there)
        # Too few seeds for an interval: show each seed.
        single = " ".join(f"{one:.6g}" for one in there) if 1 < len(there) < 3 else np.nan
        row = {"step": int(step), "seeds": len(there), value: mean, "low": low, "high": high, "single": single}
        rows.append(row)
    return rows


def _common_steps(cell: pd.DataFrame) -> np.ndarray:
    """The evaluated steps common to all seeds of `cell`, ascending; empty if they share only step 0."""
    common = functools.reduce(np.intersect1d, [seed["step"].unique() for _, seed in cell.groupby("seed")])
    return common if common.any() or not cell["step"].any() else common[:0]


def _curve_steps(cell: pd.DataFrame) -> list[int]:
    """The steps common to all seeds of `cell`, followed by the later steps of longer seeds."""
    common, steps = _common_steps(cell), np.unique(cell["step"])
    return [*common, *steps[steps > common[-1]]] if len(common) else []


def learning_table(runs: Sequence[Run], env: str) -> pd.DataFrame:
    """AER against steps in `env`: a row per (arm, split, step), for steps common to all seeds of the arm and later
    ones.

    Columns env, arm, split, step, seeds, aer, low, high, single, over the seeds that have the step. With fewer than
    three seeds the bounds are NaN; with two, `single` has their values.
    """
    scores = aer(load_returns([run for run in runs if run.meta["env"] == env]))
    rows = [
        {"env": env, "arm": arm, "split": split, **row}
        for arm in sorted(scores["arm"].unique(), key=arm_order)
        for split in SETS
        for cell in [scores[(scores["arm"] == arm) & (scores["split"] == split)]]
        for row in _summary(cell, _curve_steps(cell))
    ]
    table = pd.DataFrame(rows, columns=["env", "arm", "split", "step", "seeds", "aer", "low", "high", "single"])
    return table.astype({"step": int, **dict.fromkeys(["aer", "low", "high"], float)})  # an empty table too


def diagnostic_table(runs: Sequence[Run], metrics: Iterable[str], split: str | None = "train") -> pd.DataFrame:
    """Training diagnostics against steps, a row per (env, arm, metric, step) as in `learning_table`.

    Columns env, arm, metric, split, step, seeds, value, low, high, single. `split` None selects metrics that belong to
    no set. Runs that do not log a metric are left out of it.
    """
    rows = []
    for env, arm in sorted(
        {(run.meta["env"], run.meta["arm"]) for run in runs}, key=lambda key: (env_order(key[0]), arm_order(key[1]))
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
    return pd.DataFrame(
        rows, columns=["env", "arm", "metric", "split", "step", "seeds", "value", "low", "high", "single"]
    )


def aer_table(runs: Sequence[Run], envs: Sequence[str] = (), arms: Sequence[str] = ()) -> pd.DataFrame:
    """AER per (env, arm, split): env, arm, split, step, seeds, aer, low, high, single, note.

    Each row is taken at the last step common to all its seeds; a note says if seeds differ in length. An environment
    has a row for each arm that has runs there, and for each in `arms`; one without runs has 0 seeds, an empty AER and
    the note "missing".
    """
    scores = aer(load_returns(list(runs)))
    rows = []
    for env in dict.fromkeys([*envs, *sorted(scores["env"].unique(), key=env_order)]):
        here = scores[scores["env"] == env]
        for arm in sorted({*arms, *here["arm"].unique()}, key=arm_order):
            both = here[here["arm"] == arm]
            for split in SETS:
                cell, key = both[both["split"] == split], {"env": env, "arm": arm, "split": split}
                common = _common_steps(cell) if len(cell) else []
                if not len(common):
                    note = "seeds have no evaluated step in common" if len(cell) else "missing"
                    rows.append({**key, "seeds": cell["seed"].nunique(), "note": note})
                    continue
                ends = cell.groupby("seed")["step"].max()
                note = "" if ends.nunique() == 1 else f"seeds end between {ends.min()} and {ends.max()}"
                rows.append({**key, **_summary(cell, common[-1:])[0], "note": note})
    table = pd.DataFrame(rows, columns=["env", "arm", "split", "step", "seeds", "aer", "low", "high", "single", "note"])
    return table.astype({"step": "Int64", **dict.fromkeys(["aer", "low", "high"], float)})


def aer_markdown(table: pd.DataFrame) -> str:
    """The AER table as Markdown: a row per env and arm with its steps and seeds; cells without runs read "missing"."""
    lines = [
        "AER at the last evaluation that all seeds share: mean over seeds, with its 95 % interval (Student's t) from "
        f"{LEAST_T} seeds on. Compare only rows with equal steps.",
        "",
        f"| environment | arm | steps | seeds | {' | '.join(SETS)} | note |",
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
    """The rows of `scores` (env, arm, seed, step, split, ...) at the last step common to all seeds of a group.

    Rows are grouped by `per`: by default each arm separately; with ("env",) all arms together, to compare them at equal
    steps. Adds `end`, each seed's own last step. Groups without a common step are left out.
    """
    parts = []
    for _, group in scores.groupby(list(per)):
        steps = [part["step"].unique() for _, part in group.groupby(["arm", "seed"])]
        if len(common := functools.reduce(np.intersect1d, steps)):
            end = group.groupby(["arm", "seed"])["step"].transform("max")
            parts.append(group.assign(end=end)[group["step"] == common[-1]])
    return pd.concat(parts, ignore_index=True) if parts else scores.assign(end=scores["step"]).iloc[:0]


def _scored(ends: pd.DataFrame) -> pd.DataFrame:
    """`ends` of AERs plus rows of the split "aggregated" (the mean of an agent's three sets) and a column `score` (the
    AER min-max scaled by the bounds of its environment)."""
    mean = ends.groupby(["env", "arm", "seed", "step", "end"], as_index=False)["aer"].mean()
    table = pd.concat([ends.astype({"split": str}), mean.assign(split="aggregated")], ignore_index=True)
    specs = table["env"].map(get_spec)
    low, high = (np.array([getattr(s, bound) for s in specs], float) for bound in ("score_low", "score_high"))
    return table.assign(score=normalise(table["aer"], low, high))


def _wide(cell: pd.DataFrame, value: str) -> tuple[np.ndarray, dict]:
    """One arm's `value` as a (runs x tasks) matrix over the seeds present in every environment of `cell`, and its table
    columns over, step, seeds and note."""
    wide = cell.pivot(index="seed", columns="env", values=value)
    whole, steps = wide.dropna(), sorted(cell["step"].unique())
    notes = [] if len(whole) == len(wide) else [f"{len(wide) - len(whole)} seeds lack an environment"]
    if (longer := cell["end"] > cell["step"]).any():
        notes.append(f"some seeds go on to {_kilo(cell['end'][longer].max())}")
    reach = " to ".join(_kilo(step) for step in dict.fromkeys([steps[0], steps[-1]]))
    said = {"over": ", ".join(wide.columns), "step": reach, "seeds": len(whole), "note": "; ".join(notes)}
    return whole.to_numpy(), said


def groups(envs: Iterable[str]) -> dict[str, list[str]]:
    """{All, Overlap, Non-overlap: members in `envs`}; only environments of the benchmark's table, so ODE-k is in
    none."""
    known = [env for env in SUITE if env in set(envs)]
    kinds = {"Overlap": True, "Non-overlap": False}
    return {"All": known} | {kind: [env for env in known if SUITE[env].overlapping is so] for kind, so in kinds.items()}


_SCORE_COLUMNS = ["env", "arm", "split", "over", "step", "seeds", "value", "low", "high", "note"]


def score_table(
    runs: Sequence[Run], envs: Sequence[str] = (), arms: Sequence[str] = (), reps: int = 2_000
) -> pd.DataFrame:
    """IQM over seeds with its 95 % bootstrap interval, as in the paper's tables 2, 6, 7 and 8.

    A row per environment (in its own units) or group (of `groups`, min-max scaled), arm and one of `SETS_AND_MEAN`.
    Columns env (or group), arm, split, over (environments), step, seeds, value, low, high, note. A group covers the
    environments for which the arm has runs, named in `over`: only rows over the same environments are comparable. Rows
    without runs have 0 seeds, no value and the note "missing".
    """
    ends = _scored(_ends(aer(load_returns(list(runs)))))
    envs = [*dict.fromkeys([*envs, *sorted(ends["env"].unique(), key=env_order)])]
    arms = sorted({*arms, *ends["arm"].unique()}, key=arm_order)
    rows = []
    for env, members, value in [
        *[(env, [env], "aer") for env in envs], *[(name, members, "score") for name, members in groups(envs).items()]
    ]:  # fmt: skip
        for arm in arms:
            for split in SETS_AND_MEAN:
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

    Relative gains, "A vs B", are listed under arm B.
    """
    table = pd.read_csv(PUBLISHED)
    table = table[table["metric"].isin(metrics)]
    scale = np.where(table["metric"] == "AER/100", 100.0, 1.0)
    arm = table["arm"].str.split(" vs ").str[-1].map(SLUGS)
    table = table.assign(arm=arm, published=(table["value"] * scale).round(6))
    return table[table["table"] != "Abstract"][["split", "env", "arm", "published", "id"]]  # it repeats Table 9


def score_markdown(table: pd.DataFrame, split: str, gains: bool = False) -> str:
    """`score_table` (or, with `gains`, `pair_table` of `relative_gain`) for one set as Markdown: ours next to the
    published value with its id in published.csv. Arms of an environment that have neither share one line."""
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
    """`measure` of the arm `reference` against each of `arms`: a row per kind (of `groups`), arm and set.

    `measure` takes two (runs x tasks) matrices of scaled scores, as `statistics.probability_of_improvement` and
    `statistics.relative_gain` do. Columns as in `score_table`, over the environments for which both arms have runs,
    each at the last step common to all seeds of both. `seeds` is the smaller of the two numbers.
    """
    scores, rows = aer(load_returns(list(runs))), []
    for arm in arms:
        pair = scores[scores["arm"].isin([reference, arm])]
        pair = _scored(_ends(pair[pair.groupby("env")["arm"].transform("nunique") == 2], per=("env",)))
        for kind in kinds:
            cells = pair[pair["env"].isin(groups(pair["env"])[kind])]
            for split in SETS_AND_MEAN:
                row = {"env": kind, "arm": arm, "split": split, "seeds": 0, "note": "missing"}
                cell = cells[cells["split"] == split]
                if len(cell):
                    (x, _), (y, said) = (_wide(cell[cell["arm"] == one], "score") for one in (reference, arm))
                    row |= said | {"seeds": min(len(x), len(y))}
                    if row["seeds"]:
                        row |= dict(zip(("value", "low", "high"), measure(x, y), strict=True))
                rows.append(row)
    return pd.DataFrame(rows, columns=_SCORE_COLUMNS).astype(dict.fromkeys(["value", "low", "high"], float))


def context_table(runs: Sequence[Run], env: str) -> pd.DataFrame:
    """Return in each context instance of `env` at the end of the runs: mean over seeds with its 95 % interval.

    Columns env, arm, split, context (index in its set), c0, c1, ... (the context), step, seeds, value, low, high; the
    step is the last one common to all seeds of the arm. UserError if the instances differ between seeds.
    """
    runs = [run for run in runs if run.meta["env"] == env]
    if len({str(run.meta["contexts"]) for run in runs}) > 1:
        raise UserError(f"the context instances of {env} differ between seeds, so there are no means over seeds")
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


def sweep_table(runs: Sequence[Run], points: Sequence[tuple[str, object, str, str]]) -> pd.DataFrame:
    """AER along a sweep: the rows of `aer_table` for each point (line, x, env, arm), preceded by columns line and x."""
    points = pd.DataFrame(points, columns=["line", "x", "env", "arm"])
    cells = set(zip(points["env"], points["arm"], strict=True))
    runs = [run for run in runs if (run.meta["env"], run.meta["arm"]) in cells]
    return points.merge(aer_table(runs, points["env"].unique(), points["arm"].unique()), on=["env", "arm"])
