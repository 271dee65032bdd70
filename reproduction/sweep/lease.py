"""The lock on a cell: who trains it, and how one sees that the owner has died."""

import contextlib
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from dmash_core.errors import UserError

BUSY = 75
"""Exit status of a worker whose cell somebody else trains."""
BEAT = 10.0
"""Seconds between two signs of life of a lease's owner."""
EXPIRE = 120.0
"""Age at which a lease from another machine is dead; well over BEAT and the minute that NFS may cache a time."""


# ---------------------------------------------------------------- leases


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


class Lease:
    """The right to train a cell: the file with the highest number in the cell's folder "claims".

    The file is created exclusively, and names its owner. The next lease is one number up, and possible only when the
    owner of this one has released it or is dead. The highest number is never deleted, so two that found the same dead
    owner cannot both succeed, nor can one that looked long ago.
    """

    def __init__(self, folder: Path, number: int):
        self.path, self.folder, self.number = folder / str(number), folder, number

    @staticmethod
    def newest(folder: Path) -> int:
        """The highest number, 0 when the cell was never taken."""
        return max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=0)

    @staticmethod
    def held(folder: Path) -> bool:
        """Whether somebody living holds the cell."""
        path = folder / str(Lease.newest(folder))
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
    def take(cls, folder: Path) -> "Lease | None":
        """The lease, or None when somebody else has it."""
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
                except OSError:  # a full disk: an empty lease would hold the cell until it expires
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


def watch(lease: Lease, parent: int) -> None:
    """Keep the lease alive, and end this process when the lease is lost or whoever started it is gone."""
    import signal

    beaten = time.monotonic()
    while True:
        time.sleep(1.0)
        # Only while the trainer listens: before, there is nothing to save; after, it is already stopping.
        if os.getppid() != parent and callable(signal.getsignal(signal.SIGTERM)):
            os.kill(os.getpid(), signal.SIGTERM)
        if time.monotonic() - beaten > BEAT:
            if lease.lost():
                os._exit(BUSY)
            lease.beat()
            beaten = time.monotonic()
