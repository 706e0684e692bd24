"""The tokenizer of a checkpoint: loaded so that it gives the ids of its own `tokenizer.json`."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from latent_core.errors import UserError
from latent_core.models.files import GENERATION_FILE, TOKENIZER_FILE, load_part, read_json
from latent_core.models.formats.base import Chat

_PROBE = "Ann's 12 pens cost $1,234.50 (3/4 of £2e3):\n\n  x = 007; naïve 日本語!? \tShe'LL <b>re-do</b> it…  "
"""What tokenizers split differently: digits, contractions, spaces, line ends, letters of other scripts."""
_MODEL_SETTINGS = (
    "unk_token",
    "byte_fallback",
    "fuse_unk",
    "ignore_merges",
    "continuing_subword_prefix",
    "end_of_word_suffix",
)


_DATE = "26 Jul 2024"
"""What templates that write the date fall back to: with today's, prompts would change from day to day."""


class OpenedTokenizer(NamedTuple):
    """A tokenizer, and whose rules it follows.

    Attributes:
        tokenizer: The tokenizer.
        replaced: Class of transformers that would have put rules of its own in place of those of `tokenizer.json`;
            None where it has the same.
    """

    tokenizer: PreTrainedTokenizerBase
    replaced: str | None = None


def load_tokenizer(source: str, directory: Path) -> PreTrainedTokenizerBase:
    """Load a tokenizer; see `open_tokenizer`."""
    return open_tokenizer(source, directory).tokenizer


def open_tokenizer(source: str, directory: Path) -> OpenedTokenizer:
    """Load a tokenizer that splits texts as its `tokenizer.json` says, if there is one.

    transformers picks a class by `model_type` or `tokenizer_class`. Many of its classes take only the vocabulary from
    `tokenizer.json` and write their own normalisation and splitting rules in place of those that stand there: of
    models distilled into another model's layout, every number and many words would get other ids than in training.

    Raises:
        UserError: If it cannot be loaded. Code from the checkpoint is never run.
    """
    # Without the last argument, a package that is installed on one node and not on another would decide.
    load = partial(AutoTokenizer.from_pretrained, trust_remote_code=False, mistral_format=False)
    tokenizer: PreTrainedTokenizerBase = load_part(source, "tokenizer", load, directory)
    path = directory / TOKENIZER_FILE
    if not path.is_file() or type(tokenizer) is PreTrainedTokenizerFast:
        return OpenedTokenizer(tokenizer)
    written: Tokenizer = load_part(source, TOKENIZER_FILE, lambda file: Tokenizer.from_file(str(file)), path)
    written.no_truncation()
    written.no_padding()
    if tokenizer.is_fast and _same_rules(tokenizer, written):
        return OpenedTokenizer(tokenizer)
    plain: PreTrainedTokenizerBase = load_part(source, "tokenizer", PreTrainedTokenizerFast.from_pretrained, directory)
    vocabulary = plain.get_vocab()
    for role in ("bos_token", "eos_token", "pad_token"):
        # What the class knows without being told.
        if getattr(plain, role) is None and getattr(tokenizer, role) in vocabulary:
            setattr(plain, role, getattr(tokenizer, role))
    return OpenedTokenizer(plain, type(tokenizer).__name__)


def _same_rules(tokenizer: Any, written: Tokenizer) -> bool:
    backend: Tokenizer = tokenizer.backend_tokenizer
    if _rules(backend) != _rules(written):
        return False
    ids: list[int] = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    return ids == written.encode(_PROBE, add_special_tokens=False).ids


def _rules(tokenizer: Tokenizer) -> list[Any]:
    """Return everything beside the vocabulary that decides ids and texts."""
    model: Any = tokenizer.model
    # Nothing and the empty text mean the same to models.
    settings = [type(model), *(getattr(model, name, None) or None for name in _MODEL_SETTINGS)]
    parts: tuple[Any, ...] = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder)
    described = [None if part is None else _essential(json.loads(part.__getstate__())) for part in parts]
    # Bytes are put together in one way only, whatever the settings of the decoder say.
    if described[2] is not None and described[2].get("type") == "ByteLevel":
        described[2] = {"type": "ByteLevel"}
    return [*settings, *described]


def _essential(described: Any) -> Any:
    """Return the description of a part of a tokenizer without what only concerns places in the text."""
    if isinstance(described, list):
        return [_essential(one) for one in described]
    if not isinstance(described, dict):
        return described
    return {key: _essential(value) for key, value in described.items() if key != "trim_offsets"}


def opening_ids(source: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the ids that a tokenizer called with its defaults puts before every text, such as begin-of-text.

    Raises:
        UserError: If it puts something behind texts too, which would stand between the prompt and the first latent.
    """
    special, bare, written = set(tokenizer.all_special_ids), list[int](), list[int]()
    # The first text that comes to something: small vocabularies may have no letters.
    for text in ("a", *tokenizer.get_vocab()):
        bare = tokenizer(text, add_special_tokens=False)["input_ids"]
        written = tokenizer(text, add_special_tokens=True)["input_ids"]
        if bare and special.isdisjoint(bare):
            break
    first = next((at for at in range(len(written)) if written[at : at + len(bare)] == bare), 0)
    if closing := written[first + len(bare) :]:
        names = ", ".join(map(str, tokenizer.convert_ids_to_tokens(closing)))
        raise UserError(
            f"checkpoint {source}: its tokenizer closes every text with {names}, which would stand between the prompt "
            "and the first latent; take it out of the post_processor of tokenizer.json"
        )
    return tuple(written[:first])


def chat_text(tokenizer: PreTrainedTokenizerBase, question: str, chat: Chat) -> str:
    """Return a prompt as a chat's text, up to where the model's turn begins and behind what opens its thinking."""
    turns = [{"role": "user", "content": question}]
    if chat.system is not None:
        turns.insert(0, {"role": "system", "content": chat.system})
    variables: dict[str, Any] = {"date_string": _DATE, **chat.variables}
    text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **variables))
    return text if text.endswith(chat.tail) else text + chat.tail


def stated_ends(source: str, directory: Path, raw: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the ids with which a model's answers end as `generation_config.json` says it, else `config.json`.

    Where there is only one in `config.json`, it counts for nothing: it is often a default that nobody has set.

    Raises:
        UserError: If they are no ids.
    """
    path, file = directory / GENERATION_FILE, GENERATION_FILE
    said = read_json(source, path).get("eos_token_id") if path.is_file() else None
    if said is None:
        file, said = "config.json", raw.get("eos_token_id")
        said = said if isinstance(said, list) else []
    ids = said if isinstance(said, list) else [said]
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in ids):
        raise UserError(f"checkpoint {source}: eos_token_id in {file} has to be ids of tokens, and is {said!r}")
    return tuple(ids)
