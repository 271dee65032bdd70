"""Raw runs: one Parquet file per (environment, arm, seed), including its full provenance.

Rows are in long form (columns in `SCHEMA`); the metadata is one JSON string under the key `dmash`. runs/README.md
explains both to readers without this package. A file either passes all checks or is a `BadRun` with a reason.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dmash_core.benchmark.contexts import SETS
from dmash_core.errors import UserError
from dmash_core.methods import with_current_names

SCHEMA_VERSION = 2
_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("metric", _WORD, nullable=False),
        pa.field("split", _WORD),
        pa.field("context", pa.int16()),
        pa.field("rollout", pa.int16()),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
# Keys that may differ between two runs of the same code with the same seed, and so are excluded from the digest; so
# are `block`, the seeds trained in lock-step with this one, and the names of checkpoints that were damaged meanwhile.
_CIRCUMSTANCES = ("wall_time_s", "started", "finished", "machine", "versions", "git_commit", "git_dirty")
_ALSO = ("block", "damaged_checkpoints", "digest")
_REQUIRED = ("env", "arm", "seed", "steps", "config", "contexts", "env_steps", *_CIRCUMSTANCES)
_PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyarrow", "gymnasium", "mujoco", "mjbatch", "dm_control")


class BadRun(UserError):
    """A raw run that cannot be used: `path` and `reason` (one clause)."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = Path(path), reason


@dataclass(frozen=True)
class Run:
    """A checked raw run: its path, metadata and rows (words as categories, indices as Int16)."""

    path: Path
    meta: dict
    frame: pd.DataFrame


def run_path(root: str | Path, env: str, arm: str, seed: int) -> Path:
    """`{root}/{env}/{arm}/seed-{seed}.parquet`."""
    return Path(root) / env / arm / f"seed-{seed}.parquet"


def _table(frame: pd.DataFrame) -> pa.Table:
    """Convert rows to `SCHEMA`. Missing words and indices become nulls; a NaN value stays NaN."""
    columns = [pa.array(frame[field.name], field.type, from_pandas=field.name != "value") for field in SCHEMA]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _json(meta: dict) -> str:
    # NumPy scalars and arrays have tolist(); any other type unknown to JSON is the caller's mistake.
    return json.dumps(meta, sort_keys=True, allow_nan=False, default=lambda value: value.tolist())


def digest(table: pa.Table, meta: dict) -> str:
    """sha256 (hex) of the rows, column by column, and of the metadata without times, machine and code version."""
    sha = hashlib.sha256()
    for field in SCHEMA:
        column = table[field.name]
        if field.type == _WORD:  # the words themselves: category codes depend on the order of first occurrence
            sha.update("\n".join(word or "" for word in column.to_pylist()).encode())
        else:
            values = (column if field.name == "value" else column.fill_null(-1)).to_numpy()
            sha.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        sha.update(b"\0")
    sha.update(_json({k: v for k, v in meta.items() if k not in (*_CIRCUMSTANCES, *_ALSO)}).encode())
    return sha.hexdigest()


