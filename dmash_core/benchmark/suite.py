"""The table of environments (Benad et al. 2026, benchmark appendix), and lookups by name."""

# a continuous dimension has both ranges, a discrete one has values
# pyright: reportOptionalSubscript=false

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from dmash_core.benchmark.contexts import ContextDimension, build_context_sets, check_contexts
from dmash_core.benchmark.double_integrator import DoubleIntegrator
from dmash_core.benchmark.ode import ODE
from dmash_core.benchmark.vector import BatchedEnv
from dmash_core.errors import UserError, unknown


@dataclass(frozen=True)
class EnvSpec:
    """One environment of the benchmark.

    overlapping: a memoryless policy that ignores the context can be optimal in all contexts at once.
    window: K, the length of the context encoder's window. gradient_steps: the training budget.
    score_low, score_high: the returns that min-max scaling maps to 0 and 1.
    build(dimensions, contexts (B, d), horizon) creates the batch. unseen: dimensions that the simulator can also vary.
    They have their defaults in this environment, no agent observes them, and no context set varies them.
    """

    name: str
    dimensions: tuple[ContextDimension, ...]
    overlapping: bool
    horizon: int
    window: int
    gradient_steps: int
    score_high: float
    obs_dim: int
    act_dim: int
    build: Callable[[tuple[ContextDimension, ...], np.ndarray, int], BatchedEnv]
    score_low: float = 0.0
    source: str = "own"
    unseen: tuple[ContextDimension, ...] = ()

    @property
    def context_dim(self) -> int:
        """d, the number of context dimensions."""
        return len(self.dimensions)


MASS = ContextDimension("mass", 1.0, (0.5, 1.5), (0.1, 2.0), sign="positive")
FRICTION = ContextDimension("friction", 1.0, (0.5, 1.5), (0.1, 2.0), sign="non-negative")
INVERSION = ContextDimension("inversion", 1.0, values=(-1.0, 1.0))
SWAP = ContextDimension("swap", 0.0, values=(0.0, 1.0))
GRAVITY = ContextDimension("gravity", 9.81, (4.91, 14.71), (0.98, 19.62), sign="non-negative")
STRENGTH = ContextDimension("strength", 1.0, (0.5, 1.5), (0.1, 2.0), sign="non-negative")
LEG_LENGTH = ContextDimension("length", 1.0, (0.8, 1.2), (0.4, 1.6), sign="positive")  # a factor
ARM_LENGTH = LEG_LENGTH
POLE_LENGTH = ContextDimension("length", 0.5, (0.3, 0.85), (0.1, 2.0), sign="positive")  # half the length, in m
STRING_LENGTH = ContextDimension("length", 0.3, (0.24, 0.36), (0.1, 0.5), sign="positive")  # in m
CUP_GRAVITY = ContextDimension("gravity", 9.81, (8.0, 12.0), (1.0, 20.0), sign="non-negative")
POLE = (POLE_LENGTH, INVERSION)
POLE_MASS = ContextDimension("pole_mass", 0.1, (0.1, 0.1), (0.1, 0.1), sign="positive")  # in kg; only ever unseen
MAX_COEFFICIENTS = 20


def _double_integrator(name: str, second: ContextDimension, overlapping: bool) -> EnvSpec:
    unseen = tuple(dimension for dimension in (FRICTION, INVERSION, SWAP) if dimension != second)
    return EnvSpec(name, (MASS, second), overlapping, 100, 24, 100_000, 100.0, 4, 2, DoubleIntegrator, unseen=unseen)


def _ode(name: str, k: int) -> EnvSpec:
    dimensions = tuple(ContextDimension(f"c{j}", 0.0, (-5.0, 5.0), (-10.0, 10.0)) for j in range(k))
    return EnvSpec(name, dimensions, False, 200, 24, 100_000, 200.0, 1, 2, ODE)


def _mujoco(
    name: str,
    source: str,
    family: str,
    dimensions: tuple[ContextDimension, ContextDimension],
    steps: int,
    obs_dim: int,
    act_dim: int,
    module: str = "dmc",
    score_high: float = 1000.0,
    unseen: tuple[ContextDimension, ...] = (),
) -> EnvSpec:
    def build(*args) -> BatchedEnv:  # lazy: importing MuJoCo and dm_control takes half a second
        return getattr(import_module(f"dmash_core.benchmark.{module}"), family)(*args)

    overlapping = dimensions[1].values is None
    sizes = (1000, 128, steps, score_high, obs_dim, act_dim)
    return EnvSpec(name, dimensions, overlapping, *sizes, build, source=source, unseen=unseen)


