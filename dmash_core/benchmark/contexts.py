"""Context dimensions, the context space and the three context sets (Benad et al. 2026, benchmark appendix)."""

# a continuous dimension has both ranges, a discrete one has values
# pyright: reportOptionalSubscript=false, reportGeneralTypeIssues=false, reportCallIssue=false, reportArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from gymnasium.spaces import Box, Dict

from dmash_core.errors import UserError, unknown

SETS = ("train", "eval-in", "eval-out")
INSTANCES = 20  # contexts per set
_GRID = 50  # values per continuous dimension and set


@dataclass(frozen=True)
class ContextDimension:
    """One context variable: a continuous one has `train` and `outer` (low, high), a discrete one has `values`.

    `sign` is the physical range on which the simulator is defined ("any", "non-negative" or "positive"). It is wider
    than `outer`, so contexts outside the benchmark can be simulated too.
    """

    name: str
    default: float
    train: tuple[float, float] | None = None
    outer: tuple[float, float] | None = None
    values: tuple[float, ...] | None = None
    sign: str = "any"

    def __post_init__(self):
        if (self.values is None) == (self.train is None or self.outer is None):
            raise ValueError(f"context {self.name!r} needs either train and outer ranges or discrete values")
        if self.sign not in ("any", "non-negative", "positive"):
            raise ValueError(f"context {self.name!r}: unknown sign {self.sign!r}")

    def grid(self, which: str) -> np.ndarray:
        """The sorted values of this dimension in the set `which`, float64: 50 values, or the discrete values."""
        if which not in SETS:
            raise ValueError(f"unknown context set {which!r}; valid: {', '.join(SETS)}")
        if self.values is not None:
            return np.array(sorted(self.values), dtype=np.float64)
        (low, high), (outer_low, outer_high) = self.train, self.outer
        margin = 0.01 * (high - low)
        if which == "train":
            values = np.linspace(low, high, _GRID)
        elif which == "eval-in":
            values = np.linspace(low + margin, high - margin, _GRID)
        else:
            below = np.linspace(outer_low, low - margin, _GRID // 2)
            values = np.concatenate([below, np.linspace(high + margin, outer_high, _GRID // 2)])
        return values.round(4)

    @property
    def physical(self) -> tuple[float, float]:
        """The range (low, high) that can be simulated; for a discrete dimension, the smallest and largest value."""
        if self.values is not None:
            return min(self.values), max(self.values)
        return (-np.inf if self.sign == "any" else 0.0), np.inf

    def fault(self, values: np.ndarray) -> str | None:
        """An error message for invalid `values` (B,) of this dimension; None if they can be simulated."""
        bad = ~np.isfinite(values)
        rule = "finite"
        if self.values is not None:
            bad |= ~np.isin(values, self.values)
            rule = " or ".join(f"{value:g}" for value in sorted(self.values))
        elif self.sign != "any":
            bad |= (values <= 0) if self.sign == "positive" else (values < 0)
            rule = f"finite and {self.sign}"
        return f"context {self.name!r} must be {rule}, not {values[bad][0]:g}" if bad.any() else None


class Choice(Box):
    """A finite set of numbers, as a Gymnasium space of shape ()."""

    def __init__(self, values: Sequence[float], seed: int | np.random.Generator | None = None):
        super().__init__(min(values), max(values), (), np.float64, seed)
        self.values = tuple(sorted(values))

    def sample(self, mask=None, probability=None) -> np.ndarray:
        return np.asarray(self.np_random.choice(self.values))

    def contains(self, x) -> bool:
        return np.shape(x) == () and x in self.values

    def __repr__(self):
        return f"Choice({', '.join(f'{value:g}' for value in self.values)})"

    def __eq__(self, other):
        return isinstance(other, Choice) and self.values == other.values


class ContextSpace(Dict):
    """The contexts of one environment as a Gymnasium space: dictionaries from name to number, in the order of
    `dimensions`, within the benchmark's outer range or, if `ranges` is "train", the training range.

    `names`; `default`, a context; `train` and `outer`, the spaces of both ranges, for sampling or tests such as
    `context in space.train`. Contexts beyond the outer range can be simulated but are not in the space.
    """

    def __init__(
        self,
        dimensions: Sequence[ContextDimension],
        ranges: str = "outer",
        seed: int | np.random.Generator | None = None,
    ):
        if ranges not in ("train", "outer"):
            raise unknown("range of contexts", ranges, ("train", "outer"))
        self.dimensions, self.ranges = tuple(dimensions), ranges
        parts = {
            d.name: Choice(d.values) if d.values is not None else Box(*getattr(d, ranges), (), np.float64)
            for d in self.dimensions
        }
        super().__init__(parts, seed, sort_keys=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def default(self) -> dict[str, float]:
        return {dimension.name: float(dimension.default) for dimension in self.dimensions}

    @property
    def train(self) -> "ContextSpace":
        return ContextSpace(self.dimensions, "train")

    @property
    def outer(self) -> "ContextSpace":
        return ContextSpace(self.dimensions, "outer")

    def sample(self, mask=None, probability=None) -> dict[str, float]:
        """A context, each dimension uniform and independent: {name: float}."""
        return {name: float(value) for name, value in super().sample(mask, probability).items()}

    def contains(self, x) -> bool:
        try:
            inside = isinstance(x, Mapping) and list(x) and set(x) == set(self.names)
            return bool(inside) and all(self.spaces[name].contains(np.asarray(x[name], np.float64)) for name in x)
        except (TypeError, ValueError):  # not a number
            return False

    def __repr__(self):
        def text(d: ContextDimension) -> str:
            if d.values is not None:
                return f"{d.name} in {{{', '.join(f'{value:g}' for value in d.values)}}}, default {d.default:g}"
            ranges = f"train [{d.train[0]:g}, {d.train[1]:g}], outer [{d.outer[0]:g}, {d.outer[1]:g}]"
            return f"{d.name} in {ranges}, default {d.default:g}"

        head = "" if self.ranges == "outer" else "training range; "
        return f"ContextSpace({head}{'; '.join(map(text, self.dimensions))})"


def build_context_sets(dimensions: Sequence[ContextDimension], seed: int = 0) -> dict[str, np.ndarray]:
    """The sets "train", "eval-in" and "eval-out", each float64 (20, d) (Benad et al. 2026, benchmark appendix).

    With one or two dimensions the sets do not depend on the seed: 20 equidistant entries of the sorted product of the
    grids. With more, the run's `seed` initialises the legacy generator of the paper's release, which draws contexts one
    by one, coordinate by coordinate; they are then sorted. Raises ValueError if two sets share a context.
    """
    rng = np.random.RandomState(seed)  # noqa: NPY002 (the release's contexts are these and no others)
    sets = {}
    for which in SETS:
        grids = [dimension.grid(which) for dimension in dimensions]
        if len(grids) <= 2:
            entries = np.array(list(product(*grids)))  # sorted by (first, second), because each grid is sorted
            sets[which] = entries[np.floor(np.linspace(0, len(entries) - 1, INSTANCES)).astype(int)]
        else:
            drawn = np.array([[rng.choice(grid) for grid in grids] for _ in range(INSTANCES)])
            sets[which] = drawn[np.lexsort(drawn.T[::-1])]
    check_disjoint(sets)
    return sets


def outer_grid(dimensions: Sequence[ContextDimension], points: int) -> np.ndarray:
    """Every context on a grid over the outer ranges, float64 (n, d), sorted by (first, second) dimension.

    A continuous dimension has `points` equidistant values, a discrete one its own. UserError unless d = 2.
    """
    if points < 2 or len(dimensions) != 2:
        raise UserError(
            f"a grid needs two dimensions and at least 2 points per dimension, not {len(dimensions)} and {points}"
        )
    axes = [np.linspace(*d.outer, points) if d.values is None else d.grid("train") for d in dimensions]
    return np.array(list(product(*axes)))


def distance_outside(dimensions: Sequence[ContextDimension], contexts: np.ndarray) -> np.ndarray:
    """Euclidean distance (B,) of contexts (B, d) from the box of the training ranges, 0 inside; each continuous
    dimension is in units of the width of its training range."""
    continuous = [i for i, dimension in enumerate(dimensions) if dimension.values is None]
    low, high = np.array([dimensions[i].train for i in continuous]).reshape(-1, 2).T
    inside = np.asarray(contexts, dtype=np.float64)[:, continuous]
    return np.linalg.norm(np.maximum(np.maximum(low - inside, inside - high), 0.0) / (high - low), axis=1)


def check_disjoint(sets: dict[str, np.ndarray]) -> None:
    """Raise ValueError if two of the sets (name -> (n, d)) share a context."""
    rows = {name: set(map(tuple, contexts.tolist())) for name, contexts in sets.items()}
    for first, second in combinations(rows, 2):
        if shared := rows[first] & rows[second]:
            raise ValueError(f"context sets {first!r} and {second!r} are not disjoint: both contain {min(shared)}")


def context_rows(dimensions: Sequence[ContextDimension], given, num_envs: int, whose: str = "") -> np.ndarray:
    """Convert `given` to contexts (num_envs, d), float64. It is {name: a number or num_envs numbers}, with defaults for
    unnamed dimensions; or an array (d,) for all environments; or one such mapping or row per environment.

    `whose` is part of the error message for an unknown name. Raises UserError for unknown names, wrong shapes and
    non-numbers; `check_contexts` checks the values.
    """
    names = [dimension.name for dimension in dimensions]
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise unknown(f"{whose}context", str(name), names)
        columns = []
        for dimension in dimensions:
            try:
                values = np.asarray(given.get(dimension.name, dimension.default), dtype=np.float64)
                columns.append(np.broadcast_to(values, num_envs))
            except (TypeError, ValueError):
                many = "" if num_envs == 1 else f" or {num_envs} numbers"
                raise UserError(f"context {dimension.name!r} must be a number{many}") from None
        return np.stack(columns, axis=1)
    if isinstance(given, Sequence) and len(given) and all(isinstance(item, Mapping) for item in given):
        if len(given) != num_envs:
            raise UserError(f"{num_envs} environments need {num_envs} contexts, not {len(given)}")
        return np.concatenate([context_rows(dimensions, item, 1, whose) for item in given])
    said = f"a context must be {{name: number}} or an array ({', '.join(names)})"
    said += f", or one of these for each of {num_envs} environments" if num_envs > 1 else ""
    try:
        rows = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{said}, not {given!r}") from None
    if rows.shape not in ((len(names),), (num_envs, len(names))):
        raise UserError(f"{said}, not an array of shape {rows.shape}")
    return np.broadcast_to(rows, (num_envs, len(names)))


def check_contexts(dimensions: Sequence[ContextDimension], contexts) -> np.ndarray:
    """A read-only float64 copy (B, d) of `contexts`; raises UserError for a wrong shape or an unphysical value."""
    names = ", ".join(dimension.name for dimension in dimensions)
    try:
        contexts = np.array(contexts, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"contexts must be numbers, one row ({names}) per environment") from None
    if contexts.ndim != 2 or contexts.shape[1] != len(dimensions) or len(contexts) == 0:
        shape = f"(B, {len(dimensions)})"
        raise UserError(f"contexts must have shape {shape} with columns ({names}), not {contexts.shape}")
    for dimension, column in zip(dimensions, contexts.T, strict=True):
        if fault := dimension.fault(column):
            raise UserError(fault)
    contexts.flags.writeable = False
    return contexts
