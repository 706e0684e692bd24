"""Checkpoints whose weights are not what their config.json says, and the four entries that read them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import WIDTH
from safetensors.torch import load_file, save_file
from torch import Tensor

from latent_core.conversion import Options, convert
from latent_core.errors import UserError
from latent_core.inspection.facts import checkpoint_facts
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.plan import Plan, make_plan

FILE = "model.safetensors"
Change = Callable[[Path], None]


def plan_of(directory: Path) -> Plan:
    data = directory.parent / "questions.json"
    data.write_text(json.dumps([{"question": "ann 1 ?", "answer": "1"}]))
    return make_plan(
        parse_config(
            RunConfig,
            {
                "checkpoint": str(directory),
                "task": {"path": str(data)},
                "sampler": {"kind": "none"},
                "budgets": [1],
                "store": {"path": str(directory.parent / "store")},
            },
        )
    )


ENTRIES: dict[str, Callable[[Path], object]] = {
    "run": plan_of,
    "inspect": lambda directory: checkpoint_facts(Checkpoint.open(str(directory))),
    "from_pretrained": lambda directory: LatentReasoner.from_pretrained(str(directory)),
    "convert": lambda directory: convert(str(directory), directory.parent / "out", Options()),
}


def refusal(entry: str, directory: Path) -> str:
    with pytest.raises(UserError) as caught:
        ENTRIES[entry](directory)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"checkpoint {directory}: ")
    assert not (directory.parent / "out").exists()
    return message


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Change:
    """Change the tensors of a checkpoint; what the function returns, if it is tensors, replaces them."""

    def apply(directory: Path) -> None:
        content = load_file(directory / FILE)
        changed = change(content)
        result = changed if isinstance(changed, dict) else content
        save_file({name: one.contiguous() for name, one in result.items()}, directory / FILE, {"format": "pt"})

    return apply


def more(**added: Tensor) -> Change:
    """Add tensors; two underscores in a name stand for a dot."""
    return tensors(lambda content: content.update({name.replace("__", "."): one for name, one in added.items()}))


def renamed(rename: Callable[[str], str]) -> Change:
    return tensors(lambda content: {rename(name): one for name, one in content.items()})


def config(**changes: Any) -> Change:
    """Change config.json; an ellipsis removes a key."""

    def apply(directory: Path) -> None:
        file = directory / "config.json"
        content = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return apply


def both(*changes: Change) -> Change:
    def apply(directory: Path) -> None:
        for change in changes:
            change(directory)

    return apply


def add_adapter(directory: Path, alpha: int = 8) -> None:
    """What PEFT saves of an adapter, beside whatever is there."""
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": alpha, "target_modules": ["q_proj"]}
    (directory / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "x/y"}))
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    update = {f"{name}A.weight": torch.ones(2, WIDTH), f"{name}B.weight": torch.ones(WIDTH, 2)}
    save_file(update, directory / "adapter_model.safetensors")


def add_shards(directory: Path) -> None:
    """An index with shards of other content beside the single file."""
    content = {name: one + 1 for name, one in load_file(directory / FILE).items()}
    save_file(content, directory / "model-00001-of-00001.safetensors")
    weight_map = dict.fromkeys(content, "model-00001-of-00001.safetensors")
    (directory / f"{FILE}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def contradicting_index(directory: Path) -> None:
    content = load_file(directory / FILE)
    (directory / FILE).unlink()
    halves = [*content][::2], [*content][1::2]
    for number, names in enumerate(halves):
        save_file({name: content[name] for name in names}, directory / f"{number}.safetensors")
    weight_map = {name: f"{number}.safetensors" for number, names in enumerate(halves) for name in names}
    weight_map[halves[0][0]] = "1.safetensors"
    (directory / f"{FILE}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def deeper(content: dict[str, Tensor]) -> None:
    block = "model.layers.1."
    copies = {name.replace(block, "model.layers.2."): one for name, one in content.items() if block in name}
    content.update({name: one.clone() for name, one in copies.items()})


def to_int8(content: dict[str, Tensor]) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    content[name] = (content[name] * 100).to(torch.int8)


def untied_copy(content: dict[str, Tensor]) -> None:
    content["lm_head.weight"] = content["model.embed_tokens.weight"] + 1


def lose(content: dict[str, Tensor]) -> None:
    del content["model.norm.weight"]


def trained_copies(content: dict[str, Tensor]) -> None:
    """Embeddings as PEFT saves those that were trained beside an adapter."""
    name = "model.embed_tokens."
    content[f"{name}modules_to_save.default.weight"] = content.pop(f"{name}weight")
    content[f"{name}original_module.weight"] = torch.zeros(36, WIDTH)
