"""Parameters, optimisers and the three updates with their gradient routing (Benad et al. 2026; SAC as in CleanRL).

=====================================  ==================================
parameters                             updated by
=====================================  ==================================
encoder, hypernetwork, dynamics model  the dynamics loss only
actor (and its private hypernetwork)   the actor loss only
critics (and theirs)                   the critic loss only
=====================================  ==================================

In the actor and critic losses, the embedding z and the adapter weights omega are constants, computed without a graph.
Each update differentiates its loss with respect to the listed parameters only. The exception is
``encoder_gradients_from``: the losses that it names also train the encoder and a shared hypernetwork, each with its own
optimiser, learning rate and moments.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dmash_core.agents.conditioning import LOSSES, Conditioning, ContextNetworks
from dmash_core.agents.learner import follow
from dmash_core.errors import UserError
from dmash_core.methods import Method
from dmash_core.replay import Batch, Layout


@dataclass(frozen=True)
class SACSettings:
    """CleanRL's defaults, which the paper uses untuned."""

    gamma: float = 0.99
    """Discount."""
    tau: float = 0.005
    """Polyak step of the target critics, every update."""
    critic_lr: float = 1e-3
    """Adam's learning rate of the critics."""
    actor_lr: float = 3e-4
    """Adam's learning rate of the actor."""
    dynamics_lr: float = 3e-4
    """Adam's learning rate of encoder, hypernetwork and dynamics model."""
    alpha_lr: float = 1e-3
    """Adam's learning rate of the log temperature."""
    actor_every: int = 2
    """Steps between updates of actor and temperature, and how many of these updates are then made."""
    exact_log_prob: bool = False
    """Use the exact log-density of a squashed action. That of CleanRL and the paper flattens out at saturation (15.90
    instead of 20.70 for a mean of 10 and a log standard deviation of -3). For comparisons only; no claim uses it."""

    def __post_init__(self):
        if not 0.0 <= self.gamma <= 1.0:
            raise UserError(f"gamma must be in [0, 1], not {self.gamma}")
        if not 0.0 < self.tau <= 1.0:
            raise UserError(f"tau must be in (0, 1], not {self.tau}")
        for name in ("critic_lr", "actor_lr", "dynamics_lr", "alpha_lr"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be positive and finite, not {getattr(self, name)}")
        if self.actor_every < 1:
            raise UserError(f"actor_every must be at least 1, not {self.actor_every}")


class Agent(ContextNetworks):
    """N independent agents of one arm, one per seed, trained in lock-step by soft actor-critic.

    ``groups`` maps each loss to the parameters that it updates.
    """

    def __init__(
        self,
        method: Method,
        layout: Layout,
        n_context: int,
        seeds: Sequence[int],
        sac: SACSettings | None = None,
        device: torch.device | str = "cpu",
        context_range: Tensor | None = None,
    ):
        """``context_range`` as in ContextNetworks."""
        super().__init__(method, layout, n_context, seeds, device, context_range)
        self.sac = sac or SACSettings()
        self.log_alpha = torch.zeros(self.n, device=self.device)
        self.groups = {
            loss: [p for name, module in self.modules.items() if loss in self.trained_by[name]
                   for p in module.parameters()]
            for loss in LOSSES
        }  # fmt: skip
        rates = {"dynamics": self.sac.dynamics_lr, "actor": self.sac.actor_lr, "critic": self.sac.critic_lr}
        self.optimizers = {
            loss: torch.optim.Adam(params, lr=rates[loss], fused=True) for loss, params in self.groups.items() if params
        }
        self.optimizers["alpha"] = torch.optim.Adam([self.log_alpha], lr=self.sac.alpha_lr)

    def _charge(self, loss: Tensor, kl: Tensor | None) -> Tensor:
        if kl is None:
            return loss
        return loss * (1.0 + self.method.beta * kl) if self.method.kl == "multiply" else loss + self.method.beta * kl

    # ---------------------------------------------------------------- updates

    def update(self, batch: Batch, contexts: Tensor) -> dict[str, Tensor]:
        """One gradient step of all networks; ``contexts`` is (N, C, d). Returns losses and diagnostics, (N,) each.

        ``batch.noise`` has one pass for the critic and one for each actor update to be made.
        """
        passes = batch.noise.shape[1]
        logs = self.update_dynamics(batch) if "dynamics" in self.modules else {}
        z = [None] * passes
        if self.method.context == "inferred" and self.method.encoder_gradients_from == "none":
            # The encoder does not change until the next dynamics update: encode all other windows in one pass.
            with torch.no_grad():
                z = self.embed(batch, slice(1, None))[0].unflatten(1, (passes, -1)).unbind(1)
        for i in range(passes):
            loss = "actor" if i else "critic"
            if self.method.encoder_gradients_from == "none":
                conditioning, kl = self.constant_conditioning(z[i], contexts), None
            else:
                conditioning, kl = self.live_conditioning(batch, 1 + i, loss in self.trained_by["encoder"])
            if loss == "critic":
                logs |= self.update_critic(batch, conditioning, batch.noise[:, i], kl)
            else:
                logs |= self.update_actor(batch, conditioning, batch.noise[:, i])
        return logs

    def update_dynamics(self, batch: Batch) -> dict[str, Tensor]:
        """A step on the objective's mean squared error, for encoder, shared hypernetwork and dynamics model."""
        z, kl = self.embed(batch, slice(0, 1))
        predicted, wanted = self.predict(batch, z)
        loss = (predicted - wanted).square().mean(dim=(1, 2))
        self._descend("dynamics", self._charge(loss, kl))
        logs = {"dynamics_loss": loss.detach()}
        return logs if kl is None else logs | {"kl": kl.detach()}

    def update_critic(
        self, batch: Batch, conditioning: Conditioning, noise: Tensor, kl: Tensor | None = None
    ) -> dict[str, Tensor]:
        """A step on the squared error of both critics to the soft target, then a Polyak update of the target networks.

        The loss includes ``kl`` only if no objective trains the encoder (arm pearl).
        """
        target = self.target(batch, conditioning, noise)
        q = self.values(self.modules, batch.obs, batch.action, conditioning)
        loss = (q - target.unsqueeze(1)).square().mean(dim=2).sum(dim=1)
        self._descend("critic", self._charge(loss, kl if self.method.objective == "none" else None))
        follow(self.targets.parameters(), self.followed, self.sac.tau)
        logs = {"critic_loss": loss.detach(), "q": q.detach().mean(dim=(1, 2))}
        return logs if kl is None else logs | {"kl": kl.detach()}

    @torch.no_grad()
    def target(self, batch: Batch, conditioning: Conditioning, noise: Tensor) -> Tensor:
        """r + gamma (min Q' - alpha log pi) at s', (N, B); r alone at the time limit unless the method bootstraps."""
        action, log_prob = squashed_sample(*self.policy(batch.next_obs, conditioning), noise, self.sac.exact_log_prob)
        q = self.values(self.targets, batch.next_obs, action, conditioning).amin(dim=1)
        value = q - self.log_alpha.exp().unsqueeze(1) * log_prob
        not_done = 1.0 if self.method.bootstrap_at_time_limit else 1.0 - batch.at_limit
        return batch.reward + self.sac.gamma * not_done * value

    def update_actor(self, batch: Batch, conditioning: Conditioning, noise: Tensor) -> dict[str, Tensor]:
        """A step of the actor, then of log alpha, with target entropy -d_a."""
        alpha = self.log_alpha.exp()
        value_conditioning = conditioning.detach() if self.method.encoder_gradients_from == "policy" else conditioning
        loss, entropy = self.actor_loss(batch.obs, conditioning, value_conditioning, noise)
        self._descend("actor", loss)
        # d/d log alpha of -alpha (log pi + target entropy), with target entropy -d_a
        self.log_alpha.grad = alpha * (entropy + self.layout.n_act)
        self.optimizers["alpha"].step()
        return {"actor_loss": loss.detach(), "entropy": entropy, "alpha": alpha}

    def actor_loss(
        self, obs: Tensor, policy_conditioning: Conditioning, value_conditioning: Conditioning, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean of alpha log pi - min Q over the batch, (N,), and the detached entropy, (N,).

        Policy and critics have separate conditionings, so that the gradient paths to z can be separated.
        """
        action, log_prob = squashed_sample(*self.policy(obs, policy_conditioning), noise, self.sac.exact_log_prob)
        q = self.values(self.modules, obs, action, value_conditioning).amin(dim=1)
        loss = (self.log_alpha.exp().unsqueeze(1) * log_prob - q).mean(dim=1)
        return loss, -log_prob.detach().mean(dim=1)

    def _descend(self, group: str, loss: Tensor) -> None:
        params = self.groups[group]
        for param, grad in zip(params, torch.autograd.grad(loss.sum(), params), strict=True):
            param.grad = grad
        self.optimizers[group].step()

    # ---------------------------------------------------------------- state

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"log_alpha": self.log_alpha}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        super().load_state(tensors)
        self.log_alpha.copy_(tensors["log_alpha"])


def squashed_sample(mean: Tensor, log_std: Tensor, noise: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
    """A sample (..., d_a) of a tanh-squashed Gaussian and its log density (...), given standard-normal noise.

    As in CleanRL, the density uses 1 - tanh^2 + 1e-6 instead of 1 - tanh^2. Squashing then contributes at most
    log 1e6 = 13.8, and no gradient where it saturates (|x| > 8). ``exact`` uses log(1 - tanh^2 x).
    """
    x = mean + log_std.exp() * noise
    action = torch.tanh(x)
    log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    if exact:
        return action, (log_prob - 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))).sum(dim=-1)
    return action, (log_prob - torch.log(1.0 - action.square() + 1e-6)).sum(dim=-1)
