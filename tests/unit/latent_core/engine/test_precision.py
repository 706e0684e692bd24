"""Half precision changes few answers."""

from functools import cache

import pytest
import torch
from support import shared_folder

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task

REASONER, BATCH = "bundled:coconut-tiny", 64


def greedy_answers(problems: list[Problem], dtype: torch.dtype) -> list[str | None]:
    reasoner = LatentReasoner.from_pretrained(REASONER, dtype=dtype)
    sampler, answers = parse_sampler({"kind": "none"}), []
    for first in range(0, len(problems), BATCH):
        some = problems[first : first + BATCH]
        rows = sample_trajectories(reasoner, sampler, some, range(1), latent_steps=6, answer_tokens=8, seed=0)
        answers += [row.answer for row in rows]
    return answers


@cache
def problems_of(source: str) -> list[Problem]:
    if source == "a real benchmark":
        return list(load_task(path=str(shared_folder("data") / "multiarith.json")).problems[:200])
    return list(load_task(name="word_problems").problems[:128])


@cache
def whole_answers(source: str) -> list[str | None]:
    """What every half precision is compared with."""
    return greedy_answers(problems_of(source), torch.float32)


@pytest.mark.parametrize("source", ["a real benchmark", "the problems it was trained for"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_greedy_answers_stay_the_same(source: str, dtype: torch.dtype) -> None:
    problems, whole = problems_of(source), whole_answers(source)
    half = greedy_answers(problems, dtype)
    # Near ties fall the other way; where most answers can be read, more of them show.
    most = 0.05 if source == "a real benchmark" else 0.08
    assert sum(one != other for one, other in zip(whole, half, strict=True)) / len(problems) <= most
    assert len(set(whole)) > 10
