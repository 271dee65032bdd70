"""Every claim of the paper, decided by a rule that was written down beforehand (``claims.yaml``).

A claim is a row of ``claims.yaml``: what is claimed and where, the published values by their ids in ``published.csv``,
the raw runs that it needs, and its checks. Each check (a function in ``rules.py``) gives findings, computed from
proofs, tests or raw runs, and `check` combines them into one verdict:

- contradicted: a finding is. Of many published values some lie outside of our 95 % intervals by chance alone: a claim
  that has them (``several: true``) is contradicted when more do than chance allows (binomial, one sided, 5 %).
- reproduced: everything is decided, and the claim is not contradicted.
- undecided: something was compared, and something is open (too few seeds, too short, wide intervals, runs missing).
- not checked: nothing could be compared; the reason says what is missing, and the cost what that takes.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import pandas as pd
import yaml
from scipy import stats

from dmash_core.errors import UserError, unknown

ROOT = Path(__file__).resolve().parents[1]
CLAIMS, PUBLISHED = ROOT / "claims.yaml", ROOT / "published.csv"
KINDS = ("theorem", "table", "figure", "efficiency", "question")
VERDICTS = ("reproduced", "contradicted", "undecided", "not checked")
REPRODUCED, CONTRADICTED, UNDECIDED, NOT_CHECKED = VERDICTS


@dataclass(frozen=True)
class Needs:
    """The raw runs of a claim: every environment x arm with so many seeds, each trained for so many steps.

    Without steps it is each environment's own number in the benchmark; without environments no runs are needed.
    """

    envs: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    seeds: int = 10
    steps: int | None = None


@dataclass(frozen=True)
class Claim:
    """One row of claims.yaml. `rule` says in words what `checks` say in the form that the code executes."""

    id: str
    statement: str
    where: str
    kind: str
    rule: str
    reason: str
    checks: tuple[dict, ...]
    published: tuple[str, ...] = ()
    checked_by: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    note: str = ""
    cost: str = ""
    several: bool = False


@dataclass(frozen=True)
class Finding:
    """One comparison within a claim.

    published: as text, and its id in published.csv. value, low, high: ours with its 95 % interval, None where there is
    none. seeds: the fewest of any cell in it. steps: {environment: the step at which its runs were compared}.
    """

    what: str
    verdict: str
    reason: str
    published: str = ""
    published_id: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    seeds: int = 0
    steps: dict[str, int] = field(default_factory=dict)

    @property
    def measured(self) -> str:
        """Our value for reading: value, interval, seeds and steps; empty where nothing was measured."""
        if self.value is None:
            return ""
        interval = f" [{self.low:.4g}, {self.high:.4g}]" if self.low is not None and self.high is not None else ""
        seeds = f", {self.seeds} seed{'s' * (self.seeds != 1)}" if self.seeds else ""
        steps = sorted(set(self.steps.values()))
        at = f" at {' to '.join(f'{s:,}' for s in dict.fromkeys((steps[0], steps[-1])))} steps" if steps else ""
        return f"{self.value:.4g}{interval}{' ' * bool(self.unit)}{self.unit}{seeds}{at}"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    headline: its first measured finding, else its first. seeds: the fewest of any measured finding. steps: of all
    findings together. used: files of raw runs. left_out: (file, reason) of those that could not be used.
    missing: what would have to be trained, in words. cost: of checking it fully. command: what repeats this check.
    """

    id: str
    verdict: str
    reason: str
    headline: Finding
    seeds: int
    steps: dict[str, int]
    findings: tuple[Finding, ...]
    used: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    cost: str
    command: str
