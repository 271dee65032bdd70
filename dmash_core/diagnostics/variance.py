"""The variance of the policy gradient given a code, by the law of total variance (paper, A.15 to A.18)."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist

# ------------------------------------------------------------------ variability and gradient variance


def start_moments(nodes: int = 8) -> np.ndarray:
    """E|p|^2, E|p|^4, E|p|^6 of DI's initial position, both |p_i| uniform on [0.8, 1] (exact by quadrature)."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    square = (0.9 + 0.1 * x) ** 2
    radius, weight = square[:, None] + square, np.outer(w, w) / 4
    return np.array([(weight * radius**j).sum() for j in (1, 2, 3)])


@dataclass(frozen=True)
class Law:
    """A joint law of code and context with finitely many atoms.

    z (n, d): atoms of the code; weight (n, C): joint probabilities; mode (C,): S = +1 or -1 of each context; mass (C,):
    the other part U of a DI context. A context may have probability zero.
    """

    z: np.ndarray
    weight: np.ndarray
    mode: np.ndarray
    mass: np.ndarray

    @classmethod
    def of_samples(cls, z: np.ndarray, label: np.ndarray, mode: np.ndarray, mass: np.ndarray) -> "Law":
        """The empirical law of samples z (n, d) with context indices label (n,)."""
        return cls(z, np.eye(len(mode))[label] / len(z), mode, mass)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """E[Z | C] (C, d) and E[Z | S] for each context's mode (C, d); zero if the condition has probability zero."""
        sums, prob = self.weight.T @ self.z, self.weight.sum(axis=0)
        same = (self.mode[:, None] == self.mode).astype(float)
        return sums / np.where(prob > 0, prob, 1)[:, None], same @ sums / np.where((m := same @ prob) > 0, m, 1)[
            :, None
        ]

    def variability(self) -> float:
        """tr Cov(Z); divided by d, the paper's Variability with a diagonal covariance."""
        pz = self.weight.sum(axis=1)
        return float(pz @ np.square(self.z - pz @ self.z).sum(axis=1))

    def terms(self) -> dict[str, float]:
        """A.15: within-context noise, within-mode spread and between-mode separation, each by its own formula."""
        by_context, by_mode = self.means()
        prob = self.weight.sum(axis=0)
        both = prob[self.mode > 0].sum() * prob[self.mode < 0].sum()  # p (1 - p)
        ends = [by_mode[self.mode == sign][0] if (self.mode == sign).any() else 0.0 for sign in (1, -1)]
        noise = sum(
            w @ np.square(self.z - centre).sum(axis=1) for w, centre in zip(self.weight.T, by_context, strict=True)
        )
        spread = prob @ np.square(by_context - by_mode).sum(axis=1)
        between = both * np.square(ends[0] - ends[1]).sum()
        return {"within-context": float(noise), "within-mode": float(spread), "between-mode": float(between)}

    def compressed(self) -> "Law":
        """A.18: the law of Z' = E[Z | S], with one atom per mode."""
        prob, (_, by_mode) = self.weight.sum(axis=0), self.means()
        signs = [sign for sign in (1, -1) if (self.mode == sign).any()]
        atoms = np.stack([by_mode[self.mode == sign][0] for sign in signs])
        return Law(atoms, np.stack([prob * (self.mode == sign) for sign in signs]), self.mode, self.mass)

    def information(self) -> float:
        """I(Z; C) in nats. Coinciding atoms must be merged first."""
        joint = self.weight[self.weight.any(axis=1)][:, self.weight.any(axis=0)]
        product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        ratio = np.divide(joint, product, out=np.ones_like(joint), where=joint > 0)
        return float((joint * np.log(ratio)).sum())

    def policy(self, strength: float = 0.5) -> np.ndarray:
        """theta (d + 1,) for `gradient`: the least-squares fit of the gain S * mass on [z; 1], times `strength`. 1 is a
        fully trained linear policy on this code, 0 a policy that does nothing. Directions in which the code varies by
        less than 1e-6 of the largest are float32 rounding (after SimNorm, two) and are ignored."""
        pz = self.weight.sum(axis=1)
        root, wanted = np.sqrt(pz)[:, None], self.weight @ (self.mode * self.mass) / np.where(pz > 0, pz, 1)
        features = np.column_stack([self.z, np.ones(len(self.z))])
        return strength * np.linalg.lstsq(root * features, root[:, 0] * wanted, rcond=1e-6)[0]

    def gradient(self, theta: np.ndarray, std: float) -> dict[str, float]:
        """A.17 for one step of DI with exact expectations; theta (d + 1,), std > 0.

        From DI's initial states (position p, at rest) the policy draws the force a ~ N((theta^T [z; 1]) f, std^2 I)
        with f = -p. The acceleration is S a / mass, the reward is -|S a / mass - f|^2, and the score-function gradient
        is g = reward * d log pi / d theta. Forces are not clipped. Returns tr Cov(g) as "variance", E[tr Cov(g | Z)] as
        "unexplained", tr Cov(E[g | Z]) as "explained", the Lipschitz constant "L" of z -> E[g | Z = z] over the
        atoms, and "bound" = unexplained + L^2 tr Cov(Z).
        """
        pz = self.weight.sum(axis=1)
        z, posterior, pz = self.z[pz > 0], self.weight[pz > 0] / pz[pz > 0, None], pz[pz > 0]
        features = np.column_stack([z, np.ones(len(z))])
        kappa, (m2, m4, m6) = self.mode / self.mass, start_moments()
        gain, length = features @ theta, np.square(features).sum(axis=1)
        mean = -2 * m2 * (posterior @ kappa**2 * gain - posterior @ kappa)[:, None] * features  # E[g | Z = z]
        # |g|^2 has the Gaussian moment E[x^2 ((u + b x)^2 + b^2 y^2)^2] = u^4 + 20 u^2 b^2 + 24 b^4
        u2, b2 = np.square(gain[:, None] * kappa - 1), np.square(kappa * std)
        second = length / std**2 * (posterior * (u2**2 * m6 + 20 * u2 * b2 * m4 + 24 * b2**2 * m2)).sum(axis=1)
        centre, power = pz @ mean, np.square(mean).sum(axis=1)
        variance, noise = float(pz @ second - centre @ centre), float(pz @ (second - power))
        lipschitz = float(np.sqrt(_slope(z, mean)))
        return {
            "variance": variance,
            "unexplained": noise,
            "explained": float(pz @ np.square(mean - centre).sum(axis=1)),
            "L": lipschitz,
            "bound": noise + lipschitz**2 * self.variability(),
        }

    def sample_gradients(self, theta: np.ndarray, std: float, n: int, rng: np.random.Generator) -> np.ndarray:
        """n independent samples (n, d + 1) of the stochastic gradient g of `gradient`."""
        flat = rng.choice(self.weight.size, size=n, p=self.weight.ravel() / self.weight.sum())
        atom, context = np.unravel_index(flat, self.weight.shape)
        features = np.column_stack([self.z[atom], np.ones(n)])
        kappa = (self.mode / self.mass)[context, None]
        f = rng.uniform(0.8, 1.0, (n, 2)) * rng.choice([-1.0, 1.0], (n, 2))
        xi = rng.standard_normal((n, 2))
        force = (features @ theta)[:, None] * f + std * xi
        reward = -np.square(kappa * force - f).sum(axis=1)
        return ((xi * f).sum(axis=1) / std * reward)[:, None] * features


