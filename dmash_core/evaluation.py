"""Zero-shot evaluation: the warm-up of the window, and rollouts of the mean policy over the three context sets."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from dmash_core.agent import Agent
from dmash_core.benchmark.suite import make_batch
from dmash_core.errors import Interrupted
from dmash_core.replay import History
from dmash_core.runs import SPLITS

EVALUATION_STREAM = 2  # of a run's random streams (0: initialisation, 1: training environments, 3: sampling)


class Driver:
    """Steps a batch of environments with an agent and keeps the histories: N seeds x B environments.

    Environments lie in seed-major order; B is a multiple of the number of contexts G in ``contexts`` (N, G, d), each
    of which serves B / G consecutive environments.
    """

    def __init__(self, agent: Agent, env_name: str, contexts: np.ndarray, repeats: int = 1):
        self.agent = agent
        self.n, self.batch = contexts.shape[0], contexts.shape[1] * repeats
        rows = np.repeat(contexts, repeats, axis=1).reshape(self.n * self.batch, -1)
        self.env = make_batch(env_name, rows, agent.layout.horizon)
        self.contexts = torch.as_tensor(contexts, dtype=torch.float32, device=agent.device)
        self.history = History(agent.layout, self.n, self.batch, agent.device)
        self.obs = None
        self.memory: torch.Tensor | None = None  # of a recurrent agent, before the present observations
        self._advanced: torch.Tensor | None = None  # and after them
        self.env_steps = 0  # of each environment, warm-up included

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """(N * B, ...) from the environment to (N, B, ...) on the agent's device, float32."""
        tensor = torch.as_tensor(array, dtype=torch.float32)
        # queued: a plain copy would wait for the update that a GPU is still at
        return tensor.to(self.agent.device, non_blocking=True).unflatten(0, (self.n, self.batch))

    def reset(self, seed: Sequence | None = None) -> None:
        self.obs = self.tensor(self.env.reset(seed=seed)[0])

    def warm_up(self, seed: Sequence | None = None) -> None:
        """Reset, K steps of the mean policy from an empty window, then a new episode; nothing of it is scored."""
        self.reset(seed)
        self.history.start_warm_up()
        if self.agent.method.recurrence != "none":
            self.memory = self.agent.modules["sequence"].start(self.batch)
        for _ in range(self.agent.layout.window):
            if self.step(self.mean_action())[1]:
                self.reset()
        self.reset()

    def mean_action(self) -> torch.Tensor:
        return self.act()

    def act(self, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The mean policy's actions (N, B, d_a), or samples with ``noise`` standard normal; changes nothing."""
        if self.agent.method.recurrence == "none":
            return self.agent.act(self.obs, self.history.window(), self.contexts, noise)
        action, self._advanced = self.agent.act(self.obs, self.history, self.memory, noise)
        return action

    def step(self, action: torch.Tensor, meanwhile: Callable[[], None] = lambda: None) -> tuple[np.ndarray, bool]:
        """Apply actions (N, B, d_a); returns the rewards float64 (N, B) and whether the episodes ended.

        ``meanwhile`` is called once the actions have left the device: what it launches there runs beside the
        environments.
        """
        actions = action.flatten(0, 1).cpu().numpy()
        meanwhile()
        obs, reward, _, truncated, _ = self.env.step(actions)
        obs = self.tensor(obs)
        self.history.append(self.obs, action, obs, self.tensor(reward))
        self.memory = self._advanced
        self.obs = obs
        self.env_steps += 1
        return reward.reshape(self.n, self.batch), bool(truncated[0])


def rollout(agent: Agent, env_name: str, contexts: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """One episode of the mean policy in each of B contexts (B, d), after the warm-up, by an agent of one seed.

    Returns time-major arrays: ``obs`` (T, B, d_s) before each step, ``action`` (T, B, d_a), ``reward`` (T, B); and
    where the arm infers one the embedding ``z`` (T, B, 8).
    """
    driver = Driver(agent, env_name, contexts[None])
    driver.warm_up([(seed, EVALUATION_STREAM, i) for i in range(driver.batch)])
    seen: dict[str, list] = {"obs": [], "action": [], "reward": []}
    ended = False
    while not ended:
        action = driver.mean_action()
        seen["obs"].append(driver.obs[0].numpy())
        seen["action"].append(action[0].numpy())
        if agent.method.context == "inferred":
            code = agent.code(driver.history.window(), driver.contexts)
            seen.setdefault("z", []).append(code.vector[0].numpy())
        reward, ended = driver.step(action)
        seen["reward"].append(reward[0])
    return {name: np.stack(values) for name, values in seen.items()}


class Evaluator:
    """Returns on the sets train, eval-in and eval-out: all contexts, sets and rollouts of all seeds in one batch."""

    def __init__(
        self, agent: Agent, env_name: str, contexts: dict[str, np.ndarray], seeds: Sequence[int], rollouts: int
    ):
        """``contexts[split]`` is (N, C, d); every split has the same number C of contexts."""
        self.seeds, self.rollouts = list(seeds), rollouts
        self.driver = Driver(agent, env_name, np.concatenate([contexts[s] for s in SPLITS], axis=1), rollouts)

    def __call__(self, step: int, should_stop: Callable[[], bool] = lambda: False) -> np.ndarray:
        """Undiscounted returns float64 (N, 3, C, rollouts), in the order of SPLITS.

        The initial states depend on the run's seed and on ``step`` alone, so an evaluation leaves training as it was.
        Raises Interrupted as soon as ``should_stop`` says so.
        """
        driver = self.driver
        driver.warm_up([(s, EVALUATION_STREAM, step, i) for s in self.seeds for i in range(driver.batch)])
        total, ended = np.zeros((driver.n, driver.batch)), False
        while not ended:
            if should_stop():
                raise Interrupted
            reward, ended = driver.step(driver.mean_action())
            total += reward
        return total.reshape(driver.n, len(SPLITS), -1, self.rollouts)
