"""Coverage, also called pass@n: is a right answer among the samples at all?"""

from latent_core.selection.aggregations.base import Look, Outcomes, register_aggregation
from latent_core.selection.estimators import FloatArray, pass_at_n


@register_aggregation(title="coverage (pass@N)", look=Look("#0072b2", "circle"))
def coverage(outcomes: Outcomes, n: int) -> FloatArray:
    """Probability that one of n samples is right; at n = 1 the mean accuracy of a single sample."""
    return pass_at_n(outcomes.correct, n)
