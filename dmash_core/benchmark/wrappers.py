"""Wrappers for agents that observe the context, train in many contexts, or infer the context from transitions.

`ContextObservation`, `ContextSampler` and `TransitionWindow` wrap an environment from `gymnasium.make`; the wrappers
prefixed with `Vector` do the same for a batch from `gymnasium.make_vec`. `ContextSampler` must be innermost, since the
others read the context that it sets.
"""

# mixins: the attributes that they use are in the Gymnasium class next to them
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from dmash_core.benchmark.contexts import SETS, ContextSpace, build_context_sets, check_contexts, context_rows
from dmash_core.benchmark.suite import get_spec
from dmash_core.errors import UserError, unknown

SELECTORS = ("round-robin", "random", "uniform")


def _context_space(wrapper, env) -> ContextSpace:
    """The context space of `env`; UserError if the wrapper does not support this environment."""
    kind = type(wrapper).__name__
    if isinstance(env, VectorEnv) and not isinstance(wrapper, VectorEnv):
        raise UserError(f"{kind} wraps a single environment: use Vector{kind} for a batch")
    if isinstance(wrapper, VectorEnv) and not isinstance(env, VectorEnv):
        raise UserError(f"{kind} wraps a batch: use {kind.removeprefix('Vector')} for a single environment")
    if not isinstance(space := getattr(env.unwrapped, "context_space", None), ContextSpace):
        raise UserError(f"{env} has no contexts: {kind} needs an environment of the benchmark (AIB/...)")
    return space


def _single(env) -> gymnasium.Space:
    return env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space


class _Observed:
    """The base of the observation wrappers, which define `observation` and its space."""

    def _set_space(self, space: gymnasium.Space) -> None:
        if isinstance(self, VectorEnv):
            self.single_observation_space, self.observation_space = space, batch_space(space, self.num_envs)
        else:
            self.observation_space = space

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed, options=options)
        self._started(observation, info, seed)
        return self.observation(observation, info), info

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._stepped(action, observation)
        return self.observation(observation, info), reward, terminated, truncated, info

    def _started(self, observation, info: dict[str, Any], seed) -> None:
        pass

    def _stepped(self, action, observation) -> None:
        pass


class _ContextObserved(_Observed):
    def __init__(self, env, features: Sequence[str] | None = None, hidden: Sequence[str] = (), as_dict: bool = False):
        space, inner = _context_space(self, env), _single(env)
        RecordConstructorArgs.__init__(self, features=features, hidden=hidden, as_dict=as_dict)
        super().__init__(env)
        features = space.names if features is None else tuple(features)
        for name in (*features, *hidden):
            if name not in space.names:
                raise unknown("context", str(name), space.names)
        self._features = [name for name in features if name not in hidden]
        if not self._features:
            raise UserError("no context feature to observe: remove this wrapper or show at least one")
        known = {dimension.name: dimension.physical for dimension in space.dimensions}
        low, high = np.array([known[name] for name in self._features], dtype=np.float32).T
        self._dict = as_dict or isinstance(inner, Dict)
        if self._dict:
            parts = inner.spaces if isinstance(inner, Dict) else {"obs": inner}
            self._set_space(Dict({**parts, "context": Box(low, high, dtype=np.float32)}, sort_keys=False))
        else:
            ends = np.concatenate([inner.low, low]), np.concatenate([inner.high, high])
            self._set_space(Box(*ends, dtype=np.float32))

    def observation(self, observation, info: dict[str, Any]):
        """The observation with the context from `info`."""
        columns = [info["context"][name] for name in self._features]
        context = np.stack(columns, axis=-1).astype(np.float32)
        if not self._dict:
            return np.concatenate([observation, context], axis=-1)
        parts = observation if isinstance(observation, Mapping) else {"obs": observation}
        return {**parts, "context": context}


class ContextObservation(_ContextObserved, gymnasium.Wrapper, RecordConstructorArgs):
    """Add the context to the observation: appended, in the order of `features` (default: of `context_space`), or in a
    dictionary.

    features: the context dimensions to show, all by default; hidden: those to hide. as_dict returns {"obs":
    observation, "context": float32 (n,)}, the keys of CARL's environments (Benjamins et al. 2023); an observation that
    is already a dictionary gets the key "context". Hidden dimensions stay in the info. UserError for unknown names.
    """


class VectorContextObservation(_ContextObserved, VectorWrapper, RecordConstructorArgs):
    """`ContextObservation` for a batch."""


