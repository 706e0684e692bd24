"""Reasoners with random weights in real shapes, and questions for them: benchmarks need neither network nor data."""

import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from latent_core.tasks.base import Problem
from latent_core.tasks.grading import GRADERS, Grader
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import build_tokenizer

_WORDS = 200
_GRADER = "benchmark_coin"

SHAPES = {"gpt2-small": (768, 12, 12), "gpt2-tiny": (128, 3, 4)}
"""Width, layers and heads by name."""
VOCABULARIES = {"gpt2-small": 50_260, "gpt2-tiny": 1_000}
"""Entries of the vocabulary of the models that have these shapes, latent tokens included."""

GRADERS.register(
    _GRADER,
    # Half of all texts are right, whatever they say: random weights then have questions of mixed outcomes.
    Grader(
        canonical=lambda text: text or None,
        is_correct=lambda question, reference, answer: zlib.crc32(answer.encode()) % 2 == 0,
    ),
)


def save_random_reasoner(shape: str, positions: int, directory: Path, vocabulary: int | None = None) -> None:
    """Write a COCONUT checkpoint with random weights.

    Args:
        shape: A key of `SHAPES`.
        positions: Context length in tokens.
        directory: Where to.
        vocabulary: Entries of the vocabulary, which is what logits cost; as few as questions need without it.
    """
    width, layers, heads = SHAPES[shape]
    torch.manual_seed(0)
    # Whatever such a model writes ends in a word behind a "#", which is where the format expects an answer.
    words = [*(f"w{i}" for i in range(_WORDS)), *(f"#w{i}" for i in range(_WORDS))]
    tokenizer = build_tokenizer(words, positions)
    if vocabulary is not None:
        words += [f"t{i}" for i in range(vocabulary - len(tokenizer))]
        tokenizer = build_tokenizer(words, positions)
    settings = ArchitectureSettings(
        width=width, layers=layers, heads=heads, positions=positions, initial_std=0.1, number_periods=(10.0,)
    )
    save_checkpoint(build_model(settings, tokenizer), tokenizer, directory, torch.float32)


def random_problems(count: int, prompt_tokens: int) -> list[Problem]:
    """Return questions whose prompts have so many tokens, the start token included."""
    return random_problems_of([prompt_tokens] * count)


def random_problems_of(lengths: Sequence[int]) -> list[Problem]:
    """Return a question for each length of a prompt in tokens, the start token included."""
    rng = random.Random(0)
    return [
        Problem(
            f"random-{number}",
            " ".join(f"w{rng.randrange(_WORDS)}" for _ in range(length - 1)),
            "0",
            grader=_GRADER,
        )
        for number, length in enumerate(lengths)
    ]
