"""Loaded models have left the files that their weights came from."""

import shutil
from pathlib import Path

import torch

from latent_core.models.reasoner import LatentReasoner
from latent_core.models.weights import leave_files
from latent_core.reward.model import LatentRewardModel


def spoil(directory: Path) -> None:
    """Write over the weights in the place where they are."""
    for path in directory.glob("*.safetensors"):
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))


def test_a_reasoner_keeps_its_weights_when_the_file_is_written_over(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    reasoner = LatentReasoner.from_pretrained(str(folder))
    tokens = torch.arange(5)
    before = reasoner.embed(tokens).clone(), reasoner.logits(reasoner.embed(tokens)).clone()
    assert before[0].abs().sum() > 0
    spoil(folder)
    assert torch.equal(reasoner.embed(tokens), before[0])
    assert torch.equal(reasoner.logits(reasoner.embed(tokens)), before[1])
    embeddings = reasoner.model.get_input_embeddings().weight
    assert reasoner.model.get_output_embeddings().weight is embeddings, "tensors that are shared stay shared"


def test_a_latent_rm_keeps_its_weights_too(tiny_reward_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_reward_checkpoint, tmp_path / "copy")
    model = LatentRewardModel.from_pretrained(str(folder))
    before = {name: tensor.detach().clone() for name, tensor in model.model.named_parameters()}
    spoil(folder)
    for name, tensor in model.model.named_parameters():
        assert torch.equal(tensor, before[name]), name


def test_values_layouts_and_names_stay() -> None:
    layer = torch.nn.Linear(3, 4)
    layer.register_buffer("transposed", torch.randn(5, 2).T)
    before = {name: tensor.detach().clone() for name, tensor in layer.state_dict().items()}
    leave_files([layer])
    assert layer.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    assert layer.get_buffer("transposed").stride() == (1, 2)
