"""What would settle a claim: the missing runs, their hours, and whether they are likely to be enough.

"Likely" assumes that the mean and spread of the current runs stay the same. If the spread is unknown, because there are
fewer than LEAST_T seeds or too few environments of a group, there is no forecast and only the cost is reported.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from reproduction.evidence.claim import Claim, missing_cells
from reproduction.evidence.comparisons import Comparison
from reproduction.evidence.cost import Cost, price, speeds
from reproduction.evidence.rules import LOOKS, UNDECIDED, VERDICTS, Estimate, decide, one_sample, welch
from reproduction.evidence.runs import Evidence
from reproduction.statistics import LEAST_T


def _spread(plan: Comparison, evidence: Evidence) -> tuple[Estimate, int] | None:
    """The current estimate of a comparison of seeds and its number of seeds; None if an arm has fewer than LEAST_T
    seeds."""
    found = [evidence.values(plan.envs[0], arm, plan.measure, plan.length(plan.envs[0])) for arm in plan.arms]
    count = min(map(len, found))
    if plan.unit != "seeds" or count < LEAST_T:
        return None
    values = [np.array([value for value, _ in one.values()]) for one in found]
    return (one_sample(*values) if len(values) == 1 else welch(*values)), count


def likely(plan: Comparison, evidence: Evidence, parts: int) -> str:
    """A sentence on whether one of its looks would decide a comparison if its current value and spread stayed the
    same."""
    now = _spread(plan, evidence)
    if now is None:
        few = f"fewer than {LEAST_T} seeds" if plan.unit == "seeds" else "too few environments"
        return f"no forecast: {few}, so the spread is unknown"
    found, count = now
    for look in LOOKS[plan.unit]:
        freedom = found.freedom * (look - 1) / max(count - 1, 1)
        then = replace(found, error=found.error * np.sqrt(count / look), freedom=np.asarray(freedom))
        code = int(decide(then, plan.question, parts, look == LOOKS[plan.unit][-1], plan.region()))
        low, high = then.interval(plan.in_numbers(parts)["no"])
        if code != UNDECIDED:
            return (f"if the value and spread of {count} seeds persist, the interval at {look} seeds is "
                    f"{float(low):.3g} to {float(high):.3g}: {VERDICTS[code]}")  # fmt: skip
    return f"if the value and spread of {count} seeds persist, {LOOKS[plan.unit][-1]} seeds will not decide it"


def forecast(claim: Claim, evidence: Evidence) -> list[str]:
    """`likely` of every judged comparison of a claim, each sentence once."""
    return list(dict.fromkeys(likely(plan, evidence, claim.parts) for plan in claim.comparisons if plan.judged))


def cheapest(claims: Iterable[Claim], evidence: Evidence) -> list[tuple[Claim, Cost]]:
    """The claims that training could settle, cheapest first, with the cost of their next look. Claims that need no
    further runs are left out."""
    known = speeds(evidence)
    found = [(one, price(missing_cells(one, evidence), known)) for one in claims if one.comparisons]
    return sorted((pair for pair in found if pair[1].cells), key=lambda pair: pair[1].hours)
