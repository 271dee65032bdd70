"""Files that can be read without this package: every score in one CSV, and the sha256 of the files behind the claims.

`dmash claims --readme` writes both; `sha256sum -c runs/SHA256SUMS` checks the second from the root.
"""

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dmash_core.training.raw_runs import Run
from reproduction.paths import ROOT
from reproduction.statistics import aer

SCORES, SUMS = Path("runs/scores.csv"), Path("runs/SHA256SUMS")
RESTS_ON = (
    "runs/**/*.parquet", "runs/**/*.safetensors", "reproduction/published.csv", "reproduction/claims/*.csv",
    "benchmarks/*.json", "proofs/*.v",
)  # fmt: skip


def scores_table(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per (env, arm, seed, step, split): AER, the mean return over the contexts and rollouts of the set, in the
    environment's own unit. `runs` are those that count; nothing is scaled or left out."""
    if not runs:
        return pd.DataFrame(columns=["env", "arm", "seed", "step", "split", "aer"])
    rows = []
    for run in runs:
        returns = run.frame[run.frame["metric"] == "return"].astype({"split": str})
        rows.append(returns.assign(env=run.meta["env"], arm=run.meta["arm"], seed=run.meta["seed"]))
    return aer(pd.concat(rows)).sort_values(["env", "arm", "seed", "step", "split"], ignore_index=True)


def scores_text(runs: Sequence[Run]) -> str:
    """`scores_table` as CSV."""
    return scores_table(runs).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def _committed(root: Path) -> list[Path]:
    """The files of RESTS_ON that git tracks or would track; outside git, all that exist and are not hidden."""
    wanted = [f":(glob){pattern}" for pattern in RESTS_ON]
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *wanted]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        found = {root / name for name in names if name}
    except (OSError, subprocess.CalledProcessError):
        found = {path for pattern in RESTS_ON for path in root.glob(pattern)}
        found = {path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)}
    return sorted(path for path in found if path.exists())


def sums_text(root: Path = ROOT) -> str:
    """The output of `sha256sum` for RESTS_ON, sorted by path."""
    paths = _committed(root)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in paths)
