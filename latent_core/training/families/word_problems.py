"""Word problems: each thought is the value after a step, and the last one is the answer."""

import random
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedTokenizerFast

from latent_core.tasks.word_problems import MAX_STEPS, Core, Split, draw_cores, tell, vocabulary
from latent_core.training.batch import Batch, encode_prompts
from latent_core.training.families.base import FAMILIES, SyntheticFamily

_CHUNK = 4096


def encode(
    questions: Sequence[str], values: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerFast, latent_steps: int
) -> Batch:
    """Turn questions and the values after their steps into one batch; the last value is the answer."""
    prompt, mask = encode_prompts(questions, tokenizer)
    ids = tokenizer.get_vocab()
    padded = [[*chain, *[chain[-1]] * (latent_steps - len(chain))] for chain in values]
    steps = torch.tensor([[ids[str(value)] for value in chain] for chain in padded])
    marks = torch.tensor([[ids["###"], tokenizer.eos_token_id]]).expand(len(steps), 2)
    answer = torch.stack([marks[:, 0], steps[:, -1], marks[:, 1]], dim=1)
    return Batch(prompt, mask, steps, answer)


class WordProblems(SyntheticFamily):
    """Shorter problems repeat their last value."""

    fewest_steps = MAX_STEPS
    most_steps = 32

    def vocabulary(self) -> list[str]:
        """Return words and numbers."""
        return vocabulary()

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
        """Yield batches; many are encoded at a time, which is what tokenizers are fast at."""
        stream: Iterator[Core] = draw_cores(split, seed)
        rng = random.Random(f"words {split} {seed}")
        per_chunk = max(1, _CHUNK // size)
        for first in range(0, count, per_chunk):
            cores = [next(stream) for _ in range(size * min(per_chunk, count - first))]
            questions = [tell(core, rng) for core in cores]
            chunk = encode(questions, [core.values for core in cores], tokenizer, latent_steps)
            for start in range(0, len(chunk), size):
                yield chunk.rows(start, start + size)


FAMILIES.register("word_problems", WordProblems())
