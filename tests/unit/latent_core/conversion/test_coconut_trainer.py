"""What COCONUT's trainer saves thinks the same after conversion."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from trainers import BASE_TOKENS, CoconutModule, base_tokenizer, save_base, with_tokens

from latent_core.conversion import Options, convert
from latent_core.models.checkpoint import Checkpoint

START, END, LATENT = BASE_TOKENS, BASE_TOKENS + 1, BASE_TOKENS + 2
Change = Callable[[dict[str, Any]], None]


def saved(base: Path, file: Path, change: Change | None = None) -> CoconutModule:
    module = CoconutModule(with_tokens(base, 3))
    state = module.state_dict()
    if change is not None:
        change(state)
    torch.save(state, file)
    return module


@pytest.mark.parametrize("backbone", ["gpt2", "llama"])
def test_it_thinks_as_it_did(
    backbone: str, gpt2_base: Path, llama_base: Path, tmp_path: Path, agree: Callable[..., None]
) -> None:
    base = {"gpt2": gpt2_base, "llama": llama_base}[backbone]
    module = saved(base, tmp_path / "checkpoint_33")
    out = tmp_path / "out"
    convert(str(tmp_path / "checkpoint_33"), out, Options(base=str(base), allow_pickle=True))
    # The trainer lets the tokenizer open the prompt.
    prompt = [*base_tokenizer(opens=backbone == "llama")("ann has 3 pens ?\n")["input_ids"], START]
    agree(out, prompt, END, module.base_causallm, module.embedding, nn.Identity())
    written = load_file(out / "model.safetensors")
    original = module.base_causallm.state_dict()
    assert all(torch.equal(written[name], original[name]) for name in written)


def test_gpt2_becomes_the_released_layout(gpt2_base: Path, tmp_path: Path) -> None:
    saved(gpt2_base, tmp_path / "checkpoint_33")
    out = tmp_path / "out"
    convert(str(tmp_path / "checkpoint_33"), out, Options(base=str(gpt2_base), allow_pickle=True))
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["COCONUTGPT2"]
    assert [config[key] for key in ("latent_start_id", "latent_end_id", "latent_id")] == [START, END, LATENT]
    assert (config["vocab_size"], config["dtype"]) == (BASE_TOKENS + 3, "float32")
    assert not (out / "latent.json").exists()
    assert "lm_head.weight" not in load_file(out / "model.safetensors")
    checkpoint = Checkpoint.open(str(out))
    assert (checkpoint.format.name, checkpoint.end_id, checkpoint.latent_id) == ("coconut", END, LATENT)


def test_other_backbones_say_what_they_are_in_latent_json(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "qwen2")
    saved(base, tmp_path / "checkpoint_1")
    convert(str(tmp_path / "checkpoint_1"), tmp_path / "out", Options(base=str(base), allow_pickle=True))
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    assert checkpoint.architecture == "Qwen2ForCausalLM"
    assert (checkpoint.format.name, checkpoint.format.extractor) == ("coconut", "after_last_hash")


def test_settings_that_differ_are_written_down(gpt2_base: Path, tmp_path: Path) -> None:
    saved(gpt2_base, tmp_path / "checkpoint_33")
    options = Options(base=str(gpt2_base), allow_pickle=True, changes={"latent_steps": 3, "answer_tokens": 8})
    convert(str(tmp_path / "checkpoint_33"), tmp_path / "out", options)
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    assert (checkpoint.latent_steps, checkpoint.format.answer_tokens) == (3, 8)
    assert checkpoint.architecture == "COCONUTGPT2"


def test_names_of_wrappers_are_taken_off(gpt2_base: Path, tmp_path: Path) -> None:
    def wrap(state: dict[str, Any]) -> None:
        for name in [*state]:
            state[f"module._orig_mod.{name}"] = state.pop(name)

    saved(gpt2_base, tmp_path / "checkpoint_33", wrap)
    convert(str(tmp_path / "checkpoint_33"), tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))


def drop(name: str) -> Change:
    return lambda state: state.pop(name)


def add(name: str, value: Any) -> Change:
    return lambda state: state.update({name: value})


def double(name: str) -> Change:
    return lambda state: state.update({name: state[name] * 2})


WRONG: dict[str, tuple[Change, str]] = {
    "missing": (
        drop("base_causallm.transformer.h.1.mlp.c_fc.weight"),
        "its weights lack transformer.h.1.mlp.c_fc.weight, which config.json of ",
    ),
    "no embeddings": (drop("base_causallm.transformer.wte.weight"), "lack the embeddings transformer.wte.weight"),
    "left over": (add("base_causallm.gate.weight", torch.ones(2)), "nothing in a gpt2 model is called gate.weight"),
    "left over elsewhere": (add("head.bias", torch.ones(2)), "nothing in a gpt2 model is called head.bias"),
    "shape": (
        add("base_causallm.transformer.ln_f.bias", torch.ones(31)),
        "its weights have transformer.ln_f.bias with shape [31], but config.json of ",
    ),
    "alias": (double("embedding.weight"), "embedding.weight and base_causallm.transformer.wte.weight differ"),
    "untied": (double("base_causallm.lm_head.weight"), "lm_head.weight and transformer.wte.weight differ, but config"),
    "optimizer": (add("optimizer", {"lr": 1}), "checkpoint_33 holds a dict under 'optimizer', where a state_dict has"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_not_whole(
    gpt2_base: Path, tmp_path: Path, refusal: Callable[..., str], change: Change, message: str
) -> None:
    saved(gpt2_base, tmp_path / "checkpoint_33", change)
    assert message in refusal(tmp_path / "checkpoint_33", base=str(gpt2_base), allow_pickle=True)


def test_another_base(tmp_path: Path, gpt2_base: Path, refusal: Callable[..., str]) -> None:
    saved(gpt2_base, tmp_path / "file")
    other = save_base(tmp_path / "other", "gpt2", vocab_size=BASE_TOKENS)
    tokenizer = base_tokenizer()
    tokenizer.add_tokens(["more"])
    tokenizer.save_pretrained(other)
    said = refusal(tmp_path / "file", base=str(other), allow_pickle=True)
    assert f"have {BASE_TOKENS + 3} rows, but the tokenizer of {other} has {BASE_TOKENS + 4} tokens" in said


def test_options_that_cannot_be_meant(tmp_path: Path, gpt2_base: Path, refusal: Callable[..., str]) -> None:
    saved(gpt2_base, tmp_path / "file")
    given = {"allow_pickle": True, "base": str(gpt2_base)}
    assert "say with --base which model" in refusal(tmp_path / "file", allow_pickle=True)
    assert "--family codi cannot be meant" in refusal(tmp_path / "file", **given, family="codi")
    assert refusal(tmp_path / "file", **given, changes={"extractor": "last_numbr"}).startswith("--extractor: unknown")
    assert refusal(tmp_path / "file", **given, changes={"prompt": "?"}).startswith("--prompt: the template has to")
    assert refusal(tmp_path / "file", **given, changes={"latent_steps": 0}).startswith("--latent-steps: ")
    said = refusal(tmp_path / "file", **given, changes={"start_token": "<|think|>"})
    assert said.startswith("the tokenizer has no <|think|>: these weights were trained with latent tokens of their own")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: name.replace("base_causallm.", "base_causallm._orig_mod."),
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: name.replace("base_causallm.", "base_causallm.module."),
        lambda name: name.replace("h.0.", "h.0._fsdp_wrapped_module.").replace(
            "h.1.", "h.1._checkpoint_wrapped_module."
        ),
    ],
    ids=["compiled model", "DDP", "compiled DDP", "DDP of the model alone", "FSDP"],
)
def test_padded_embeddings_and_wrappers(
    wrap: Callable[[str], str], gpt2_base: Path, tmp_path: Path, agree: Callable[..., None]
) -> None:
    """As `resize_token_embeddings(pad_to_multiple_of=64)` and the wrappers of torch leave a file."""
    module = CoconutModule(with_tokens(gpt2_base, 64 - BASE_TOKENS))
    torch.save({wrap(name): tensor for name, tensor in module.state_dict().items()}, tmp_path / "file")
    notes = convert(str(tmp_path / "file"), tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))
    assert f"{64 - START - 3} of 64 rows of the embeddings are padding, behind those of {START + 3} tokens" in notes
    assert any(note.startswith("took wrappers of training off the names of") for note in notes)
    assert Checkpoint.open(str(tmp_path / "out")).config.vocab_size == 64
    prompt = [*base_tokenizer()("ann has 3 pens ?\n")["input_ids"], START]
    agree(tmp_path / "out", prompt, END, module.base_causallm, module.embedding, nn.Identity())
