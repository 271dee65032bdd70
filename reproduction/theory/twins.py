"""Numerical twins of the theorems beyond the paper's: how well concatenation approximates (A.1), one-hot contexts
(A.2), the adapter at the method's sizes (A.5), switching under noise (A.6), memoryless policies (A.8), the actor's
gradient through a shared adapter (F15), and the variance of the gradient itself (A.17, A.18). The theorems are in
proofs/; the networks of the paper's own statements are in expressivity.py, laws of codes in
dmash_core.diagnostics.variance.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from dmash_core.diagnostics.variance import Law, start_moments
from reproduction.theory.expressivity import Concatenating, Modulated, ReLUNet, _halves

# ------------------------------------------------------------------ A.1, A.2: approximation, one-hot contexts


def approximation_floor(hidden: Sequence[int], r: float = 1.0) -> float:
    """A1_approximation: the least error with which a concatenating network of these hidden widths can fit s z on [-r,
    r]^2."""
    return r**2 / (2 * prod(k + 1 for k in hidden) ** 2)


def near_optimal_product(pieces: int, r: float = 1.0) -> Concatenating:
    """A concatenating network with one hidden layer of 2 * pieces - 1 units, within (r / pieces)^2 of s z on [-r, r]^2:
    at most 8 times the floor for its width. s z = ((s + z)^2 - (s - z)^2) / 4, with each square interpolated on
    `pieces` pieces."""
    step = 4 * r / pieces
    knots = -2 * r + step * np.arange(1, pieces)
    first = 2 * (-2 * r) + step  # slope of the interpolant's first piece
    weight = [[1.0, 1.0]] * len(knots) + [[1.0, -1.0]] * len(knots) + [[0.0, 1.0]]
    out = [step / 2] * len(knots) + [-step / 2] * len(knots) + [first / 2]
    net = Concatenating(1, 1, 1, [len(out)])
    net.net.set((weight, [*-knots, *-knots, r]), ([out], [-first * r / 2]))
    return net


def one_hot_network(operators, bound: float) -> Concatenating:
    """A.2, negative half: T_c s for |s_i| <= bound under one-hot codes, by ReLU(s_i + 2 B z_c - B) - B z_c = s_i z_c.
    It has one neuron per pair of state coordinate and context, and one per context. operators (m, n, n)."""
    operators = np.asarray(operators, float)
    m, n, _ = operators.shape
    pairs = [np.concatenate([np.eye(n)[i], 2 * bound * np.eye(m)[c]]) for c in range(m) for i in range(n)]
    codes = [np.concatenate([np.zeros(n), np.eye(m)[c]]) for c in range(m)]
    out = np.concatenate([operators[c].T for c in range(m)] + [-bound * operators.sum(axis=2)]).T
    net = Concatenating(n, m, n, [m * n + m])
    net.net.set((np.array(pairs + codes), np.r_[np.full(m * n, -bound), np.zeros(m)]), (out, np.zeros(n)))
    return net


def binary_two(bound: float) -> Concatenating:
    """Two hidden neurons: 2 ReLU(s + B z) - ReLU(s + B z + 2 B) + B equals s z for z in {1, -1} and |s| <= B."""
    net = Concatenating(1, 1, 1, [2])
    net.net.set(([[1.0, bound], [1.0, bound]], [0.0, 2 * bound]), ([[2.0, -1.0]], [bound]))
    return net


# ------------------------------------------------------------------ A.5 at the method's sizes


def actions_omega(head, inverse, operator, k: int) -> np.ndarray:
    """A5_actions: weights (k n + n k,) of a bottleneck of width k >= 2 d, W_down then W_up in row-major order, with
    which the head (d, n) outputs operator @ (head x). inverse (n, d) with head @ inverse = I; operator (d, d)."""
    head, inverse = np.asarray(head, float), np.asarray(inverse, float)
    d, n = head.shape
    down, up = np.zeros((k, n)), np.zeros((n, k))
    down[: 2 * d] = np.concatenate([head, -head])
    back = inverse @ (operator - np.eye(d))
    up[:, : 2 * d] = np.concatenate([back, -back], axis=1)
    return np.concatenate([down.ravel(), up.ravel()])


def trained_omega(readout, operator, k: int) -> np.ndarray:
    """A5_trained: weights (k n + k + n k + n,) in the method's order W_down, b_down, W_up, b_up, with which the first d
    features minus the second d of x~ = ReLU(x + W_up ReLU(W_down x + b_down) + b_up) are operator @ (readout x).
    readout (d, n), n >= 2 d, k >= 6 d."""
    readout = np.asarray(readout, float)
    d, n = readout.shape
    first, down, up = np.eye(2 * d, n), np.zeros((k, n)), np.zeros((n, k))
    down[: 6 * d] = np.concatenate([readout, -readout, first, -first])
    both = np.concatenate([operator, -operator])
    up[: 2 * d, : 6 * d] = np.concatenate([both, -both, -np.eye(2 * d), np.eye(2 * d)], axis=1)
    return np.concatenate([down.ravel(), np.zeros(k), up.ravel(), np.zeros(n)])


def trained_adapter(x: np.ndarray, omega: np.ndarray, k: int) -> np.ndarray:
    """The method's adapter on features x (B, n): ReLU(x + W_up ReLU(W_down x + b_down) + b_up)."""
    n = x.shape[1]
    down, b_down, up, b_up = np.split(omega, np.cumsum([k * n, k, n * k]))
    hidden = np.maximum(x @ down.reshape(k, n).T + b_down, 0)
    return np.maximum(x + hidden @ up.reshape(n, k).T + b_up, 0)