def _problem(path: Path, meta: dict, frame: pd.DataFrame) -> str | None:
    """Why these rows with this metadata at this path are not a valid run, in one clause; None if they are."""
    if lacking := [key for key in _REQUIRED if key not in meta]:
        return f"its metadata lacks {', '.join(lacking)}"
    said = run_path("", meta["env"], meta["arm"], meta["seed"])
    if path.parts[-3:] != said.parts:
        return f"its metadata says {said}, which disagrees with its path"
    if set(meta["contexts"]) != set(SETS):
        return f"its context sets are {sorted(meta['contexts'])}, not {sorted(SETS)}"
    returns: Any = frame[frame["metric"] == "return"]
    if returns[["split", "context", "rollout"]].isna().any(axis=None):
        return "a return lacks its split, context or rollout"
    if not np.isfinite(returns["value"]).all():
        return f"the return at step {returns['step'][~np.isfinite(returns['value'])].iloc[0]} is not finite"
    every = meta["config"].get("eval_every")
    if not isinstance(every, int) or every < 1:
        return "eval_every in its config is not a positive integer"
    first = meta["config"].get("eval_from", 0)  # evaluations of an external policy may start late, even at the end
    if not isinstance(first, int) or not 0 <= first <= meta["steps"]:
        return "eval_from in its config is not a step of the run"
    steps, last = np.unique(returns["step"]), meta["steps"] // every * every
    wanted = np.arange(first, last + 1, every)
    if not np.array_equal(steps, wanted):
        missing, extra = np.setdiff1d(wanted, steps), np.setdiff1d(steps, wanted)
        parts = [f"no evaluation at step {missing[0]}"] if len(missing) else []
        parts += [f"an unexpected evaluation at step {extra[0]}"] if len(extra) else []
        return f"{' and '.join(parts)} (expected every {every} steps up to {meta['steps']})"
    # Number the cells of step x (split, context) x rollout; a complete run has each number exactly once.
    sizes = np.array([len(meta["contexts"][split]) for split in SETS])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    split = pd.Categorical(returns["split"], categories=SETS).codes
    context, rollout = returns["context"].to_numpy(int), returns["rollout"].to_numpy(int)
    at_last, between = (meta["config"].get(name) for name in ("eval_rollouts", "eval_rollouts_between"))
    if not all(isinstance(n, int) and n > 0 for n in (at_last, between)):
        return "eval_rollouts or eval_rollouts_between in its config is not a positive integer"
    # A diverged run lacks the final evaluation.
    final = (returns["step"] == meta["steps"]).to_numpy() & ("diverged" not in meta)
    own, rollouts = np.where(final, at_last, between), max(at_last, between)
    if (split < 0).any() or ((context < 0) | (context >= sizes[split]) | (rollout < 0) | (rollout >= own)).any():
        return "a return has a split, context or rollout that the run does not have"
    cell = (np.searchsorted(steps, returns["step"]) * starts[-1] + starts[split] + context) * rollouts + rollout
    count = np.bincount(cell, minlength=len(steps) * starts[-1] * rollouts)
    expected = np.zeros((len(steps), starts[-1], rollouts), dtype=int)
    expected[:, :, :between] = 1
    if "diverged" not in meta:
        expected[-1] = np.arange(rollouts) < at_last
    if (wrong := np.flatnonzero(count != expected.ravel())).size:
        step, rest = divmod(wrong[0], starts[-1] * rollouts)
        which = np.searchsorted(starts, rest // rollouts, side="right") - 1
        return (
            f"evaluation at step {steps[step]} has {count[wrong[0]]} instead of {expected.flat[wrong[0]]} returns for "
            f"split {SETS[which]}, "
            f"context {rest // rollouts - starts[which]}, rollout {rest % rollouts} ({wrong.size} such errors)"
        )
    return None


def run_from(path: str | Path, rows: Iterable[tuple], meta: dict) -> Run:
    """A run in memory from rows in the column order of `SCHEMA`, checked as in `write_run`; raises `BadRun`."""
    table = _table(pd.DataFrame(rows, columns=SCHEMA.names))
    meta = {**meta, "schema_version": SCHEMA_VERSION}
    frame = table.to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get)
    if reason := _problem(Path(path), meta, frame):
        raise BadRun(Path(path), reason)
    return Run(Path(path), meta | {"digest": digest(table, meta)}, frame)


