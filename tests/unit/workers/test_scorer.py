"""The scorer as a plain object: Ray adds nothing but where it runs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from latent_core.models import LatentReasoner
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.types import QuestionToScore, Score
from latent_core.tasks.base import Problem
from workers.requests import ScoreRequest
from workers.scorer import ScorerWorker

WIDTH = 32


@pytest.fixture(scope="module")
def worker(tiny_reward_checkpoint: Path) -> Iterator[ScorerWorker]:
    threads = torch.get_num_threads()
    yield ScorerWorker(str(tiny_reward_checkpoint), "float32", 1)
    torch.set_num_threads(threads)


def question_of(text: str, seed: int, width: int = WIDTH) -> QuestionToScore:
    draws = np.random.default_rng(seed)
    latents = tuple(draws.normal(size=(3, width)).astype(np.float16) for _ in range(2))
    return QuestionToScore(text, latents, ((3, 1), (4, 2, 1)))


@pytest.fixture
def questions(problems: tuple[Problem, ...]) -> tuple[QuestionToScore, ...]:
    return tuple(question_of(problem.question, seed) for seed, problem in enumerate(problems))


def values(scores: list[Score]) -> list[tuple[float | None, float | None, str | None]]:
    return [(score.score, score.answer_score, score.error) for score in scores]


@pytest.mark.parametrize("score_answer", [True, False])
def test_a_request_is_what_the_model_scores(
    worker: ScorerWorker,
    tiny_reasoner: LatentReasoner,
    tiny_reward_model: LatentRewardModel,
    questions: tuple[QuestionToScore, ...],
    score_answer: bool,
) -> None:
    """The prompt is written as for the reasoner."""
    prompts = [tiny_reasoner.checkpoint.prompt_ids(one.question) for one in questions]
    expected = score_groups(tiny_reward_model, prompts, questions, score_answer)
    found = worker.score(ScoreRequest(questions, score_answer))
    assert len(found) == 8
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.answer_score == pytest.approx(other.answer_score, abs=1e-5)
        assert (one.prompt_flops, one.flops, one.answer_flops) == (other.prompt_flops, other.flops, other.answer_flops)


@pytest.mark.parametrize(
    "broken",
    [question_of("ann " * 200, 9), question_of("ann ?", 9, width=WIDTH - 1)],
    ids=["too long", "another width"],
)
def test_a_question_that_fails_takes_no_other_with_it(
    worker: ScorerWorker, questions: tuple[QuestionToScore, ...], broken: QuestionToScore
) -> None:
    scores = worker.score(ScoreRequest((*questions[:2], broken, *questions[2:]), True))
    healthy = worker.score(ScoreRequest(questions, True))
    for one, other in zip(values(scores[:4] + scores[6:]), values(healthy), strict=True):
        assert one[:2] == pytest.approx(other[:2], abs=1e-5)
        assert one[2] is None
    for failed in scores[4:6]:
        assert failed.score is None
        assert failed.error is not None
        assert "\n" not in failed.error


def test_a_scorer_is_idle_after_success_and_failure(
    worker: ScorerWorker, questions: tuple[QuestionToScore, ...]
) -> None:
    assert worker.load() == 0
    worker.score(ScoreRequest(questions, True))
    worker.score(ScoreRequest((question_of("ann " * 200, 1),), True))
    assert worker.load() == 0


def test_a_bug_is_not_turned_into_scores(worker: ScorerWorker, questions: tuple[QuestionToScore, ...]) -> None:
    with pytest.raises(TypeError):
        worker.score(ScoreRequest((QuestionToScore("ann ?", questions[0].latents, None),), True))  # type: ignore[arg-type]
    assert worker.load() == 0
