"""What an aggregation is: a way to turn n samples of a question into a result."""

from collections.abc import Callable
from dataclasses import dataclass

from latent_core.registry import Registry
from latent_core.selection.estimators import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What N samples of each of Q questions came to.

    A sample that failed or cannot be read is present all the same: wrong, and without a vote.

    Attributes:
        correct: [Q, N], whether the sample's answer is right.
        votes: [Q, N], code of the sample's answer (equal codes, equal answers within a question); -1 does not vote.
        truth: [Q], code of the right answer; -1 where no sample gave it.
        scores: [Q, N], a scorer's opinion of each sample, higher is better; None where nothing was scored.
    """

    correct: BoolArray
    votes: IntArray
    truth: IntArray
    scores: FloatArray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays whose shapes do not fit together."""
        if self.correct.ndim != 2:
            raise ValueError(f"correct must be [questions, samples], got shape {self.correct.shape}")
        wanted = {"votes": self.correct.shape, "truth": self.correct.shape[:1], "scores": self.correct.shape}
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}, but correct asks for {shape}")

    @property
    def questions(self) -> int:
        """Q, the number of questions."""
        return int(self.correct.shape[0])

    @property
    def samples(self) -> int:
        """N, the number of samples per question: the largest budget that can be estimated."""
        return int(self.correct.shape[1])


Aggregation = Callable[[Outcomes, int], FloatArray]
"""From outcomes and a budget n to a value in [0, 1] per question [Q]; NaN where n exceeds the samples."""

AGGREGATIONS: Registry[Aggregation] = Registry("aggregation", "latent_core.selection.aggregations")
"""Aggregations by the name that curves, tables, plots and MLflow call them."""


def register_aggregation(aggregation: Aggregation) -> Aggregation:
    """Decorator that makes an aggregation available under its function's name."""
    return AGGREGATIONS.register(aggregation.__name__, aggregation)
