"""Tokens that a tokenizer lacks, and rows for them in the embeddings."""

from collections.abc import Iterable, Sequence

import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from latent_core.errors import UserError


def next_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id behind the last one of a tokenizer."""
    return max(tokenizer.get_vocab().values()) + 1


def add_missing(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[str]) -> list[str]:
    """Add the tokens that a tokenizer lacks, in this order, as special ones; returns those that were added."""
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in dict.fromkeys(tokens) if token not in vocabulary]
    _add(tokenizer, missing)
    return missing


def add_at(name: str, tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str], first: int) -> None:
    """Add tokens so that they have consecutive ids.

    Some models have more embeddings than tokens; ids in between get tokens that no text contains.

    Raises:
        UserError: If the ids or the tokens are taken.
    """
    behind = next_id(tokenizer)
    _add(tokenizer, [f"<|unused-{index}|>" for index in range(behind, first)])
    _add(tokenizer, tokens)
    for index, token in enumerate(tokens):
        found = tokenizer.get_vocab().get(token)
        if found != first + index:
            raise UserError(
                f"checkpoint {name}: its trainer has {token} at {first + index}, where the tokenizer of --base has it "
                f"at {found}; name the model as it was before training"
            )


def grown(
    tensors: dict[str, Tensor], names: Iterable[str], new: Sequence[int], known: int | None = None
) -> dict[str, Tensor]:
    """Return the tensors with rows for new tokens.

    A new row is the mean of the old ones: as an input it is an average word, and as a row of the output head its logit
    is the mean of all logits, so that greedy decoding never writes the token unless training makes it.

    Args:
        tensors: By name.
        names: Those that have a row per token.
        new: Ids of the new tokens.
        known: How many rows belong to tokens; those behind them fill the matrix up. None for all.
    """
    result = dict(tensors)
    for name in names:
        old = tensors[name]
        mean = old[:known].float().mean(dim=0).to(old.dtype)
        rows = max(old.shape[0], max(new) + 1)
        added = mean.expand(rows - old.shape[0], *old.shape[1:])
        result[name] = torch.cat([old, added])
        result[name][list(new)] = mean
    return result


def _add(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> None:
    if tokens:
        tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
