"""The two forms of the hypernetwork h_eta, and the adapters that they generate.

omega has k * width + k + width * k + width entries (16,672 at width 256 and k = 32) in the order W_down (k, width) row
by row, b_down (k), W_up (width, k) row by row, b_up (width).

``ChunkedHypernetwork`` matches the paper's parameter counts: k + 1 = 33 passes of one small network, each generating
2 * width = 512 entries of omega. ``WholeHypernetwork``, the default of the paper's release, has one output per entry.
Calling either with codes builds omega. ``adapter`` returns the adapters in the form that is fastest to apply, for use
in several networks or passes; ``adapt`` applies them once, with one code per row.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dmash_core.networks.layers import Lead, Linear, uniform_parameter

CHUNK_EMBEDDING = 8  # dimensions of the learned embedding that selects the chunk to generate


class AdapterWeights(NamedTuple):
    """omega: one set of adapter weights for each of G codes; ``up`` is the paper's W_up transposed."""

    down: Tensor  # (..., G, k, width)
    up: Tensor  # (..., G, k, width)
    b_down: Tensor  # (..., G, k)
    b_up: Tensor  # (..., G, width)

    def adapt(self, x: Tensor) -> Tensor:
        """ReLU(x + W_up ReLU(W_down x + b_down) + b_up) for x (..., G, M, width): M rows for each of G codes."""
        flat = x.flatten(0, -3)
        down, up = self.down.flatten(0, -3), self.up.flatten(0, -3)
        u = torch.relu(torch.baddbmm(self.b_down.flatten(0, -2).unsqueeze(1), flat, down.transpose(1, 2)))
        y = torch.baddbmm(self.b_up.flatten(0, -2).unsqueeze(1), u, up)
        return torch.relu(flat + y).unflatten(0, x.shape[:-2])


class ChunkFeatures(NamedTuple):
    """omega of a chunked hypernetwork, unbuilt: the features of each chunk, and the last layer that all chunks share,
    reshaped for the chunks of W_down and for those of W_up."""

    down: Tensor  # (n, G, k / 2, hidden), features of the chunks before b_down
    up: Tensor  # (n, G, k / 2 + 1, hidden), features of the chunk that has b_down and of those after it
    w_down: Tensor  # (n, 2 hidden, width)
    w_up: Tensor  # (n, (2 width / k) hidden, k)
    bias: Tensor  # (n, 2 width)
    b_down: Tensor  # (n, G, k)
    b_up: Tensor  # (n, G, width)

    def adapt(self, x: Tensor) -> Tensor:
        """As ``AdapterWeights.adapt``; n is the product of the axes before G."""
        return _ChunkedAdapter.apply(x.flatten(0, -4), *self).unflatten(0, x.shape[:-3])


Adapter = AdapterWeights | ChunkFeatures
"""The adapters of G codes, in either form."""


