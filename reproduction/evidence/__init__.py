"""From raw runs to verdicts: the vocabulary of claims, their shared rules, and the error rates of those rules."""

from reproduction.evidence.checks import run_tests
from reproduction.evidence.claim import (
    CLAIMS,
    Claim,
    Verdict,
    cells,
    check,
    claim,
    missing_cells,
    needed,
)  # fmt: skip
from reproduction.evidence.comparisons import (
    GROUPS,
    ROOT,
    Comparison,
    Finding,
    computed,
    group,
    proof,
    published,
    published_ids,
    published_values,
    seeds,
    twin,
    unjudged,
)  # fmt: skip
from reproduction.evidence.rules import (
    ALPHA,
    CONTRADICTED,
    DELTA,
    LOOKS,
    NOT_CHECKED,
    REPRODUCED,
    UNDECIDED,
    VERDICTS,
    combine,
    decide,
    welch,
)  # fmt: skip
from reproduction.evidence.runs import Evidence

__all__ = [
    "ALPHA", "CLAIMS", "CONTRADICTED", "DELTA", "GROUPS", "LOOKS", "NOT_CHECKED", "REPRODUCED", "ROOT",
    "UNDECIDED", "VERDICTS", "Claim", "Comparison", "Evidence", "Finding", "Verdict", "cells", "check", "claim",
    "combine", "computed", "decide", "group", "missing_cells", "needed", "proof", "published", "published_ids",
    "published_values", "run_tests", "seeds", "twin", "unjudged", "welch",
]  # fmt: skip
