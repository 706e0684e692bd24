"""What is wrong with weights is known from their headers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import projector_tensors, save_checkpoint_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from latent_core.engine.sampling import sample_trajectories
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.backbones import check_sampler, find_backbone
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.meta_model import check_model, cost_model, meta_device_model
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

Change = Callable[[dict[str, Tensor]], None]


def changed(directory: Path, change: Change) -> Checkpoint:
    """Change the tensors of a checkpoint."""
    file = directory / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return Checkpoint.open(str(directory))


def test_a_whole_checkpoint(tiny_checkpoint: Path) -> None:
    check_model(Checkpoint.open(str(tiny_checkpoint)))


def test_names_without_the_prefix_of_the_base_model(tmp_path: Path) -> None:
    """So are those of GPT-2 on the hub, and the library finds them."""
    directory = save_checkpoint_of(tmp_path / "one", "gpt2", {})

    def shorten(tensors: dict[str, Tensor]) -> None:
        for name in [*tensors]:
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)

    check_model(changed(directory, shorten))
    LatentReasoner.from_pretrained(str(directory))


def experts(directory: Path) -> Path:
    sizes = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}
    return save_checkpoint_of(directory, "qwen3_moe", {}, **sizes)


def test_experts_that_the_library_joins(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(str(experts(tmp_path / "one")))
    assert sum(".experts.3." in name for name in checkpoint.weights.headers) > 0
    check_model(checkpoint)


def test_an_expert_that_is_missing(tmp_path: Path) -> None:
    """By names alone nothing is: the others are joined to the tensor that the model asks for."""

    def remove(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if "layers.1.mlp.experts.3.down_proj" in name]:
            del tensors[name]

    with pytest.raises(UserError, match=r"3 tensors .* joined to model\.layers\.1\.mlp\.experts\.down_proj, but have"):
        check_model(changed(experts(tmp_path / "one"), remove))


def narrow(tensors: dict[str, Tensor]) -> None:
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:-1].clone()


def drop(name: str) -> Change:
    def remove(tensors: dict[str, Tensor]) -> None:
        del tensors[name]

    return remove


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("model.layers.1.mlp.up_proj.weight"), "its weights lack model.layers.1.mlp.up_proj.weight, which config"),
        (drop("lm_head.weight"), "its weights lack lm_head.weight, which config.json asks for"),
        (narrow, "its weights have model.embed_tokens.weight with shape [35, 32], but config.json asks for [36, 32]"),
        (drop("projector.3.bias"), "its weights lack projector.3.bias of the projector feedback"),
    ],
    ids=["block", "head", "vocabulary", "feedback"],
)
def test_weights_that_are_not_those_of_the_configuration(tmp_path: Path, change: Change, message: str) -> None:
    directory = tmp_path / "one"
    save_checkpoint_of(directory, "llama", {"feedback": "projector"}, projector_tensors())
    checkpoint = changed(directory, change)
    with pytest.raises(UserError) as caught:
        check_model(checkpoint)
    assert str(caught.value).startswith(f"checkpoint {directory}: {message}")
    # Whoever loads without checking is refused too, instead of getting random numbers.
    with pytest.raises(UserError):
        LatentReasoner.from_pretrained(str(directory))


def test_blocks_of_an_unlisted_layout(tmp_path: Path) -> None:
    """Noise on latents needs to know nothing of them; dropout and perturbed weights do."""
    directory = save_checkpoint_of(tmp_path / "one", "gpt_neox", {})
    backbone = find_backbone("it", check_model(Checkpoint.open(str(directory))).base_model)
    for config in ({"kind": "gaussian", "sigma": 0.5}, {"kind": "mc_dropout", "p": 0.1, "sites": ["embedding"]}):
        sampler = parse_sampler(config)
        check_sampler("it", backbone, sampler)
        reasoner = LatentReasoner.from_pretrained(str(directory))
        problem = Problem("q", "ann has 3 pens ?", "3")
        rows = sample_trajectories(reasoner, sampler, [problem], range(4), latent_steps=2, answer_tokens=3, seed=0)
        assert rows[0].latents is not None
        assert rows[1].latents is not None
        assert not (rows[0].latents == rows[1].latents).all()
    for config, unknown in (
        ({"kind": "mc_dropout", "p": 0.1}, "feed_forward"),
        ({"kind": "singular_value", "alpha": 0.1}, "attention_value"),
    ):
        with pytest.raises(UserError, match=f"layout in which {unknown} is not known"):
            check_sampler("it", backbone, parse_sampler(config))


def test_costs_are_those_of_the_loaded_model(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": "projector"}, projector_tensors())
    checkpoint = Checkpoint.open(str(directory))
    empty = meta_device_model(checkpoint)
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    assert cost_model(checkpoint, empty) == LatentReasoner.from_pretrained(str(directory), dtype=torch.float32).flops
