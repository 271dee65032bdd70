"""The arm ``varibad``: SAC on the belief of a recurrent encoder (Zintgraf et al. 2020, arXiv:1910.08348)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmash_core.agents.amago import set_clipped_grads
from dmash_core.agents.sac import Agent
from dmash_core.networks.layers import Lead
from dmash_core.networks.sequence import Decoder, PosteriorEncoder
from dmash_core.replay import Batch


class VariBAD(Agent):
    """SAC on the belief of VariBAD (Zintgraf et al. 2020, arXiv:1910.08348), its reward decoder left out.

    Its published form for varying dynamics, but that the policy is a SAC: after each transition of a window the encoder
    tells a Gaussian, a sample of which has to decode all K transitions of the window; the KL to the Gaussian before it,
    the first's to N(0, I), is charged. That loss trains encoder and decoder, on one window of each training context in
    a batch (the release's: ten trajectories); actor and critics are told the last Gaussian's mean and log-variance.
    Learning rate and clip of that loss are VariBAD's, not the settings of SAC.
    """

    LEARNING_RATE = 1e-3

    def __init__(self, *args):
        super().__init__(*args)
        self.optimizers["dynamics"].param_groups[0]["lr"] = self.LEARNING_RATE

    def _code_size(self) -> int:
        return 2 * self.method.embedding

    def _network(
        self, name: str, lead: Lead, n_in: int, n_out: int, generators: Sequence[torch.Generator]
    ) -> nn.Module:
        if name != "dynamics":
            return super()._network(name, lead, n_in, n_out, generators)
        n_step = self.layout.n_obs + self.layout.n_act
        return Decoder(self.n, n_step + self.method.embedding, n_out, generators)

    def _encoder(self, generators: Sequence[torch.Generator]) -> PosteriorEncoder:
        layout = self.layout
        return PosteriorEncoder(self.n, layout.n_obs, layout.n_act, self.method.embedding, generators)

    def embed(self, batch: Batch, passes: slice) -> tuple[Tensor, None]:
        """Mean and log-variance (N, P B, 20) of the batch's windows, which are the same for all P passes."""
        assert batch.windows is not None
        z = self.modules["encoder"](batch.windows[:, 0])
        return z.repeat(1, len(range(*passes.indices(batch.windows.shape[1]))), 1), None

    def update_dynamics(self, batch: Batch) -> dict[str, Tensor]:
        """The negative ELBO's step: error summed over dimensions' means, KL over dimensions, both over posteriors."""
        assert batch.windows is not None and batch.code_noise is not None
        windows = batch.windows[:, 0, :: batch.windows.shape[2] // batch.code_noise.shape[1]]
        error, kl = self.elbo(windows, batch.code_noise)
        set_clipped_grads(
            (error.sum(dim=(2, 3)) + self.method.beta * kl.sum(dim=2)).mean(dim=1), self.groups["dynamics"]
        )
        self.optimizers["dynamics"].step()
        return {"dynamics_loss": error.detach().mean(dim=(1, 2, 3)), "kl": kl.detach().mean(dim=(1, 2))}

    def elbo(self, windows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Of windows (N, B, K, .) with ``noise`` (N, B, K, 10): the mean squared error over the dimensions of s' when
        the posterior after transition t decodes transition j, (N, B, K, K), and the posterior's KL, (N, B, K)."""
        mean, log_variance = self.modules["encoder"].posteriors(windows).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * noise
        n_obs = self.layout.n_obs
        s, difference = windows[..., :n_obs], windows[..., -n_obs:]
        decoded = self.modules["dynamics"](windows[..., :-n_obs], z)
        error = (decoded - (s + difference).unsqueeze(2)).square().mean(dim=-1)
        first = torch.zeros_like(mean[:, :, :1])
        before, log_before = (torch.cat([first, t[:, :, :-1]], dim=2) for t in (mean, log_variance))
        ratio = torch.exp(log_variance - log_before) + (mean - before).square() * torch.exp(-log_before)
        return error, 0.5 * (log_before - log_variance + ratio - 1.0).sum(dim=-1)
