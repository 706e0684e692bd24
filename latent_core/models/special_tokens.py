"""Special tokens of a latent reasoner: what opens its thoughts, what ends them, and what no answer has; its prompt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from latent_core.errors import UserError
from latent_core.models.files import LATENT_FILE
from latent_core.models.formats import LatentFormat
from latent_core.models.tokenization import chat_text, stated_ends

NO_ID = -1
"""Stands for the id of a token that a checkpoint does not have."""


def prompt_text(tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat, question: str) -> str:
    """Return the prompt of a question, turns of a chat included."""
    text = checkpoint_format.fill_prompt(question)
    return text if checkpoint_format.chat is None else chat_text(tokenizer, text, checkpoint_format.chat)


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat, opening: tuple[int, ...], question: str
) -> list[int]:
    """Tokenize the prompt of a question, with the given ids in front."""
    text = prompt_text(tokenizer, checkpoint_format, question)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*opening, *ids]


def check_start(source: str, tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat) -> None:
    """Refuse a tokenizer that knows the token that opens the latent steps, and takes it apart in a prompt.

    Raises:
        UserError: If it does.
    """
    token = checkpoint_format.start_token
    if token is None or token not in checkpoint_format.prompt:
        return
    ids = prompt_ids(tokenizer, checkpoint_format, (), "1")
    if tokenizer.get_vocab()[token] not in ids:
        pieces = " ".join(map(str, tokenizer.convert_ids_to_tokens(ids)))
        raise UserError(
            f"checkpoint {source}: its tokenizer has {token}, but takes it apart in a prompt ({pieces[-120:]}); it has "
            "to be an added token of tokenizer.json, and split_special_tokens must not be set"
        )


def special_ids(
    source: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat
) -> tuple[int, int]:
    """Return the ids of end and latent token, checked against tokenizer and configuration.

    Raises:
        UserError: If the two contradict each other, lack a token, or are of another vocabulary than the embeddings.
    """
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in checkpoint_format.special_tokens if token not in vocabulary]
    if missing:
        raise UserError(
            f"checkpoint {source}: its tokenizer lacks the latent tokens {', '.join(missing)}; "
            "it is not the tokenizer this reasoner was trained with"
        )
    ids = []
    for key, token in (
        ("latent_start_id", checkpoint_format.start_token),
        ("latent_end_id", checkpoint_format.end_token),
        ("latent_id", checkpoint_format.latent_token),
    ):
        said = getattr(config, key, None)
        if token is None:
            ids.append(NO_ID if said is None else int(said))
            continue
        found = int(vocabulary[token])
        if said is not None and said != found:
            raise UserError(
                f"checkpoint {source}: config.json says {key} {said}, but its tokenizer has {token} at {found}"
            )
        ids.append(found)
    if written := end_text_ids(source, tokenizer, checkpoint_format):
        ids[1] = written[0 if checkpoint_format.stop_at == "first" else -1]
    if ids[1] == NO_ID:
        raise UserError(f"checkpoint {source}: neither its format nor latent_end_id in config.json names an end token")
    if max(ids) >= config.vocab_size:
        raise UserError(
            f"checkpoint {source}: latent token id {max(ids)} is outside its {config.vocab_size} embeddings"
        )
    if max(vocabulary.values()) >= config.vocab_size:
        raise UserError(
            f"checkpoint {source}: its tokenizer has ids up to {max(vocabulary.values())}, but config.json says "
            f"vocab_size {config.vocab_size}; tokenizer and weights belong to different models"
        )
    return ids[1], ids[2]


def end_text_ids(source: str, tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat) -> tuple[int, ...]:
    """Return the ids of the text behind the last latent; none where one token has that role.

    Raises:
        UserError: If the tokenizer makes nothing of the text.
    """
    if checkpoint_format.end_text is None:
        return ()
    ids: list[int] = tokenizer(checkpoint_format.end_text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UserError(
            f"checkpoint {source}: its tokenizer makes no tokens of end_text {checkpoint_format.end_text!r}"
        )
    return tuple(ids)


def fed_text_ids(source: str, tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat) -> tuple[int, ...]:
    """Return the ids that are fed behind the last latent; none where it is the one with which thinking ends.

    Raises:
        UserError: If the tokenizer makes nothing of the text.
    """
    if checkpoint_format.fed_text is None:
        return end_text_ids(source, tokenizer, checkpoint_format) if checkpoint_format.end_fed == "all" else ()
    ids: list[int] = tokenizer(checkpoint_format.fed_text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UserError(
            f"checkpoint {source}: its tokenizer makes no tokens of fed_text {checkpoint_format.fed_text!r}"
        )
    return tuple(ids)


def named_ids(
    source: str, tokenizer: PreTrainedTokenizerBase, setting: str, tokens: tuple[str, ...]
) -> tuple[int, ...]:
    """Return the ids of tokens that a setting names.

    Raises:
        UserError: If the tokenizer lacks one.
    """
    vocabulary = tokenizer.get_vocab()
    if missing := [token for token in tokens if token not in vocabulary]:
        raise UserError(f"checkpoint {source}: {LATENT_FILE}: {setting}: its tokenizer has no token {missing[0]!r}")
    return tuple(vocabulary[token] for token in tokens)


def answer_ends(
    source: str, directory: Path, raw: Mapping[str, Any], end_of_text: int, vocabulary: int
) -> tuple[int, ...]:
    """Return the ids that end an answer: of released formats one, as published; else what the files say too."""
    if not (directory / LATENT_FILE).is_file():
        return (end_of_text,)
    others = {one for one in stated_ends(source, directory, raw) if one < vocabulary} - {end_of_text}
    return (end_of_text, *sorted(others))
