"""A replay buffer of whole episodes per context, and the history of transitions that windows are sliced from.

A transition is one row [s, a, s', r]. Every episode has the same length T and is stored after the K transitions of its
first window, so the window of any step is a slice of K rows of one dense array.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dmash_core.methods import Method
from dmash_core.networks.encoder import evaluation_positions, random_positions
from dmash_core.networks.layers import standardise


@dataclass(frozen=True)
class Layout:
    """Sizes shared by replay buffer, history and agent; ``row`` is the length of a transition row."""

    n_obs: int
    n_act: int
    window: int
    horizon: int
    whole: bool = False
    """Encoders read all K transitions of a window in time order instead of a subset."""
    standardise: bool = False
    """Standardise each feature of a transition over all K steps of its window (the input norm WindowNorm)."""

    @property
    def row(self) -> int:
        return 2 * self.n_obs + self.n_act + 1

    def begins(self, time):
        """Whether an episode begins at ``time`` (int or tensor), counted from the start of the warm-up."""
        return (time == self.window) | ((time < self.window) & (time % self.horizon == 0))

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Split transition rows (..., row) into s (..., d_s), a (..., d_a), s' (..., d_s) and r (...)."""
        s, a, s_next, r = rows.split([self.n_obs, self.n_act, self.n_obs, 1], dim=-1)
        return s, a, s_next, r.squeeze(-1)

    def encoder_input(self, rows: Tensor) -> Tensor:
        """[s, a, s' - s] (..., 2 d_s + d_a) of transition rows, in raw units."""
        s, a, s_next, _ = self.split(rows)
        return torch.cat([s, a, s_next - s], dim=-1)

    def read(self, rows: Tensor, first: Tensor, positions: Tensor) -> Tensor:
        """The encoder's input (..., k, 2 d_s + d_a): the steps at ``positions``, (..., k) or (k,), of windows of K
        transitions that start at the indices ``first`` (...) of ``rows`` (R, row)."""
        first = first.unsqueeze(-1)
        if not self.standardise:
            return self.encoder_input(rows[first + positions])
        whole = standardise(self.encoder_input(rows[first + torch.arange(self.window, device=rows.device)]))
        chosen = positions.expand(*first.shape[:-1], -1).unsqueeze(-1).expand(*first.shape[:-1], -1, whole.shape[-1])
        return whole.gather(-2, chosen)


class Reading(NamedTuple):
    """How an encoder in training mode reads windows (N, ..., K); redrawn for every sample and pass."""

    positions: Tensor  # (N, ..., k), int64: a random subset in random order
    keep: Tensor  # (N, ..., k, 3): 0 where the vector s, a or s' - s of a step is masked
    noise: Tensor | None  # (N, ..., 8), standard normal, for a Gaussian z


def draw_reading(
    generators: Sequence[torch.Generator], shape: tuple[int, ...], layout: Layout, method: Method
) -> Reading:
    """Draw a Reading of windows (N, *shape, K), each seed from its own generator."""
    k = len(evaluation_positions(layout.window, layout.whole))

    def draw(generator: torch.Generator) -> list[Tensor]:
        device, g = generator.device, generator
        parts = [
            torch.rand(*shape, layout.window, generator=g, device=device),
            torch.rand(*shape, k, 3, generator=g, device=device),
        ]
        if method.posterior == "gaussian":
            parts.append(torch.randn(*shape, method.embedding, generator=g, device=device))
        return parts

    uniforms, keep, *noise = (torch.stack(parts) for parts in zip(*map(draw, generators), strict=True))
    positions = random_positions(uniforms, layout.whole)
    return Reading(positions, (keep >= method.masking).float(), noise[0] if noise else None)


@dataclass
class Batch:
    """The transitions of one update, B per seed, ordered by context, and all random numbers that it uses."""

    obs: Tensor  # (N, B, d_s)
    action: Tensor  # (N, B, d_a)
    next_obs: Tensor  # (N, B, d_s)
    reward: Tensor  # (N, B)
    at_limit: Tensor  # (N, B), 1 where the episode ended with this transition
    noise: Tensor  # (N, P, B, d_a), standard normal: next action in the critic's target, then each actor update
    windows: Tensor | None  # (N, 1 + P, B, k, 2 d_s + d_a): for dynamics, critic, and each actor update
    keep: Tensor | None  # (N, 1 + P, B, k, 3), the masks of the windows
    code_noise: Tensor | None = None  # standard normal: (N, 1 + P, B, 8) for a Gaussian z, (N, C, K, 10) for VariBAD