# ------------------------------------------------------------------ A.6: switching


def switch_network(bound: float, delta: float) -> Concatenating:
    """switch_exact: hidden widths 3 and 2, equal to s sign(z) for |s| <= bound and |z| >= delta."""
    net = Concatenating(1, 1, 1, [3, 2])
    net.net.set(
        ([[1.0, 0.0], [0.0, 1 / delta], [0.0, 1 / delta]], [bound, 1.0, -1.0]),
        ([[1.0, bound, -bound]] * 2, [-2 * bound, 0.0]),
        ([[2.0, -1.0]], [bound]),
    )
    return net


def switch_modulated(delta: float) -> Modulated:
    """switch_modulated_least: s clip(z / delta, -1, 1) for all s and z, by a hypernetwork of two hidden units."""
    net = Modulated(1, 1, 1, [2, 2], [2])
    net.trunk.set(*_halves(1)[1])
    net.hyper.set(([[1 / delta]] * 2, [1.0, -1.0]), ([[1.0, -1.0], [0, 0], [0, 0], [-1.0, 1.0]], [-2.0, 0, 0, 0]))
    net.head.set(([[1.0, 1.0]], [0.0]))
    return net


@torch.no_grad()
def excess_slope(net: nn.Module, bound: float, delta: float, points: int = 401) -> float:
    """The smallest eta such that the slope in z is at most (|s| + eta) / delta over the margin |z| <= delta for all |s|
    <= bound, on a grid of points^2: the network's excess over the least possible slope."""
    s = torch.linspace(-bound, bound, points, dtype=torch.float64)
    z = torch.linspace(-delta, delta, points, dtype=torch.float64)
    grid = torch.cartesian_prod(s, z)
    f = net(grid[None, :, :1], grid[None, :, 1:])[0, :, 0].view(points, points)
    slope = (f.diff(dim=1) / z.diff()).abs().amax(dim=1)
    return float((slope * delta - s.abs()).amax())


# ------------------------------------------------------------------ A.8: policies without memory


def trajectory(policy: Callable[[np.ndarray], np.ndarray], start, sign: int, steps: int) -> np.ndarray:
    """States (steps + 1, B) of x' = x + sign * policy(x) from start (B,)."""
    states = [np.asarray(start, float)]
    for _ in range(steps):
        states.append(states[-1] + sign * policy(states[-1]))
    return np.stack(states)


def stuck_start(policy: Callable[[np.ndarray], np.ndarray], far: float = 50.0) -> tuple[float, int]:
    """The witness of memoryless_negative: a start x > 0 and a context in which no later state lies below x, judging by
    x <= far. It is a root where the policy changes sign (by bisection), else 1 and the sign in which it drifts."""
    grid = np.linspace(1.0, far, 20_001)
    value = policy(grid)
    turn = np.flatnonzero(value[:-1] * value[1:] <= 0)
    if not len(turn):
        return 1.0, int(np.sign(value[0]))
    low, high = grid[turn[0]], grid[turn[0] + 1]
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if policy(np.array([low]))[0] * policy(np.array([middle]))[0] > 0 else (low, middle)
    return float(high), 1


def one_start_policy(x: np.ndarray) -> np.ndarray:
    """memoryless_one_start: 2 ReLU(x) - ReLU(-x) - 9/2 ReLU(x - 1)."""
    return 2 * np.maximum(x, 0) - np.maximum(-x, 0) - 4.5 * np.maximum(x - 1, 0)


