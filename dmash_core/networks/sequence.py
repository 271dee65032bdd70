"""Sequence networks for the in-context arms, with a leading seed axis: N independent copies."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, scaled_dot_product_attention

from dmash_core.networks.layers import GRU, LayerNorm, Linear

GRU_LAYERS, TRANSFORMER_LAYERS, HEADS = 2, 3, 8


class Statistics(nn.Module):
    """Exponential moving mean and variance (N, d) of rows; the first step size is 1 (Adam's bias correction)."""

    mean: Tensor
    var: Tensor
    updates: Tensor

    def __init__(self, n_seeds: int, size: int, step: float):
        super().__init__()
        self.step = step
        self.register_buffer("mean", torch.zeros(n_seeds, size))
        self.register_buffer("var", torch.ones(n_seeds, size))
        self.register_buffer("updates", torch.zeros(n_seeds, 1, dtype=torch.float64))

    @property
    def std(self) -> Tensor:
        return self.var.clamp(min=1e-4).sqrt()

    @torch.no_grad()
    def update(self, rows: Tensor, weight: Tensor | None = None) -> None:
        """One step towards the moments of rows (N, R, d); rows with ``weight`` (N, R) zero are ignored."""
        weight = (rows.new_ones(rows.shape[:2]) if weight is None else weight).unsqueeze(-1)
        weight = weight / weight.sum(dim=1, keepdim=True)
        mean = (weight * rows).sum(dim=1)
        var = (weight * (rows - mean.unsqueeze(1)).square()).sum(dim=1)
        self.updates += 1
        beta = (self.step / (1.0 - torch.pow(1.0 - self.step, self.updates))).to(rows.dtype)
        delta = mean - self.mean
        self.var.copy_((1.0 - beta) * (self.var + beta * delta.square()) + beta * var)
        self.mean += beta * delta

    def normalise(self, rows: Tensor) -> Tensor:
        """Rows (N, R, d) scaled to mean 0 and standard deviation 1; entries that hardly vary are only centred."""
        scale = self.std.masked_fill(self.var <= 1e-4, 1.0)
        return (rows - self.mean.unsqueeze(1)) / scale.unsqueeze(1)


class LeakyMLP(nn.Module):
    """Linear layers of the given sizes with leaky ReLU between them: (N, R, sizes[0]) -> (N, R, sizes[-1])."""

    def __init__(self, n_seeds: int, sizes: Sequence[int], generators: Sequence[torch.Generator]):
        super().__init__()
        self.layers = nn.ModuleList(Linear((n_seeds,), a, b, generators) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = leaky_relu(layer(x))
        return self.layers[-1](x)


class Recurrence(nn.Module):
    """Two GRU layers, Linear and LayerNorm over timesteps. The memory is the hidden state (N, layers, B, width)."""

    def __init__(self, n_seeds: int, width: int, generators: Sequence[torch.Generator]):
        super().__init__()
        self.gru = GRU(n_seeds, width, width, GRU_LAYERS, generators)
        self.output, self.norm = Linear((n_seeds,), width, width, generators), LayerNorm(n_seeds, width)

    def start(self, batch: int) -> Tensor:
        """The memory of B environments for each seed when a warm-up begins."""
        n, width = self.norm.weight.shape
        return self.norm.weight.new_zeros(n, GRU_LAYERS, batch, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """States (N, B, L, width) of sequences (N, B, L, width), starting from zero memory."""
        return self._read(self.gru(x, self.start(x.shape[1]))[0])

    def step(self, x: Tensor, time: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The state (N, B, width) of one more timestep (N, B, width), and the memory after it."""
        x, memory = self.gru(x.unsqueeze(2), memory)
        return self._read(x).squeeze(2), memory

    def _read(self, x: Tensor) -> Tensor:
        return self.norm(self.output(x.flatten(1, 2))).unflatten(1, x.shape[1:3])


class Block(nn.Module):
    """A pre-norm Transformer layer, split in two around the attention, which the caller computes."""

    def __init__(self, n_seeds: int, width: int, generators: Sequence[torch.Generator]):
        super().__init__()
        lead = (n_seeds,)
        self.norm, self.qkv = LayerNorm(n_seeds, width), Linear(lead, width, 3 * width, generators, bias=False)
        self.output = Linear(lead, width, width, generators)
        self.second_norm, self.feed = (
            LayerNorm(n_seeds, width),
            LeakyMLP(n_seeds, (width, 4 * width, width), generators),
        )

    def after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.output(attended)
        return x + self.feed(self.second_norm(x))


class Transformer(nn.Module):
    """Linear, sinusoidal encoding of the time since the warm-up began, causal layers, LayerNorm.

    A timestep attends to the last ``reach`` timesteps, itself included. The memory is a ring buffer of their keys and
    values, (N, layers, 2, B, reach, width); slot ``time % reach`` is written in place, so repeating a step is harmless.
    """

    blocks: Any
    positions: Tensor

    def __init__(self, n_seeds: int, width: int, timesteps: int, reach: int, generators: Sequence[torch.Generator]):
        """``time`` ranges over 0, ..., ``timesteps`` - 1."""
        super().__init__()
        self.input = Linear((n_seeds,), width, width, generators)
        self.blocks = nn.ModuleList(Block(n_seeds, width, generators) for _ in range(TRANSFORMER_LAYERS))
        self.norm = LayerNorm(n_seeds, width)
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
        angle = torch.arange(timesteps).unsqueeze(1) * rate
        self.register_buffer("positions", torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1), persistent=False)
        self.reach = reach

    def start(self, batch: int) -> Tensor:
        """The memory of B environments for each seed when a warm-up begins."""
        n, width = self.norm.weight.shape
        return self.norm.weight.new_zeros(n, len(self.blocks), 2, batch, self.reach, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """States (N, B, L, width) of sequences (N, B, L, width), L <= reach, at times (N, B, L)."""
        shape = x.shape[:3]
        x = self.input(x.flatten(1, 2)) + self.positions[time.flatten(1, 2)]
        for block in self.blocks:
            q, k, v = (_heads(t.unflatten(1, shape[1:])) for t in block.qkv(block.norm(x)).chunk(3, dim=-1))
            attended = scaled_dot_product_attention(q, k, v, is_causal=True)
            x = block.after(x, attended.transpose(-3, -2).reshape(x.shape))
        return self.norm(x).unflatten(1, shape[1:])

    def step(self, x: Tensor, time: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The state (N, B, width) of one more timestep (N, B, width), and the memory with its keys and values added."""
        x = self.input(x) + self.positions[time]
        for i, block in enumerate(self.blocks):
            q, k, v = block.qkv(block.norm(x)).chunk(3, dim=-1)
            memory[:, i, :, :, time % self.reach] = torch.stack([k, v], dim=1)
            k, v = (_heads(memory[:, i, j, :, : time + 1]) for j in (0, 1))
            attended = scaled_dot_product_attention(_heads(q.unsqueeze(2)), k, v)
            x = block.after(x, attended.transpose(-3, -2).reshape(x.shape))
        return self.norm(x), memory


class PosteriorEncoder(nn.Module):
    """VariBAD's encoder: a GRU over embeddings of a and s' gives a Gaussian posterior after each transition.

    Windows contain rows [s, a, s' - s] in time order, (N, B, K, 2 d_s + d_a).
    """

    def __init__(self, n_seeds: int, n_obs: int, n_act: int, n_code: int, generators: Sequence[torch.Generator]):
        super().__init__()
        lead = (n_seeds,)
        self.sizes = [n_obs, n_act, n_obs]
        self.action, self.state = Linear(lead, n_act, 32, generators), Linear(lead, n_obs, 32, generators)
        self.gru = GRU(n_seeds, 64, 128, 1, generators)
        self.heads = Linear(lead, 128, 2 * n_code, generators)

    def posteriors(self, windows: Tensor) -> Tensor:
        """Mean and log-variance, concatenated, after each transition, (N, B, K, 2 n_code)."""
        s, a, difference = windows.flatten(1, 2).split(self.sizes, dim=-1)
        x = torch.relu(torch.cat([self.action(a), self.state(s + difference)], dim=-1))
        n, b, k = windows.shape[:3]
        states, _ = self.gru(x.unflatten(1, (b, k)), x.new_zeros(n, 1, b, 128))
        return self.heads(states.flatten(1, 2)).unflatten(1, (b, k))

    def forward(self, windows: Tensor) -> Tensor:
        """Mean and log-variance after the last transition, (N, B, 2 n_code)."""
        return self.posteriors(windows)[:, :, -1]


class Decoder(nn.Module):
    """VariBAD's dynamics model: [s, a, z] -> 256 -> 128 -> s', for every pair of code and transition."""

    def __init__(self, n_seeds: int, n_in: int, n_obs: int, generators: Sequence[torch.Generator]):
        super().__init__()
        sizes = (n_in, 256, 128, n_obs)
        self.first, self.second, self.head = (Linear((n_seeds,), a, b, generators) for a, b in pairwise(sizes))

    def forward(self, steps: Tensor, z: Tensor) -> Tensor:
        """s' (N, B, Z, J, d_s) of J steps [s, a] (N, B, J, d_s + d_a) under each of Z codes (N, B, Z, n_code).

        Four windows at a time: the activations of all would not fit in cache.
        """
        chunks = zip(steps.split(4, dim=1), z.split(4, dim=1), strict=True)
        return torch.cat([self._pairs(*chunk) for chunk in chunks], dim=1)

    def _pairs(self, steps: Tensor, z: Tensor) -> Tensor:
        w_step, w_code = self.first.weight.unsqueeze(1).split([steps.shape[-1], z.shape[-1]], dim=2)
        x = torch.relu_((z @ w_code).unsqueeze(3) + (steps @ w_step + self.first.bias.unsqueeze(1)).unsqueeze(2))
        return self.head(torch.relu_(self.second(x.flatten(1, 3)))).unflatten(1, x.shape[1:4])


def _heads(x: Tensor) -> Tensor:
    """(N, B, L, width) to (N, B, heads, L, width / heads)."""
    return x.unflatten(-1, (HEADS, -1)).transpose(-3, -2)
