"""Padding of prompts to one tensor, and the order and the passes in which they are read."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from latent_core.columns import ColumnBatch

Batch = TypeVar("Batch", bound=ColumnBatch[Any])

_PROMPT_MULTIPLE = 32
"""Prompts are padded to a multiple of this many tokens: sums over paddings of different lengths round differently."""

_PASS_IS_WORTH = {"cuda": 4096}
"""Tokens of padding by which a run of prompts may grow to save a pass: one of so few takes a GPU longer to begin than
to compute. On CPUs nothing is padded for it, so that rounding does not depend on the neighbours."""


def padded_length(tokens: int) -> int:
    """Return the length in tokens that a prompt is padded to."""
    return -(-tokens // _PROMPT_MULTIPLE) * _PROMPT_MULTIPLE


def argsort_by_length(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Return where the prompts stand when they are ordered by length."""
    return sorted(range(len(prompts)), key=lambda index: len(prompts[index]))


def unsort(rows: Batch, order: Sequence[int]) -> Batch:
    """Bring results of reordered questions, as many for each, back into the order that was asked for.

    Args:
        rows: Results, question by question.
        order: Which question stands where: what `argsort_by_length` has returned.
    """
    per_question = len(rows) // len(order)
    return rows.take((np.argsort(order)[:, None] * per_question + np.arange(per_question)).ravel())


def length_buckets(prompts: Sequence[Sequence[int]], device: torch.device) -> Iterator[slice]:
    """Go through neighbouring prompts that are read in one pass.

    Args:
        prompts: Their token ids; best in the order of their lengths.
        device: Where they are read. On CPUs all prompts of a run are padded to the length that each would be padded to
            alone.

    Yields:
        Neighbours, in order.
    """
    worth, first, longest, filled = _PASS_IS_WORTH.get(device.type, 0), 0, 0, 0
    for place, prompt in enumerate(prompts):
        length = padded_length(len(prompt))
        longer = max(longest, length)
        padding = longer * (place - first + 1) - filled - length
        if place > first and padding > worth:
            yield slice(first, place)
            first, longer, filled = place, length, 0
        longest, filled = longer, filled + length
    if prompts:
        yield slice(first, len(prompts))


def right_padded(
    prompts: Sequence[Sequence[int]], filler: int, longest: int, device: torch.device, at_least: int = 0
) -> tuple[Tensor, Tensor]:
    """Put prompts side by side; causal attention never looks at right padding.

    Args:
        prompts: Token ids of each prompt; lengths may differ.
        filler: Id that padding is made of.
        longest: Positions that the model has.
        device: Where the tensors go.
        at_least: Tokens of another prompt that they are padded for too.

    Returns:
        Ids, int64 [prompts, padded length], and lengths, int64 [prompts].
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    padded = min(padded_length(max(int(lengths.max()), at_least)), longest)
    tokens = torch.full((len(prompts), padded), filler)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    return tokens.to(device), lengths.to(device)
