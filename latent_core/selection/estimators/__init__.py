"""What N samples per question say about every smaller budget n: estimates by theme, one value per question.

All budgets are read off the same trajectories. An estimate averages over the n-subsets of the N samples, exactly where
there is a formula or few subsets and over a fixed set of random subsets otherwise; it never means "the first n". A
budget beyond what was sampled is unknown and therefore NaN.

Inputs are dense: a row that failed is a wrong answer without a vote and without a score, so that it stays in the
denominator.
"""

from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray
from latent_core.selection.estimators.coverage import guess_coverage, pass_at_n
from latent_core.selection.estimators.ranking import WithinQuestionAuc, best_of_n, within_question_auc
from latent_core.selection.estimators.voting import DEFAULT_DRAWS, majority_at_n, weighted_vote_at_n

__all__ = [
    "DEFAULT_DRAWS",
    "BoolArray",
    "FloatArray",
    "IntArray",
    "WithinQuestionAuc",
    "best_of_n",
    "guess_coverage",
    "majority_at_n",
    "pass_at_n",
    "weighted_vote_at_n",
    "within_question_auc",
]