def _slope(z: np.ndarray, g: np.ndarray) -> float:
    """The largest |g_i - g_j|^2 / |z_i - z_j|^2 over pairs of different atoms; 0 for a single atom."""
    dz, dg = pdist(z, "sqeuclidean"), pdist(g, "sqeuclidean")
    return float(np.divide(dg, dz, out=np.zeros_like(dz), where=dz > 0).max(initial=0.0))


@dataclass(frozen=True)
class Codes:
    """Gaussian codes: Z given C = c is N(centre_c, noise_c^2 I). centre (C, d), noise, prob, mode and mass (C,)."""

    centre: np.ndarray
    noise: np.ndarray
    prob: np.ndarray
    mode: np.ndarray
    mass: np.ndarray

    def posterior(self, z: np.ndarray) -> np.ndarray:
        """P(C = c | Z = z), (n, C)."""
        noise = np.maximum(self.noise, 1e-6)
        log = -np.square(z[:, None] - self.centre).sum(axis=2) / (2 * noise**2) - z.shape[1] * np.log(noise)
        with np.errstate(divide="ignore"):
            log = log + np.log(self.prob)
        joint = np.exp(log - log.max(axis=1, keepdims=True))
        return joint / joint.sum(axis=1, keepdims=True)

    def law(self, n: int, rng: np.random.Generator) -> Law:
        """n equally likely atoms drawn from the codes, each with its posterior over contexts."""
        counts = np.floor(self.prob * n + 0.5).astype(int)
        label = np.repeat(np.arange(len(counts)), counts)
        z = self.centre[label] + self.noise[label, None] * rng.standard_normal((len(label), self.centre.shape[1]))
        return Law(z, self.posterior(z) / len(z), self.mode, self.mass)

    def squeezed(self, amount: float) -> "Codes":
        """The codes (1 - amount) Z + amount E[Z | S]: unchanged at 0, one point per mode at 1."""
        same = (self.mode[:, None] == self.mode) * self.prob
        by_mode = same / np.maximum(same.sum(axis=1, keepdims=True), 1e-300) @ self.centre
        centre = (1 - amount) * self.centre + amount * by_mode
        return Codes(centre, (1 - amount) * self.noise, self.prob, self.mode, self.mass)


def synthetic_codes(
    separation: float = 2.0, spread: float = 0.3, noise: float = 0.2, p: float = 0.5, dim: int = 2, masses: int = 5
) -> Codes:
    """Codes of DI-like contexts (S, mass): the first axis encodes the mode, the second (if dim > 1) the mass.

    Mode centres are `separation` apart; the context means of a mode are at rms distance `spread` from its centre.
    """
    mass = np.linspace(0.6, 1.4, masses)
    along = (mass - mass.mean()) / max(mass.std(), 1e-300)
    centre = np.zeros((2 * masses, dim))
    centre[:masses, 0], centre[masses:, 0] = separation / 2, -separation / 2
    centre[:, min(1, dim - 1)] += spread * np.concatenate([along, along])
    prob = np.concatenate([np.full(masses, p), np.full(masses, 1 - p)]) / masses
    return Codes(centre, np.full(2 * masses, noise), prob, np.repeat([1.0, -1.0], masses), np.concatenate([mass, mass]))


def information_counterexample() -> tuple[float, float]:
    """I(Z; C) and I(Z'; C) in nats for fair bits S, U, C = (S, U), Z = [S or U], Z' = E[Z | S]: the second is larger,
    since compression to the mode means reveals S, which Z = 1 does not."""
    mode, bit = np.array([1.0, 1.0, -1.0, -1.0]), np.array([0, 1, 0, 1])
    value = ((mode > 0) | (bit == 1)).astype(int)
    law = Law(np.array([[0.0], [1.0]]), np.eye(2)[value].T / 4, mode, np.ones(4))
    return law.information(), law.compressed().information()
