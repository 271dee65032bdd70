"""Every figure from the raw runs, in one call."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dmash_core.methods import MAIN_ARMS
from dmash_core.training.raw_runs import Run, scan
from reproduction.context_maps import read_maps
from reproduction.figures.maps import context_map
from reproduction.figures.plots import diagnostic_curves, interval_figure, learning_curves
from reproduction.figures.style import ARCHITECTURE, save
from reproduction.figures.tables import aer_markdown, aer_table, diagnostic_table


def draw_maps(root: str | Path = "runs", out_dir: str | Path = "figures") -> list[Path]:
    """`context-map-ENV` as PDF, PNG and CSV for each environment that has maps under `root`; the paths, also said."""
    maps, bad = read_maps(root)
    for reason in bad:
        print(f"left out: {reason}")
    written = []
    for env in sorted(maps["env"].unique()):
        written += save(*context_map(maps, env), f"context-map-{env}", out_dir)
    for path in written:
        print(f"wrote {path}")
    return written


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
