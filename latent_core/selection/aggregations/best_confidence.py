"""Best confidence: the sample whose answer the reasoner itself finds most probable gives the answer."""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, best_of_n, best_scored


@register_aggregation(
    needs="confidences",
    title="best confidence (no LatentRM)",
    look=Look("#56b4e9", "triangle-down"),
    choice=lambda outcomes: best_scored(outcomes.get("confidences")),
)
def best_confidence(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that the answer with the highest log-probability among n samples is right, ties broken at random."""
    return best_of_n(outcomes.get("confidences"), outcomes.correct, n)
