"""LatentRMs in memory: made from a reasoner, saved as released ones are, loaded, and refused where tensors lack."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForTokenClassification
from transformers.cache_utils import DynamicCache

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.checkpoint import RewardCard, RewardCheckpoint
from latent_core.reward.meta_model import check_reward_weights
from latent_core.reward.model import LatentRewardModel


@pytest.fixture
def copy(tiny_reward_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny LatentRM that may be spoilt."""
    for file in tiny_reward_checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_new_one_has_the_reasoners_backbone_and_a_head_from_its_seed(tiny_reasoner: LatentReasoner) -> None:
    one, same, other = (LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, seed).model for seed in (1, 1, 2))
    theirs = dict(tiny_reasoner.model.base_model.named_parameters())
    for name, weight in one.base_model.named_parameters():
        torch.testing.assert_close(weight, theirs[name], atol=0, rtol=0)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_making_one_leaves_the_random_numbers_alone(tiny_reasoner: LatentReasoner) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, seed=1)
    assert torch.equal(torch.rand(4), expected)


def test_a_reasoner_that_lacks_more_than_the_head_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for file in tiny_checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    drop(tmp_path, "transformer.h.1.mlp.c_fc.weight")
    with pytest.raises(UserError, match=r"its weights lack transformer\.h\.1\.mlp\.c_fc\.weight, which config"):
        LatentRewardModel.from_reasoner(Checkpoint.open(str(tmp_path)), seed=1)


def test_saving_and_loading_changes_nothing(tiny_reasoner: LatentReasoner, tmp_path: Path) -> None:
    model = LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, seed=5)
    model.save(tiny_reasoner.checkpoint, tmp_path / "deep" / "rm", RewardCard(score_answer=True))
    loaded = LatentRewardModel.from_pretrained(str(tmp_path / "deep" / "rm"))
    assert (loaded.end_id, loaded.end_of_text_id) == (model.end_id, model.end_of_text_id)
    assert (loaded.context_length, loaded.flops) == (96, model.flops)
    weights = dict(model.named_parameters())
    for name, weight in loaded.named_parameters():
        assert torch.equal(weight, weights[name]), name
        assert not weight.requires_grad
    assert not loaded.training
    # It can go on being trained after it has been saved.
    assert model.model.config.architectures != ["COCONUTGPT2ForTokenClassification"]
    model.save(tiny_reasoner.checkpoint, tmp_path / "again", RewardCard(score_answer=True))
    fingerprints = {RewardCheckpoint.open(str(tmp_path / name)).fingerprint for name in ("deep/rm", "again")}
    assert len(fingerprints) == 1


def test_the_layout_is_the_released_one(tiny_reward_checkpoint: Path) -> None:
    config = json.loads((tiny_reward_checkpoint / "config.json").read_text())
    assert config["architectures"] == ["COCONUTGPT2ForTokenClassification"]
    assert (config["model_type"], config["latent_end_id"]) == ("gpt2", config["latent_start_id"] + 1)
    weights = load_file(tiny_reward_checkpoint / "model.safetensors")
    assert weights["classifier.weight"].shape == (1, 32)
    assert weights["classifier.bias"].shape == (1,)
    assert "transformer.h.0.attn.c_attn.weight" in weights
    # Anybody's token classification class reads it.
    AutoModelForTokenClassification.from_pretrained(tiny_reward_checkpoint, num_labels=1)


def test_the_precision_asked_for(tiny_reward_checkpoint: Path) -> None:
    model = LatentRewardModel.from_pretrained(str(tiny_reward_checkpoint), dtype=torch.bfloat16)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    rewards = model(torch.zeros(1, 3, 32), torch.arange(3)[None], DynamicCache())
    assert rewards.dtype == torch.float32


def drop(directory: Path, *names: str) -> None:
    file = directory / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(file).items() if name not in names}
    save_file(weights, file, metadata={"format": "pt"})


def cut_head(directory: Path) -> None:
    file = directory / "model.safetensors"
    weights = load_file(file)
    weights["classifier.weight"] = weights["classifier.weight"].repeat(2, 1)
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda directory: drop(directory, "classifier.weight"), "lack classifier.weight, which config.json asks for"),
        (
            lambda directory: drop(directory, "classifier.weight", "classifier.bias"),
            "lack classifier.weight and 1 more, which",
        ),
        (lambda directory: drop(directory, "transformer.h.0.ln_1.bias"), "lack transformer.h.0.ln_1.bias, which"),
        (cut_head, "its weights have classifier.weight with shape [2, 32], but config.json asks for [1, 32]"),
    ],
    ids=["no head", "nothing of a head", "part of the backbone", "two labels"],
)
def test_tensors_that_are_missing_or_of_another_shape(copy: Path, spoil: Callable[[Path], None], message: str) -> None:
    """The library would fill them with random numbers."""
    spoil(copy)
    with pytest.raises(UserError) as caught:
        LatentRewardModel.from_pretrained(str(copy))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)


def add(directory: Path, **tensors: Tensor) -> None:
    file = directory / "model.safetensors"
    content = {**load_file(file), **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}
    save_file(content, file, metadata={"format": "pt"})


def test_tensors_that_nothing_takes(copy: Path) -> None:
    """Whatever opens a LatentRM: the library here, a plan in `orchestrator`."""
    add(copy, transformer__h__2__ln_1__bias=torch.ones(32))
    for call in (LatentRewardModel.from_pretrained, lambda source: check_reward_weights(RewardCheckpoint.open(source))):
        with pytest.raises(UserError, match=r"says 2 layers, but the file has 3; they are of different models"):
            call(str(copy))


def test_the_feedback_head_of_its_reasoner_is_not_used(copy: Path, tiny_reward_model: LatentRewardModel) -> None:
    """A LatentRM that was trained from a CODI reasoner's weights has it, and reads latents only."""
    (copy / "latent.json").write_text('{"prompt": "{question}<|start-latent|>", "feedback": "projector"}')
    add(copy, projector__1__weight=torch.ones(4, 32))
    _, assignment = check_reward_weights(RewardCheckpoint.open(str(copy)))
    assert assignment.unused == {"feedback head of the reasoner": ("projector.1.weight",)}
    loaded, wanted = LatentRewardModel.from_pretrained(str(copy)).state_dict(), tiny_reward_model.state_dict()
    assert all(torch.equal(loaded[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.bin"])
def test_an_adapter_beside_it(copy: Path, name: str) -> None:
    (copy / name).write_text("{}")
    with pytest.raises(UserError, match=rf"{name} lie beside whole weights"):
        LatentRewardModel.from_pretrained(str(copy))


def test_a_reasoner_with_weights_left_over_is_no_start(tmp_path: Path, tiny_checkpoint: Path) -> None:
    directory = Path(shutil.copytree(tiny_checkpoint, tmp_path / "reasoner"))
    add(directory, gate__weight=torch.ones(3))
    with pytest.raises(UserError, match=r"nothing in a gpt2 model is called gate\.weight"):
        LatentRewardModel.from_reasoner(Checkpoint.open(str(directory)), seed=0)
