"""The backbone of a LatentRM as a reasoner."""

from pathlib import Path

import torch

from latent_core.models import LatentReasoner
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.training.trunk import greedy_accuracy, trunk_reasoner
from latent_core.tasks.base import Problem


def test_before_training_it_is_the_reasoner(
    tiny_reasoner: LatentReasoner, tiny_checkpoint: Path, problems: tuple[Problem, ...]
) -> None:
    model = LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, 0)
    trunk = trunk_reasoner(model, str(tiny_checkpoint))
    own = dict(tiny_reasoner.model.named_parameters())
    assert all(torch.equal(parameter, own[name]) for name, parameter in trunk.model.named_parameters())
    lengths = {"latent_steps": 3, "answer_tokens": 4}
    assert greedy_accuracy(trunk, problems, **lengths) == greedy_accuracy(tiny_reasoner, problems, **lengths)


def test_it_has_the_trained_weights_and_a_head_tied_to_its_own_embeddings(
    tiny_reasoner: LatentReasoner, tiny_checkpoint: Path
) -> None:
    model = LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trunk = trunk_reasoner(model, str(tiny_checkpoint))
    trained = model.model.base_model.state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in trunk.model.base_model.state_dict().items())
    assert torch.equal(trunk.model.get_output_embeddings().weight, model.model.get_input_embeddings().weight)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
