"""Ids are those of the checkpoint's own tokenizer.json, whatever class transformers has for its model type."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoints import save_checkpoint_of
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import ByT5Tokenizer

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.tokenization import load_tokenizer, open_tokenizer, opening_ids, stated_ends
from latent_core.reward.checkpoint import ARCHITECTURE_SUFFIX, RewardCheckpoint
from latent_core.training.tokenizer import LATENT

QUESTION = "Ann has 345 pens and 1234 cards. She's 7!"
LATENT_TOKENS = ["<|start-latent|>", "<|end-latent|>", LATENT]
THREE_DIGITS = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ]
)
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWENS_OWN = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(QWEN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)
GPT2S_OWN = pre_tokenizers.ByteLevel(add_prefix_space=False)


def save_tokenizer(
    directory: Path, rules: Any, template: str = "", normalizer: Any = None, tokenizer_class: str = "PreTrained"
) -> Tokenizer:
    """Write tokenizer.json with the given splitting rules, and the name of a class beside it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = rules
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<s>", "</s>", *LATENT_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([QUESTION] * 20, trainer)
    if template:
        marks = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>") if token in template]
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=marks)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": tokenizer_class, "eos_token": "<|endoftext|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer


def checkpoint_with(directory: Path, model_type: str, described: dict[str, Any] | None, **config: Any) -> Path:
    ids = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)
    return save_checkpoint_of(directory, model_type, described, vocab_size=512, **{**ids, **config})


@pytest.mark.parametrize("tokenizer_class", ["LlamaTokenizerFast", "PreTrainedTokenizerFast", "Qwen2Tokenizer"])
@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "gpt2", "llama"])
def test_rules_of_the_file_are_not_replaced(tmp_path: Path, model_type: str, tokenizer_class: str) -> None:
    """As in reasoners that were distilled into the layout of another model."""
    directory = checkpoint_with(tmp_path / "one", model_type, {})
    written = save_tokenizer(directory, THREE_DIGITS, tokenizer_class=tokenizer_class)
    checkpoint = Checkpoint.open(str(directory))
    wanted = written.encode(QUESTION + "<|start-latent|>").ids
    assert checkpoint.prompt_ids(QUESTION) == wanted
    # Three digits are one token, as they stand in the file.
    assert wanted.count(written.token_to_id("345")) == 1
    assert checkpoint.tokenizer.decode(wanted, skip_special_tokens=True) == QUESTION


def test_former_ids_and_these_have_two_fingerprints(tmp_path: Path) -> None:
    """Where the library's rules were used, the same files have been sampled from other ids."""
    replaced = checkpoint_with(tmp_path / "replaced", "qwen2", {})
    save_tokenizer(replaced, THREE_DIGITS, tokenizer_class="LlamaTokenizerFast")
    assert Checkpoint.open(str(replaced)).beyond == {"tokenizer": "tokenizer.json"}
    opened = open_tokenizer("it", replaced)
    assert opened.replaced == "Qwen2Tokenizer"


@pytest.mark.parametrize(
    ("model_type", "rules", "normalizer", "tokenizer_class"),
    [
        ("gpt2", GPT2S_OWN, None, "GPT2Tokenizer"),
        ("qwen2", QWENS_OWN, normalizers.NFC(), "Qwen2Tokenizer"),
        ("llama", THREE_DIGITS, None, "PreTrainedTokenizerFast"),
    ],
)
def test_where_the_library_has_the_same_rules_nothing_changes(
    tmp_path: Path, model_type: str, rules: Any, normalizer: Any, tokenizer_class: str
) -> None:
    directory = checkpoint_with(tmp_path / "one", model_type, {})
    written = save_tokenizer(directory, rules, normalizer=normalizer, tokenizer_class=tokenizer_class)
    checkpoint = Checkpoint.open(str(directory))
    assert checkpoint.beyond == {}
    assert checkpoint.prompt_ids(QUESTION) == written.encode(QUESTION + "<|start-latent|>").ids


def test_the_end_of_text_that_only_the_class_knows(tmp_path: Path) -> None:
    directory = checkpoint_with(tmp_path / "one", "qwen2", {})
    save_tokenizer(directory, THREE_DIGITS)
    (directory / "tokenizer_config.json").write_text("{}")
    assert load_tokenizer("it", directory).eos_token == "<|endoftext|>"
    assert open_tokenizer("it", directory).replaced == "Qwen2Tokenizer"


@pytest.mark.parametrize(
    ("architecture", "model_type", "opens"),
    [
        ("COCONUTLlama", "llama", True),
        ("CODILlama", "llama", True),
        ("COCONUTGPT2", "gpt2", True),
        ("ColarLlama", "llama", False),
    ],
)
def test_released_formats_call_the_tokenizer_as_published(
    tmp_path: Path, architecture: str, model_type: str, opens: bool
) -> None:
    """COCONUT and CODI with its defaults, which open Llama's texts; CoLaR without anything added."""
    extra = {} if opens else {"latent_end_id": 4}
    directory = checkpoint_with(tmp_path / "one", model_type, None, architectures=[architecture], **extra)
    written = save_tokenizer(directory, GPT2S_OWN, "<s> $A", tokenizer_class="PreTrainedTokenizerFast")
    checkpoint = Checkpoint.open(str(directory))
    prompt = checkpoint.format.fill_prompt(QUESTION)
    assert checkpoint.prompt_ids(QUESTION) == written.encode(prompt, add_special_tokens=opens).ids
    assert (checkpoint.prompt_ids(QUESTION)[0] == written.token_to_id("<s>")) is opens
    assert bool(checkpoint.beyond) is opens


