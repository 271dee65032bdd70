"""The networks of a context-conditioned agent: what the agent knows of the context, and how it enters the networks.

The context is given, inferred from a window of transitions, or unknown. It enters a network by concatenation to the
input, or through an adapter on the features that a hypernetwork generates (Beukman et al. 2023; Benad et al. 2026).
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dmash_core.agents.learner import Learner, stream
from dmash_core.methods import Method
from dmash_core.networks.encoder import Encoder
from dmash_core.networks.hypernetwork import HYPERNETWORKS, Adapter
from dmash_core.networks.layers import MLP, Lead
from dmash_core.replay import Batch, Layout

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0
LOSSES = ("dynamics", "actor", "critic")


class Conditioning(NamedTuple):
    """What actor and critics are conditioned on: G codes, each for B / G consecutive rows of the batch."""

    vector: Tensor | None  # (N, G, d): the true context, or z with G = B
    omega: Adapter | None  # from the shared hypernetwork, G = B

    def detach(self) -> "Conditioning":
        """Detach code and adapter, in an arm that infers the context."""
        assert self.vector is not None
        return Conditioning(self.vector.detach(), self.omega and type(self.omega)(*(t.detach() for t in self.omega)))


class ContextNetworks(Learner):
    """The networks of N independent agents of one arm, one per seed: ``modules`` by name, with a leading axis N.

    ``trained_by`` names the losses that train each module.
    """

    def __init__(
        self,
        method: Method,
        layout: Layout,
        n_context: int,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        context_range: Tensor | None = None,
    ):
        """``context_range`` (2, n_context), the bounds of the training contexts, is needed for scaling only."""
        if layout.standardise != (method.input_norm == "windownorm"):
            raise ValueError("a layout standardises windows if and only if the method's input norm is windownorm")
        self.method, self.layout, self.device = method, layout, torch.device(device)
        self.seeds, self.n = list(seeds), len(seeds)
        n, d_s, d_a = self.n, layout.n_obs, layout.n_act
        generators = [torch.Generator().manual_seed(stream(seed, 0)) for seed in seeds]
        lead, twin = (n,), (n, 2)
        n_code = {"none": 0, "true": n_context, "inferred": self._code_size()}[method.context]
        self.context_range = None if context_range is None else context_range.to(self.device)
        # lead, inputs and outputs of each network; the "dynamics" model predicts the target of the objective
        networks = {"actor": (lead, d_s, 2 * d_a), "critic": (twin, d_s + d_a, 1)}
        if method.context == "inferred" and method.objective != "none":
            sizes = {"dynamics": (d_s + d_a, d_s), "inverse": (2 * d_s, d_a), "reward": (d_s + d_a, 1)}
            networks["dynamics"] = (lead, *sizes[method.objective])

        self.trained_by: dict[str, tuple[str, ...]] = {}
        modules: dict[str, nn.Module] = {}
        inferring = tuple(loss for loss in LOSSES if method.encoder_trained_by(loss))

        def add(name: str, module: nn.Module, losses: tuple[str, ...]) -> None:
            modules[name], self.trained_by[name] = module, losses

        # The order of creation determines the random initialisation, so keep it.
        for name, (leading, n_in, n_out) in networks.items():
            if name == "dynamics":
                add("encoder", self._encoder(generators), inferring)
            n_in += 0 if method.adapts(name) else n_code
            add(name, self._network(name, leading, n_in, n_out, generators), (name,))
        if method.context == "inferred" and "encoder" not in modules:
            add("encoder", self._encoder(generators), inferring)
        sizes = (n_code, method.hypernetwork_width, method.width, method.bottleneck)
        hypernetwork = HYPERNETWORKS[method.hypernetwork_form]
        if method.hypernetwork == "shared":
            add("hypernetwork", hypernetwork(lead, *sizes, generators), inferring)
        if method.hypernetwork == "private":
            for name, (leading, _, _) in networks.items():
                if method.adapts(name):
                    add(f"{name}_hypernetwork", hypernetwork(leading, *sizes, generators), (name,))
        self.modules = nn.ModuleDict(modules).to(self.device)
        followed = [name for name in ("critic", "critic_hypernetwork") if name in modules]
        self.targets = nn.ModuleDict({name: deepcopy(self.modules[name]) for name in followed})
        self.targets.requires_grad_(False)
        self.followed = [p for name in followed for p in self.modules[name].parameters()]
        """The source of each parameter of ``targets``, in the same order."""

    def _code_size(self) -> int:
        return self.method.embedding

    def _network(
        self, name: str, lead: Lead, n_in: int, n_out: int, generators: Sequence[torch.Generator]
    ) -> nn.Module:
        return MLP(lead, n_in, n_out, self.method.width, generators)

    def _encoder(self, generators: Sequence[torch.Generator]) -> nn.Module:
        method, gaussian = self.method, self.method.posterior == "gaussian"
        norms = method.input_norm, method.output_norm
        return Encoder(self.n, self.layout.n_obs, self.layout.n_act, method.embedding, 32, *norms, gaussian, generators)

    # ---------------------------------------------------------------- forward

    def policy(self, obs: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (N, B, d_a) of the Gaussian before the tanh."""
        out = self.modules["actor"](
            self._input("actor", obs, conditioning), self._modulation("actor", self.modules, conditioning)
        )
        mean, log_std = out.chunk(2, dim=-1)
        return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(log_std) + 1.0)

    def values(self, modules: Any, obs: Tensor, action: Tensor, conditioning: Conditioning) -> Tensor:
        """Q1, Q2 (N, 2, B) from the critics in ``modules`` (``self.modules`` or ``self.targets``)."""
        x = self._input("critic", torch.cat([obs, action], dim=-1), conditioning)
        x = x.unsqueeze(1).expand(-1, 2, -1, -1)
        return modules["critic"](x, self._modulation("critic", modules, conditioning)).squeeze(-1)

    def predict(self, batch: Batch, z: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and target of the objective's model, (N, B, .) each; differentiable.

        For the objective "dynamics" the target is s' - s.
        """
        difference = batch.next_obs - batch.obs
        if self.method.objective == "inverse":
            x, y = torch.cat([batch.obs, difference], dim=-1), batch.action
        else:
            x = torch.cat([batch.obs, batch.action], dim=-1)
            y = difference if self.method.objective == "dynamics" else batch.reward.unsqueeze(-1)
        conditioning = Conditioning(z, None)
        return self.modules["dynamics"](
            self._input("dynamics", x, conditioning), self._modulation("dynamics", self.modules, conditioning)
        ), y

    def _input(self, network: str, x: Tensor, conditioning: Conditioning) -> Tensor:
        """The input of a network: x (N, B, .), concatenated with the code unless the network has an adapter."""
        if conditioning.vector is None or self.method.adapts(network):
            return x
        rows = x.shape[1] // conditioning.vector.shape[1]
        return torch.cat([x, conditioning.vector.repeat_interleave(rows, dim=1)], dim=-1)

    def _modulation(
        self, network: str, modules: nn.ModuleDict, conditioning: Conditioning
    ) -> Callable[[Tensor], Tensor]:
        """The function that a network of ``modules`` applies to its features: ReLU, or the code's adapter."""
        if not self.method.adapts(network):
            return torch.relu
        if (omega := conditioning.omega) is not None:
            if network == "critic":  # both critics use the same omega
                return lambda x: omega.adapt(x.transpose(1, 2)).transpose(1, 2)
            return _by_group(omega)
        shared = self.method.hypernetwork == "shared"
        hypernetwork: Any = modules["hypernetwork" if shared else f"{network}_hypernetwork"]
        vector = conditioning.vector
        assert vector is not None  # networks with adapters always have a code
        if network == "critic":
            vector = vector.unsqueeze(1).expand(-1, 2, -1, -1)
        if self.method.context == "inferred":  # one code per row: omega need not be built
            return lambda x: hypernetwork.adapt(x, vector)
        return _by_group(hypernetwork(vector))

    # ---------------------------------------------------------------- conditioning

    @torch.no_grad()
    def conditioning(
        self, windows: Tensor | None, contexts: Tensor, keep: Tensor | None = None, code_noise: Tensor | None = None
    ) -> Conditioning:
        """The conditioning when acting, from windows (N, B, k, .) or true contexts (N, G, d).

        In training mode, windows are random subsets with masks ``keep`` (N, B, k, 3) and, for a Gaussian z,
        ``code_noise`` (N, B, 8); without noise the code is the Gaussian's mean.
        """
        if self.method.context == "none":
            return Conditioning(None, None)
        if self.method.context == "true":
            return Conditioning(self.scaled(contexts), None)
        return self.condition_on(self._embedding(windows, keep, code_noise)[0])

    def condition_on(self, z: Tensor) -> Conditioning:
        """The conditioning for embeddings z (N, B, 8); differentiable if a graph is recorded."""
        return Conditioning(z, self.modules["hypernetwork"].adapter(z) if self.method.sends_omega else None)

    def scaled(self, contexts: Tensor) -> Tensor:
        """True contexts as the networks see them: raw unless the method scales them."""
        if not self.method.scale_context:
            return contexts
        assert self.context_range is not None
        low, high = self.context_range
        return (contexts - low) / (high - low)

    def embed(self, batch: Batch, passes: slice) -> tuple[Tensor, Tensor | None]:
        """z (N, P B, 8) of the windows of P passes, sampled if Gaussian, and then also the KL to N(0, I), (N,)."""
        assert batch.windows is not None and batch.keep is not None
        windows, keep = (t[:, passes].flatten(1, 2) for t in (batch.windows, batch.keep))
        noise = None if batch.code_noise is None else batch.code_noise[:, passes].flatten(1, 2)
        return self._embedding(windows, keep, noise)

    def _embedding(
        self, windows: Tensor | None, keep: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """z (N, B, 8) of windows; with ``noise`` (N, B, 8), a Gaussian sample and its KL to N(0, I), (N,)."""
        masks = () if keep is None else (keep,)
        if noise is None:
            return self.modules["encoder"](windows, *masks), None
        mean, variance = self.modules["encoder"].posterior(windows, *masks)
        kl = 0.5 * (variance + mean.square() - 1.0 - variance.log()).mean(dim=(1, 2))
        return mean + variance.sqrt() * noise, kl

    def constant_conditioning(self, z: Tensor | None, contexts: Tensor) -> Conditioning:
        """The detached conditioning of one critic or actor update; ``z`` is None unless the context is inferred."""
        if z is None:
            return Conditioning(self.scaled(contexts) if self.method.context == "true" else None, None)
        with torch.no_grad():
            return self.condition_on(z).detach()

    def live_conditioning(self, batch: Batch, i: int, graph: bool) -> tuple[Conditioning, Tensor | None]:
        """The conditioning from window ``i`` of the batch, with gradients if ``graph``; and the KL, (N,)."""
        with torch.set_grad_enabled(graph):
            z, kl = self.embed(batch, slice(i, i + 1))
            return self.condition_on(z), kl

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
        """Actions (N, B, d_a) in (-1, 1): tanh of the mean, or a sample if standard-normal ``noise`` is given.

        ``noise`` is (N, B, d_a); ``keep`` and ``code_noise`` as in ``conditioning``.
        """
        mean, log_std = self.policy(obs, self.conditioning(windows, contexts, keep, code_noise))
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)

    @torch.no_grad()
    def adapter_output(self, obs: Tensor, conditioning: Conditioning) -> Tensor:
        """What the adapter adds to the actor's features, x~ - ReLU(x) (N, B, width), for arms with adapters."""
        actor = self.modules["actor"]
        features = actor.second(torch.relu(actor.first(obs)))
        return self._modulation("actor", self.modules, conditioning)(features) - torch.relu(features)


def _by_group(omega: Adapter) -> Callable[[Tensor], Tensor]:
    """The adapter on features (*lead, B, width), each of the G codes for B / G consecutive rows."""

    def modulate(x: Tensor) -> Tensor:
        groups = omega.b_down.shape[-2]
        return omega.adapt(x.unflatten(-2, (groups, -1))).flatten(-3, -2)

    return modulate
