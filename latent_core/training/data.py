"""Word problems as tensors."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from latent_core.tasks.word_problems import Core, Split, draw_cores, tell
from latent_core.training.tokenizer import START_LATENT

PROMPT_ENDING = f"\n{START_LATENT}"
_CHUNK = 4096


@dataclass(frozen=True)
class Batch:
    """Problems side by side, all prompts ending in the same column.

    Attributes:
        prompt: Token ids of question and start token, left-padded, int64 [rows, prompt].
        mask: 1 at prompt tokens and 0 at padding, int64 [rows, prompt].
        values: Token ids of the value after each step, the last repeated, int64 [rows, latent steps].
        answer: Token ids of "### 57" and the end of text, int64 [rows, 3].
    """

    prompt: Tensor
    mask: Tensor
    values: Tensor
    answer: Tensor

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
        return type(self)(prompt, mask, self.values[start:end], self.answer[start:end])


def encode(
    questions: Sequence[str], values: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerFast, latent_steps: int
) -> Batch:
    """Turn questions and the values after their steps into one batch; the last value is the answer."""
    prompts = tokenizer(
        [question + PROMPT_ENDING for question in questions],
        add_special_tokens=False,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    ids = tokenizer.get_vocab()
    padded = [[*chain, *[chain[-1]] * (latent_steps - len(chain))] for chain in values]
    steps = torch.tensor([[ids[str(value)] for value in chain] for chain in padded])
    marks = torch.tensor([[ids["###"], tokenizer.eos_token_id]]).expand(len(steps), 2)
    answer = torch.stack([marks[:, 0], steps[:, -1], marks[:, 1]], dim=1)
    return Batch(prompts["input_ids"], prompts["attention_mask"], steps, answer)


def batches(
    split: Split, size: int, count: int, seed: int, tokenizer: PreTrainedTokenizerFast, latent_steps: int
) -> Iterator[Batch]:
    """Yield `count` batches of fresh problems; many are encoded at a time, which is what tokenizers are fast at."""
    stream: Iterator[Core] = draw_cores(split, seed)
    rng = random.Random(f"words {split} {seed}")
    per_chunk = max(1, _CHUNK // size)
    for first in range(0, count, per_chunk):
        cores = [next(stream) for _ in range(size * min(per_chunk, count - first))]
        questions = [tell(core, rng) for core in cores]
        chunk = encode(questions, [core.values for core in cores], tokenizer, latent_steps)
        for start in range(0, len(chunk), size):
            yield chunk.rows(start, start + size)
