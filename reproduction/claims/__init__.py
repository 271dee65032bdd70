"""Every claim of the paper and every question of its reviewers: one decorated function each, one module per family.

Importing this package registers all of them. `reproduction.evidence` defines their vocabulary and the shared rules.
"""

from importlib import import_module

from dmash_core.errors import unknown
from reproduction.evidence import CLAIMS, Claim, needed
from reproduction.figures.style import arm_order, env_order
from reproduction.sweep.grid import Cell
from reproduction.titles import FAMILIES

for _family in FAMILIES:
    import_module(f"reproduction.claims.{_family}")


def get_claim(id_: str) -> Claim:
    """A claim by its id; UserError with the nearest one for an unknown id."""
    if id_ not in CLAIMS:
        raise unknown("claim", id_, CLAIMS)
    return CLAIMS[id_]


def notebook_needs(name: str, envs: list[str] | None = None, arms: list[str] | None = None) -> tuple[list, list]:
    """(environments, arms) for a notebook's parameters; None selects all that the claims checked by the notebook
    need."""
    plans = [plan for one in CLAIMS.values() if f"notebooks/{name}.ipynb" in one.checked_by for plan in one.comparisons]
    found = sorted({env for plan in plans for env in plan.envs}, key=env_order)
    return envs or found, arms or sorted({arm for plan in plans for arm in plan.arms}, key=arm_order)


def training_cells() -> list[Cell]:
    """The profile `paper`: every run that a claim needs, judged ones first."""
    return needed(list(CLAIMS.values()))
