"""The grid of training runs, worked off by any number of processes on any number of machines over one folder.

A cell is one (environment, arm, seed) with its length. The folder is the only thing that sweeps share: a raw run says
that a cell is done, a claim that somebody trains it, a file in ``.progress/failed`` that it cannot be trained. Each
cell is trained by a process of its own, one thread, which claims it first; so whatever is killed, and whenever, costs
at most the steps since the last checkpoint.
"""

import contextlib
import dataclasses
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dmash_core.errors import Interrupted, UserError, unknown

BEAT = 10.0
"""Seconds between two signs of life of a claim's owner."""
EXPIRE = 120.0
"""Age at which a claim from another machine is dead; well over BEAT and the minute that NFS may cache a time."""
TRIES = 3
"""Starts of a cell whose worker crashes, and cells in a row that may end in an error, before giving up."""
DIVERGED, BUSY = 3, 75  # exit statuses of a worker, beside 0, 2 (user error) and 128 + signal
GRID = Path(__file__).parents[1] / "sweep.yaml"
BLOCK = {
    "envs": "[DI, ODE]",
    "arms": "[dr, concat]",
    "seeds": "[0, 1]",
    "steps": "50000",
    "settings": "{eval_every: 1000}",
    "method": "{masking: 0.2}",
}
"""The words of a block of a profile, with an example of each."""


# ---------------------------------------------------------------- cells


