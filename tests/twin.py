"""A straightforward single-seed agent, the reference for the fast one: plain torch.nn modules, one network at a time,
adapter weights built for every sample, autograd everywhere and ``detach`` where the method requires it. Batched, but
otherwise a direct transcription of the paper."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

from dmash_core.agents.sac import Agent
from dmash_core.networks.layers import LayerNorm
from dmash_core.replay import Batch


def linear(source, index=0) -> nn.Linear:
    """A torch.nn.Linear with the weights of network ``index`` of a stacked layer."""
    weight = source.weight.detach().flatten(0, -3)[index]
    layer = nn.Linear(*weight.shape, bias=source.bias is not None, dtype=weight.dtype)
    layer.weight.data.copy_(weight.T)
    if source.bias is not None:
        layer.bias.data.copy_(source.bias.detach().flatten(0, -3)[index, 0])
    return layer


def norm(source):
    """A torch.nn.LayerNorm with the weights of ours; the other norms have no parameters and are tested separately."""
    if not isinstance(source, LayerNorm):
        return source
    layer = nn.LayerNorm(source.weight.shape[-1])
    layer.weight.data.copy_(source.weight.detach()[0])
    layer.bias.data.copy_(source.bias.detach()[0])
    return layer


class TwinEncoder(nn.Module):
    def __init__(self, source):
        super().__init__()
        self.input, self.output = linear(source.input), linear(source.output)
        self.variance = linear(source.variance) if hasattr(source, "variance") else None
        self.variance_norm = norm(source.variance_norm) if hasattr(source, "variance") else None
        lstm = source.lstm
        self.lstm = nn.LSTM(lstm.weight_ih.shape[1], lstm.weight_hh.shape[1], batch_first=True)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(self.lstm, f"{name}_l0").data.copy_(getattr(lstm, name).detach()[0].T.squeeze(-1))
        self.input_norm, self.output_norm = norm(source.input_norm), norm(source.output_norm)
        self.parts = source.parts

    def forward(self, windows, keep, noise):
        """z, and the KL of a Gaussian to the standard normal (0 for a point)."""
        x = self.lstm(self.input_norm(self.input(windows * keep[..., self.parts])))[0][:, -1]
        mean = self.output_norm(self.output(x))
        if self.variance is None:
            return mean, 0.0
        deviation = F.softplus(self.variance_norm(self.variance(x))).sqrt()
        posterior = torch.distributions.Normal(mean, deviation)
        kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean()
        return mean + deviation * noise, kl


class TwinMLP(nn.Module):
    def __init__(self, source, index=0):
        super().__init__()
        self.first, self.second, self.head = (linear(m, index) for m in (source.first, source.second, source.head))

    def forward(self, x, omega=None):
        x = self.second(F.relu(self.first(x)))
        if omega is None:
            return self.head(F.relu(x))
        down, b_down, up, b_up = omega
        u = F.relu(torch.bmm(down, x.unsqueeze(-1)).squeeze(-1) + b_down)
        return self.head(F.relu(x + torch.bmm(up, u.unsqueeze(-1)).squeeze(-1) + b_up))


class TwinHypernetwork(nn.Module):
    """omega in the paper's order: W_down (32, 256), b_down, W_up (256, 32), b_up."""

    def __init__(self, source, index=0):
        super().__init__()
        self.first, self.second = linear(source.first, index), linear(source.second, index)
        self.k, self.width = source.bottleneck, source.width

    def forward(self, code):
        k, w = self.k, self.width
        down, b_down, up, b_up = self.outputs(code).split([k * w, k, w * k, w], dim=-1)
        return down.unflatten(-1, (k, w)), b_down, up.unflatten(-1, (w, k)), b_up


class TwinChunked(TwinHypernetwork):
    """Successive passes of the same network, each for the next 512 entries; the excess is cut off."""

    def __init__(self, source, index=0):
        super().__init__(source, index)
        self.last = linear(source.last, index)
        self.chunks = nn.Parameter(source.chunks.detach().flatten(0, -3)[index].clone())

    def outputs(self, code):
        passes = []
        for chunk in self.chunks:
            x = torch.cat([code, chunk.expand(*code.shape[:-1], -1)], dim=-1)
            passes.append(self.last(F.relu(self.second(F.relu(self.first(x))))))
        return torch.cat(passes, dim=-1)[..., : 2 * self.k * self.width + self.k + self.width]


