"""Layout of pictures of adaptive budgets: a panel per aggregation, of the trial that is best with the most samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from latent_core.selection.aggregations import Look
from orchestrator.analysis.adaptive import ONLINE, AdaptiveRow
from orchestrator.analysis.curves import CurveRow
from orchestrator.reporting.layout import curve

FIXED_COLOUR = "#555555"
FIXED_LABEL = "as many for every question"
X_LABEL_MEAN = "mean samples per question"
_LOOKS: Final[Mapping[str, Look]] = {
    "gain": Look("#009e73", "triangle-up"),
    "posterior": Look("#0072b2", "circle"),
    "anytime": Look("#cc79a7", "diamond"),
    "decided": Look("#d55e00", "square"),
}
_OTHER = Look("#e69f00", "triangle-down")


@dataclass(frozen=True)
class AdaptivePanel:
    """One pair of axes.

    Attributes:
        aggregation: Whose accuracy is drawn.
        trial: The trial whose samples rules were replayed on.
        fixed: Its curve, which gives every question as many samples.
        rules: By kind of rule, its settings by increasing mean samples.
    """

    aggregation: str
    trial: str
    fixed: list[CurveRow]
    rules: Mapping[str, list[AdaptiveRow]]


def rule_look(kind: str) -> Look:
    """Return colour and marker of a rule."""
    return _LOOKS.get(kind, _OTHER)


def adaptive_panels(rows: Sequence[AdaptiveRow], curves: Sequence[CurveRow]) -> list[AdaptivePanel]:
    """Lay out what rules came to on samples that there were; a rule that decided online is one point, and no curve.

    Args:
        rows: Rows of `adaptive.csv`.
        curves: Rows of `curves.csv` of the same trials.
    """
    replayed = [row for row in rows if row.how != ONLINE]
    return [_panel(name, replayed, curves) for name in dict.fromkeys(row.aggregation for row in replayed)]


def _panel(name: str, rows: Sequence[AdaptiveRow], curves: Sequence[CurveRow]) -> AdaptivePanel:
    named = [row for row in rows if row.aggregation == name]
    fixed_of = {trial: curve(curves, name, trial) for trial in dict.fromkeys(row.trial for row in named)}
    trial = max(fixed_of, key=lambda one: max((row.value for row in fixed_of[one]), default=0.0))
    own = sorted((row for row in named if row.trial == trial), key=lambda row: row.samples)
    # Rules begin with a first wave; what fewer samples come to says nothing of them.
    least, most = own[0].samples, max(row.horizon for row in own)
    fixed = [row for row in fixed_of[trial] if least / 2 < row.n <= most]
    kinds = dict.fromkeys(row.rule.split()[0] for row in rows if row in own)
    return AdaptivePanel(
        name, trial, fixed, {kind: [row for row in own if row.rule.split()[0] == kind] for kind in kinds}
    )
