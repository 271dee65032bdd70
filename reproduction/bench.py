"""Speed and memory of the arms on this machine against a straightforward twin, in one run (``dmash bench``)."""

import datetime
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median

import gymnasium
import numpy as np
import torch

from dmash_core.agents.sac import Agent
from dmash_core.benchmark.mujoco import MujocoEnv
from dmash_core.benchmark.suite import context_sets, get_spec, make_batch
from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.methods import Method, method_from
from dmash_core.training.machine import available_cores, configure_cpu, no_denormals
from dmash_core.training.raw_runs import provenance, read_run, run_path
from dmash_core.training.settings import TrainSettings
from dmash_core.training.trainer import Trainer
from reproduction.paths import TESTS
from reproduction.sweep.grid import Cell
from reproduction.sweep.sweep import Sweep

TARGET = 300.0  # updates per second
COLUMNS = (
    "ms_per_update", "ms_per_step", "ms_acting", "ms_row_adapters", "outside_update", "bookkeeping", "ratio_to_twin",
    "peak_mib",
)  # fmt: skip


def measure(methods: dict[str, Method], env: str, say: Callable[[str], None], **options) -> list[dict]:
    """One row per arm, each measured in its own process because peak memory is per process. Call it from a process that
    needs less memory than they do. ``options`` are those of ``measure_arm``.

    ms_per_update, ms_per_step: medians over rounds, one thread, one seed, batch 240; a step is environment, acting,
    warm-up (its share), replay and update. ms_acting: the mean actions of an evaluation's environments, 600 with ten
    rollouts. ms_row_adapters: an update with an adapter for each row of the batch, as in the release (arms with
    adapters of the true context, else None). outside_update: the share of a step that is not the update. bookkeeping:
    the cost to a sweep of starting a worker and writing checkpoints (with a full replay), relative to the time of all
    steps of a cell of the benchmark's length. ratio_to_twin: the twin's time over ours, measured alternately; None
    without the repository's tests folder. peak_mib: with a full replay, an evaluation and a checkpoint.
    """
    rows = []
    say(f"{'arm':14}" + "".join(f"{c:>16}" for c in COLUMNS))
    for arm, method in methods.items():
        rows.append(_apart(measure_arm, env, arm, method, **options, launched=time.time()))
        say(f"{arm:14}" + "".join(f"{'-' if rows[-1][c] is None else rows[-1][c]:>16}" for c in COLUMNS))
    return rows


def step_times(methods: dict[str, Method], env: str, rounds: int = 3) -> dict[str, list[float]]:
    """Seconds per training step of each arm, one value per round: whole episodes of one arm after the other, in one
    process with one thread. Ratios within a round are meaningful even on a busy machine."""
    configure_cpu(1)
    times: dict[str, list[float]] = {arm: [] for arm in methods}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {arm: _past_random_phase(_trainer(env, arm, method, folder)) for arm, method in methods.items()}
        for trainer in trainers.values():
            trainer._train_step()  # allocates what later steps reuse
            trainer.step = 0
        for _ in range(rounds):
            for arm, trainer in trainers.items():
                times[arm].append(_seconds(trainer._train_step, trainer.agent.layout.horizon))
    return times


