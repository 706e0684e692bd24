"""Consistency, also called pass^n: are all samples right (Yao et al. 2024, tau-bench, arXiv 2406.12045)?"""

from latent_core.selection.aggregations.base import Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, pass_at_n


@register_aggregation(title="all right (pass^N)")
def all_right(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that n samples of a question are all right, [Q]: no sample among them is wrong."""
    return 1.0 - pass_at_n(~outcomes.correct, n)