@pytest.mark.parametrize("opens", [False, True])
def test_a_latent_rm_reads_the_prompt_of_its_reasoner(tmp_path: Path, opens: bool) -> None:
    name = "COCONUTLlama"
    reasoner = checkpoint_with(tmp_path / "one", "llama", None, architectures=[name])
    reward = checkpoint_with(tmp_path / "rm", "llama", None, architectures=[name + ARCHITECTURE_SUFFIX])
    for directory in (reasoner, reward):
        save_tokenizer(directory, GPT2S_OWN, "<s> $A" if opens else "", tokenizer_class="PreTrainedTokenizerFast")
    read, asked = RewardCheckpoint.open(str(reward)), Checkpoint.open(str(reasoner))
    assert read.prompt_ids(QUESTION) == asked.prompt_ids(QUESTION)
    assert len(read.opening) == opens
    assert bool(read.beyond) is opens


MANY = [QUESTION, "", "a", "\u6f22\u5b57 na\u00efve \U0001f600", "<|end-latent|> 7", "  x =\n\n007 ", QUESTION * 40]


@pytest.mark.parametrize("opening", [False, True])
def test_many_prompts_are_read_as_each_of_them(tmp_path: Path, opening: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = checkpoint_with(tmp_path / "one", "llama", {"opening_token": True} if opening else {})
    save_tokenizer(directory, THREE_DIGITS, "<s> $A", tokenizer_class="PreTrainedTokenizerFast")
    checkpoint = Checkpoint.open(str(directory))
    assert len(checkpoint.opening) == opening
    one_by_one = [checkpoint.prompt_ids(question) for question in MANY]
    assert checkpoint.prompt_ids_of(MANY) == one_by_one
    monkeypatch.setattr("latent_core.models.checkpoint._READ_AT_ONCE", 3)
    assert checkpoint.prompt_ids_of(MANY) == one_by_one
    assert checkpoint.prompt_ids_of([]) == []


def test_many_prompts_of_a_tokenizer_in_python_are_read_too(tiny_checkpoint: Path) -> None:
    checkpoint = replace(Checkpoint.open(str(tiny_checkpoint)), tokenizer=ByT5Tokenizer())
    assert checkpoint.prompt_ids_of(MANY) == [checkpoint.prompt_ids(question) for question in MANY]


def test_of_many_prompts_the_one_is_named_that_cannot_be_read(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.open(str(tiny_checkpoint))
    library: Any = checkpoint.tokenizer
    library._tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="none"))
    with pytest.raises(UserError, match=r"^checkpoint .*: its tokenizer cannot read 'what\?': "):
        checkpoint.prompt_ids_of(["what?", "when?"])


def test_a_described_checkpoint_opens_its_prompts_only_where_it_says_so(tmp_path: Path) -> None:
    found = []
    for opening in (False, True):
        described = {"opening_token": opening} if opening else {}
        directory = checkpoint_with(tmp_path / str(opening), "llama", described)
        save_tokenizer(directory, GPT2S_OWN, "<s> $A", tokenizer_class="PreTrainedTokenizerFast")
        found.append(Checkpoint.open(str(directory)).prompt_ids(QUESTION))
    assert [found[0][0], *found[0]] != found[1]
    assert found[1] == [1, *found[0]]


def test_a_tokenizer_that_closes_texts_is_refused_where_its_defaults_count(tmp_path: Path) -> None:
    directory = checkpoint_with(tmp_path / "one", "llama", None, architectures=["CODILlama"])
    save_tokenizer(directory, GPT2S_OWN, "<s> $A </s>", tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(UserError, match="its tokenizer closes every text with </s>, which would stand between"):
        Checkpoint.open(str(directory))


def test_nothing_opens_what_has_no_template(tmp_path: Path) -> None:
    directory = checkpoint_with(tmp_path / "one", "gpt2", {})
    save_tokenizer(directory, GPT2S_OWN)
    assert opening_ids("it", load_tokenizer("it", directory)) == ()


def test_a_start_token_that_is_taken_apart(tmp_path: Path) -> None:
    directory = checkpoint_with(tmp_path / "one", "gpt2", {})
    save_tokenizer(directory, GPT2S_OWN)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (directory / "tokenizer_config.json").write_text(json.dumps({**settings, "split_special_tokens": True}))
    with pytest.raises(UserError, match=r"its tokenizer has <\|start-latent\|>, but takes it apart in a prompt"):
        Checkpoint.open(str(directory))


@pytest.mark.parametrize(
    ("generation", "config", "ends"),
    [
        ({"eos_token_id": [5, 0]}, {}, (5, 0)),
        ({"eos_token_id": 5}, {"eos_token_id": [7, 8]}, (5,)),
        ({"temperature": 0.6}, {"eos_token_id": [7, 8]}, (7, 8)),
        (None, {"eos_token_id": [7, 8]}, (7, 8)),
        # Alone in config.json it is often nobody's choice.
        (None, {"eos_token_id": 2}, ()),
        (None, {}, ()),
        ({"eos_token_id": None}, {}, ()),
    ],
)
def test_ends_as_they_are_stated(
    tmp_path: Path, generation: dict[str, Any] | None, config: dict[str, Any], ends: tuple[int, ...]
) -> None:
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert stated_ends("it", tmp_path, config) == ends


@pytest.mark.parametrize("value", ["5", [5, "6"], [True], -1, 1.5, {"a": 1}])
def test_ends_that_are_no_ids(tmp_path: Path, value: Any) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    with pytest.raises(UserError, match=r"checkpoint it: eos_token_id in generation_config.json has to be ids"):
        stated_ends("it", tmp_path, {})
