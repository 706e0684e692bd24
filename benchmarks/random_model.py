"""Reasoners with random weights in real shapes, and questions for them: benchmarks need neither network nor data."""

import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from latent_core.answers.grading import GRADERS, Grader
from latent_core.tasks.base import Problem
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import END_LATENT, LATENT, START_LATENT, build_tokenizer

_WORDS = 200
_GRADER = "benchmark_coin"

SHAPES = {"gpt2-small": (768, 12, 12), "gpt2-tiny": (128, 3, 4)}
"""Width, layers and heads by name."""
LLAMA_1B = "llama-1b"
VOCABULARIES = {"gpt2-small": 50_260, "gpt2-tiny": 1_000, LLAMA_1B: 128_259}
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
    """Write a checkpoint with random weights: COCONUT's format, or CODI's where the backbone is a Llama.

    Args:
        shape: A key of `SHAPES`, or of `VOCABULARIES` if the vocabulary is given too.
        positions: Context length in tokens.
        directory: Where to.
        vocabulary: Entries of the vocabulary, which is what logits cost; as few as questions need without it.
    """
    torch.manual_seed(0)
    # Whatever such a model writes ends in a word behind a "#", which is where the format expects an answer.
    words = [*(f"w{i}" for i in range(_WORDS)), *(f"#w{i}" for i in range(_WORDS))]
    tokenizer = build_tokenizer(words, positions)
    if vocabulary is not None:
        words += [f"t{i}" for i in range(vocabulary - len(tokenizer))]
        tokenizer = build_tokenizer(words, positions)
    if shape == LLAMA_1B:
        _save_llama(tokenizer, positions, directory)
        return
    width, layers, heads = SHAPES[shape]
    settings = ArchitectureSettings(
        width=width, layers=layers, heads=heads, positions=positions, initial_std=0.1, number_periods=(10.0,)
    )
    save_checkpoint(build_model(settings, tokenizer), tokenizer, directory, torch.float32)


def _save_llama(tokenizer: PreTrainedTokenizerFast, positions: int, directory: Path) -> None:
    """Write a reasoner in the shape of Llama-3.2-1B, in bfloat16."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype=torch.bfloat16,
    )
    config.latent_start_id, config.latent_end_id, config.latent_id = tokenizer.convert_tokens_to_ids(
        [START_LATENT, END_LATENT, LATENT]
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(directory)
    config.architectures = ["CODILlama"]
    config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


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
