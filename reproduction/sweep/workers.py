"""Processes that train one cell each, on this machine or on a Ray cluster."""

import dataclasses
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dmash_core.errors import Interrupted, UserError
from reproduction.sweep.folder import Folder
from reproduction.sweep.grid import Cell
from reproduction.sweep.lease import BUSY, Lease, watch

TRIES = 3
"""Number of crashes of one cell's worker, and of consecutive cells that end in an error, before giving up."""
DIVERGED = 3
"""Exit status of a worker whose run diverged; the others are 0, 2 (user error), BUSY and 128 + signal."""


def write_failed(out: Path, cell: Cell, kind: str, reason: str) -> None:
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
    """Train one cell in this process if its lease is free. Returns the worker's exit status."""
    try:
        lease = Lease.take(cell.place(out, "claims"))
    except UserError as error:
        print(error)
        return 2
    if lease is None:
        return BUSY
    threading.Thread(target=watch, args=(lease, parent), daemon=True).start()
    from dmash_core.errors import Diverged
    from dmash_core.training.machine import configure_cpu
    from dmash_core.training.trainer import Trainer

    try:
        # Remove partial files of a killed owner; the lease is ours, so nobody is writing them.
        folder = Folder(out).checkpoints(cell)
        for path in (*(out / cell.env / cell.label).glob(f".seed-{cell.seed}.*.tmp"), *folder.glob(".*.tmp")):
            path.unlink(missing_ok=True)
        configure_cpu(1)
        Trainer(cell.train_settings(), [cell.seed], cell.steps, out, progress=False).run()
        return 0
    except Diverged as error:
        print(error)
        try:
            write_failed(out, cell, "diverged", str(error))
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
        lease.release()


class LocalWorker:
    """A cell trained by its own process on this machine."""

    def __init__(self, out: Path, cell: Cell):
        self.log = tempfile.TemporaryFile("w+")  # not in `out`, whose disk may be full
        task = json.dumps({"out": str(out), "cell": dataclasses.asdict(cell), "parent": os.getpid()})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reproduction.sweep.workers", task],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C reaches only the sweep, which signals the workers once
        )

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self.process.poll()

    def output(self) -> str:
        """Its output."""
        self.log.seek(0)
        return self.log.read().strip()

    def stop(self) -> None:
        """Ask it to write a checkpoint and exit."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()


def _attend(out: str, cell: dict) -> tuple[int, str]:
    """Ray task: run the cell's process on this node and wait for it. Returns its exit status and output."""
    if not (Path(out) / ".progress").is_dir():
        return 2, f"cannot write to {out}: the node {platform.node()} does not see this folder"
    worker = LocalWorker(Path(out), Cell(**cell))
    try:
        while (code := worker.poll()) is None:
            time.sleep(0.2)
    finally:  # if the task is cancelled, let the process write its checkpoint first
        worker.stop()
        worker.process.wait()
    return code, worker.output()


class RayWorker:
    """A cell trained by a Ray task. The task runs the same process on its node, which must see the same folder."""

    def __init__(self, out: Path, cell: Cell):
        import ray

        # max_retries: if a node dies, Ray restarts its task on another one.
        self.ray, task = ray, ray.remote(num_cpus=1, max_retries=TRIES)(_attend)
        self.task, self.text = task.remote(str(out), dataclasses.asdict(cell)), ""

    def poll(self) -> int | None:
        """The exit status of the process on the node, None while it runs, or 1 if Ray itself gave up."""
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
        """Its output."""
        return self.text

    def stop(self) -> None:
        """Ask it to write a checkpoint and exit."""
        self.ray.cancel(self.task)

    def kill(self) -> None:
        """Kill it."""
        self.ray.cancel(self.task, force=True)


def ray_workers(address: str, out: Path) -> tuple[Callable[[Cell], RayWorker], int]:
    """Connect to a Ray cluster ("local" starts one here). Returns `launch` for a Sweep and the number of CPUs."""
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray: pip install 'dmash[ray]'") from None
    options = {"include_dashboard": False} if address == "local" else {}
    host, colon, port = address.rpartition(":")
    try:
        if colon and port.isdigit() and "/" not in host:  # Ray itself retries for minutes
            socket.create_connection((host, int(port)), timeout=10.0).close()
        ray.init(address, logging_level="ERROR", log_to_driver=False, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from None
    return lambda cell: RayWorker(out.absolute(), cell), int(ray.cluster_resources().get("CPU", 1))


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    sys.exit(work(Path(task["out"]), Cell(**task["cell"]), task["parent"]))
