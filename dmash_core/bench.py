"""Speed and memory of the arms on this machine, beside a straightforward twin, in one run (``dmash bench``)."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median

import torch

from dmash_core.methods import Method
from dmash_core.runs import read_run, run_path
from dmash_core.sweep import Cell, Sweep
from dmash_core.training import Trainer, TrainSettings, configure_cpu

TESTS = Path(__file__).parent.parent / "tests"
COLUMNS = ("ms_per_update", "ms_per_step", "outside_update", "bookkeeping", "ratio_to_twin", "peak_mib")


def measure(methods: dict[str, Method], env: str, say: Callable[[str], None]) -> list[dict]:
    """One row for each arm, each measured in a process of its own, since memory peaks are a process's.

    ms_per_update, ms_per_step: medians over rounds, one thread, one seed, batch 240; a step is environment, acting,
    warm-up (its share), replay and update. outside_update: the share of a step that is not the update.
    bookkeeping: what starting a worker and writing checkpoints (with a full replay) cost a sweep, over the time of all
    steps of a cell of the benchmark's length.
    ratio_to_twin: the twin's time over ours, measured alternately; None without the repository's tests folder.
    peak_mib: with a full replay, an evaluation and a checkpoint.
    """
    rows = []
    say(f"{'arm':14}" + "".join(f"{c:>16}" for c in COLUMNS))
    for arm, method in methods.items():
        command = [sys.executable, "-m", "dmash_core.bench", env, arm, json.dumps(asdict(method)), str(time.time())]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"measuring {arm} failed:\n{done.stderr}")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        say(f"{arm:14}" + "".join(f"{'-' if rows[-1][c] is None else rows[-1][c]:>16}" for c in COLUMNS))
    return rows


def measure_workers(jobs: int, say: Callable[[str], None], steps: int = 2000) -> dict:
    """Cells a second of a sweep (DI, DMA*-SH, `steps` steps, starting included) with `jobs` workers and with one.

    Means something on a machine that does nothing else. speed_up is their ratio; start_s what a cell takes beyond its
    training with one worker.
    """
    settings = {"random_steps": 100, "eval_every": steps // 2, "eval_rollouts": 1}
    cells = [Cell("DI", "dma-star-sh", "dma-star-sh", seed, steps, settings) for seed in range(jobs)]
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in (1, jobs):
            out, began = Path(folder) / str(n), time.perf_counter()
            Sweep(cells, out, jobs=n, say=lambda line: None, poll=0.1).run()
            seconds[n] = time.perf_counter() - began
            metas = [read_run(run_path(out, *cell.key)).meta for cell in cells]
            training = sum(meta["wall_time_s"] for meta in metas)
            say(f"{n} worker(s): {seconds[n]:.1f} s for {jobs} cells of {steps} steps, {training:.1f} s of training")
            if n == 1:
                start = (seconds[1] - training) / jobs
    row = {"jobs": jobs, "steps": steps, "speed_up": round(seconds[1] / seconds[jobs], 3), "start_s": round(start, 2)}
    say(f"{jobs} workers are {row['speed_up']} times as fast as one")
    return row | {k: v for k, v in metas[0].items() if k in ("machine", "git_commit", "finished")}


def _twin(agent):
    if not (TESTS / "twin.py").exists():
        return None
    sys.path.insert(0, str(TESTS))
    from twin import Twin

    return Twin(agent)


def _seconds(call: Callable, times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def measure_arm(
    env: str, arm: str, method: Method, rounds: int = 5, updates: int = 10, launched: float | None = None
) -> dict:
    """The row of one arm (see ``measure``), whose process was launched at the time ``launched`` (now by default)."""
    launched = time.time() if launched is None else launched
    matmul = configure_cpu(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(TrainSettings(env, arm, method), [0], out=folder, progress=False)
        start = time.time() - launched
        agent, replay, layout = trainer.agent, trainer.replay, trainer.agent.layout
        replay.rows.normal_()
        replay.added = replay.slots
        trainer.driver.reset(0)
        trainer.step = trainer.settings.random_steps
        twin = _twin(agent)
        # two updates, one of them with the actor's: the mixture of training
        batches = [replay.sample(trainer.generators, 12, passes, method) for passes in (1, 3)]

        def both(learner):
            for batch in batches:
                learner.update(batch, trainer.driver.contexts)

        inside, update = [], agent.update

        def timed(*args):
            began = time.perf_counter()
            logs = update(*args)
            inside.append(time.perf_counter() - began)
            return logs

        ours, twins, steps, shares = [], [], [], []
        both(agent)
        for _ in range(rounds):
            ours.append(_seconds(lambda: both(agent), updates // 2) / 2)
            if twin is not None:
                twins.append(_seconds(lambda: both(twin), updates // 2) / 2)
            agent.update, inside[:] = timed, []
            # whole episodes, so that each has its share of the warm-up
            steps.append(_seconds(trainer._train_step, layout.horizon))
            shares.append(1.0 - sum(inside) / (steps[-1] * layout.horizon))
            agent.update = update
        trainer.evaluator(0)
        written = _seconds(trainer._checkpoint, 3) * (trainer.steps // trainer.settings.eval_every)
    return {
        "env": env,
        "arm": arm,
        "window": layout.window,
        "ms_per_update": round(1e3 * median(ours), 2),
        "ms_per_step": round(1e3 * median(steps), 2),
        "outside_update": round(median(shares), 3),
        "bookkeeping": round((start + written) / (median(steps) * trainer.steps), 4),
        "ratio_to_twin": round(median(t / o for t, o in zip(twins, ours, strict=True)), 2) if twins else None,
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": torch.get_num_threads(),
        "matmul": matmul,
        **{k: v for k, v in trainer.origin.items() if k in ("machine", "git_commit")},
    }


if __name__ == "__main__":
    env_, arm_, method_, launched_ = sys.argv[1:]
    print(json.dumps(measure_arm(env_, arm_, Method(**json.loads(method_)), launched=float(launched_))))
