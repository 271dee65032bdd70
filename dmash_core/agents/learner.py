"""The base of all agents: modules with a leading seed axis, target networks and optimisers, saved and loaded."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def stream(seed: int, *purpose: int) -> int:
    """A 63-bit seed for one purpose of one run, independent across purposes and runs."""
    return int(np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)[0] >> 1)


class Learner:
    """Modules, target networks and optimisers whose tensors have a leading seed axis; saved and loaded."""

    modules: Any  # an nn.ModuleDict, whose members are untyped in torch
    targets: nn.ModuleDict
    optimizers: dict[str, torch.optim.Optimizer]
    device: torch.device

    def state(self) -> dict[str, Tensor]:
        """All tensors of the agents: parameters, target networks and optimiser state."""
        tensors = {f"modules.{k}": v for k, v in self.modules.state_dict().items()}
        tensors |= {f"targets.{k}": v for k, v in self.targets.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, entry in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{name}.{i}.{k}": v for k, v in entry.items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what ``state`` returned; KeyError or RuntimeError if names or shapes do not match."""
        self.modules.load_state_dict(below(tensors, "modules."))
        self.targets.load_state_dict(below(tensors, "targets."))
        for name, optimizer in self.optimizers.items():
            state = {}
            for key, value in below(tensors, f"optimizer.{name}.").items():
                index, field = key.split(".")
                state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def policy_state(self, index: int) -> dict[str, Tensor]:
        """One seed's networks without targets and optimisers, with a seed axis of length one."""
        return {k: v[index : index + 1].clone() for k, v in self.modules.state_dict().items()}


@torch.no_grad()  # otherwise the targets' graph would grow with every update
def follow(targets: Iterable[Tensor], sources: Iterable[Tensor], tau: float) -> None:
    """Polyak update in place: target += tau * (source - target)."""
    torch._foreach_lerp_(list(targets), list(sources), tau)  # pyright: ignore[reportPrivateImportUsage, reportCallIssue]


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix``, with the prefix removed."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
