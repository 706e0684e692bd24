"""Weights that are taken: what is left out is said, and nothing but the files decides what is loaded."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import WIDTH, projector_tensors, save_checkpoint_of, sums_of
from safetensors.torch import load_file, save_file
from torch import Tensor
from weight_changes import (
    ENTRIES,
    FILE,
    Change,
    add_adapter,
    both,
    more,
    plan_of,
    refusal,
    tensors,
    trained_copies,
)

from latent_core.conversion import Options, convert
from latent_core.errors import UserError
from latent_core.inspection.facts import checkpoint_facts
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from orchestrator.cli import main
from orchestrator.commands.inspect_checkpoint import describe_facts


@dataclass(frozen=True)
class Taken:
    """A folder whose weights are taken, with what is said about the rest."""

    change: Change
    says: tuple[str, ...]
    model_type: str = "llama"
    settings: tuple[tuple[str, Any], ...] = ()


def beside(name: str, **content: Tensor) -> Change:
    return lambda directory: save_file(content or {"projector.1.weight": torch.ones(4, 4)}, directory / name)


UNUSED: dict[str, Taken] = {
    "old masks": Taken(
        more(
            transformer__h__0__attn__bias=torch.ones(1, 1, 96, 96, dtype=torch.bool),
            transformer__h__0__attn__masked_bias=torch.tensor(-1e4),
        ),
        ("not used: 2 old masks (transformer.h.0.attn.bias, transformer.h.0.attn.masked_bias)",),
        "gpt2",
    ),
    "rotary buffers": Taken(
        more(model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(4)),
        ("not used: 1 rotary buffers (model.layers.0.self_attn.rotary_emb.inv_freq)",),
    ),
    "tied copies": Taken(
        tensors(lambda content: content.update({"lm_head.weight": content["model.embed_tokens.weight"].clone()})),
        ("not used: 1 tied copies (lm_head.weight)",),
        settings=(("tie_word_embeddings", True),),
    ),
    "files beside the weights": Taken(
        both(beside("optimizer.safetensors"), beside("ema.safetensors"), beside("projector_init.safetensors")),
        ("not read: ema.safetensors, optimizer.safetensors, projector_init.safetensors",),
    ),
}


@pytest.mark.parametrize("name", UNUSED)
def test_what_is_left_out_is_said(name: str, tmp_path: Path) -> None:
    case = UNUSED[name]
    before = save_checkpoint_of(tmp_path / "before", case.model_type, {}, **dict(case.settings))
    directory = Path(shutil.copytree(before, tmp_path / "one"))
    case.change(directory)
    lines = dict(describe_facts(checkpoint_facts(Checkpoint.open(str(directory)))))
    notes = "\n".join(convert(str(directory), tmp_path / "out", Options()))
    for said in (plan_of(directory).left_out, lines["weights"], notes):
        assert all(part in said for part in case.says), said
    one, other = (LatentReasoner.from_pretrained(str(path)).model.state_dict() for path in (before, directory))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_dry_run_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_checkpoint: Path) -> None:
    directory = Path(shutil.copytree(tiny_checkpoint, tmp_path / "one"))
    more(transformer__h__0__attn__masked_bias=torch.tensor(-1e4))(directory)
    plan = plan_of(directory)
    (tmp_path / "config.yaml").write_text(json.dumps(plan.config.model_dump(mode="json")))
    assert main(["run", str(tmp_path / "config.yaml"), "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "weights     not used: 1 old masks (transformer.h.0.attn.masked_bias)\n" in said


def test_nothing_is_said_of_whole_weights(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    assert plan_of(directory).left_out == ""
    assert dict(describe_facts(checkpoint_facts(Checkpoint.open(str(directory)))))["weights"] == FILE


def test_a_bias_of_a_projection_does_not_pass_for_a_mask(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "gpt2", {})
    more(transformer__h__0__attn__bias=torch.ones(WIDTH))(directory)
    assert "is called transformer.h.0.attn.bias" in refusal("inspect", directory)


def test_the_feedback_head_is_of_the_same_file(tmp_path: Path) -> None:
    """Not of the alphabetically last one, and other files do not change the fingerprint."""
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": "projector"}, projector_tensors())
    fingerprint = Checkpoint.open(str(directory)).fingerprint
    first = LatentReasoner.from_pretrained(str(directory)).feedback.state_dict()
    others = {name: one * 7 for name, one in projector_tensors().items()}
    for name in ("ema", "projector_init", "a"):
        save_file(others, directory / f"{name}.safetensors")
    second = LatentReasoner.from_pretrained(str(directory)).feedback.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert Checkpoint.open(str(directory)).fingerprint == fingerprint


def test_shards_are_one_source(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": "projector"}, projector_tensors())
    whole = LatentReasoner.from_pretrained(str(directory))
    content, shards = load_file(directory / FILE), [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for number, shard in enumerate(shards):
        save_file(dict([*content.items()][number::2]), directory / shard)
    index = {"weight_map": {name: shards[place % 2] for place, name in enumerate(content)}}
    (directory / f"{FILE}.index.json").write_text(json.dumps(index))
    (directory / FILE).unlink()
    sharded = LatentReasoner.from_pretrained(str(directory))
    for one, other in ((whole.model, sharded.model), (whole.feedback, sharded.feedback)):
        wanted, found = one.state_dict(), other.state_dict()
        assert all(torch.equal(wanted[key], found[key]) for key in wanted)
    before = sharded.checkpoint.fingerprint
    tensor = load_file(directory / shards[1])
    save_file({name: one + 1 for name, one in tensor.items()}, directory / shards[1])
    assert Checkpoint.open(str(directory)).fingerprint != before


WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
sys.path[:0] = sys.argv[1].split(":")
from checkpoints import sums_of
for source in sys.argv[2:]:
    print(sums_of(source))
"""


