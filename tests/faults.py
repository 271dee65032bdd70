"""Fault injection for sweeps: each function damages a sweep, lets it resume, and compares the raw runs.

`tests/test_sweep.py` tries each fault a few times; `make faults` tries it many times and writes docs/reliability.md.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dmash_core.errors import UserError
from dmash_core.training.raw_runs import read_run, run_path
from reproduction.sweep.folder import Folder
from reproduction.sweep.grid import load_profile
from reproduction.sweep.lease import Lease
from reproduction.sweep.sweep import Sweep
from reproduction.sweep.workers import LocalWorker, ray_workers

SETTINGS = {"random_steps": 100, "eval_every": 100, "eval_rollouts": 1, "replay_capacity": 400, "per_context": 2}
BLOCK = {"envs": ["DI"], "arms": ["dr"], "seeds": [0, 1], "steps": 400, "settings": SETTINGS, "method": {"width": 16}}


@dataclass
class Result:
    """How often a fault was tried, how many raw runs it lost or changed, and how many were trained twice at a time."""

    fault: str
    after: str
    tries: int = 0
    lost: int = 0
    doubled: int = 0
    note: str = ""


def grid(folder: Path, **changes) -> Path:
    """A profiles file with a single profile, `tiny`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "grid.yaml"
    path.write_text(json.dumps({"tiny": [BLOCK | changes]}))  # JSON is YAML
    return path


def cells(folder: Path, **changes) -> list:
    """The cells of the tiny profile."""
    return load_profile("tiny", grid(folder, **changes))


def digests(out: Path, wanted: list) -> dict:
    """Cell -> digest of its raw run, or None without an intact one."""
    found = {}
    for cell in wanted:
        try:
            found[cell.key] = read_run(run_path(out, *cell.key)).meta["digest"]
        except UserError:
            found[cell.key] = None
    return found


def reference(folder: Path, **changes) -> dict:
    """The digests of an undisturbed sweep, plus its folder under "runs"."""
    wanted = cells(folder, **changes)
    Sweep(wanted, folder / "runs", jobs=2, say=quiet, poll=0.1).run()
    return digests(folder / "runs", wanted) | {"runs": folder / "runs"}


def attempts(result: Result, tries: int):
    """Attempt numbers until the fault has struck `tries` times: a strike may come too late, after the work is done."""
    for i in range(10 * tries):
        if result.tries == tries:
            return
        yield i
    raise TimeoutError(f"{result.fault}: {result.tries} of {tries} in {10 * tries} attempts")


def quiet(line: str) -> None:
    """Say nothing."""


def losses(out: Path, wanted: list, good: dict) -> int:
    """How many raw runs are missing or differ from the undisturbed ones."""
    return sum(digest != good[key] for key, digest in digests(out, wanted).items())


