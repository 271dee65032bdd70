"""Layers with leading axes: N independent networks (seeds, twin critics) evaluated as one.

A layer with ``lead = (N,)`` has N independent copies of its parameters and maps (N, B, in) to (N, B, out);
``lead = (N, 2)`` adds the twin axis of the critics. Every layer uses PyTorch's default initialisation, drawn from one
generator per seed, so a seed has the same parameters alone and in a block.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Lead = tuple[int, ...]


def uniform_parameter(
    lead: Lead, shape: Sequence[int], bound: float, generators: Sequence[torch.Generator]
) -> nn.Parameter:
    """A parameter (*lead, *shape), uniform on [-bound, bound]; ``lead[0]`` is the seed axis, one generator per seed."""
    values = [torch.empty(*lead[1:], *shape).uniform_(-bound, bound, generator=g) for g in generators]
    return nn.Parameter(torch.stack(values))


class Linear(nn.Module):
    """Affine map (*lead, B, in) -> (*lead, B, out); weight and bias uniform on +-1/sqrt(in), as in PyTorch."""

    def __init__(self, lead: Lead, n_in: int, n_out: int, generators: Sequence[torch.Generator], bias: bool = True):
        super().__init__()
        self.lead = lead
        bound = 1.0 / math.sqrt(n_in)
        self.weight = uniform_parameter(lead, (n_in, n_out), bound, generators)
        self.bias: Any = uniform_parameter(lead, (1, n_out), bound, generators) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.lead) - 1
        x, weight = x.flatten(0, last), self.weight.flatten(0, last)
        y = torch.bmm(x, weight)
        if self.bias is not None:
            y.add_(self.bias.flatten(0, last))  # baddbmm would fill y with the bias first and read it again
        return y.unflatten(0, self.lead)


class MLP(nn.Module):
    """Trunk of two hidden layers and a linear head: (*lead, B, in) -> (*lead, B, out).

    ``modulate`` is applied to the trunk's features x, the output of the second layer before any activation: ReLU in
    networks without an adapter, otherwise the adapter x -> ReLU(x + W_up ReLU(W_down x + b_down) + b_up).
    """

    def __init__(self, lead: Lead, n_in: int, n_out: int, width: int, generators: Sequence[torch.Generator]):
        super().__init__()
        self.first = Linear(lead, n_in, width, generators)
        self.second = Linear(lead, width, width, generators)
        self.head = Linear(lead, width, n_out, generators)

    def forward(self, x: Tensor, modulate=torch.relu) -> Tensor:
        return self.head(modulate(self.second(torch.relu(self.first(x)))))


class LSTM(nn.Module):
    """One LSTM layer with a leading seed axis: (N, B, k, in) -> last hidden state (N, B, hidden).

    Gate order and the two bias vectors follow torch.nn.LSTM; all parameters are uniform on +-1/sqrt(hidden).
    """

    def __init__(self, n_seeds: int, n_in: int, hidden: int, generators: Sequence[torch.Generator]):
        super().__init__()
        lead, bound = (n_seeds,), 1.0 / math.sqrt(hidden)
        self.weight_ih = uniform_parameter(lead, (n_in, 4 * hidden), bound, generators)
        self.weight_hh = uniform_parameter(lead, (hidden, 4 * hidden), bound, generators)
        self.bias_ih = uniform_parameter(lead, (1, 4 * hidden), bound, generators)
        self.bias_hh = uniform_parameter(lead, (1, 4 * hidden), bound, generators)

    def forward(self, x: Tensor) -> Tensor:
        # PyTorch's fused kernel, once per seed: twice as fast on a CPU as a batched loop over the steps. It expects
        # transposed weights.
        start = x.new_zeros(1, x.shape[1], self.weight_hh.shape[1])
        last = []
        for rows, w_ih, w_hh, b_ih, b_hh in zip(
            x, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, strict=True
        ):
            weights = [w_ih.T, w_hh.T, b_ih[0], b_hh[0]]
            _, hidden, _ = torch.lstm(rows, (start, start), weights, True, 1, 0.0, self.training, False, True)
            last.append(hidden[0])
        return torch.stack(last)


class GRU(nn.Module):
    """GRU layers with a leading seed axis: (N, B, L, in), state (N, layers, B, hidden) -> (N, B, L, hidden), state.

    Gate order and bias vectors follow torch.nn.GRU; all parameters are uniform on +-1/sqrt(hidden).
    """

    def __init__(self, n_seeds: int, n_in: int, hidden: int, layers: int, generators: Sequence[torch.Generator]):
        super().__init__()
        bound = 1.0 / math.sqrt(hidden)
        shapes = [
            shape
            for layer in range(layers)
            for shape in ((3 * hidden, hidden if layer else n_in), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
        ]
        self.weights = nn.ParameterList(uniform_parameter((n_seeds,), shape, bound, generators) for shape in shapes)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        seeds = zip(x, state, *self.weights, strict=True)
        layers = len(self.weights) // 4
        results = [torch.gru(x, h, w, True, layers, 0.0, self.training, False, True) for x, h, *w in seeds]
        y, h = (torch.stack(parts) for parts in zip(*results, strict=True))
        return y, h


def avg_l1_norm(x: Tensor) -> Tensor:
    """x / max(mean |x|, 1e-8) over the last axis (the input norm of DMA* and DMA*-SH)."""
    return x / x.abs().mean(-1, keepdim=True).clamp(min=1e-8)


def sim_norm(x: Tensor, groups: int = 2) -> Tensor:
    """Softmax within each of ``groups`` equal groups of the last axis (the output norm of DMA* and DMA*-SH)."""
    return x.unflatten(-1, (groups, -1)).softmax(-1).flatten(-2)


class Affine(nn.Module):
    """weight * x + bias per feature, initially 1 and 0, with a leading seed axis: (N, ..., n) -> (N, ..., n)."""

    def __init__(self, n_seeds: int, n: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n_seeds, n)), nn.Parameter(torch.zeros(n_seeds, n))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (t.view(len(t), *[1] * (x.ndim - 2), -1) for t in (self.weight, self.bias))
        return x * weight + bias


class LayerNorm(Affine):
    """PyTorch's affine layer norm over the last axis, with a leading seed axis: (N, ..., n) -> (N, ..., n)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.nn.functional.layer_norm(x, x.shape[-1:]))


def standardise(x: Tensor) -> Tensor:
    """(x - mean) / (std + 1e-5) over the second-to-last axis, std with n - 1: WindowNorm without its affine map."""
    return (x - x.mean(-2, keepdim=True)) / (x.std(-2, keepdim=True) + 1e-5)


OUTPUT_NORMS = ("none", "layernorm", "avgl1", "simnorm")
INPUT_NORMS = (*OUTPUT_NORMS, "windownorm")


def make_norm(name: str, n_seeds: int, n: int) -> Callable[[Tensor], Tensor]:
    """The norm called ``name`` (one of OUTPUT_NORMS) over n features."""
    if name == "layernorm":
        return LayerNorm(n_seeds, n)
    return {"none": lambda x: x, "avgl1": avg_l1_norm, "simnorm": sim_norm}[name]
