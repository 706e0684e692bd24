"""Weights that are refused at every entry: a plan, `inspect`, `convert` and the library say the same of one folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import WIDTH, latent_head_tensors, projector_tensors, save_checkpoint_of
from torch import Tensor
from weight_changes import (
    ENTRIES,
    FILE,
    Change,
    add_adapter,
    add_shards,
    both,
    config,
    contradicting_index,
    deeper,
    lose,
    more,
    refusal,
    renamed,
    tensors,
    to_int8,
    trained_copies,
    untied_copy,
)

from latent_core.models import LatentReasoner


@dataclass(frozen=True)
class Case:
    """A folder that is refused.

    Attributes:
        change: What is done to a whole checkpoint.
        says: What the line says.
        described: Its `latent.json`.
        tensors: Of its feedback head.
        settings: Of its configuration.
        converts: Whether conversion makes a checkpoint of it that can be run.
    """

    change: Change
    says: tuple[str, ...]
    described: dict[str, Any] | None = None
    tensors: Callable[[], dict[str, Tensor]] = dict
    settings: tuple[tuple[str, Any], ...] = ()
    converts: bool = False


CODI = (("architectures", ["CODILlama"]),)
HEAD: dict[str, Any] = {
    "described": {"feedback": "latent_head"},
    "tensors": latent_head_tensors,
    "settings": (("latent_embedding_std", 0.5),),
}
NEEDED = ("latent_embedding_std in config.json", "0.018 in the released class")
LOST_AND = ("named as by a wrapper", "`latentswarm convert` writes them")
REFUSED: dict[str, Case] = {
    "adapter beside whole weights": Case(
        add_adapter, ("adapter_config.json, adapter_model.safetensors lie beside whole weights", "merge_and_unload")
    ),
    "adapter settings alone": Case(
        lambda directory: (directory / "adapter_config.json").write_text("{}") and None, ("adapter_config.json lie",)
    ),
    "adapter alone": Case(
        both(add_adapter, lambda directory: (directory / FILE).unlink()), ("it has only an adapter", "merge_and_unload")
    ),
    "projector that config.json does not name": Case(
        lambda directory: None,
        ("called projector.1.bias, projector.1.weight", "belong to a projector feedback", '"projector": true'),
        tensors=projector_tensors,
        settings=CODI,
    ),
    "latent head that nothing takes": Case(
        lambda directory: None, ("called lt_head.fc.0.bias", '"feedback": "latent_head"'), {}, latent_head_tensors
    ),
    "projector with a layer more": Case(
        more(projector__7__weight=torch.ones(4, 4)),
        ("projector.7.weight", "its projector feedback has no such layer"),
        {"feedback": "projector"},
        projector_tensors,
    ),
    "layer more": Case(tensors(deeper), ("model.layers.2", "says 2 layers, but the file has 3")),
    "biases": Case(
        more(model__layers__0__self_attn__q_proj__bias=torch.ones(WIDTH)),
        ("nothing in a llama model is called model.layers.0.self_attn.q_proj.bias",),
    ),
    "norms of queries": Case(
        more(model__layers__0__self_attn__q_norm__weight=torch.ones(8)), ("self_attn.q_norm.weight",)
    ),
    "updates of loralib": Case(
        more(model__layers__0__self_attn__q_proj__lora_A=torch.ones(2, WIDTH)),
        ("low-rank updates that are not merged", "q_proj.lora_A"),
    ),
    "updates of PEFT": Case(
        renamed(
            lambda name: name.replace("q_proj.", "q_proj.base_layer.").replace("k_proj.", "q_proj.lora_A.default.")
        ),
        ("low-rank updates that are not merged",),
    ),
    "two sources": Case(add_shards, ("it has weights twice", FILE, f"{FILE}.index.json", "remove one")),
    "index against shards": Case(contradicting_index, ("contradict each other",)),
    "weights that config.json names elsewhere": Case(
        config(transformers_weights="other.safetensors"),
        ("transformers_weights in config.json names other.safetensors",),
    ),
    "DDP": Case(renamed(lambda name: f"module.{name}"), LOST_AND, converts=True),
    "DDP with a tensor missing": Case(
        both(tensors(lose), renamed(lambda name: f"module.{name}")), ("",), converts=False
    ),
    "compiled": Case(renamed(lambda name: f"_orig_mod.{name}"), LOST_AND, converts=True),
    "FSDP": Case(
        renamed(lambda name: name.replace("layers.0.", "layers.0._fsdp_wrapped_module.")), LOST_AND, converts=True
    ),
    "trained copies": Case(
        tensors(trained_copies),
        ("modules_to_save", "`latentswarm convert` writes them"),
        converts=True,
    ),
    "padded embeddings": Case(
        tensors(
            lambda content: content.update(
                {
                    name: torch.cat([content[name], torch.zeros(64 - len(content[name]), WIDTH)])
                    for name in ("model.embed_tokens.weight", "lm_head.weight")
                }
            )
        ),
        ("padded to a multiple of 64: say vocab_size 64",),
        converts=True,
    ),
    "tensor missing": Case(tensors(lose), ("its weights lack model.norm.weight",)),
    "tied copy that differs": Case(
        tensors(untied_copy),
        ("lm_head.weight and model.embed_tokens.weight differ", "tie_word_embeddings"),
        settings=(("tie_word_embeddings", True),),
    ),
    "int8 without a scale": Case(tensors(to_int8), ("up_proj.weight stored as I8", "dequantize")),
    "int8 with a scale": Case(
        more(model__layers__0__mlp__up_proj__weight_scale=torch.ones(1)), ("quantized (", "weight_scale", "dequantize")
    ),
    **{
        f"config of {method}": Case(
            config(quantization_config={"quant_method": method}),
            ("quantized (quantization_config in config.json: " + method, "dequantize"),
        )
        for method in ("bitsandbytes", "gptq", "awq", "compressed-tensors", "fp8")
    },
    "config of MLX": Case(config(quantization={"bits": 4}), ("quantized (quantization in config.json)",)),
    **{
        f"scale that is {value}": Case(config(latent_embedding_std=value), NEEDED, **HEAD)
        for value in (..., None, 0, 0.0, -0.5, "0.018", True)
    },
    "scale that is nan": Case(
        config(latent_embedding_std=float("nan")),
        ("latent_embedding_std in config.json is nan, and has to be a finite number",),
        **HEAD,
    ),
}


def make(case: Case, folder: Path) -> Path:
    described = case.described if case.described is not None or case.settings == CODI else {}
    directory = save_checkpoint_of(folder / "one", "llama", described, case.tensors(), **dict(case.settings))
    case.change(directory)
    return directory


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_are_not_what_config_says(name: str, entry: str, tmp_path: Path) -> None:
    case = REFUSED[name]
    directory = make(case, tmp_path)
    if entry == "convert" and case.converts:
        ENTRIES[entry](directory)
        LatentReasoner.from_pretrained(str(tmp_path / "out"))
        return
    message = refusal(entry, directory)
    assert all(part in message for part in case.says), message
