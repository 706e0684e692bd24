"""What an aggregation is: a way to turn n samples of a question into a result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latent_core.registry import Registry
from latent_core.selection.estimators import BoolArray, FloatArray, IntArray

Scorer = Literal["trajectory", "answer"]
"""What a score was given for: the latent trajectory alone, or the trajectory with its written answer."""

Need = Literal["confidences", "confidence_weights", "scores", "vote_weights", "answer_scores", "answer_vote_weights"]
"""The attributes of `Outcomes` that may be absent."""

Marker = Literal["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"]
"""Shapes of the points of a curve, in plotly's words."""

_SCORER_OF: dict[Need, Scorer | None] = {
    "confidences": None,
    "confidence_weights": None,
    "scores": "trajectory",
    "vote_weights": "trajectory",
    "answer_scores": "answer",
    "answer_vote_weights": "answer",
}


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What N samples of each of Q questions came to.

    A sample that failed or cannot be read is present all the same: wrong, and without a vote. Several answers of a
    question may be right; the same answer of a question is either right in all its samples or in none.

    Two scorers may have judged the same samples. Their opinions are never mixed: each has its own attributes here, and
    aggregations of its own.

    Attributes:
        correct: [Q, N], whether the sample's answer is right.
        votes: [Q, N], code of the sample's answer (equal codes, equal answers within a question); -1 does not vote.
        scores: [Q, N], a scorer's opinion of each latent trajectory, higher is better, NaN where a sample has none;
            None where nothing was scored.
        vote_weights: [Q, N], weight >= 0 of each vote, made of `scores`; None where no calibration is known.
        answer_scores: As `scores`, by a scorer that has also read the written answer.
        answer_vote_weights: As `vote_weights`, made of `answer_scores`.
        confidences: [Q, N], the reasoner's own log-probability of each answer, NaN where a sample has none; None where
            stores are older than its record.
        confidence_weights: [Q, N], probability per token of each answer, the weight of its vote; None likewise.

    Raises:
        ValueError: If shapes do not fit together, or a score is infinite.
    """

    correct: BoolArray
    votes: IntArray
    scores: FloatArray | None = None
    vote_weights: FloatArray | None = None
    answer_scores: FloatArray | None = None
    answer_vote_weights: FloatArray | None = None
    confidences: FloatArray | None = None
    confidence_weights: FloatArray | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        if self.correct.ndim != 2:
            raise ValueError(f"correct must be [questions, samples], got shape {self.correct.shape}")
        for name in ("votes", *_SCORER_OF):
            array = getattr(self, name)
            if array is not None and array.shape != self.correct.shape:
                raise ValueError(f"{name} has shape {array.shape}, but correct asks for {self.correct.shape}")
            if array is not None and np.isinf(array).any():
                raise ValueError(f"{name} must be finite, or NaN where a sample has none")

    @property
    def questions(self) -> int:
        """Q, the number of questions."""
        return int(self.correct.shape[0])

    @property
    def samples(self) -> int:
        """N, the number of samples per question: the largest budget that can be estimated."""
        return int(self.correct.shape[1])

    def get(self, need: Need) -> FloatArray:
        """Return an attribute that may be absent.

        Raises:
            ValueError: If it is.
        """
        array: FloatArray | None = getattr(self, need)
        if array is None:
            raise ValueError(f"these outcomes have no {need}")
        return array


@dataclass(frozen=True)
class Look:
    """Colour and marker of a curve, for pictures that show several aggregations together.

    The answer-aware variant of a method has the method's own colour and marker, dashed.

    Attributes:
        colour: "#rrggbb".
        marker: Shape of its points: what the hue says, for those who cannot tell hues apart.
        dashed: Whether it is dashed, with hollow markers.
    """

    colour: str
    marker: Marker
    dashed: bool = False


@dataclass(frozen=True)
class Aggregation:
    """A way to turn n samples of a question into a result.

    Attributes:
        name: What curves, tables, plots and MLflow call it.
        estimate: From outcomes and a budget n to a value in [0, 1] per question [Q]; NaN where n exceeds the samples.
        needs: The attribute of the outcomes without which it cannot be computed.
        title: What people read above its table and beside its curve.
        look: What its curve looks like; None for the next free colour and marker.
        choice: The sample of each question [Q] whose answer it chooses among all, -1 for none; None where it chooses
            no single answer.
    """

    name: str
    estimate: Callable[[Outcomes, int], FloatArray]
    needs: Need | None = None
    title: str = ""
    look: Look | None = None
    choice: Callable[[Outcomes], IntArray] | None = None

    def __call__(self, outcomes: Outcomes, n: int) -> FloatArray:
        """Return the estimate [Q] for budget n.

        Raises:
            ValueError: If n < 1, or if the outcomes lack what is needed.
        """
        return self.estimate(outcomes, n)

    @property
    def scorer(self) -> Scorer | None:
        """Whose scores it uses, and whose work it therefore costs."""
        return None if self.needs is None else _SCORER_OF[self.needs]


AGGREGATIONS: Registry[Aggregation] = Registry(
    "aggregation", "latent_core.selection.aggregations", group="aggregations"
)
"""Aggregations by the name that curves, tables, plots and MLflow call them."""


def register_aggregation(
    needs: Need | None = None,
    *,
    title: str | None = None,
    look: Look | None = None,
    choice: Callable[[Outcomes], IntArray] | None = None,
) -> Callable[[Callable[[Outcomes, int], FloatArray]], Aggregation]:
    """Decorator that makes an aggregation of a function and makes it available under the function's name.

    Args:
        needs: The attribute of the outcomes without which it cannot be computed.
        title: What people read; by default the function's name in words.
        look: What its curve looks like; by default the next free colour and marker.
        choice: Whose answer it chooses among all samples, for whoever looks at single questions.
    """

    def register(estimate: Callable[[Outcomes, int], FloatArray]) -> Aggregation:
        name = estimate.__name__
        aggregation = Aggregation(name, estimate, needs, title or name.replace("_", " "), look, choice)
        return AGGREGATIONS.register(aggregation.name, aggregation)

    return register


def available(outcomes: Outcomes) -> tuple[str, ...]:
    """Names of the aggregations that these outcomes allow: without a scorer first, then scorer by scorer."""
    order = [None, *_SCORER_OF]
    names = [name for name in AGGREGATIONS if _has(outcomes, AGGREGATIONS[name].needs)]
    return tuple(sorted(names, key=lambda name: (order.index(AGGREGATIONS[name].needs), name)))


def _has(outcomes: Outcomes, need: Need | None) -> bool:
    return need is None or getattr(outcomes, need) is not None
