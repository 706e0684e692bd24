"""Causal language models become reasoners with conventions; latent reasoners only change their clothes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import latent_head_tensors, projector_tensors, save_checkpoint_of
from safetensors.torch import load_file, save_file
from trainers import BASE_TOKENS, save_base
from transformers import AutoModelForCausalLM

from latent_core.conversion import Options, convert
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.formats import FAMILIES, LatentFormat


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


@pytest.mark.parametrize("backbone", ["gpt2", "llama"])
def test_tokens_that_are_missing_get_the_mean(backbone: str, gpt2_base: Path, llama_base: Path, tmp_path: Path) -> None:
    base = {"gpt2": gpt2_base, "llama": llama_base}[backbone]
    notes = convert(str(base), tmp_path / "out", Options())
    assert "nothing has taught this model to think in latents" in notes[1]
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    ids = [BASE_TOKENS, BASE_TOKENS + 1, BASE_TOKENS + 2]
    tokens = ["<|start-latent|>", "<|end-latent|>", "<|latent|>"]
    assert checkpoint.tokenizer.convert_ids_to_tokens(ids) == tokens
    assert checkpoint.tokenizer.decode(ids, skip_special_tokens=True) == ""
    assert checkpoint.config.vocab_size == BASE_TOKENS + 3
    opening = "<|begin|>" if backbone == "llama" else ""
    assert checkpoint.format == LatentFormat(prompt=opening + "{question}<|start-latent|>")
    old, new = tensors_of(base), tensors_of(tmp_path / "out")
    for name, tensor in new.items():
        if tensor.shape[0] == BASE_TOKENS + 3:
            assert torch.equal(tensor[:BASE_TOKENS], old[name])
            torch.testing.assert_close(tensor[BASE_TOKENS:], old[name].mean(dim=0).expand(3, -1))
        else:
            assert torch.equal(tensor, old[name])
    # Tied in GPT-2, apart in this Llama.
    assert ("lm_head.weight" in new) == (backbone == "llama")


def test_rows_that_no_token_has_are_used_first(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama", vocab_size=BASE_TOKENS + 5)
    convert(str(base), tmp_path / "out", Options())
    old, new = tensors_of(base)["lm_head.weight"], tensors_of(tmp_path / "out")["lm_head.weight"]
    assert old.shape == new.shape
    torch.testing.assert_close(new[BASE_TOKENS], old[:BASE_TOKENS].mean(dim=0))
    assert torch.equal(new[BASE_TOKENS + 3 :], old[BASE_TOKENS + 3 :])


def test_nothing_is_resized_where_the_tokens_are_known(tmp_path: Path) -> None:
    base = save_checkpoint_of(tmp_path / "base", "llama")
    assert len(convert(str(base), tmp_path / "out", Options(family="coconut"))) == 1
    old, new = tensors_of(base), tensors_of(tmp_path / "out")
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert Checkpoint.open(str(tmp_path / "out")).format.extractor == "after_last_hash"


@pytest.mark.parametrize(("model_type", "family"), [("llama", "latent_sft"), ("qwen2", "soft_thinking")])
def test_a_model_that_thinks_in_mixtures_needs_no_more_than_a_name(
    model_type: str, family: str, tmp_path: Path
) -> None:
    template = "{% for turn in messages %}{{ turn.content }}{% endfor %}"
    source = save_checkpoint_of(tmp_path / "chat", model_type, words=("<", "</", "think", ">"), chat_template=template)
    convert(str(source), tmp_path / "out", Options(family=family))
    found = Checkpoint.open(str(tmp_path / "out"))
    assert found.format == FAMILIES[family](json.loads((source / "config.json").read_text()))
    old, new = tensors_of(source), tensors_of(tmp_path / "out")
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    # As with the one line that says so beside the source.
    (source / "latent.json").write_text(json.dumps({"family": family}))
    assert found.prompt_ids("ann has 3 pens ?") == Checkpoint.open(str(source)).prompt_ids("ann has 3 pens ?")


def test_every_setting_can_be_said(tmp_path: Path, llama_base: Path) -> None:
    changes = {
        "prompt": "Q: {question} {think}",
        "start_token": "<|think|>",
        "end_token": "###",
        "latent_token": None,
        "latent_length": "adaptive",
        "latent_steps": 9,
        "answer_tokens": 7,
        "extractor": "after_answer_marker",
    }
    convert(str(llama_base), tmp_path / "out", Options(changes=changes))
    found = json.loads((tmp_path / "out" / "latent.json").read_text())
    assert found == {"name": "generic", "feedback": "identity", **changes}


def test_a_prompt_follows_its_start_token(tmp_path: Path, gpt2_base: Path) -> None:
    convert(str(gpt2_base), tmp_path / "out", Options(family="coconut", changes={"start_token": "<|go|>"}))
    assert Checkpoint.open(str(tmp_path / "out")).format.prompt == "{question}\n<|go|>"


@pytest.mark.parametrize(
    ("family", "tensors", "feedback"),
    [
        ("codi", projector_tensors(), "projector"),
        ("codi", {}, "identity"),
        ("colar", latent_head_tensors(), "latent_head"),
    ],
    ids=["codi", "codi without projector", "colar"],
)
def test_conventions_of_a_family(family: str, tensors: dict[str, torch.Tensor], feedback: str, tmp_path: Path) -> None:
    base = save_checkpoint_of(tmp_path / "base", "llama", tensors=tensors)
    convert(str(base), tmp_path / "out", Options(family=family))
    checkpoint = Checkpoint.open(str(tmp_path / "out"))
    assert (checkpoint.format.name, checkpoint.format.feedback) == (family, feedback)
    assert tensors.keys() <= tensors_of(tmp_path / "out").keys()


def test_a_released_reasoner_stays_what_it_is(tiny_checkpoint: Path, tmp_path: Path) -> None:
    convert(str(tiny_checkpoint), tmp_path / "same", Options())
    assert not (tmp_path / "same" / "latent.json").exists()
    convert(str(tiny_checkpoint), tmp_path / "other", Options(changes={"answer_tokens": 5}))
    same, other = Checkpoint.open(str(tmp_path / "same")), Checkpoint.open(str(tmp_path / "other"))
    assert same.format == Checkpoint.open(str(tiny_checkpoint)).format
    assert (other.format.name, other.format.answer_tokens) == ("coconut", 5)
    assert (same.architecture, same.end_id) == (other.architecture, other.end_id)


def test_the_number_of_steps_is_said_in_one_place(tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    convert(str(tiny_checkpoint), tmp_path / "one", Options())
    (tmp_path / "one" / "config.json").write_text(json.dumps({**config, "latent_steps": 4}))
    convert(str(tmp_path / "one"), tmp_path / "two", Options())
    assert Checkpoint.open(str(tmp_path / "two")).latent_steps == 4
    convert(str(tmp_path / "one"), tmp_path / "three", Options(changes={"latent_steps": 2}))
    assert Checkpoint.open(str(tmp_path / "three")).latent_steps == 2


def test_a_file_with_its_base(tmp_path: Path, gpt2_base: Path) -> None:
    """As the hub has GPT-2: no prefix, and the masks that older libraries saved."""
    state = {name.removeprefix("transformer."): tensor for name, tensor in tensors_of(gpt2_base).items()}
    state["h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
    save_file(state, tmp_path / "weights.safetensors")
    convert(str(tmp_path / "weights.safetensors"), tmp_path / "out", Options(base=str(gpt2_base)))
    assert "h.0.attn.bias" not in tensors_of(tmp_path / "out")


def test_names_in_files_that_are_not_those_in_memory(tmp_path: Path) -> None:
    """GPT-NeoX stores its output head as `embed_out`; what is converted computes what the library's own model does."""
    base = save_checkpoint_of(tmp_path / "base", "gpt_neox")
    assert "embed_out.weight" in tensors_of(base)
    convert(str(base), tmp_path / "out", Options())
    ids = torch.arange(12)[None]
    original, converted = (AutoModelForCausalLM.from_pretrained(path) for path in (base, tmp_path / "out"))
    torch.testing.assert_close(converted(ids).logits, original(ids).logits)
    reasoner = LatentReasoner.from_pretrained(str(tmp_path / "out"))
    torch.testing.assert_close(reasoner.model.get_output_embeddings().weight, original.get_output_embeddings().weight)


