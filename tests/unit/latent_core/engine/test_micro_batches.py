"""Batches cover everything once, fit into memory, and are halved where they did not."""

import logging
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from latent_core.engine import memory, sampling
from latent_core.engine.micro_batches import MicroBatch, RowLimit, micro_batches
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.runtime import RolloutRuntime
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.reward.annotation import annotate
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def cut(
    needs: list[tuple[int, int]], samples: range, memory_budget: int | None, divisible: bool = True
) -> list[tuple[int, int, int, int]]:
    found = list(micro_batches(needs, samples, memory_budget, divisible))
    return [(one.questions.start, one.questions.stop, one.samples.start, one.samples.stop) for one in found]


def test_everything_is_one_batch_where_there_is_room() -> None:
    assert cut([(10, 1)] * 5, range(3, 11), None) == [(0, 5, 3, 11)]
    assert cut([(10, 1)] * 5, range(3, 11), 5 * 18) == [(0, 5, 3, 11)]


def test_questions_go_together_as_long_as_they_fit() -> None:
    assert cut([(10, 1)] * 5, range(8), 5 * 18 - 1) == [(0, 4, 0, 8), (4, 5, 0, 8)]
    assert cut([(10, 1), (40, 1), (10, 1), (10, 1)], range(8), 50) == [(0, 1, 0, 8), (1, 2, 0, 8), (2, 4, 0, 8)]


def test_samples_of_a_question_that_does_not_fit_are_cut() -> None:
    found = cut([(10, 1), (10, 5), (10, 1)], range(2, 22), 60)
    assert found == [(0, 1, 2, 22), (1, 2, 2, 12), (1, 2, 12, 22), (2, 3, 2, 22)]
    assert cut([(10, 5)], range(20), 60, divisible=False) == [(0, 1, 0, 20)]
    # Fewer than these are filled up anyway.
    assert cut([(10, 500)], range(8), 60) == [(0, 1, 0, MIN_ROWS), (0, 1, MIN_ROWS, 8)]


@pytest.mark.parametrize("memory_budget", [1, 30, 77, 200, 1000])
def test_every_sample_of_every_question_is_covered_once(memory_budget: int) -> None:
    needs = [(place % 7, 1 + place % 3) for place in range(20)]
    seen = [
        (question, sample)
        for batch in micro_batches(needs, range(5, 18), memory_budget, divisible=True)
        for question in range(batch.questions.start, batch.questions.stop)
        for sample in batch.samples
    ]
    assert seen == [(question, sample) for question in range(20) for sample in range(5, 18)]


class Card:
    """A device that computes so many rows at once and no more."""

    def __init__(self, rows: int, error: RuntimeError = OUT_OF_MEMORY) -> None:
        self.rows, self.error, self.tried = rows, error, list[int]()

    def compute(self, batch: MicroBatch) -> list[tuple[int, int]]:
        self.tried.append(batch.rows)
        if batch.rows > self.rows:
            raise self.error
        return [
            (question, sample)
            for question in range(batch.questions.start, batch.questions.stop)
            for sample in batch.samples
        ]


WHOLE = [MicroBatch(slice(0, 3), range(16)), MicroBatch(slice(3, 6), range(16))]
ALL = [(question, sample) for question in range(6) for sample in range(16)]


@pytest.mark.parametrize("rows", [4, 7, 16, 40, 48])
def test_a_batch_that_runs_out_of_memory_is_halved(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    card, limit = Card(rows), RowLimit()
    with caplog.at_level(logging.WARNING):
        assert list(chain(*limit.run(WHOLE, True, card.compute))) == ALL
    assert len(caplog.records) == (0 if rows >= 48 else 1)
    if rows < 48:
        assert "memory ran out with 48 rows at once" in caplog.text
        # What was learnt holds for the second batch and for the next call.
        assert [tried for tried in card.tried if tried > rows].count(48) == 1
        again = Card(rows)
        assert list(chain(*limit.run(WHOLE, True, again.compute))) == ALL
        assert max(again.tried) <= rows


def test_a_cpu_runs_out_of_memory_too() -> None:
    words = "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    assert list(chain(*RowLimit().run(WHOLE, True, Card(20, RuntimeError(words)).compute))) == ALL


def test_other_errors_are_not_tried_again() -> None:
    card = Card(20, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        RowLimit().run(WHOLE, True, card.compute)
    assert card.tried == [48]


@pytest.mark.parametrize(("divisible", "smallest"), [(True, MIN_ROWS), (False, 16)])
def test_the_smallest_batch_that_does_not_fit_is_an_error(divisible: bool, smallest: int) -> None:
    card = Card(3)
    with pytest.raises(torch.OutOfMemoryError):
        RowLimit().run(WHOLE, divisible, card.compute)
    assert min(card.tried) == smallest


CONFIGS: list[dict[str, Any]] = [
    {"kind": "gaussian", "sigma": 0.5},
    {"kind": "answer_sampling"},
    {"kind": "mc_dropout", "p": 0.2, "scope": ["prompt", "latent"]},
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config["kind"]))
def test_trajectories_are_the_same_with_little_memory(
    tiny_reasoner: LatentReasoner,
    problems: tuple[Problem, ...],
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches: list[int] = []
    original = sampling.start_samples

    def counted(engine: Any, prompt_batch: PromptBatch, samples: range, seed: int) -> Any:
        batches.append(len(prompt_batch.problems) * len(samples))
        return original(engine, prompt_batch, samples, seed)

    monkeypatch.setattr(sampling, "start_samples", counted)

    def latents() -> list[Any]:
        batches.clear()
        sampler = parse_sampler(config)
        rows = sample_trajectories(tiny_reasoner, sampler, problems, range(10), latent_steps=3, answer_tokens=4, seed=1)
        assert [(row.question_id, row.sample_index) for row in rows] == [
            (problem.question_id, sample) for problem in problems for sample in range(10)
        ]
        return [row.latents for row in rows]

    monkeypatch.setattr("latent_core.engine.runtime.share_of", lambda device, reusable: None)
    expected = latents()
    assert len(batches) == 1
    monkeypatch.setattr("latent_core.engine.runtime.share_of", lambda device, reusable: 100_000)
    found = latents()
    assert len(batches) > len(problems)
    np.testing.assert_allclose(found, expected, atol=5e-5, rtol=0)


def test_labels_are_the_same_after_memory_ran_out(
    tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows() -> list[Any]:
        sampler = parse_sampler({"kind": "gaussian", "sigma": 0.5})
        found = annotate(tiny_reasoner, sampler, problems, 4, 3, latent_steps=3, answer_tokens=4, seed=1)
        return [(row.trajectory.question_id, row.trajectory.sample_index, row.trajectory.answer_text) for row in found]

    expected = rows()
    monkeypatch.setattr(RolloutRuntime.of(tiny_reasoner), "row_limit", RowLimit(rows=4))
    assert rows() == expected


def test_what_is_free_is_measured() -> None:
    free = memory.free_bytes(torch.device("cpu"))
    assert free is not None
    assert 1e8 < free < 1e14
    share = memory.share_of(torch.device("cpu"))
    assert share is not None
    assert 0 < share < free
