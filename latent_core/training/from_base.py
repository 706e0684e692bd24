"""A pretrained language model that learns to think in latent steps about annotated problems."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor, nn

from latent_core.errors import UserError
from latent_core.training.chain_passes import (
    distillation_loss,
    is_written,
    student_pass,
    teacher_pass,
    writing_loss,
)
from latent_core.training.chains import ChainBatch, ChainEncoder, ChainProblems
from latent_core.training.families import FAMILIES, AnnotatedFamily
from latent_core.training.learner import Learner, Losses
from latent_core.training.passes import Disturbance
from latent_core.training.pretrained import BaseModel
from latent_core.training.settings import ReasonerTrainingSettings, StageSettings
from latent_core.training.variants import AnnotatedProblem

_EVALUATION_ROWS = 64


class FromBase(Learner[ChainBatch]):
    """The language model, and the problems of a file with their variants.

    Attributes:
        problems: The problems.
    """

    def __init__(self, settings: ReasonerTrainingSettings) -> None:
        """Load model and problems; sets torch's random state.

        Raises:
            UserError: If the model or the problems cannot be had, do not fit each other, or there is no such device.
        """
        assert settings.base is not None
        assert settings.data is not None
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise UserError("device: cuda, but torch sees no GPU; set device=cpu")
        read = _read(settings)
        torch.manual_seed(settings.seed)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self._settings, self._device = settings, torch.device(settings.device)
        self._base = base = BaseModel.load(settings.base, settings.latent_steps, settings.feedback)
        room = int(base.model.config.max_position_embeddings) - settings.latent_steps - 1
        if settings.data.longest > room:
            raise UserError(f"data.longest: {settings.data.longest} tokens, but {settings.base} has room for {room}")
        encoder = ChainEncoder(base.tokenizer, base.conventions, base.opening)
        self.problems = ChainProblems.of(
            read,
            encoder,
            variants=settings.data.variants,
            validation_share=settings.data.validation_share,
            longest=settings.data.longest,
            seed=settings.seed,
        )
        parts: list[nn.Module] = [base.model, *([] if base.projector is None else [base.projector])]
        self.trained = nn.ModuleList(parts).to(self._device)

    def batches(self, index: int, stage: StageSettings, first: int = 0) -> Iterator[ChainBatch]:
        """Yield the batches of a stage."""
        settings = self._settings
        seed = settings.seed * len(settings.stages) + index
        found = self.problems.batches(settings.batch_size, seed, stage.hidden_steps, first)
        for _ in range(first, stage.updates):
            yield next(found)

    def losses(self, batch: ChainBatch, stage: StageSettings) -> Losses:
        """Return the losses of the answer, of the written chain, and of what the chain teaches the latents."""
        batch, base = batch.to(self._device), self._base
        with self._autocast():
            if stage.thoughts == "written":
                chain = writing_loss(teacher_pass(base.model, batch), batch.chain)
                return Losses(chain, {"chain_loss": chain})
            student = student_pass(
                base.model,
                batch,
                base.end_id,
                self._steps(stage),
                Disturbance(stage.latent_dropout, stage.latent_noise, stage.least_latent_noise, stage.latent_gradient),
                feedback=base.projector,
                generator=self.generator,
            )
            answer = writing_loss(student, batch.rest)
            total, parts = answer, {"answer_loss": answer}
            if stage.chain_weight or stage.distillation_weight:
                teacher = teacher_pass(base.model, batch)
                parts["chain_loss"] = writing_loss(teacher, batch.chain)
                parts["distillation_loss"] = distillation_loss(student, teacher)
                total = total + stage.chain_weight * parts["chain_loss"]
                total = total + stage.distillation_weight * parts["distillation_loss"]
        return Losses(total, parts)

    @torch.no_grad()
    def accuracy(self) -> float:
        """Return the greedy accuracy on validation problems."""
        problems = self.problems.validation[: self._settings.evaluation_problems]
        right = 0
        for first in range(0, len(problems), _EVALUATION_ROWS):
            batch = ChainBatch.of(problems[first : first + _EVALUATION_ROWS]).to(self._device)
            right += int(self._answered(batch).sum())
        return right / len(problems)

    def _answered(self, batch: ChainBatch) -> Tensor:
        base = self._base
        with self._autocast():
            student = student_pass(base.model, batch, base.end_id, self._settings.latent_steps, feedback=base.projector)
        return is_written(student, batch.rest)

    def _steps(self, stage: StageSettings) -> int:
        """Return how many latent steps a stage takes."""
        if stage.hidden_steps is None:
            return self._settings.latent_steps
        return min(self._settings.latent_steps, stage.hidden_steps * self._settings.latents_per_step)

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.precision == "bfloat16")

    def save(self, directory: Path) -> None:
        """Write the checkpoint."""
        self._base.save(directory, getattr(torch, self._settings.weights_dtype))


def _read(settings: ReasonerTrainingSettings) -> Sequence[AnnotatedProblem]:
    family = FAMILIES[settings.family]
    assert isinstance(family, AnnotatedFamily)
    assert settings.data is not None
    return family.read(Path(settings.data.path).expanduser())


def check_start(settings: ReasonerTrainingSettings) -> tuple[str, int]:
    """Return the architecture of the base and the number of problems, without loading weights.

    Raises:
        UserError: If either cannot be had.
    """
    assert settings.base is not None
    return BaseModel.check(settings.base).model_type, len(_read(settings))
