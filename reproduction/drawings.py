"""Pictures of the report site as HTML without scripts; they adapt to the page's width and to light or dark colours."""

import math
from collections import Counter
from collections.abc import Sequence
from html import escape

from reproduction.evidence.show import MARKS


def _class(word: str) -> str:
    return word.replace(" ", "-")


def state_picture(tally: dict[str, Counter]) -> str:
    """A bar per area, divided by verdict. `tally` comes from `evidence.claim.tally`."""
    rows, most = [], max((sum(count.values()) for count in tally.values()), default=0) or 1
    for area, count in tally.items():
        parts = [
            f'<a class="part {_class(word)}" style="flex:{count[word]}" href="?area={area}&amp;verdict={word}" '
            f'title="{area}: {count[word]} {word}">{count[word]} {mark}</a>'
            for word, mark in MARKS.items() if count[word]
        ]  # fmt: skip
        if parts:
            width = 100 * sum(count.values()) / most
            bar = f'<div class="bar" style="width:{width:.1f}%">{"".join(parts)}</div>'
            rows.append(f"<dt>{area.capitalize()}</dt><dd>{bar}</dd>")
    key = " ".join(f'<span class="verdict {_class(word)}">{mark} {word}</span>' for word, mark in MARKS.items())
    caption = f"<figcaption>Checks by area and verdict: {key}</figcaption>"
    return f'<figure class="state"><dl>{"".join(rows)}</dl>{caption}</figure>'


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most about `most` round numbers within an axis."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _at(value: float, low: float, high: float) -> str:
    return f"left:{100 * (value - low) / (high - low):.2f}%"


def _strip(one: dict, low: float, high: float, unit_points: Sequence[float]) -> str:
    """One comparison on an axis: zero, the interval that decides, single values, the published value, ours."""
    parts = [f'<i class="zero" style="{_at(0, low, high)}"></i>'] if low < 0 < high else []
    if one["low"] is not None:
        width = 100 * (one["high"] - one["low"]) / (high - low)
        parts.append(f'<i class="interval" style="{_at(one["low"], low, high)};width:{width:.2f}%"></i>')
    parts += [f'<i class="single" style="{_at(value, low, high)}"></i>' for value in unit_points]
    if one["paper"] is not None:
        parts.append(f'<i class="paper" style="{_at(one["paper"], low, high)}"></i>')
    parts.append(f'<i class="ours" style="{_at(one["value"], low, high)}"></i>')
    return "".join(parts)


def _on_axis(one: dict) -> list[float]:
    """The single values to draw on a comparison's axis: those of its only arm, or none."""
    return list(next(iter(one["points"].values()))) if len(one["points"]) == 1 else []


def finding_picture(findings: Sequence[dict]) -> str:
    """A strip per comparison that measured anything, an axis per unit and power of ten; empty if nothing was
    measured."""
    shown = [one for one in findings if one["value"] is not None]
    groups: dict[tuple, list[dict]] = {}
    for one in shown:
        size = max(abs(one["value"]), abs(one["paper"] or 0.0))
        groups.setdefault((one["unit"], max(0, math.floor(math.log10(size or 1)))), []).append(one)
    out = []
    for (unit, _), rows in groups.items():
        ends = [0.0]
        for one in rows:
            ends += [v for v in (one["value"], one["low"], one["high"], one["paper"], *_on_axis(one)) if v is not None]
        low, high = min(ends), max(ends)
        room = 0.06 * (high - low or 1.0)
        low, high = low - room * (low < 0), high + room
        lines = []
        for one in rows:
            label = f'{escape(one["what"])} <span class="said">{MARKS.get(one["verdict"], "·")} {one["verdict"]}</span>'
            lines.append(
                f'<div class="label">{label}</div><div class="strip">{_strip(one, low, high, _on_axis(one))}</div>'
            )
        marks = "".join(f'<span style="{_at(t, low, high)}">{t:g}</span>' for t in ticks(low, high))
        lines.append(f'<div class="label unit">{escape(unit)}</div><div class="axis">{marks}</div>')
        out.append(f'<div class="strips">{"".join(lines)}</div>')
    return "".join(out)


_NAMES = {
    "wording": "wording of this claim",
    "shared rules": "wording of the shared rules",
    "run": "end of a run that counts",
    "earlier wording": "wording for an earlier agent",
    "earlier run": "run of an earlier agent seen",
}
_RUNS = ("run", "earlier run")


def _shape(kind: str, x: float, y: float) -> str:
    if kind in _RUNS:
        return f'<circle cx="{x:.1f}" cy="{y}" r="4.5"/>'
    if kind == "shared rules":
        return f'<rect x="{x - 5:.1f}" y="{y - 5}" width="10" height="10"/>'
    return f'<path d="M{x:.1f} {y - 6}l6 6l-6 6l-6-6z"/>'


def timeline_picture(events: Sequence[dict]) -> str:
    """Wordings above a line and runs below it, in chronological order. Equal dates share a position and positions are
    equally spaced, so that both a week and an hour remain readable. Labels: the first and last dates, the last wording,
    and the end of the first run that counts."""
    dates = sorted({event["date"] for event in events})
    if not dates:
        return ""
    x = {date: 30 + 560 * i / max(len(dates) - 1, 1) for i, date in enumerate(dates)}
    marks, seen = [], Counter()
    for event in events:
        below = event["kind"] in _RUNS
        place = event["date"], below
        step, seen[place] = 9 * min(seen[place], 4), seen[place] + 1
        shape = _shape(event["kind"], x[event["date"]], 74 + step if below else 50 - step)
        title = escape(f"{event['date']}: {_NAMES[event['kind']]}: {event['what']}")
        marks.append(f'<g class="{_class(event["kind"])}"><title>{title}</title>{shape}</g>')
    worded = [event["date"] for event in events if event["kind"] in ("wording", "shared rules")]
    runs = [event["date"] for event in events if event["kind"] == "run"]
    texts, last = [], -math.inf
    for date in sorted({dates[0], dates[-1], *worded[-1:], *runs[:1]}):
        if x[date] - last >= 95:
            last, anchor = x[date], "start" if x[date] < 80 else "end" if x[date] > 540 else "middle"
            texts.append(f'<text x="{x[date]:.1f}" y="128" text-anchor="{anchor}">{date[5:]}</text>')
    there = [kind for kind in _NAMES if any(event["kind"] == kind for event in events)]
    key = " ".join(f'<span class="key {_class(kind)}">{_NAMES[kind]}</span>' for kind in there)
    label = "Wordings of the rule (above) and ends of runs (below)"
    drawn = f'<path class="line" d="M20 62h590"/>{"".join(marks)}{"".join(texts)}'
    return (
        f'<figure class="timeline"><svg viewBox="0 0 620 134" role="img" aria-label="{label}">{drawn}</svg>'
        f"<figcaption>In chronological order, not to scale: {key}</figcaption></figure>"
    )
