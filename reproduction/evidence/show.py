"""Verdicts as text: claims in a terminal, the tables of README and FINDINGS, the calibration table."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from dmash_core.errors import UserError
from reproduction import manifest
from reproduction.evidence.calibration import BOUND, COLUMNS, REPLICATES
from reproduction.evidence.claim import Claim, Verdict, as_data, tally
from reproduction.evidence.comparisons import ROOT, Finding
from reproduction.evidence.forecast import forecast
from reproduction.evidence.listings import (
    gains_table,
    groups_table,
    published_table,
    results_table,
    runs_table,
    table_row,
)
from reproduction.evidence.rules import CONTRADICTED, NOT_CHECKED, VERDICTS
from reproduction.evidence.runs import Evidence
from reproduction.evidence.wordings import RULES, ledger, order, said, timeline
from reproduction.figures.tables import aer_markdown, aer_table

AND = ", "
BEGIN, END = "<!-- {}: written by dmash claims --readme -->", "<!-- {}: end -->"
MARKS = {"reproduced": "✓", "contradicted": "✗", "undecided": "?", "not checked": "–"}
"""A sign for each verdict, readable without colours."""
CALIBRATION = ROOT / "docs" / "calibration.csv"


WIDTH = 118


def _line(name: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"{name:12}", subsequent_indent=" " * 12) if text else ""


def _table(title: str, rows: Sequence[Finding]) -> list[str]:
    """Format findings as aligned columns below a title: what, published, measured, why. Long cells are wrapped."""
    if not rows:
        return []
    cells = [("comparison", "published", "measured", "why")]
    cells += [(one.what, one.published, one.measured, _why(one)) for one in rows]
    shares = (0.34, 0.18, 0.22, 0.26) if any(row[1] for row in cells[1:]) else (0.42, 0.0, 0.25, 0.33)
    widths = [int(share * (WIDTH - 8)) for share in shares]
    lines = ["", title]
    for row in cells:
        parts = [textwrap.wrap(text, width) if width else [] for text, width in zip(row, widths, strict=True)]
        for i in range(max(map(len, parts))):
            pieces = [(part[i] if i < len(part) else "").ljust(w) for part, w in zip(parts, widths, strict=True) if w]
            lines.append(f"  {'  '.join(pieces)}".rstrip())
    return lines


def why_without_places(reason: str) -> str:
    """The reason of a finding without the missing environments, which are listed once per claim."""
    return "; ".join(part for part in reason.split("; ") if not part.startswith("no full-length run"))


def _why(one: Finding) -> str:
    return why_without_places(one.reason)


def first_sentence(result: dict) -> str:
    """The reason for a verdict in one sentence, without lists of what is missing. `result`: a Verdict as data."""
    judged = [one for one in result["findings"] if one["judged"]]
    if len(judged) == 1:
        return why_without_places(judged[0]["reason"])
    count = Counter(one["verdict"] for one in judged)
    numbers = ", ".join(f"{count[word]} {word}" for word in VERDICTS if count[word])
    first = next((one for one in judged if one["verdict"] == result["verdict"]), judged[0])
    said = f"of {len(judged)} judged comparisons, {numbers}"
    return f"{said}; {first['what']}: {why_without_places(first['reason'])}"


def describe(claim: Claim, verdict: Verdict, evidence: Evidence) -> str:
    """Format a claim for a terminal: the verdict in one sentence, the comparisons as tables, what is missing, its cost,
    whether it is likely to decide the claim, and the rule with its dates."""
    groups = {name: [one for one in verdict.findings if one.verdict == name] for name in (*VERDICTS, "shown")}
    empty = [one for one in groups["shown"] if not one.measured and one.scope]
    shown = [one for one in groups["shown"] if one not in empty]
    mine = ledger().get(claim.id, [])
    lines = [
        _line(claim.id, claim.title),
        _line("", claim.statement),
        _line("", f"{claim.where}; {claim.area}; checked by {', '.join(claim.checked_by) or 'its comparisons'}"),
        _line("VERDICT", f"{verdict.verdict}: {first_sentence(asdict(verdict))}"),
        *_table("decided", groups["reproduced"] + groups["contradicted"]),
        *_table("undecided", groups["undecided"]),
        *_table("not checked", groups["not checked"]),
        *_table("shown, not judged", shown),
        f"  plus {len(empty)} without runs, such as {empty[0].what}" if empty else "",
        " ",
        *(_line("missing" if not i else "", text) for i, text in enumerate(verdict.missing)),
        _line("cost", verdict.cost or "this command"),
        *(_line("forecast" if not i else "", text) for i, text in enumerate(forecast(claim, evidence))),
        _line("scope", verdict.headline.scope),
        _line("rule", claim.rule),
        *(_line("in numbers" if not i else "", text) for i, text in enumerate(claim.criteria)),
        _line("reason", claim.reason),
        _line("note", claim.note),
        _line("order", order(claim, evidence)),
        *(_line("worded" if not i else "", text) for i, text in enumerate(said(mine))),
        _line("runs", f"{len(verdict.used)} raw runs used" if claim.comparisons else ""),
        *(_line("left out", text) for text in _left_out(verdict)),
        _line("rerun", f"make claim ID={claim.id}"),
    ]
    return "\n".join(line.rstrip() for line in lines if line)


def _left_out(verdict: Verdict) -> list[str]:
    """One line per reason, with its first file and the number of further files."""
    by_reason: dict[str, list[str]] = {}
    for path, why in verdict.left_out:
        by_reason.setdefault(why, []).append(path)
    return [f"{paths[0]}{f' and {len(paths) - 1} more' * (len(paths) > 1)}: {why}" for why, paths in by_reason.items()]


def data(claim: Claim, verdict: Verdict, evidence: Evidence) -> dict:
    """Everything known about a claim as JSON-ready data: `as_data`, the dates of its rule, and the forecast."""
    rows, line = ledger(), timeline(claim, evidence)
    return as_data(claim, verdict) | {
        "wordings": rows.get(claim.id, []), "shared_rules": rows.get(RULES, []), "order": order(claim, evidence),
        "mark": line.mark, "timeline": [asdict(event) for event in line.events], "forecast": forecast(claim, evidence),
    }  # fmt: skip


# ---------------------------------------------------------------- README, FINDINGS and the table of comparisons


def area_lines(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """One line per area, training first: the number of checks with each verdict, and the ids of contradicted ones.

    `rows`: (id, area, verdict, `same_as`) of the claims; a check that decides two claims counts once.
    """
    lines = []
    for area, count in tally([row[1:] for row in rows]).items():
        here = [(id_, verdict) for id_, where, verdict, same_as in rows if where == area and not same_as]
        if not here:
            continue
        parts = [f"{count[word]} {word}" for word in VERDICTS if count[word] or word == VERDICTS[0]]
        against = [id_ for id_, verdict in here if verdict == VERDICTS[CONTRADICTED]]
        also = "".join(f"; {id_} is {same_as} again" for id_, where, _, same_as in rows if where == area and same_as)
        said = f"{area.capitalize()}, {len(here)} check{'s' * (len(here) > 1)}: {', '.join(parts)}"
        lines.append(f"{said}{f' (contradicted: {AND.join(against)})' if against else ''}{also}.")
    return lines


def state_lines(verdicts: Sequence[Verdict], claims: dict[str, Claim]) -> list[str]:
    """`area_lines` of verdicts."""
    return area_lines([(one.id, claims[one.id].area, one.verdict, claims[one.id].same_as) for one in verdicts])


def readme_part(verdicts: Sequence[Verdict], claims: dict[str, Claim], evidence: Evidence) -> str:
    """The generated part of README.md: the results of all environments and the state of the claims."""
    return "\n".join([results_table(evidence), "", *(f"- {line}" for line in state_lines(verdicts, claims))])


def comparisons_page(verdicts: Sequence[Verdict], claims: dict[str, Claim], evidence: Evidence) -> str:
    """The text of docs/comparisons.md: the AER of every arm, and a row per comparison of raw runs that measured
    anything."""
    runs = list(evidence.runs.values())
    lines = [
        "# All runs, and all comparisons that have raw runs", "",
        "Written by `dmash claims --readme`. Comparisons on environments without runs are omitted.", "",
        "Every run: AER, mean of its last five evaluations over the 20 contexts of each set, and the worst and best of "
        "these five.", "", runs_table(evidence), "",
        aer_markdown(aer_table(runs)) if runs else "There are no valid raw runs yet.\n",
        "| claim | comparison | published | measured here | verdict |", "|---|---|---|---|---|",
    ]  # fmt: skip
    count = len(lines)
    for verdict in verdicts:
        for one in verdict.findings:
            if claims[verdict.id].comparisons and one.measured and one.verdict != VERDICTS[NOT_CHECKED]:
                words = [verdict.id, one.what, one.published, one.measured, f"{one.verdict}: {_why(one)}"]
                lines.append(table_row(*words))
    if len(lines) == count:
        lines[-2:] = ["No comparison has enough raw runs yet."]
    return "\n".join(lines) + "\n"


def written(verdicts: Sequence[Verdict], claims: dict[str, Claim], evidence: Evidence, root: Path = ROOT) -> dict:
    """{file: its text with the generated parts updated} for README.md, FINDINGS.md, docs/comparisons.md,
    runs/scores.csv and runs/SHA256SUMS."""
    findings = (root / "FINDINGS.md").read_text()
    parts = {
        "claims": "\n".join(f"- {line}" for line in state_lines(verdicts, claims)),
        "gains": gains_table(evidence),
        "groups": groups_table(evidence),
        "published": published_table(evidence),
    }
    for name, part in parts.items():
        findings = with_table(findings, part, name)
    return {
        root / "README.md": with_table((root / "README.md").read_text(), readme_part(verdicts, claims, evidence)),
        root / "FINDINGS.md": findings,
        root / "docs" / "comparisons.md": comparisons_page(verdicts, claims, evidence),
        root / manifest.SCORES: manifest.scores_text(list(evidence.runs.values())),
        root / manifest.SUMS: manifest.sums_text(root),
    }


def write_readme(verdicts: Sequence[Verdict], claims: dict[str, Claim], evidence: Evidence) -> None:
    """Write the files of `written`."""
    for path, text in written(verdicts, claims, evidence).items():
        path.write_text(text)


def with_table(text: str, table: str, name: str = "claims") -> str:
    """`text` with `table` between the two markers named `name`. UserError if a marker is missing."""
    first, last = BEGIN.format(name), END.format(name)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise UserError(f"cannot insert the table {name}: the text lacks {first} or {last}")
    return f"{before}{first}\n{table}\n{last}{after}"


# ---------------------------------------------------------------- calibration


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.1f} %"


def calibration_page(table: pd.DataFrame) -> str:
    """The text of docs/calibration.md: the table of `calibrate`, how it was made and what it means."""
    bounded, limits = table[~table["limit"]], table[table["limit"]]
    worst = bounded.loc[bounded["false"].idxmax()]

    def power(rule: str, truth: str, sample: str = "") -> str:
        found = table[(table["rule"] == rule) & (table["truth"] == truth) & table["sample"].str.endswith(sample)]
        return _percent(found["right_1"].iloc[0])

    lines = [
        "| rule or claim | truth | sample | comparisons | wrong verdicts | wrong at either look "
        "| right at the first look | right at the second look |",
        "|---|---|---|---:|---|---:|---:|---:|",
    ]
    for one in (*bounded.itertuples(), *limits.itertuples()):
        words = [one.rule, one.truth, one.sample, one.comparisons, one.wrong, *map(_percent, (one.false, one.right_1))]
        lines.append(table_row(*words, _percent(one.right_2)))
    over, all_, six = "better over environments", "13 environments", "6 environments"
    text = [
        "# How often the rules are wrong",
        f"""Written by `dmash claims --calibrate` (two minutes of one core); the numbers are in
        [calibration.csv](calibration.csv). For each row, {REPLICATES:,} studies were simulated from a known truth and
        judged by the code that judges the real runs
        ([reproduction/evidence/calibration.py](../reproduction/evidence/calibration.py)). A study is wrong if
        **either** of its two looks, at 10 or 20 seeds or at 1 or 3 seeds in each environment, gives a verdict that
        the truth rules out. The last two columns give the power: how often each look finds the right verdict. Unless
        stated otherwise, "as claimed" means differences of 0.15 of the range, runs have a standard deviation of 0.05,
        and a difference varies by 0.05 between environments.""",
        f"""No row may be wrong in more than {100 * BOUND:.0f} % of its studies. The worst is "{worst["rule"]}"
        ({worst["truth"]}, {worst["sample"]}) with {_percent(worst["false"])}. A claim with several comparisons divides
        its error rates by their number, so most claims are below this.""",
        f"""The power helps to plan runs: of the studies with ten seeds of two arms,
        {power("better", "better by 0.1")} detect a difference of 0.1 of the range, {power("better", "better by 0.05")}
        one of 0.05, and {power("better", "better by 0.03")} one of 0.03, the size found between the aware arms in
        Table 2. With one seed in each of 13 environments, {power(over, "better by 0.1", all_)} detect 0.1; with one
        in each of six, {power(over, "better by 0.1", six)}.""",
        "## Limits of any rule",
        f"""The last {len(limits)} rows show limits and are not bounded. Ten or twenty runs cannot distinguish an arm
        that fails one time in ten from one that never fails: in one study in eight, twenty runs contain no failure.
        Ten runs cannot show that two arms have equal means if one of them sometimes fails and is otherwise better,
        and thirteen environments cannot show what happens in one in ten that is not among them. So "same" means the
        same up to failures rarer than about one in six, "better" concerns the runs and environments that were seen,
        and every page counts failed runs.""",
    ]
    filled = [textwrap.fill(" ".join(part.split()), 118, break_on_hyphens=False) for part in text]
    return "\n\n".join([*filled, "\n".join(lines)]) + "\n"


def write_calibration(table: pd.DataFrame, path: Path = CALIBRATION) -> None:
    """Write the table as CSV and its page next to it."""
    try:
        table[COLUMNS].to_csv(path, index=False, float_format="%.5g", lineterminator="\n")
        path.with_suffix(".md").write_text(calibration_page(table))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
