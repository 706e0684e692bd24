"""Written chains of thought as tensors: question, calculations and answer, tokenised piece by piece.

Pieces are tokenised apart, so that a calculation has the same ids whether it stands behind the question or behind
latents that have taken the place of earlier ones.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from latent_core.errors import UserError
from latent_core.models.formats import LatentFormat
from latent_core.models.special_tokens import prompt_ids
from latent_core.training.variants import AnnotatedProblem, NumberVariants

ANSWER_MARK: Final = "### "
_WINDOW: Final = 32
"""Batches whose problems are sorted by length together, so that little of a batch is padding."""


@dataclass(frozen=True)
class EncodedProblem:
    """Token ids of a problem.

    Attributes:
        prompt: Question and start token, as the reasoner will be asked.
        steps: Each written calculation.
        answer: The mark, the answer and the end of text.
        mark: Tokens of the mark.
    """

    prompt: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    answer: tuple[int, ...]
    mark: int

    def __len__(self) -> int:
        return len(self.prompt) + sum(map(len, self.steps)) + len(self.answer)


@dataclass(frozen=True)
class ChainEncoder:
    """Turns problems into ids.

    Attributes:
        tokenizer: The reasoner's tokenizer.
        conventions: How prompts are written.
        opening: Ids in front of every prompt.
    """

    tokenizer: PreTrainedTokenizerBase
    conventions: LatentFormat
    opening: tuple[int, ...] = ()

    def encode(self, problem: AnnotatedProblem) -> EncodedProblem:
        """Return the ids of a problem."""
        prompt = tuple(prompt_ids(self.tokenizer, self.conventions, self.opening, problem.question))
        mark = self._ids(ANSWER_MARK)
        ends = (int(str(self.tokenizer.eos_token_id)),)
        steps = tuple(self._ids(f"{one.text}\n") for one in problem.calculations)
        return EncodedProblem(prompt, steps, mark + self._ids(problem.answer) + ends, len(mark))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])


@dataclass(frozen=True)
class Continuation:
    """What is written behind prompts, right-padded.

    Attributes:
        ids: Token ids, int64 [rows, tokens].
        mask: 1 at tokens and 0 at padding, int64 [rows, tokens].
        mark: Place of the last token of the answer's mark, whose hidden state predicts the answer, int64 [rows].
    """

    ids: Tensor
    mask: Tensor
    mark: Tensor

    def rows(self, start: int, end: int) -> Self:
        """Return a range of rows without the columns that are padding in all of them."""
        width = int(self.mask[start:end].sum(1).max())
        return type(self)(self.ids[start:end, :width], self.mask[start:end, :width], self.mark[start:end])

    def to(self, device: torch.device) -> Self:
        """Return it on a device."""
        return type(self)(self.ids.to(device), self.mask.to(device), self.mark.to(device))


@dataclass(frozen=True)
class ChainBatch:
    """Problems side by side.

    Attributes:
        prompt: Token ids of question and start token, left-padded, int64 [rows, prompt].
        mask: 1 at prompt tokens and 0 at padding, int64 [rows, prompt].
        chain: The whole written chain and the answer.
        rest: What is written behind the latents: the steps that they do not stand for, and the answer.
    """

    prompt: Tensor
    mask: Tensor
    chain: Continuation
    rest: Continuation

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def positions(self) -> Tensor:
        """Position of each prompt token, counted without padding, int64 [rows, prompt]."""
        return (self.mask.cumsum(1) - 1).clamp(min=0)

    def rows(self, start: int, end: int) -> Self:
        """Return a range of rows without the columns that are padding in all of them."""
        width = int(self.mask[start:end].sum(1).max())
        prompt, mask = self.prompt[start:end, -width:], self.mask[start:end, -width:]
        return type(self)(prompt, mask, self.chain.rows(start, end), self.rest.rows(start, end))

    def to(self, device: torch.device) -> Self:
        """Return it on a device."""
        return type(self)(self.prompt.to(device), self.mask.to(device), self.chain.to(device), self.rest.to(device))

    @classmethod
    def of(cls, problems: Sequence[EncodedProblem], hidden_steps: int | None = None) -> Self:
        """Put problems side by side.

        Args:
            problems: The problems.
            hidden_steps: How many of the first steps latents stand for; None for all.
        """
        width = max(len(one.prompt) for one in problems)
        prompt, mask = torch.zeros(2, len(problems), width, dtype=torch.int64).unbind(0)
        for row, one in enumerate(problems):
            prompt[row, width - len(one.prompt) :] = torch.tensor(one.prompt)
            mask[row, width - len(one.prompt) :] = 1
        hidden = [len(one.steps) if hidden_steps is None else hidden_steps for one in problems]
        rest = [(one, one.steps[count:]) for one, count in zip(problems, hidden, strict=True)]
        return cls(prompt, mask, _continued([(one, one.steps) for one in problems]), _continued(rest))


def _continued(written: Sequence[tuple[EncodedProblem, tuple[tuple[int, ...], ...]]]) -> Continuation:
    texts = [[*(token for step in steps for token in step), *one.answer] for one, steps in written]
    ids, mask = torch.zeros(2, len(texts), max(map(len, texts)), dtype=torch.int64).unbind(0)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = torch.tensor(text), 1
    mark = [len(text) - len(one.answer) + one.mark - 1 for text, (one, _) in zip(texts, written, strict=True)]
    return Continuation(ids, mask, torch.tensor(mark))


@dataclass(frozen=True)
class ChainProblems:
    """Encoded problems, split once and for all.

    Attributes:
        train: Problems and their variants.
        validation: Held-out problems, without variants.
        varied: How many of the problems to train on have variants.
        too_long: How many problems and variants were left out because of their length.
    """

    train: tuple[EncodedProblem, ...]
    validation: tuple[EncodedProblem, ...]
    varied: int
    too_long: int

    @classmethod
    def of(
        cls,
        problems: Sequence[AnnotatedProblem],
        encoder: ChainEncoder,
        *,
        variants: int,
        validation_share: float,
        longest: int,
        seed: int,
    ) -> Self:
        """Hold problems out by the hash of their question, vary the others, and encode all.

        Args:
            problems: The problems.
            encoder: Turns them into ids.
            variants: The most variants of each problem.
            validation_share: Share of the problems that is held out, in [0, 1).
            longest: The most tokens of a problem, chain and answer included.
            seed: Seed of the variants.

        Raises:
            UserError: If nothing is left to train on or to validate with.
        """
        held_out = [_hash(one.question) < validation_share for one in problems]
        train, varied, too_long = list[EncodedProblem](), 0, 0
        known = {one.question for one in problems}
        for index, (problem, is_held_out) in enumerate(zip(problems, held_out, strict=True)):
            if is_held_out:
                continue
            rng = random.Random(f"variants {seed} {index}")
            # Of problems told alike one may be a variant of the other, and the other held out.
            others = [one for one in variants_of(problem, variants, rng) if one.question not in known]
            known.update(one.question for one in others)
            varied += bool(others)
            encoded = [encoder.encode(one) for one in (problem, *others)]
            train += [one for one in encoded if len(one) <= longest]
            too_long += sum(len(one) > longest for one in encoded)
        asked = [encoder.encode(one) for one, is_held_out in zip(problems, held_out, strict=True) if is_held_out]
        validation = [one for one in asked if len(one) <= longest]
        if not train or not validation:
            raise UserError(
                f"data: {len(train)} problems to train on and {len(validation)} to validate with are left of "
                f"{len(problems)}; raise data.longest or change data.validation_share"
            )
        return cls(tuple(train), tuple(validation), varied, too_long + len(asked) - len(validation))

    def batches(self, size: int, seed: int, hidden_steps: int | None, first: int = 0) -> Iterator[ChainBatch]:
        """Yield batches of training problems without end, each problem once an epoch.

        Args:
            size: Problems per batch; what does not fill one is left for later epochs.
            seed: Seed of the order.
            hidden_steps: How many of the first steps latents stand for; None for all.
            first: Batches to skip, which costs nothing.

        Raises:
            UserError: If there are fewer problems than fill a batch.
        """
        per_epoch = len(self.train) // size
        if not per_epoch:
            raise UserError(f"batch_size: {size} are more than the {len(self.train)} problems to train on")
        epoch, skipped = divmod(first, per_epoch)
        while True:
            for rows in self._epoch(size, f"{seed} {epoch}")[skipped:]:
                yield ChainBatch.of([self.train[row] for row in rows], hidden_steps)
            epoch, skipped = epoch + 1, 0

    def _epoch(self, size: int, seed: str) -> list[list[int]]:
        rng = random.Random(seed)
        order = rng.sample(range(len(self.train)), len(self.train) // size * size)
        batches: list[list[int]] = []
        for start in range(0, len(order), size * _WINDOW):
            near = sorted(order[start : start + size * _WINDOW], key=lambda row: len(self.train[row]))
            batches += [near[place : place + size] for place in range(0, len(near), size)]
        rng.shuffle(batches)
        return batches


def variants_of(problem: AnnotatedProblem, most: int, rng: random.Random) -> list[AnnotatedProblem]:
    """Return different variants of a problem, at most so many and as many as drawing finds."""
    found = NumberVariants.of(problem) if most else None
    if found is None:
        return []
    drawn = [found.draw(rng) for _ in range(most)]
    return list({one.question: one for one in drawn if one is not None}.values())


def _hash(question: str) -> float:
    """Return a number in [0, 1) that depends on the question alone."""
    return int.from_bytes(hashlib.blake2b(question.encode(), digest_size=7).digest(), "big") / (1 << 56)
