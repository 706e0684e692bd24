"""Layouts of which no golden output is known: `convert` and `inspect` say in one line why not, and what would help."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import WIDTH
from safetensors.torch import load_file, save_file
from torch import Tensor
from trainers import CoconutModule, save_base, with_tokens

from latent_core.conversion import Options, convert
from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.meta_model import check_model

GATE = {"stop_head.weight": torch.ones(1, WIDTH), "stop_head.bias": torch.zeros(1)}


def adapter_alone(directory: Path) -> None:
    """As SWITCH is published."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}))
    (directory / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file(
        {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 2)},
        directory / "adapter_model.safetensors",
    )


def own_code(directory: Path) -> None:
    """As Ouro and Huginn are: their loops are in code that comes with them."""
    directory.mkdir()
    config = {"model_type": "ouro", "architectures": ["OuroForCausalLM"], "auto_map": {"AutoModel": "modeling.Ouro"}}
    (directory / "config.json").write_text(json.dumps(config))
    save_file({"model.embed_tokens.weight": torch.ones(2, 2)}, directory / "model.safetensors")


def several_parts(directory: Path) -> None:
    """As RoT: a vision-language model."""
    directory.mkdir()
    config = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"]}
    (directory / "config.json").write_text(json.dumps(config))
    save_file({"model.embed_tokens.weight": torch.ones(2, 2)}, directory / "model.safetensors")


def patched(directory: Path) -> None:
    """As HRPO: a model with layers that transformers does not have."""
    add(save_base(directory, "qwen2"), {"model.residual_gate.weight": torch.ones(WIDTH, WIDTH)})


def gated_coconut(directory: Path) -> None:
    """As SLPO: a reasoner with a gate, whose tensors have names that are not known."""
    base = save_base(directory.parent / "base", "gpt2")
    directory.mkdir()
    state = {name: one.clone() for name, one in CoconutModule(with_tokens(base, 3)).state_dict().items()}
    save_file({**state, **GATE}, directory / "model.safetensors")


def add(directory: Path, tensors: dict[str, Tensor]) -> None:
    file = directory / "model.safetensors"
    save_file({**load_file(file), **tensors}, file, metadata={"format": "pt"})


LAYOUTS: dict[str, tuple[Callable[[Path], None], str, str | None]] = {
    "SWITCH": (adapter_alone, "it has only an adapter", "latentswarm convert` writes one"),
    "Ouro, Huginn": (own_code, "code that comes with a checkpoint is never run", "latentswarm convert` writes one"),
    "RoT": (several_parts, "config.json is not that of a language model", "latentswarm convert` writes one"),
    "HRPO": (
        patched,
        "nothing in a qwen2 model is called model.residual_gate.weight",
        "latentswarm convert` writes one",
    ),
    "SLPO": (gated_coconut, "a head that decides when to stop is called stop_gate here", None),
}


@pytest.mark.parametrize(("make", "message", "inspected"), LAYOUTS.values(), ids=LAYOUTS)
def test_refused_in_one_line(
    make: Callable[[Path], None], message: str, inspected: str | None, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    make(tmp_path / "source")
    base = str(tmp_path / "base") if (tmp_path / "base").exists() else None
    assert message in refusal(tmp_path / "source", base=base)
    with pytest.raises(UserError) as caught:
        check_model(Checkpoint.open(str(tmp_path / "source")))
    assert "\n" not in str(caught.value)
    assert (inspected or "config.json") in str(caught.value)


def test_a_gate_is_converted_where_it_is_described(tmp_path: Path) -> None:
    """What the line about SLPO says would help does."""
    source = tmp_path / "source"
    save_base(source, "gpt2")
    add(source, {"stop_gate.weight": GATE["stop_head.weight"], "stop_gate.bias": GATE["stop_head.bias"]})
    described = {"prompt": "{question}", "latent_length": "gated", "gate": {"threshold": 0.6, "reads": "latent"}}
    tokens = {"start_token": None, "end_token": "<|begin|>", "latent_token": None, "at_limit": "close"}
    (source / "latent.json").write_text(json.dumps({**described, **tokens}))
    convert(str(source), tmp_path / "out", Options())
    assert Checkpoint.open(str(tmp_path / "out")).format.gate is not None
    assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")["stop_gate.weight"], GATE["stop_head.weight"])