def measure_workers(jobs: int, say: Callable[[str], None], steps: int = 2000) -> dict:
    """Cells per second of a sweep (DI, DMA*-SH, `steps` steps, start-up included) with `jobs` workers and with one.

    Only meaningful on an otherwise idle machine. speed_up is their ratio; start_s is the time per cell beyond its
    training, with one worker.
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
    return row | _origin(metas[0])


def measure_gpu(
    methods: dict[str, Method],
    windows: Sequence[int],
    blocks: Sequence[int],
    say: Callable[[str], None],
    device: str = "cuda",
    updates: int = 1000,
) -> dict:
    """Blocks of seeds: rows of ``measure_block`` for each arm, K and number of seeds, the straightforward twin first;
    and rows of ``measure_wait`` for each arm with ten seeds on DI and Cartpole. Each is measured in its own process.

    If DMA*-SH with ten seeds at K = 24 misses the target of TARGET updates per second, its row has a profile.
    """
    rows: dict[str, list] = {"updates": [], "waits": []}
    for (arm, method), window in itertools.product(methods.items(), windows):
        for n in (None, *blocks):
            target = TARGET if (arm, window, n) == ("dma-star-sh", 24, 10) else 0.0
            options = dict(device=device, updates=updates, target=target)
            if not (row := _apart(measure_block, arm, replace(method, window=window), n, **options)):
                continue
            rows["updates"].append(row)
            say(
                f"{arm:18} K {window:3} {row['learner']} {row['seeds']:2} seeds {row['updates_per_s']:8.1f} updates/s "
                f"{row['seed_updates_per_s']:8.1f} seed-updates/s, peak {row['peak_mib']} MiB"
            )
            if "profile" in row:
                say(f"below the target of {target:.0f} updates/s:\n{row['profile']}")
    for env, (arm, method) in itertools.product(("DI", "Cartpole"), methods.items()):
        rows["waits"].append(row := _apart(measure_wait, env, arm, method, device=device))
        say(
            f"{env:9} {arm:18} {row['ms_per_step']:8.2f} ms per step, {row['waits']:.0%} of it waiting for environments"
        )
    return rows


def measure_block(
    arm: str, method: Method, n: int | None, device: str = "cuda", updates: int = 1000, target: float = 0.0
) -> dict:
    """Updates per second of ``n`` seeds on DI (None: of the straightforward twin with one seed), and peak GPU memory
    with a full replay. Adds a kernel profile below ``target`` updates per second. Empty if there is no twin."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _past_random_phase(_trainer("DI", arm, method, folder, range(n or 1), device))
        if (learner := _twin(trainer.agent) if n is None else trainer.agent) is None:
            return {}
        batches = [trainer.sample(passes) for passes in (1, 3)]

        def run(times: int) -> None:
            for _ in range(times):
                for batch in batches:
                    logs = learner.update(batch, trainer.rollout.contexts)
            logs["critic_loss"].sum().item()  # waits for the GPU

        run(3)
        speed = 1.0 / (_seconds(lambda: run(updates // 2), 1) / (updates // 2) / 2)
        row = {"arm": arm, "window": method.window, "seeds": n or 1, "learner": "twin" if n is None else "ours"}
        row |= {"updates_per_s": round(speed, 1), "seed_updates_per_s": round(speed * (n or 1), 1)}
        row["peak_mib"] = torch.cuda.max_memory_reserved() >> 20 if device == "cuda" else None
        if speed < target:
            with torch.profiler.profile() as profile:
                run(5)
            row["profile"] = profile.key_averages().table(sort_by="self_device_time_total", row_limit=15)
        return row | _origin(trainer.origin)


def measure_wait(
    env: str, arm: str, method: Method, n: int = 10, device: str = "cuda", episodes: int = 3, **options
) -> dict:
    """Milliseconds per training step of ``n`` seeds, everything included, and the share spent waiting for environments:
    the time saved when they replay the results of a previous episode. Simulators use all cores."""
    configure_cpu(available_cores())
    with tempfile.TemporaryDirectory() as folder:
        trainer = _past_random_phase(_trainer(env, arm, method, folder, range(n), device, **options))

        def episode():
            for _ in range(trainer.agent.layout.horizon):
                trainer._train_step()

        episode()
        real = _seconds(episode, episodes)
        vector = trainer.rollout.env
        returned = {name: _recorded(vector, name) for name in ("reset", "step")}
        episode()
        for name, results in returned.items():
            setattr(vector, name, partial(_next, itertools.cycle(results)))
        saved = 1.0 - _seconds(episode, episodes) / real
    row = {"env": env, "arm": arm, "window": trainer.agent.layout.window, "seeds": n, "waits": round(saved, 3)}
    return row | {"ms_per_step": round(1e3 * real / trainer.agent.layout.horizon, 3)} | _origin(trainer.origin)


def _recorded(owner, name: str) -> list:
    """A list that collects everything a method of ``owner`` returns from now on."""
    returned, method = [], getattr(owner, name)

    def recording(*arguments, **options):
        returned.append(method(*arguments, **options))
        return returned[-1]

    setattr(owner, name, recording)
    return returned


def _next(results: Iterator, *_, **__):
    return next(results)


def _apart(function: Callable[..., dict], *arguments, **options) -> dict:
    """Run a function of this module in its own process and return its result."""
    words = _words(arguments, options)
    command = [sys.executable, "-m", "reproduction.bench", function.__name__, words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{function.__name__} failed for {words}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _words(arguments: Sequence, options: dict) -> str:
    """Arguments and options of a function as JSON, methods as their options."""
    return json.dumps([arguments, options], default=asdict)


def _from_words(words: str) -> tuple[list, dict]:
    """The inverse of `_words`."""
    arguments, options = json.loads(words)
    return [method_from(one) if isinstance(one, dict) else one for one in arguments], options


def _origin(found: dict) -> dict:
    """Where and when something was measured, from the `provenance` in ``found``."""
    kept = {k: found[k] for k in ("machine", "versions", "git_commit")}
    return kept | {"date": datetime.datetime.now(datetime.UTC).date().isoformat()}


def _twin(agent):
    if type(agent) is not Agent or not (TESTS / "twin.py").exists():
        return None
    sys.path.insert(0, str(TESTS))
    from twin import Twin

    return Twin(agent)


def _seconds(call: Callable, times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def _trainer(env, arm, method, folder: str, seeds: Sequence[int] = (0,), device: str = "cpu", **options) -> Trainer:
    return Trainer(TrainSettings(env, arm, method, **options), seeds, out=folder, device=device, progress=False)


def _past_random_phase(trainer: Trainer) -> Trainer:
    """Put the trainer at the start of learning, with a replay full of noise."""
    trainer.replay.rows.normal_()
    trainer.replay.added = trainer.replay.slots
    trainer.rollout.reset([(0, i) for i in range(trainer.rollout.n * trainer.rollout.batch)])
    trainer.rollout.history.start_warm_up(trainer.rollout.obs)
    trainer.step = 0
    return trainer


def measure_arm(
    env: str, arm: str, method: Method, rounds: int = 5, updates: int = 10, launched: float | None = None
) -> dict:
    """The row of one arm (see ``measure``) whose process was launched at time ``launched`` (by default now)."""
    launched = time.time() if launched is None else launched
    matmul = configure_cpu(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(env, arm, method, folder)
        start = time.time() - launched
        _past_random_phase(trainer)
        agent, layout = trainer.agent, trainer.agent.layout
        twin = _twin(agent)
        # two updates, one of them with the actor's, as in training
        batches = [trainer.sample(passes) for passes in (1, 3)]

        contexts = trainer.rollout.contexts
        each_row = contexts.repeat_interleave(batches[0].obs.shape[1] // contexts.shape[1], dim=1)

        def both(learner, contexts=contexts):
            with no_denormals():  # as in training
                for batch in batches:
                    learner.update(batch, contexts)

        inside, update = [], agent.update

        def timed(*args):
            began = time.perf_counter()
            logs = update(*args)
            inside.append(time.perf_counter() - began)
            return logs

        ours, twins, by_row, steps, shares = [], [], [], [], []
        both(agent)
        row_adapters = isinstance(method, Method) and method.context == "true" and method.conditioning == "adapter"
        for _ in range(rounds):
            ours.append(_seconds(lambda: both(agent), updates // 2) / 2)
            if twin is not None:
                twins.append(_seconds(lambda: both(twin), updates // 2) / 2)
            if row_adapters:
                by_row.append(_seconds(lambda: both(agent, each_row), updates // 2) / 2)
            agent.update, inside[:] = timed, []
            # whole episodes, so that each round has its share of the warm-up
            steps.append(_seconds(trainer._train_step, layout.horizon))
            shares.append(1.0 - sum(inside) / (steps[-1] * layout.horizon))
            agent.update = update
        evaluator = trainer._evaluator(trainer.settings.eval_rollouts)
        evaluator(0)
        acting = [_seconds(evaluator.rollout.act, 10) for _ in range(rounds)]
        written = _seconds(trainer._checkpoint, 3) * (trainer.steps // trainer.settings.eval_every)
    return {
        "env": env,
        "arm": arm,
        "window": layout.window,
        "parameters": sum(p.numel() for p in agent.modules.parameters()),
        "ms_per_update": round(1e3 * median(ours), 2),
        "ms_per_step": round(1e3 * median(steps), 2),
        "ms_acting": round(1e3 * median(acting), 2),
        "ms_row_adapters": round(1e3 * median(by_row), 2) if by_row else None,
        "outside_update": round(median(shares), 3),
        "bookkeeping": round((start + written) / (median(steps) * trainer.steps), 4),
        "ratio_to_twin": round(median(t / o for t, o in zip(twins, ours, strict=True)), 2) if twins else None,
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": torch.get_num_threads(),
        "matmul": matmul,
        **_origin(trainer.origin),
    }


DM_CONTROL = {
    "Cartpole": ("cartpole", "balance"),
    "Cheetah": ("cheetah", "run"),
    "Reacher-E": ("reacher", "easy"),
    "BallInCup": ("ball_in_cup", "catch"),
    "Walker": ("walker", "walk"),
}


class _DMControl(gymnasium.Env):
    """A dm_control environment with the Gymnasium interface."""

    def __init__(self, env: str):
        from dm_control import suite

        spec = get_spec(env)
        self.env = suite.load(*DM_CONTROL[env])
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (spec.obs_dim,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (spec.act_dim,), np.float32)

    def reset(self, *, seed=None, options=None):
        return self._flat(self.env.reset()), {}

    def step(self, action):
        time_step = self.env.step(action)
        return self._flat(time_step), time_step.reward, False, time_step.last(), {}

    def _flat(self, time_step) -> np.ndarray:
        return np.concatenate([np.ravel(part) for part in time_step.observation.values()], dtype=np.float32)


def _episode(batch: gymnasium.vector.VectorEnv, actions: np.ndarray) -> None:
    batch.reset(seed=0)
    for action in actions:
        batch.step(action)


def _physics_alone(batch: MujocoEnv, actions: np.ndarray) -> None:
    batch.reset(seed=0)
    controls = batch.sims.bind("ctrl")
    for action in actions:
        controls[:] = action
        batch.sims.step(nstep=batch.substeps)


def _wall_and_cpu(run: Callable[[], None]) -> tuple[float, float]:
    began = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def measure_environments(say: Callable[[str], None], rounds: int = 3, steps: int = 1000) -> list[dict]:
    """One row per dm_control task: control steps per second in the 20 training contexts, including reset and
    observations, on one thread and on all cores, against a Gymnasium SyncVectorEnv of 20 of dm_control's own
    environments.

    Medians over `rounds` interleaved episodes of `steps` steps. ratio_one_thread and ratio_all_cores are wall-time
    ratios; ratio_cpu is the ratio of CPU times on one thread, which other work on the machine affects less. ceiling:
    the ratio on all cores if everything but MuJoCo's own steps were free. load: runnable processes per core at the end.
    """
    cores, origin, rows = available_cores(), _origin(provenance()), []
    columns = ("one_thread", "all_cores", "dm_control", "ratio_one_thread", "ratio_all_cores", "ratio_cpu", "ceiling")
    say(f"{'env':12}" + "".join(f"{c:>18}" for c in columns))
    for env in DM_CONTROL:
        contexts, batches, before = context_sets(env)["train"], [], BatchedEnv.threads
        for BatchedEnv.threads in (1, cores):
            batches.append(make_batch(env, contexts, steps))
        BatchedEnv.threads = before
        batches.append(gymnasium.vector.SyncVectorEnv([lambda env=env: _DMControl(env)] * len(contexts)))
        actions = np.random.default_rng(0).uniform(-1, 1, (steps, *batches[0].action_space.shape)).astype(np.float32)
        runs = [partial(_episode, batch, actions) for batch in batches]
        runs.append(partial(_physics_alone, batches[1], actions))
        seconds = np.array([[_wall_and_cpu(run) for run in runs] for _ in range(rounds)])  # (rounds, 4, 2)
        speeds = np.rint(np.median(steps * len(contexts) / seconds[:, :3, 0], axis=0)).astype(int).tolist()
        ratios = np.median(seconds[:, 2:3] / seconds, axis=0).round(1)
        values = (*speeds, *ratios[:2, 0].tolist(), float(ratios[0, 1]), float(ratios[3, 0]))
        row = {"env": env, **dict(zip(columns, values, strict=True)), "cores": cores}
        rows.append(row | {"load": round(os.getloadavg()[0] / os.cpu_count(), 1)})
        rows[-1] |= origin
        say(f"{env:12}" + "".join(f"{row[c]:>18}" for c in columns))
    return rows


if __name__ == "__main__":
    arguments_, options_ = _from_words(sys.argv[2])
    print(json.dumps(globals()[sys.argv[1]](*arguments_, **options_)))
