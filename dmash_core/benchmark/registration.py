"""The Gymnasium interface: `gymnasium.make("AIB/DI-v0", mass=0.8, inversion=-1)` and `gymnasium.make_vec`."""

import math
from typing import Any

import gymnasium
import numpy as np

from dmash_core.benchmark.contexts import ContextSpace, check_contexts, context_rows
from dmash_core.benchmark.suite import MAX_COEFFICIENTS, SUITE, get_spec
from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.errors import UserError, unknown


def make_vector(
    environment: str,
    num_envs: int = 1,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **contexts,
) -> BatchedEnv:
    """`num_envs` environments. A context keyword is a number or `num_envs` numbers; omitted contexts have defaults.

    `max_episode_steps` defaults to the benchmark's; -1 means no limit, as in `gymnasium.make`. Raises UserError for an
    unknown keyword, a wrong number of values, an unphysical value, an episode without steps, and any `render_mode`
    other than None and "rgb_array".
    """
    spec = get_spec(environment)
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, not {num_envs}")
    horizon = spec.horizon if max_episode_steps is None else max_episode_steps
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or (horizon < 1 and horizon != -1):
        raise UserError(f"max_episode_steps must be a positive integer, or -1 for no limit, not {horizon}")
    if render_mode not in (None, "rgb_array"):
        raise UserError(f"{environment} has no render_mode {render_mode!r}; valid: 'rgb_array'")
    rows = context_rows(spec.dimensions, contexts, num_envs, f"{environment} ")
    limit: Any = math.inf if horizon == -1 else horizon
    batch = spec.build(spec.dimensions, check_contexts(spec.dimensions, rows), limit)
    batch.render_mode = render_mode
    return batch


class SingleEnv(gymnasium.Env):
    """One environment of the benchmark, implemented as a batch of one; contexts and errors as in `make_vector`.

    `reset(seed=s)` gives the same state as environment 0 of a batch after `reset(seed=s)`. It has no time limit of its
    own; `gymnasium.make` adds the benchmark's.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, environment: str, render_mode: str | None = None, **contexts):
        if wrong := [name for name in ("num_envs", "max_episode_steps") if name in contexts]:
            raise unknown(f"{environment} context", wrong[0], [d.name for d in get_spec(environment).dimensions])
        self.batch = make_vector(environment, 1, render_mode, -1, **contexts)
        self.metadata, self.render_mode = self.batch.metadata, render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    @property
    def context(self) -> dict[str, float]:
        """The context by name."""
        return {name: float(value[0]) for name, value in self.batch.context.items()}

    @property
    def context_space(self) -> ContextSpace:
        """The space of the context, with its default and its ranges."""
        return self.batch.context_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Observation float32 (obs_dim,) and info {"context": {name: float}}. Without a seed `np_random` continues.

        options: {"context": {name: number}} or {"context": array (d,)} sets the context from now on; unnamed dimensions
        get their defaults. Raises UserError, without side effects, for any other option and for invalid contexts.
        """
        if options is not None and "reset_mask" in options:  # an option of batches only
            raise unknown("reset option", "reset_mask", ["context"])
        if seed is None:
            self.batch.streams = [self.np_random]
        observations, _ = self.batch.reset(seed=seed, options=options)
        self._np_random = self.batch.streams[0]
        if seed is not None:
            self._np_random_seed = seed
        return observations[0], {"context": self.context}

    def step(self, action):
        """Observation float32 (obs_dim,), reward, terminated and truncated (both always False), and info as in `reset`;
        errors as in a batch."""
        observations, rewards, *_ = self.batch.step(np.asarray(action)[None])
        return observations[0], float(rewards[0]), False, False, {"context": self.context}

    def render(self) -> np.ndarray | None:
        """uint8 (240, 320, 3) with render_mode "rgb_array"; MuJoCo environments raise UserError without OpenGL."""
        return None if self.render_mode is None else self.batch.picture(0)

    def close(self):
        """Free the renderer."""
        self.batch.close()

    def __str__(self):
        contexts = ", ".join(f"{name}={value:g}" for name, value in self.context.items())
        return f"<SingleEnv<{self.spec.id if self.spec is not None else type(self.batch).__name__}>({contexts})>"

    __repr__ = __str__


def register_all() -> None:
    """Register AIB/<name>-v0 for the suite and ODE-1 ... ODE-20, each with the benchmark's time limit."""
    for name in [*SUITE, *(f"ODE-{k}" for k in range(1, MAX_COEFFICIENTS + 1))]:
        if (identifier := f"AIB/{name}-v0") not in gymnasium.registry:
            gymnasium.register(
                identifier,
                entry_point=f"{__name__}:SingleEnv",
                vector_entry_point=f"{__name__}:make_vector",
                max_episode_steps=get_spec(name).horizon,
                kwargs={"environment": name},
            )
