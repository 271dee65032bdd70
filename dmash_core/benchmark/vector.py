"""The base of batched environments: contexts, episodes, random streams, action transforms and snapshots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dmash_core.benchmark.contexts import ContextDimension, ContextSpace, check_contexts, context_rows
from dmash_core.errors import UserError, unknown

RESET_OPTIONS = ("context", "reset_mask")


class BatchedEnv(VectorEnv):
    """B environments of one family that run in lock-step, environment i under the context `contexts[i]`.

    Observations are float32 (B, obs_dim), rewards float64 (B,), actions (B, act_dim); the physics is float64. Every
    episode lasts `horizon` steps: none terminates, all are truncated together at the last step, and the caller resets
    them (autoreset mode DISABLED).

    `contexts` is read-only, float64 (B, d) in the order of `dimensions`; `context` is the same by name, and
    `context_space` is the space of one environment's context. A reset can change the contexts.

    A family implements `_reset`, `_step`, `_observe`, `_get_physics`, `_set_physics` and `picture`, and extends
    `_set_contexts` or `_use_contexts` if it derives values from the contexts.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}
    threads = 1  # for multithreaded simulators; results do not depend on it

    def __init__(
        self,
        dimensions: Sequence[ContextDimension],
        contexts: np.ndarray,
        horizon: float,
        observation_space: Box,
        act_dim: int,
    ):
        """`horizon` may be math.inf. Raises UserError if `contexts` (B, d) do not fit the dimensions."""
        self.dimensions = tuple(dimensions)
        self.context_space = ContextSpace(self.dimensions)
        contexts = check_contexts(self.dimensions, contexts)
        self.num_envs = len(contexts)
        self.horizon = horizon
        self.single_observation_space = observation_space
        self.single_action_space = Box(-1.0, 1.0, (act_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.streams = [np.random.default_rng() for _ in range(self.num_envs)]
        self.elapsed: int | None = None  # steps since the reset; None before the first one
        self._set_contexts(contexts)

    def _set_contexts(self, contexts: np.ndarray) -> None:
        """Switch to other contexts (B, d), checked and read-only; the caller must then reset the states."""
        self._use_contexts(contexts)
        self.contexts = contexts
        self._inversion = self.column("inversion", 1.0)[:, None]
        self._swap = self.column("swap", 0.0)[:, None] == 1
        # As in the infos of Gymnasium's vector environments, each value has a mask.
        everywhere = np.ones(self.num_envs, dtype=bool)
        everywhere.flags.writeable = False
        self._by_name, self._everywhere = {}, everywhere
        for name, column in self.context.items():
            self._by_name |= {name: column, f"_{name}": everywhere}

    def _use_contexts(self, contexts: np.ndarray) -> None:
        """Prepare for contexts (B, d); raises UserError, without side effects, if they cannot be simulated."""

    @property
    def context(self) -> dict[str, np.ndarray]:
        """The contexts by name, read-only float64 (B,) each."""
        return dict(zip(self.context_space.names, self.contexts.T, strict=True))

    def column(self, name: str, default: float) -> np.ndarray:
        """Column `name` of the contexts, float64 (B,); filled with `default` if there is no such dimension."""
        return self.context.get(name, np.full(self.num_envs, default))

    def _info(self) -> dict[str, Any]:
        """A new info: {"context": {name: (B,), "_" + name: mask}, "_context": mask}."""
        return {"context": self._by_name.copy(), "_context": self._everywhere}

    def __repr__(self):
        def text(column: np.ndarray) -> str:
            if (column == column[0]).all():
                return f"{column[0]:g}"
            if len(column) > 6:
                return f"{column.min():g}..{column.max():g}"
            return f"[{' '.join(f'{value:g}' for value in column)}]"

        head = f"{self.spec.id}, " if self.spec is not None else ""
        contexts = ", ".join(f"{name}={text(column)}" for name, column in self.context.items())
        return f"{type(self).__name__}({head}num_envs={self.num_envs}, {contexts})"

    def actuate(self, actions: np.ndarray) -> np.ndarray:
        """The actuators' input, float64 (B, act_dim): inversion multiplies the action, swap exchanges its two entries
        (Benad et al. 2026, benchmark appendix)."""
        return self._inversion * np.where(self._swap, actions[:, ::-1], actions)

    def reset(
        self, *, seed: int | Sequence[int | Sequence[int]] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode in every environment; returns observations (B, obs_dim) and the info.

        seed: with None the random streams continue. An int s gives environment i the stream
        `np.random.default_rng([s, i])`. A sequence of B elements, each an int or a tuple of ints, gives environment i
        the stream `np.random.default_rng(element)`; use tuples of equal length, since NumPy ignores trailing zeros.

        options: {"context": ...} sets the contexts from now on, see `context_rows`; otherwise they do not change.
        "reset_mask" must be all True.

        The info of reset and step has the contexts in the format of Gymnasium's vector environments:
        {"context": {name: (B,), "_" + name: mask}, "_context": mask}.

        Raises UserError, without side effects, for any other seed or option and for invalid contexts.
        """
        context = None
        if options is not None:
            if not isinstance(options, Mapping):
                raise UserError(f"reset options must be a dictionary such as {{'context': ...}}, not {options!r}")
            for name in options:
                if name not in RESET_OPTIONS:
                    raise unknown("reset option", str(name), RESET_OPTIONS)
            if not np.all(options.get("reset_mask", True)):
                raise UserError("all environments of a batch are reset together: a partial reset_mask is not supported")
            context = options.get("context")
        streams = self.streams if seed is None else self._make_streams(seed)
        if context is not None:
            rows = check_contexts(self.dimensions, context_rows(self.dimensions, context, self.num_envs))
            if not np.array_equal(rows, self.contexts):
                self._set_contexts(rows)
        self.streams = streams
        self.elapsed = 0
        self._reset(self.streams)
        return self._observe().astype(np.float32), self._info()

    def _make_streams(self, seed) -> list[np.random.Generator]:
        if isinstance(seed, (int, np.integer)):
            seed = [(seed, i) for i in range(self.num_envs)]
        try:
            elements: Any = [np.atleast_1d(element).tolist() for element in seed]  # pyright: ignore
            if all(type(word) is int and word >= 0 for word in sum(elements, [])) and len(elements) == self.num_envs:
                return [np.random.default_rng(element) for element in elements]
        except (TypeError, ValueError):
            pass
        raise UserError(f"seed must be a non-negative integer, or {self.num_envs} integers or tuples of them")

    def step(self, actions) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step under `actions` (B, act_dim), nominally in [-1, 1].

        Returns observations float32 (B, obs_dim), rewards float64 (B,) of the states reached, terminations and
        truncations bool (B,), and the info. Raises gymnasium.error.ResetNeeded before the first reset and after the
        last step of an episode, and gymnasium.error.InvalidAction for a wrong shape or a non-finite action.
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
        return self._observe().astype(np.float32), rewards, terminated, truncated, self._info()

    def render(self) -> tuple[np.ndarray, ...]:
        """A picture of each environment; see `picture`."""
        return tuple(self.picture(i) for i in range(self.num_envs))

    def picture(self, index: int) -> np.ndarray:
        """Environment `index` in its current state, uint8 (240, 320, 3). Raises UserError if a library is missing."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit for bit: "contexts" (B, d), "elapsed", "physics" (name -> array) and
        "streams" (B JSON-serialisable states of NumPy bit generators). Shares no memory with the batch."""
        return {
            "contexts": self.contexts.copy(),
            "elapsed": self.elapsed,
            "physics": {name: array.copy() for name, array in self._get_physics().items()},
            "streams": [stream.bit_generator.state for stream in self.streams],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`, a `state_dict()` of a batch with the same contexts; UserError for other contexts."""
        if not np.array_equal(state["contexts"], self.contexts):
            raise UserError("the state is from environments with different contexts")
        self.elapsed = state["elapsed"]
        self.streams = [np.random.default_rng() for _ in range(self.num_envs)]
        for stream, bits in zip(self.streams, state["streams"], strict=True):
            stream.bit_generator.state = bits
        self._set_physics({name: np.array(array) for name, array in state["physics"].items()})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.contexts.flags.writeable = False  # the flag is lost in a copy
        self._set_contexts(self.contexts)

    def _reset(self, streams: Sequence[np.random.Generator]) -> None:
        """Draw the initial states, that of environment i from `streams[i]` only."""
        raise NotImplementedError

    def _step(self, actions: np.ndarray) -> np.ndarray:
        """Advance with the actuators' input (B, act_dim); returns rewards float64 (B,), a new array."""
        raise NotImplementedError

    def _observe(self) -> np.ndarray:
        """The observations (B, obs_dim), float64."""
        raise NotImplementedError

    def _get_physics(self) -> dict[str, np.ndarray]:
        """The simulator's state by name."""
        raise NotImplementedError

    def _set_physics(self, physics: dict[str, np.ndarray]) -> None:
        """Restore what `_get_physics` returned; may keep references to the arrays."""
        raise NotImplementedError
