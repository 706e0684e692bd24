"""Prefix: the samples of questions that have been seen so far, and counts of their answers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latent_core.selection.estimators import BoolArray, FloatArray, IntArray
from latent_core.selection.estimators.answers import dense_ranks

NO_VOTE = -1


@dataclass(frozen=True, eq=False)
class Prefix:
    """The first k samples of each of R questions, in the order in which they were drawn: all that a rule may know.

    Attributes:
        votes: [R, k], codes of answers, equal within a row for equal answers; -1 does not vote.
        scores: [R, k], the LatentRM's opinion of each trajectory, NaN where a sample has none; None without a LatentRM.
        confidences: [R, k], the reasoner's own log-probability of each answer, NaN where a sample has none; None where
            it was not read or not recorded.
        confidence_weights: [R, k], probability per token of each answer, 0 where a sample has none; None likewise.

    Raises:
        ValueError: If shapes do not fit together.
    """

    votes: IntArray
    scores: FloatArray | None = None
    confidences: FloatArray | None = None
    confidence_weights: FloatArray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        for name in ("votes", "scores", "confidences", "confidence_weights"):
            array = getattr(self, name)
            if array is not None and (self.votes.ndim != 2 or array.shape != self.votes.shape):
                raise ValueError(f"{name} has shape {array.shape}, but a prefix is [questions, samples]")

    @property
    def samples(self) -> int:
        """k, how many samples of each question have been seen."""
        return int(self.votes.shape[1])

    @cached_property
    def ranks(self) -> IntArray:
        """Answers of each row renumbered as 0, 1, 2, ..., [R, k]; -1 does not vote."""
        return dense_ranks(self.votes)

    @cached_property
    def counts(self) -> IntArray:
        """Votes for each answer, [R, classes], at least two classes; 0 for classes that a row does not have."""
        return self.totals(np.ones(self.votes.shape)).astype(np.int64)

    def totals(self, weights: FloatArray) -> FloatArray:
        """Total weight of each answer, [R, classes], at least two classes, for weights [R, k] of the votes."""
        rows, classes = len(self.votes), max(2, int(self.ranks.max(initial=-1)) + 1)
        given = self.ranks != NO_VOTE
        address = (np.arange(rows)[:, None] * classes + self.ranks)[given]
        total = np.bincount(address, weights[given], minlength=rows * classes)
        return np.asarray(total.reshape(rows, classes), dtype=np.float64)

    def known_scores(self) -> FloatArray:
        """Scores [R, k], minus infinity where a sample has none.

        Raises:
            ValueError: If there are no scores at all.
        """
        if self.scores is None:
            raise ValueError("this prefix has no scores")
        return np.where(np.isnan(self.scores), -np.inf, self.scores)

    def token_logprobs(self) -> FloatArray:
        """Mean log-probability per token of each answer [R, k], NaN where a sample has none.

        Raises:
            ValueError: If there are no confidences at all.
        """
        if self.confidence_weights is None:
            raise ValueError("this prefix has no confidences")
        known = self.confidence_weights > 0
        return np.where(known, np.log(np.where(known, self.confidence_weights, 1.0)), np.nan)

    def any_of(self, flags: BoolArray) -> BoolArray:
        """Whether some sample with each answer is flagged, [R, classes], for flags [R, k]."""
        return self.totals(flags.astype(np.float64)) > 0
