"""LatentRM step scores against golden outputs of the released format."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from latent_core.reward.checkpoint import RewardCheckpoint
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, extend, read_prompts, score_candidates

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(parity_dir: Path) -> LatentRewardModel:
    return LatentRewardModel.from_pretrained(str(parity_dir / "latentrm-coconut"))


@pytest.fixture(scope="module")
def golden(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "latentrm-coconut.golden.safetensors")


@pytest.fixture(scope="module")
def prompts(parity_dir: Path) -> list[list[int]]:
    texts = json.loads((parity_dir / "coconut.json").read_text())["prompts"]
    tokenizer = RewardCheckpoint.open(str(parity_dir / "latentrm-coconut")).tokenizer
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def candidates(latents: Tensor) -> CandidateBatch:
    return CandidateBatch(latents, torch.full((len(latents),), latents.shape[1]))


def assert_close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=0)


def test_in_one_batch(model: LatentRewardModel, golden: dict[str, Tensor], prompts: list[list[int]]) -> None:
    with torch.inference_mode():
        rewards = score_candidates(model, prompts, candidates(golden["latents"]))
    assert_close(rewards.steps, golden["step_scores"])
    assert_close(rewards.score, golden["sums"])


@pytest.mark.parametrize("at_once", [2, 1], ids=["two by two", "one by one"])
def test_in_small_batches(
    model: LatentRewardModel, golden: dict[str, Tensor], prompts: list[list[int]], at_once: int
) -> None:
    for first in range(0, len(prompts), at_once):
        rows = slice(first, first + at_once)
        with torch.inference_mode():
            rewards = score_candidates(model, prompts[rows], candidates(golden["latents"][rows]))
        assert_close(rewards.steps, golden["step_scores"][rows])


def test_step_by_step(model: LatentRewardModel, golden: dict[str, Tensor], prompts: list[list[int]]) -> None:
    with torch.inference_mode():
        state = read_prompts(model, prompts)
        for step in range(golden["latents"].shape[1]):
            state, rewards = extend(model, state, golden["latents"][:, step : step + 1])
            assert_close(rewards[:, 0], golden["step_scores"][:, step])
