"""The in-context arms ``amago`` and ``amago-transformer``: our compact version of Amago-2, trained end to end by RL.

An MLP embeds each timestep [s, previous reward, previous action], a GRU or a causal Transformer summarises the
timesteps so far as one state, and actor and critics read that state. The agent never sees the context and learns no
dynamics model. Training sequences of K transitions (K + 1 timesteps) start anywhere in a stored window and episode,
with the initial memory of a warm-up: zero for the GRU, empty for the Transformer. When acting, the memory carries over
from the warm-up into the scored episode; the Transformer attends to the current timestep and the K before it through
cached keys and values, which are not recomputed.

Based on AMAGO's description and defaults (Grigsby et al. 2024, arXiv:2310.09971; 2025, arXiv:2411.11188;
UT-Austin-RPL/amago). Omissions and differences:

- omitted: asynchronous rollouts, disk replay with relabelling, hindsight goals, several actions per value estimate,
  two-hot critics, filters other than the binary one, mixed precision;
- omitted in the Transformer: sigma-reparametrisation, head scaling, the second norms of NormFormer, dropout;
- each update draws the two critics of its target once, without replacement, and evaluates only these (AMAGO evaluates
  all four and draws for each timestep and gamma, with replacement);
- AMAGO does not train PopArt's output correction, so it cancels with the statistics: the unnormalised value is always
  ``VALUE_SCALE`` times the network's output, and the statistics only divide the losses. This code does just that;
- statistics start at the first batch (in AMAGO, between a prior and the first batch);
- the reset between warm-up and episode appears as a zero previous reward and action; the one transition across it is
  not trained on, since its successor is not in the sequence;
- as in all arms, nothing is learned in the first 5,000 vector steps. AMAGO has no phase of uniformly random actions, so
  the untrained policy acts during these steps, with exploration noise and warm-ups.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_, softplus

from dmash_core.agents.conditioning import LOG_STD_MAX, LOG_STD_MIN
from dmash_core.agents.learner import Learner, follow, stream
from dmash_core.methods import InContextMethod
from dmash_core.networks.layers import LayerNorm, Linear
from dmash_core.networks.sequence import LeakyMLP, Recurrence, Statistics, Transformer
from dmash_core.replay import History, Layout, Replay

GAMMAS = (0.1, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999)  # the policy of the last one acts
CRITICS, TARGET_CRITICS = 4, 2
SEQUENCES = 24  # sequences of K transitions in a batch
VALUE_ROWS = 96  # timesteps per evaluation of the critics
REWARD_SCALE = 10.0
VALUE_SCALE = 10.0  # unnormalised value divided by a critic's output: PopArt's initial standard deviation
INPUT_STEP, VALUE_STEP = 1e-4, 5e-4  # step sizes of the running statistics
CRITIC_WEIGHT, CLONING_WEIGHT = 10.0, 0.1
LEARNING_RATE, WEIGHT_DECAY, RATE_WARM_UP, GRADIENT_CLIP = 1e-4, 1e-3, 500, 1.0
TARGET_TAU = 0.003
NOISE_START, NOISE_END, NOISE_STEPS = 1.0, 0.05, 1_000_000  # exploration noise; NOISE_STEPS are vector steps
EXPLORATION_STREAM = 5  # index among a run's random streams


@dataclass
class Sequences:
    """The B sequences of K transitions per seed of one update, and all random numbers that it uses."""

    obs: Tensor  # (N, B, K + 1, d_s)
    previous: Tensor  # (N, B, K + 1, 1 + d_a): reward and action before each timestep, zero where an episode begins
    time: Tensor  # (N, B, K + 1), int64: timesteps since the warm-up began
    action: Tensor  # (N, B, K, d_a)
    reward: Tensor  # (N, B, K)
    unbroken: Tensor  # (N, B, K): 0 where a reset separates a transition from the next timestep
    noise: Tensor  # (N, 2, B K, G, d_a), standard normal: the policy's actions, the target's next actions
    critics: Tensor  # (N, 2), int64: the critics used in the target


def sample_sequences(replay: Replay, generators: Sequence[torch.Generator]) -> Sequences:
    """Sample ``SEQUENCES`` sequences per seed; context, episode and first transition uniform and independent."""
    layout, device = replay.layout, replay.rows.device
    n, contexts, slots, length, _ = replay.rows.shape
    k, b = layout.window, SEQUENCES

    def draw(generator: torch.Generator):
        ends = (contexts, min(replay.added, slots), layout.horizon + 1)
        where = [torch.randint(end, (b,), generator=generator, device=device) for end in ends]
        noise = torch.randn(2, b * k, len(GAMMAS), layout.n_act, generator=generator, device=device)
        return *where, noise, torch.rand(CRITICS, generator=generator, device=device).topk(TARGET_CRITICS).indices

    draws = zip(*(draw(g) for g in generators), strict=True)
    context, episode, first, noise, critics = (torch.stack(d) for d in draws)
    block = (torch.arange(n, device=device).unsqueeze(1) * contexts + context) * slots + episode
    steps = torch.arange(k + 1, device=device)
    time = first.unsqueeze(-1) + steps
    begins = layout.begins(time)
    begins[..., 1:] &= steps[1:] < k  # the last timestep is the last transition's successor, never a reset
    position = (block * length).unsqueeze(-1) + time
    flat = replay.rows.view(-1, layout.row)
    obs, action, next_obs, reward = layout.split(flat[position[..., :-1]])
    _, before_action, _, before_reward = layout.split(flat[(position - 1).clamp(min=0)])
    previous = torch.cat([before_reward.unsqueeze(-1), before_action], dim=-1)
    previous = previous.masked_fill(begins.unsqueeze(-1), 0.0)
    obs = torch.cat([obs, next_obs[:, :, -1:]], dim=2)
    return Sequences(obs, previous, time, action, reward, 1.0 - begins[..., 1:].to(obs.dtype), noise, critics)


@cache
def _gammas(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(GAMMAS, device=device, dtype=dtype)


def gammas_like(x: Tensor) -> Tensor:
    """GAMMAS on the device of ``x``, copied there once: a CUDA graph cannot copy from the host."""
    return _gammas(x.device, x.dtype)


class Critics(nn.Module):
    """Four critics of [state, action, gamma] with two hidden layers each; ``values`` evaluates them."""

    def __init__(self, n_seeds: int, width: int, n_act: int, generators: Sequence[torch.Generator]):
        super().__init__()
        sizes = (width + n_act + 1, width, width, 1)
        self.layers = nn.ModuleList(Linear((n_seeds, CRITICS), a, b, generators) for a, b in pairwise(sizes))


def values(critics: Sequence[Tensor], state: Tensor, action: Tensor) -> Tensor:
    """Unnormalised values (N, C, R, G) by C critics, given their parameters in the order of ``Critics.parameters()``.

    ``state`` is (N, R, width); ``action`` is (N, R, G, d_a), one per gamma, or (N, R, 1, d_a), one for all. The first
    layer is a sum over the three parts of its input, so what the gammas share is computed once. Actions are clipped to
    +-0.999, so saturating the policy is not rewarded. A gamma enters as log(1 + 1 / (1 - gamma)). Works in place on few
    rows at a time: the activations would not fit in cache and would cost as much as the matrix products.
    """
    chunks = zip(state.split(VALUE_ROWS, dim=1), action.split(VALUE_ROWS, dim=1), strict=True)
    return torch.cat([_values(critics, *chunk) for chunk in chunks], dim=2)


def _values(critics: Sequence[Tensor], state: Tensor, action: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = critics
    w_state, w_action, w_gamma = w1.split([state.shape[-1], action.shape[-1], 1], dim=2)
    gammas = torch.log1p(1.0 / (1.0 - gammas_like(state))).unsqueeze(1)
    acted = action.clamp(-0.999, 0.999).flatten(1, 2).unsqueeze(1) @ w_action
    x = (state.unsqueeze(1) @ w_state + b1).unsqueeze(3) + acted.unflatten(2, action.shape[1:3])
    x = x + gammas * w_gamma.unsqueeze(2)
    x = leaky_relu_(x).flatten(2, 3)
    x = leaky_relu_(torch.baddbmm(b2.flatten(0, 1), x.flatten(0, 1), w2.flatten(0, 1)))
    return VALUE_SCALE * torch.baddbmm(b3.flatten(0, 1), x, w3.flatten(0, 1)).view(*w1.shape[:2], -1, len(GAMMAS))


class RecurrentAgent(Learner):
    """N independent recurrent agents, one per seed, trained in lock-step with one loss and one optimiser."""

    def __init__(
        self,
        method: InContextMethod,
        layout: Layout,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ):
        self.method, self.layout, self.device = method, layout, torch.device(device)
        self.seeds, self.n = list(seeds), len(seeds)
        n, width, d_in = self.n, method.width, layout.n_obs + 1 + layout.n_act
        generators = [torch.Generator().manual_seed(stream(seed, 0)) for seed in seeds]

        def sequence() -> nn.Module:
            if method.recurrence == "gru":
                return Recurrence(n, width, generators)
            return Transformer(n, width, layout.window + layout.horizon + 1, layout.window + 1, generators)

        self.modules = nn.ModuleDict(
            {
                "input": Statistics(n, d_in, INPUT_STEP),
                "timestep": LeakyMLP(n, (d_in, 2 * width, 2 * width, width), generators),
                "norm": LayerNorm(n, width),
                "sequence": sequence(),
                "actor": LeakyMLP(n, (width, width, width, len(GAMMAS) * 2 * layout.n_act), generators),
                "critic": Critics(n, width, layout.n_act, generators),
                "value": Statistics(n, len(GAMMAS), VALUE_STEP),
            }
        ).to(self.device)
        self.targets = nn.ModuleDict({name: deepcopy(self.modules[name]) for name in ("actor", "critic")})
        self.targets.requires_grad_(False)
        self.parameters = list(self.modules.parameters())
        rate = torch.tensor(LEARNING_RATE, device=self.device)
        self.optimizers = {"all": torch.optim.AdamW(self.parameters, lr=rate, weight_decay=WEIGHT_DECAY, fused=True)}

    # ---------------------------------------------------------------- acting

    @torch.no_grad()
    def act(self, obs: Tensor, history: History, memory: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Actions (N, B, d_a) at the timestep after ``history``, and the memory after it. Actions are tanh of the mean,
        or samples if standard-normal ``noise`` (N, B, d_a) is given."""
        x = self._embed_timesteps(torch.cat([obs, history.previous()], dim=-1))
        state, memory = self.modules["sequence"].step(x, history.time, memory)
        mean, log_std = (t[:, :, -1] for t in self.policy(self.modules["actor"], state))
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise), memory

    def explore(self, action: Tensor, noise: Tensor, step: int) -> Tensor:
        """Add exploration noise to actions at a vector step of training; ``noise`` is standard normal (N, C, d_a).

        Its scale decays linearly, times a factor that each environment draws from [0, 1) per episode.
        """
        episode = step // self.layout.horizon
        streams = [torch.Generator().manual_seed(stream(s, EXPLORATION_STREAM, episode)) for s in self.seeds]
        factor = torch.stack([torch.rand(action.shape[1], 1, generator=g) for g in streams]).to(self.device)
        scale = max(NOISE_START - (NOISE_START - NOISE_END) * step / NOISE_STEPS, NOISE_END)
        return (action + scale * factor * noise).clamp(-1.0, 1.0)

    # ---------------------------------------------------------------- forward

    def _embed_timesteps(self, steps: Tensor) -> Tensor:
        """(N, R, d_s + 1 + d_a) to (N, R, width)."""
        modules = self.modules
        return modules["norm"](modules["timestep"](modules["input"].normalise(steps)))

    def states(self, batch: Sequences) -> Tensor:
        """The recurrent state at each timestep, (N, B, K + 1, width)."""
        steps = torch.cat([batch.obs, batch.previous], dim=-1)
        x = self._embed_timesteps(steps.flatten(1, 2)).unflatten(1, steps.shape[1:3])
        return self.modules["sequence"](x, batch.time)

    def policy(self, actor: LeakyMLP, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (N, R, G, d_a) of the Gaussians before the tanh, one per gamma."""
        mean, log_std = actor(state).unflatten(-1, (len(GAMMAS), -1)).chunk(2, dim=-1)
        return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (torch.tanh(log_std) + 1.0)

    # ---------------------------------------------------------------- update

    def update(self, batch: Sequences, contexts: Tensor) -> dict[str, Tensor]:
        """One gradient step on actor loss + 10 critic loss; returns losses and diagnostics, (N,) each."""
        self.modules["input"].update(torch.cat([batch.obs, batch.previous], dim=-1).flatten(1, 2))
        losses, logs = self.losses(batch)
        self._descend(losses["actor"] + CRITIC_WEIGHT * losses["critic"])
        for name, target in self.targets.items():
            follow(target.parameters(), self.modules[name].parameters(), TARGET_TAU)
        return {f"{name}_loss": loss.detach() for name, loss in losses.items()} | logs

    def losses(self, batch: Sequences) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses ``actor`` and ``critic`` (N,) and diagnostics (N,); also updates the value statistics.

        Gradients of both losses reach the encoder, the actor's through the policy only: in its loss, the critics'
        parameters and the state that they read are detached.
        """
        states = self.states(batch)
        state, after = states[:, :, :-1].flatten(1, 2), states[:, :, 1:].flatten(1, 2)
        action = batch.action.flatten(1, 2).unsqueeze(2)
        critics = list(self.modules["critic"].parameters())
        mean, log_std = self.policy(self.modules["actor"], state)
        q = values(critics, state, action)
        frozen = [p.detach() for p in critics]
        q_policy = values(frozen, state.detach(), torch.tanh(mean + log_std.exp() * batch.noise[:, 0]))

        target, unbroken = self.target(batch, after), batch.unbroken.flatten(1, 2)
        self.modules["value"].update(target, unbroken)
        std = self.modules["value"].std.unsqueeze(1)
        error = ((q - target.unsqueeze(1)) / std.unsqueeze(1)).square().mean(dim=(1, 3))
        critic_loss = (error * unbroken).sum(dim=1) / unbroken.sum(dim=1)

        better = q.detach().mean(dim=1) > q_policy.detach().mean(dim=1)  # (N, R, G)
        likelihood = squashed_log_prob(mean, log_std, action)
        actor_loss = -(q_policy.amin(dim=1) / std + CLONING_WEIGHT * (better * likelihood)).mean(dim=(1, 2))
        logs = {"q": q.detach()[..., -1].mean(dim=(1, 2)) / REWARD_SCALE, "cloned": better.float().mean(dim=(1, 2))}
        return {"actor": actor_loss, "critic": critic_loss}, logs

    @torch.no_grad()
    def target(self, batch: Sequences, after: Tensor) -> Tensor:
        """10 r + gamma min Q' over two random target critics (N, R, G), at states ``after`` (N, R, width)."""
        actor: Any = self.targets["actor"]
        mean, log_std = self.policy(actor, after)
        rows = torch.arange(self.n, device=self.device).unsqueeze(1)
        critics = [p[rows, batch.critics] for p in self.targets["critic"].parameters()]
        q = values(critics, after, torch.tanh(mean + log_std.exp() * batch.noise[:, 1])).amin(dim=1)
        return REWARD_SCALE * batch.reward.flatten(1, 2).unsqueeze(-1) + gammas_like(q) * q

    def _descend(self, loss: Tensor) -> None:
        """An AdamW step with learning-rate warm-up, the gradient of each seed clipped to norm 1."""
        set_clipped_grads(loss, self.parameters)
        optimizer, updates = self.optimizers["all"], self.modules["input"].updates[0, 0]
        # a tensor on the device: a CUDA graph would freeze a Python number
        optimizer.param_groups[0]["lr"].copy_(LEARNING_RATE * (updates / RATE_WARM_UP).clamp(max=1.0))
        optimizer.step()


def squashed_log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """Log density (...) of actions (..., d_a), clipped to +-0.99 for inversion, under a tanh-squashed Gaussian.

    The log of the derivative 1 - tanh(x)^2 is 2 (log 2 - x - softplus(-2 x)).
    """
    x = torch.atanh(action.clamp(-0.99, 0.99))
    log_prob = -0.5 * ((x - mean) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2.0 * math.pi)
    return (log_prob - 2.0 * (math.log(2.0) - x - softplus(-2.0 * x))).sum(dim=-1)


def set_clipped_grads(loss: Tensor, parameters: Sequence[Tensor]) -> None:
    """Set the gradients of losses (N,), each seed's clipped to norm ``GRADIENT_CLIP``."""
    grads = torch.autograd.grad(loss.sum(), parameters)
    norm = torch.stack([g.flatten(1).norm(dim=1) for g in grads]).norm(dim=0)
    factor = (GRADIENT_CLIP / (norm + 1e-6)).clamp(max=1.0)
    for param, grad in zip(parameters, grads, strict=True):
        param.grad = grad * factor.view(-1, *[1] * (grad.ndim - 1))
