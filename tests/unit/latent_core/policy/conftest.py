"""Small reasoners, questions and recipes that tests of policies share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoints import save_checkpoint_of

from latent_core.models import LatentReasoner
from latent_core.policy.settings import PolicySettings
from latent_core.tasks.base import Problem

WORDS = ("ann has 3 pens .", "ben buys 4 cards . eva has 2 .", "eva sells 9 pens . ann buys 4 cards . ben has 7 pens .")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of two layers that answers with numbers as likely as with anything."""
    directory = tmp_path_factory.mktemp("policy") / "small"
    described = {"answer_tokens": 3, "extractor": "last_number"}
    return save_checkpoint_of(directory, "gpt2", described, n_inner=64)


@pytest.fixture
def reasoner(checkpoint: Path) -> LatentReasoner:
    return LatentReasoner.from_pretrained(str(checkpoint), trainable=True)


@pytest.fixture(scope="session")
def problems() -> list[Problem]:
    return [Problem(f"q{n}", f"{WORDS[n % 3]} {n} ?", str(n % 4)) for n in range(6)]


@pytest.fixture
def settings() -> PolicySettings:
    return PolicySettings(trajectories=3, answers=5, questions_per_update=6, micro_batch=4)
