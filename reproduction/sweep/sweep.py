"""The grid of training runs, processed by any number of processes on any number of machines that share one folder.

A cell is one (environment, arm, seed) with its length. Sweeps share nothing but the folder: a raw run marks a cell as
done, a lease as being trained, a file in ``.progress/failed`` as failed. Each cell is trained by its own
single-threaded process, which first takes the lease. A kill, at any time, costs at most the steps since the last
checkpoint.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from dmash_core.errors import Interrupted, UserError
from reproduction.sweep.folder import Folder, Status
from reproduction.sweep.grid import Cell
from reproduction.sweep.lease import BUSY, Lease
from reproduction.sweep.workers import DIVERGED, TRIES, LocalWorker, RayWorker, write_failed


class Sweep:
    """Trains cells in order with at most `jobs` workers at a time; `launch(cell)` starts a worker."""

    def __init__(
        self,
        cells: Sequence[Cell],
        out: str | Path = "runs",
        jobs: int = 1,
        hours: float | None = None,
        launch: Callable[[Cell], LocalWorker | RayWorker] | None = None,
        say: Callable[[str], None] = print,
        poll: float = 0.5,
    ):
        if jobs < 1 or (hours is not None and not hours > 0):
            raise UserError(f"jobs and hours must be positive, not {jobs} and {hours}")
        self.cells, self.jobs, self.say, self.poll, self.hours = list(cells), jobs, say, poll, hours
        self.folder = Folder(Path(out).absolute())
        self.launch = launch or (lambda cell: LocalWorker(self.folder.out, cell))
        self.workers: dict[tuple, tuple[Cell, LocalWorker | RayWorker]] = {}
        self.crashes: Counter = Counter()
        self.refused: dict[tuple, str] = {}
        self.errors_in_a_row = 0
        self.stop_signal: int | None = None

    def run(self) -> Status:
        """Train until all cells are done or given up, or the time is over. Returns the final status.

        Raises Interrupted after a signal, once all workers have written their checkpoints, and UserError if TRIES cells
        in a row end in an error, such as a full disk.
        """
        from dmash_core.training.machine import check_writable, signals

        check_writable(self.folder.out / ".progress")  # a Ray node checks for this folder
        started = said = looked = time.monotonic()
        left = self._left()
        self.say(self._line())
        with signals(self._on_signal):
            try:
                while left or self.workers:
                    if self._reap():
                        left = self._left()
                    now = time.monotonic()
                    if self.hours is not None and now - started > 3600 * self.hours:
                        self.say(f"the time limit of {self.hours:g} hours is reached")
                        break
                    if self.stop_signal is not None:
                        break
                    if now - looked > 5.0:  # other sweeps may work on the same cells
                        left, looked = self._left(), now
                    self._fill(left)
                    if now - said > 300.0:
                        self.say(self._line())
                        said = now
                    time.sleep(self.poll)
            finally:
                self._stop()
        status = self.folder.status(self.cells)
        known = {cell.key for cell, _ in status.failed}
        status.failed += [(c, self.refused[c.key]) for c in self.cells if c.key in self.refused.keys() - known]
        status.waiting = [c for c in status.waiting if c.key not in self.refused]
        self.say(status.line(self.jobs))
        if self.stop_signal is not None:
            raise Interrupted("stopped with everything saved; rerun the same command to resume", self.stop_signal)
        return status

    def _on_signal(self, number: int, frame) -> None:
        self.stop_signal = number

    def _line(self) -> str:
        return self.folder.status(self.cells).line(self.jobs)

    def _open(self, cell: Cell) -> bool:
        """Whether the cell is neither done nor given up."""
        if cell.key in self.refused:
            return False
        try:
            return not (self.folder.failure(cell) or self.folder.finished(cell))
        except UserError as error:
            self.refused[cell.key] = str(error)
            self.say(f"{cell}: {error}")
            return False

    def _left(self) -> list[Cell]:
        return [cell for cell in self.cells if self._open(cell)]

    def _fill(self, left: list[Cell]) -> None:
        for cell in left:
            if len(self.workers) >= self.jobs:
                return
            if cell.key in self.workers or Lease.held(cell.place(self.folder.out, "claims")):
                continue
            if self._open(cell):  # `left` is seconds old: another sweep may have finished the cell
                self.workers[cell.key] = cell, self.launch(cell)
                self.say(f"{cell}: training to {cell.steps} steps")

    def _reap(self) -> bool:
        """Process the workers that have ended. Returns whether there were any."""
        ended = [(cell, worker, code) for cell, worker in self.workers.values() if (code := worker.poll()) is not None]
        for cell, worker, code in ended:
            del self.workers[cell.key]
            output = worker.output()
            if code in (0, DIVERGED):
                self.errors_in_a_row = 0
                self.say("\n".join([f"{cell}: {'diverged' if code else 'done'}", *([output] if output else [])]))
                self.say(self._line())
            elif code == 2:
                self.refused[cell.key] = output.splitlines()[-1] if output else "unknown error"
                self.say(f"{cell}: {self.refused[cell.key]}")
                self.errors_in_a_row += 1
                if self.errors_in_a_row >= TRIES:
                    raise UserError(f"{TRIES} cells in a row failed; last error: {self.refused[cell.key]}")
            elif code not in (BUSY, 130, 143):  # taken or stopped by another process
                self.crashes[cell.key] += 1
                last = output.splitlines()[-1] if output else "no message"
                reason = f"worker exited with status {code} ({last})"
                self.say(f"{cell}: {reason}, try {self.crashes[cell.key]} of {TRIES}")
                if self.crashes[cell.key] >= TRIES:
                    write_failed(self.folder.out, cell, "crashed", f"{TRIES} times, most recently: {reason}")
        return bool(ended)

    def _stop(self) -> None:
        """Make the workers write their checkpoints and exit; kill those that take longer than a minute."""
        for _, worker in self.workers.values():
            worker.stop()
        until = time.monotonic() + 60.0
        while any(worker.poll() is None for _, worker in self.workers.values()):
            if time.monotonic() > until:
                for _, worker in self.workers.values():
                    worker.kill()
                break
            time.sleep(0.1)
        self.workers.clear()
