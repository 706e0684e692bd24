"""Groups of trajectories of several questions: any mixture, and the score of each as if it were alone."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from latent_core.models.checkpoint import Checkpoint
from latent_core.reward import batch_scoring as groups
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, score_candidates
from latent_core.reward.types import QuestionToScore, Score, ScoreBatch
from latent_core.tasks.loading import load_task
from latent_core.trajectory import LatentArray

WIDTH = 32
# The second and the fourth are padded to another length than the others.
PROMPTS = [[5, 9, 3], [7] * 33, list(range(1, 20)), [4] * 40, [4, 2, 8, 1, 6]]
LENGTHS = [[4, 1, 2], [3, 3, 3], [1, 4, 2], [2, 2, 4], [4, 4, 4]]


def latents_of(question: int, number: int) -> LatentArray:
    draws = np.random.default_rng([question, number])
    return draws.normal(size=(LENGTHS[question][number], WIDTH)).astype(np.float16)


def answer_of(question: int, number: int) -> tuple[int, ...]:
    return tuple(range(1, 2 + (question + number) % 4))


@pytest.fixture
def questions() -> list[QuestionToScore]:
    """Five questions with three trajectories each, of different lengths."""
    return [
        QuestionToScore(
            f"question {index}",
            tuple(latents_of(index, number) for number in range(3)),
            tuple(answer_of(index, number) for number in range(3)),
        )
        for index in range(5)
    ]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def score(
    model: LatentRewardModel, questions: Sequence[QuestionToScore], places: Sequence[int], score_answer: bool = True
) -> list[Score]:
    return score_groups(model, [PROMPTS[place] for place in places], questions, score_answer).rows()


def assert_same(one: Sequence[Score], other: Sequence[Score], tolerance: float = 1e-5) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.error, a.prompt_flops, a.flops, a.answer_flops) == (b.error, b.prompt_flops, b.flops, b.answer_flops)
        if a.error is None:
            assert a.step_scores is not None
            assert b.step_scores is not None
            np.testing.assert_allclose(a.step_scores, b.step_scores, atol=tolerance, rtol=0)
            assert a.answer_score == pytest.approx(b.answer_score, abs=5 * tolerance)


def test_scores_are_those_of_the_model_in_the_order_of_the_questions(
    tiny_reward_model: LatentRewardModel, questions: list[QuestionToScore]
) -> None:
    scores = score(tiny_reward_model, questions, range(5))
    assert len(scores) == 15
    for index, found in enumerate(scores):
        question, number = divmod(index, 3)
        latents = torch.from_numpy(latents_of(question, number)).float()[None]
        answer = torch.tensor([answer_of(question, number)])
        candidates = CandidateBatch(latents, torch.tensor([latents.shape[1]]), answer, torch.tensor([answer.shape[1]]))
        with torch.inference_mode():
            expected = score_candidates(tiny_reward_model, [PROMPTS[question]], candidates)
        assert expected.answer_score is not None
        assert found.step_scores is not None
        np.testing.assert_allclose(found.step_scores, expected.steps[0], atol=1e-5)
        assert found.score == pytest.approx(float(expected.score), abs=1e-5)
        assert found.answer_score == pytest.approx(float(expected.answer_score), abs=1e-5)
        flops, prompt = tiny_reward_model.flops, len(PROMPTS[question])
        steps, tokens = latents.shape[1], answer.shape[1]
        assert found.prompt_flops == flops.prompt(prompt)
        assert found.flops == flops.suffix(prompt, steps)
        assert found.answer_flops == flops.suffix(prompt, steps + 1 + tokens)
        assert found.seconds > 0
    assert len({found.score for found in scores}) == 15


def test_neighbours_and_their_order_do_not_matter(
    tiny_reward_model: LatentRewardModel, questions: list[QuestionToScore]
) -> None:
    together = score(tiny_reward_model, questions, range(5))
    alone = [found for place in range(5) for found in score(tiny_reward_model, [questions[place]], [place])]
    assert_same(together, alone)
    backwards = score(tiny_reward_model, questions[::-1], range(5)[::-1])
    assert_same(together, [found for place in range(5)[::-1] for found in backwards[3 * place : 3 * place + 3]])
    # The trajectories of a question in another order, and one of them alone, which is filled up behind the scenes.
    turned = [replace(one, latents=one.latents[::-1], answer_ids=one.answer_ids[::-1]) for one in questions]
    found = score(tiny_reward_model, turned, range(5))
    assert_same(together, [found[3 * (row // 3) + 2 - row % 3] for row in range(15)])
    single = [replace(one, latents=one.latents[1:2], answer_ids=one.answer_ids[1:2]) for one in questions]
    assert_same(together[1::3], score(tiny_reward_model, single, range(5)))
    assert_same(together[1:2], score(tiny_reward_model, single[:1], [0]))


def test_neighbours_change_no_more_than_the_last_bits_of_a_score() -> None:
    """With a trained backbone, whose latents are large, and in batches of other sizes and paddings."""
    reasoner = Checkpoint.open("bundled:coconut-tiny")
    model = LatentRewardModel.from_reasoner(reasoner, seed=0).eval().requires_grad_(False)
    problems = load_task(name="word_problems").problems[:7]
    prompts = [reasoner.prompt_ids(problem.question) for problem in problems]
    prompts[1] = prompts[1] * 2
    width = reasoner.config.hidden_size
    latents = np.random.default_rng(0).normal(size=(7, 3, 6, width)).astype(np.float16)
    groups = [QuestionToScore("?", tuple(own), ((1,),) * 3) for own in latents]
    together = score_groups(model, prompts, groups, score_answer=False)
    for question, prompt in enumerate(prompts):
        for number in range(3):
            alone = QuestionToScore("?", (latents[question, number],), ((1,),))
            [found] = score_groups(model, [prompt], [alone], score_answer=False)
            assert found.score == pytest.approx(together[3 * question + number].score, rel=1e-6, abs=1e-6)


def test_answers_are_read_only_where_they_are_asked_for(
    tiny_reward_model: LatentRewardModel, questions: list[QuestionToScore]
) -> None:
    aware = score(tiny_reward_model, questions, range(5))
    blind = score(tiny_reward_model, questions, range(5), score_answer=False)
    for one, other in zip(aware, blind, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert (other.answer_reward, other.answer_score, other.answer_flops) == (None, None, 0.0)
        assert one.answer_flops > one.flops == other.flops
    # Other answers change nothing but the answers' rewards.
    rewritten = [replace(one, answer_ids=((30,),) * 3) for one in questions]
    again = score(tiny_reward_model, rewritten, range(5))
    for one, other in zip(aware, again, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert abs((one.answer_reward or 0) - (other.answer_reward or 0)) > 1e-4


def test_failed_trajectories_have_no_score_and_change_no_other(
    tiny_reward_model: LatentRewardModel, questions: list[QuestionToScore]
) -> None:
    healthy = score(tiny_reward_model, questions, range(5))
    holed = copy.copy(questions)
    holed[0] = replace(
        questions[0], latents=(None, *questions[0].latents[1:]), answer_ids=((), *questions[0].answer_ids[1:])
    )
    holed[3] = replace(questions[3], latents=(None,) * 3, answer_ids=((),) * 3)
    for score_answer in (True, False):
        scores = score(tiny_reward_model, holed, range(5), score_answer)
        failed = [row for row, found in enumerate(scores) if found.error is not None]
        assert failed == [0, 9, 10, 11]
        for row in failed:
            assert (scores[row].error, scores[row].score, scores[row].answer_score) == (
                "the trajectory failed",
                None,
                None,
            )
        for row in set(range(15)) - set(failed):
            assert scores[row].score == pytest.approx(healthy[row].score, abs=1e-5)


def test_nothing_but_failures_is_a_result_too(tiny_reward_model: LatentRewardModel) -> None:
    nothing = QuestionToScore("q", (None, None), ((), ()))
    scores = score(tiny_reward_model, [nothing, nothing], [0, 1])
    assert [found.error for found in scores] == ["the trajectory failed"] * 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reward_that_is_no_number_is_an_error(
    tiny_reward_model: LatentRewardModel, questions: list[QuestionToScore], value: float
) -> None:
    healthy = score(tiny_reward_model, questions, range(5))
    latents = latents_of(2, 1)
    latents[-1, 0] = value
    questions[2] = replace(questions[2], latents=(questions[2].latents[0], latents, questions[2].latents[2]))
    blind = score(tiny_reward_model, questions, range(5), score_answer=False)
    assert [row for row, found in enumerate(blind) if found.error] == [7]
    scores = score(tiny_reward_model, questions, range(5))
    assert [row for row, found in enumerate(scores) if found.error] == [7]
    assert (scores[7].error, scores[7].score) == ("the reward is not finite", None)
    assert_same(scores[:7] + scores[8:], healthy[:7] + healthy[8:])


def test_questions_with_different_numbers_of_trajectories_are_refused(
    tiny_reward_model: LatentRewardModel, questions: list[QuestionToScore]
) -> None:
    questions[1] = replace(questions[1], latents=questions[1].latents[:2], answer_ids=questions[1].answer_ids[:2])
    with pytest.raises(ValueError, match="the same number of trajectories"):
        score(tiny_reward_model, questions, range(5))


@pytest.mark.parametrize("score_answer", [False, True])
def test_scores_are_the_same_with_little_memory(
    tiny_reward_model: LatentRewardModel,
    questions: list[QuestionToScore],
    score_answer: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = [
        QuestionToScore(one.question, one.latents * 5, tuple(ids for _ in range(5) for ids in one.answer_ids))
        for one in questions
    ]
    batches: list[int] = []
    original = groups._score_batch

    def counted(
        model: LatentRewardModel, prompts: Sequence[Sequence[int]], some: Sequence[QuestionToScore], answers: bool
    ) -> ScoreBatch:
        batches.append(sum(len(one.latents) for one in some))
        return original(model, prompts, some, answers)

    monkeypatch.setattr(groups, "_score_batch", counted)
    monkeypatch.setattr(groups, "share_of", lambda device: None)
    expected = score(tiny_reward_model, many, range(5), score_answer)
    assert batches == [75]
    monkeypatch.setattr(groups, "share_of", lambda device: 60_000)
    found = score(tiny_reward_model, many, range(5), score_answer)
    assert max(batches[1:]) < 15
    assert_same(found, expected)
