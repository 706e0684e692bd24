"""The worker as a plain object: Ray adds nothing but where it runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory
from workers.reasoner import ReasonerWorker
from workers.requests import SampleRequest

GAUSSIAN = {"kind": "gaussian", "sigma": 0.4}


@pytest.fixture(scope="module")
def worker(tiny_checkpoint: Path) -> Iterator[ReasonerWorker]:
    threads = torch.get_num_threads()
    yield ReasonerWorker(str(tiny_checkpoint), "float32", 1)
    torch.set_num_threads(threads)


def request(problems: tuple[Problem, ...], **changes: Any) -> SampleRequest:
    settings: dict[str, Any] = {
        "first_sample": 3,
        "samples": 2,
        "sampler": GAUSSIAN,
        "latent_steps": 2,
        "answer_tokens": 4,
        "seed": 1,
        **changes,
    }
    return SampleRequest(problems, **settings)


def content(row: Trajectory) -> tuple[Any, ...]:
    return row.question_id, row.sample_index, row.answer_text, row.answer_tokens, row.flops, row.error


def test_a_request_is_what_the_engine_samples(
    worker: ReasonerWorker, tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]
) -> None:
    rows = worker.sample(request(problems, keep_latents=True))
    expected = sample_trajectories(
        tiny_reasoner, parse_sampler(GAUSSIAN), problems, range(3, 5), latent_steps=2, answer_tokens=4, seed=1
    )
    assert [content(row) for row in rows] == [content(row) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row.latents is not None
        assert other.latents is not None
        np.testing.assert_allclose(row.latents, other.latents, atol=1e-5)


def test_latents_stay_behind_unless_they_are_wanted(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    assert all(row.latents is None for row in worker.sample(request(problems)))


def test_a_question_that_fails_takes_no_other_with_it(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    """A prompt beyond the model's positions breaks the batch that it is in."""
    too_long = Problem("long", "ann " * 200, "1")
    rows = worker.sample(request((*problems[:2], too_long, *problems[2:])))
    assert [(row.question_id, row.sample_index) for row in rows] == [
        (name, sample) for name in ("question-0", "question-1", "long", "question-2", "question-3") for sample in (3, 4)
    ]
    healthy = worker.sample(request(problems))
    assert [content(row) for row in rows if row.question_id != "long"] == [content(row) for row in healthy]
    for row in rows[4:6]:
        assert row.error is not None
        assert "\n" not in row.error
        assert (row.answer, row.correct) == (None, False)


def test_a_worker_is_idle_after_success_and_failure(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    assert worker.load() == 0
    worker.sample(request(problems))
    worker.sample(request((Problem("long", "ann " * 200, "1"),)))
    assert worker.load() == 0


def test_a_bug_is_not_turned_into_rows(worker: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    with pytest.raises(TypeError):
        worker.sample(request(problems, latent_steps="two"))
    assert worker.load() == 0