def write_run(path: str | Path, frame: pd.DataFrame, meta: dict) -> None:
    """Check a finished run and write it, whole or not at all.

    `frame` has the columns of `SCHEMA` (missing entries are None or NaN); `meta` has the keys listed in runs/README.md,
    and `schema_version` and `digest` are added here. Raises `BadRun` if the run is not valid, and `UserError` if the
    path is not writable or the disk is full; nothing is left behind then.
    """
    path = Path(path)
    if set(frame.columns) != set(SCHEMA.names):
        raise BadRun(path, f"columns {sorted(frame.columns)} instead of {sorted(SCHEMA.names)}")
    meta = {**meta, "schema_version": SCHEMA_VERSION}
    if reason := _problem(path, meta, frame):
        raise BadRun(path, reason)
    table = _table(frame)
    meta["digest"] = digest(table, meta)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                pq.write_table(table.replace_schema_metadata({"dmash": _json(meta)}), file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        # Sync the folder too: without this a power cut could lose the rename, and with it the file.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UserError(f"cannot write the run {path}: {error.strerror or error}") from error


def read_run(path: str | Path) -> Run:
    """Read and check one raw run; raises `BadRun`, which names the file and the reason."""
    path = Path(path)
    try:
        # Not a dataset reader: it would treat a folder "arm+masking=0.2" as a Hive partition and add a column.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except FileNotFoundError:
        raise BadRun(path, "no such file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadRun(path, f"not a complete Parquet file ({str(error).splitlines()[0]})") from error
    try:
        meta = json.loads((table.schema.metadata or {})[b"dmash"])
    except KeyError:
        raise BadRun(path, "it has no metadata under the key dmash") from None
    except ValueError as error:
        raise BadRun(path, f"its metadata is not JSON ({error})") from error
    if meta.get("schema_version") == 1:
        raise BadRun(path, "a run of an earlier agent (schema version 1; docs/deviations.md), used in no statistic")
    if meta.get("schema_version") != SCHEMA_VERSION:
        raise BadRun(path, f"schema version {meta.get('schema_version')}, but this code reads version {SCHEMA_VERSION}")
    if not table.schema.equals(SCHEMA):
        found = ", ".join(f"{field.name} {field.type}" for field in table.schema)
        raise BadRun(path, f"wrong columns ({found})")
    try:
        table.validate(full=True)  # first, since category indices may be out of range
        whole = digest(table, meta) == meta.get("digest")
    except (pa.ArrowException, ValueError):
        whole = False
    if not whole:
        raise BadRun(path, "its content does not match its digest, so it was damaged or edited")
    meta["config"] = with_current_names(meta["config"])
    frame = table.to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get)
    if reason := _problem(path, meta, frame):
        raise BadRun(path, reason)
    return Run(path, meta, frame)


def first_difference(found: dict, wanted: dict, defaults: dict | None = None) -> tuple[str, object, object] | None:
    """The first setting of ``wanted`` that differs in ``found``: its name and both values.

    A setting missing from ``found`` has its default; without a default it is ignored.
    """
    defaults = defaults or {}
    for key, value in wanted.items():
        if isinstance(value, dict):
            if inner := first_difference(found.get(key, {}), value, defaults.get(key)):
                return f"{key}.{inner[0]}", *inner[1:]
        elif (had := found.get(key, defaults.get(key, value))) != value:
            return key, had, value
    return None


def scan(root: str | Path) -> tuple[list[Run], list[BadRun]]:
    """All Parquet files under `root`, sorted by path: valid runs, and invalid files. Hidden names are ignored.

    Each cell (environment, arm, seed) appears at most once in the runs: only the first of identical copies is kept, and
    none of several files that disagree.
    """
    cells, bad = defaultdict(list), []
    for path in sorted(Path(root).rglob("*.parquet")):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        try:
            run = read_run(path)
            cells[run.meta["env"], run.meta["arm"], run.meta["seed"]].append(run)
        except BadRun as error:
            bad.append(error)
    runs = []
    for first, *others in cells.values():
        if other := next((run for run in others if run.meta["digest"] != first.meta["digest"]), None):
            differs = first_difference(first.meta["config"], other.meta["config"])
            how = "{} is {} in one and {} in the other".format(*differs) if differs else "their rows differ"
            bad += [BadRun(run.path, f"{(other if run is first else first).path} is a run of the same cell, but {how}")
                    for run in (first, *others)]  # fmt: skip
        else:
            runs.append(first)
            bad += [BadRun(run.path, f"a copy of {first.path}") for run in others]
    return runs, bad


def load_returns(runs: list[Run]) -> pd.DataFrame:
    """The episode returns of many runs: columns env, arm, seed, step, split, context, rollout, value."""
    columns = ["env", "arm", "seed", "step", "split", "context", "rollout", "value"]
    parts = []
    for run in runs:
        part = run.frame[run.frame["metric"] == "return"].drop(columns="metric")
        part = part.astype({"split": str, "context": int, "rollout": int})
        parts.append(part.assign(**{key: run.meta[key] for key in ("env", "arm", "seed")})[columns])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({name: [] for name in columns})


def _git(*arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def provenance() -> dict:
    """How a run was made, for its metadata: keys versions, git_commit, git_dirty (None outside git), machine.

    `git_dirty` covers the dmash_core folder only: new raw runs of a sweep do not set it.
    """
    import torch

    # An installed package is not part of a repository that happens to contain its virtual environment.
    tracked = _git("ls-files", "--error-unmatch", str(Path(__file__).absolute())) is not None
    cpu = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].split(":", 1)[1].strip() if models else cpu
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "git_commit": _git("rev-parse", "HEAD") if tracked else None,
        "git_dirty": bool(_git("status", "--porcelain", "--", ".")) if tracked else None,
        "machine": {
            "cpu": cpu,
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "simd": torch.backends.cpu.get_cpu_capability(),
            "torch_threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }
