"""Reasoners with random weights in real shapes, and questions for them: benchmarks need neither network nor data."""

import random
import zlib
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

GRADERS.register(
    _GRADER,
    # Half of all texts are right, whatever they say: random weights then have questions of mixed outcomes.
    Grader(
        canonical=lambda text: text or None,
        is_correct=lambda question, reference, answer: zlib.crc32(answer.encode()) % 2 == 0,
    ),
)


def save_random_reasoner(shape: str, positions: int, directory: Path) -> None:
    """Write a COCONUT checkpoint with random weights.

    Args:
        shape: A key of `SHAPES`.
        positions: Context length in tokens.
        directory: Where to.
    """
    width, layers, heads = SHAPES[shape]
    torch.manual_seed(0)
    # Whatever such a model writes ends in a word behind a "#", which is where the format expects an answer.
    tokenizer = build_tokenizer([*(f"w{i}" for i in range(_WORDS)), *(f"#w{i}" for i in range(_WORDS))], positions)
    settings = ArchitectureSettings(
        width=width, layers=layers, heads=heads, positions=positions, initial_std=0.1, number_periods=(10.0,)
    )
    save_checkpoint(build_model(settings, tokenizer), tokenizer, directory, torch.float32)


def random_problems(count: int, prompt_tokens: int) -> list[Problem]:
    """Return questions whose prompts have so many tokens, the start token included."""
    rng = random.Random(0)
    return [
        Problem(
            f"random-{number}",
            " ".join(f"w{rng.randrange(_WORDS)}" for _ in range(prompt_tokens - 1)),
            "0",
            grader=_GRADER,
        )
        for number in range(count)
    ]
