"""Zero-shot evaluation: a warm-up that fills the window, then rollouts of the mean policy on the three context sets.

`EvalSettings` describes departures from the published protocol with unchanged networks: a shorter warm-up, noise,
delay, and dynamics that no training context varies.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import numpy as np
import torch

from dmash_core.agents.amago import RecurrentAgent
from dmash_core.agents.conditioning import Conditioning
from dmash_core.agents.sac import Agent
from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.scoring import EVALUATION_STREAM
from dmash_core.benchmark.suite import make_batch
from dmash_core.errors import Diverged, Interrupted, UserError
from dmash_core.replay import History, Reading


@dataclass(frozen=True)
class EvalSettings:
    """What can be changed at evaluation, with the networks fixed; the defaults are the published protocol.

    All noise is Gaussian with the given standard deviation, at every step of warm-up and episode. The agent's history
    contains the noisy observations and the actions that it chose, before noise and delay.
    """

    warm_up: int | None = None
    """Warm-up transitions in the window when the scored episode starts, 0 to K (default K); the others are copies of
    the first observation at rest."""
    code_noise: float = 0.0
    """Noise on each environment's code (true context or z)."""
    obs_noise: float = 0.0
    """Noise on the observations."""
    action_noise: float = 0.0
    """Noise on the actions, which are then clipped to [-1, 1]."""
    delay: int = 0
    """Steps until an action takes effect; an episode starts with this many zero actions."""
    unseen: dict[str, float] = field(default_factory=dict)
    """Dynamics that the environment does not vary, such as friction 0.5 on DI; see EnvSpec.unseen."""

    def __post_init__(self):
        for item in fields(self)[:-1]:
            value = getattr(self, item.name)
            if value is not None and not 0 <= value < math.inf:
                raise UserError(f"{item.name} must be non-negative and finite, not {value}")

    def changes(self) -> str:
        """The differences from the published protocol, such as "delay 2, friction 0.5"; empty if there are none."""
        pairs = {f.name: getattr(self, f.name) for f in fields(self)[:-1] if getattr(self, f.name) != f.default}
        return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in (pairs | self.unseen).items())


PROTOCOL = EvalSettings()
NOISES = ("code_noise", "obs_noise", "action_noise")


