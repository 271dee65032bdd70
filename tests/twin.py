"""A straightforward agent of one seed, the twin that the fast one is held to: plain torch.nn modules, one network at a
time, adapter weights built for every sample, a graph wherever autograd wants one and ``detach`` where the method says
so. Batched, but otherwise written as one would write it down from the paper."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

from dmash_core.agent import Agent
from dmash_core.networks.layers import avg_l1_norm, sim_norm
from dmash_core.replay import Batch

NORMS = {"none": lambda x: x, "avgl1": avg_l1_norm, "simnorm": sim_norm}


def linear(source, index=0) -> nn.Linear:
    """A torch.nn.Linear with the weights of network ``index`` of a stacked layer."""
    weight = source.weight.detach().flatten(0, -3)[index]
    layer = nn.Linear(*weight.shape, bias=source.bias is not None, dtype=weight.dtype)
    layer.weight.data.copy_(weight.T)
    if source.bias is not None:
        layer.bias.data.copy_(source.bias.detach().flatten(0, -3)[index, 0])
    return layer


class TwinEncoder(nn.Module):
    def __init__(self, source):
        super().__init__()
        self.input, self.output = linear(source.input), linear(source.output)
        lstm = source.lstm
        self.lstm = nn.LSTM(lstm.weight_ih.shape[1], lstm.weight_hh.shape[1], batch_first=True)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(self.lstm, f"{name}_l0").data.copy_(getattr(lstm, name).detach()[0].T.squeeze(-1))
        self.norms = source.input_norm, source.output_norm
        self.parts = source.parts

    def forward(self, windows, keep):
        x = self.norms[0](self.input(windows * keep[..., self.parts]))
        return self.norms[1](self.output(self.lstm(x)[0][:, -1]))


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
    """One Linear with 16,672 outputs in the paper's order: W_down (32, 256), b_down, W_up (256, 32), b_up."""

    def __init__(self, source, index=0):
        super().__init__()
        self.first, self.second = linear(source.first, index), linear(source.second, index)
        self.k, self.width = source.bottleneck, source.width
        # (seed, 65, k, width) or (seed, twin, 65, k, width): one seed here, so ``index`` counts twins
        down, up = (t.detach().flatten(0, -4)[index] for t in (source.down, source.up))
        biases = source.biases.detach().flatten(0, -3)[index]
        weight = torch.cat(
            [down.flatten(1), biases[:, : self.k], up.transpose(1, 2).flatten(1), biases[:, self.k :]], dim=1
        )
        self.last = nn.Linear(weight.shape[0] - 1, weight.shape[1])
        self.last.weight.data.copy_(weight[:-1].T)
        self.last.bias.data.copy_(weight[-1])

    def forward(self, code):
        out = self.last(F.relu(self.second(F.relu(self.first(code)))))
        k, w = self.k, self.width
        down, b_down, up, b_up = out.split([k * w, k, w * k, w], dim=-1)
        return down.unflatten(-1, (k, w)), b_down, up.unflatten(-1, (w, k)), b_up


