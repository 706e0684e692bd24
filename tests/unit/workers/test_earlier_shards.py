"""Shards as commit ce6be8d has written them: the same requests give the same tables, clock readings apart."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task
from orchestrator.store.shards import Shard
from workers.reasoner import ReasonerWorker
from workers.requests import SampleRequest, ScoreRequest, SearchRequest
from workers.scorer import ScorerWorker
from workers.tables import CONFIDENCE_COLUMNS

STORE = Path(__file__).parents[2] / "data" / "ce6be8d" / "store"
SCORER = "bundled:latent-rm-tiny"


@pytest.fixture(scope="module")
def reasoner() -> Iterator[ReasonerWorker]:
    threads = torch.get_num_threads()
    yield ReasonerWorker("bundled:coconut-paths", "float32", 1)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def scorer() -> Iterator[ScorerWorker]:
    threads = torch.get_num_threads()
    yield ScorerWorker(SCORER, "float32", 1)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def problems() -> tuple[Problem, ...]:
    return tuple(load_task(name="path_finding").problems[:4])


def assert_same(found: pa.Table, written: pa.Table) -> None:
    """Names, order and types of columns, and all rows; processors may round numbers differently."""
    # Columns that have come since.
    found = found.drop_columns([name for name in ("cut", *CONFIDENCE_COLUMNS) if name in found.schema.names])
    assert found.schema.names == written.schema.names
    assert [field.type for field in found.schema] == [field.type for field in written.schema]
    for name in found.schema.names:
        if name.endswith("seconds"):
            continue
        for one, other in zip(found[name].to_pylist(), written[name].to_pylist(), strict=True):
            if one is None or other is None or isinstance(one, str):
                assert one == other, name
            else:
                tolerance = 5e-3 if name == "latents" else 1e-4
                np.testing.assert_allclose(np.array(one, float), np.array(other, float), atol=tolerance, err_msg=name)


@pytest.mark.parametrize("folder", sorted(STORE.glob("*/spec.json")), ids=lambda file: file.parent.name[:6])
def test_trajectories_and_beams(folder: Path, reasoner: ReasonerWorker, problems: tuple[Problem, ...]) -> None:
    spec: dict[str, Any] = json.loads(folder.read_text())
    settings = {name: spec[name] for name in ("sampler", "latent_steps", "answer_tokens", "seed")}
    files = sorted(folder.parent.glob("q*.parquet"))
    assert files
    for file in files:
        shard, latents = Shard.parse(file.name) or pytest.fail(file.name)
        some = problems[shard.first_question : shard.end_question]
        settings |= {"first_question": shard.first_question, "latents": latents}
        if "beam" in spec:
            beam = spec["beam"]
            settings |= {"beams": beam["beams"], "branching": beam["candidates"], "scorer_dtype": beam["scorer_dtype"]}
            found = reasoner.search(SearchRequest(some, scorer=SCORER, **settings))
        else:
            found = reasoner.sample(
                SampleRequest(some, first_sample=shard.first_sample, samples=shard.samples, **settings)
            )
        assert_same(found, pq.read_table(file))


@pytest.mark.parametrize("folder", sorted(STORE.glob("*/*/spec.json")), ids=lambda file: file.parents[1].name[:6])
def test_scores(folder: Path, scorer: ScorerWorker, problems: tuple[Problem, ...]) -> None:
    spec: dict[str, Any] = json.loads(folder.read_text())
    for file in sorted(folder.parent.glob("q*.parquet")):
        shard, _ = Shard.parse(file.name) or pytest.fail(file.name)
        trajectories = pq.read_table(folder.parents[1] / shard.file_name(spec["latents"]))
        questions = tuple(problem.question for problem in problems[shard.first_question : shard.end_question])
        request = ScoreRequest(trajectories, shard.samples, questions, spec["latents"], spec["score_answer"])
        assert_same(scorer.score(request), pq.read_table(file))