def test_what_is_installed_decides_nothing(tmp_path: Path) -> None:
    """With PEFT and without it one folder gives the same fingerprint and weights, or the same refusal."""
    plain = save_checkpoint_of(tmp_path / "plain", "llama", {"feedback": "projector"}, projector_tensors())
    adapted = Path(shutil.copytree(plain, tmp_path / "adapted"))
    add_adapter(adapted)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_PEFT,
            ":".join([str(Path(__file__).parent), *sys.path]),
            str(plain),
            str(adapted),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [sums_of(str(plain)), sums_of(str(adapted))]
    assert done.stdout.splitlines() == said
    assert said[0].split()[0] == Checkpoint.open(str(plain)).fingerprint
    assert "adapter_config.json, adapter_model.safetensors lie beside whole weights" in said[1]


def test_the_cure_for_an_adapter_beside_weights(tmp_path: Path) -> None:
    """Whoever knows that the weights are merged names the file itself."""
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    wanted = LatentReasoner.from_pretrained(str(directory)).model.state_dict()
    add_adapter(directory)
    convert(str(directory / FILE), tmp_path / "out", Options())
    found = LatentReasoner.from_pretrained(str(tmp_path / "out")).model.state_dict()
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


@pytest.mark.parametrize("name", ["model.gguf", "weights"])
def test_gguf_says_what_it_is(name: str, tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    (directory / FILE).unlink()
    (directory / name).write_bytes(b"GGUF\x03\x00\x00\x00")
    for source in (directory / name, directory):
        with pytest.raises(UserError) as caught:
            convert(str(source), tmp_path / "out", Options())
        assert f"{name} is GGUF, the format of llama.cpp" in str(caught.value)
        assert f"gguf_file={name!r}" in str(caught.value)
        assert "pickle" not in str(caught.value)
    if name.endswith(".gguf"):
        assert "is GGUF" in refusal("inspect", directory)


def test_converted_padding_and_trained_copies_are_the_models_own(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    tensors(trained_copies)(directory)
    wanted = load_file(directory / FILE)["model.embed_tokens.modules_to_save.default.weight"]
    convert(str(directory), tmp_path / "out", Options())
    assert torch.equal(load_file(tmp_path / "out" / FILE)["model.embed_tokens.weight"], wanted)


def test_two_trained_copies_are_refused(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    name = "model.embed_tokens.modules_to_save."
    more(**{f"{name}{adapter}.weight".replace(".", "__"): torch.ones(36, WIDTH) for adapter in ("a", "b")})(directory)
    assert "trained copies of 2 adapters in it (a, b:" in refusal("convert", directory)


def test_one_name_for_two_tensors(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "gpt2", {})
    tensors(lambda content: content.update({"wpe.weight": content["transformer.wpe.weight"] + 1}))(directory)
    for entry in ENTRIES:
        assert "transformer.wpe.weight and wpe.weight are both transformer.wpe.weight" in refusal(entry, directory)
