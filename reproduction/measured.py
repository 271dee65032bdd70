"""Measurements of committed networks, written as CSV next to them.

The measurements are returns over the context plane, the cosines of Figure 4, and episodes in an upright and an inverted
world.

A table identifies its networks by checksum and is data, like a raw run: it is not remade with the figures, because the
last bits of a rollout depend on the machine.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dmash_core.benchmark.contexts import distance_outside, outer_grid
from dmash_core.benchmark.suite import get_spec
from dmash_core.diagnostics.embeddings import F4_CONTEXTS, MODES, di_cosines
from dmash_core.errors import UserError
from dmash_core.evaluation import EVALUATION_STREAM, PROTOCOL, EvalSettings, Rollout, record_rollout
from dmash_core.training.checkpoint import crc32
from dmash_core.training.policies import load_policy
from dmash_core.training.raw_runs import provenance

ABOUT = ["env", "arm", "seed", "steps", "checkpoint", "commit"]
KINDS = {
    "map": ["distance", "rollouts", "mean", "sd"],
    "cosines": ["encoder", "i", "j", "cosine"],
    "episodes": ["mass", "inversion", "episode", "step", "x", "y", "reward"],
}
"""Tables stored next to networks as seed-S.KIND.csv, and their columns besides ABOUT; a map also has those of the
context."""
COLUMNS = [*ABOUT, *KINDS["map"]]
GRID, ROLLOUTS, EPISODES = 39, 20, 5
"""Committed tables: points per continuous dimension and episodes per context of a map; episodes per world."""
WORLDS = np.array([[1.0, 1.0], [1.0, -1.0]])  # (mass, inversion): upright and inverted


def table_path(checkpoint: str | Path, kind: str = "map") -> Path:
    """`seed-S.KIND.csv` next to `seed-S.safetensors`."""
    return Path(checkpoint).with_suffix(f".{kind}.csv")


def _about(checkpoint: str | Path, meta: dict) -> dict:
    commit = provenance()["git_commit"] or "unknown"
    about = {"env": meta["config"]["env"]} | {key: meta[key] for key in ("arm", "seed", "steps")}
    return about | {"checkpoint": crc32(Path(checkpoint)), "commit": commit[:8]}


def evaluate_map(
    checkpoint: str | Path,
    points: int,
    rollouts: int,
    settings: EvalSettings = PROTOCOL,
    seed: int | None = None,
    batch: int = 2000,
) -> pd.DataFrame:
    """Returns of a finished run's networks over `outer_grid`, one row per context.

    Columns: the context's dimensions by name; `distance` from the training box (`distance_outside`); mean and standard
    deviation over `rollouts` episodes; and ABOUT. `seed` seeds the initial states and defaults to the run's own. At
    most about `batch` environments run at a time, which does not affect the initial states.
    """
    agent, meta = load_policy(checkpoint)
    spec, seed = get_spec(meta["config"]["env"]), meta["seed"] if seed is None else seed
    contexts = outer_grid(spec.dimensions, points)
    returns, size = [], max(1, batch // rollouts)
    for first in range(0, len(contexts), size):
        rollout = Rollout(agent, spec.name, contexts[None, first : first + size], rollouts, settings)
        words = range(first * rollouts, first * rollouts + rollout.batch)
        episode = rollout.episode([(seed, EVALUATION_STREAM, meta["steps"], i) for i in words])
        returns.append(episode.reshape(-1, rollouts))
    returns = np.concatenate(returns)
    table = pd.DataFrame(contexts, columns=[dimension.name for dimension in spec.dimensions])
    distance = distance_outside(spec.dimensions, contexts)
    table = table.assign(distance=distance, rollouts=rollouts, **_about(checkpoint, meta))
    return table.assign(mean=returns.mean(axis=1), sd=returns.std(axis=1, ddof=1) if rollouts > 1 else np.nan)


def cosine_table(checkpoint: str | Path) -> pd.DataFrame:
    """The cosine matrices of Figure 4 for a finished run on DI, one row per encoder mode and entry (i, j)."""
    agent, meta = load_policy(checkpoint)
    rows = [
        (MODES[suffix], i, j, matrix[i, j])
        for suffix, matrix in di_cosines(agent, meta["seed"]).items()
        for i, j in np.ndindex(len(F4_CONTEXTS), len(F4_CONTEXTS))
    ]
    return pd.DataFrame(rows, columns=KINDS["cosines"]).assign(**_about(checkpoint, meta))


def episode_table(checkpoint: str | Path) -> pd.DataFrame:
    """Episodes of a finished run's mean policy on DI in WORLDS, from the same initial states; one row per step."""
    agent, meta = load_policy(checkpoint)
    rows = []
    for mass, inversion in WORLDS:
        seen = record_rollout(agent, "DI", np.repeat([[mass, inversion]], EPISODES, axis=0), seed=1)
        for episode in range(EPISODES):
            xy, reward = seen["obs"][:, episode, :2], seen["reward"][:, episode]
            rows += [(mass, inversion, episode, t, *xy[t], reward[t]) for t in range(len(reward))]
    return pd.DataFrame(rows, columns=KINDS["episodes"]).assign(**_about(checkpoint, meta))


def measure(checkpoint: str | Path) -> list[Path]:
    """Write the tables that figures need next to these networks, unless they are up to date. Returns the paths
    written."""
    _, meta = load_policy(checkpoint)
    env, makers = meta["config"]["env"], {}
    if len(get_spec(env).dimensions) == 2:
        makers["map"] = lambda: evaluate_map(checkpoint, GRID, ROLLOUTS)
    if env == "DI":
        makers["episodes"] = lambda: episode_table(checkpoint)
        if meta["config"]["method"].get("context") == "inferred":
            makers["cosines"] = lambda: cosine_table(checkpoint)
    written = []
    for kind, make in makers.items():
        path = table_path(checkpoint, kind)
        try:
            _read(path, kind)
        except ValueError:
            write_table(make(), path)
            written.append(path)
    return written


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a measured table. UserError if `path` cannot be written."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _read(path: Path, kind: str) -> pd.DataFrame:
    """Read a usable table. ValueError, in a sentence without the table's name, if it is not usable."""
    try:
        table = pd.read_csv(path, dtype={"checkpoint": str, "commit": str})
    except (ValueError, OSError) as error:
        raise ValueError(f"not a table ({error})") from None
    checkpoint = path.with_name(path.name.replace(f".{kind}.csv", ".safetensors"))
    if lost := [column for column in (*ABOUT, *KINDS[kind]) if column not in table.columns]:
        raise ValueError(f"it lacks the column {lost[0]}")
    if table.empty:
        raise ValueError("it has no rows")
    if (path.parts[-3], path.parts[-2]) != (table["env"][0], table["arm"][0]):
        raise ValueError(f"it is of {table['env'][0]}/{table['arm'][0]}, which disagrees with its path")
    if checkpoint.exists() and crc32(checkpoint) != table["checkpoint"][0]:
        raise ValueError(f"it is outdated for {checkpoint.name}: run dmash measure {checkpoint}")
    return table


def read_tables(root: str | Path, kind: str = "map") -> tuple[pd.DataFrame, list[str]]:
    """All tables of a kind under `root`, concatenated, and a sentence for each one that is not usable.

    A table that does not match the networks next to it is left out; one without networks next to it is kept.
    """
    tables, bad = [], []
    for path in sorted(Path(root).glob(f"*/*/seed-*.{kind}.csv")):
        try:
            tables.append(_read(path, kind))
        except ValueError as error:
            bad.append(f"{path}: {error}")
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*ABOUT, *KINDS[kind]]), bad
