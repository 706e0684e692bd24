"""Best-of-N: the sample that the reward model scores highest gives the answer."""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, best_scored, ranking


@register_aggregation(
    needs="scores",
    title="best-of-N (LatentRM)",
    look=Look("#009e73", "triangle-up"),
    choice=lambda outcomes: best_scored(outcomes.get("scores")),
)
def best_of_n(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that the best-scored of n samples is right, ties broken at random."""
    return ranking.best_of_n(outcomes.get("scores"), outcomes.correct, n)
