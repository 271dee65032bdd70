"""The measurements of a block of runs, which become the rows of its raw runs."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from dmash_core.benchmark.contexts import SETS


@dataclass
class RunLog:
    """Returns and diagnostics of every evaluation of N seeds, and sums of the losses since the last evaluation."""

    returns: list[np.ndarray] = field(default_factory=list)
    """(N, 3, C, rollouts) per evaluation, the first at step 0."""
    diagnostics: list[dict[str, list[float]]] = field(default_factory=list)
    """{name or name@split: N values} per evaluation."""
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    """Sum of each loss or diagnostic over the updates since the last evaluation, (N,)."""
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, losses: dict[str, torch.Tensor]) -> None:
        """Add the losses and diagnostics of one update, (N,) each."""
        for name, value in losses.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, list[float]]:
        """Means over everything added since the last call, N values each."""
        means = {k: (v / self.counts[k]).cpu().tolist() for k, v in sorted(self.sums.items())}
        self.sums, self.counts = {}, {}
        return means

    def frame(self, index: int, every: int) -> pd.DataFrame:
        """The raw-run rows of one seed, given by its index in the block, with an evaluation every ``every`` steps."""
        frames = []
        for e, returns in enumerate(self.returns):
            split, context, rollout = (axis.ravel() for axis in np.indices(returns[index].shape))
            rows = {"split": np.array(SETS, dtype=object)[split], "context": context, "rollout": rollout}
            rows |= {"step": e * every, "metric": "return", "value": returns[index].ravel()}
            frames.append(pd.DataFrame(rows))
        rows = [
            {"step": e * every, "metric": name, "split": split or None, "value": values[index]}
            for e, means in enumerate(self.diagnostics[: len(self.returns)])
            for key, values in means.items()
            for name, _, split in [key.partition("@")]
        ]
        return pd.concat([*frames, pd.DataFrame(rows)], ignore_index=True)

    def state(self) -> tuple[dict[str, torch.Tensor], dict]:
        """Everything: tensors by name, and JSON values."""
        tensors = {f"sum.{k}": v for k, v in self.sums.items()}
        if self.returns:
            tensors["returns"] = torch.from_numpy(np.stack(self.returns))
        return tensors, {"counts": self.counts, "diagnostics": self.diagnostics}

    def load_state(self, tensors: dict[str, torch.Tensor], values: dict, device: torch.device) -> None:
        """Restore what ``state`` returned."""
        self.sums = {k.removeprefix("sum."): v.to(device) for k, v in tensors.items() if k.startswith("sum.")}
        self.returns = list(tensors["returns"].numpy()) if "returns" in tensors else []
        self.counts, self.diagnostics = values["counts"], values["diagnostics"]
