"""Draws every figure from the raw runs in one call."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dmash_core.methods import MAIN_ARMS
from dmash_core.training.raw_runs import Run, scan
from reproduction.figures import motion
from reproduction.figures.maps import context_map
from reproduction.figures.networks import cosine_matrices, trajectories
from reproduction.figures.plots import diagnostic_curves, interval_figure, learning_curves
from reproduction.figures.style import ARCHITECTURE, save
from reproduction.figures.tables import aer_markdown, aer_table, diagnostic_table
from reproduction.measured import read_tables, table_path


def _measured(root: str | Path, kind: str) -> pd.DataFrame:
    table, bad = read_tables(root, kind)
    for reason in bad:
        print(f"left out: {reason}")
    return table


def of_networks(root: str | Path) -> Iterator[tuple[str, Figure, pd.DataFrame]]:
    """Name, figure and table of every figure of the committed networks under `root`."""
    maps = _measured(root, "map")
    for env in sorted(maps["env"].unique()):
        yield f"context-map-{env}", *context_map(maps, env)
    for name, kind, draw in (
        ("trajectories-DI", "episodes", trajectories),
        ("cosines-DI", "cosines", cosine_matrices),
    ):
        table = _measured(root, kind)
        if (table["seed"] == 0).any():
            yield name, *draw(table)


def by_picture(runs: Sequence[Run]) -> dict[str, tuple[str, list[Run]]]:
    """The runs in each figure of learning curves: name -> (environment, runs). Every run is in at least one."""
    pictures = {}
    for env in sorted({run.meta["env"] for run in runs}):
        here = [run for run in runs if run.meta["env"] == env]
        arms = {run.meta["arm"] for run in here}
        others = arms - {*MAIN_ARMS, *ARCHITECTURE}
        drawn = {
            "learning-curves": arms & {*MAIN_ARMS},
            # includes the two arms that the others are variants of
            "architecture": arms & {*ARCHITECTURE} if arms & {*ARCHITECTURE} - {*MAIN_ARMS} else set(),
            # includes the arms of which only options were changed
            "other-arms": others | arms & {arm.split("+")[0] for arm in others},
        }
        for name, chosen in drawn.items():
            if chosen:
                pictures[f"{name}-{env}"] = env, [run for run in here if run.meta["arm"] in chosen]
    return pictures


# Training diagnostics: metrics (name -> label), and the figures of all runs as (metrics, split, scale, arms)
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
    """The rows of each diagnostic figure (Figure 3 with the terms of A.15; section 6.5) that has any."""
    tables = {
        name: diagnostic_table([run for run in runs if run.meta["arm"] in arms], metrics, split)
        for name, (metrics, split, _, arms) in _DIAGNOSTICS.items()
    }
    return {name: table for name, table in tables.items() if len(table)}


def build_all(runs_dir: str | Path = "runs", out_dir: str | Path = "figures") -> list[Path]:
    """Draw every figure and table from the runs and networks under `runs_dir`, print what was written and return the
    paths.

    Invalid runs are reported and left out. Without runs, nothing is written and a message says so.
    """
    runs, bad = scan(runs_dir)
    for error in bad:
        print(f"left out: {error}")
    written = []
    for name, fig, table in of_networks(runs_dir):
        written += save(fig, table, name, out_dir)
    if all(table_path(Path(runs_dir) / "DI" / arm / "seed-0.safetensors", "episodes").exists() for arm in motion.ARMS):
        written += motion.draw_motion(runs_dir, out_dir)
    for name, (env, drawn) in by_picture(runs).items():
        written += save(*learning_curves(drawn, env), name, out_dir)
    for name, table in by_diagnostic(runs).items():
        metrics, _, scale, arms = _DIAGNOSTICS[name]
        fig = diagnostic_curves(table, metrics, list(table["env"].unique()), arms, scale)
        written += save(fig, table, name, out_dir)
    if runs:
        table = aer_table(runs)
        written += save(interval_figure(table), table, "aer", out_dir)
        written.append(Path(out_dir) / "aer.md")
        written[-1].write_text(aer_markdown(table))
    for path in written:
        print(f"wrote {path}")
    print(f"{len(written)} files from {len(runs)} runs" if written else f"no runs in {runs_dir}: no figures to draw")
    return written
