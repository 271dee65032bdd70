"""Verdicts for reading: a claim in a terminal, the tables in README and FINDINGS, the table of the calibration."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from dmash_core.errors import UserError
from reproduction.evidence.calibration import BOUND, COLUMNS, REPLICATES
from reproduction.evidence.claim import Claim, Verdict
from reproduction.evidence.comparisons import ROOT, Finding
from reproduction.evidence.rules import NOT_CHECKED, VERDICTS
from reproduction.evidence.runs import Evidence
from reproduction.evidence.wordings import RULES, ledger, order, said
from reproduction.figures.tables import aer_markdown, aer_table

BEGIN, END = "<!-- claims: written by dmash claims --readme -->", "<!-- claims: end -->"
CALIBRATION = ROOT / "docs" / "calibration.csv"


def _line(name: str, text: str) -> str:
    return textwrap.fill(text, 118, initial_indent=f"{name:14}", subsequent_indent=" " * 14) if text else ""


def _row(one: Finding) -> str:
    published = f"published {one.published}" if one.published else ""
    parts = [one.what, published, one.measured, one.reason, f"values: {one.single}" if one.single else ""]
    return _line(f"  {one.verdict}", "; ".join(filter(None, parts)))


def describe(claim: Claim, verdict: Verdict) -> str:
    """All that is known about a claim, as text for a terminal; comparisons without anything measured share a line."""
    head, wordings = verdict.headline, ledger()
    empty = [one for one in verdict.findings if not one.judged and not one.measured and one.scope]
    rows = [one for one in verdict.findings if one not in empty]
    mine, shared = wordings.get(claim.id, []), wordings.get(RULES, [])
    lines = [
        _line(claim.id, claim.statement),
        _line("where", f"{claim.where} ({claim.kind}); checked by {', '.join(claim.checked_by)}"),
        _line("VERDICT", f"{verdict.verdict}: {verdict.reason}"),
        _line("published", f"{head.published} ({head.what}; {head.published_id})" if head.published else "no number"),
        _line("measured", f"{head.measured} ({head.what})" if head.measured else "no number"),
        *map(_row, rows),
        _line("  shown", f"{len(empty)} without runs, such as {empty[0].what}") if empty else "",
        _line("speaks for", head.scope),
        _line("rule", claim.rule),
        *(_line("in numbers" if not i else "", text) for i, text in enumerate(claim.criteria)),
        _line("because", claim.reason),
        _line("note", claim.note),
        *(_line("worded" if not i else "", text) for i, text in enumerate(said(mine))),
        _line("shared rules", said(shared)[0] if shared else ""),
        _line("order", order(mine, shared, verdict) if claim.comparisons else ""),
        _line("runs", f"{len(verdict.used)} raw runs used" if claim.comparisons else ""),
        *(_line("left out", text) for text in _left_out(verdict)),
        *(_line("missing", text) for text in verdict.missing),
        _line("cost", verdict.cost or "this command"),
        _line("repeat", verdict.command),
    ]
    return "\n".join(filter(None, lines))


def _left_out(verdict: Verdict) -> list[str]:
    """A line for each reason, with its first file and how many others there are."""
    by_reason: dict[str, list[str]] = {}
    for path, why in verdict.left_out:
        by_reason.setdefault(why, []).append(path)
    return [f"{paths[0]}{f' and {len(paths) - 1} more' * (len(paths) > 1)}: {why}" for why, paths in by_reason.items()]


def _escaped(words: Iterable[str]) -> str:
    return " | ".join(" ".join(str(word).split()) for word in words).replace("*", r"\*")


def readme_table(verdicts: Sequence[Verdict], claims: dict[str, Claim]) -> str:
    """Markdown, a row for each headline claim."""
    lines = ["| claim | published | measured here | verdict |", "|---|---|---|---|"]
    for verdict in verdicts:
        claim, head = claims[verdict.id], verdict.headline
        if claim.headline:
            measured = f"{head.measured} ({head.what})" if head.measured else "no number yet"
            said = verdict.verdict if head.measured else f"{verdict.verdict}: {head.reason.split(';')[0]}"
            words = [claim.statement, head.published or "no number", measured, said]
            lines.append(f"| **{claim.id}** {_escaped(words)} |")
    return "\n".join(lines)


def findings_tables(verdicts: Sequence[Verdict], claims: dict[str, Claim], evidence: Evidence) -> str:
    """Markdown: the AER of every arm, and a row for each comparison of raw runs that measured anything."""
    runs = list(evidence.runs.values())
    lines = [aer_markdown(aer_table(runs)) if runs else "No raw run counts yet.\n"]
    lines += ["| claim | comparison | published | measured here | verdict |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        for one in verdict.findings:
            if claims[verdict.id].comparisons and one.measured and one.verdict != VERDICTS[NOT_CHECKED]:
                words = [verdict.id, one.what, one.published or "no number", one.measured]
                lines.append(f"| {_escaped([*words, f'{one.verdict}: {one.reason}'])} |")
    if len(lines) == 3:
        lines[1:] = ["No comparison of raw runs has measured anything yet."]
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """`text` with `table` between the two markers; UserError if they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"there is no place for the table of claims: the text lacks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