class ChunkedHypernetwork(nn.Module):
    """[code, e_c] -> hidden -> hidden -> chunk c of omega, for k + 1 chunks of 2 * width entries.

    ReLU, linear output, PyTorch's default initialisation (``lead`` as in layers.py). e_c in R^8 is a learned embedding
    of the chunk, initialised from a standard normal. Outputs past omega's last entry are discarded.

    Each chunk c < k / 2 is two rows of W_down. Each of the others is 2 * width / k rows of W_up, shifted by one because
    chunk k / 2 starts with b_down. The last chunk contains b_up.
    """

    def __init__(
        self, lead: Lead, n_code: int, hidden: int, width: int, bottleneck: int, generators: Sequence[torch.Generator]
    ):
        super().__init__()
        self.bottleneck, self.width = bottleneck, width
        shape = (*lead[1:], bottleneck + 1, CHUNK_EMBEDDING)
        self.chunks = nn.Parameter(torch.stack([torch.randn(shape, generator=g) for g in generators]))
        self.first = Linear(lead, n_code + CHUNK_EMBEDDING, hidden, generators)
        self.second = Linear(lead, hidden, hidden, generators)
        self.last = Linear(lead, hidden, 2 * width, generators)

    def features(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, G, C, hidden), n = prod(lead), for codes (*lead, G, n_code): of the C = k / 2 chunks of W_down,
        and of the k / 2 + 1 others."""
        last, k = len(self.first.lead) - 1, self.bottleneck
        w_code, w_chunk = self.first.weight.split([code.shape[-1], CHUNK_EMBEDDING], dim=-2)
        x, e = (code @ w_code).flatten(0, last), (self.chunks @ w_chunk + self.first.bias).flatten(0, last)
        second = self.second.weight.flatten(0, last), self.second.bias.flatten(0, last)
        return tuple(_ChunkFeatures.apply(x, part, *second) for part in e.split([k // 2, k // 2 + 1], dim=-2))

    def forward(self, code: Tensor) -> AdapterWeights:
        """omega for codes (*lead, G, n_code)."""
        k, width = self.bottleneck, self.width
        parts = (part.unflatten(0, self.first.lead) for part in self.features(code))
        down, rest = (self.last(part.flatten(-3, -2)).unflatten(-2, part.shape[-3:-1]).flatten(-2) for part in parts)
        b_down, up, b_up, _ = rest.split([k, width * k, width, width - k], dim=-1)
        return AdapterWeights(down.unflatten(-1, (k, width)), up.unflatten(-1, (width, k)).mT, b_down, b_up)

    def adapter(self, code: Tensor) -> ChunkFeatures:
        """The adapters of codes (*lead, G, n_code), differentiable."""
        k, width, last = self.bottleneck, self.width, len(self.first.lead) - 1
        down, up = self.features(code)
        weight, bias = self.last.weight.flatten(0, last), self.last.bias.flatten(0, last)
        first, final = up[:, :, :: k // 2].unbind(2)  # one slice: autograd allocates a tensor the size of up per slice
        b_down = torch.baddbmm(bias[..., :k], first, weight[..., :k])
        b_up = torch.baddbmm(bias[..., k : k + width], final, weight[..., k : k + width])
        rows, columns = (weight.unflatten(-1, (-1, size)).transpose(1, 2).flatten(1, 2) for size in (width, k))
        return ChunkFeatures(down, up, rows, columns, bias.squeeze(1), b_down, b_up)

    def adapt(self, x: Tensor, code: Tensor) -> Tensor:
        """The adapter on x (*lead, G, width) with one code per row, differentiable in x, code and parameters."""
        return self.adapter(code).adapt(x.unsqueeze(-2)).squeeze(-2)


class WholeHypernetwork(nn.Module):
    """code -> hidden -> hidden -> omega, ReLU, linear output, PyTorch's default initialisation.

    The last layer is stored in the shapes in which it is used, with its bias as the last row: for features h and
    h1 = [h, 1], W_down = sum_j h1_j D_j, W_up^T = sum_j h1_j U_j and (b_down, b_up) = h1 A, where D and U have shape
    (hidden + 1, k, width) and A has shape (hidden + 1, k + width).
    """

    leaves_out = True  # skip features that are 0 for every code, on a CPU

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

    def features(self, code: Tensor) -> tuple[Tensor, Tensor | None]:
        """h1 (n, G, J) for codes (*lead, G, n_code), n = prod(lead), and the indices of these J features (None: all).

        On a CPU, features that are 0 for every code (half of them in a trained network) are skipped and their
        parameters get no gradient, which is exact. On a GPU, finding them would force a synchronisation.
        """
        h = torch.relu(self.second(torch.relu(self.first(code)))).flatten(0, len(self.first.lead) - 1)
        h1 = torch.cat([h, h.new_ones(()).expand(*h.shape[:-1], 1)], dim=-1)
        if not (self.leaves_out and h.device.type == "cpu"):
            return h1, None
        alive = (h1 > 0).flatten(0, 1).any(0).nonzero().squeeze(-1)
        return h1[..., alive], alive

    def _layers(self, alive: Tensor | None) -> list[Tensor]:
        """The last layer restricted to some features: (n, J, k, width) twice, and (n, J, k + width)."""
        parts = [part.flatten(0, len(self.first.lead) - 1) for part in (self.down, self.up, self.biases)]
        return parts if alive is None else [part.index_select(1, alive) for part in parts]

    def forward(self, code: Tensor) -> AdapterWeights:
        """omega for codes (*lead, G, n_code)."""
        h1, alive = self.features(code)
        down, up, biases = (
            torch.bmm(h1, part.flatten(2)).unflatten(0, self.first.lead).unflatten(-1, part.shape[2:])
            for part in self._layers(alive)
        )
        return AdapterWeights(down, up, *biases.split([self.bottleneck, self.width], dim=-1))

    adapter = forward

    def adapt(self, x: Tensor, code: Tensor) -> Tensor:
        """Like ``ChunkedHypernetwork.adapt``; omega is not built here either."""
        h1, alive = self.features(code)
        x = x.flatten(0, len(self.first.lead) - 1)
        return _FactoredAdapter.apply(x, h1, *self._layers(alive)).unflatten(0, self.first.lead)


HYPERNETWORKS = {"chunked": ChunkedHypernetwork, "whole": WholeHypernetwork}


class _ChunkFeatures(torch.autograd.Function):
    """ReLU(ReLU(x_g + e_c) W + b), (n, G, C, hidden), where x (n, G, hidden) and e (n, C, hidden) are the parts of the
    first layer's output that depend on the code and on the chunk. The tensors do not fit in cache, and this makes fewer
    passes over them than autograd's own graph."""

    @staticmethod
    def forward(ctx, x, e, weight, bias):
        h = torch.relu_(x.unsqueeze(2) + e.unsqueeze(1))
        y = torch.relu_(torch.bmm(h.flatten(1, 2), weight).add_(bias)).view_as(h)
        ctx.save_for_backward(h, weight, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        h, weight, y = ctx.saved_tensors
        g = torch.ops.aten.threshold_backward(grad, y, 0.0).flatten(1, 2)
        d_h = torch.bmm(g, weight.mT).view_as(h)
        d_h = torch.ops.aten.threshold_backward(d_h, h, 0.0)
        return d_h.sum(2), d_h.sum(1), torch.bmm(h.flatten(1, 2).mT, g), g.sum(1, keepdim=True)


class _ChunkedAdapter(torch.autograd.Function):
    """The adapter on features x (n, B, M, width), with M rows for each of B codes.

    Chunk c of W_down is two of its rows and all chunks share the last layer (L, l), so row 2 c + i of W_down x is
    h_c . t_i + (l x)_i with t = L x and L viewed as (2, hidden, width). Likewise, entry q of chunk c of W_up u is
    h_c . v_q + (l u)_q with v = L u and L viewed as (2 width / k, hidden, k). omega (B x 16,672) is never built,
    neither forward nor backward. The other arguments are those of ``ChunkFeatures``.
    """

    @staticmethod
    def forward(ctx, x, down, up, w_down, w_up, bias, b_down, b_up):
        (n, b, m, width), k = x.shape, b_down.shape[-1]
        slots, rows = 2 * width // k, n * b
        xs = x.reshape(n, b * m, width)
        t = torch.bmm(xs, w_down.mT).view(rows, 2 * m, -1)
        t_bias = torch.bmm(xs, bias.view(n, 2, width).mT).view(rows, 1, 2 * m)
        u = torch.baddbmm(t_bias, down.flatten(0, 1), t.mT).view(n, b, k // 2, m, 2)
        u = torch.relu_(u.transpose(2, 3).reshape(n, b, m, k).add_(b_down.unsqueeze(2)))
        us = u.view(n, b * m, k)
        v = torch.bmm(us, w_up.mT).view(rows, slots * m, -1)
        v_bias = torch.bmm(us, bias.view(n, slots, k).mT).view(rows, 1, slots * m)
        y = torch.baddbmm(v_bias, up.flatten(0, 1), v.mT).view(n, b, k // 2 + 1, m, slots)
        y = y.transpose(2, 3).reshape(n, b, m, -1)[..., 1 : width + 1]
        y = torch.relu_((x + b_up.unsqueeze(2)).add_(y))
        # With a constant code, backward needs none of x, t and v, so their memory can be reused at once.
        inputs = (xs, t, v) if any(ctx.needs_input_grad[1:]) else ()
        ctx.save_for_backward(down, up, w_down, w_up, bias, u, y, *inputs)
        return y

    @staticmethod
    def backward(ctx, grad):
        down, up, w_down, w_up, bias, u, y, *inputs = ctx.saved_tensors
        (n, b, m, width), k = y.shape, u.shape[-1]
        slots, rows = 2 * width // k, n * b
        l_down, l_up = bias.view(n, 2, width), bias.view(n, slots, k)
        g = torch.ops.aten.threshold_backward(grad, y, 0.0).contiguous()
        d_out = torch.nn.functional.pad(g, (1, slots - 1)).view(rows, m, -1, slots).transpose(2, 3)
        d_out = d_out.reshape(rows, m * slots, -1)
        d_v, dv_bias = torch.bmm(d_out, up.flatten(0, 1)).view(n, b * m, -1), d_out.sum(2).view(n, b * m, -1)
        d_u = torch.bmm(d_v, w_up).baddbmm_(dv_bias, l_up)
        d_u = torch.ops.aten.threshold_backward(d_u, u.view_as(d_u), 0.0)
        d_rows = d_u.view(rows, m, -1, 2).transpose(2, 3).reshape(rows, m * 2, -1)
        d_t, dt_bias = torch.bmm(d_rows, down.flatten(0, 1)).view(n, b * m, -1), d_rows.sum(2).view(n, b * m, -1)
        d_x = torch.baddbmm(g.view(n, b * m, width), d_t, w_down).baddbmm_(dt_bias, l_down).view_as(g)
        if not inputs:
            return d_x, *[None] * 7
        xs, t, v = inputs
        d_down, d_up = torch.bmm(d_rows.mT, t).view_as(down), torch.bmm(d_out.mT, v).view_as(up)
        d_bias = torch.bmm(dt_bias.mT, xs).view(bias.shape)
        d_bias += torch.bmm(dv_bias.mT, u.view(n, b * m, k)).view(bias.shape)
        d_w_down, d_w_up = torch.bmm(d_t.mT, xs), torch.bmm(d_v.mT, u.view(n, b * m, k))
        return d_x, d_down, d_up, d_w_down, d_w_up, d_bias, d_u.view(n, b, m, k).sum(2), g.sum(2)


class _FactoredAdapter(torch.autograd.Function):
    """The adapter for one code per row. omega (B x 16,672) is never built, neither forward nor backward.

    With T_bjk = sum_i x_bi D_jki the first layer is sum_j h1_bj T_bjk, and with P_bjk = h1_bj u_bk the second is
    sum_jk P_bjk U_jki: two products of (B x width) with (width x 65 k) instead of two of (B x 65) with (65 x k width),
    each of whose results must be read again. Shapes: x (N, B, width), h1 (N, B, 65), down and up (N, 65, k, width),
    biases (N, 65, k + width); 65 is smaller where features are skipped.
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
