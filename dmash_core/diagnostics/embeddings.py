"""Measures of the embeddings: Informativeness, Variability and its terms (A.15), Representation-Overlap (F3, F4), and
the shadow gradient that the actor loss would send to them (section 6.5).

The measures use W windows per context of a set, under the mean policy. In evaluation mode the encoder reads evenly
spaced steps, as when acting; in training mode it reads a random subset with masks (and a Gaussian code is sampled), as
in the updates and in the paper's release.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from scipy.special import digamma
from torch import Tensor

from dmash_core.agents.learner import stream
from dmash_core.agents.sac import Agent
from dmash_core.benchmark.contexts import SETS
from dmash_core.benchmark.suite import get_spec
from dmash_core.diagnostics.variance import Law
from dmash_core.evaluation import EVALUATION_STREAM, Rollout
from dmash_core.replay import Batch, Replay, draw_reading

WINDOWS = 256  # distinct windows per context, fewer if rollouts x T is smaller
DIAGNOSTICS_STREAM = 4  # index among a run's random streams (see benchmark/scoring.py)
MODES = {"": "evaluation", "_train_mode": "training"}  # metric name suffix: encoder mode

F4_CONTEXTS = np.array([(mass, inversion) for inversion in (1.0, -1.0) for mass in (0.8, 1.0, 1.3)])  # in DI

# ------------------------------------------------------------------ measures


def informativeness(z: np.ndarray, c: np.ndarray, k: int = 3, *, release: bool = False) -> float:
    """I(z; c) in nats from samples z (n, d_z) and c (n, d_c): the first estimator of Kraskov et al. (2004).

    In raw units. ``release`` selects the estimator of the paper's release, which is biased low: it divides each column
    of z and c by its standard deviation, uses Euclidean distances in the joint space and both marginals instead of
    Kraskov's maximum norm, and clips negative values to 0.

    Contexts are few points with many samples each, so the k-th neighbour usually has the same context, and the marginal
    count of c is that context's size. With C contexts of W samples each, the estimate is at most about ln C (more by
    (1 - 1/C) / 2W), reached when no z of another context is as near. Codes that coincide have k-th distance 0, so z
    gets noise of 1e-10 of its range, far below float32's resolution of a code: a constant code then gives 0, and one
    point per context gives ln C. Codes are shifted to 0 first, where float64 can represent such noise.
    """
    z, c = (np.asarray(x, dtype=np.float64) for x in (z, c))
    z = z - z.min(axis=0)  # not the mean: rounding would leave a nonzero constant
    if release:
        z, c = (x / np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 1.0) for x in (z, c))
    z = z + (z.max() or 1.0) * 1e-10 * np.random.default_rng(0).standard_normal(z.shape)
    norm, joint = 2 if release else np.inf, np.hstack([z, c])
    distance = np.asarray(KDTree(joint).query(joint, k + 1, p=norm)[0])[:, k]  # a point is its own first neighbour
    radius = np.nextafter(distance, 0)  # strictly closer than the k-th
    counts = [KDTree(x).query_ball_point(x, radius, p=norm, return_length=True) for x in (z, c)]
    value = float(digamma(k) + digamma(len(z)) - sum(digamma(count).mean() for count in counts))
    return max(0.0, value) if release else value


def decodability(z: np.ndarray, c: np.ndarray) -> np.ndarray:
    """R^2 (d_c,), on held-out contexts, of a linear map from z (C, W, d_z) to each dimension of c (C, d_c).

    Least squares with an intercept, fitted C times with one context held out. It measures how linearly the code
    represents the context; below 0 the map is worse than predicting the mean context.
    """
    n, windows, _ = z.shape
    x, y = np.concatenate([z, np.ones((n, windows, 1))], axis=2), c[:, None].repeat(windows, axis=1)
    error = np.empty_like(y)
    for i in range(n):
        rest = np.arange(n) != i
        fit = np.linalg.lstsq(x[rest].reshape(-1, x.shape[2]), y[rest].reshape(-1, y.shape[2]), rcond=None)[0]
        error[i] = y[i] - x[i] @ fit
    return 1 - np.square(error).mean(axis=(0, 1)) / c.var(axis=0)


def cosines(z: np.ndarray) -> np.ndarray:
    """Cosine similarities (C, C) of the mean codes of contexts, from z (C, W, d)."""
    means = z.mean(axis=1)
    unit = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T


def by_mode(cosine: np.ndarray) -> dict[str, np.ndarray]:
    """The entries of `di_cosines` for pairs of different contexts: "within" a mode (6) and "across" modes (9)."""
    first, second = np.triu_indices(len(F4_CONTEXTS), 1)
    same = F4_CONTEXTS[first, 1] == F4_CONTEXTS[second, 1]
    return {"within": cosine[first, second][same], "across": cosine[first, second][~same]}


def modes(env: str, contexts: np.ndarray) -> np.ndarray:
    """S of each context (C, d): -1 or +1 by its discrete dimension (inversion or swap), all +1 without one."""
    discrete = [i for i, dimension in enumerate(get_spec(env).dimensions) if dimension.values is not None]
    above = contexts[:, discrete] > contexts[:, discrete].mean(axis=0)
    return np.where(above.all(axis=1), 1.0, -1.0)


def measures(z: np.ndarray, contexts: np.ndarray, mode: np.ndarray) -> dict[str, float]:
    """All scalar measures of codes z (C, W, d_z) of contexts (C, d_c) with modes S (C,).

    ``variability`` = tr Cov(Z) / d_z is the sum of its three terms (A.15); if all contexts have the same mode,
    ``within_mode_spread`` is the entire spread between contexts. ``overlap`` is the mean cosine over pairs of different
    contexts; ``overlap_release`` also includes each context paired with itself.
    """
    n, windows, d_z = z.shape
    samples, cosine = z.reshape(-1, d_z), cosines(z)
    law = Law.of_samples(samples, np.arange(n).repeat(windows), mode, np.zeros(n))
    noise, spread, separation = law.terms().values()
    known = contexts.repeat(windows, axis=0)
    return {
        "informativeness": informativeness(samples, known),
        "informativeness_release": informativeness(samples, known, release=True),
        "variability": law.variability() / d_z,
        "within_context_noise": noise / d_z,
        "within_mode_spread": spread / d_z,
        "between_mode_separation": separation / d_z,
        "overlap": float((cosine.sum() - np.trace(cosine)) / (n * (n - 1))),
        "overlap_release": float(cosine.mean()),
    }


# ------------------------------------------------------------------ codes


@torch.no_grad()
def codes(rollout: Rollout, seeds: Sequence[int], step: int = 0, windows: int = WINDOWS) -> dict[str, Tensor]:
    """Codes (N, C, W, d_z) from the episodes that ``rollout`` has just finished, by the keys of MODES.

    They encode the windows on which the agent acted at W = min(windows, rollouts x T) distinct pairs (rollout, time)
    per context, whose draw depends only on the seed and ``step``.
    """
    assert isinstance(rollout.agent, Agent)
    agent, layout, rows = rollout.agent, rollout.agent.layout, rollout.history.rows
    (n, c), positions = rollout.contexts.shape[:2], rollout.history.positions
    pairs = rollout.batch // c * layout.horizon
    windows = min(windows, pairs)
    draws = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(stream(seed, DIAGNOSTICS_STREAM, step))
        pair = torch.rand(c, pairs, generator=generator).topk(windows).indices
        draws.append((pair, *(t for t in draw_reading([generator], (c, windows), layout, agent.method))))
    pairs, subsets, keeps, noises = zip(*draws, strict=True)
    pair = torch.stack(pairs).to(rows.device)
    subset, keep = (torch.cat(d).to(rows.device) for d in (subsets, keeps))
    noise = None if noises[0] is None else torch.cat(noises).to(rows.device)
    # histories are ordered by seed, context and rollout; K rows precede the warm-up
    history = torch.arange(n * c, device=rows.device).view(n, c, 1) * (rollout.batch // c) + pair // layout.horizon
    first = history * rows.shape[2] + rollout.warm_up_steps + pair % layout.horizon
    flat, out = rows.view(-1, layout.row), {suffix: [] for suffix in MODES}
    for i in range(c):  # one context at a time, to save memory
        acting, training = (layout.read(flat, first[:, i], chosen) for chosen in (positions, subset[:, i]))
        out[""].append(agent.modules["encoder"](acting))
        read = (training, keep[:, i], None if noise is None else noise[:, i])
        nothing: Any = [None] * 6
        batch = Batch(*nothing, *(t if t is None else t.unsqueeze(1) for t in read))
        out["_train_mode"].append(agent.embed(batch, slice(0, 1))[0])
    return {suffix: torch.stack(z, dim=1) for suffix, z in out.items()}


def diagnose(rollout: Rollout, env: str, seeds: Sequence[int], step: int) -> dict[str, list[float]]:
    """The measures of each set after an evaluation, as {"metric@split": one value per seed}.

    ``rollout`` has the contexts of all SETS, one set after the other; ``embedding_windows`` is W.
    """

    def by_set(tensor: Tensor) -> list[np.ndarray]:
        return np.split(tensor.cpu().double().numpy(), len(SETS), axis=1)

    logs: dict[str, list[float]] = {}
    for suffix, z in codes(rollout, seeds, step).items():
        logs["embedding_windows"] = [float(z.shape[2])] * len(seeds)
        for split, contexts, own in zip(SETS, by_set(rollout.contexts), by_set(z), strict=True):
            for c, z_c in zip(contexts, own, strict=True):  # per seed
                for name, value in measures(z_c, c, modes(env, c)).items():
                    logs.setdefault(f"{name}{suffix}@{split}", []).append(value)
    return logs


def rollout_codes(
    agent: Agent, env: str, contexts: np.ndarray, seed: int = 0, rollouts: int = 10, windows: int = WINDOWS
) -> dict[str, np.ndarray]:
    """Codes (C, W, d_z) of a trained agent with one seed in ``contexts`` (C, d), by the keys of MODES.

    Runs ``rollouts`` episodes of the mean policy in each context, after the warm-up.
    """
    rollout = Rollout(agent, env, contexts[None], rollouts)
    rollout.episode([(seed, EVALUATION_STREAM, i) for i in range(rollout.batch)])
    return {suffix: z[0].double().numpy() for suffix, z in codes(rollout, [seed], 0, windows).items()}


def di_cosines(agent: Agent, seed: int = 0) -> dict[str, np.ndarray]:
    """Figure 4: the cosine matrices (6, 6) of a trained DI agent in F4_CONTEXTS, by the keys of MODES."""
    return {suffix: cosines(z) for suffix, z in rollout_codes(agent, "DI", F4_CONTEXTS, seed).items()}


def shadow_gradients(agent: Agent, replay: Replay, per_context: int, seeds: Sequence[int], step: int) -> dict:
    """Frobenius norm of the actor loss's gradient with respect to z (N, B, 8), by path: {"shadow_<path>": N values}.

    The loss is the mean over a batch that depends only on the seed and ``step``. Its gradient is taken through the
    actor, the critics and both, whatever the arm detaches, and is never applied. The release removes only the actor's
    detach, which lets "both" through with a shared hypernetwork and "actor" with private ones.
    """
    seeds = [stream(seed, DIAGNOSTICS_STREAM, step, 1) for seed in seeds]
    generators = [torch.Generator(agent.device).manual_seed(seed) for seed in seeds]
    batch = replay.sample(generators, per_context, 1, agent.method)
    with torch.no_grad():
        z, _ = agent.embed(batch, slice(1, 2))
    ends = [z.clone().requires_grad_() for _ in range(2)]
    policy, values = map(agent.condition_on, ends)
    loss, _ = agent.actor_loss(batch.obs, policy, values, batch.noise[:, 0])
    actor, critics = torch.autograd.grad(loss.sum(), ends)
    paths = {"actor": actor, "critics": critics, "both": actor + critics}
    return {f"shadow_{name}": gradient.flatten(1).norm(dim=1).tolist() for name, gradient in paths.items()}