def train_integrator(seeds: Sequence[int], sees_sign: bool, updates: int = 300, horizon: int = 6) -> Callable:
    """Train actors tanh(ReLU network) on the integrator x' = x + S a, one per seed, through the dynamics to bring
    starts in [-2, 2] to 0 in both contexts. Domain randomisation (sees_sign False) observes x, its control x and S.

    Returns act(x (B,), sign, i), which gives the actions of seed i as a NumPy array.
    """
    net = ReLUNet([2, 32, 32, 1], seeds)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)

    def action(x: Tensor, sign: Tensor) -> Tensor:
        seen = sign if sees_sign else torch.zeros_like(sign)
        return torch.tanh(net(torch.stack([x, seen], dim=-1)))[..., 0]

    for _ in range(updates):
        x = 4 * torch.rand(len(seeds), 64, generator=generator, dtype=torch.float64) - 2
        sign = torch.ones_like(x)
        sign[:, 32:] = -1
        loss = torch.zeros((), dtype=torch.float64)
        for _ in range(horizon):
            x = x + sign * action(x, sign)
            loss = loss + x.square().mean(dim=1).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def act(x: np.ndarray, sign: int, i: int) -> np.ndarray:
        with torch.no_grad():
            t = torch.as_tensor(x, dtype=torch.float64).expand(len(seeds), -1)
            return action(t, torch.full_like(t, sign))[i].numpy()

    return act


# ------------------------------------------------------------------ F15: the actor's gradient through the adapter


def bias_ascent(w: np.ndarray, x: np.ndarray, omega: np.ndarray, eta: float, steps: int) -> tuple[np.ndarray, float]:
    """ascent_unbounded: the frozen critic's values (steps + 1,) under gradient ascent on the adapter's bias omega, and
    the gain per step that the theorem guarantees: eta * sum w_i^2 over the initially active units with w_i > 0."""
    gain = eta * float(np.square(w[(x + omega > 0) & (w > 0)]).sum())
    values = []
    for _ in range(steps + 1):
        values.append(float(w @ np.maximum(x + omega, 0)))
        omega = omega + eta * w * (x + omega > 0)
    return np.array(values), gain


def actor_ascent(detached: bool, updates: int, seed: int = 0, lr: float = 1e-2) -> np.ndarray:
    """A frozen critic's mean value (updates + 1,) over an actor's updates on random states. Actor and critic share one
    bias omega = h(z) from a hypernetwork: the critic is w . ReLU(x(s, a) + omega), the action tanh(v . ReLU(y(s) +
    omega)). detached: omega is constant in the actor's loss, as in the method; otherwise the actor's gradient also
    updates h. The critic is never updated. Plain gradient ascent."""
    critic, w = ReLUNet([4, 32, 32], [seed]), torch.Generator().manual_seed(seed)
    head = torch.randn(32, generator=w, dtype=torch.float64) / 32**0.5
    actor, last = ReLUNet([3, 32, 32], [seed + 1]), ReLUNet([32, 1], [seed + 2])
    hyper = ReLUNet([2, 16, 32], [seed + 3])
    s = torch.randn(1, 256, 3, generator=w, dtype=torch.float64)
    z = torch.randn(1, 256, 2, generator=w, dtype=torch.float64)
    moved = [*actor.parameters(), *last.parameters()] + ([] if detached else [*hyper.parameters()])
    optimiser, values = torch.optim.SGD(moved, lr=lr), []
    for step in range(updates + 1):
        omega = hyper(z).detach() if detached else hyper(z)
        action = torch.tanh(last(torch.relu(actor(s) + omega)))
        q = (torch.relu(critic(torch.cat([s, action], dim=-1)) + omega) @ head).mean()
        values.append(float(q.detach()))
        if step < updates:
            optimiser.zero_grad()
            (-q).backward()
            optimiser.step()
    return np.array(values)


# ------------------------------------------------------------------ the variance of the gradient itself


def gradient_terms(law: Law, theta: np.ndarray, std: float) -> dict[str, float]:
    """The three parts of tr Cov(g) in compression_account, for the gradient of Law.gradient, exact: "noise" E[tr Cov(g
    | S, Z)], "signal" E[tr Cov(E[g | S, Z] | S)], "modes" tr Cov(E[g | S]); their sum is the variance."""
    kappa, (m2, m4, m6) = law.mode / law.mass, start_moments()
    features = np.column_stack([law.z, np.ones(len(law.z))])
    gain, length = features @ theta, np.square(features).sum(axis=1)
    slope = -2 * m2 * (kappa**2 * gain[:, None] - kappa)  # E[g | z, c] is this times the features
    u2, b2 = np.square(gain[:, None] * kappa - 1), np.square(kappa * std)
    second = length[:, None] / std**2 * (u2**2 * m6 + 20 * u2 * b2 * m4 + 24 * b2**2 * m2)
    noise = signal = 0.0
    centres, probs = [], []
    for sign in np.unique(law.mode):
        weight = law.weight * (law.mode == sign)  # (n, C)
        at_code = weight.sum(axis=1)
        total = at_code.sum()
        if total == 0:
            continue
        mean = (weight * slope).sum(axis=1)[:, None] * features / np.where(at_code > 0, at_code, 1)[:, None]
        noise += (weight * second).sum() - at_code @ np.square(mean).sum(axis=1)
        centre = at_code @ mean / total
        signal += at_code @ np.square(mean - centre).sum(axis=1)
        centres.append(centre)
        probs.append(total)
    centres, probs = np.array(centres), np.array(probs)
    modes = probs @ np.square(centres - probs @ centres).sum(axis=1)
    return {"noise": float(noise), "signal": float(signal), "modes": float(modes)}


