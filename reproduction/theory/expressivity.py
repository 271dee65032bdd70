"""Numerical twins of the proofs (Benad et al. 2026, appendix A; the theorems are in proofs/).

Expressivity (A.1, A.2, A.3, A.5) and noise (A.6): the two classes of networks as torch modules in float64. The
constructions of the proofs are members of the same classes that `fit` trains, so exact and learned networks can be
compared. Each network holds N copies, one per seed, along a leading axis.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dmash_core.networks.layers import Linear

# ------------------------------------------------------------------ two classes of networks


class ReLUNet(nn.Module):
    """Any finite ReLU MLP, one copy per seed, float64: (N, B, sizes[0]) -> (N, B, sizes[-1]); linear at the end."""

    def __init__(self, sizes: Sequence[int], seeds: Sequence[int]):
        super().__init__()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(Linear((len(seeds),), a, b, generators) for a, b in pairs).double()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)

    def set(self, *layers: tuple) -> "ReLUNet":
        """Set the layers (weight (out, in), bias (out,)) of every copy to those of a proof. Returns self."""
        with torch.no_grad():
            for layer, (weight, bias) in zip(self.layers, layers, strict=True):
                layer.weight.copy_(torch.as_tensor(weight, dtype=torch.float64).T)
                layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float64))
        return self


class Concatenating(nn.Module):
    """H_concat: a ReLU MLP on [s; z] with the given hidden widths. s (N, B, d_s), z (N, B, d_z) -> (N, B, d_out)."""

    def __init__(self, d_s: int, d_z: int, d_out: int, hidden: Sequence[int], seeds: Sequence[int] = (0,)):
        super().__init__()
        self.net = ReLUNet([d_s + d_z, *hidden, d_out], seeds)

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        return self.net(torch.cat([s, z], dim=-1))


class Modulated(nn.Module):
    """Trunk x(s), hypernetwork omega = h(z), head w^T (x + g(x; omega)) + b; shapes as in Concatenating.

    trunk: hidden widths and, last, the number n of outputs. hyper: hidden widths of the hypernetwork. k = None is the
    full adapter g = W x with W (n, n); otherwise g = W_up ReLU(W_down x) with W_down (k, n).
    """

    def __init__(
        self,
        d_s: int,
        d_z: int,
        d_out: int,
        trunk: Sequence[int],
        hyper: Sequence[int] = (),
        k: int | None = None,
        seeds: Sequence[int] = (0,),
    ):
        super().__init__()
        self.n, self.k = trunk[-1], k
        self.trunk = ReLUNet([d_s, *trunk], seeds)
        self.hyper = ReLUNet([d_z, *hyper, self.n * self.n if k is None else 2 * k * self.n], seeds)
        self.head = ReLUNet([self.n, d_out], seeds)

    def forward(self, s: Tensor, z: Tensor) -> Tensor:
        x, omega = self.trunk(s).unsqueeze(-1), self.hyper(z)
        if self.k is None:
            return self.head((x + omega.unflatten(-1, (self.n, self.n)) @ x).squeeze(-1))
        down, up = omega.split(self.k * self.n, dim=-1)
        u = torch.relu(down.unflatten(-1, (self.k, self.n)) @ x)
        return self.head((x + up.unflatten(-1, (self.n, self.k)) @ u).squeeze(-1))


def parameters_per_seed(net: nn.Module) -> int:
    """Number of parameters of one copy of the network."""
    return sum(p[0].numel() for p in net.parameters())


# ------------------------------------------------------------------ exact constructions


def _halves(n: int) -> tuple[np.ndarray, tuple]:
    """The signs (2n, n) and the trunk s -> [ReLU s, ReLU -s], whose product with the signs recovers s."""
    signs, zero = np.concatenate([np.eye(n), -np.eye(n)]), np.zeros(2 * n)
    return signs, ((signs, zero), (np.eye(2 * n), zero))


def affine_family(constant, slopes, trunk: Sequence[tuple], w, b: float = 0.0) -> Modulated:
    """A.3: the full adapter that equals w^T (T_0 + sum_j z_j T_j) x(s) + b everywhere, by one affine layer z -> T(z) -
    I.

    constant T_0 (n, n), slopes T_j (d_z, n, n), trunk layers (weight, bias), w (n,) or (d_out, n).
    """
    constant, slopes, w = np.asarray(constant, float), np.asarray(slopes, float), np.atleast_2d(w)
    n, widths = len(constant), [len(np.asarray(bias)) for _, bias in trunk]
    net = Modulated(np.shape(trunk[0][0])[1], len(slopes), len(w), widths)
    net.trunk.set(*trunk)
    net.hyper.set((slopes.reshape(len(slopes), n * n).T, (constant - np.eye(n)).ravel()))
    net.head.set((w, np.full(len(w), b)))
    return net


def product_network() -> Modulated:
    """A.1: s * z on all of R^2, with trunk [ReLU s, ReLU -s] and W = diag(z - 1, -(z + 1))."""
    return affine_family(np.zeros((2, 2)), [np.diag([1.0, -1.0])], _halves(1)[1], [1.0, 1.0])


def gain_network(n: int) -> Modulated:
    """A.2: z * s for s in R^n and every scalar z, T(z) = z I."""
    signs, trunk = _halves(n)
    return affine_family(np.zeros((2 * n, 2 * n)), [np.eye(2 * n)], trunk, signs.T)


def family_network(operators) -> Modulated:
    """A.2: T_i s for a finite family of operators (m, n, n), such as permutations, and one-hot codes z = e_i."""
    operators = np.asarray(operators, float)
    n = operators.shape[1]
    signs, trunk = _halves(n)
    doubled = np.kron(np.eye(2), operators)  # T acts on the positive and on the negative part
    return affine_family(np.zeros((2 * n, 2 * n)), doubled, trunk, signs.T)


def bottleneck_product(k: int) -> Modulated:
    """A.5: s * z on all of R^2 through a bottleneck of width k >= 2: W_down = [I; 0] is constant and passes x(s) >= 0
    through; W_up is affine in z."""
    down, up0, up1 = np.eye(k, 2), np.zeros((2, k)), np.zeros((2, k))
    up0[:, :2], up1[:, :2] = -np.eye(2), np.diag([1.0, -1.0])
    net = Modulated(1, 1, 1, [2, 2], k=k)
    net.trunk.set(*_halves(1)[1])
    constant, slope = np.concatenate([down.ravel(), up0.ravel()]), np.concatenate([0 * down.ravel(), up1.ravel()])
    net.hyper.set((slope[:, None], constant))
    net.head.set(([[1.0, 1.0]], [0.0]))
    return net


def bottleneck_one(bound: float = 1.0) -> Modulated:
    """Width k = 1: s * z = bound |s| - ReLU(bound |s| - s z) for |z| <= bound, the network `narrow_net` of the proof.
    For |z| > bound it is off by |s| (|z| - bound) on one side of s = 0; `width_one_floor` shows that no other choice is
    exact on all of R^2."""
    net = Modulated(1, 1, 1, [2, 2], k=1)
    net.trunk.set(*_halves(1)[1])
    net.hyper.set(([[-1.0], [1.0], [0.0], [0.0]], [bound, bound, -1.0 / bound, 0.0]))
    net.head.set(([[bound, bound]], [0.0]))
    return net


def width_one_floor(net: Modulated, z: Tensor) -> Tensor:
    """A lower bound on max over s in {1, -1} of |f(s, z) - s z| for every k = 1 network with this trunk and head,
    whatever its hypernetwork; z (B,), result (N, B).

    At a given z the adapter adds c ReLU(d^T x(s)), which has the same sign for all s. Where s z - w^T x(s) - b takes
    both signs, the error at one of the two points is at least that without an adapter.
    """
    with torch.no_grad():
        s = torch.tensor([1.0, -1.0], dtype=z.dtype).view(1, 2, 1)
        plain = net.head(net.trunk(s.expand(net.trunk.layers[0].lead[0], 2, 1)))  # (N, 2, 1)
        gap = s * z.view(1, 1, -1) - plain
        return torch.where(gap[:, 0] * gap[:, 1] < 0, gap.abs().amin(dim=1), gap.new_zeros(()))


def binary_network(bound: float) -> Concatenating:
    """A concatenating network with four hidden neurons that equals s * z for z in {1, -1} and |s| <= bound.

    ReLU(s + c (z - 1)) - ReLU(-s + c (z - 1)) + ReLU(-s - c (z + 1)) - ReLU(s - c (z + 1)) with 2 c = bound.
    """
    c = bound / 2
    net = Concatenating(1, 1, 1, [4])
    first = ([[1, c], [-1, c], [-1, -c], [1, -c]], [-c] * 4)
    net.net.set(first, ([[1.0, -1.0, 1.0, -1.0]], [0.0]))
    return net


# ------------------------------------------------------------------ fits


@dataclass(frozen=True)
class Task:
    """A target y(s, z) with s uniform on [-1, 1]^d_s; codes(generator, shape) draws z (*shape, d_z)."""

    d_s: int
    d_z: int
    d_out: int
    codes: Callable[[torch.Generator, tuple], Tensor]
    target: Callable[[Tensor, Tensor], Tensor]

    def sample(self, generator: torch.Generator, n_seeds: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """s (N, B, d_s), z (N, B, d_z), y (N, B, d_out), float64."""
        shape = (n_seeds, batch)
        s = 2 * torch.rand(*shape, self.d_s, generator=generator, dtype=torch.float64) - 1
        z = self.codes(generator, shape)
        return s, z, self.target(s, z)


def _uniform(low: float, high: float):
    return lambda g, shape: low + (high - low) * torch.rand(*shape, 1, generator=g, dtype=torch.float64)


def _signs(g: torch.Generator, shape: tuple) -> Tensor:
    return 2 * torch.randint(2, (*shape, 1), generator=g).double() - 1


def _one_hot(m: int):
    return lambda g, shape: nn.functional.one_hot(torch.randint(m, shape, generator=g), m).double()


def _apart(gap: float):
    """Codes with |z| uniform on [gap, 1] and either sign."""
    return lambda g, shape: (
        _signs(g, shape) * (gap + (1 - gap) * torch.rand(*shape, 1, generator=g, dtype=torch.float64))
    )


def _controller(s: Tensor, z: Tensor) -> Tensor:
    """z times a saturated controller of DI's state (p, v), whose force brings the mass to rest at the origin."""
    return z * (-2 * (s[..., :2] + s[..., 2:])).clamp(-1, 1)


