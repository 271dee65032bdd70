"""The cost of training runs, at the speeds of the existing runs."""

from collections.abc import Iterable
from dataclasses import dataclass

from reproduction.evidence.runs import Evidence
from reproduction.sweep.grid import Cell


@dataclass(frozen=True)
class Cost:
    """The cost of some training runs. hours: of one core. guessed: the number of `cells` without a measured speed in
    their environment; these use the speed of the same arm elsewhere, or the slowest measured one."""

    cells: tuple[Cell, ...]
    hours: float
    guessed: int

    def __str__(self):
        if not self.cells:
            return "no missing runs"
        runs = f"{len(self.cells)} run{'s' * (len(self.cells) > 1)}"
        guess = f" ({self.guessed} at a speed measured in other environments)" if self.guessed else ""
        return f"{runs}, about {self.hours:,.{int(self.hours < 10)}f} h on one core{guess}"


def speeds(evidence: Evidence) -> dict[tuple[str, str], float]:
    """Training steps per second, including evaluations: by (environment, arm), and by ("", arm) over all
    environments."""
    total: dict[tuple[str, str], list[float]] = {}
    for (env, arm, _), run in evidence.runs.items():
        for key in ((env, arm), ("", arm)):
            steps, seconds = total.setdefault(key, [0.0, 0.0])
            total[key] = [steps + run.meta["steps"], seconds + run.meta["wall_time_s"]]
    return {key: steps / seconds for key, (steps, seconds) in total.items() if steps and seconds}


def price(cells: Iterable[Cell], known: dict[tuple[str, str], float]) -> Cost:
    """The cost of `cells` at `known` speeds: that of the same arm and environment, else of the arm elsewhere, else the
    slowest."""
    cells, seconds, guessed = tuple(cells), 0.0, 0
    for cell in cells:
        speed = known.get((cell.env, cell.label)) or known.get(("", cell.label)) or known.get(("", cell.arm))
        guessed += (cell.env, cell.label) not in known
        seconds += cell.steps / (speed or min(known.values(), default=1.0))
    return Cost(cells, seconds / 3600, guessed)
