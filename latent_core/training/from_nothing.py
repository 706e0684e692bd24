"""A tiny GPT-2 from nothing, which learns to think about synthetic problems: how the bundled reasoners were made."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers import GPT2LMHeadModel

from latent_core.training.batch import Batch
from latent_core.training.families import FAMILIES, SyntheticFamily
from latent_core.training.learner import Learner, Losses
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.passes import Prediction, latent_pass, written_pass
from latent_core.training.settings import ReasonerTrainingSettings, StageSettings
from latent_core.training.tokenizer import build_tokenizer

_EVALUATION_ROWS = 128


class FromNothing(Learner[Batch]):
    """The GPT-2, and a stream of problems of its family."""

    def __init__(self, settings: ReasonerTrainingSettings) -> None:
        """Make the weights and the validation problems; sets torch's random state."""
        torch.manual_seed(settings.seed)
        self.generator = torch.Generator().manual_seed(settings.seed)
        family = FAMILIES[settings.family]
        assert isinstance(family, SyntheticFamily)
        self._settings, self._family = settings, family
        self._tokenizer = build_tokenizer(family.vocabulary(), settings.architecture.positions)
        # Evaluation mode throughout: dropout is switched on where a stage asks for it, on latent steps only.
        model = build_model(settings.architecture, self._tokenizer, settings.latent_steps).train(False)
        self.trained = self._model = model
        std = settings.architecture.embedding_std or settings.architecture.initial_std
        family.initialise(model, self._tokenizer, std)
        count = settings.evaluation_problems
        held_out = next(family.batches("validation", count, 1, settings.seed, self._tokenizer, settings.latent_steps))
        starts = range(0, count, _EVALUATION_ROWS)
        self._validation = [held_out.rows(first, first + _EVALUATION_ROWS) for first in starts]

    def batches(self, index: int, stage: StageSettings, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of a stage."""
        settings = self._settings
        # A seed of its own for every stage, so that no stage repeats the problems of another.
        seed = settings.seed * len(settings.stages) + index
        problems = self._family.batches(
            "train", settings.batch_size, stage.updates, seed, self._tokenizer, settings.latent_steps, stage.detours
        )
        return islice(problems, first, None)

    def losses(self, batch: Batch, stage: StageSettings) -> Losses:
        """Return the losses of answers and thoughts."""
        prediction = predict(self._model, batch, stage, self.generator)
        answer, thoughts = losses(prediction, batch)
        total = answer + stage.thought_loss_weight * thoughts
        if stage.commitment_weight:
            total = total + stage.commitment_weight * commitment_loss(self._model, prediction)
        return Losses(total, {"answer_loss": answer, "thought_loss": thoughts})

    def accuracy(self) -> float:
        """Return the greedy accuracy on validation problems."""
        return greedy_accuracy(self._model, self._validation)

    def save(self, directory: Path) -> None:
        """Write the checkpoint."""
        save_checkpoint(self._model, self._tokenizer, directory, getattr(torch, self._settings.weights_dtype))


def predict(model: GPT2LMHeadModel, batch: Batch, stage: StageSettings, generator: torch.Generator) -> Prediction:
    """Run the pass that the stage trains."""
    if stage.thoughts == "written":
        return written_pass(model, batch)
    return latent_pass(
        model,
        batch,
        dropout=stage.latent_dropout,
        noise=stage.latent_noise,
        least_noise=stage.least_latent_noise,
        gradient=stage.latent_gradient,
        generator=generator,
    )


def losses(prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the mean losses of the answer's tokens and of the thoughts, two scalars."""
    answer = cross_entropy(prediction.answer.flatten(0, 1), prediction.answer_ids.flatten())
    if batch.guide is None:
        return answer, cross_entropy(prediction.thoughts.flatten(0, 1), batch.thoughts.flatten())
    steps = prediction.taken.shape[1]
    right = torch.stack([batch.guide.next_thoughts(prediction.taken[:, :step]) for step in range(steps)], dim=1)
    return answer, any_right_loss(prediction.thoughts, right)


def any_right_loss(logits: Tensor, right: Tensor) -> Tensor:
    """Return the mean of -log P(a right token), a scalar.

    Nothing is said about how probability is shared among right tokens, so a thought may settle for one of them.

    Args:
        logits: [rows, steps, vocabulary].
        right: Which tokens are right, bool, same shape; a step where none is counts as no loss.
    """
    chosen = logits.masked_fill(~right, -torch.inf).logsumexp(-1)
    loss = logits.logsumexp(-1) - torch.where(right.any(-1), chosen, logits.logsumexp(-1))
    return loss.mean()


def commitment_loss(model: GPT2LMHeadModel, prediction: Prediction) -> Tensor:
    """Return the mean of 1 - cos(latent, embedding of the token it decodes to), a scalar.

    A latent halfway between two tokens is read as the one or the other by chance; this loss makes it choose.
    """
    nearest = model.transformer.wte.weight.detach()[prediction.thoughts.argmax(-1)]
    return (1 - cosine_similarity(prediction.latents, nearest, dim=-1)).mean()


@torch.no_grad()
def greedy_accuracy(model: GPT2LMHeadModel, problems: Sequence[Batch]) -> float:
    """Share of problems whose whole answer is the most likely one at every token after undisturbed latent steps.

    Each token is predicted behind the reference tokens. For a wholly correct answer that is what greedy decoding does.
    """
    right = 0
    for batch in problems:
        prediction = latent_pass(model, batch)
        solved = (prediction.answer.argmax(-1) == prediction.answer_ids).all(1)
        if batch.guide is not None:
            solved &= batch.guide.solved(prediction.taken)
        right += int(solved.sum())
    return right / sum(len(batch) for batch in problems)
