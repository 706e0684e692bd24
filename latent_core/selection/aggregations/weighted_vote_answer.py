"""Weighted vote by a reward model that has also read the written answer: another method than `weighted_vote`."""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, most_voted, weighted_vote_at_n


@register_aggregation(
    needs="answer_vote_weights",
    title="weighted vote (answer-aware)",
    look=Look("#cc79a7", "diamond", dashed=True),
    choice=lambda outcomes: most_voted(outcomes.votes, outcomes.get("answer_vote_weights")),
)
def weighted_vote_answer(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that the heaviest answer among n samples is right, where scores know the written answers."""
    return weighted_vote_at_n(outcomes.votes, outcomes.correct, outcomes.get("answer_vote_weights"), n)
