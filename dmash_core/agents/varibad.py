"""The arm ``varibad``: SAC conditioned on a recurrent encoder's belief (Zintgraf et al. 2020, arXiv:1910.08348)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmash_core.agents.amago import set_clipped_grads
from dmash_core.agents.sac import Agent
from dmash_core.networks.layers import Lead
from dmash_core.networks.sequence import Decoder, PosteriorEncoder
from dmash_core.replay import Batch


class VariBAD(Agent):
    """SAC conditioned on VariBAD's belief (Zintgraf et al. 2020, arXiv:1910.08348), without its reward decoder.

    Follows the published form for varying dynamics, except that the policy is trained by SAC. After each transition of
    a window the encoder gives a Gaussian posterior, a sample of which must decode all K transitions of the window; the
    KL is to the previous posterior, at first to N(0, I). This loss trains encoder and decoder on one window per
    training context and batch (the release: ten trajectories), with VariBAD's learning rate and gradient clipping, not
    SAC's settings. Actor and critics get mean and log-variance of the last posterior.
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
        """Mean and log-variance (N, P B, 20) of the batch's windows, repeated for all P passes."""
        assert batch.windows is not None
        z = self.modules["encoder"](batch.windows[:, 0])
        return z.repeat(1, len(range(*passes.indices(batch.windows.shape[1]))), 1), None

    def update_dynamics(self, batch: Batch) -> dict[str, Tensor]:
        """A step on the negative ELBO: the errors and KL of ``elbo`` summed over each window, averaged over windows."""
        assert batch.windows is not None and batch.code_noise is not None
        windows = batch.windows[:, 0, :: batch.windows.shape[2] // batch.code_noise.shape[1]]
        error, kl = self.elbo(windows, batch.code_noise)
        set_clipped_grads(
            (error.sum(dim=(2, 3)) + self.method.beta * kl.sum(dim=2)).mean(dim=1), self.groups["dynamics"]
        )
        self.optimizers["dynamics"].step()
        return {"dynamics_loss": error.detach().mean(dim=(1, 2, 3)), "kl": kl.detach().mean(dim=(1, 2))}

    def elbo(self, windows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """For windows (N, B, K, .) and ``noise`` (N, B, K, 10): the squared error, averaged over the dimensions of s',
        when the posterior after transition t decodes transition j, (N, B, K, K), and the posterior's KL, summed over
        dimensions, (N, B, K)."""
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
