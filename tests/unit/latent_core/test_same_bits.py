"""A trajectory and its scores are the same to the bit whatever is beside them, on the processor that runs this."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import linear_tensors, save_checkpoint_of

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.invariant_layers import summary_of
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.types import QuestionToScore
from latent_core.row_invariance import is_slow
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory, TrajectoryBatch

STEPS, SEED = 3, 5
QUESTIONS = [Problem(f"{n}", "ann has 3 pens . " * (1 + n % 3 * 3) + f"ben buys {n} cards ?", "1") for n in range(8)]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SAMPLERS: list[dict[str, Any]] = [
    {"kind": "gaussian", "sigma": 0.5},
    {"kind": "mc_dropout", "p": 0.2, "sites": ["attention", "feed_forward"]},
    {"kind": "singular_value", "alpha": 0.3, "projection": "attention_value"},
    {"kind": "answer_sampling", "temperature": 2.0},
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[64, 128, 256, 768])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest, width: int, family: str) -> torch.dtype:
    dtype = DTYPES[request.param]
    if is_slow(dtype) and (width, family) == (768, "gpt2"):
        pytest.skip("products in bfloat16 are plain loops here: minutes, and Llama of this width shows the same")
    return dtype


@pytest.fixture(scope="module")
def checkpoint(family: str, width: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensors = linear_tensors("projector.1", 2 * width, width, 1) | linear_tensors("projector.3", width, 2 * width, 2)
    shape = {"hidden_size": width, "intermediate_size": 2 * width - 3, "initializer_range": 0.08}
    if family == "gpt2":
        shape["n_inner"] = shape.pop("intermediate_size")
    return save_checkpoint_of(
        tmp_path_factory.mktemp("same") / "one", family, {"feedback": "projector"}, tensors, **shape
    )


def sampled(reasoner: LatentReasoner, sampler: dict[str, Any], some: list[Problem], samples: range) -> TrajectoryBatch:
    return sample_trajectories(
        reasoner, parse_sampler(sampler), some, samples, latent_steps=STEPS, answer_tokens=3, seed=SEED
    )


def bits(trajectory: Trajectory) -> tuple[bytes, tuple[int, ...], float | None, float | None]:
    assert trajectory.latents is not None
    confidence = trajectory.answer_logprob, trajectory.token_entropy
    assert None not in confidence
    return trajectory.latents.tobytes(), trajectory.answer_ids, *confidence


def test_trajectories(checkpoint: Path, dtype: torch.dtype) -> None:
    reasoner = LatentReasoner.from_pretrained(str(checkpoint), dtype=dtype)
    for sampler in SAMPLERS if dtype == torch.float32 else SAMPLERS[:1]:
        whole = {
            (row.question_id, row.sample_index): bits(row) for row in sampled(reasoner, sampler, QUESTIONS, range(8))
        }
        assert len(whole) == 64
        different = [
            (len(some) * len(samples), row.question_id, row.sample_index)
            for some, samples in (
                (QUESTIONS[:1], range(1)),
                (QUESTIONS[4:5], range(6, 7)),
                (QUESTIONS[2:5], range(1)),
                (QUESTIONS[5:6], range(2, 5)),
                (QUESTIONS[7:3:-1], range(3, 5)),
                (QUESTIONS[1:2], range(8)),
                (QUESTIONS[::-1], range(8)),
                (QUESTIONS[:5], range(1, 6)),
            )
            for row in sampled(reasoner, sampler, some, samples)
            if bits(row) != whole[row.question_id, row.sample_index]
        ]
        assert not different or not summary_of(reasoner.row_rules)["holds"], different


@pytest.mark.parametrize("score_answer", [False, True])
def test_scores(checkpoint: Path, dtype: torch.dtype, score_answer: bool, tmp_path: Path, width: int) -> None:
    source = Checkpoint.open(str(checkpoint))
    LatentRewardModel.from_reasoner(source, seed=0).save(source, tmp_path, RewardCard())
    model = LatentRewardModel.from_pretrained(str(tmp_path), dtype=dtype)
    generator = np.random.default_rng(0)
    prompts = [source.prompt_ids(problem.question) for problem in QUESTIONS]
    latents = generator.standard_normal((8, 8, STEPS, width)).astype(np.float32)

    def scored(questions: list[int], samples: list[int]) -> dict[tuple[int, int], bytes]:
        asked = [
            QuestionToScore(QUESTIONS[one].question, tuple(latents[one, k] for k in samples), ((3, 4),) * len(samples))
            for one in questions
        ]
        scores = iter(score_groups(model, [prompts[one] for one in questions], asked, score_answer))
        found = {}
        for place in ((one, k) for one in questions for k in samples):
            score = next(scores)
            assert score.step_scores is not None
            found[place] = score.step_scores.tobytes() + np.float64(score.answer_reward or 0).tobytes()
        return found

    whole = scored(list(range(8)), list(range(8)))
    different = [
        (len(questions) * len(samples), place)
        for questions, samples in (([0], [0]), ([5], [7]), ([2, 3, 4], [1]), ([6], [5, 2, 0]), ([7, 1], [4, 3, 2, 1]))
        for place, score in scored(questions, samples).items()
        if score != whole[place]
    ]
    assert not different or not summary_of(model.row_rules)["holds"], different