PERMUTATIONS = np.eye(3)[[[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]]
_PERMUTE = torch.as_tensor(PERMUTATIONS)

TASKS = {
    "product": Task(1, 1, 1, _uniform(-1, 1), lambda s, z: s * z),
    "inversion": Task(2, 1, 2, _signs, lambda s, z: s * z),
    "gain": Task(2, 1, 2, _uniform(0.5, 2), lambda s, z: s * z),
    "permutation": Task(3, 6, 3, _one_hot(6), lambda s, z: torch.einsum("nbm,mij,nbj->nbi", z, _PERMUTE, s)),
    "policy": Task(4, 1, 2, _uniform(-1, 1), _controller),
    "policy-switch": Task(4, 1, 2, _apart(0.2), lambda s, z: _controller(s, z.sign())),
    "policy-binary": Task(4, 1, 2, _signs, _controller),
}


@torch.no_grad()
def error(net: nn.Module, task: Task, n_seeds: int, points: int = 4096, seed: int = 10_000) -> tuple[Tensor, Tensor]:
    """Root mean square and maximum of |f - y| per seed (N,), on fresh points shared by all seeds."""
    s, z, y = (t.expand(n_seeds, -1, -1) for t in task.sample(torch.Generator().manual_seed(seed), 1, points))
    wrong = net(s, z) - y
    return wrong.square().mean(dim=(1, 2)).sqrt(), wrong.abs().amax(dim=(1, 2))


def fit(
    net: nn.Module,
    task: Task,
    n_seeds: int,
    steps: int = 2000,
    batch: int = 128,
    lr: float = 1e-2,
    stop: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Fit by least squares with Adam and a linearly decaying learning rate, all seeds at once. Returns error() per
    seed.

    stop: each seed keeps the parameters at which its error first fell to this value (checked every 10 steps), so that
    different networks are compared at the same clean error. A seed that never reaches it keeps its last parameters.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = list(net.parameters())
    optimiser = torch.optim.Adam(parameters, lr=lr, fused=True)
    kept, done = deepcopy(parameters), torch.zeros(n_seeds, dtype=torch.bool)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        s, z, y = task.sample(generator, n_seeds, batch)
        loss = (net(s, z) - y).square().mean(dim=(1, 2)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if stop is not None and step % 10 == 9:
            now = ~done & (error(net, task, n_seeds, 1024)[0] <= stop)
            for keep, parameter in zip(kept, parameters, strict=True):
                keep.data[now] = parameter.data[now]
            done |= now
            if done.all():
                break
    for keep, parameter in zip(kept, parameters, strict=True):
        parameter.data[done] = keep.data[done]
    return error(net, task, n_seeds)[0]


@torch.no_grad()
def noisy_error(
    net: nn.Module, task: Task, n_seeds: int, centre: float, noise: float, points: int = 8192, seed: int = 20_000
) -> Tensor:
    """A.6: root mean square of f(s, z + noise * xi) - y(s, z) per seed (N,), where |z| = centre with either sign and xi
    is standard normal: the policy's error under code noise. Requires d_z = 1."""
    generator = torch.Generator().manual_seed(seed)
    s, _, _ = task.sample(generator, 1, points)
    z = centre * _signs(generator, (1, points))
    off = z + noise * torch.randn(z.shape, generator=generator, dtype=torch.float64)
    wrong = net(s.expand(n_seeds, -1, -1), off.expand(n_seeds, -1, -1)) - task.target(s, z)
    return wrong.square().mean(dim=(1, 2)).sqrt()


NOISE_SETTINGS = {"interval": ("policy", 0.1), "switch": ("policy-switch", 0.2), "binary": ("policy-binary", 1.0)}
"""A.6's settings: the task and the |z| at which noise is applied (for switch and binary codes, the smallest in
training)."""


def noise_experiment(
    seeds: Sequence[int], noises: Sequence[float], steps: int, level: float, widths=(12, 24, 48), trunks=(4, 8, 16)
) -> tuple[list[dict], list[dict]]:
    """A.6: concatenating networks (two hidden layers of each of `widths`) and modulated ones (trunk 2n, n for n in
    `trunks`, k = 4), each seed stopped when its clean error first falls to `level`, then tested with noisy codes.

    Returns a row (setting, class, parameters, noise, seed, error) for each network that reached the level, and a row
    (setting, class, parameters, reached, clean) per size: the number of seeds that did and the median clean error.
    """
    errors, sizes = [], []
    for setting, (name, centre) in NOISE_SETTINGS.items():
        task = TASKS[name]
        ends = (task.d_s, task.d_z, task.d_out)
        nets = [("concatenating", Concatenating(*ends, [width, width], seeds)) for width in widths]
        nets += [("modulated", Modulated(*ends, [2 * n, n], [8], 4, seeds)) for n in trunks]
        for kind, net in nets:
            clean = fit(net, task, len(seeds), steps=steps, stop=level)
            reached = clean <= 1.1 * level  # the stopping rule uses other points than this clean error
            row = {"setting": setting, "class": kind, "parameters": parameters_per_seed(net)}
            sizes.append(row | {"reached": int(reached.sum()), "clean": float(clean.quantile(0.5))})
            for noise in noises:
                found = noisy_error(net, task, len(seeds), centre, float(noise)).tolist()
                errors += [
                    row | {"noise": noise, "seed": seed, "error": error}
                    for seed, error, ok in zip(seeds, found, reached, strict=True)
                    if ok
                ]
    return errors, sizes
