"""Prompt batches: questions that are computed together, and what they need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from latent_core.attention.padding import argsort_by_length, unsort
from latent_core.columns import ColumnBatch
from latent_core.engine.runtime import RolloutRuntime
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem

Batch = TypeVar("Batch", bound=ColumnBatch[Any])


@dataclass(frozen=True)
class PromptBatch:
    """Questions that are one batch, those first whose prompts are shortest.

    Attributes:
        indices: Where each question stands among those that were asked for.
        problems: The questions.
        prompts: Their token ids.
    """

    indices: tuple[int, ...]
    problems: tuple[Problem, ...]
    prompts: tuple[list[int], ...]

    @classmethod
    def of(cls, reasoner: LatentReasoner, problems: Sequence[Problem]) -> Self:
        """Order questions by the length of their prompts."""
        prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
        order = argsort_by_length(prompts)
        return cls(tuple(order), tuple(problems[index] for index in order), tuple(prompts[index] for index in order))

    @property
    def question_ids(self) -> list[str]:
        """The ids of the questions."""
        return [problem.question_id for problem in self.problems]

    def part(self, questions: slice) -> Self:
        """Return neighbouring questions."""
        return type(self)(self.indices[questions], self.problems[questions], self.prompts[questions])

    def repeated(self, times: int) -> Self:
        """Return the questions several times over."""
        return type(self)(self.indices * times, self.problems * times, self.prompts * times)

    def unsort(self, rows: Batch) -> Batch:
        """Bring results, as many for each question, into the order in which the questions were asked for."""
        return unsort(rows, self.indices)

    def needs(self, runtime: RolloutRuntime, sampler: Sampler, suffix: int) -> list[tuple[int, int]]:
        """Return the bytes of memory that each question needs, and those that each sample of it needs.

        Args:
            runtime: Of the model.
            sampler: Whether prompts are shared, and whether answer tokens are drawn.
            suffix: Positions behind the prompt.
        """
        footprint, on_cpu = runtime.footprint, runtime.device.type == "cpu"
        uses_logits = runtime.reads_logits or sampler.draws_stop or not sampler.is_greedy
        found = []
        for prompt in self.prompts:
            own = footprint.prompt(len(prompt), static=not on_cpu)
            behind = suffix + sampler.perturbs_boundary
            row = footprint.row(len(prompt), behind, samples_tokens=uses_logits, on_cpu=on_cpu)
            found.append((0, own + row) if sampler.perturbs_prompt else (own, row))
        return found
