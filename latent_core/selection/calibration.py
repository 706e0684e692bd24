"""From scores to vote weights: how much more a well-scored sample's vote counts, fitted on validation outcomes."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from latent_core.selection.aggregations.base import Need, Outcomes
from latent_core.selection.estimators import FloatArray, weighted_vote_at_n
from latent_core.settings import Settings

CALIBRATION_FILE = "vote_calibration.json"
ANSWER_CALIBRATION_FILE = "answer_vote_calibration.json"
"""Name of the file beside a reward model's checkpoint; it holds `VoteCalibration.model_dump_json()`."""

DEFAULT_TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
# Logarithms of weights below this are raised to it: exp(-745) is zero, and a vote of weight zero is no vote at all,
# which would silence whole subsets at low temperatures.
_LOG_FLOOR = -600.0


class VoteCalibration(Settings):
    """How scores become vote weights.

    With x = (s - c) / temperature for the score s of a sample, its weight is

    - softmax: exp(x). The sum over the samples that give an answer is, up to a factor that the whole question shares,
      the answer's share of a softmax over samples. The factor changes no vote, so neither does c.
    - sigmoid: 1 / (1 + exp(-x)), the probability of being right if s / temperature is a calibrated logit. Here c
      decides: well above c all weights come near 1 and the vote near a majority vote, well below c the weights come
      near exp(x). Without centring a question whose scores are all high is therefore decided by counting, and one
      whose scores are all low by scores; centred on the question's mean, all questions are treated alike.

    A small temperature approaches best-of-n (softmax), a large one majority vote. The centre is the mean over all
    samples at hand, also where a budget takes fewer of them.

    Attributes:
        temperature: In units of the score, > 0.
        centre: Whether c is the mean score of the question's samples; else 0. Without effect on softmax weights.
        weighting: The form of the weights.
    """

    temperature: float = Field(default=1.0, gt=0.0)
    centre: bool = True
    weighting: Literal["softmax", "sigmoid"] = "softmax"

    def weights(self, scores: FloatArray) -> FloatArray:
        """Return the vote weights, scaled so that the largest one of each question is 1.

        Weights below exp(-600) of the largest are raised to it, so that a score, however bad, leaves a vote.

        Args:
            scores: [Q, N], finite; NaN where a sample has no score.

        Returns:
            [Q, N], in [0, 1]; 0 exactly where there is no score.
        """
        scored = ~np.isnan(scores)
        known = np.where(scored, scores, 0.0)
        if self.centre:
            known -= known.sum(axis=1, keepdims=True) / np.maximum(scored.sum(axis=1, keepdims=True), 1)
        x = known / self.temperature
        log_weights = x if self.weighting == "softmax" else -np.logaddexp(0.0, -x)
        # Relative to the question's largest: exp cannot overflow, and no question vanishes as a whole.
        largest = np.where(scored, log_weights, -np.inf).max(axis=1, keepdims=True)
        largest = np.where(np.isfinite(largest), largest, 0.0)
        return np.asarray(np.where(scored, np.exp(np.clip(log_weights - largest, _LOG_FLOOR, 0.0)), 0.0))


def fit_vote_calibration(
    outcomes: Outcomes,
    ns: Sequence[int],
    grid: Sequence[float] = DEFAULT_TEMPERATURES,
    *,
    scores: Need = "scores",
    centres: Sequence[bool] = (True,),
    weightings: Sequence[Literal["softmax", "sigmoid"]] = ("softmax",),
) -> VoteCalibration:
    """Choose the calibration with the best weighted vote, averaged over questions and budgets.

    The outcomes must not be those that are reported: a calibration fitted on them would flatter itself.

    Among equally good ones the temperature nearest to 1 in ratio wins, of two the higher one, which is closer to the
    majority vote; then the earlier centring and the earlier weighting.

    Args:
        outcomes: Validation outcomes with scores.
        ns: Budgets over which accuracy is averaged; none beyond the samples.
        grid: Temperatures to try, each > 0.
        scores: Which scores: "scores" or "answer_scores".
        centres: Values of `centre` to try.
        weightings: Values of `weighting` to try.

    Returns:
        The best calibration; the same for the same input.

    Raises:
        ValueError: If there is nothing to choose from, the scores are missing, or a budget exceeds the samples.
    """
    if scores not in ("scores", "answer_scores"):
        raise ValueError(f"a calibration is fitted to scores, not to {scores}")
    if not ns or max(ns) > outcomes.samples:
        raise ValueError(f"budgets must be between 1 and the {outcomes.samples} samples, got {list(ns)}")
    temperatures = sorted(grid, key=lambda temperature: (round(abs(math.log(temperature)), 9), -temperature))
    candidates = [
        VoteCalibration(temperature=temperature, centre=centre, weighting=weighting)
        for temperature, centre, weighting in itertools.product(temperatures, centres, weightings)
    ]
    if not candidates:
        raise ValueError("a calibration needs at least one temperature, centring and weighting to choose from")
    accuracies = [_accuracy(outcomes, ns, candidate.weights(outcomes.get(scores))) for candidate in candidates]
    # Estimates of the same accuracy may differ in their last bits, which must not decide.
    best = max(accuracies) - 1e-9
    return next(one for one, accuracy in zip(candidates, accuracies, strict=True) if accuracy >= best)


def _accuracy(outcomes: Outcomes, ns: Sequence[int], weights: FloatArray) -> float:
    """Mean over budgets and questions of the weighted vote."""
    return float(np.mean([weighted_vote_at_n(outcomes.votes, outcomes.correct, weights, n) for n in ns]))