@dataclass(frozen=True)
class Cell:
    """One training run of the grid. `settings` and `method` hold what differs from the defaults and the preset."""

    env: str
    arm: str
    label: str
    seed: int
    steps: int
    settings: dict = field(default_factory=dict)
    method: dict = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What names its raw run."""
        return self.env, self.label, self.seed

    def __str__(self):
        return f"{self.env} {self.label} seed {self.seed}"

    def place(self, out: Path, kind: str) -> Path:
        """Its path under `out/.progress/KIND`, without a suffix."""
        return out / ".progress" / kind / self.env / self.label / f"seed-{self.seed}"

    def train_settings(self):
        """The TrainSettings of its run; UserError for what does not exist."""
        from dmash_core.agent import SACSettings
        from dmash_core.methods import Method, get_method
        from dmash_core.training import TrainSettings

        sac = self.settings.get("sac", {})
        free = {f.name for f in dataclasses.fields(TrainSettings)} - {"env", "arm", "method"}
        for kind, words, known in (
            ("option of the method", self.method, [f.name for f in dataclasses.fields(Method)]),
            ("setting", self.settings, sorted(free)),
            ("setting of sac", sac, [f.name for f in dataclasses.fields(SACSettings)]),
        ):
            if wrong := [word for word in words if word not in known]:
                raise unknown(f"{kind} of {self.env} {self.arm}", wrong[0], known)
        try:
            method = dataclasses.replace(get_method(self.arm), **self.method)
            return TrainSettings(self.env, self.arm, method, **(self.settings | {"sac": SACSettings(**sac)}))
        except TypeError as error:  # a word where a number has to be
            raise UserError(f"{self.env} {self.arm}: {error}") from None


def _check_block(block, where: str) -> None:
    """UserError for a block of a profile that is not one."""
    if not isinstance(block, dict):
        raise UserError(f"a block of {where} is a mapping such as {{envs: [DI], arms: [dr], seeds: [0]}}, not {block}")
    if wrong := [word for word in block if word not in BLOCK]:
        raise unknown(f"word in {where}", str(wrong[0]), BLOCK)
    for word, kind in (("envs", str), ("arms", str), ("seeds", int)):
        values = block.get(word)
        if not (isinstance(values, list) and values and all(type(value) is kind for value in values)):
            raise UserError(f"{word} of a block of {where} has to be a list such as {BLOCK[word]}, not {values}")
    if type(steps := block.get("steps", 1)) is not int or steps < 1:
        raise UserError(f"steps of a block of {where} has to be a whole number from 1 on, not {steps}")
    for word in ("settings", "method"):
        if not isinstance(value := block.get(word, {}), dict):
            raise UserError(f"{word} of a block of {where} has to be a mapping such as {BLOCK[word]}, not {value}")


def load_profile(name: str, path: Path = GRID) -> list[Cell]:
    """The cells of a profile in their order; a cell that is named twice has its first place and the most steps.

    A profile that is the word "claims" instead of a list holds what the claims need.
    """
    import yaml

    from dmash_core.benchmark.suite import get_spec

    try:
        profiles = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the grid {path}: {error}") from None
    if not isinstance(profiles, dict):
        raise UserError(f"the grid {path} is not a mapping of profile names to lists of blocks")
    if name not in profiles:
        raise unknown("profile", name, profiles)
    if profiles[name] == "claims":
        from reproduction.claims import training_cells

        return training_cells()
    cells: dict[tuple, Cell] = {}
    for block in profiles[name] or ():
        _check_block(block, f"profile {name} of {path}")
        extra = {k: block[k] for k in ("settings", "method") if k in block}
        # Seeds outermost: every comparison has its first seed before any has its second.
        for seed in block["seeds"]:
            for env in block["envs"]:
                for arm in block["arms"]:
                    steps = block.get("steps") or get_spec(env).gradient_steps
                    cell = Cell(env, arm, arm, seed, steps, **extra)
                    cell = dataclasses.replace(cell, label=cell.train_settings().label)
                    before = cells.get(cell.key, cell)
                    cells[cell.key] = before if before.steps > steps else cell
    return list(cells.values())


# ---------------------------------------------------------------- claims


def _here() -> str:
    """Where a process id means something: host, boot and process namespace (containers may share a host's name)."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _born(pid: int) -> str | None:
    """When a process of this machine started, so that a reused number is not taken for it; None when it is dead."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


class Claim:
    """The right to train a cell: the file with the highest number in the cell's folder of claims.

    The file is created exclusively, and names its owner. The next claim is one number up, and possible only when the
    owner of this one has released it or is dead. The highest number is never deleted, so two that found the same dead
    owner cannot both succeed, nor can one that looked long ago.
    """

    def __init__(self, folder: Path, number: int):
        self.path, self.folder, self.number = folder / str(number), folder, number

    @staticmethod
    def newest(folder: Path) -> int:
        """The highest number, 0 when the cell was never claimed."""
        return max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0)

    @staticmethod
    def held(folder: Path) -> bool:
        """Whether somebody living holds the cell."""
        path = folder / str(Claim.newest(folder))
        try:
            seen, text = path.stat().st_mtime, path.read_text()
        except OSError:
            return False
        with contextlib.suppress(ValueError):  # not yet written: its age decides
            owner = json.loads(text)
            if "released" in owner:
                return False
            if owner["where"] == _here():
                return _born(owner["pid"]) == owner["born"]
        try:  # the folder's own clock: those of two machines may differ
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
                now = os.stat(file.name).st_mtime
        except OSError:
            now = time.time()
        return now - seen < EXPIRE

    @classmethod
    def take(cls, folder: Path) -> "Claim | None":
        """The claim, or None when somebody else has it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = cls.newest(folder)
            if number and cls.held(folder):
                return None
            claim = cls(folder, number + 1)
            with open(claim.path, "x") as file:
                try:
                    json.dump({"where": _here(), "pid": os.getpid(), "born": _born(os.getpid())}, file)
                    file.flush()
                except OSError:  # a full disk: an empty claim would hold the cell until it expires
                    claim.path.unlink(missing_ok=True)
                    raise
        except FileExistsError:
            return None
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}") from error
        if claim.lost():
            return None
        for path in folder.glob("*"):
            if path.name.isdigit() and int(path.name) < claim.number:
                path.unlink(missing_ok=True)
        return claim

    def lost(self) -> bool:
        """Whether somebody took it over, holding us for dead."""
        return self.newest(self.folder) > self.number

    def beat(self) -> None:
        """A sign of life."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def release(self) -> None:
        """Give it back; where that cannot be written, the end of this process does the same."""
        with contextlib.suppress(OSError):
            self.path.write_text('{"released": true}')


# ---------------------------------------------------------------- the worker's side


def _watch(claim: Claim, parent: int) -> None:
    """Keep the claim alive, and end this process when the claim is lost or whoever started it is gone."""
    import signal

    beaten = time.monotonic()
    while True:
        time.sleep(1.0)
        # Only while the trainer listens: before, there is nothing to save; after, it is already stopping.
        if os.getppid() != parent and callable(signal.getsignal(signal.SIGTERM)):
            os.kill(os.getpid(), signal.SIGTERM)
        if time.monotonic() - beaten > BEAT:
            if claim.lost():
                os._exit(BUSY)
            claim.beat()
            beaten = time.monotonic()


def _write_failed(out: Path, cell: Cell, kind: str, reason: str) -> None:
    path = cell.place(out, "failed").with_suffix(".json")
    record = {"kind": kind, "reason": reason, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({**dataclasses.asdict(cell), **record}, indent=1))
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write to {path.parent}: {error.strerror}") from error


def work(out: Path, cell: Cell, parent: int) -> int:
    """Train one cell in this process if it can be claimed; returns the worker's exit status."""
    try:
        claim = Claim.take(cell.place(out, "claims"))
    except UserError as error:
        print(error)
        return 2
    if claim is None:
        return BUSY
    threading.Thread(target=_watch, args=(claim, parent), daemon=True).start()
    from dmash_core.training import Diverged, Trainer, configure_cpu

    try:
        # What a killed owner was writing: the claim is ours, so nobody writes it any more.
        folder = Folder(out).checkpoints(cell)
        for path in (*(out / cell.env / cell.label).glob(f".seed-{cell.seed}.*.tmp"), *folder.glob(".*.tmp")):
            path.unlink(missing_ok=True)
        configure_cpu(1)
        Trainer(cell.train_settings(), [cell.seed], cell.steps, out, progress=False).run()
        return 0
    except Diverged as error:
        print(error)
        try:
            _write_failed(out, cell, "diverged", str(error))
        except UserError as full:
            print(full)
            return 2
        return DIVERGED
    except UserError as error:
        print(error)
        return 2
    except Interrupted as stop:
        return 128 + stop.signal
    finally:
        claim.release()


