"""Majority vote, also called self-consistency: the most frequent answer wins (Wang et al. 2023, arXiv 2203.11171)."""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, majority_at_n, most_voted


@register_aggregation(look=Look("#d55e00", "square"), choice=lambda outcomes: most_voted(outcomes.votes))
def majority_vote(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that the most frequent answer among n samples is right, ties broken at random."""
    return majority_at_n(outcomes.votes, outcomes.correct, n)