# ---------------------------------------------------------------- calibration


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.1f} %"


def calibration_page(table: pd.DataFrame) -> str:
    """docs/calibration.md: what the table of `calibrate` says, and how it came about."""
    bounded, limits = table[~table["limit"]], table[table["limit"]]
    worst = bounded.loc[bounded["false"].idxmax()]

    def power(rule: str, truth: str, sample: str = "") -> str:
        found = table[(table["rule"] == rule) & (table["truth"] == truth) & table["sample"].str.endswith(sample)]
        return _percent(found["right_1"].iloc[0])

    lines = [
        "| rule or claim | what is true | sample | comparisons | wrong is | wrong at either look "
        "| right at the first look | right at the second |",
        "|---|---|---|---:|---|---:|---:|---:|",
    ]
    for one in (*bounded.itertuples(), *limits.itertuples()):
        words = [one.rule, one.truth, one.sample, one.comparisons, one.wrong, *map(_percent, (one.false, one.right_1))]
        lines.append(f"| {_escaped([*words, _percent(one.right_2)])} |")
    over, all_, six = "better over environments", "13 environments", "6 environments"
    text = [
        "# How often the rules are wrong",
        f"""Written by `dmash claims --calibrate` (two minutes of one core); the numbers are in
        [calibration.csv](calibration.csv). For each row {REPLICATES:,} studies were simulated from a known truth, and
        went through the code that judges the real one
        ([reproduction/evidence/calibration.py](../reproduction/evidence/calibration.py)). A study is wrong if
        **either** of its two looks, at 10 or 20 seeds or at 1 or 3 seeds in each environment, gives a verdict that
        the truth forbids. The last two columns are the power: how often the right verdict is found. If nothing else
        is said, "as claimed" means differences of 0.15 of the range, runs have a standard deviation of 0.05, and a
        difference varies by 0.05 between environments.""",
        f"""No row may be wrong in more than {BOUND:.0%} of its studies. The worst is "{worst["rule"]}"
        ({worst["truth"]}, {worst["sample"]}) with {_percent(worst["false"])}. A claim of several comparisons divides
        its errors by their number, so most claims are below.""",
        f"""What the power says about planning: of studies with ten seeds of two arms
        {power("better", "better by 0.1")} see a difference of 0.1 of the range, {power("better", "better by 0.05")}
        one of 0.05, and {power("better", "better by 0.03")} one of 0.03, as the aware arms have in Table 2. With one
        seed in each of 13 environments {power(over, "better by 0.1", all_)} see 0.1, in each of six
        {power(over, "better by 0.1", six)}.""",
        "## What no rule can promise",
        f"""The last {len(limits)} rows are limits and not bounded. Ten or twenty runs cannot tell an arm that fails
        one time in ten from one that never fails: in one study of eight no failure is among twenty runs. Nor can ten
        runs tell that two arms have equal means if one of them fails at times and is better else, nor thirteen
        environments what happens in one of ten that is not among them. So "same" means the same up to failures that
        are rarer than about one in six, "better" is about the runs and the environments that were seen, and failed
        runs are counted on every page.""",
    ]
    filled = [textwrap.fill(" ".join(part.split()), 118, break_on_hyphens=False) for part in text]
    return "\n\n".join([*filled, "\n".join(lines)]) + "\n"


def write_calibration(table: pd.DataFrame, path: Path = CALIBRATION) -> None:
    """Write the table as CSV and its page beside it."""
    try:
        table[COLUMNS].to_csv(path, index=False, float_format="%.5g", lineterminator="\n")
        path.with_suffix(".md").write_text(calibration_page(table))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