class LocalWorker:
    """A cell in a process of its own on this machine."""

    def __init__(self, out: Path, cell: Cell):
        self.log = tempfile.TemporaryFile("w+")  # not in `out`: its disk may be what is full
        task = json.dumps({"out": str(out), "cell": dataclasses.asdict(cell), "parent": os.getpid()})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dmash_core.sweep", task],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the sweep; it tells the workers once
        )

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self.process.poll()

    def output(self) -> str:
        """What it printed."""
        self.log.seek(0)
        return self.log.read().strip()

    def stop(self) -> None:
        """Ask for a checkpoint and the end."""
        self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()


def _attend(out: str, cell: dict) -> tuple[int, str]:
    """A Ray task: run the cell's process on this node and wait for it; its exit status and what it printed."""
    if not (Path(out) / ".progress").is_dir():
        return 2, f"cannot write to {out}: the node {platform.node()} does not see this folder"
    worker = LocalWorker(Path(out), Cell(**cell))
    try:
        while (code := worker.poll()) is None:
            time.sleep(0.2)
    finally:  # a cancelled task: the process writes its checkpoint first
        worker.stop()
        worker.process.wait()
    return code, worker.output()


class RayWorker:
    """A cell as a Ray task: the task runs the same process on its node, which has to see the same folder."""

    def __init__(self, out: Path, cell: Cell):
        import ray

        # max_retries: a node that dies takes its task with it, and Ray starts the task on another one.
        self.ray, task = ray, ray.remote(num_cpus=1, max_retries=TRIES)(_attend)
        self.task, self.text = task.remote(str(out), dataclasses.asdict(cell)), ""

    def poll(self) -> int | None:
        """The exit status of the process on the node; 1 when Ray itself gave up."""
        if not self.ray.wait([self.task], timeout=0)[0]:
            return None
        try:
            code, self.text = self.ray.get(self.task)
            return code
        except self.ray.exceptions.TaskCancelledError:
            return 143
        except self.ray.exceptions.RayError as error:
            self.text = str(error)
            return 1

    def output(self) -> str:
        """What it printed."""
        return self.text

    def stop(self) -> None:
        """Ask for a checkpoint and the end."""
        self.ray.cancel(self.task)

    def kill(self) -> None:
        """End it at once."""
        self.ray.cancel(self.task, force=True)