def compression_account(law: Law, theta: np.ndarray, std: float) -> dict[str, float]:
    """compression_account for Z' = E[Z | S] under one policy theta: "removed" (signal of the code within modes),
    "added" (noise gained by the gradient), "separation" (lost by the modes' mean gradients), and "fall" = tr Cov(g)
    - tr Cov(g') = removed - added + separation."""
    before, after = gradient_terms(law, theta, std), gradient_terms(law.compressed(), theta, std)
    removed, added = before["signal"], after["noise"] + after["signal"] - before["noise"]
    separation = before["modes"] - after["modes"]
    return {"removed": removed, "added": added, "separation": separation, "fall": removed - added + separation}


def push_law() -> Law:
    """A law like that of compression_can_raise_variance in DI's two dimensions: codes 1, 3 for S = 1, codes -1/2, -3
    for S = -1, mass 1. With theta = (1/4, 0) and standard deviation 0.3, compression takes tr Cov(g) from 77.76 to
    90.75."""
    return Law(np.array([[1.0], [3.0], [-0.5], [-3.0]]), np.array([[1, 0], [1, 0], [0, 1], [0, 1]]) / 4,
               np.array([1.0, -1.0]), np.ones(2))  # fmt: skip


def push_variances() -> tuple[float, float]:
    """tr Cov(g) before and after compression in compression_can_raise_variance, summed over its 28 outcomes: 23/2 and
    825/64. Codes 1, 2 for S = 1 and -1, -2 for S = -1; a = (z + x) / 3; g = -(S a - 1)^2 * 3 x * z."""
    x, weight = np.arange(-3.0, 4.0), np.array([1, 9, 45, 70, 45, 9, 1]) / 180

    def variance(codes: list[tuple[int, float]]) -> float:
        g = np.stack([-np.square(s * (z + x) / 3 - 1) * 3 * x * z for s, z in codes])
        w = np.tile(weight / len(codes), (len(codes), 1))
        return float((w * g**2).sum() - (w * g).sum() ** 2)

    return variance([(1, 1), (1, 2), (-1, -1), (-1, -2)]), variance([(1, 1.5), (-1, -1.5)])


def affine_gradient_variances(seed: int, independent: bool = True) -> tuple[float, float, float]:
    """compression_lowers_variance on a random finite law: tr Cov(g), tr Cov(g') and E|B (Z - Z')|^2 for g = A(Y, S) +
    B(Y, S) Z. independent: Z and Y are independent given S; otherwise Z is determined by Y."""
    rng = np.random.default_rng(seed)
    n, d, m = 4, 3, 2  # values of Y and of Z in each mode, dimensions of Z and of g
    p_mode, p_y, p_z = rng.dirichlet([2, 2]), rng.dirichlet(np.ones(n), 2), rng.dirichlet(np.ones(n), 2)
    if independent:
        joint = p_mode[:, None, None] * p_y[:, :, None] * p_z[:, None, :]
    else:
        joint = p_mode[:, None, None] * p_y[:, :, None] * np.eye(n)
    z, a, b = rng.standard_normal((2, n, d)), rng.standard_normal((2, n, m)), rng.standard_normal((2, n, d, m))
    weight = joint.sum(axis=1)  # (S, Z)
    centre = np.einsum("sk,skd->sd", weight, z) / weight.sum(axis=1)[:, None]
    if not independent:  # the rest of the gradient cancels the code
        a = -np.einsum("sjd,sjdm->sjm", z, b)
    g = a[:, :, None] + np.einsum("skd,sjdm->sjkm", z, b)
    g_after = np.broadcast_to((a + np.einsum("sd,sjdm->sjm", centre, b))[:, :, None], g.shape)

    def variance(g: np.ndarray) -> float:
        mean = np.einsum("sjk,sjkm->m", joint, g)
        return float(np.einsum("sjk,sjkm->", joint, np.square(g - mean)))

    return variance(g), variance(g_after), float(np.einsum("sjk,sjkm->", joint, np.square(g - g_after)))
