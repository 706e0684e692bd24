"""Weighted vote: each sample votes with a weight made of its score (Li et al. 2023, arXiv 2206.02336)."""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, most_voted, weighted_vote_at_n


@register_aggregation(
    needs="vote_weights",
    title="weighted vote (LatentRM)",
    look=Look("#cc79a7", "diamond"),
    choice=lambda outcomes: most_voted(outcomes.votes, outcomes.get("vote_weights")),
)
def weighted_vote(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that the answer with the largest total weight among n samples is right, ties broken at random."""
    return weighted_vote_at_n(outcomes.votes, outcomes.correct, outcomes.get("vote_weights"), n)
