"""The hypernetwork h_eta, its adapter weights omega, and two ways to apply an adapter.

The last layer is stored in the shapes in which it is used, with its bias as the 65th row: for hidden features
h in R^64 let h1 = [h, 1]; then W_down = sum_j h1_j D_j, W_up^T = sum_j h1_j U_j, (b_down, b_up) = h1 A, with
D (65, 32, 256), U (65, 32, 256), A (65, 288). Together they are the 16,672 outputs of a plain Linear(64 -> 16,672).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dmash_core.networks.layers import Lead, Linear, uniform_parameter


class AdapterWeights(NamedTuple):
    """omega, one set of adapter weights for each of G codes; ``up`` is the transpose of the paper's W_up."""

    down: Tensor  # (..., G, k, width)
    up: Tensor  # (..., G, k, width)
    b_down: Tensor  # (..., G, k)
    b_up: Tensor  # (..., G, width)


class Hypernetwork(nn.Module):
    """code -> 64 -> 64 -> omega, ReLU, linear output, PyTorch's default initialisation (``lead`` as in layers.py)."""

    def __init__(
        self, lead: Lead, n_code: int, hidden: int, width: int, bottleneck: int, generators: Sequence[torch.Generator]
    ):
        super().__init__()
        self.first = Linear(lead, n_code, hidden, generators)
        self.second = Linear(lead, hidden, hidden, generators)
        self.bottleneck, self.width = bottleneck, width
        bound = 1.0 / math.sqrt(hidden)
        self.down = uniform_parameter(lead, (hidden + 1, bottleneck, width), bound, generators)
        self.up = uniform_parameter(lead, (hidden + 1, bottleneck, width), bound, generators)
        self.biases = uniform_parameter(lead, (hidden + 1, bottleneck + width), bound, generators)

    def features(self, code: Tensor) -> Tensor:
        """h1 (*lead, G, 65) for codes (*lead, G, n_code)."""
        h = torch.relu(self.second(torch.relu(self.first(code))))
        return torch.cat([h, h.new_ones(()).expand(*h.shape[:-1], 1)], dim=-1)

    def forward(self, code: Tensor, out: tuple[Tensor, Tensor] | None = None) -> AdapterWeights:
        """omega for codes (*lead, G, n_code). ``out``: two buffers (*lead, G, k * width) to use."""
        h1 = self.features(code)
        last = len(self.first.lead) - 1
        flat = h1.flatten(0, last)
        down, up = (
            torch.bmm(flat, part.flatten(-2).flatten(0, last), out=None if out is None else buffer.flatten(0, last))
            .unflatten(0, self.first.lead)
            .unflatten(-1, (self.bottleneck, self.width))
            for part, buffer in zip((self.down, self.up), out or (None, None), strict=True)
        )
        biases = torch.bmm(flat, self.biases.flatten(0, last)).unflatten(0, self.first.lead)
        return AdapterWeights(down, up, *biases.split([self.bottleneck, self.width], dim=-1))

    def adapt(self, x: Tensor, code: Tensor) -> Tensor:
        """The adapter with one code per row, differentiable in x, code and parameters, without building omega."""
        h1, last = self.features(code), len(self.first.lead) - 1
        flat = [t.flatten(0, last) for t in (x, h1, self.down, self.up, self.biases)]
        return _FactoredAdapter.apply(*flat).unflatten(0, self.first.lead)


def adapt(x: Tensor, omega: AdapterWeights) -> Tensor:
    """ReLU(x + W_up ReLU(W_down x + b_down) + b_up) for x (..., G, M, width): M rows for each of G codes."""
    lead = x.shape[:-2]
    flat = x.flatten(0, -3)
    down, up = omega.down.flatten(0, -3), omega.up.flatten(0, -3)
    u = torch.relu(torch.baddbmm(omega.b_down.flatten(0, -2).unsqueeze(1), flat, down.transpose(1, 2)))
    y = torch.baddbmm(omega.b_up.flatten(0, -2).unsqueeze(1), u, up)
    return torch.relu(flat + y).unflatten(0, lead)


class _FactoredAdapter(torch.autograd.Function):
    """The adapter for one code per row. omega (B x 16,672) is never built, neither forward nor backward.

    With T_bjk = sum_i x_bi D_jki the first layer is sum_j h1_bj T_bjk, and with P_bjk = h1_bj u_bk the second is
    sum_jk P_bjk U_jki: two products of (B x width) with (width x 65 k) instead of two of (B x 65) with (65 x k width)
    and as many reads of the result. Shapes here: x (N, B, width), h1 (N, B, 65), down and up (N, 65, k, width),
    biases (N, 65, k + width).
    """

    @staticmethod
    def forward(ctx, x, h1, down, up, biases):
        bottleneck = down.shape[-2]
        flat_down, flat_up = down.flatten(1, 2), up.flatten(1, 2)
        t = torch.bmm(x, flat_down.transpose(1, 2)).unflatten(-1, down.shape[1:3])  # (N, B, 65, k)
        b = torch.bmm(h1, biases)
        u = torch.relu((h1.unsqueeze(-1) * t).sum(-2) + b[..., :bottleneck])
        p = (h1.unsqueeze(-1) * u.unsqueeze(-2)).flatten(-2)  # (N, B, 65 k)
        y = torch.relu_(torch.baddbmm(x + b[..., bottleneck:], p, flat_up))
        ctx.save_for_backward(x, h1, down, up, biases, t, u, p, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, h1, down, up, biases, t, u, p, y = ctx.saved_tensors
        flat_down, flat_up = down.flatten(1, 2), up.flatten(1, 2)
        g = grad * (y > 0)
        d_up = torch.bmm(p.transpose(1, 2), g).view_as(up)
        d_p = torch.bmm(g, flat_up.transpose(1, 2)).view_as(t)
        d_u = (h1.unsqueeze(-1) * d_p).sum(-2) * (u > 0)
        d_t = (h1.unsqueeze(-1) * d_u.unsqueeze(-2)).flatten(-2)
        d_down = torch.bmm(d_t.transpose(1, 2), x).view_as(down)
        d_b = torch.cat([d_u, g], dim=-1)
        d_h1 = (d_p * u.unsqueeze(-2)).sum(-1) + (t * d_u.unsqueeze(-2)).sum(-1)
        d_h1 = torch.baddbmm(d_h1, d_b, biases.transpose(1, 2))
        d_x = torch.baddbmm(g, d_t, flat_down)
        return d_x, d_h1, d_down, d_up, torch.bmm(h1.transpose(1, 2), d_b)
