"""The lock on a cell: who trains it, and how to detect that the owner has died."""

import contextlib
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from dmash_core.errors import UserError

BUSY = 75
"""Exit status of a worker whose cell is being trained by another process."""
BEAT = 10.0
"""Seconds between two heartbeats of a lease's owner."""
EXPIRE = 120.0
"""Age in seconds at which a lease from another machine expires; well above BEAT and the minute for which NFS may cache
a time."""


def _here() -> str:
    """The scope of a process id: host, boot and process namespace (containers may share a host name)."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _born(pid: int) -> str | None:
    """Start time of a process on this machine, to detect reused process ids; None if it is dead."""
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


class Lease:
    """The right to train a cell: the file with the highest number in the cell's folder "claims".

    The file is created exclusively and names its owner. The next lease has the next number and can be taken only if the
    owner of the current one has released it or is dead. The highest number is never deleted, so two processes that
    found the same dead owner cannot both succeed, nor can one that checked long ago.
    """

    def __init__(self, folder: Path, number: int):
        self.path, self.folder, self.number = folder / str(number), folder, number

    @staticmethod
    def newest(folder: Path) -> int:
        """The highest number; 0 if the cell was never taken."""
        return max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0)

    @staticmethod
    def held(folder: Path) -> bool:
        """Whether a live owner holds the cell."""
        path = folder / str(Lease.newest(folder))
        try:
            seen, text = path.stat().st_mtime, path.read_text()
        except OSError:
            return False
        with contextlib.suppress(ValueError):  # not written yet: decide by its age
            owner = json.loads(text)
            if "released" in owner:
                return False
            if owner["where"] == _here():
                return _born(owner["pid"]) == owner["born"]
        try:  # use the folder's clock, since those of two machines may differ
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
                now = os.stat(file.name).st_mtime
        except OSError:
            now = time.time()
        return now - seen < EXPIRE

    @classmethod
    def take(cls, folder: Path) -> "Lease | None":
        """Take the lease; None if another process has it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = cls.newest(folder)
            if number and cls.held(folder):
                return None
            lease = cls(folder, number + 1)
            with open(lease.path, "x") as file:
                try:
                    json.dump({"where": _here(), "pid": os.getpid(), "born": _born(os.getpid())}, file)
                    file.flush()
                except OSError:  # disk full: an empty lease would block the cell until it expires
                    lease.path.unlink(missing_ok=True)
                    raise
        except FileExistsError:
            return None
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}") from error
        if lease.lost():
            return None
        for path in folder.glob("*"):
            if path.name.isdigit() and int(path.name) < lease.number:
                path.unlink(missing_ok=True)
        return lease

    def lost(self) -> bool:
        """Whether another process took the lease over, assuming that this one was dead."""
        return self.newest(self.folder) > self.number

    def beat(self) -> None:
        """Renew the lease (heartbeat)."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def release(self) -> None:
        """Release the lease. If the file cannot be written, the end of this process releases it."""
        with contextlib.suppress(OSError):
            self.path.write_text('{"released": true}')


# ---------------------------------------------------------------- the worker's side


def watch(lease: Lease, parent: int) -> None:
    """Keep the lease alive; end this process if the lease is lost or its parent is gone."""
    import signal

    beaten = time.monotonic()
    while True:
        time.sleep(1.0)
        # Only while the trainer's handler is installed: earlier there is nothing to save, later it is already stopping.
        if os.getppid() != parent and callable(signal.getsignal(signal.SIGTERM)):
            os.kill(os.getpid(), signal.SIGTERM)
        if time.monotonic() - beaten > BEAT:
            if lease.lost():
                os._exit(BUSY)
            lease.beat()
            beaten = time.monotonic()
