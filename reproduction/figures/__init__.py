"""From raw runs to tables to figures; the names that notebooks use."""

from reproduction.figures.build import (
    SHADOWS,
    TERMS,
    build_all,
    by_diagnostic,
    by_picture,
)
from reproduction.figures.maps import context_map
from reproduction.figures.plots import (
    context_figure,
    diagnostic_curves,
    finding_figure,
    interval_figure,
    learning_curves,
    sweep_figure,
)
from reproduction.figures.style import ARMS, STYLE, arm_order, arm_style, save
from reproduction.figures.tables import (
    SETS_AND_MEAN,
    aer_markdown,
    aer_table,
    context_table,
    diagnostic_table,
    groups,
    learning_table,
    pair_table,
    published_scores,
    score_markdown,
    score_table,
    sweep_table,
)

__all__ = [
    "ARMS",
    "SETS_AND_MEAN",
    "SHADOWS",
    "STYLE",
    "TERMS",
    "aer_markdown",
    "aer_table",
    "arm_order",
    "arm_style",
    "build_all",
    "by_diagnostic",
    "by_picture",
    "context_figure",
    "context_map",
    "context_table",
    "diagnostic_curves",
    "diagnostic_table",
    "finding_figure",
    "groups",
    "interval_figure",
    "learning_curves",
    "learning_table",
    "pair_table",
    "published_scores",
    "save",
    "score_markdown",
    "score_table",
    "sweep_figure",
    "sweep_table",
]
