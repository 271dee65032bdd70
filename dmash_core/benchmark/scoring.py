"""Evaluation of any policy by the benchmark's protocol, recorded in raw runs like those of our own arms."""

import datetime
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import EnvSpec, context_sets, get_spec
from dmash_core.errors import UserError

if TYPE_CHECKING:  # imports pandas and pyarrow, which the environments do not need
    from dmash_core.training.raw_runs import Run

EVALUATION_STREAM = 2  # index among a run's random streams (0: initialisation, 1: training environments, 3: sampling)
Policy = Callable[[Any, dict[str, Any]], np.ndarray]


def evaluate(
    policy: Policy | Mapping[int, Policy],
    env_id: str,
    *,
    arm: str = "policy",
    seed: int = 0,
    steps: int = 0,
    rollouts: int = 10,
    wrappers: Sequence[Callable[[gymnasium.vector.VectorEnv], gymnasium.vector.VectorEnv]] = (),
    env_steps: int = 0,
    out: str | Path | None = None,
) -> "Run":
    """Returns of a policy in the contexts of train, eval-in and eval-out, as a raw run (runs/README.md).

    `policy(observations, infos)` maps observations (B, d_s) of all B = 60 x `rollouts` environments (every context of
    the three sets, `rollouts` times each) to actions (B, d_a), which are clipped to [-1, 1]. The protocol is the
    published one (Benad et al. 2026, method section, and `dmash evaluate`): K unscored steps, then a full scored
    episode in the same context. `infos` is the batch's, with "context", plus "episode_start", True (B,) at the first
    step of an episode, and "warm_up", True (B,) in the K steps; a policy with a memory clears it where both are True.
    The environments equal those of `dmash train` with this seed, bit for bit.

    env_id: "DI" or "AIB/DI-v0". wrappers: applied to the batch in this order, such as VectorTransitionWindow. arm: the
    method's name in tables and figures, not an arm of this repository. seed: the run's seed. steps: the gradient steps
    of its training; for a learning curve, pass policies by their equally spaced steps as `policy`. env_steps: the
    environment steps of its training. out: a folder of raw runs to write the run to.

    The mean per set is `run.frame.groupby("split", observed=True)["value"].mean()`. Raises UserError for invalid
    arguments and gymnasium.error.InvalidAction for invalid actions.
    """
    from dmash_core.training.raw_runs import SCHEMA, provenance, run_from, run_path, write_run

    spec = get_spec(re.sub(r"^AIB/(.*?)(-v0)?$", r"\1", env_id))
    policies = dict(policy) if isinstance(policy, Mapping) else {steps: policy}
    every = _spacing(policies, steps)
    _check(arm, seed, rollouts)
    began, started = time.perf_counter(), _now()
    contexts = context_sets(spec.name, seed)
    rows = np.repeat(np.concatenate([contexts[split] for split in SETS]), rollouts, axis=0)
    env = gymnasium.make_vec(f"AIB/{spec.name}-v0", num_envs=len(rows), vectorization_mode="vector_entry_point")
    for wrapper in wrappers:
        env = wrapper(env)
    records = []
    for step, one in policies.items():
        seeds = [(seed, EVALUATION_STREAM, step, i) for i in range(len(rows))]
        returns = _episode(one, env, spec, rows, seeds).reshape(len(SETS), -1, rollouts)
        for (split, context, rollout), value in np.ndenumerate(returns):
            records.append((step, "return", SETS[split], context, rollout, value))
    env.close()
    meta = {
        "env": spec.name,
        "arm": arm,
        "seed": seed,
        "steps": max(policies),
        "config": {
            "env": spec.name, "arm": arm, "eval_from": min(policies), "eval_every": every, "eval_rollouts": rollouts,
            "eval_rollouts_between": rollouts,
        },
        "contexts": {split: contexts[split].tolist() for split in SETS},
        "env_steps": env_steps,
        "block": [seed],
        **provenance(),
        "started": started,
        "finished": _now(),
        "wall_time_s": time.perf_counter() - began,
    }  # fmt: skip
    run = run_from(run_path("runs" if out is None else out, spec.name, arm, seed), records, meta)
    if out is not None:
        write_run(run.path, run.frame.loc[:, SCHEMA.names], meta)
    return run


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _spacing(policies: Mapping[int, Policy], steps: int) -> int:
    """Steps between evaluations; UserError if they are not equally spaced or an entry is not a policy."""
    if not policies:
        raise UserError("policies must be a non-empty mapping {steps: policy}")
    for step, one in policies.items():
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise UserError(f"the steps of a policy must be a non-negative integer, not {step!r}")
        if not callable(one):
            raise UserError(f"a policy must be a function (observations, infos) -> actions, not {one!r}")
    if steps and steps not in policies:
        raise UserError("steps applies to a single policy; pass several policies as {steps: policy}")
    gaps = set(np.diff(list(policies)).tolist())
    if len(gaps) > 1 or any(gap < 1 for gap in gaps):
        raise UserError(f"evaluations must be ascending and equally spaced, not at {', '.join(map(str, policies))}")
    if gaps and max(policies) % min(gaps):
        raise UserError(f"evaluations must be at multiples of their spacing ({min(gaps)}), not at {max(policies)}")
    return gaps.pop() if gaps else max(1, *policies)


def _check(arm: str, seed: int, rollouts: int) -> None:
    from dmash_core.methods import METHODS

    if arm.split("+")[0] in METHODS:
        raise UserError(f"{arm!r} is an arm of this repository: choose another name for this method")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.=_+-]*", arm):
        raise UserError(f"arm must consist of lower-case letters, digits and . = _ + -, not {arm!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed must be a non-negative integer, not {seed!r}")
    if rollouts < 1:
        raise UserError(f"rollouts must be at least 1, not {rollouts}")


def _episode(policy: Policy, env, spec: EnvSpec, rows: np.ndarray, seeds: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Undiscounted returns float64 (B,) of one episode in each context in `rows`, after K warm-up steps."""
    yes, no = np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)

    def act(observations, infos, start: bool, warm_up: bool):
        told = infos | {"episode_start": yes if start else no, "warm_up": yes if warm_up else no}
        actions = policy(observations, told)
        if isinstance(actions, tuple):
            raise UserError("a policy must return only actions: the first element of Stable-Baselines3's predict")
        return env.step(np.clip(np.asarray(actions, dtype=np.float32), -1.0, 1.0))

    observations, infos = env.reset(seed=seeds, options={"context": rows})
    start = True
    for _ in range(spec.window):
        observations, _, _, truncated, infos = act(observations, infos, start, True)
        if start := bool(truncated[0]):
            observations, infos = env.reset()
    observations, infos = env.reset()
    total = np.zeros(len(rows))
    for step in range(spec.horizon):
        observations, rewards, _, _, infos = act(observations, infos, step == 0, False)
        total += rewards
    return total
