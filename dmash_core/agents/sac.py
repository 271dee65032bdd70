"""Parameters, optimisers and the three updates with their gradient routing (Benad et al. 2026; SAC as in CleanRL).

=====================================  ==================================
parameters                             are moved by
=====================================  ==================================
encoder, hypernetwork, dynamics model  the dynamics loss only
actor (and its private hypernetwork)   the actor loss only
critics (and theirs)                   the critic loss only
=====================================  ==================================

Inside the actor and critic losses the embedding z and the adapter weights omega are constants: they are computed
without a graph. Each update differentiates its loss with respect to the listed parameters and nothing else. A method
with ``undetached`` losses is the exception: there encoder and shared hypernetwork are parameters of that loss's
optimiser too, with its learning rate and moments of their own.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from dmash_core.agents.learner import Learner, stream
from dmash_core.errors import UserError
from dmash_core.methods import Method
from dmash_core.networks.encoder import Encoder
from dmash_core.networks.hypernetwork import HYPERNETWORKS, Adapter
from dmash_core.networks.layers import MLP, Lead
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
    exact_log_prob: bool = False
    """The log-density of a squashed action as it is, where CleanRL's and the paper's flattens out at saturation
    (15.90 instead of 20.70 for a mean of 10 and a log standard deviation of -3); for comparisons, and no claim's."""

    def __post_init__(self):
        if not 0.0 <= self.gamma <= 1.0:
            raise UserError(f"gamma must lie in [0, 1], not {self.gamma}")
        if not 0.0 < self.tau <= 1.0:
            raise UserError(f"tau must lie in (0, 1], not {self.tau}")
        for name in ("critic_lr", "actor_lr", "dynamics_lr", "alpha_lr"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be positive and finite, not {getattr(self, name)}")
        if self.actor_every < 1:
            raise UserError(f"actor_every must be at least 1, not {self.actor_every}")


class Code(NamedTuple):
    """What actor and critics are told of the context: G codes, each for B / G consecutive rows of the batch."""

    vector: Tensor | None  # (N, G, d): the true context, or z with G = B
    omega: Adapter | None  # of the shared hypernetwork, G = B

    def detach(self) -> "Code":
        """The same code as a constant, of an arm that infers one."""
        return Code(self.vector.detach(), self.omega and type(self.omega)(*(t.detach() for t in self.omega)))


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
        context_range: Tensor | None = None,
    ):
        """``context_range`` (2, n_context), lowest and highest of the training contexts, is what scaling needs."""
        if layout.standardise != (method.input_norm == "windownorm"):
            raise ValueError("a layout standardises windows if and only if the method's input norm is windownorm")
        self.method, self.layout, self.sac, self.device = method, layout, sac or SACSettings(), torch.device(device)
        self.seeds, self.n = list(seeds), len(seeds)
        n, d_s, d_a = self.n, layout.n_obs, layout.n_act
        generators = [torch.Generator().manual_seed(stream(seed, 0)) for seed in seeds]
        lead, twin = (n,), (n, 2)
        n_code = {"none": 0, "true": n_context, "inferred": self._code_size()}[method.context]
        self.context_range = None if context_range is None else context_range.to(self.device)
        # lead, inputs and outputs of each network; the "dynamics" model is whatever the objective predicts
        networks = {"actor": (lead, d_s, 2 * d_a), "critic": (twin, d_s + d_a, 1)}
        if method.context == "inferred" and method.objective != "none":
            sizes = {"dynamics": (d_s + d_a, d_s), "inverse": (2 * d_s, d_a), "reward": (d_s + d_a, 1)}
            networks["dynamics"] = (lead, *sizes[method.objective])

        modules = {}
        for name, (leading, n_in, n_out) in networks.items():
            if name == "dynamics":  # generators are drawn from in this order
                modules["encoder"] = self._encoder(generators)
            n_in += 0 if method.adapts(name) else n_code
            modules[name] = self._network(name, leading, n_in, n_out, generators)
        if method.context == "inferred" and "encoder" not in modules:
            modules["encoder"] = self._encoder(generators)
        sizes = (n_code, method.hypernetwork_width, method.width, method.bottleneck)
        hypernetwork = HYPERNETWORKS[method.hypernetwork_form]
        if method.hypernetwork == "shared":
            modules["hypernetwork"] = hypernetwork(lead, *sizes, generators)
        if method.hypernetwork == "private":
            for name, (leading, _, _) in networks.items():
                if method.adapts(name):
                    modules[f"{name}_hypernetwork"] = hypernetwork(leading, *sizes, generators)
        self.modules = nn.ModuleDict(modules).to(self.device)
        trained_by_critic = [name for name in self.modules if name.startswith("critic")]
        self.targets = nn.ModuleDict({name: deepcopy(self.modules[name]) for name in trained_by_critic})
        self.targets.requires_grad_(False)
        self._followed = [p for name in trained_by_critic for p in self.modules[name].parameters()]
        self.log_alpha = torch.zeros(n, device=self.device)

        self.groups: dict[str, list[Tensor]] = {"dynamics": [], "actor": [], "critic": []}
        for name, module in self.modules.items():
            own = name.split("_")[0]
            for loss, group in self.groups.items():
                if own == loss or (own in ("encoder", "hypernetwork") and method.trained_by(loss)):
                    group.extend(module.parameters())
        rates = {"dynamics": self.sac.dynamics_lr, "actor": self.sac.actor_lr, "critic": self.sac.critic_lr}
        self.optimizers = {
            name: torch.optim.Adam(params, lr=rates[name], fused=True) for name, params in self.groups.items() if params
        }
        self.optimizers["alpha"] = torch.optim.Adam([self.log_alpha], lr=self.sac.alpha_lr)

    def _code_size(self) -> int:
        return self.method.embedding

    def _network(
        self, name: str, lead: Lead, n_in: int, n_out: int, generators: Sequence[torch.Generator]
    ) -> nn.Module:
        return MLP(lead, n_in, n_out, self.method.width, generators)

    def _encoder(self, generators: Sequence[torch.Generator]) -> Encoder:
        method, gaussian = self.method, self.method.posterior == "gaussian"
        norms = method.input_norm, method.output_norm
        return Encoder(self.n, self.layout.n_obs, self.layout.n_act, method.embedding, 32, *norms, gaussian, generators)

    # ---------------------------------------------------------------- forward

    def policy(self, obs: Tensor, code: Code) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (N, B, d_a) of the Gaussian before the tanh."""
        out = self.modules["actor"](self._input("actor", obs, code), self._modulation("actor", self.modules, code))
        mean, log_std = out.chunk(2, dim=-1)
        return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(log_std) + 1.0)

    def values(self, modules: nn.ModuleDict, obs: Tensor, action: Tensor, code: Code) -> Tensor:
        """Q1, Q2 (N, 2, B) by the critics of ``modules`` (``self.modules`` or ``self.targets``)."""
        x = self._input("critic", torch.cat([obs, action], dim=-1), code)
        x = x.unsqueeze(1).expand(-1, 2, -1, -1)
        return modules["critic"](x, self._modulation("critic", modules, code)).squeeze(-1)

    def predict(self, batch: Batch, z: Tensor) -> tuple[Tensor, Tensor]:
        """What the objective's model predicts and what it should have, (N, B, .) each; differentiable.

        With the objective "dynamics" that is s' - s.
        """
        difference = batch.next_obs - batch.obs
        if self.method.objective == "inverse":
            x, y = torch.cat([batch.obs, difference], dim=-1), batch.action
        else:
            x = torch.cat([batch.obs, batch.action], dim=-1)
            y = difference if self.method.objective == "dynamics" else batch.reward.unsqueeze(-1)
        code = Code(z, None)
        return self.modules["dynamics"](
            self._input("dynamics", x, code), self._modulation("dynamics", self.modules, code)
        ), y

    def _input(self, network: str, x: Tensor, code: Code) -> Tensor:
        """The input of a network: x (N, B, .), and the code where it has no adapter."""
        if code.vector is None or self.method.adapts(network):
            return x
        rows = x.shape[1] // code.vector.shape[1]
        return torch.cat([x, code.vector.repeat_interleave(rows, dim=1)], dim=-1)

    def _modulation(self, network: str, modules: nn.ModuleDict, code: Code) -> Callable[[Tensor], Tensor]:
        """How a code acts on the features of a network of ``modules``."""
        if not self.method.adapts(network):
            return torch.relu
        if code.omega is not None:
            if network == "critic":  # one omega for both
                return lambda x: code.omega.adapt(x.transpose(1, 2)).transpose(1, 2)
            return _by_group(code.omega)
        shared = self.method.hypernetwork == "shared"
        hypernetwork = modules["hypernetwork" if shared else f"{network}_hypernetwork"]
        vector = code.vector.unsqueeze(1).expand(-1, 2, -1, -1) if network == "critic" else code.vector
        if self.method.context == "inferred":  # a code for each row: omega need not be built
            return lambda x: hypernetwork.adapt(x, vector)
        return _by_group(hypernetwork(vector))

    # ---------------------------------------------------------------- codes

    @torch.no_grad()
    def code(
        self, windows: Tensor | None, contexts: Tensor, keep: Tensor | None = None, code_noise: Tensor | None = None
    ) -> Code:
        """The code when acting: from windows (N, B, k, .), or the true contexts (N, G, d).

        In training mode masks ``keep`` (N, B, k, 3) and, of a Gaussian z, ``code_noise`` (N, B, 8) come with windows of
        random subsets; without them a Gaussian's mean is the code.
        """
        if self.method.context == "none":
            return Code(None, None)
        if self.method.context == "true":
            return Code(self.scaled(contexts), None)
        masks = () if keep is None else (keep,)
        if code_noise is None:
            return self.code_of(self.modules["encoder"](windows, *masks))
        mean, variance = self.modules["encoder"].posterior(windows, *masks)
        return self.code_of(mean + variance.sqrt() * code_noise)

    def code_of(self, z: Tensor) -> Code:
        """The code that embeddings z (N, B, 8) stand for, differentiable where a graph is recorded."""
        return Code(z, self.modules["hypernetwork"].adapter(z) if self.method.sends_omega else None)

    def scaled(self, contexts: Tensor) -> Tensor:
        """True contexts as actor and critics see them: raw unless the method scales them."""
        if not self.method.scale_context:
            return contexts
        low, high = self.context_range
        return (contexts - low) / (high - low)

    def embed(self, batch: Batch, passes: slice) -> tuple[Tensor, Tensor | None]:
        """z (N, P B, 8) of the batch's windows of P passes, sampled if Gaussian, and then the KL to N(0, I), (N,)."""
        windows, keep = (t[:, passes].flatten(1, 2) for t in (batch.windows, batch.keep))
        if self.method.posterior == "point":
            return self.modules["encoder"](windows, keep), None
        mean, variance = self.modules["encoder"].posterior(windows, keep)
        kl = 0.5 * (variance + mean.square() - 1.0 - variance.log()).mean(dim=(1, 2))
        return mean + variance.sqrt() * batch.code_noise[:, passes].flatten(1, 2), kl

    def _charge(self, loss: Tensor, kl: Tensor | None) -> Tensor:
        if kl is None:
            return loss
        return loss * (1.0 + self.method.beta * kl) if self.method.kl == "multiply" else loss + self.method.beta * kl

    def _constant_code(self, z: Tensor | None, contexts: Tensor) -> Code:
        """The code of one critic or actor update, without a graph."""
        if z is None:
            return Code(self.scaled(contexts) if self.method.context == "true" else None, None)
        with torch.no_grad():
            return self.code_of(z).detach()

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        windows: Tensor | None,
        contexts: Tensor,
        noise: Tensor | None = None,
        keep: Tensor | None = None,
        code_noise: Tensor | None = None,
    ) -> Tensor:
        """Actions (N, B, d_a) in (-1, 1): tanh of the mean, or a sample with ``noise`` standard normal (N, B, d_a).

        ``keep`` and ``code_noise`` as in ``code``.
        """
        mean, log_std = self.policy(obs, self.code(windows, contexts, keep, code_noise))
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    @torch.no_grad()
    def adapter_output(self, obs: Tensor, code: Code) -> Tensor:
        """What the adapter adds to the actor's features, x~ - ReLU(x) (N, B, width), for arms with adapters."""
        actor = self.modules["actor"]
        features = actor.second(torch.relu(actor.first(obs)))
        return self._modulation("actor", self.modules, code)(features) - torch.relu(features)

    # ---------------------------------------------------------------- updates

    def update(self, batch: Batch, contexts: Tensor) -> dict[str, Tensor]:
        """One gradient step of everything; ``contexts`` (N, C, d). Returns the losses and diagnostics, (N,) each.

        ``batch.noise`` has one pass for the critic and one for each actor update that is due.
        """
        passes = batch.noise.shape[1]
        logs = self.update_dynamics(batch) if "dynamics" in self.modules else {}
        z = [None] * passes
        if self.method.context == "inferred" and self.method.undetached == "none":
            # The encoder rests until the next dynamics update: one pass for the windows of all other updates.
            with torch.no_grad():
                z = self.embed(batch, slice(1, None))[0].unflatten(1, (passes, -1)).unbind(1)
        for i in range(passes):
            loss = "actor" if i else "critic"
            if self.method.undetached == "none":
                code, kl = self._constant_code(z[i], contexts), None
            else:
                code, kl = self.live_code(batch, 1 + i, self.method.trained_by(loss))
            if loss == "critic":
                logs |= self.update_critic(batch, code, batch.noise[:, i], kl)
            else:
                logs |= self.update_actor(batch, code, batch.noise[:, i])
        return logs

    def live_code(self, batch: Batch, i: int, graph: bool) -> tuple[Code, Tensor | None]:
        """The code of window ``i`` of the batch, with a graph to encoder and shared hypernetwork or without; its KL."""
        with torch.set_grad_enabled(graph):
            z, kl = self.embed(batch, slice(i, i + 1))
            return self.code_of(z), kl

    def update_dynamics(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error of the objective's prediction; moves encoder, hypernetwork and dynamics model."""
        z, kl = self.embed(batch, slice(0, 1))
        predicted, wanted = self.predict(batch, z)
        loss = (predicted - wanted).square().mean(dim=(1, 2))
        self._descend("dynamics", self._charge(loss, kl))
        logs = {"dynamics_loss": loss.detach()}
        return logs if kl is None else logs | {"kl": kl.detach()}

    def update_critic(self, batch: Batch, code: Code, noise: Tensor, kl: Tensor | None = None) -> dict[str, Tensor]:
        """Squared error of both critics to the soft target, then the polyak step of their target copies.

        ``kl`` is charged here only where no other loss trains the encoder (arm pearl).
        """
        target = self.target(batch, code, noise)
        q = self.values(self.modules, batch.obs, batch.action, code)
        loss = (q - target.unsqueeze(1)).square().mean(dim=2).sum(dim=1)
        self._descend("critic", self._charge(loss, kl if self.method.objective == "none" else None))
        with torch.no_grad():  # or the targets' graph grows with every update
            torch._foreach_lerp_(list(self.targets.parameters()), self._followed, self.sac.tau)
        logs = {"critic_loss": loss.detach(), "q": q.detach().mean(dim=(1, 2))}
        return logs if kl is None else logs | {"kl": kl.detach()}

    @torch.no_grad()
    def target(self, batch: Batch, code: Code, noise: Tensor) -> Tensor:
        """r + gamma (min Q' - alpha log pi) at s' (N, B); nothing past the time limit unless the method bootstraps."""
        action, log_prob = squashed_sample(*self.policy(batch.next_obs, code), noise, self.sac.exact_log_prob)
        q = self.values(self.targets, batch.next_obs, action, code).amin(dim=1)
        value = q - self.log_alpha.exp().unsqueeze(1) * log_prob
        goes_on = 1.0 if self.method.bootstrap_at_time_limit else 1.0 - batch.at_limit
        return batch.reward + self.sac.gamma * goes_on * value

    def update_actor(self, batch: Batch, code: Code, noise: Tensor) -> dict[str, Tensor]:
        """The actor's step, then the temperature's towards entropy d_a; moves the actor and log alpha."""
        alpha = self.log_alpha.exp()
        value_code = code.detach() if self.method.undetached == "policy" else code
        loss, entropy = self.actor_loss(batch.obs, code, value_code, noise)
        self._descend("actor", loss)
        # d/d log alpha of -alpha (log pi + target entropy), with target entropy -d_a
        self.log_alpha.grad = alpha * (entropy + self.layout.n_act)
        self.optimizers["alpha"].step()
        return {"actor_loss": loss.detach(), "entropy": entropy, "alpha": alpha}

    def actor_loss(self, obs: Tensor, policy_code: Code, value_code: Code, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of alpha log pi - min Q over the batch, and the entropy without a graph: (N,), (N,).

        Policy and critics take their code apart, so that the paths of a gradient to z can be told apart.
        """
        action, log_prob = squashed_sample(*self.policy(obs, policy_code), noise, self.sac.exact_log_prob)
        q = self.values(self.modules, obs, action, value_code).amin(dim=1)
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


def _by_group(omega: Adapter) -> Callable[[Tensor], Tensor]:
    """The adapter on features (*lead, B, width), each of the G codes on B / G consecutive rows."""

    def modulate(x: Tensor) -> Tensor:
        groups = omega.b_down.shape[-2]
        return omega.adapt(x.unflatten(-2, (groups, -1))).flatten(-3, -2)

    return modulate


def squashed_sample(mean: Tensor, log_std: Tensor, noise: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
    """A tanh-squashed Gaussian's sample (..., d_a) and its log density (...), given standard-normal noise.

    As CleanRL has it, the density is that of 1 - tanh^2 + 1e-6 instead of 1 - tanh^2: at most log 1e6 = 13.8 comes from
    the squashing, and where it saturates, from |x| = 8 on, no gradient. ``exact`` takes log(1 - tanh^2 x) itself.
    """
    x = mean + log_std.exp() * noise
    action = torch.tanh(x)
    log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    if exact:
        return action, (log_prob - 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))).sum(dim=-1)
    return action, (log_prob - torch.log(1.0 - action.square() + 1e-6)).sum(dim=-1)
