"""The context encoder g_phi maps a window of transitions to the embedding z (Benad et al. 2026, section on DMA)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from dmash_core.networks.layers import LSTM, Affine, Linear, make_norm


def subset_size(window: int, fraction: float = 0.2) -> int:
    """k = int(0.2 K), at least 1: how many of a window's K transitions the encoder reads."""
    return max(1, int(fraction * window))


def evaluation_positions(window: int, whole: bool = False) -> np.ndarray:
    """The k positions read when acting and in evaluation: evenly spaced over the window, in time order, int (k,)."""
    if whole:
        return np.arange(window)
    return np.linspace(0, window - 1, subset_size(window)).astype(np.int64)


def random_positions(uniforms: Tensor, whole: bool = False) -> Tensor:
    """k distinct positions of a window in random order, (..., k) int64, from independent uniforms (..., K).

    The indices of the k largest of K independent uniforms are a uniformly random subset in uniformly random order.
    """
    if whole:
        return torch.arange(uniforms.shape[-1], device=uniforms.device).expand(uniforms.shape)
    return uniforms.topk(subset_size(uniforms.shape[-1]), dim=-1).indices


class Encoder(nn.Module):
    """Linear, input norm, LSTM, Linear, output norm: transitions (N, B, k, 2 d_s + d_a) -> z (N, B, 8).

    A transition is the row [s, a, s' - s]. The Linear layers have no bias. A Gaussian encoder (arms dma-pearl, pearl)
    has a second output Linear and norm, whose softplus is the variance of z. WindowNorm precedes everything else, masks
    included: ``Layout.read`` then returns standardised transitions.
    """

    parts: Tensor

    def __init__(
        self,
        n_seeds: int,
        n_obs: int,
        n_act: int,
        n_embedding: int,
        hidden: int,
        input_norm: str,
        output_norm: str,
        gaussian: bool,
        generators: Sequence[torch.Generator],
    ):
        super().__init__()
        self.input = Linear((n_seeds,), 2 * n_obs + n_act, hidden, generators, bias=False)
        self.lstm = LSTM(n_seeds, hidden, hidden, generators)
        self.output = Linear((n_seeds,), hidden, n_embedding, generators, bias=False)
        window_norm = input_norm == "windownorm"
        self.window_norm = Affine(n_seeds, 2 * n_obs + n_act) if window_norm else None
        self.input_norm = make_norm("none" if window_norm else input_norm, n_seeds, hidden)
        self.output_norm = make_norm(output_norm, n_seeds, n_embedding)
        if gaussian:
            self.variance = Linear((n_seeds,), hidden, n_embedding, generators, bias=False)
            self.variance_norm = make_norm(output_norm, n_seeds, n_embedding)
        # index of the masked vector (s, a or s' - s) that each entry of a row belongs to
        parts = torch.tensor([0] * n_obs + [1] * n_act + [2] * n_obs)
        self.register_buffer("parts", parts, persistent=False)

    def forward(self, transitions: Tensor, keep: Tensor | None = None) -> Tensor:
        """z, or its mean if Gaussian.

        ``keep`` (N, B, k, 3) is 0 where the vector s, a or s' - s of a step is masked, else 1.
        """
        return self.output_norm(self.output(self.features(transitions, keep)))

    def posterior(self, transitions: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance of a Gaussian z, (N, B, 8) each."""
        hidden = self.features(transitions, keep)
        variance = softplus(self.variance_norm(self.variance(hidden)))
        return self.output_norm(self.output(hidden)), variance.clamp(min=1e-8)  # softplus underflows to 0 below -104

    def features(self, transitions: Tensor, keep: Tensor | None) -> Tensor:
        """The LSTM's last hidden state (N, B, 32)."""
        if self.window_norm is not None:
            transitions = self.window_norm(transitions)
        if keep is not None:
            transitions = transitions * keep.index_select(-1, self.parts)
        rows = self.input(transitions.flatten(1, 2)).unflatten(1, transitions.shape[1:3])
        return self.lstm(self.input_norm(rows))
