"""Training on random labels: what cannot be understood must be learned by heart, exactly repeatably."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion
from latent_core.reward.training.settings import RewardTrainingSettings
from latent_core.reward.training.trainer import RewardTrainer, forward_flops, learning_rate, planned_updates
from latent_core.reward.training.validation import Validation

MakeQuestions = Callable[..., list[LabelledQuestion]]


def new_trainer(checkpoint: Checkpoint, settings: RewardTrainingSettings, updates: int) -> RewardTrainer:
    return RewardTrainer(LatentRewardModel.from_reasoner(checkpoint, settings.seed).eval(), settings, updates)


def train(trainer: RewardTrainer, questions: list[LabelledQuestion], end: int) -> list[float]:
    size = trainer.settings.questions_per_batch
    losses = []
    while trainer.update < end:
        first = trainer.update * size % len(questions)
        losses.append(float(trainer.step(questions[first : first + size])))
    return losses


def weights(trainer: RewardTrainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


@pytest.mark.parametrize("objective", ["outcome", "contrastive", "bce"])
def test_a_small_set_is_learned_by_heart(
    tiny_reasoner: LatentReasoner, make_questions: MakeQuestions, objective: str
) -> None:
    questions = make_questions(8)
    for question in questions:
        for candidate in question.candidates:
            # Labels that agree with the outcome at every step; otherwise the sum over steps need not.
            candidate.labels[:] = 0.2 + 0.6 * candidate.correct
            candidate.labels[-1] = candidate.correct
    settings = RewardTrainingSettings(
        objective=objective, questions_per_batch=4, learning_rate=3e-3, warmup_updates=5, score_answer=True
    )
    trainer = new_trainer(tiny_reasoner.checkpoint, settings, 120)
    losses = train(trainer, questions, 120)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    report = Validation(questions, score_answer=True).measure(trainer.model)
    assert report.auc == 1.0
    assert report.answer_auc == 1.0


def test_the_same_seed_gives_the_same_weights_with_dropout_too(
    tiny_reasoner: LatentReasoner, make_questions: MakeQuestions
) -> None:
    questions = make_questions(4)
    settings = RewardTrainingSettings(questions_per_batch=2, dropout=0.2, warmup_updates=0)
    first, again = (new_trainer(tiny_reasoner.checkpoint, settings, 4) for _ in range(2))
    train(first, questions, 4)
    torch.manual_seed(12345)  # The state of torch's own generator must not matter.
    train(again, questions, 4)
    for name, tensor in weights(first).items():
        assert torch.equal(tensor, weights(again)[name]), name
    other = new_trainer(tiny_reasoner.checkpoint, settings.model_copy(update={"dropout": 0.0}), 4)
    train(other, questions, 4)
    assert not all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(first).items())


def test_a_resumed_training_ends_like_an_undisturbed_one_to_the_bit(
    tiny_reasoner: LatentReasoner, make_questions: MakeQuestions
) -> None:
    questions = make_questions(6)
    settings = RewardTrainingSettings(questions_per_batch=2, dropout=0.1, score_answer=True, warmup_updates=2)
    whole = new_trainer(tiny_reasoner.checkpoint, settings, 9)
    train(whole, questions, 9)

    interrupted = new_trainer(tiny_reasoner.checkpoint, settings, 9)
    train(interrupted, questions, 4)
    file = io.BytesIO()
    torch.save(interrupted.state_dict(), file)
    file.seek(0)
    resumed = new_trainer(tiny_reasoner.checkpoint, settings.model_copy(update={"init": None}), 9)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.update == 4
    train(resumed, questions, 9)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name
    assert resumed.flops == whole.flops


def test_the_learning_rate_rises_and_falls() -> None:
    settings = RewardTrainingSettings(learning_rate=0.1, final_learning_rate=0.01, warmup_updates=4)
    rates = [learning_rate(settings, update, 20) for update in range(21)]
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[20] == pytest.approx(0.01)


def test_planned_updates() -> None:
    settings = RewardTrainingSettings(questions_per_batch=16, epochs=2.5)
    assert planned_updates(settings, 40) == (16, 5)
    assert planned_updates(settings, 10) == (10, 2)
    assert planned_updates(settings, 11, workers=2) == (10, 2)
    assert planned_updates(settings.model_copy(update={"updates": 7}), 40) == (16, 7)


def test_flops_count_prompts_once_and_only_what_is_read(
    tiny_reasoner: LatentReasoner, make_questions: MakeQuestions
) -> None:
    flops = LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, 0).flops
    question = make_questions(1, candidates=2)[0]
    prompt = len(question.prompt)
    assert forward_flops(flops, [question], False) == flops.prompt(prompt) + 2 * flops.suffix(prompt, 3)
    failed = replace(question, candidates=(question.candidates[0], LabelledCandidate(False, None, failed=True)))
    written = len(question.candidates[0].answer_ids) + 1
    assert forward_flops(flops, [failed], True) == flops.prompt(prompt) + flops.suffix(prompt, 3 + written)
