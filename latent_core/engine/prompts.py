"""Prompts as one padded tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor

_PROMPT_MULTIPLE = 32
"""Prompts are padded to a multiple of this many tokens: sums over paddings of different lengths round differently."""


def padded_length(tokens: int) -> int:
    """Return the length in tokens that a prompt is padded to."""
    return -(-tokens // _PROMPT_MULTIPLE) * _PROMPT_MULTIPLE


def right_padded(
    prompts: Sequence[Sequence[int]], filler: int, longest: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Put prompts side by side; causal attention never looks at right padding.

    Args:
        prompts: Token ids of each prompt; lengths may differ.
        filler: Id that padding is made of.
        longest: Positions that the model has.
        device: Where the tensors go.

    Returns:
        Ids, int64 [prompts, padded length], and lengths, int64 [prompts].
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    padded = min(padded_length(int(lengths.max())), longest)
    tokens = torch.full((len(prompts), padded), filler)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    return tokens.to(device), lengths.to(device)
