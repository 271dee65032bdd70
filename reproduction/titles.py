"""Ids and titles of the claims, parsed from their source in milliseconds, without importing claims or torch.

This allows rejecting an unknown id and listing all ids without the seconds that importing the claims takes.
"""

import ast
import csv

from dmash_core.errors import UserError, unknown
from reproduction.paths import PUBLISHED, ROOT

CLAIMS = ROOT / "reproduction" / "claims"
FAMILIES = ("theory", "tables", "figures", "ablations", "questions")
"""The modules of claims, in the order of the site."""


def titles() -> dict[str, str]:
    """{id: title} of every claim, in order of registration."""
    found = {}
    for family in FAMILIES:
        tree = ast.parse((CLAIMS / f"{family}.py").read_text())
        for node in ast.walk(tree):
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "claim":
                    words = {key.arg: key.value for key in call.keywords}
                    found[ast.literal_eval(call.args[0])] = ast.literal_eval(words.get("title", call.args[1]))
    return found


def _published() -> dict[str, str]:
    """{id of a published value: table or figure it comes from}."""
    with open(PUBLISHED) as file:
        return {row["id"]: row["table"] for row in csv.DictReader(file)}


_CLAIM_OF = {"Abstract": "T9", "Remark A.7": "A.7"}
"""Sources of published values whose claim has a different name."""


def claim_of(id_: str) -> tuple[str, str]:
    """(claim, published value or "") for the id of either, ignoring case: "t9" is T9, "N-32" leads to T2.

    UserError, with all ids and titles, for an unknown id.
    """
    claims, values = titles(), _published()
    by_lower = {name.lower(): name for name in (*claims, *values)}
    name = by_lower.get(id_.lower())
    if name is None:
        nearest = str(unknown("claim", id_, claims)).partition("Valid: ")[0].strip()
        listed = "; ".join(f"{one} ({title})" for one, title in claims.items())
        raise UserError(f"{nearest} Ids of published values (headline-1, T9-10) select their claims. Claims: {listed}")
    if name in claims:
        return name, ""
    where = values[name]
    short = where.replace("Table ", "T").replace("Figure ", "F").replace("Remark ", "")
    claim = _CLAIM_OF.get(where, short)
    if claim not in claims:
        raise UserError(f"the published value {name} ({where}) belongs to no claim")
    return claim, name
