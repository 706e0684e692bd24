"""Confidence vote: each sample votes with its answer's probability per token, which needs no reward model.

The weight is exp(1/K sum log P) over the K tokens of the answer: the normalised weighted sum of self-consistency (Wang
et al. 2023, arXiv 2203.11171, equation 1), there over the whole text, here over what a latent reasoner writes.
"""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, most_voted, weighted_vote_at_n


@register_aggregation(
    needs="confidence_weights",
    title="confidence vote (no LatentRM)",
    look=Look("#e69f00", "cross"),
    choice=lambda outcomes: most_voted(outcomes.votes, outcomes.get("confidence_weights")),
)
def confidence_vote(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that the answer with the largest total probability per token wins and is right, ties at random."""
    return weighted_vote_at_n(outcomes.votes, outcomes.correct, outcomes.get("confidence_weights"), n)