class Rollout:
    """Steps N seeds x B environments with an agent and keeps their histories.

    Environments are in seed-major order; B is a multiple of the number of contexts G in ``contexts`` (N, G, d), each
    used by B / G consecutive environments.
    """

    def __init__(
        self,
        agent: Agent | RecurrentAgent,
        env_name: str,
        contexts: np.ndarray,
        repeats: int = 1,
        settings: EvalSettings = PROTOCOL,
    ):
        self.agent, self.settings = agent, settings
        self.n, self.batch = contexts.shape[0], contexts.shape[1] * repeats
        rows = np.repeat(contexts, repeats, axis=1).reshape(self.n * self.batch, -1)
        self.env = make_batch(env_name, rows, agent.layout.horizon, settings.unseen)
        self.contexts = torch.as_tensor(contexts, dtype=torch.float32, device=agent.device)
        self.history = History(agent.layout, self.n, self.batch, agent.device)
        self.obs: torch.Tensor  # (N, B, d_s), set by the first reset
        self.memory: torch.Tensor | None = None  # of a recurrent agent, before the current observations
        self._advanced: torch.Tensor | None = None  # the same, after them
        self.pending: list[torch.Tensor] = []  # chosen actions that have not taken effect yet
        self.env_steps = 0  # per environment, warm-up included
        window = agent.layout.window
        self.warm_up_steps = window if settings.warm_up is None else settings.warm_up
        if self.warm_up_steps > window:
            raise UserError(f"warm_up must be at most the window of {window} transitions, not {settings.warm_up}")
        if settings.code_noise and agent.method.context == "none":
            raise UserError("code_noise needs an arm with a code: this one has no context information")

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """Convert (N * B, ...) from the environment to float32 (N, B, ...) on the agent's device."""
        tensor = torch.as_tensor(array, dtype=torch.float32)
        # asynchronous: a blocking copy would wait for the update that a GPU is still running
        return tensor.to(self.agent.device, non_blocking=True).unflatten(0, (self.n, self.batch))

    def reset(self, seed: Sequence | None = None) -> None:
        """Start a new episode; ``seed`` has a tuple per environment. Without it all random streams continue."""
        if seed is not None:  # each kind of noise has its own stream per seed, whatever its size
            first = [seed[n * self.batch] for n in range(self.n)]
            self.noise = {k: [np.random.default_rng([*s, 1 + i]) for s in first] for i, k in enumerate(NOISES)}
        with self._blame():
            obs = self.env.reset(seed=seed)[0]
        self.obs = self._noisy(self.tensor(obs), "obs_noise")
        self.history.fresh = True
        self.pending = [self.obs.new_zeros(self.n, self.batch, self.agent.layout.n_act)] * self.settings.delay

    def warm_up(self, seed: Sequence | None = None) -> None:
        """Take K unscored steps of the mean policy, from a window of copies of the first observation at rest, then
        start a new episode."""
        self.reset(seed)
        self.history.start_warm_up(self.obs)
        if isinstance(self.agent, RecurrentAgent):
            self.memory = self.agent.modules["sequence"].start(self.batch)
        for _ in range(self.warm_up_steps):
            if self.step(self.mean_action())[1]:
                self.reset()
        self.reset()

    def conditioning(self) -> Conditioning:
        """The conditioning at this step, including noise on the code."""
        windows, contexts, noisy = self.history.window(), self.contexts, self.settings.code_noise > 0
        if noisy and self.agent.method.context == "true":
            contexts = self._noisy(contexts.repeat_interleave(self.batch // contexts.shape[1], dim=1), "code_noise")
        assert isinstance(self.agent, Agent)  # a recurrent one has no conditioning
        conditioning = self.agent.conditioning(windows, contexts)
        if noisy and self.agent.method.context == "inferred" and conditioning.vector is not None:
            conditioning = self.agent.condition_on(self._noisy(conditioning.vector, "code_noise"))
        return conditioning

    @torch.no_grad()
    def mean_action(self, conditioning: Conditioning | None = None) -> torch.Tensor:
        """The mean policy's actions (N, B, d_a), by default with the conditioning of this step."""
        if conditioning is None and not self.settings.code_noise:
            return self.act()
        assert isinstance(self.agent, Agent)
        return torch.tanh(self.agent.policy(self.obs, conditioning or self.conditioning())[0])

    def act(self, noise: torch.Tensor | None = None, reading: Reading | None = None) -> torch.Tensor:
        """The mean policy's actions (N, B, d_a), or samples given standard-normal ``noise``; changes nothing.

        The encoder is in evaluation mode unless a ``reading`` of the windows (N, B, K) is given.
        """
        if isinstance(self.agent, RecurrentAgent):
            assert self.memory is not None  # warm_up comes first
            action, self._advanced = self.agent.act(self.obs, self.history, self.memory, noise)
            return action
        positions, keep, code_noise = reading or (None, None, None)
        return self.agent.act(self.obs, self.history.window(positions), self.contexts, noise, keep, code_noise)

    def step(self, action: torch.Tensor, meanwhile: Callable[[], None] = lambda: None) -> tuple[np.ndarray, bool]:
        """Apply actions (N, B, d_a); returns rewards, float64 (N, B), and whether the episodes ended.

        ``meanwhile`` is called once the actions have left the device; what it launches there runs in parallel with
        the environments.
        """
        self.pending.append(action)
        sent = self._noisy(self.pending.pop(0), "action_noise").clamp(-1.0, 1.0).flatten(0, 1).cpu().numpy()
        meanwhile()
        with self._blame():
            obs, reward, _, truncated, _ = self.env.step(sent)
        obs = self._noisy(self.tensor(obs), "obs_noise")
        self.history.append(self.obs, action, obs, self.tensor(reward))
        self.memory = self._advanced
        self.obs = obs
        self.env_steps += 1
        return reward.reshape(self.n, self.batch), bool(truncated[0])

    def state(self) -> tuple[dict[str, torch.Tensor], dict]:
        """Everything needed to resume a rollout without noise and delay: tensors by name, and JSON values."""
        env = self.env.state_dict()
        tensors, values = self.history.state()
        tensors |= {"obs": self.obs} | {f"env.{k}": torch.from_numpy(v) for k, v in env["physics"].items()}
        if self.memory is not None:
            tensors["memory"] = self.memory
        return tensors, values | {k: env[k] for k in ("elapsed", "streams")} | {"env_steps": self.env_steps}

    def load_state(self, tensors: dict[str, torch.Tensor], values: dict) -> None:
        """Restore what ``state`` returned; the contexts must be the same."""
        self.history.load_state(tensors, values)
        self.obs, self.env_steps = tensors["obs"].to(self.agent.device), values["env_steps"]
        if "memory" in tensors:
            self.memory = tensors["memory"].to(self.agent.device)
        physics = {k.removeprefix("env."): v.numpy() for k, v in tensors.items() if k.startswith("env.")}
        contexts = self.env.state_dict()["contexts"]
        parts = {"contexts": contexts, "physics": physics} | {k: values[k] for k in ("elapsed", "streams")}
        self.env.load_state_dict(parts)

    @contextmanager
    def _blame(self):
        """Set the affected seeds of a Diverged raised by the environments."""
        try:
            yield
        except Diverged as error:
            error.seeds = sorted({self.agent.seeds[i // self.batch] for i in error.environments})
            raise

    def _noisy(self, values: torch.Tensor, kind: str) -> torch.Tensor:
        sigma = getattr(self.settings, kind)
        if not sigma:
            return values
        draws = np.stack([g.standard_normal(values.shape[1:], dtype=np.float32) for g in self.noise[kind]])
        return values + sigma * torch.from_numpy(draws).to(values.device)

    def episode(self, seed: Sequence, should_stop: Callable[[], bool] = lambda: False) -> np.ndarray:
        """Undiscounted returns, float64 (N, B), of one episode of the mean policy after the warm-up.

        Raises Interrupted as soon as ``should_stop`` returns True.
        """
        self.warm_up(seed)
        total, ended = np.zeros((self.n, self.batch)), False
        while not ended:
            if should_stop():
                raise Interrupted
            reward, ended = self.step(self.mean_action())
            total += reward
        return total


def record_rollout(
    agent: Agent | RecurrentAgent, env_name: str, contexts: np.ndarray, seed: int = 0, settings: EvalSettings = PROTOCOL
) -> dict[str, np.ndarray]:
    """One episode of the mean policy in each of B contexts (B, d), after the warm-up, by an agent of one seed.

    Returns time-major arrays: ``obs`` (T, B, d_s) before each step, ``action`` (T, B, d_a), ``reward`` (T, B) and, if
    the arm infers an embedding, ``z`` (T, B, 8).
    """
    running = Rollout(agent, env_name, contexts[None], settings=settings)
    running.warm_up([(seed, EVALUATION_STREAM, i) for i in range(running.batch)])
    seen: dict[str, list] = {"obs": [], "action": [], "reward": []}
    ended = False
    while not ended:
        conditioning = running.conditioning() if agent.method.context == "inferred" else None
        action = running.mean_action(conditioning)
        seen["obs"].append(running.obs[0].numpy())
        seen["action"].append(action[0].numpy())
        if conditioning is not None and conditioning.vector is not None:
            seen.setdefault("z", []).append(conditioning.vector[0].numpy())
        reward, ended = running.step(action)
        seen["reward"].append(reward[0])
    return {name: np.stack(values) for name, values in seen.items()}


class Evaluator:
    """Returns on train, eval-in and eval-out, with all sets, contexts, rollouts and seeds in one batch."""

    def __init__(
        self,
        agent: Agent | RecurrentAgent,
        env_name: str,
        contexts: dict[str, np.ndarray],
        seeds: Sequence[int],
        rollouts: int,
        settings: EvalSettings = PROTOCOL,
    ):
        """``contexts[split]`` is (N, C, d); every split has the same number C of contexts."""
        self.seeds, self.rollouts = list(seeds), rollouts
        rows = np.concatenate([contexts[s] for s in SETS], axis=1)
        self.rollout = Rollout(agent, env_name, rows, rollouts, settings)

    def __call__(self, step: int, should_stop: Callable[[], bool] = lambda: False) -> np.ndarray:
        """Undiscounted returns, float64 (N, 3, C, rollouts), in the order of SETS.

        Initial states and all noise depend only on the run's seed and ``step``, so evaluation does not affect training.
        Raises Interrupted as soon as ``should_stop`` returns True.
        """
        seeds = [(s, EVALUATION_STREAM, step, i) for s in self.seeds for i in range(self.rollout.batch)]
        return self.rollout.episode(seeds, should_stop).reshape(self.rollout.n, len(SETS), -1, self.rollouts)