class Twin:
    """The twin of seed 0 of a freshly made agent; ``update`` takes the same batch and returns the same losses."""

    def __init__(self, agent: Agent):
        self.method, self.layout, self.sac = agent.method, agent.layout, agent.sac
        source = agent.modules
        parts = {
            "actor": TwinMLP(source["actor"]),
            "critic": nn.ModuleList(TwinMLP(source["critic"], i) for i in (0, 1)),
        }
        if "encoder" in source:
            parts["encoder"], parts["dynamics"] = TwinEncoder(source["encoder"]), TwinMLP(source["dynamics"])
        if "hypernetwork" in source:
            parts["hypernetwork"] = TwinHypernetwork(source["hypernetwork"])
        if "actor_hypernetwork" in source:
            parts["actor_hypernetwork"] = TwinHypernetwork(source["actor_hypernetwork"])
            both = source["critic_hypernetwork"]
            parts["critic_hypernetwork"] = nn.ModuleList(TwinHypernetwork(both, i) for i in (0, 1))
        self.parts = nn.ModuleDict(parts)
        self.targets = nn.ModuleDict({k: copy.deepcopy(v) for k, v in parts.items() if k.startswith("critic")})
        self.log_alpha = nn.Parameter(torch.zeros(()))
        self.grads: dict[nn.Parameter, torch.Tensor] = {}  # what each optimiser used last

        def adam(lr, *names):
            params = [p for name in names if name in parts for p in parts[name].parameters()]
            return torch.optim.Adam(params, lr=lr) if params else None

        self.opt_dynamics = adam(self.sac.dynamics_lr, "encoder", "hypernetwork", "dynamics")
        self.opt_actor = adam(self.sac.actor_lr, "actor", "actor_hypernetwork")
        self.opt_critic = adam(self.sac.critic_lr, "critic", "critic_hypernetwork")
        self.opt_alpha = torch.optim.Adam([self.log_alpha], lr=self.sac.alpha_lr)

    def code(self, batch: Batch, contexts, i: int):
        """(rows' code, omega) of window ``i`` of the batch, with a graph."""
        if self.method.context == "none":
            return None, None
        if self.method.context == "true":
            return contexts[0].repeat_interleave(batch.obs.shape[1] // contexts.shape[1], dim=0), None
        z = self.parts["encoder"](batch.windows[0, i], batch.keep[0, i])
        return z, self.parts["hypernetwork"](z) if self.method.hypernetwork == "shared" else None

    def join(self, x, code):
        return torch.cat([x, code], dim=-1) if self.method.entry == "concat" else x

    def policy(self, obs, code, omega):
        if self.method.hypernetwork == "private":
            omega = self.parts["actor_hypernetwork"](code)
        mean, raw = self.parts["actor"](self.join(obs, code), omega).chunk(2, dim=-1)
        return mean, -5 + 0.5 * 7 * (torch.tanh(raw) + 1)

    def sample(self, obs, code, omega, noise):
        mean, log_std = self.policy(obs, code, omega)
        normal = torch.distributions.Normal(mean, log_std.exp())
        x = mean + log_std.exp() * noise
        action = torch.tanh(x)
        return action, (normal.log_prob(x) - torch.log(1 - action**2 + 1e-6)).sum(-1)

    def q(self, parts, i, obs, action, code, omega):
        if self.method.hypernetwork == "private":
            omega = parts["critic_hypernetwork"][i](code)
        return parts["critic"][i](self.join(torch.cat([obs, action], dim=-1), code), omega).squeeze(-1)

    def update(self, batch: Batch, contexts) -> dict[str, torch.Tensor]:
        logs = self.update_dynamics(batch, contexts) | self.update_critic(batch, contexts)
        for j in range(1, batch.noise.shape[1]):
            logs |= self.update_actor(batch, contexts, j)
        return logs

    def update_dynamics(self, batch: Batch, contexts):
        if self.method.context != "inferred":
            return {}
        z, omega = self.code(batch, contexts, 0)
        x = self.join(torch.cat([batch.obs[0], batch.action[0]], dim=-1), z)
        loss = F.mse_loss(self.parts["dynamics"](x, omega), batch.next_obs[0] - batch.obs[0])
        self.step(self.opt_dynamics, loss)
        return {"dynamics_loss": loss.detach()}

    def update_critic(self, batch: Batch, contexts):
        code, omega = detached(self.code(batch, contexts, 1))
        with torch.no_grad():
            next_obs = batch.next_obs[0]
            next_action, log_prob = self.sample(next_obs, code, omega, batch.noise[0, 0])
            q = torch.min(*(self.q(self.targets, i, next_obs, next_action, code, omega) for i in (0, 1)))
            goes_on = 1 if self.method.bootstrap_at_time_limit else 1 - batch.at_limit[0]
            target = batch.reward[0] + self.sac.gamma * goes_on * (q - self.log_alpha.exp() * log_prob)
        obs, action = batch.obs[0], batch.action[0]
        loss = sum(F.mse_loss(self.q(self.parts, i, obs, action, code, omega), target) for i in (0, 1))
        self.step(self.opt_critic, loss)
        with torch.no_grad():
            for name, part in self.targets.items():
                for old, new in zip(part.parameters(), self.parts[name].parameters(), strict=True):
                    old.mul_(1 - self.sac.tau).add_(new, alpha=self.sac.tau)
        return {"critic_loss": loss.detach()}

    def update_actor(self, batch: Batch, contexts, j: int):
        code, omega = detached(self.code(batch, contexts, 1 + j))
        obs = batch.obs[0]
        action, log_prob = self.sample(obs, code, omega, batch.noise[0, j])
        q = torch.min(*(self.q(self.parts, i, obs, action, code, omega) for i in (0, 1)))
        loss = (self.log_alpha.exp().detach() * log_prob - q).mean()
        self.step(self.opt_actor, loss)
        self.step(self.opt_alpha, -(self.log_alpha.exp() * (log_prob.detach() - self.layout.n_act)).mean())
        return {"actor_loss": loss.detach()}

    def step(self, optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            self.grads |= {p: p.grad.clone() for p in group["params"]}  # a later loss adds to .grad of what it crosses
        optimizer.step()


def detached(pair):
    code, omega = pair
    return None if code is None else code.detach(), None if omega is None else tuple(t.detach() for t in omega)


def log_density(mean, log_std, action):
    """log pi(action) of the squashed Gaussian by definition: the normal density of atanh(action) over |d tanh|."""
    x = torch.atanh(action)
    normal = -0.5 * ((x - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    return (normal - torch.log(1 - action**2)).sum(-1)
