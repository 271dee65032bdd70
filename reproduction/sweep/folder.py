"""The state of a sweep's folder: which cells are done, running, failed or waiting."""

import contextlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dmash_core.errors import UserError
from reproduction.sweep.grid import Cell
from reproduction.sweep.lease import Lease


@dataclass
class Status:
    """The state of a sweep: the cells in each state, and estimates for the rest from the speeds measured so far."""

    done: list[Cell] = field(default_factory=list)
    running: list[Cell] = field(default_factory=list)
    diverged: list[tuple[Cell, str]] = field(default_factory=list)
    """Ended because a loss was no longer finite: a result that retrying would not change."""
    failed: list[tuple[Cell, str]] = field(default_factory=list)
    waiting: list[Cell] = field(default_factory=list)
    speeds: dict[tuple[str, str], float] = field(default_factory=dict)
    """Learning steps per second of (environment, arm), evaluations included."""
    core_seconds: float = 0.0
    unmeasured: int = 0

    def line(self, jobs: int) -> str:
        """A one-line summary."""
        states = ["done", "running", *["diverged"] * bool(self.diverged), "failed", "waiting"]
        counts = [f"{len(getattr(self, s))} {s}" for s in states]
        left = f"about {self.core_seconds / 3600 / max(jobs, 1):.1f} h left with {jobs} jobs"
        if self.unmeasured:
            left += f", without {self.unmeasured} cells of unmeasured speed"
        return f"{', '.join(counts)}; {left}"


class Folder:
    """The state of cells in a folder of runs. Raw runs are checked once, and again when they change."""

    def __init__(self, out: Path):
        self.out, self.seen = Path(out), {}

    def raw(self, cell: Cell) -> dict | None:
        """The metadata of the cell's raw run, whatever its length; None if there is no valid one."""
        from dmash_core.training.raw_runs import BadRun, read_run, run_path

        path = run_path(self.out, *cell.key)
        try:
            stat = path.stat()
        except OSError:
            return None
        stamp = (stat.st_mtime_ns, stat.st_size)
        if self.seen.get(path, (None,))[0] != stamp:
            try:
                self.seen[path] = (stamp, read_run(path).meta)
            except BadRun:
                self.seen[path] = (stamp, None)
        return self.seen[path][1]

    def finished(self, cell: Cell) -> dict | None:
        """The metadata of the cell's raw run if it is long enough, else None. UserError if its settings differ."""
        from dmash_core.training.raw_runs import run_path
        from dmash_core.training.settings import fulfils

        meta = self.raw(cell)
        path = run_path(self.out, *cell.key)
        return meta if meta and fulfils(meta, cell.train_settings(), cell.steps, path) else None

    def failure(self, cell: Cell) -> tuple[str, str] | None:
        """(kind, reason) if the cell was given up, where kind is "diverged" or "crashed"; else None."""
        try:
            record = json.loads(cell.place(self.out, "failed").with_suffix(".json").read_text())
            return record["kind"], record["reason"]
        except (OSError, ValueError, KeyError):
            return None

    def forgive(self, cells: Sequence[Cell]) -> None:
        """Allow failed cells to be retried. The raw runs of diverged cells are removed, since they mark the cells as
        done."""
        from dmash_core.training.raw_runs import run_path

        for cell in cells:
            cell.place(self.out, "failed").with_suffix(".json").unlink(missing_ok=True)
            if "diverged" in (self.raw(cell) or ()):
                run_path(self.out, *cell.key).unlink(missing_ok=True)

    def clean(self, cells: Sequence[Cell]) -> tuple[int, int]:
        """Remove the checkpoints of finished cells that nobody trains. Returns the number of cells cleaned and the
        bytes freed."""
        cleaned = size = 0
        for cell in cells:
            folder = self.checkpoints(cell)
            if not self.finished(cell) or Lease.held(cell.place(self.out, "claims")) or not folder.is_dir():
                continue
            size += sum(path.stat().st_size for path in folder.glob("*"))
            shutil.rmtree(folder)
            cleaned += 1
        return cleaned, size

    def checkpoints(self, cell: Cell) -> Path:
        """The folder of the cell's checkpoints."""
        return self.out / ".progress" / cell.env / cell.label / f"seeds-{cell.seed}"

    def progress(self, cell: Cell) -> tuple[int, float]:
        """(step, seconds) of the newest readable checkpoint."""
        from safetensors import SafetensorError, safe_open

        for path in sorted(self.checkpoints(cell).glob("step-*.safetensors"), reverse=True):
            with contextlib.suppress(OSError, SafetensorError, KeyError, TypeError, ValueError):
                with safe_open(path, framework="np") as file:
                    meta = json.loads(file.metadata()["dmash"])
                return meta["step"], meta["wall_time_s"]
        return 0, 0.0

    def status(self, cells: Sequence[Cell]) -> Status:
        """The state of all cells."""
        status, measured = Status(), {}
        left: list[tuple[Cell, int]] = []
        for cell in cells:
            try:
                meta = self.finished(cell)
            except UserError as error:
                status.failed.append((cell, str(error)))
                continue
            step, seconds = (meta["steps"], meta["wall_time_s"]) if meta else self.progress(cell)
            step = max(step, 0)  # negative in the random phase, which takes almost no time
            past = self.raw(cell)  # a run that is too short also provides a speed
            trained, took = (past["steps"], past["wall_time_s"]) if past else (step, seconds)
            if (learned := max(trained, 0)) and took:
                for group in ((cell.env, cell.label), cell.label):
                    before = measured.get(group, (0, 0.0))
                    measured[group] = (before[0] + learned, before[1] + took)
            if meta and "diverged" in meta:
                status.diverged.append((cell, meta["diverged"]["reason"]))
            elif meta:
                status.done.append(cell)
            elif failure := self.failure(cell):
                kind, reason = failure
                (status.diverged if kind == "diverged" else status.failed).append((cell, reason))
            else:
                left.append((cell, max(cell.steps - step, 0)))
                held = Lease.held(cell.place(self.out, "claims"))
                (status.running if held else status.waiting).append(cell)
        status.speeds = {k: steps / seconds for k, (steps, seconds) in measured.items() if isinstance(k, tuple)}
        for cell, steps in left:
            # Fall back to the arm's speed in other environments if it is unknown in this one.
            done, seconds = measured.get((cell.env, cell.label), measured.get(cell.label, (0, 0.0)))
            status.core_seconds += steps * seconds / done if done else 0.0
            status.unmeasured += not done
        return status
