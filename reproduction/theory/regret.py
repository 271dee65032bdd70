"""A.8: can one memoryless policy that ignores the context serve all contexts? Computed for the toy environments.

Policies are a = clip(Theta phi(s), -1, 1) with Theta (2, 4); phi is the state (p, v) of the double integrators, and (x,
sign x, |x|, 1) on ODE. The oracle of a context is the best such policy for that context alone; the compromise is the
policy that maximises the worst return over contexts, as a share of the oracle's. Both are found by the cross-entropy
method.
"""

from collections.abc import Callable

import numpy as np

from dmash_core.benchmark.double_integrator import DT
from dmash_core.benchmark.suite import context_sets, make_batch


def returns(env: str, theta: np.ndarray, contexts: np.ndarray, starts: int, seed: int) -> np.ndarray:
    """Mean return (P, C) over `starts` episodes of the policies theta (P, C or 1, 2, 4) in contexts (C, d). All
    policies share the initial states of a context."""
    p, c = len(theta), len(contexts)
    batch = make_batch(env, np.tile(np.repeat(contexts, starts, axis=0), (p, 1)))
    theta = np.broadcast_to(theta, (p, c, 2, 4)).repeat(starts, axis=1).reshape(-1, 2, 4)
    obs, _ = batch.reset(seed=[(seed, i % (c * starts)) for i in range(p * c * starts)])
    total, ended = np.zeros(p * c * starts), False
    while not ended:
        phi = obs if obs.shape[1] == 4 else np.hstack([obs, np.sign(obs), np.abs(obs), np.ones_like(obs)])
        action = np.clip(np.einsum("bij,bj->bi", theta, phi), -1, 1)
        obs, reward, _, truncated, _ = batch.step(action)
        total, ended = total + reward, truncated[0]
    return total.reshape(p, c, starts).mean(axis=2)


def first_step_losses(force: np.ndarray, wanted: np.ndarray) -> list[float]:
    """|acceleration - wanted|^2 after one step of DI with mass 1 from rest, in the contexts S = 1 and S = -1 under the
    same force (2,): horizon 1 of A.8, where no policy has any information on S yet (inversion_price)."""
    batch = make_batch("DI", np.array([[1.0, 1.0], [1.0, -1.0]]))
    batch.reset(seed=0)
    batch.step(np.tile(force, (2, 1)))
    acceleration = batch.state_dict()["physics"]["v"] / DT
    return np.square(acceleration - wanted).sum(axis=1).tolist()


def search(score: Callable[[np.ndarray], np.ndarray], groups: int, seed: int, rounds: int = 20) -> np.ndarray:
    """Theta (groups, 2, 4) with the highest score per group; score maps (P, groups, 2, 4) to (P, groups)."""
    rng, population, elite = np.random.default_rng(seed), 64, 8
    mean, std = np.zeros((groups, 2, 4)), np.full((groups, 2, 4), 5.0)
    best, top = mean, np.full(groups, -np.inf)
    for _ in range(rounds):
        theta = mean + std * rng.standard_normal((population, groups, 2, 4))
        values = score(theta)
        order = np.argsort(-values, axis=0)
        chosen = np.take_along_axis(theta, order[:elite, :, None, None], axis=0)
        better = np.take_along_axis(values, order[:1], axis=0)[0] > top
        best, top = np.where(better[:, None, None], chosen[0], best), np.maximum(top, values.max(axis=0))
        mean, std = chosen.mean(axis=0), chosen.std(axis=0) + 0.05
    return best


def worst_case_regret(env: str, contexts: np.ndarray | None = None, seed: int = 0, starts: int = 4) -> float:
    """The largest share of the oracle's return that the compromise loses in any of the contexts (C, d), by default the
    training set, on fresh initial states. An upper bound on the loss of the best memoryless context-unaware policy."""
    contexts = context_sets(env)["train"] if contexts is None else contexts
    oracle = search(lambda theta: returns(env, theta, contexts, starts, seed), len(contexts), seed)
    best = returns(env, oracle[None], contexts, starts, seed)[0]

    def compromise(theta: np.ndarray) -> np.ndarray:
        share = returns(env, theta, contexts, starts, seed) / np.maximum(best, 1e-9)
        return (share.min(axis=1) + 0.1 * share.mean(axis=1))[:, None]  # the mean guides the search if the worst is 0

    one = search(compromise, 1, seed + 1)
    ours, theirs = (returns(env, t, contexts, 20, seed + 1)[0] for t in (one[None], oracle[None]))
    return float(1 - (ours / np.maximum(theirs, 1e-9)).min())