_SPECS = [
    _double_integrator("DI", INVERSION, overlapping=False),
    _double_integrator("DI-Friction", FRICTION, overlapping=True),
    _double_integrator("DI-Perm", SWAP, overlapping=False),
    _ode("ODE", 2),
    _mujoco("Cartpole", "dm_control cartpole balance", "Cartpole", POLE, 100_000, 5, 1, unseen=(POLE_MASS,)),
    _mujoco("Cheetah", "dm_control cheetah run", "Cheetah", (LEG_LENGTH, INVERSION), 200_000, 17, 6),
    _mujoco("Reacher-E", "dm_control reacher easy", "ReacherEasy", (ARM_LENGTH, INVERSION), 200_000, 6, 2),
    _mujoco("Reacher-H", "dm_control reacher hard", "ReacherHard", (ARM_LENGTH, INVERSION), 200_000, 6, 2),
    _mujoco("Reacher-H-Perm", "dm_control reacher hard", "ReacherHard", (ARM_LENGTH, SWAP), 200_000, 6, 2),
    _mujoco("BallInCup", "dm_control ball_in_cup catch", "BallInCup", (CUP_GRAVITY, STRING_LENGTH), 200_000, 8, 2),
    _mujoco("Walker", "dm_control walker walk", "Walker", (GRAVITY, STRENGTH), 200_000, 24, 6),
    # The highest scores of these two are our choice: the paper's are not in the available sources.
    _mujoco("WalkerGym", "Gymnasium Walker2d-v5", "Walker2d", (GRAVITY, STRENGTH), 500_000, 17, 6, "gym_mujoco", 4e3),
    _mujoco("HopperGym", "Gymnasium Hopper-v5", "Hopper", (GRAVITY, STRENGTH), 500_000, 11, 3, "gym_mujoco", 4e3),
]
SUITE: dict[str, EnvSpec] = {spec.name: spec for spec in _SPECS}


def get_spec(name: str) -> EnvSpec:
    """The environment called `name`: one of SUITE, or ODE-1 ... ODE-20. Raises UserError for any other name."""
    if name in SUITE:
        return SUITE[name]
    if match := re.fullmatch(r"ODE-(-?\d+)", name):
        k = int(match[1])
        if name != f"ODE-{k}" or not 1 <= k <= MAX_COEFFICIENTS:
            raise UserError(f"there is no environment {name!r}: ODE-k exists for k = 1, ..., {MAX_COEFFICIENTS}")
        return _ode(name, k)
    raise unknown("environment", name, [*SUITE, f"ODE-k (k = 1, ..., {MAX_COEFFICIENTS})"])


def context_sets(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    """The sets "train", "eval-in", "eval-out" of environment `name`, each float64 (20, d).

    `seed`, the run's seed, matters only with more than two dimensions (ODE-k, k > 2). Raises UserError.
    """
    return build_context_sets(get_spec(name).dimensions, seed)


def overview() -> list[dict[str, str | int | float]]:
    """Table T1 of the paper: a row of text and numbers per environment, with one row for ODE-k, k = 1, ..., 20."""

    def text(d: ContextDimension) -> str:
        if d.values is not None:
            return f"{d.name} in {{{', '.join(f'{value:g}' for value in d.values)}}}"
        return f"{d.name} {d.default:g}, [{d.train[0]:g}, {d.train[1]:g}], [{d.outer[0]:g}, {d.outer[1]:g}]"

    contexts = "contexts: default, training range, outer range"
    rows = [
        {
            "environment": spec.name,
            "source": spec.source,
            "observation": spec.obs_dim,
            "action": spec.act_dim,
            contexts: "; ".join(text(d) for d in spec.dimensions),
            "class": "O" if spec.overlapping else "N",
            "steps": spec.horizon,
            "K": spec.window,
            "gradient steps": spec.gradient_steps,
            "highest score": spec.score_high,
        }
        for spec in SUITE.values()
    ]
    after = list(SUITE).index("ODE") + 1
    family = rows[after - 1] | {"environment": "ODE-k", contexts: "c0, ..., c(k-1) as in ODE"}
    return [*rows[:after], family, *rows[after:]]


def make_batch(
    name: str, contexts: np.ndarray, horizon: int | None = None, unseen: Mapping[str, float] | None = None
) -> BatchedEnv:
    """B environments `name`, environment i under `contexts[i]` ((B, d) in the order of `get_spec(name).dimensions`).

    `horizon`, the steps per episode, defaults to the benchmark's; `unseen` sets dimensions in `get_spec(name).unseen`,
    the same in all B. Raises UserError for an unknown name, a horizon below 1, and contexts that are non-finite,
    unphysical or of the wrong width.
    """
    spec = get_spec(name)
    horizon = spec.horizon if horizon is None else horizon
    if horizon < 1:
        raise UserError(f"horizon must be at least 1, not {horizon}")
    if not unseen:
        return spec.build(spec.dimensions, contexts, horizon)
    known = {dimension.name: dimension for dimension in spec.unseen}
    if lost := [key for key in unseen if key not in known]:
        raise unknown(f"{name} dynamics parameter", lost[0], known or ["none"])
    contexts = check_contexts(spec.dimensions, contexts)
    columns = [contexts, *(np.full((len(contexts), 1), value) for value in unseen.values())]
    return spec.build((*spec.dimensions, *(known[key] for key in unseen)), np.hstack(columns), horizon)
