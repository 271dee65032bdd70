"""The base of the batched environments: episodes, random streams, action transforms and snapshots."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dmash_core.benchmark.contexts import ContextDimension, check_contexts
from dmash_core.errors import UserError


class BatchedEnv(VectorEnv):
    """B environments of one family that run in lock-step, environment i under the context `contexts[i]`.

    Observations are float32 (B, obs_dim), rewards float64 (B,), actions (B, act_dim); the physics inside is float64.
    Every episode lasts `horizon` steps: nothing terminates, all environments are truncated together at the last step,
    and the caller resets them (autoreset mode DISABLED).

    A family implements `_reset`, `_step`, `_observe`, `_get_physics` and `_set_physics`.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}
    threads = 1  # of a simulator that can use several, whose results do not depend on it

    def __init__(
        self,
        dimensions: Sequence[ContextDimension],
        contexts: np.ndarray,
        horizon: int,
        observation_space: Box,
        act_dim: int,
    ):
        """Raises UserError when `contexts` (B, d) do not fit the dimensions."""
        self.dimensions = tuple(dimensions)
        self.contexts = check_contexts(self.dimensions, contexts)
        self.num_envs = len(self.contexts)
        self.horizon = horizon
        self.single_observation_space = observation_space
        self.single_action_space = Box(-1.0, 1.0, (act_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.streams = [np.random.default_rng() for _ in range(self.num_envs)]
        self.elapsed: int | None = None  # steps since the reset; None before the first one
        self._inversion = self.context("inversion", 1.0)[:, None]
        self._swap = self.context("swap", 0.0)[:, None] == 1

    def context(self, name: str, default: float) -> np.ndarray:
        """Column `name` of the contexts, float64 (B,); `default` throughout if this family has no such dimension."""
        for dimension, column in zip(self.dimensions, self.contexts.T, strict=True):
            if dimension.name == name:
                return column
        return np.full(self.num_envs, default)

    def actuate(self, actions: np.ndarray) -> np.ndarray:
        """What reaches the actuators, float64 (B, act_dim): inversion multiplies the action, swap exchanges its two
        entries (Benad et al. 2026, benchmark appendix)."""
        return self._inversion * np.where(self._swap, actions[:, ::-1], actions)

    def reset(
        self, *, seed: int | Sequence[int | Sequence[int]] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode in every environment; returns observations (B, obs_dim) and an empty info.

        seed: None lets the random streams go on. An int s gives environment i the stream
        `np.random.default_rng([s, i])`. A sequence of B elements, each an int or a tuple of ints, gives environment i
        the stream `np.random.default_rng(element)`; make tuples equally long, since NumPy ignores trailing zeros.
        Raises UserError for any other seed and for a partial `reset_mask`.
        """
        if options and not np.all(options.get("reset_mask", True)):
            raise UserError("all environments of a batch are reset together: a partial reset_mask is not supported")
        if seed is not None:
            self.streams = self._make_streams(seed)
        self.elapsed = 0
        self._reset(self.streams)
        return self._observe().astype(np.float32), {}

    def _make_streams(self, seed) -> list[np.random.Generator]:
        if isinstance(seed, (int, np.integer)):
            seed = [(seed, i) for i in range(self.num_envs)]
        try:
            elements = [np.atleast_1d(element).tolist() for element in seed]
            if all(type(word) is int and word >= 0 for word in sum(elements, [])) and len(elements) == self.num_envs:
                return [np.random.default_rng(element) for element in elements]
        except (TypeError, ValueError):
            pass
        raise UserError(f"a seed is a non-negative integer, or {self.num_envs} of them or of tuples of them")

    def step(self, actions) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step under `actions` (B, act_dim), nominally in [-1, 1].

        Returns observations float32 (B, obs_dim), rewards float64 (B,) of the states that were reached, terminations
        and truncations bool (B,), and an empty info. Raises gymnasium.error.ResetNeeded before the first reset and
        after the last step of an episode, gymnasium.error.InvalidAction on a wrong shape or a non-finite action.
        """
        if self.elapsed is None:
            raise ResetNeeded("call reset() before the first step()")
        if self.elapsed >= self.horizon:
            raise ResetNeeded(f"the episode ended after its {self.horizon} steps: call reset() before the next step()")
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != self.action_space.shape:
            raise InvalidAction(f"actions must have shape {self.action_space.shape}, not {actions.shape}")
        if not np.isfinite(actions).all():
            culprit = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
            raise InvalidAction(f"the action of environment {culprit} is not finite: {actions[culprit]}")
        self.elapsed += 1
        rewards = self._step(self.actuate(actions))
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.full(self.num_envs, self.elapsed == self.horizon)
        return self._observe().astype(np.float32), rewards, terminated, truncated, {}

    def render(self) -> tuple[np.ndarray, ...]:
        """A picture of each environment, see `picture`."""
        return tuple(self.picture(i) for i in range(self.num_envs))

    def picture(self, index: int) -> np.ndarray:
        """Environment `index` as it is now, uint8 (height, width, 3). Raises UserError where there is no picture."""
        raise UserError("this environment has no picture; those of MuJoCo have")

    def state_dict(self) -> dict[str, Any]:
        """All that a bit-exact continuation needs: "contexts" (B, d), "elapsed", "physics" (name -> array) and
        "streams" (B states of NumPy bit generators, which JSON can hold). Nothing in it is shared with the batch."""
        return {
            "contexts": self.contexts.copy(),
            "elapsed": self.elapsed,
            "physics": {name: array.copy() for name, array in self._get_physics().items()},
            "streams": [stream.bit_generator.state for stream in self.streams],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, a `state_dict()` of a batch with the same contexts; raises UserError otherwise."""
        if not np.array_equal(state["contexts"], self.contexts):
            raise UserError("this state belongs to environments with other contexts")
        self.elapsed = state["elapsed"]
        self.streams = [np.random.default_rng() for _ in range(self.num_envs)]
        for stream, bits in zip(self.streams, state["streams"], strict=True):
            stream.bit_generator.state = bits
        self._set_physics({name: np.array(array) for name, array in state["physics"].items()})

    def _reset(self, streams: Sequence[np.random.Generator]) -> None:
        """Draw the initial states, that of environment i from `streams[i]` alone."""
        raise NotImplementedError

    def _step(self, actions: np.ndarray) -> np.ndarray:
        """Advance by what reaches the actuators (B, act_dim); returns rewards float64 (B,), a fresh array."""
        raise NotImplementedError

    def _observe(self) -> np.ndarray:
        """The observations (B, obs_dim), float64."""
        raise NotImplementedError

    def _get_physics(self) -> dict[str, np.ndarray]:
        """The simulator's state by name."""
        raise NotImplementedError

    def _set_physics(self, physics: dict[str, np.ndarray]) -> None:
        """Put back what `_get_physics` returned; the arrays may be kept."""
        raise NotImplementedError
