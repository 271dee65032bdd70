"""Cached verdicts, keyed by a digest of everything that they depend on.

A verdict is a function of files (the code of both packages, published values, the raw runs and networks of the claim's
cells and, if it has them, proofs, tests and benchmarks) and of the package versions and tools on the machine. The
digest covers all of them. `--fresh` bypasses this cache.
"""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path

from reproduction.evidence.claim import Claim, Verdict
from reproduction.evidence.comparisons import Comparison, Computed, Finding, Proof, Twin
from reproduction.paths import ROOT

FOLDER = ROOT / "build" / "verdicts"
PACKAGES = ("torch", "numpy", "scipy", "pandas", "gymnasium", "mujoco", "mjbatch")
TOOLS = ("make", "coqc", "coqchk")


@cache
def _hash(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file, recomputed only if its size or modification time has changed."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


def _files(*patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()})


def code_files() -> list[Path]:
    """The code of both packages and the data files next to it."""
    return _files("dmash_core/**/*.py", "reproduction/**/*.py", "reproduction/*.csv", "reproduction/*.yaml")


def reads(claim: Claim, runs: str | Path) -> list[Path]:
    """The files that the verdict of a claim depends on, including all raw runs of its environments and arms."""
    kinds = {type(plan) for plan in claim.plans}
    found = code_files()
    found += _files("proofs/*.v", "proofs/*.py", "proofs/*.txt", "proofs/Makefile") if Proof in kinds else []
    found += _files("tests/*.py") if Twin in kinds else []
    found += _files("benchmarks/*.json") if Computed in kinds else []
    plans = [plan for plan in claim.plans if isinstance(plan, Comparison)]
    pairs = {(env, arm) for plan in plans for env in plan.envs for arm in plan.arms}
    for env, arm in sorted(pairs):
        found += sorted(path for path in (Path(runs) / env / arm).glob("seed-*") if path.suffix != ".csv")
    return found


def digest(claim: Claim, runs: str | Path) -> str:
    """16 hex digits over the claim's wording, the files it reads, and the machine's packages and tools.

    Take it before the files are read: a run that finishes during a check must not count as part of its verdict.
    """
    sha = hashlib.sha256(claim.wording().encode())
    for path in reads(claim, runs):
        sha.update(f"{path} {file_hash(path)}\n".encode())
    sha.update(" ".join(importlib.metadata.version(name) for name in PACKAGES).encode())
    sha.update(" ".join(name for name in TOOLS if shutil.which(name)).encode())
    return sha.hexdigest()[:16]


def load(claim: Claim, key: str, folder: Path | None = None) -> Verdict | None:
    """The cached verdict if it was stored with the `digest` ``key``, else None."""
    path = (folder or FOLDER) / f"{claim.id}.json"
    try:
        row = json.loads(path.read_text())
        if row["digest"] != key:
            return None
        found = row["verdict"]
        found["findings"] = tuple(Finding(**one) for one in found["findings"])
        found["headline"] = Finding(**found["headline"])
        for name in ("used", "missing"):
            found[name] = tuple(found[name])
        return Verdict(**found | {"left_out": tuple(map(tuple, found["left_out"]))})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(claim: Claim, verdict: Verdict, key: str, folder: Path | None = None) -> None:
    """Cache a verdict under the `digest` ``key`` of what it was derived from. Write errors are ignored: they only cost
    time later."""
    path = (folder or FOLDER) / f"{claim.id}.json"
    row = {"digest": key, "verdict": asdict(verdict)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(row))
        new.replace(path)
    except OSError:
        return


def known(claims: Iterable[Claim], keys: dict[str, str]) -> dict[str, Verdict]:
    """{id: verdict} of the claims with a cached verdict of the `digest` in ``keys``."""
    found = {claim.id: load(claim, keys[claim.id]) for claim in claims}
    return {id_: verdict for id_, verdict in found.items() if verdict}