def test_code_of_the_checkpoint_is_not_carried_on(tmp_path: Path) -> None:
    base = save_checkpoint_of(tmp_path / "base", "llama")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "code.Model"}}))
    convert(str(base), tmp_path / "out", Options())
    assert "auto_map" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_refusals(tmp_path: Path, refusal: Callable[..., str]) -> None:
    base = save_checkpoint_of(tmp_path / "base", "llama")
    said = refusal(base, family="colar")
    assert said.startswith("what it converts to cannot be run: its weights lack lt_head.fc.0.weight")
    assert "leave --base" in refusal(base, base="bundled:coconut-tiny")
    assert refusal(base, changes={"feedback": "projectr"}).startswith("--feedback: unknown feedback 'projectr'")
    assert refusal(base, changes={"end_token": None}).endswith("names an end token")
    window = save_checkpoint_of(tmp_path / "window", "mistral", sliding_window=8)
    assert "only full causal attention can share a prompt" in refusal(window)
    save_file({"weird.key": torch.ones(1)}, tmp_path / "odd.safetensors")
    said = refusal(tmp_path / "odd.safetensors")
    assert said == (
        "its tensors (weird.key) are named as in no known layout: SIM-CoT's trainer on COCONUT (base_causallm.*, "
        "expainable_llm.*); adaptive latent reasoning (_base_model.*, recurrent_filter.*); COCONUT's trainer "
        "(base_causallm.*); CODI's trainer (codi.*); CoLaR's trainer (latent_policy.*, llm.*); LaTER's trainer "
        "(latent_projector.*); a causal language model of transformers"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_written(
    gpt2_base: Path, tmp_path: Path, refusal: Callable[..., str], value: float
) -> None:
    spoilt = shutil.copytree(gpt2_base, tmp_path / "spoilt")
    tensors = tensors_of(spoilt)
    name = next(name for name in tensors if name.endswith("mlp.c_fc.weight"))
    tensors[name][0, 0] = value
    save_file(tensors, spoilt / "model.safetensors", metadata={"format": "pt"})
    assert f"its weights have values in {name} that are infinite or no numbers as float32" in refusal(spoilt)
