"""Parameters, optimisers and the three updates with their gradient routing (Benad et al. 2026; SAC as in CleanRL).

=====================================  ==================================
parameters                             are moved by
=====================================  ==================================
encoder, hypernetwork, dynamics model  the dynamics loss only
actor (and its private hypernetwork)   the actor loss only
critics (and theirs)                   the critic loss only
=====================================  ==================================

Inside the actor and critic losses the embedding z and the adapter weights omega are constants: they are computed
without a graph. Each update differentiates its loss with respect to the listed parameters and nothing else.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dmash_core.methods import Method
from dmash_core.networks.encoder import Encoder
from dmash_core.networks.hypernetwork import AdapterWeights, Hypernetwork, adapt
from dmash_core.networks.layers import MLP
from dmash_core.replay import Batch, Layout

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


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
    """Every so many steps the actor and the temperature are updated as many times."""


class Code(NamedTuple):
    """What actor and critics are told of the context: G codes, each for B / G consecutive rows of the batch."""

    vector: Tensor | None  # (N, G, d): the true context or z
    omega: AdapterWeights | None  # of the shared hypernetwork, G = B


def stream(seed: int, *purpose: int) -> int:
    """A 63-bit seed for one purpose of one run, independent of those of other purposes and runs."""
    return int(np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)[0] >> 1)


class Learner:
    """Modules, their target copies and optimisers, every tensor of which has a leading seed axis; saved and loaded."""

    modules: nn.ModuleDict
    targets: nn.ModuleDict
    optimizers: dict[str, torch.optim.Optimizer]

    def state(self) -> dict[str, Tensor]:
        """All tensors of the agents: parameters, target copies and the optimisers' moments."""
        tensors = {f"modules.{k}": v for k, v in self.modules.state_dict().items()}
        tensors |= {f"targets.{k}": v for k, v in self.targets.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, entry in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{name}.{i}.{k}": v for k, v in entry.items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Set everything that ``state`` returned; KeyError or RuntimeError where names or shapes do not fit."""
        self.modules.load_state_dict(_below(tensors, "modules."))
        self.targets.load_state_dict(_below(tensors, "targets."))
        for name, optimizer in self.optimizers.items():
            state = {}
            for key, value in _below(tensors, f"optimizer.{name}.").items():
                index, field = key.split(".")
                state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def policy_state(self, index: int) -> dict[str, Tensor]:
        """One seed's networks without target copies and optimisers, each with a seed axis of one."""
        return {k: v[index : index + 1].clone() for k, v in self.modules.state_dict().items()}


class Agent(Learner):
    """N independent agents of one arm, one per seed, trained in lock-step.

    ``modules`` maps names to modules whose parameters have a leading axis N; ``groups`` maps each update to the
    parameters that it may move.
    """

    def __init__(
        self,
        method: Method,
        layout: Layout,
        n_context: int,
        seeds: Sequence[int],
        sac: SACSettings | None = None,
        device: torch.device | str = "cpu",
    ):
        self.method, self.layout, self.sac, self.device = method, layout, sac or SACSettings(), torch.device(device)
        self.n = len(seeds)
        n, d_s, d_a = self.n, layout.n_obs, layout.n_act
        generators = [torch.Generator().manual_seed(stream(seed, 0)) for seed in seeds]
        lead, twin = (n,), (n, 2)
        n_code = {"none": 0, "true": n_context, "inferred": method.embedding}[method.context]
        extra = n_code if method.entry == "concat" else 0

        def hypernetwork(lead):
            return Hypernetwork(lead, n_code, method.hypernetwork_width, method.width, method.bottleneck, generators)

        modules = {
            "actor": MLP(lead, d_s + extra, 2 * d_a, method.width, generators),
            "critic": MLP(twin, d_s + d_a + extra, 1, method.width, generators),
        }
        if method.context == "inferred":
            modules["encoder"] = Encoder(
                n, d_s, d_a, method.embedding, 32, method.input_norm, method.output_norm, generators
            )
            modules["dynamics"] = MLP(lead, d_s + d_a + extra, d_s, method.width, generators)
        if method.hypernetwork == "shared":
            modules["hypernetwork"] = hypernetwork(lead)
        if method.hypernetwork == "private":
            modules["actor_hypernetwork"] = hypernetwork(lead)
            modules["critic_hypernetwork"] = hypernetwork(twin)
        self.modules = nn.ModuleDict(modules).to(self.device)
        trained_by_critic = [name for name in self.modules if name.startswith("critic")]
        self.targets = nn.ModuleDict({name: deepcopy(self.modules[name]) for name in trained_by_critic})
        self.targets.requires_grad_(False)
        self.log_alpha = torch.zeros(n, device=self.device)

        self.groups: dict[str, list[Tensor]] = {"dynamics": [], "actor": [], "critic": []}
        for name, module in self.modules.items():
            group = name.split("_")[0]
            self.groups[group if group in self.groups else "dynamics"].extend(module.parameters())
        rates = {"dynamics": self.sac.dynamics_lr, "actor": self.sac.actor_lr, "critic": self.sac.critic_lr}
        self.optimizers = {
            name: torch.optim.Adam(params, lr=rates[name], fused=True) for name, params in self.groups.items() if params
        }
        self.optimizers["alpha"] = torch.optim.Adam([self.log_alpha], lr=self.sac.alpha_lr)
        self._omega_buffers: tuple[Tensor, Tensor] | None = None

    # ---------------------------------------------------------------- forward

    def policy(self, obs: Tensor, code: Code) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (N, B, d_a) of the Gaussian before the tanh."""
        if self.method.hypernetwork == "private":
            code = Code(None, self.modules["actor_hypernetwork"](code.vector))
        out = self.modules["actor"](*self._enter(obs, code))
        mean, log_std = out.chunk(2, dim=-1)
        return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(log_std) + 1.0)

    def values(self, modules: nn.ModuleDict, obs: Tensor, action: Tensor, code: Code) -> Tensor:
        """Q1, Q2 (N, 2, B) by the critics of ``modules`` (``self.modules`` or ``self.targets``)."""
        x, modulate = self._enter(torch.cat([obs, action], dim=-1), code)
        if self.method.hypernetwork == "private":
            both = code.vector.unsqueeze(1).expand(-1, 2, -1, -1)
            modulate = _modulation(modules["critic_hypernetwork"](both))
        elif self.method.hypernetwork == "shared":
            # one omega for both critics: their features are two columns of one product
            omega = code.omega
            modulate = lambda x: adapt(x.transpose(1, 2), omega).transpose(1, 2)  # noqa: E731
        return modules["critic"](x.unsqueeze(1).expand(-1, 2, -1, -1), modulate).squeeze(-1)

    def _enter(self, x: Tensor, code: Code):
        """The input of a network and the modulation of its trunk, for one code."""
        if self.method.entry == "concat":
            rows = x.shape[1] // code.vector.shape[1]
            x = torch.cat([x, code.vector.repeat_interleave(rows, dim=1)], dim=-1)
        return x, torch.relu if code.omega is None else _modulation(code.omega)

    def predict(self, obs: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """The dynamics model's s' - s (N, B, d_s), differentiable in encoder, hypernetwork and dynamics model."""
        x = torch.cat([obs, action], dim=-1)
        if self.method.entry == "concat":
            return self.modules["dynamics"](torch.cat([x, z], dim=-1))
        return self.modules["dynamics"](x, lambda features: self.modules["hypernetwork"].adapt(features, z))

    # ---------------------------------------------------------------- codes

    @torch.no_grad()
    def code(self, windows: Tensor | None, contexts: Tensor) -> Code:
        """The code when acting: from windows (N, B, k, .) without masking, or the true contexts (N, G, d)."""
        if self.method.context == "none":
            return Code(None, None)
        if self.method.context == "true":
            return Code(contexts, None)
        return self.code_of(self.modules["encoder"](windows))

    @torch.no_grad()
    def code_of(self, z: Tensor) -> Code:
        """The code that embeddings z (N, B, 8) stand for."""
        return Code(z, self.modules["hypernetwork"](z) if self.method.hypernetwork == "shared" else None)

    def _constant_code(self, z: Tensor | None, contexts: Tensor) -> Code:
        """The code of one critic or actor update, omega written to buffers that all updates share."""
        if z is None:
            return Code(contexts if self.method.context == "true" else None, None)
        if self.method.hypernetwork != "shared":
            return Code(z, None)
        if self._omega_buffers is None:
            size = (*z.shape[:-1], self.method.bottleneck * self.method.width)
            self._omega_buffers = (z.new_empty(size), z.new_empty(size))
        with torch.no_grad():
            return Code(z, self.modules["hypernetwork"](z, out=self._omega_buffers))

    @torch.no_grad()
    def act(self, obs: Tensor, windows: Tensor | None, contexts: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions (N, B, d_a) in (-1, 1): tanh of the mean, or a sample with ``noise`` standard normal (N, B, d_a)."""
        mean, log_std = self.policy(obs, self.code(windows, contexts))
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    @torch.no_grad()
    def adapter_output(self, obs: Tensor, code: Code) -> Tensor:
        """What the adapter adds to the actor's features, x~ - ReLU(x) (N, B, width), for arms with adapters."""
        if self.method.hypernetwork == "private":
            code = Code(None, self.modules["actor_hypernetwork"](code.vector))
        actor = self.modules["actor"]
        features = actor.second(torch.relu(actor.first(obs)))
        return _modulation(code.omega)(features) - torch.relu(features)

    # ---------------------------------------------------------------- updates

    def update(self, batch: Batch, contexts: Tensor) -> dict[str, Tensor]:
        """One gradient step of everything; ``contexts`` (N, C, d). Returns the losses and diagnostics, (N,) each.

        ``batch.noise`` has one pass for the critic and one for each actor update that is due.
        """
        passes = batch.noise.shape[1]
        logs = {}
        z = [None] * passes
        if self.method.context == "inferred":
            logs["dynamics_loss"] = self.update_dynamics(batch)
            # The encoder rests until the next dynamics update: one pass for the windows of all other updates.
            with torch.no_grad():
                rest = [t[:, 1:].flatten(1, 2) for t in (batch.windows, batch.keep)]
                z = self.modules["encoder"](*rest).unflatten(1, (passes, -1)).unbind(1)
        logs |= self.update_critic(batch, self._constant_code(z[0], contexts), batch.noise[:, 0])
        for i in range(1, passes):
            logs |= self.update_actor(batch, self._constant_code(z[i], contexts), batch.noise[:, i])
        return logs

    def update_dynamics(self, batch: Batch) -> Tensor:
        """Mean squared error of the predicted state difference; moves encoder, hypernetwork and dynamics model."""
        z = self.modules["encoder"](batch.windows[:, 0], batch.keep[:, 0])
        error = self.predict(batch.obs, batch.action, z) - (batch.next_obs - batch.obs)
        loss = error.square().mean(dim=(1, 2))
        self._descend("dynamics", loss)
        return loss.detach()

    def update_critic(self, batch: Batch, code: Code, noise: Tensor) -> dict[str, Tensor]:
        """Squared error of both critics to the soft target, then the polyak step of their target copies."""
        target = self.target(batch, code, noise)
        q = self.values(self.modules, batch.obs, batch.action, code)
        loss = (q - target.unsqueeze(1)).square().mean(dim=2).sum(dim=1)
        self._descend("critic", loss)
        torch._foreach_lerp_(list(self.targets.parameters()), self.groups["critic"], self.sac.tau)
        return {"critic_loss": loss.detach(), "q": q.detach().mean(dim=(1, 2))}

    @torch.no_grad()
    def target(self, batch: Batch, code: Code, noise: Tensor) -> Tensor:
        """r + gamma (min Q' - alpha log pi) at s' (N, B); nothing past the time limit unless the method bootstraps."""
        action, log_prob = squashed_sample(*self.policy(batch.next_obs, code), noise)
        q = self.values(self.targets, batch.next_obs, action, code).amin(dim=1)
        value = q - self.log_alpha.exp().unsqueeze(1) * log_prob
        goes_on = 1.0 if self.method.bootstrap_at_time_limit else 1.0 - batch.at_limit
        return batch.reward + self.sac.gamma * goes_on * value

    def update_actor(self, batch: Batch, code: Code, noise: Tensor) -> dict[str, Tensor]:
        """alpha log pi - min Q, then the temperature's step towards entropy d_a; moves the actor and log alpha."""
        action, log_prob = squashed_sample(*self.policy(batch.obs, code), noise)
        alpha = self.log_alpha.exp()
        q = self.values(self.modules, batch.obs, action, code).amin(dim=1)
        loss = (alpha.unsqueeze(1) * log_prob - q).mean(dim=1)
        self._descend("actor", loss)
        entropy = -log_prob.detach().mean(dim=1)
        # d/d log alpha of -alpha (log pi + target entropy), with target entropy -d_a
        self.log_alpha.grad = alpha * (entropy + self.layout.n_act)
        self.optimizers["alpha"].step()
        return {"actor_loss": loss.detach(), "entropy": entropy, "alpha": alpha}

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


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _modulation(omega: AdapterWeights):
    """The adapter on features (*lead, B, width), each of the G codes on B / G consecutive rows."""

    def modulate(x: Tensor) -> Tensor:
        groups = omega.b_down.shape[-2]
        return adapt(x.unflatten(-2, (groups, -1)), omega).flatten(-3, -2)

    return modulate


def squashed_sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A tanh-squashed Gaussian's sample (..., d_a) and its log density (...), given standard-normal noise."""
    action = torch.tanh(mean + log_std.exp() * noise)
    log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    return action, (log_prob - torch.log(1.0 - action.square() + 1e-6)).sum(dim=-1)
