"""The settings that determine a raw run, and the comparison with those of a run on disk."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from dmash_core.agents.sac import SACSettings
from dmash_core.benchmark.suite import get_spec
from dmash_core.errors import UserError
from dmash_core.methods import InContextMethod, Method, get_method, label
from dmash_core.training.raw_runs import first_difference


@dataclass(frozen=True)
class TrainSettings:
    """Everything that determines a raw run, except its seed and length."""

    env: str
    arm: str
    method: Method | InContextMethod
    sac: SACSettings = field(default_factory=SACSettings)
    random_steps: int = 5_000
    """Vector steps of random actions before learning starts; whole episodes, not counted as steps."""
    per_context: int = 12
    """Transitions of each of the 20 training contexts in a batch."""
    replay_capacity: int = 100_000
    """Transitions kept per context."""
    eval_every: int = 5_000
    """Steps between evaluations; the first is at step 0."""
    eval_rollouts: int = 10
    """Rollouts per context at the last evaluation."""
    eval_rollouts_between: int | None = None
    """Rollouts per context at earlier evaluations; by default at most 2 on MuJoCo and eval_rollouts elsewhere."""
    horizon: int | None = None
    """Steps per episode; by default the environment's. Other values are for trials only."""

    def __post_init__(self):
        get_method(self.arm)
        horizon = get_spec(self.env).horizon if self.horizon is None else self.horizon
        if horizon < 1:
            raise UserError(f"horizon must be at least 1, not {horizon}")
        if self.random_steps < horizon or self.random_steps % horizon:
            raise UserError(
                f"random_steps must be a positive multiple of the {horizon} steps of an episode on {self.env}, "
                f"not {self.random_steps}"
            )
        for name in ("per_context", "eval_every", "eval_rollouts", "eval_rollouts_between"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.replay_capacity < horizon:
            raise UserError(
                f"replay_capacity must be at least one episode of {horizon} steps, not {self.replay_capacity}"
            )

    @property
    def label(self) -> str:
        """The arm's slug and the method's options that differ from its preset."""
        return label(self.arm, self.method)

    @property
    def rollouts_between(self) -> int:
        """Rollouts per context at the evaluations before the last."""
        if self.eval_rollouts_between is not None:
            return self.eval_rollouts_between
        return self.eval_rollouts if get_spec(self.env).source == "own" else min(2, self.eval_rollouts)

    def config(self) -> dict:
        """The resolved configuration as plain JSON values, with defaults that depend on the environment filled in."""
        config = json.loads(json.dumps(dataclasses.asdict(self)))
        config["method"]["window"] = self.method.window or get_spec(self.env).window
        config["eval_rollouts_between"] = self.rollouts_between
        return config


def fulfils(meta: dict, settings: TrainSettings, steps: int, path: Path) -> bool:
    """Whether the raw run with this metadata is long enough or diverged; UserError if its settings differ."""
    same_config(meta["config"], settings.config(), path)
    return meta["steps"] >= steps or "diverged" in meta


def same_config(found: dict, wanted: dict, where: Path) -> None:
    """Raise UserError with the first setting in which a run on disk differs from the requested one.

    A setting that did not exist at the run's commit counts as its current default.
    """
    defaults = {"method": dataclasses.asdict(Method()), "sac": dataclasses.asdict(SACSettings())}
    defaults |= {f.name: f.default for f in dataclasses.fields(TrainSettings) if f.name not in defaults}
    if differs := first_difference(found, wanted, defaults):
        name, had, value = differs
        raise UserError(
            f"{where} was made with {name} = {had}, but {value} is requested: choose another --out, or delete it"
        )