def checkpoints(out: Path, cell) -> list[Path]:
    """The checkpoints of a cell, newest first."""
    folder = out / ".progress" / cell.env / cell.label / f"seeds-{cell.seed}"
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def wait(condition, seconds: float = 120.0):
    """Wait for the first true value of `condition()`."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimeoutError("the sweep did not get that far")
        time.sleep(0.02)
    return value


def owner(out: Path, cell) -> int:
    """The process that owns a cell, or 0."""
    folder = cell.place(out, "claims")
    try:
        return json.loads((folder / str(Lease.newest(folder))).read_text()).get("pid", 0)
    except (OSError, ValueError):
        return 0


def start(folder: Path, out: Path, *options: str, **changes) -> subprocess.Popen:
    """A sweep of the tiny profile in its own process."""
    command = [
        sys.executable,
        "-m",
        "reproduction.cli",
        "sweep",
        "--profile",
        "tiny",
        "--grid",
        str(grid(folder, **changes)),
    ]
    return subprocess.Popen([*command, "--out", str(out), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


# ---------------------------------------------------------------- the faults


def kill_worker(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """kill -9 a worker after a random time; the sweep restarts it."""
    result = Result("kill -9 of a worker", "the same sweep restarts it from its checkpoint")
    for i in attempts(result, tries):
        out, wanted = folder / f"runs-{i}", cells(folder)[:1]
        delay = rng.uniform(0.0, 4.0)

        struck: list[float] = []

        def strike(out=out, cell=wanted[0], delay=delay, struck=struck):
            pid = wait(lambda: owner(out, cell))
            time.sleep(delay)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            struck.append(delay)

        thread = threading.Thread(target=strike)
        thread.start()
        Sweep(wanted, out, say=quiet, poll=0.1).run()
        thread.join()
        result.tries += len(struck)
        result.lost += losses(out, wanted, good)
        shutil.rmtree(out)
    return result


def kill_sweep(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """kill -9 the sweep after a random time; a new one resumes at once while old workers may still be ending."""
    result = Result("kill -9 of the sweep", "its worker writes a checkpoint and exits; the same command resumes")
    for i in attempts(result, tries):
        out, wanted = folder / f"runs-{i}", cells(folder)[:1]
        with start(folder, out, "--jobs", "1", seeds=[0]) as process:
            wait(lambda out=out: (out / ".progress").exists())
            time.sleep(rng.uniform(0.0, 10.0))
            result.tries += process.poll() is None
            process.kill()
        Sweep(wanted, out, say=quiet, poll=0.1).run()
        result.lost += losses(out, wanted, good)
        shutil.rmtree(out)
    return result


def stop_sweep(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """SIGTERM or SIGINT to the sweep: measure the time until everything has ended with a checkpoint, then resume."""
    result, longest = (
        Result("SIGTERM or SIGINT to the sweep", "a checkpoint at the current step; the same command resumes"),
        0.0,
    )
    for i in attempts(result, tries):
        out, wanted = folder / f"runs-{i}", cells(folder)[:1]
        with start(folder, out, "--jobs", "1", seeds=[0]) as process:
            wait(lambda out=out, wanted=wanted: checkpoints(out, wanted[0]))
            time.sleep(rng.uniform(0.0, 1.0))
            before, number = time.monotonic(), rng.choice([signal.SIGTERM, signal.SIGINT])
            process.send_signal(number)
            stopped = process.wait() == 128 + number
            if stopped:
                longest = max(longest, time.monotonic() - before)
                result.tries += 1
                result.lost += not checkpoints(out, wanted[0]) and not Folder(out).finished(wanted[0])
        Sweep(wanted, out, say=quiet, poll=0.1).run()
        result.lost += losses(out, wanted, good)
        shutil.rmtree(out)
    result.note = f"longest time to exit {longest:.1f} s"
    return result


def two_sweeps(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """Two concurrent sweeps over one folder: each cell is claimed exactly once."""
    result = Result("two sweeps of one folder", "each cell is trained by one of them")
    for i in range(tries):
        out, wanted = folder / f"runs-{i}", cells(folder)
        sweeps = [threading.Thread(target=Sweep(wanted, out, say=quiet, poll=0.05).run) for _ in range(2)]
        for thread in sweeps:
            thread.start()
        for thread in sweeps:
            thread.join()
        result.tries += 1
        result.doubled += sum(Lease.newest(cell.place(out, "claims")) != 1 for cell in wanted)
        result.lost += losses(out, wanted, good)
        shutil.rmtree(out)
    return result


def bad_checkpoint(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """Corrupt or truncate the newest checkpoint; the sweep reports it and uses the previous one."""
    result, named = Result("newest checkpoint damaged", "reported and set aside; the previous one is used"), 0
    for i in attempts(result, tries):
        out, wanted, said = folder / f"runs-{i}", cells(folder)[:1], []
        worker = LocalWorker(out, wanted[0])
        wait(lambda out=out, wanted=wanted: len(checkpoints(out, wanted[0])) == 2)
        worker.stop()
        worker.process.wait()
        if len(found := checkpoints(out, wanted[0])) == 2:
            damage(found[0], rng)
            result.tries += 1
            Sweep(wanted, out, say=said.append, poll=0.1).run()
            named += any("skipped a damaged checkpoint" in line and found[0].name in line for line in said)
            result.lost += losses(out, wanted, good)
        shutil.rmtree(out)
    result.note = f"reported in {named} of {result.tries}"
    result.lost += result.tries - named
    return result


def bad_run(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """Corrupt or truncate a finished raw run; the next sweep trains it again."""
    result, out = Result("raw run damaged", "reported and trained again"), folder / "runs"
    wanted = cells(folder)[:1]
    shutil.copytree(good["runs"], out)
    harmless, key = 0, wanted[0].key
    for _ in range(tries):
        damage(run_path(out, *key), rng)
        result.tries += 1
        # Parquet has bytes without content; reading recomputes the digest of all content.
        seen = digests(out, wanted)[key]
        harmless += seen == good[key]
        result.lost += seen not in (None, good[key])  # undetected damage to the content
        Sweep(wanted, out, say=quiet, poll=0.1).run()
        result.lost += losses(out, wanted, good)
    result.note = f"{harmless} of {tries} hit bytes without content: all rows and the metadata were unchanged"
    return result


def damage(path: Path, rng: random.Random) -> None:
    """Invert 16 bytes at a random position, or truncate the file there."""
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content) - 16)
    if rng.random() < 0.5:
        content[at : at + 16] = bytes(b ^ 0xFF for b in content[at : at + 16])
    else:
        del content[at:]
    path.write_bytes(content)


def full_disk(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """A file system too small for a checkpoint; then it grows and the same sweep resumes."""
    result = Result(
        "disk full", "a one-sentence error and no partial file; once there is space, the same command resumes"
    )
    wanted = cells(folder)[:1]
    for _ in attempts(result, tries):
        # too small for the first checkpoint, up to too small for the second
        room = rng.choice([64, 128, 400, 600])
        with tempfile.TemporaryDirectory() as mounted:
            if subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={room}k", "tmpfs", mounted], capture_output=True
            ).returncode:
                result.note = "not tried: mounting is not permitted"
                return result
            try:
                out = Path(mounted) / "runs"
                status = Sweep(wanted, out, say=quiet, poll=0.1).run()
                if status.failed:
                    result.tries += 1
                    result.lost += "No space left" not in status.failed[0][1]
                result.lost += sum(p.stat().st_size == 0 for p in out.rglob("*.parquet"))
                subprocess.run(["mount", "-o", "remount,size=100m", mounted], check=True)
                Sweep(wanted, out, say=quiet, poll=0.1).run()
                result.lost += losses(out, wanted, good)
            finally:
                subprocess.run(["umount", mounted], check=True)
    return result


def divergence(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """A learning rate that leads to NaN: the cell is marked with the reason and retried only on request."""
    result = Result("a run diverges to NaN", "marked as diverged with the reason; retried only on request")
    for i in range(tries):
        out = folder / f"runs-{i}"
        wanted = cells(folder, seeds=[0], settings=SETTINGS | {"sac": {"critic_lr": 1e30}})
        first = Sweep(wanted, out, say=quiet, poll=0.1).run()
        result.tries += 1
        result.lost += not (first.diverged and "is not finite" in first.diverged[0][1])
        second = Sweep(wanted, out, launch=lambda cell: 1 / 0, say=quiet).run()  # starts no worker
        result.lost += len(second.diverged) != 1
        folder_ = Folder(out)
        folder_.forgive(wanted)
        result.lost += len(folder_.status(wanted).waiting) != 1
    return result


def kill_node(folder: Path, good: dict, tries: int, rng: random.Random) -> Result:
    """Two Ray nodes on this machine, one killed while training; Ray reruns its task on the other."""
    result = Result("a Ray node is killed during a task", "Ray reruns the task on another node, from its checkpoint")
    try:
        import ray
        from ray.cluster_utils import Cluster
    except ImportError:
        result.note = "not tried: Ray is not installed"
        return result
    for i in range(tries):
        out, wanted = folder / f"runs-{i}", cells(folder)
        # by default Ray takes half a minute to notice a dead node
        health = {
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 500,
            "health_check_failure_threshold": 4,
        }
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": health}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
            launch, cpus = ray_workers(cluster.address, out)

            node, delay = rng.choice(nodes), rng.uniform(0.0, 2.0)

            def strike(out=out, wanted=wanted, cluster=cluster, node=node, delay=delay):
                wait(lambda: owner(out, wanted[0]) and owner(out, wanted[1]))  # one cell per node
                time.sleep(delay)
                cluster.remove_node(node, allow_graceful=False)

            thread = threading.Thread(target=strike)
            thread.start()
            Sweep(wanted, out, cpus, launch=launch, say=quiet, poll=0.1).run()
            thread.join()
            result.tries += 1
            again = sum(Lease.newest(cell.place(out, "claims")) - 1 for cell in wanted)
            result.note = f"{again} of its cells restarted in the last try"
        finally:
            ray.shutdown()
            cluster.shutdown()
        result.lost += losses(out, wanted, good)
        shutil.rmtree(out)
    return result


FAULTS = [kill_worker, kill_sweep, stop_sweep, two_sweeps, bad_checkpoint, bad_run, full_disk, divergence, kill_node]


def main() -> None:
    """Try every fault many times and write the table to docs/reliability.md; exit status 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/reliability.md"))
    args = parser.parse_args()
    rng, results = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as temporary:
        good = reference(Path(temporary) / "reference")
        for fault in FAULTS:
            # faults without random timing need fewer tries
            tries = args.tries if fault in (kill_worker, kill_sweep) else max(1, args.tries // 5)
            results.append(fault(Path(temporary) / fault.__name__, good, tries, rng))
            print(results[-1], flush=True)
    rows = [f"| {r.fault} | {r.after} | {r.tries} | {r.lost} | {r.doubled} | {r.note} |" for r in results]
    text = f"""# Fault injection

Written by `make faults` (`tests/faults.py --tries {args.tries} --seed {args.seed}`); do not edit.
Each fault strikes small real cells (DI, DR, 400 steps). The sweep is then resumed, and its raw runs are compared by
digest with those of an undisturbed sweep. *Lost* counts raw runs that are missing or differ in any bit, and faults that
were not reported as documented; *doubled* counts cells that were trained twice at the same time.

| fault | what happens | tries | lost | doubled | |
|---|---|---|---|---|---|
{chr(10).join(rows)}

A kill after the work was finished does not count as a try.
"""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
    sys.exit(any(r.lost or r.doubled for r in results))


if __name__ == "__main__":
    main()
