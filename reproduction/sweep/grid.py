"""Cells of the grid of training runs, and the profiles of sweep.yaml."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dmash_core.errors import UserError, unknown
from reproduction.paths import GRID
from reproduction.yaml12 import load, typed, whole

BLOCK = {
    "envs": "[DI, ODE]",
    "arms": "[dr, concat]",
    "seeds": "[0, 1]",
    "steps": "50000",
    "settings": "{eval_every: 1000}",
    "method": "{masking: 0.2}",
}
"""The keys of a block of a profile, with an example of each."""


@dataclass(frozen=True)
class Cell:
    """One training run of the grid. `settings` and `method` hold the differences from the defaults and the preset."""

    env: str
    arm: str
    label: str
    seed: int
    steps: int
    settings: dict = field(default_factory=dict)
    method: dict = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies its raw run."""
        return self.env, self.label, self.seed

    def __str__(self):
        return f"{self.env} {self.label} seed {self.seed}"

    def place(self, out: Path, kind: str) -> Path:
        """Its path under `out/.progress/KIND`, without a suffix."""
        return out / ".progress" / kind / self.env / self.label / f"seed-{self.seed}"

    def train_settings(self):
        """The TrainSettings of its run. UserError for unknown names."""
        from dmash_core.agents.sac import SACSettings
        from dmash_core.methods import get_method
        from dmash_core.training.settings import TrainSettings

        whose = f"{self.env} {self.arm}"
        preset = get_method(self.arm)
        method = typed(self.method, type(preset), "method option", whose)
        settings, sac = dict(self.settings), self.settings.get("sac", {})
        settings.pop("sac", None)
        settings = typed(settings, TrainSettings, "setting", whose, but=("env", "arm", "method"))
        if not isinstance(sac, dict):
            raise UserError(f"sac of {whose} must be a mapping such as {{gamma: 0.9}}, not {sac!r}")
        sac = SACSettings(**typed(sac, SACSettings, "SAC setting", whose))
        return TrainSettings(self.env, self.arm, dataclasses.replace(preset, **method), sac, **settings)


def _check_block(block, where: str) -> None:
    """UserError for an invalid block of a profile. Converts whole numbers written as 1e4 to int, in place."""
    if not isinstance(block, dict):
        raise UserError(
            f"a block of {where} must be a mapping such as {{envs: [DI], arms: [dr], seeds: [0]}}, not {block}"
        )
    if wrong := [word for word in block if word not in BLOCK]:
        raise unknown(f"key in {where}", str(wrong[0]), BLOCK)
    for word, kind in (("envs", str), ("arms", str), ("seeds", int)):
        values = block.get(word)
        if word == "seeds" and isinstance(values, list):
            block[word] = values = [whole(value) for value in values]
        if not (isinstance(values, list) and values and all(type(value) is kind for value in values)):
            raise UserError(f"{word} of a block of {where} must be a list such as {BLOCK[word]}, not {values}")
    steps = whole(block.get("steps", 1))
    if type(steps) is not int or steps < 1:
        raise UserError(f"steps of a block of {where} must be a positive integer, not {steps}")
    if "steps" in block:
        block["steps"] = steps
    for word in ("settings", "method"):
        if not isinstance(value := block.get(word, {}), dict):
            raise UserError(f"{word} of a block of {where} must be a mapping such as {BLOCK[word]}, not {value}")


def load_profile(name: str, path: Path = GRID, claims: Callable[[], list[Cell]] | None = None) -> list[Cell]:
    """The cells of a profile in order. A cell that occurs twice keeps its first position and its largest number of
    steps.

    A profile that is the word "claims" instead of a list holds the cells that the claims need, as returned by `claims`.
    """
    from dmash_core.benchmark.suite import get_spec

    try:
        profiles = load(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the grid {path}: {error}") from None
    if not isinstance(profiles, dict):
        raise UserError(f"the grid {path} is not a mapping of profile names to lists of blocks")
    if name not in profiles:
        raise unknown("profile", name, profiles)
    if profiles[name] == "claims":
        if claims is None:
            raise UserError(f"the profile {name} of {path} needs the claims, which are not available here")
        return claims()
    cells: dict[tuple, Cell] = {}
    for block in profiles[name] or ():
        _check_block(block, f"profile {name} of {path}")
        extra = {k: block[k] for k in ("settings", "method") if k in block}
        # Seeds are the outermost loop, so every comparison has its first seed before any has its second.
        for seed in block["seeds"]:
            for env in block["envs"]:
                for arm in block["arms"]:
                    steps = block.get("steps") or get_spec(env).gradient_steps
                    cell = Cell(env, arm, arm, seed, steps, **extra)
                    cell = dataclasses.replace(cell, label=cell.train_settings().label)
                    before = cells.get(cell.key, cell)
                    cells[cell.key] = before if before.steps > steps else cell
    return list(cells.values())