class _Sampled:
    def __init__(
        self,
        env,
        context_set: str | np.ndarray | Sequence[Mapping[str, float]] = "train",
        selector: str | Callable[[np.random.Generator], Any] = "round-robin",
        set_seed: int = 0,
    ):
        self._dimensions = _context_space(self, env).dimensions
        RecordConstructorArgs.__init__(self, context_set=context_set, selector=selector, set_seed=set_seed)
        super().__init__(env)
        self._selector, self._draws = selector, np.random.default_rng()
        if not callable(selector) and selector not in SELECTORS:
            raise unknown("selector", str(selector), [*SELECTORS, "a function of a random generator"])
        if isinstance(context_set, str):
            if context_set not in SETS:
                raise unknown("context set", context_set, SETS)
            if selector == "uniform" and context_set != "train":
                raise UserError(f"the selector 'uniform' draws from the training range, not from {context_set!r}")
            context_set = build_context_sets(self._dimensions, set_seed)[context_set]
        elif selector == "uniform":
            raise UserError("the selector 'uniform' draws from the training range, not from given contexts")
        if isinstance(context_set, Sequence) and all(isinstance(item, Mapping) for item in context_set):
            context_set = context_rows(self._dimensions, context_set, len(context_set))
        self.contexts = check_contexts(self._dimensions, context_set)
        self._next = 0

    def _select(self, count: int) -> np.ndarray:
        """The contexts (count, d) of the episodes about to start."""
        if callable(self._selector):
            rows = [context_rows(self._dimensions, self._selector(self._draws), 1) for _ in range(count)]
            return np.concatenate(rows)
        if self._selector == "uniform":
            ends = [d.values or d.train for d in self._dimensions]
            columns = [
                self._draws.choice(end, count) if d.values else self._draws.uniform(*end, count)
                for d, end in zip(self._dimensions, ends, strict=True)
            ]
            return np.stack(columns, axis=1)
        if self._selector == "random":
            return self.contexts[self._draws.integers(len(self.contexts), size=count)]
        rows = self.contexts[(self._next + np.arange(count)) % len(self.contexts)]
        self._next += count
        return rows

    def reset(self, *, seed=None, options=None):
        if isinstance(seed, int | np.integer) and seed >= 0:
            # a separate stream, so that this wrapper does not change the initial states
            self._draws, self._next = np.random.default_rng([int(seed), 1]), int(seed)
        elif seed is not None and not isinstance(seed, int | np.integer):
            raise UserError(f"with a context sampler, seed must be a single non-negative integer, not {seed!r}")
        if not options or (isinstance(options, Mapping) and options.get("context") is None):
            count = self.num_envs if isinstance(self, VectorEnv) else 1
            options = {**(options or {}), "context": self._select(count)}
        return self.env.reset(seed=seed, options=options)


class ContextSampler(_Sampled, gymnasium.Wrapper, RecordConstructorArgs):
    """Choose a context for each episode at reset; a context in the reset options takes precedence.

    context_set: "train", "eval-in" or "eval-out", an array (n, d), or a list of {name: number}. selector:
    "round-robin", one after the other; "random", any context of the set; "uniform", uniform over the training range and
    the discrete values, with context_set "train"; or a function from a numpy.random.Generator to a context. set_seed:
    the run's seed, which determines the sets of ODE-k with k > 2.

    A seeded reset also seeds the choice: round robin then starts at context seed mod n, so environments with
    consecutive seeds, as in Gymnasium's vector environments, have different contexts. Raises UserError for an unknown
    set or selector and for invalid contexts.
    """


class VectorContextSampler(_Sampled, VectorWrapper, RecordConstructorArgs):
    """`ContextSampler` for a batch: each environment gets its own context; round robin deals them out in order."""


class _Windowed(_Observed):
    def __init__(self, env, length: int | None = None):
        self._names = _context_space(self, env).names
        RecordConstructorArgs.__init__(self, length=length)
        super().__init__(env)
        inner, spec = _single(self.env), self.env.unwrapped.spec
        if not isinstance(inner, Box):
            raise UserError(
                "TransitionWindow needs array observations: apply it before any wrapper that returns a dict"
            )
        if length is None:
            if spec is None:
                raise UserError("the window length of this environment is unknown: pass length=K")
            length = get_spec(spec.kwargs["environment"]).window
        if length < 1:
            raise UserError(f"length must be at least 1, not {length}")
        actions = self.env.single_action_space if isinstance(self.env, VectorEnv) else self.env.action_space
        assert inner.shape and actions.shape
        shape = (length, 2 * inner.shape[0] + actions.shape[0])
        self._length, self._n_act = length, actions.shape[0]
        self._window: Any = None  # (..., K, d) float32, set by the first reset
        self._observed = self._context = self._window
        self._set_space(Dict({"obs": inner, "window": Box(-np.inf, np.inf, shape, np.float32)}, sort_keys=False))

    def _started(self, observation, info, seed):
        context = np.stack([info["context"][name] for name in self._names], axis=-1)
        action = np.zeros((*observation.shape[:-1], self._n_act))
        still = np.concatenate([observation, action, np.zeros_like(observation)], axis=-1)
        still = np.repeat(still[..., None, :], self._length, axis=-2).astype(np.float32)
        if seed is None and self._window is not None:
            same = (context == self._context).all(axis=-1)[..., None, None]
            still = np.where(same, self._window, still)
        self._window, self._observed, self._context = still, observation, context

    def _stepped(self, action, observation):
        action = np.asarray(action, dtype=np.float32)
        row = np.concatenate([self._observed, action, observation - self._observed], axis=-1)
        self._window = np.concatenate([self._window[..., 1:, :], row[..., None, :]], axis=-2)
        self._observed = observation

    def observation(self, observation, info: dict[str, Any]):
        """The observation and the window."""
        return {"obs": observation, "window": self._window.copy()}


class TransitionWindow(_Windowed, gymnasium.Wrapper, RecordConstructorArgs):
    """Add the last K transitions to the observation, as DMA's encoder reads them (Benad et al. 2026, section on DMA):
    {"obs": (d_s,), "window": float32 (K, 2 d_s + d_a)} with rows (s, a, s' - s) in raw units, latest last.

    length: K, by default the benchmark's for this environment. As in the paper, the window continues across a reset if
    the context stays the same; after a seeded reset or a new context it is K copies of (first observation, 0, 0).
    """


class VectorTransitionWindow(_Windowed, VectorWrapper, RecordConstructorArgs):
    """`TransitionWindow` for a batch: {"obs": (B, d_s), "window": (B, K, 2 d_s + d_a)}."""
