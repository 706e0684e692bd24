"""What a tokenizer drops without a word."""

# ruff: noqa: RUF001 - letters that look like others are the matter here

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from latent_core.models.checkpoint import Checkpoint
from latent_core.models.lost_text import lost_characters, written_length
from latent_core.training.tokenizer import build_tokenizer


def byte_level() -> PreTrainedTokenizerFast:
    """A tokenizer of bytes, which gives back whatever it is given."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def of_letters(normalizer: Any = None) -> PreTrainedTokenizerFast:
    """A tokenizer of ASCII letters without an unknown token: whatever else a text has vanishes."""
    letters = [chr(code) for code in range(32, 127)]
    backend = Tokenizer(BPE({letter: index for index, letter in enumerate(letters)}, []))
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def of_words() -> PreTrainedTokenizerFast:
    return build_tokenizer(["ann", "has", "pens", "3", "?"], 64)


def lost(tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return "".join(lost_characters(tokenizer, [text], [ids])[0])


@pytest.mark.parametrize("text", ["Ann has 3 pens?", "naïve  café\n漢字 🙂 \u200b", "", "x" * 3000])
def test_bytes_lose_nothing(text: str) -> None:
    assert lost(byte_level(), text) == ""


@pytest.mark.parametrize(
    ("text", "gone"),
    [("Ann has 3 pens ?", ""), ("ANN  has\n3 pens?", ""), ("Ann has 4 pens?", "4"), ("Ben has <|unk|>?", "ben")],
)
def test_words_that_become_an_unknown_token_are_lost(text: str, gone: str) -> None:
    if "<|unk|>" in text:
        # Spelled out in the text, it stands for itself, and the word beside it cannot be told apart from it.
        assert lost(of_words(), "Ben has pens?") == gone
    else:
        assert lost(of_words(), text) == gone


@pytest.mark.parametrize(("text", "gone"), [("plain text", ""), ("3 × 4 = 漢?", "×漢"), ("漢" * 5, "漢" * 5)])
def test_letters_that_vanish_are_lost(text: str, gone: str) -> None:
    assert lost(of_letters(), text) == "".join(sorted(gone))


def test_what_a_tokenizer_normalises_is_not_lost() -> None:
    uncased = of_letters(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]))
    assert lost(uncased, "Ça va, Émile ?") == ""
    compatible = of_letters(normalizers.NFKC())
    assert lost(compatible, "５ ﬁsh, x²") == ""


def test_a_word_of_any_length_becomes_one_unknown_token() -> None:
    text = "a" * 100_000
    assert len(of_words()(text)["input_ids"]) == 1
    assert len(lost(of_words(), text)) == 100_000 == written_length(text)


@pytest.mark.parametrize("bundled", ["coconut-tiny", "coconut-paths"])
def test_bundled_tokenizers_know_their_questions(bundled: str) -> None:
    from latent_core.tasks.loading import load_task

    checkpoint = Checkpoint.open(f"bundled:{bundled}")
    task = load_task(name="word_problems" if bundled == "coconut-tiny" else "path_finding", count=50)
    texts = [checkpoint.format.fill_prompt(problem.question) for problem in task.problems]
    ids = [checkpoint.prompt_ids(problem.question) for problem in task.problems]
    assert not any(lost_characters(checkpoint.tokenizer, texts, ids))