class Replay:
    """A ring buffer of the last ``capacity // T`` whole episodes of each of C contexts, for N seeds."""

    def __init__(self, layout: Layout, n_seeds: int, n_contexts: int, capacity: int, device: torch.device):
        self.layout = layout
        self.slots = max(1, capacity // layout.horizon)
        shape = (n_seeds, n_contexts, self.slots, layout.window + layout.horizon, layout.row)
        self.rows = torch.zeros(shape, device=device)
        self.added = 0

    def add(self, episode: Tensor) -> None:
        """Store one episode of every context, (N, C, K + T, row); only whole episodes are sampled."""
        self.rows[:, :, self.added % self.slots] = episode
        self.added += 1

    def sample(self, generators: Sequence[torch.Generator], per_context: int, passes: int, method: Method) -> Batch:
        """Sample ``per_context`` transitions of each context, independently over seeds, and over contexts unless
        ``method.shared_draws``.

        ``passes`` is P, the number of policy evaluations (1 for the critic, 1 for each actor update). ``method``
        determines whether there are windows, where they end and how they are masked. Only the rows that the encoder
        reads are gathered.
        """
        layout, device = self.layout, self.rows.device
        n, c, slots, length, _ = self.rows.shape
        batch, stored = c * per_context, min(self.added, self.slots)
        draws = zip(*(self._draw(g, per_context, passes, stored, method.shared_draws) for g in generators), strict=True)
        episode, t, noise = map(torch.stack, draws)

        context = torch.arange(n * c, device=device).repeat_interleave(per_context).view(n, batch)
        position = (context * slots + episode) * length + layout.window + t  # of the transition itself, (N, B)
        flat = self.rows.view(-1, layout.row)
        obs, action, next_obs, reward = layout.split(flat[position])
        at_limit = (t == layout.horizon - 1).to(obs.dtype)

        windows = keep = code_noise = None
        if method.context == "inferred":
            reading = draw_reading(generators, (1 + passes, batch), layout, method)
            # the window ends with the transition itself, as in the release, or with the one before it
            first = position - layout.window + (0 if method.window_before_target else 1)
            windows = layout.read(flat, first.unsqueeze(1).expand(-1, 1 + passes, -1), reading.positions)
            keep, code_noise = reading.keep, reading.noise
        if method.posterior == "sequence":
            size = (c, layout.window, method.embedding)
            code_noise = torch.stack([torch.randn(size, generator=g, device=device) for g in generators])
        return Batch(obs, action, next_obs, reward, at_limit, noise, windows, keep, code_noise)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """The stored episodes: tensors by name, and JSON values."""
        return {"replay": self.rows[:, :, : min(self.added, self.slots)]}, {"added": self.added}

    def load_state(self, tensors: dict[str, Tensor], values: dict) -> None:
        """Restore what ``state`` returned."""
        self.rows[:, :, : tensors["replay"].shape[2]] = tensors["replay"]
        self.added = values["added"]

    def _draw(self, generator: torch.Generator, per_context: int, passes: int, stored: int, shared: bool):
        """Draw one seed's transitions (episode, t) and action noise, in a fixed order."""
        device, contexts = self.rows.device, self.rows.shape[1]
        size = (min(2, contexts) if shared else contexts, per_context)
        episode = torch.randint(stored, size, generator=generator, device=device)
        t = torch.randint(self.layout.horizon, size, generator=generator, device=device)
        if shared:  # in the release only the first context has draws of its own
            of_context = torch.arange(contexts, device=device).clamp(max=1)
            episode, t = episode[of_context], t[of_context]
        shape = (passes, contexts * per_context, self.layout.n_act)
        return episode.flatten(), t.flatten(), torch.randn(shape, generator=generator, device=device)


class History:
    """The transitions of running episodes (N, B): K initial rows, K rows of warm-up, T rows of the episode.

    The window before any step is the K rows before ``now``, so nothing is copied while an episode runs.
    """

    def __init__(self, layout: Layout, n_seeds: int, batch: int, device: torch.device):
        self.layout = layout
        self.rows = torch.zeros(n_seeds, batch, 2 * layout.window + layout.horizon, layout.row, device=device)
        self.positions = torch.as_tensor(evaluation_positions(layout.window, layout.whole), device=device)
        self._starts = torch.arange(n_seeds * batch, device=device).view(n_seeds, batch) * self.rows.shape[2]
        self.now = layout.window
        self.fresh = True
        """Whether the environments are at the start of an episode; set by Rollout.reset."""

    def start_warm_up(self, obs: Tensor) -> None:
        """Fill the window with K copies of (s = first observation, a = 0, s' - s = 0); ``obs`` is (N, B, d_s)."""
        still = torch.cat([obs, obs.new_zeros(*obs.shape[:2], self.layout.n_act), obs, obs[..., :1] * 0.0], dim=-1)
        self.rows[:, :, : self.layout.window] = still.unsqueeze(2)
        self.now = self.layout.window

    def carry_over(self) -> None:
        """Start an episode whose first window is the last K transitions, across the episode boundary."""
        k = self.layout.window
        self.rows[:, :, k : 2 * k] = self.rows[:, :, self.now - k : self.now].clone()
        self.now = 2 * k

    def append(self, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor) -> None:
        """Append one transition to each running episode: (N, B, d_s), (N, B, d_a), (N, B, d_s), (N, B)."""
        torch.cat([obs, action, next_obs, reward.unsqueeze(-1)], dim=-1, out=self.rows[:, :, self.now])
        self.now += 1
        self.fresh = False

    @property
    def time(self) -> int:
        """Steps since the warm-up began."""
        return self.now - self.layout.window

    def previous(self) -> Tensor:
        """Reward and action of the previous step, (N, B, 1 + d_a); zeros at the start of an episode."""
        _, action, _, reward = self.layout.split(self.rows[:, :, self.now - 1])
        previous = torch.cat([reward.unsqueeze(-1), action], dim=-1)
        return torch.zeros_like(previous) if self.fresh else previous

    def window(self, positions: Tensor | None = None) -> Tensor:
        """The encoder's input when acting, (N, B, k, 2 d_s + d_a): the steps at ``positions`` (N, B, k) of the window.
        The default is evaluation mode: k evenly spaced steps or all, in time order."""
        first = self._starts + (self.now - self.layout.window)
        rows = self.rows.view(-1, self.layout.row)
        return self.layout.read(rows, first, self.positions if positions is None else positions)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """The transitions so far: tensors by name, and JSON values."""
        return {"history": self.rows}, {"now": self.now}

    def load_state(self, tensors: dict[str, Tensor], values: dict) -> None:
        """Restore what ``state`` returned; assumes that the environments are not at the start of an episode."""
        self.rows.copy_(tensors["history"])
        self.now, self.fresh = values["now"], False

    def episode(self) -> Tensor:
        """The finished episode after its first window, (N, B, K + T, row)."""
        return self.rows[:, :, self.layout.window :]
