"""How well a LatentRM selects among the candidates of questions that it was not trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import Rewards, score_candidates
from latent_core.reward.step_auc import auc_by_step
from latent_core.reward.training.batches import LabelledQuestion, collate
from latent_core.selection.aggregations import AGGREGATIONS, Outcomes
from latent_core.selection.calibration import VoteCalibration, fit_vote_calibration
from latent_core.selection.estimators import FloatArray, within_question_auc

BUDGETS = (4, 16, 64)
"""Numbers of candidates among which selection is measured, as far as there are as many."""
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class SelectionReport:
    """What was measured.

    Attributes:
        auc: Within-question AUC of the latent-only score, in [0, 1]; NaN without mixed questions.
        answer_auc: The same of the answer-aware score; None where answers are not scored.
        accuracies: Mean over questions, in [0, 1], by the name of the aggregation and the budget.
        calibration: From latent-only scores to vote weights, fitted on these very questions.
        answer_calibration: The same for answer-aware scores.
        questions: Number of questions.
        mixed_questions: Those with right and wrong candidates.
    """

    auc: float
    answer_auc: float | None
    accuracies: dict[tuple[str, int], float]
    calibration: VoteCalibration
    answer_calibration: VoteCalibration | None
    questions: int
    mixed_questions: int

    @property
    def numbers(self) -> dict[str, float]:
        """All of them by name: `auc`, `auc_answer`, and such as `best_of_n_at_16`; unknown ones are left out."""
        named = {"auc": self.auc} | ({} if self.answer_auc is None else {"auc_answer": self.answer_auc})
        named |= {f"{name}_at_{n}": value for (name, n), value in self.accuracies.items()}
        return {name: value for name, value in named.items() if not np.isnan(value)}

    def quality(self, measure: str) -> float:
        """One number to compare evaluations by, in [0, 1].

        Args:
            measure: "auc", or "best_of_n" for its accuracy averaged over budgets. Where answers are scored too, the
                latent-only and the answer-aware value count half each: the same weights serve both.
        """
        if measure == "auc":
            return self.auc if self.answer_auc is None else (self.auc + self.answer_auc) / 2
        values = [value for (name, _), value in self.accuracies.items() if name in (measure, f"{measure}_answer")]
        return float(np.mean(values))


class Validation:
    """Fixed questions that a model is measured on time and again."""

    def __init__(self, questions: Sequence[LabelledQuestion], *, score_answer: bool) -> None:
        """Arrange the questions.

        Args:
            questions: All with equally many candidates. Those whose candidates are all right or all wrong count in
                the accuracies, but need no latents.
            score_answer: Whether answer-aware scores are measured too.

        Raises:
            ValueError: If there are no questions, or their numbers of candidates differ.
        """
        self.questions, self._score_answer = tuple(questions), score_answer
        if len({len(question.candidates) for question in questions}) != 1:
            raise ValueError("validation needs questions with equally many candidates")
        rows = [question.candidates for question in questions]
        self._outcomes = Outcomes(
            correct=np.array([[one.correct for one in row] for row in rows]),
            votes=np.array([_codes([one.answer for one in row]) for row in rows]),
        )
        self._mixed = np.array([question.is_mixed for question in questions])
        self._budgets = [n for n in BUDGETS if n <= self._outcomes.samples] or [self._outcomes.samples]
        # What needs no scores is the same at every evaluation.
        self._unscored = _accuracies(self._outcomes, ("coverage", "majority_vote"), self._budgets)

    def measure(self, model: LatentRewardModel) -> SelectionReport:
        """Score all candidates of mixed questions and measure selection among them."""
        scores, answer_scores = score_questions(model, self.questions, score_answer=self._score_answer)
        own, auc, calibration = self._measure("", scores)
        answer_auc, answer_calibration = None, None
        if answer_scores is not None:
            with_answer, answer_auc, answer_calibration = self._measure("_answer", answer_scores)
            own |= with_answer
        return SelectionReport(
            auc,
            answer_auc,
            self._unscored | own,
            calibration,
            answer_calibration,
            len(self.questions),
            int(self._mixed.sum()),
        )

    def auc_by_step(self, model: LatentRewardModel) -> tuple[float, ...]:
        """Return from which latent step on the model tells right from wrong: see `latent_core.reward.step_auc`."""
        mixed = [question for question, is_mixed in zip(self.questions, self._mixed, strict=True) if is_mixed]
        return auc_by_step(score_steps(model, mixed), self._outcomes.correct[self._mixed])

    def _measure(self, suffix: str, scores: FloatArray) -> tuple[dict[tuple[str, int], float], float, VoteCalibration]:
        """Return accuracies, AUC and calibration for one kind of scores [Q, N]."""
        auc = within_question_auc(scores[self._mixed], self._outcomes.correct[self._mixed]).mean
        mixed = Outcomes(self._outcomes.correct[self._mixed], self._outcomes.votes[self._mixed], scores[self._mixed])
        # Where all candidates agree no weight changes anything, so these questions have no say in the temperature.
        calibration = fit_vote_calibration(mixed, self._budgets) if self._mixed.any() else VoteCalibration()
        scored = replace(self._outcomes, scores=scores, vote_weights=calibration.weights(scores))
        values = _accuracies(scored, ("best_of_n", "weighted_vote"), self._budgets)
        return {(name + suffix, n): value for (name, n), value in values.items()}, auc, calibration


def score_questions(
    model: LatentRewardModel, questions: Sequence[LabelledQuestion], *, score_answer: bool
) -> tuple[FloatArray, FloatArray | None]:
    """Score all candidates of questions.

    Args:
        model: The model, in evaluation mode.
        questions: Q questions with N candidates each.
        score_answer: Whether answer-aware scores are wanted too.

    Returns:
        Latent-only and answer-aware scores [Q, N]; the latter None where not wanted. NaN for rows that failed, 0 for
        candidates without latents: among candidates that are all right or all wrong any choice is as good.
    """
    shape = (len(questions), len(questions[0].candidates))
    scores, answer_scores = np.zeros(shape), np.zeros(shape)
    for block, rewards in _rewards(model, questions, score_answer=score_answer):
        scores[block] = _matrix(rewards.score, shape[1])
        if rewards.answer_score is not None:
            answer_scores[block] = _matrix(rewards.answer_score, shape[1])
    failed = _failed(questions)
    scores[failed] = answer_scores[failed] = np.nan
    return scores, answer_scores if score_answer else None


def score_steps(model: LatentRewardModel, questions: Sequence[LabelledQuestion]) -> FloatArray:
    """Return the rewards of all latent steps of all candidates, [Q, N, T]; zeros and NaN as in `score_questions`."""
    candidates = len(questions[0].candidates)
    blocks = [(block, one.steps.double().cpu().numpy()) for block, one in _rewards(model, questions)]
    longest = max((steps.shape[1] for _, steps in blocks), default=0)
    rewards = np.zeros((len(questions), candidates, longest))
    for block, steps in blocks:
        rewards[block, :, : steps.shape[1]] = steps.reshape(len(block), candidates, -1)
    rewards[_failed(questions)] = np.nan
    return rewards


def _rewards(
    model: LatentRewardModel, questions: Sequence[LabelledQuestion], *, score_answer: bool = False
) -> Iterator[tuple[list[int], Rewards]]:
    """Score the candidates of questions that have latents, some questions at a time; yields their indices too."""
    todo = [
        index
        for index, question in enumerate(questions)
        if any(candidate.latents is not None for candidate in question.candidates)
    ]
    at_once = max(1, _ROWS_AT_ONCE // len(questions[0].candidates))
    for first in range(0, len(todo), at_once):
        block = todo[first : first + at_once]
        batch = collate(
            [questions[index] for index in block],
            score_answer=score_answer,
            filler_id=model.end_of_text_id,
            device=model.device,
        )
        with torch.inference_mode():
            rewards = score_candidates(model, batch.prompts, batch.candidates)
        yield block, rewards


def _failed(questions: Sequence[LabelledQuestion]) -> NDArray[np.bool_]:
    return np.array([[candidate.failed for candidate in question.candidates] for question in questions])


def _matrix(scores: torch.Tensor, candidates: int) -> FloatArray:
    array: FloatArray = scores.double().cpu().numpy().reshape(-1, candidates)
    return array


def _codes(answers: Sequence[str | None]) -> NDArray[np.int64]:
    """Number the answers of a question by their first appearance; -1 where there is none."""
    known: dict[str, int] = {}
    return np.array([-1 if answer is None else known.setdefault(answer, len(known)) for answer in answers])


def _accuracies(outcomes: Outcomes, names: Sequence[str], budgets: Sequence[int]) -> dict[tuple[str, int], float]:
    return {(name, n): float(AGGREGATIONS[name](outcomes, n).mean()) for name in names for n in budgets}
