"""The scorer as a plain object: Ray adds nothing but where it runs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from support import trajectory_table

from latent_core.models import LatentReasoner
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.types import QuestionToScore
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from workers.requests import ScoreRequest
from workers.scorer import ScorerWorker
from workers.tables import score_table

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


def request_of(questions: Sequence[QuestionToScore], score_answer: bool = True) -> ScoreRequest:
    """What is asked for trajectories of these questions."""
    tables = [
        trajectory_table(
            [
                Trajectory(one.question, sample, "", None, False, len(latents), len(ids), ids, latents, 0.0, 0.0, 0.0)
                for sample, (latents, ids) in enumerate(zip(one.latents, one.answer_ids, strict=True))
                if latents is not None
            ],
            index,
            2,
            "float16",
        )
        for index, one in enumerate(questions)
    ]
    texts = tuple(one.question for one in questions)
    return ScoreRequest(pa.concat_tables(tables), 2, texts, "float16", score_answer)


def content(table: pa.Table) -> list[dict[str, Any]]:
    """Everything but the time that it took."""
    return table.drop_columns(["score_seconds"]).to_pylist()


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
    asked = request_of(questions, score_answer)
    found, table = worker.score(asked), score_table(asked.trajectories, expected)
    assert found.schema.equals(table.schema)
    assert len(found) == 8
    for one, other in zip(content(found), content(table), strict=True):
        for name in ("score", "answer_score", "step_scores"):
            assert one.pop(name) == pytest.approx(other.pop(name), abs=1e-5)
        assert one == other


@pytest.mark.parametrize(
    "broken",
    [question_of("ann " * 200, 9), question_of("ann ?", 9, width=WIDTH - 1)],
    ids=["too long", "another width"],
)
def test_a_question_that_fails_takes_no_other_with_it(
    worker: ScorerWorker, questions: tuple[QuestionToScore, ...], broken: QuestionToScore
) -> None:
    scores = content(worker.score(request_of((*questions[:2], broken, *questions[2:]))))
    healthy = content(worker.score(request_of(questions)))
    for one, other in zip(scores[:4] + scores[6:], healthy, strict=True):
        for name in ("score", "answer_score"):
            assert one[name] == pytest.approx(other[name], abs=1e-5)
        assert one["score_error"] is None
    for failed in scores[4:6]:
        assert (failed["score"], failed["step_scores"]) == (None, None)
        assert failed["score_error"] is not None
        assert "\n" not in failed["score_error"]


def test_a_scorer_is_idle_after_success_and_failure(
    worker: ScorerWorker, questions: tuple[QuestionToScore, ...]
) -> None:
    assert worker.queue_depth() == 0
    worker.score(request_of(questions))
    worker.score(request_of([question_of("ann " * 200, 1)]))
    assert worker.queue_depth() == 0


def test_a_bug_is_not_turned_into_scores(worker: ScorerWorker, questions: tuple[QuestionToScore, ...]) -> None:
    with pytest.raises(TypeError):
        worker.score(replace(request_of(questions[:1]), questions=(None,)))  # type: ignore[arg-type]
    assert worker.queue_depth() == 0
