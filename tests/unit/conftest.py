"""A reasoner so small that it is made anew for every test session: random weights in the released COCONUT layout."""

from pathlib import Path

import pytest
import torch

from latent_core.models import LatentReasoner
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.model import LatentRewardModel
from latent_core.tasks.base import Problem
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import build_tokenizer

NAMES = ("ann", "ben", "eva", "has", "buys", "sells", "pens", "cards", ".", "?", "###")
POSITIONS = 96


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint directory; its weights are large, so that rows differ from each other."""
    directory: Path = tmp_path_factory.mktemp("checkpoints") / "tiny"
    tokenizer = build_tokenizer([*NAMES, *(str(number) for number in range(20))], POSITIONS)
    settings = ArchitectureSettings(
        width=32, layers=2, heads=2, positions=POSITIONS, initial_std=0.3, number_periods=(10.0,)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(settings, tokenizer)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                # Biases start at zero, where a mistake with them would not show.
                torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    save_checkpoint(model, tokenizer, directory, torch.float32)
    return directory


@pytest.fixture(scope="session")
def tiny_reasoner(tiny_checkpoint: Path) -> LatentReasoner:
    """The tiny checkpoint in memory."""
    return LatentReasoner.from_pretrained(str(tiny_checkpoint))


@pytest.fixture(scope="session")
def problems() -> tuple[Problem, ...]:
    """Questions whose prompts have different lengths."""
    questions = (
        "ann has 12 pens . buys 3 pens ?",
        "ben 5 cards ?",
        "eva has 7 cards . sells 2 cards . buys 4 cards . sells 1 cards . buys 9 pens ?",
        "ann 1 ?",
    )
    return tuple(Problem(f"question-{index}", text, str(index)) for index, text in enumerate(questions))


@pytest.fixture(scope="session")
def tiny_reward_checkpoint(tiny_reasoner: LatentReasoner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LatentRM for the tiny reasoner that reads answers too; its head is large, so that scores differ."""
    directory: Path = tmp_path_factory.mktemp("checkpoints") / "reward"
    model = LatentRewardModel.from_reasoner(tiny_reasoner.checkpoint, seed=1)
    head: torch.nn.Linear = model.model.classifier  # type: ignore[assignment]
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(head.bias, 0.25)
    model.save(tiny_reasoner.checkpoint, directory, RewardCard(score_answer=True, objective="bce", seed=1))
    return directory


@pytest.fixture(scope="session")
def tiny_reward_model(tiny_reward_checkpoint: Path) -> LatentRewardModel:
    """The tiny LatentRM in memory."""
    return LatentRewardModel.from_pretrained(str(tiny_reward_checkpoint))
