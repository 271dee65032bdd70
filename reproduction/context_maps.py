"""Returns over the context plane, measured with committed networks and written as CSV beside them."""

from pathlib import Path

import numpy as np
import pandas as pd

from dmash_core.benchmark.contexts import distance_outside, outer_grid
from dmash_core.benchmark.suite import get_spec
from dmash_core.errors import UserError
from dmash_core.evaluation import EVALUATION_STREAM, PROTOCOL, Driver, EvalSettings
from dmash_core.training.checkpoint import crc32
from dmash_core.training.policies import load_policy
from dmash_core.training.raw_runs import provenance

COLUMNS = ["env", "arm", "seed", "steps", "checkpoint", "commit", "distance", "rollouts", "mean", "sd"]


def map_path(checkpoint: str | Path) -> Path:
    """`seed-S.map.csv` beside `seed-S.safetensors`."""
    return Path(checkpoint).with_suffix(".map.csv")


def evaluate_map(
    checkpoint: str | Path,
    points: int,
    rollouts: int,
    settings: EvalSettings = PROTOCOL,
    seed: int | None = None,
    batch: int = 2000,
) -> pd.DataFrame:
    """Returns of a finished run's networks over `outer_grid`: a row for each context.

    Columns: the context's dimensions by name; `distance` from the training box (`distance_outside`); mean and standard
    deviation over `rollouts` episodes; and what was evaluated. `seed` is that of the initial states, by default the
    run's own. At most about `batch` environments run at a time; the initial states do not depend on it.
    """
    agent, meta = load_policy(checkpoint)
    spec, seed = get_spec(meta["config"]["env"]), meta["seed"] if seed is None else seed
    contexts = outer_grid(spec.dimensions, points)
    returns, size = [], max(1, batch // rollouts)
    for first in range(0, len(contexts), size):
        driver = Driver(agent, spec.name, contexts[None, first : first + size], rollouts, settings)
        words = range(first * rollouts, first * rollouts + driver.batch)
        episode = driver.episode([(seed, EVALUATION_STREAM, meta["steps"], i) for i in words])
        returns.append(episode.reshape(-1, rollouts))
    returns, commit = np.concatenate(returns), provenance()["git_commit"]
    table = pd.DataFrame(contexts, columns=[dimension.name for dimension in spec.dimensions])
    about = {"env": spec.name, "arm": meta["arm"], "seed": meta["seed"], "steps": meta["steps"], "rollouts": rollouts}
    about |= {"checkpoint": crc32(Path(checkpoint)), "commit": (commit or "unknown")[:8]}
    table = table.assign(distance=distance_outside(spec.dimensions, contexts), **about)
    return table.assign(mean=returns.mean(axis=1), sd=returns.std(axis=1, ddof=1) if rollouts > 1 else np.nan)


def write_map(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table of `evaluate_map`; UserError where the place cannot be written."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    except OSError as error:
        raise UserError(f"cannot write the map {path}: {error.strerror or error}") from error


def read_maps(root: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """All maps under `root`, one below the other, and a sentence for each that cannot be used.

    A map that is not of the checkpoint beside it is left out; one without a checkpoint beside it is taken.
    """
    tables, bad = [], []
    for path in sorted(Path(root).glob("*/*/seed-*.map.csv")):
        try:
            table = pd.read_csv(path, dtype={"checkpoint": str, "commit": str})
        except (ValueError, OSError) as error:
            bad.append(f"{path}: not a table ({error})")
            continue
        checkpoint = path.with_name(path.name.replace(".map.csv", ".safetensors"))
        if lost := [column for column in COLUMNS if column not in table.columns]:
            bad.append(f"{path}: it lacks the column {lost[0]}")
        elif (path.parts[-3], path.parts[-2]) != (table["env"][0], table["arm"][0]):
            bad.append(f"{path}: it is of {table['env'][0]}/{table['arm'][0]}, which disagrees with its path")
        elif checkpoint.exists() and crc32(checkpoint) != table["checkpoint"][0]:
            bad.append(f"{path}: it is not of {checkpoint.name} as it is now: dmash evaluate {checkpoint} --grid again")
        else:
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS), bad
