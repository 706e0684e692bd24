"""A LatentRM of a reasoner that stops thinking by itself: saved, loaded, trained and scored like any other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import save_checkpoint_of

from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.checkpoint import RewardCard, RewardCheckpoint
from latent_core.reward.losses import LOSSES
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import score_candidates
from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion, collate
from latent_core.reward.types import QuestionToScore
from latent_core.trajectory import LatentArray

LENGTHS = (3, 0, 5, 1)
QUESTION = "ann has 3 pens ?"
ANSWERS = ((4, 5, 0), (6, 0), (7, 7, 7, 0), (0,))


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    described = {"latent_length": "adaptive", "end_token": "###", "latent_token": None}
    return Checkpoint.open(str(save_checkpoint_of(tmp_path_factory.mktemp("one") / "llama", "llama", described)))


@pytest.fixture(scope="module")
def model(reasoner: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> LatentRewardModel:
    directory: Path = tmp_path_factory.mktemp("reward") / "rm"
    LatentRewardModel.from_reasoner(reasoner, seed=1).save(reasoner, directory, RewardCard(score_answer=True))
    opened = RewardCheckpoint.open(str(directory))
    opened.check_fits(reasoner)
    assert opened.format == reasoner.format
    assert opened.prompt_ids(QUESTION) == reasoner.prompt_ids(QUESTION)
    return LatentRewardModel.from_pretrained(str(directory))


def latents() -> tuple[LatentArray, ...]:
    rng = np.random.default_rng(0)
    # What comes from the store has no width where there is nothing in it.
    return tuple(
        rng.normal(size=(length, 32)).astype(np.float32) if length else np.zeros((0, 0), np.float32)
        for length in LENGTHS
    )


@pytest.mark.parametrize("score_answer", [False, True], ids=["latents", "answer too"])
def test_rows_of_all_lengths(model: LatentRewardModel, reasoner: Checkpoint, score_answer: bool) -> None:
    """Against reading each row by itself as one sequence."""
    prompt = reasoner.prompt_ids(QUESTION)
    scores = score_groups(model, [prompt], [QuestionToScore(QUESTION, latents(), ANSWERS)], score_answer)
    for score, vectors, answer in zip(scores, latents(), ANSWERS, strict=True):
        assert score.error is None
        assert score.step_scores is not None
        parts = [model.embed(torch.tensor(prompt)), torch.from_numpy(vectors).reshape(-1, 32)]
        parts.append(model.embed(torch.tensor([reasoner.end_id, *answer])))
        whole = torch.cat(parts)[None]
        with torch.inference_mode():
            hidden = model.model.base_model(inputs_embeds=whole).last_hidden_state
            rewards = model.model.score(hidden)[0, :, 0]  # type: ignore[operator]
        own = rewards[len(prompt) : len(prompt) + len(vectors)]
        np.testing.assert_allclose(score.step_scores, own.numpy(), atol=1e-5)
        assert score.score == pytest.approx(float(own.sum()), abs=1e-5)
        if score_answer:
            assert score.answer_reward == pytest.approx(float(rewards[-1]), abs=1e-5)


def test_nobody_has_thought_at_all(model: LatentRewardModel, reasoner: Checkpoint) -> None:
    nothing = tuple(np.zeros((0, 0), np.float32) for _ in range(2))
    question = QuestionToScore(QUESTION, nothing, ((4, 0), (5, 0)))
    for score in score_groups(model, [reasoner.prompt_ids(QUESTION)], [question], True):
        assert score.score == 0.0
        assert score.answer_reward is not None


@pytest.mark.parametrize("name", list(LOSSES))
def test_training_on_rows_of_all_lengths(model: LatentRewardModel, reasoner: Checkpoint, name: str) -> None:
    rows = tuple(
        LabelledCandidate(
            correct=length > 2,
            answer=str(length),
            latents=vectors,
            labels=np.linspace(0.2, float(length > 2), length, dtype=np.float32),
            answer_ids=answer,
        )
        for length, vectors, answer in zip(LENGTHS, latents(), ANSWERS, strict=True)
    )
    question = LabelledQuestion("q", tuple(reasoner.prompt_ids(QUESTION)), rows)
    batch = collate([question], score_answer=False, filler_id=model.end_of_text_id)
    assert batch.mask.sum(dim=2).tolist() == [list(LENGTHS)]
    rewards = score_candidates(model, batch.prompts, batch.candidates)
    loss = LOSSES[name](rewards.steps.reshape(batch.labels.shape), batch.labels, batch.mask)
    assert torch.isfinite(loss)
    assert loss > 0
