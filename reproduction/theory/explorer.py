"""Learned codes, and six knobs that set the variance decomposition of a code.

`notebooks/variance_decomposition.ipynb` uses this module; the page of `make explore` reimplements it in JavaScript,
tested against it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dmash_core.diagnostics.variance import Codes, Law, synthetic_codes

STD = 0.3  # of the policy's Gaussian
TERMS = {"within-context": "#56B4E9", "within-mode": "#E69F00", "between-mode": "#0072B2"}
MODES = {1.0: ("#0072B2", "o"), -1.0: ("#D55E00", "^")}


@dataclass(frozen=True)
class Samples:
    """Codes z (n, d) with their contexts label (n,); mode and mass (C,) describe the contexts."""

    z: np.ndarray
    label: np.ndarray
    mode: np.ndarray
    mass: np.ndarray

    def law(self) -> Law:
        return Law.of_samples(self.z, self.label, self.mode, self.mass)


def learned_samples(path: str | Path, rollouts: int = 16, windows: int = 8) -> Samples:
    """Codes of a trained DI agent (a ``seed-*.safetensors``) acting in its 20 training contexts.

    After the warm-up of an evaluation, `windows` codes per episode are taken from `rollouts` episodes of every context.
    Raises UserError if the file does not contain the networks of a finished run.
    """
    from dmash_core.diagnostics.embeddings import rollout_codes
    from dmash_core.training.policies import block_contexts, load_policy

    agent, meta = load_policy(path)
    contexts = block_contexts("DI", [meta["seed"]])["train"][0]
    z = rollout_codes(agent, "DI", contexts, meta["seed"], rollouts, rollouts * windows)[""]
    label = np.repeat(np.arange(len(contexts)), z.shape[1])
    return Samples(z.reshape(len(label), -1), label, contexts[:, 1], contexts[:, 0])


@dataclass(frozen=True)
class Scenario:
    """The knobs: RMS distances of the code's three parts, P(S = +1), the code's dimension, compression towards E[Z |
    S]."""

    noise: float = 0.3
    spread: float = 0.4
    separation: float = 2.0
    p: float = 0.5
    dim: int = 2
    compression: float = 0.0


def measure(samples: Samples) -> Scenario:
    """The knobs for which `scenario_law` leaves learned codes unchanged."""
    law = samples.law()
    terms, prob = law.terms(), law.weight.sum(axis=0)
    p, d = float(prob[samples.mode > 0].sum()), samples.z.shape[1]
    separation = np.sqrt(terms["between-mode"] / max(p * (1 - p), 1e-300))
    return Scenario(np.sqrt(terms["within-context"] / d), np.sqrt(terms["within-mode"]), separation, p, d)


def scenario_law(knobs: Scenario, samples: Samples | None = None, atoms: int = 300, seed: int = 0) -> Law:
    """The law of the codes at `knobs`; for learned codes, their three parts are scaled to the knobs.

    P(C | Z) is that of Gaussian codes with one noise level per context, which is only a model for learned codes.
    """
    if samples is None:
        codes = synthetic_codes(knobs.separation, knobs.spread, knobs.noise, knobs.p, knobs.dim)
        return codes.squeezed(knobs.compression).law(atoms, np.random.default_rng(seed))
    now, (by_context, by_mode) = measure(samples), samples.law().means()
    scale = {k: getattr(knobs, k) / max(getattr(now, k), 1e-12) for k in ("noise", "spread", "separation")}
    middle = (by_mode[samples.mode > 0][0] + by_mode[samples.mode < 0][0]) / 2
    centre = scale["separation"] * (by_mode - middle) + scale["spread"] * (by_context - by_mode)
    per_mode = np.array([(samples.mode == m).sum() for m in samples.mode])
    prob = np.where(samples.mode > 0, knobs.p, 1 - knobs.p) / per_mode
    square = np.square(samples.z - by_context[samples.label]).mean(axis=1)
    own = np.sqrt(np.bincount(samples.label, square) / np.bincount(samples.label))  # of each context
    codes = Codes(centre, scale["noise"] * own, prob, samples.mode, samples.mass).squeezed(knobs.compression)
    pick = np.sort(np.random.default_rng(seed).permutation(len(samples.z))[:atoms])
    label, residual = samples.label[pick], scale["noise"] * (samples.z - by_context[samples.label])[pick]
    z = codes.centre[label] + (1 - knobs.compression) * residual
    each = prob[label] / np.bincount(label, minlength=len(prob))[label]
    return Law(z, codes.posterior(z) * (each / each.sum())[:, None], samples.mode, samples.mass)


def report(knobs: Scenario, samples: Samples | None = None, draws: int = 4000) -> tuple[Law, dict[str, float]]:
    """The law and all numbers of the decomposition. The policy is trained half-way on the uncompressed code and does
    not change under compression; "measured" is the variance of `draws` sampled gradients."""
    law = scenario_law(knobs, samples)
    theta = scenario_law(replace(knobs, compression=0.0), samples).policy()
    g = law.sample_gradients(theta, STD, draws, np.random.default_rng(1))
    numbers = law.terms() | {"variability": law.variability(), "information": law.information()}
    numbers |= law.gradient(theta, STD) | {"measured": float(g.var(axis=0, ddof=1).sum())}
    return law, numbers


def plane(law: Law) -> np.ndarray:
    """The codes (n, 2) in the plane of their first two principal axes, S = +1 to the right and above."""
    z = law.z - law.z.mean(axis=0)
    axes = np.linalg.svd(z, full_matrices=False)[2][:2]
    lean = axes @ (z.T @ (law.weight @ law.mode))
    flat = z @ (axes * np.where(lean < 0, -1.0, 1.0)[:, None]).T
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))


KNOBS = {  # title, lowest, highest, step
    "noise": ("noise", 0.0, 1.0, 0.01),
    "spread": ("within-mode spread", 0.0, 1.0, 0.01),
    "separation": ("mode separation", 0.0, 4.0, 0.05),
    "p": ("p = P(S = +1)", 0.05, 0.95, 0.05),
    "dim": ("dimension", 1, 16, 1),
    "compression": ("compression", 0.0, 1.0, 0.02),
}
