"""Text that a tokenizer cannot represent: what is left of a prompt when its tokens are turned back into text.

A tokenizer without a token for a word and without bytes to fall back on drops it, or writes an unknown token; the model
then answers another question, and nothing is said.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

_WORD_BORDER = "\N{LOWER ONE EIGHTH BLOCK}"
"""What SentencePiece writes for a space."""


def lost_characters(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], ids: Sequence[Sequence[int]]
) -> list[list[str]]:
    """Return the characters of each text that its tokens do not give back.

    Case, spacing, accents and compatibility forms do not count: tokenizers normalise them, and words stay words.

    Args:
        tokenizer: The tokenizer.
        texts: The texts.
        ids: Their token ids, those of special tokens among them where the text has them.
    """
    decoded = _decoded(tokenizer, texts, ids)
    return [[] if one == back else _difference(one, back) for one, back in zip(texts, decoded, strict=True)]


def written_length(text: str) -> int:
    """Return the number of characters of a text that can be lost."""
    return len(_plain(text))


def _decoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> list[str]:
    slow: Any = tokenizer
    unknown = slow.unk_token
    unknown_id = None if unknown is None else tokenizer.get_vocab().get(unknown)
    known = [
        # In some vocabularies the unknown token is one that a text may well contain.
        list(row) if unknown_id is None or unknown in text else [token for token in row if token != unknown_id]
        for text, row in zip(texts, ids, strict=True)
    ]
    if slow.is_fast:
        decoded: list[str] = slow.backend_tokenizer.decode_batch(known, skip_special_tokens=False)
    else:
        decoded = slow.batch_decode(known, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return decoded


def _difference(text: str, back: str) -> list[str]:
    lost = Counter(_plain(text)) - Counter(_plain(back))
    return sorted(lost.elements()) if lost else []


def _plain(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace(_WORD_BORDER, " "))
        text = "".join(one for one in text if not unicodedata.combining(one) and unicodedata.category(one)[0] != "C")
    return "".join(text.casefold().split())
