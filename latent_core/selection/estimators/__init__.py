"""What N samples per question say about every smaller budget n: estimates by theme, one value per question.

All budgets are read off the same trajectories. An estimate is the average over all n-subsets of the N samples, and
never means "the first n". Coverage, best-of-n and the majority vote are exact; the weighted vote averages over a fixed
set of random subsets where there are too many to enumerate. A budget beyond what was sampled is unknown and therefore
NaN.

Inputs are dense: a row that failed is a wrong answer without a vote and without a score, so that it stays in the
denominator.
"""

from latent_core.selection.estimators.arrays import BoolArray, FloatArray, IntArray
from latent_core.selection.estimators.choices import NO_CHOICE, best_scored, most_voted
from latent_core.selection.estimators.confidence import token_probabilities
from latent_core.selection.estimators.coverage import guess_coverage, pass_at_n
from latent_core.selection.estimators.majority import majority_at_n
from latent_core.selection.estimators.ranking import WithinQuestionAuc, auc_by_question, best_of_n, within_question_auc
from latent_core.selection.estimators.voting import DEFAULT_DRAWS, weighted_vote_at_n

__all__ = [
    "DEFAULT_DRAWS",
    "NO_CHOICE",
    "BoolArray",
    "FloatArray",
    "IntArray",
    "WithinQuestionAuc",
    "auc_by_question",
    "best_of_n",
    "best_scored",
    "guess_coverage",
    "majority_at_n",
    "most_voted",
    "pass_at_n",
    "token_probabilities",
    "weighted_vote_at_n",
    "within_question_auc",
]