def ray_workers(address: str, out: Path) -> tuple[Callable[[Cell], RayWorker], int]:
    """Connect to a Ray cluster, or with "local" start one here; the `launch` of a Sweep, and the number of CPUs."""
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray: pip install 'dmash[ray]'") from None
    options = {"include_dashboard": False} if address == "local" else {}
    host, colon, port = address.rpartition(":")
    try:
        if colon and port.isdigit() and "/" not in host:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=10.0).close()
        ray.init(address, logging_level="ERROR", log_to_driver=False, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from None
    return lambda cell: RayWorker(out.absolute(), cell), int(ray.cluster_resources().get("CPU", 1))


# ---------------------------------------------------------------- the sweep's side


@dataclass
class Status:
    """Where a sweep stands: the cells of each state, and what the speeds measured so far say about the rest."""

    done: list[Cell] = field(default_factory=list)
    running: list[Cell] = field(default_factory=list)
    diverged: list[tuple[Cell, str]] = field(default_factory=list)
    """Ended because a loss was no longer a number: a result, and nothing that trying again would mend."""
    failed: list[tuple[Cell, str]] = field(default_factory=list)
    waiting: list[Cell] = field(default_factory=list)
    speeds: dict[tuple[str, str], float] = field(default_factory=dict)
    """Learning steps a second of (environment, arm), evaluations included."""
    core_seconds: float = 0.0
    unmeasured: int = 0

    def line(self, jobs: int) -> str:
        """One line for a person."""
        states = ["done", "running", *["diverged"] * bool(self.diverged), "failed", "waiting"]
        counts = [f"{len(getattr(self, s))} {s}" for s in states]
        left = f"about {self.core_seconds / 3600 / max(jobs, 1):.1f} h left with {jobs} jobs"
        if self.unmeasured:
            left += f" and {self.unmeasured} cells of unmeasured speed"
        return f"{', '.join(counts)}; {left}"


class Folder:
    """What a folder of runs says about cells. Raw runs are checked once, and again when they change."""

    def __init__(self, out: Path):
        self.out, self.seen = Path(out), {}

    def raw(self, cell: Cell) -> dict | None:
        """The metadata of the cell's raw run, of whatever length; None when there is no valid one."""
        from dmash_core.runs import BadRun, read_run, run_path

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
        """The metadata of a raw run that is long enough, else None; UserError for one of other settings."""
        from dmash_core.runs import run_path
        from dmash_core.training import fulfils

        meta = self.raw(cell)
        path = run_path(self.out, *cell.key)
        return meta if meta and fulfils(meta, cell.train_settings(), cell.steps, path) else None

    def failure(self, cell: Cell) -> tuple[str, str] | None:
        """Why the cell was given up, as kind ("diverged", "crashed") and reason; None when it was not."""
        try:
            record = json.loads(cell.place(self.out, "failed").with_suffix(".json").read_text())
            return record["kind"], record["reason"]
        except (OSError, ValueError, KeyError):
            return None

    def forgive(self, cells: Sequence[Cell]) -> None:
        """Let what failed be tried again; what a run that diverged left goes, since it says that the cell is done."""
        from dmash_core.runs import run_path

        for cell in cells:
            cell.place(self.out, "failed").with_suffix(".json").unlink(missing_ok=True)
            if "diverged" in (self.raw(cell) or ()):
                run_path(self.out, *cell.key).unlink(missing_ok=True)

    def clean(self, cells: Sequence[Cell]) -> tuple[int, int]:
        """Remove the checkpoints of finished cells that nobody trains; how many cells had some, and their bytes."""
        cleaned = size = 0
        for cell in cells:
            folder = self.checkpoints(cell)
            if not self.finished(cell) or Claim.held(cell.place(self.out, "claims")) or not folder.is_dir():
                continue
            size += sum(path.stat().st_size for path in folder.glob("*"))
            shutil.rmtree(folder)
            cleaned += 1
        return cleaned, size

    def checkpoints(self, cell: Cell) -> Path:
        """The folder of the cell's checkpoints."""
        return self.out / ".progress" / cell.env / cell.label / f"seeds-{cell.seed}"

    def progress(self, cell: Cell) -> tuple[int, float]:
        """(step, seconds) of the newest checkpoint that can be read."""
        from safetensors import SafetensorError, safe_open

        for path in sorted(self.checkpoints(cell).glob("step-*.safetensors"), reverse=True):
            with contextlib.suppress(OSError, SafetensorError, KeyError, TypeError, ValueError):
                with safe_open(path, framework="np") as file:
                    meta = json.loads(file.metadata()["dmash"])
                return meta["step"], meta["wall_time_s"]
        return 0, 0.0

    def status(self, cells: Sequence[Cell]) -> Status:
        """Where all cells stand."""
        status, measured = Status(), {}
        left: list[tuple[Cell, int]] = []
        for cell in cells:
            try:
                meta = self.finished(cell)
            except UserError as error:
                status.failed.append((cell, str(error)))
                continue
            step, seconds = (meta["steps"], meta["wall_time_s"]) if meta else self.progress(cell)
            step = max(step, 0)  # the random phase at the start takes next to no time
            past = self.raw(cell)  # a run that is too short tells its speed as well
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
                held = Claim.held(cell.place(self.out, "claims"))
                (status.running if held else status.waiting).append(cell)
        status.speeds = {k: steps / seconds for k, (steps, seconds) in measured.items() if isinstance(k, tuple)}
        for cell, steps in left:
            # Of the same arm elsewhere where this environment has not been met yet.
            done, seconds = measured.get((cell.env, cell.label), measured.get(cell.label, (0, 0.0)))
            status.core_seconds += steps * seconds / done if done else 0.0
            status.unmeasured += not done
        return status


class Sweep:
    """Works off cells in their order with at most `jobs` workers at a time; `launch(cell)` starts one."""

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
        """Work until all cells are done or given up, or the time is over; returns where it stands then.

        Raises Interrupted after a signal (all workers have then written their checkpoints) and UserError when one cell
        after the other ends in an error, as on a full disk.
        """
        from dmash_core.training import check_writable, signals

        check_writable(self.folder.out / ".progress")  # by which a Ray node tells that it sees the folder
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
                        self.say(f"the {self.hours:g} hours are over")
                        break
                    if self.stop_signal is not None:
                        break
                    if now - looked > 5.0:  # others work on the same cells
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
            raise Interrupted("stopped with everything saved; the same command goes on from there", self.stop_signal)
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
            if cell.key in self.workers or Claim.held(cell.place(self.folder.out, "claims")):
                continue
            if self._open(cell):  # `left` is seconds old: another sweep may have ended the cell since
                self.workers[cell.key] = cell, self.launch(cell)
                self.say(f"{cell}: training to {cell.steps} steps")

    def _reap(self) -> bool:
        """Take in the workers that have ended; whether there were any."""
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
                    raise UserError(f"{TRIES} cells in a row ended in an error; the last: {self.refused[cell.key]}")
            elif code not in (BUSY, 130, 143):  # those were claimed or stopped by somebody else
                self.crashes[cell.key] += 1
                last = output.splitlines()[-1] if output else "no message"
                reason = f"its worker ended with status {code} ({last})"
                self.say(f"{cell}: {reason}, try {self.crashes[cell.key]} of {TRIES}")
                if self.crashes[cell.key] >= TRIES:
                    _write_failed(self.folder.out, cell, "crashed", f"{TRIES} times; the last time {reason}")
        return bool(ended)

    def _stop(self) -> None:
        """Have the workers write their checkpoints and end; one that does not within a minute is killed."""
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


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    sys.exit(work(Path(task["out"]), Cell(**task["cell"]), task["parent"]))
