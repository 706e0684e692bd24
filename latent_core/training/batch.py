"""Problems as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor
from transformers import PreTrainedTokenizerFast

from latent_core.training.tokenizer import START_LATENT

_PROMPT_ENDING = f"\n{START_LATENT}"


class Guide(Protocol):
    """What is right after thoughts other than the reference, for problems with more than one right way."""

    def next_thoughts(self, thoughts: Tensor) -> Tensor:
        """Return which next thoughts are right after those taken.

        Args:
            thoughts: Token ids of the thoughts so far, int64 [rows, thoughts], possibly none.

        Returns:
            Bool [rows, vocabulary]; none is right where nothing leads on.
        """

    def answer(self, thoughts: Tensor) -> Tensor:
        """Return the token ids of the answer that these thoughts are committed to, int64 [rows, answer tokens]."""

    def solved(self, thoughts: Tensor) -> Tensor:
        """Return whether each row's thoughts solve its problem, bool [rows]."""

    def rows(self, start: int, end: int) -> Self:
        """Return the guide of a range of rows."""


@dataclass(frozen=True)
class Batch:
    """Problems side by side, all prompts ending in the same column.

    Attributes:
        prompt: Token ids of question and start token, left-padded, int64 [rows, prompt].
        mask: 1 at prompt tokens and 0 at padding, int64 [rows, prompt].
        thoughts: Token ids of the written thoughts, int64 [rows, latent steps].
        answer: Token ids of "###", the answer and the end of text, int64 [rows, answer tokens].
        guide: What is right after other thoughts; None where only the written thoughts are right.
    """

    prompt: Tensor
    mask: Tensor
    thoughts: Tensor
    answer: Tensor
    guide: Guide | None = None

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
        guide = self.guide.rows(start, end) if self.guide else None
        return type(self)(prompt, mask, self.thoughts[start:end], self.answer[start:end], guide)


def encode_prompts(questions: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Return token ids of questions and start tokens, left-padded, and their mask; both int64 [rows, prompt]."""
    prompts = tokenizer(
        [question + _PROMPT_ENDING for question in questions],
        add_special_tokens=False,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    return prompts["input_ids"], prompts["attention_mask"]
