"""Gymnasium's way in: `gymnasium.make("AIB/DI-v0", mass=0.8, inversion=-1)` and `gymnasium.make_vec`."""

from typing import Any

import gymnasium
import numpy as np

from dmash_core.benchmark.suite import MAX_COEFFICIENTS, SUITE, get_spec, make_batch
from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.errors import UserError, unknown


def _rows(environment: str, num_envs: int, given: dict[str, Any]) -> np.ndarray:
    """The contexts (num_envs, d) meant by the keywords `given`."""
    dimensions = get_spec(environment).dimensions
    names = [dimension.name for dimension in dimensions]
    for name in given:
        if name not in names:
            raise unknown(f"context of {environment}", name, names)
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, not {num_envs}")
    columns = []
    for dimension in dimensions:
        try:
            values = np.asarray(given.get(dimension.name, dimension.default), dtype=np.float64)
            columns.append(np.broadcast_to(values, num_envs))
        except (TypeError, ValueError):
            many = f" or {num_envs} numbers" if num_envs > 1 else ""
            raise UserError(f"context {dimension.name!r} must be a number{many}") from None
    return np.stack(columns, axis=1)


def make_vector(environment: str, num_envs: int = 1, render_mode: str | None = None, **contexts) -> BatchedEnv:
    """`num_envs` environments; each context is given by keyword as a number or `num_envs` of them, or is the default.

    Raises UserError for an unknown keyword, a wrong number of values or an unphysical one, and for any `render_mode`
    but None and, with MuJoCo, "rgb_array".
    """
    batch = make_batch(environment, _rows(environment, num_envs, contexts))
    if render_mode is not None and render_mode not in batch.metadata["render_modes"]:
        known = "'rgb_array'" if batch.metadata["render_modes"] else "none: it has no picture"
        raise UserError(f"{environment} has no render_mode {render_mode!r}; valid: {known}")
    batch.render_mode = render_mode
    return batch


class SingleEnv(gymnasium.Env):
    """One environment of the benchmark, a view of a batch of one; contexts and errors as in `make_vector`.

    `reset(seed=s)` gives the state that environment 0 of a batch has after `reset(seed=s)`.
    """

    metadata = {"render_modes": ["rgb_array"]}  # of all; that of an instance says whether it has pictures

    def __init__(self, environment: str, render_mode: str | None = None, **contexts):
        if "num_envs" in contexts:
            raise unknown(f"context of {environment}", "num_envs", [d.name for d in get_spec(environment).dimensions])
        self.batch = make_vector(environment, 1, render_mode, **contexts)
        self.metadata, self.render_mode = self.batch.metadata, render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Observation float32 (obs_dim,) and an empty info; without a seed `np_random` goes on."""
        if seed is None:
            self.batch.streams = [self.np_random]
        observations, info = self.batch.reset(seed=seed, options=options)
        self._np_random = self.batch.streams[0]
        if seed is not None:
            self._np_random_seed = seed
        return observations[0], info

    def step(self, action):
        """Observation float32 (obs_dim,), reward, terminated (always False), truncated, info; errors as in a batch."""
        observations, rewards, _, truncated, info = self.batch.step(np.asarray(action)[None])
        return observations[0], float(rewards[0]), False, bool(truncated[0]), info

    def render(self) -> np.ndarray | None:
        """uint8 (240, 320, 3) with render_mode "rgb_array"; UserError, in one sentence, without EGL and OSMesa."""
        return None if self.render_mode is None else self.batch.picture(0)

    def close(self):
        """Free the renderer."""
        self.batch.close()


def register_all() -> None:
    """Register AIB/<name>-v0 for the whole suite and ODE-1 ... ODE-20. The time limit is inside the environments."""
    for name in [*SUITE, *(f"ODE-{k}" for k in range(1, MAX_COEFFICIENTS + 1))]:
        if (identifier := f"AIB/{name}-v0") not in gymnasium.registry:
            gymnasium.register(
                identifier,
                entry_point=f"{__name__}:SingleEnv",
                vector_entry_point=f"{__name__}:make_vector",
                kwargs={"environment": name},
            )
