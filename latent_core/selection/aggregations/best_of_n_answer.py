"""Best-of-N by a reward model that has also read the written answer: another method than `best_of_n`."""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, best_of_n, best_scored


@register_aggregation(
    needs="answer_scores",
    title="best-of-N (answer-aware)",
    look=Look("#009e73", "triangle-up", dashed=True),
    choice=lambda outcomes: best_scored(outcomes.get("answer_scores")),
)
def best_of_n_answer(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that the best-scored of n samples is right, where the score knows the answer that was written."""
    return best_of_n(outcomes.get("answer_scores"), outcomes.correct, n)
