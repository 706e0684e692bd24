"""Selection on held-out questions against brute force."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from latent_core.models import LatentReasoner
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion
from latent_core.reward.training.validation import Validation, score_questions, score_steps

N = 5

MakeQuestions = Callable[..., list[LabelledQuestion]]


def all_alike(correct: bool) -> LabelledQuestion:
    """A question whose candidates have neither latents nor labels."""
    return LabelledQuestion("alike", (3, 4), tuple(LabelledCandidate(correct, "7") for _ in range(N)))


@pytest.fixture(scope="module")
def model(tiny_reasoner: LatentReasoner) -> LatentRewardModel:
    return LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, 0).eval()


@pytest.fixture(scope="module")
def questions(make_questions: MakeQuestions) -> list[LabelledQuestion]:
    made = make_questions(4, candidates=N)
    failed = LabelledCandidate(False, None, failed=True)
    made[0] = replace(made[0], candidates=(failed, *made[0].candidates[1:]))
    return [*made, all_alike(True), all_alike(False)]


def test_scores_are_sums_of_step_rewards_and_missing_where_there_is_nothing(
    model: LatentRewardModel, questions: list[LabelledQuestion]
) -> None:
    scores, answer_scores = score_questions(model, questions, score_answer=True)
    assert scores.shape == (6, N)
    assert np.isnan(scores[0, 0])
    assert np.isnan(scores).sum() == 1
    assert (scores[4:] == 0).all()
    assert answer_scores is not None
    alone, _ = score_questions(model, questions[2:3], score_answer=False)
    np.testing.assert_allclose(alone[0], scores[2], rtol=1e-4, atol=1e-4)
    assert not np.allclose(answer_scores[1], scores[1])


def test_accuracies_are_those_of_all_subsets(model: LatentRewardModel, questions: list[LabelledQuestion]) -> None:
    report = Validation(questions, score_answer=True).measure(model)
    scores, answer_scores = score_questions(model, questions, score_answer=True)
    assert answer_scores is not None
    assert {n for _, n in report.accuracies} == {4}
    for name, values in (("best_of_n", scores), ("best_of_n_answer", answer_scores)):
        expected = []
        for question, own in zip(questions, values, strict=True):
            right = [candidate.correct for candidate in question.candidates]
            expected += [
                right[max(subset, key=lambda n: -np.inf if np.isnan(own[n]) else own[n])]
                for subset in itertools.combinations(range(N), 4)
            ]
        assert report.accuracies[name, 4] == pytest.approx(np.mean(expected))
    coverage = [
        any(question.candidates[n].correct for n in subset)
        for question in questions
        for subset in itertools.combinations(range(N), 4)
    ]
    assert report.accuracies["coverage", 4] == pytest.approx(np.mean(coverage))
    assert (report.questions, report.mixed_questions) == (6, 4)


def test_auc_is_the_share_of_pairs_in_the_right_order(
    model: LatentRewardModel, questions: list[LabelledQuestion]
) -> None:
    scores, _ = score_questions(model, questions, score_answer=False)
    report = Validation(questions, score_answer=False).measure(model)
    aucs = []
    for question, own in zip(questions[:4], scores[:4], strict=True):
        rows = [(one.correct, s) for one, s in zip(question.candidates, own, strict=True) if not np.isnan(s)]
        pairs = [(a, b) for right, a in rows if right for wrong, b in rows if not wrong]
        aucs.append(np.mean([a > b for a, b in pairs]))
    assert report.auc == pytest.approx(np.mean(aucs))
    assert report.answer_auc is None
    assert report.answer_calibration is None
    assert report.quality("auc") == report.auc
    assert report.quality("best_of_n") == report.accuracies["best_of_n", 4]
    assert report.numbers["best_of_n_at_4"] == report.accuracies["best_of_n", 4]


def test_auc_by_step_is_that_of_the_rewards_so_far(model: LatentRewardModel, questions: list[LabelledQuestion]) -> None:
    validation = Validation(questions, score_answer=False)
    areas, steps = validation.auc_by_step(model), score_steps(model, questions)
    assert areas[-1] == pytest.approx(validation.measure(model).auc)
    scores, _ = score_questions(model, questions, score_answer=False)
    np.testing.assert_allclose(steps.sum(axis=2), scores, rtol=1e-5, atol=1e-5)
    for step, area in enumerate(areas):
        aucs = []
        for question, own in zip(questions[:4], steps[:4], strict=True):
            rows = [
                (one.correct, rewards[: step + 1].sum()) for one, rewards in zip(question.candidates, own, strict=True)
            ]
            pairs = [(a, b) for right, a in rows if right for wrong, b in rows if not wrong]
            known = [(a, b) for a, b in pairs if not np.isnan(a + b)]
            aucs.append(np.mean([a > b for a, b in known]))
        assert area == pytest.approx(np.mean(aucs))


def test_both_scores_count_half_in_the_quality(model: LatentRewardModel, questions: list[LabelledQuestion]) -> None:
    report = Validation(questions, score_answer=True).measure(model)
    assert report.answer_auc is not None
    assert report.quality("auc") == pytest.approx((report.auc + report.answer_auc) / 2)
    both = [report.accuracies[name, 4] for name in ("best_of_n", "best_of_n_answer")]
    assert report.quality("best_of_n") == pytest.approx(np.mean(both))


def test_what_is_no_validation(make_questions: MakeQuestions) -> None:
    with pytest.raises(ValueError, match="equally many candidates"):
        Validation(make_questions(1, 2) + make_questions(1, 3), score_answer=False)
    with pytest.raises(ValueError, match="equally many candidates"):
        Validation([], score_answer=False)
