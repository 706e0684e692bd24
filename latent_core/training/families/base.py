"""What training has to know about a family of problems."""

import abc
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from latent_core.registry import Registry
from latent_core.tasks.word_problems import Split
from latent_core.training.batch import Batch
from latent_core.training.variants import AnnotatedProblem


class Family(abc.ABC):
    """A kind of problems.

    Attributes:
        fewest_steps: The smallest number of latent steps that every problem fits into.
        most_steps: The largest one.
    """

    fewest_steps: int
    most_steps: int


class SyntheticFamily(Family):
    """A stream of fresh problems, as tensors, and the words they are told in; each latent step has one thought."""

    @abc.abstractmethod
    def vocabulary(self) -> list[str]:
        """Return every lower-case token of questions, thoughts and answers, in a fixed order."""

    @abc.abstractmethod
    def batches(
        self,
        split: Split,
        size: int,
        count: int,
        seed: int,
        tokenizer: PreTrainedTokenizerFast,
        latent_steps: int,
        detours: float = 0.0,
    ) -> Iterator[Batch]:
        """Yield `count` batches of fresh problems.

        Args:
            split: Which part of all problems to draw from.
            size: Problems per batch.
            count: Number of batches.
            seed: Seed of the stream.
            tokenizer: The reasoner's tokenizer.
            latent_steps: Number of latent steps.
            detours: Probability that a written thought is any possible one instead of a right one. Families whose
                thoughts leave no choice ignore it.
        """

    def initialise(self, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, std: float) -> None:
        """Give embeddings of this standard deviation a better start; draws from torch's current random state."""


class AnnotatedFamily(Family):
    """Problems in natural language from a file, solved in annotated calculations: for models that know language."""

    @abc.abstractmethod
    def read(self, path: Path) -> Sequence[AnnotatedProblem]:
        """Read the problems of a file whose calculations can be read; the others are left out.

        Raises:
            UserError: If the file cannot be read, or none of its problems can.
        """


FAMILIES: Registry[Family] = Registry("problem family", "latent_core.training.families")