class TwinWhole(TwinHypernetwork):
    """One Linear with 16,672 outputs."""

    def __init__(self, source, index=0):
        super().__init__(source, index)
        # (seed, 65, k, width) or (seed, twin, 65, k, width): with one seed, ``index`` selects the twin critic
        down, up = (t.detach().flatten(0, -4)[index] for t in (source.down, source.up))
        biases = source.biases.detach().flatten(0, -3)[index]
        weight = torch.cat(
            [down.flatten(1), biases[:, : self.k], up.transpose(1, 2).flatten(1), biases[:, self.k :]], dim=1
        )
        self.last = nn.Linear(weight.shape[0] - 1, weight.shape[1])
        self.last.weight.data.copy_(weight[:-1].T)
        self.last.bias.data.copy_(weight[-1])

    def outputs(self, code):
        return self.last(F.relu(self.second(F.relu(self.first(code)))))


class Twin:
    """The twin of seed 0 of a new agent; ``update`` takes the same batch and returns the same losses."""

    def __init__(self, agent: Agent):
        self.method, self.layout, self.sac = agent.method, agent.layout, agent.sac
        source = agent.modules
        hypernetwork = {"chunked": TwinChunked, "whole": TwinWhole}[self.method.hypernetwork_form]
        parts = {
            "actor": TwinMLP(source["actor"]),
            "critic": nn.ModuleList(TwinMLP(source["critic"], i) for i in (0, 1)),
        }
        if "encoder" in source:
            parts["encoder"] = TwinEncoder(source["encoder"])
        if "dynamics" in source:
            parts["dynamics"] = TwinMLP(source["dynamics"])
        for name in ("hypernetwork", "dynamics_hypernetwork", "actor_hypernetwork"):
            if name in source:
                parts[name] = hypernetwork(source[name])
        if "critic_hypernetwork" in source:
            both = source["critic_hypernetwork"]
            parts["critic_hypernetwork"] = nn.ModuleList(hypernetwork(both, i) for i in (0, 1))
        self.parts = nn.ModuleDict(parts).to(agent.device)
        self.targets = nn.ModuleDict({k: copy.deepcopy(v) for k, v in parts.items() if k.startswith("critic")})
        self.log_alpha = nn.Parameter(torch.zeros((), device=agent.device))
        self.grads: dict[nn.Parameter, torch.Tensor] = {}  # the gradients that each optimiser used last

        def adam(lr, *names):
            params = [p for name in names if name in parts for p in parts[name].parameters()]
            return torch.optim.Adam(params, lr=lr) if params else None

        live, inferring = self.method.encoder_gradients_from, ("encoder", "hypernetwork")
        self.live = {"critic": live in ("critic", "both"), "actor": live in ("actor", "both", "policy")}
        if "dynamics" in parts:
            self.opt_dynamics = adam(self.sac.dynamics_lr, *inferring, "dynamics", "dynamics_hypernetwork")
        self.opt_actor = adam(self.sac.actor_lr, "actor", "actor_hypernetwork", *inferring * self.live["actor"])
        self.opt_critic = adam(self.sac.critic_lr, "critic", "critic_hypernetwork", *inferring * self.live["critic"])
        self.opt_alpha = torch.optim.Adam([self.log_alpha], lr=self.sac.alpha_lr)

    def code(self, batch: Batch, contexts, i: int):
        """(code, omega, KL) for window ``i`` of the batch, with gradients."""
        if self.method.context == "none":
            return None, None, 0.0
        if self.method.context == "true":
            return contexts[0].repeat_interleave(batch.obs.shape[1] // contexts.shape[1], dim=0), None, 0.0
        noise = None if batch.code_noise is None else batch.code_noise[0, i]
        z, kl = self.parts["encoder"](batch.windows[0, i], batch.keep[0, i], noise)
        return z, self.parts["hypernetwork"](z) if self.method.hypernetwork == "shared" else None, kl

    def enter(self, name, hypernetwork, x, code, omega):
        """Input and adapter weights of the network ``name``, whose private hypernetwork would be ``hypernetwork``."""
        if code is None:
            return x, None
        if (
            self.method.conditioning == "concat"
            or self.method.adapters not in ("all",)
            and name not in self.method.adapters
        ):
            return torch.cat([x, code], dim=-1), None
        return x, hypernetwork(code) if self.method.hypernetwork == "private" else omega

    def policy(self, obs, code, omega):
        hypernetwork = self.parts["actor_hypernetwork"] if "actor_hypernetwork" in self.parts else None
        mean, raw = self.parts["actor"](*self.enter("actor", hypernetwork, obs, code, omega)).chunk(2, dim=-1)
        return mean, -5 + 0.5 * 7 * (torch.tanh(raw) + 1)

    def sample(self, obs, code, omega, noise):
        mean, log_std = self.policy(obs, code, omega)
        normal = torch.distributions.Normal(mean, log_std.exp())
        x = mean + log_std.exp() * noise
        action = torch.tanh(x)
        return action, (normal.log_prob(x) - torch.log(1 - action**2 + 1e-6)).sum(-1)

    def q(self, parts, i, obs, action, code, omega):
        hypernetwork = parts["critic_hypernetwork"][i] if "critic_hypernetwork" in parts else None
        x = torch.cat([obs, action], dim=-1)
        return parts["critic"][i](*self.enter("critic", hypernetwork, x, code, omega)).squeeze(-1)

    def update(self, batch: Batch, contexts) -> dict[str, torch.Tensor]:
        logs = self.update_dynamics(batch, contexts) | self.update_critic(batch, contexts)
        for j in range(1, batch.noise.shape[1]):
            logs |= self.update_actor(batch, contexts, j)
        return logs

    def update_dynamics(self, batch: Batch, contexts):
        if "dynamics" not in self.parts:
            return {}
        z, omega, kl = self.code(batch, contexts, 0)
        obs, action, change = batch.obs[0], batch.action[0], batch.next_obs[0] - batch.obs[0]
        x, y = {
            "dynamics": ([obs, action], change),
            "inverse": ([obs, change], action),
            "reward": ([obs, action], batch.reward[0, :, None]),
        }[self.method.objective]
        hypernetwork = self.parts["dynamics_hypernetwork"] if "dynamics_hypernetwork" in self.parts else None
        x, omega = self.enter("dynamics", hypernetwork, torch.cat(x, dim=-1), z, omega)
        loss = F.mse_loss(self.parts["dynamics"](x, omega), y)
        beta = self.method.beta
        self.step(self.opt_dynamics, loss * (1 + beta * kl) if self.method.kl == "multiply" else loss + beta * kl)
        return {"dynamics_loss": loss.detach()}

    def update_critic(self, batch: Batch, contexts):
        code, omega, kl = self.code(batch, contexts, 1)
        if not self.live["critic"]:
            code, omega = detached((code, omega))
        with torch.no_grad():
            next_obs = batch.next_obs[0]
            next_action, log_prob = self.sample(next_obs, code, omega, batch.noise[0, 0])
            q = torch.min(*(self.q(self.targets, i, next_obs, next_action, code, omega) for i in (0, 1)))
            not_done = 1 if self.method.bootstrap_at_time_limit else 1 - batch.at_limit[0]
            target = batch.reward[0] + self.sac.gamma * not_done * (q - self.log_alpha.exp() * log_prob)
        obs, action = batch.obs[0], batch.action[0]
        loss = sum(F.mse_loss(self.q(self.parts, i, obs, action, code, omega), target) for i in (0, 1))
        self.step(self.opt_critic, loss + self.method.beta * kl if self.method.objective == "none" else loss)
        with torch.no_grad():
            for name, part in self.targets.items():
                for old, new in zip(part.parameters(), self.parts[name].parameters(), strict=True):
                    old.mul_(1 - self.sac.tau).add_(new, alpha=self.sac.tau)
        return {"critic_loss": loss.detach()}

    def update_actor(self, batch: Batch, contexts, j: int):
        code, omega, _ = self.code(batch, contexts, 1 + j)
        if not self.live["actor"]:
            code, omega = detached((code, omega))
        obs = batch.obs[0]
        action, log_prob = self.sample(obs, code, omega, batch.noise[0, j])
        if self.method.encoder_gradients_from == "policy":
            code, omega = detached((code, omega))
        q = torch.min(*(self.q(self.parts, i, obs, action, code, omega) for i in (0, 1)))
        loss = (self.log_alpha.exp().detach() * log_prob - q).mean()
        self.step(self.opt_actor, loss)
        self.step(self.opt_alpha, -(self.log_alpha.exp() * (log_prob.detach() - self.layout.n_act)).mean())
        return {"actor_loss": loss.detach()}

    def step(self, optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            self.grads |= {p: p.grad.clone() for p in group["params"]}  # later losses add to .grad
        optimizer.step()


def detached(pair):
    code, omega = pair
    return None if code is None else code.detach(), None if omega is None else tuple(t.detach() for t in omega)


def log_density(mean, log_std, action):
    """log pi(action) of the squashed Gaussian by definition: normal density of atanh(action) divided by |d tanh|."""
    x = torch.atanh(action)
    normal = -0.5 * ((x - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    return (normal - torch.log(1 - action**2)).sum(-1)
