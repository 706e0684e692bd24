"""The engine on a GPU draws the same numbers and comes to the same answers as on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latent_core.engine.cuda_graph import CudaGraph
from latent_core.engine.graph_cache import GraphCache
from latent_core.engine.memory import free_bytes
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler
from latent_core.tasks.loading import load_task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_draws_are_the_same_bits() -> None:
    on_cpu, on_gpu = (Streams.for_questions(3, ["a", "b"], device) for device in ("cpu", "cuda"))
    assert torch.equal(on_cpu.words(5, 7, 1000), on_gpu.words(5, 7, 1000).cpu())


SAMPLERS: list[dict[str, Any]] = [
    {"kind": "gaussian", "sigma": 0.3},
    {"kind": "mc_dropout", "p": 0.1},
    {"kind": "mc_dropout", "p": 0.1, "sites": ["attention_weights", "embedding"]},
    {"kind": "mc_dropout", "p": 0.1, "scope": ["prompt", "latent", "answer"], "mask": "trajectory"},
    {"kind": "singular_value", "alpha": 0.3},
    {"kind": "answer_sampling", "temperature": 3.0},
]


@pytest.mark.parametrize("kind", SAMPLERS, ids=str)
def test_trajectories_are_the_same_up_to_rounding(tiny_checkpoint: Path, kind: dict[str, Any]) -> None:
    problems = load_task(name="word_problems").problems[:4]
    on_cpu, on_gpu = (
        sample_trajectories(
            LatentReasoner.from_pretrained(str(tiny_checkpoint), device=device),
            parse_sampler(kind),
            problems,
            range(4),
            latent_steps=6,
            answer_tokens=6,
            seed=0,
        )
        for device in ("cpu", "cuda")
    )
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert one.latents is not None
        assert other.latents is not None
        np.testing.assert_allclose(one.latents, other.latents, atol=1e-3)


def test_a_gpu_says_what_it_has() -> None:
    device = torch.device("cuda")
    before = free_bytes(device)
    held = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    after = free_bytes(device)
    assert before is not None
    assert after is not None
    assert before - after >= held.numel()
    del held
    # What torch keeps for itself is still free.
    again = free_bytes(device)
    assert again is not None
    assert again >= before - (1 << 22)


@pytest.mark.parametrize("kind", [kind for kind in SAMPLERS if "attention_weights" not in str(kind)], ids=str)
def test_captured_steps_are_the_same_as_others(tiny_checkpoint: Path, kind: dict[str, Any]) -> None:
    reasoner, sampler = LatentReasoner.from_pretrained(str(tiny_checkpoint), device="cuda"), parse_sampler(kind)
    problems = load_task(name="word_problems").problems[:3]
    prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
    engine = RolloutEngine(reasoner, sampler)
    found = []
    for devices in (frozenset({"cuda"}), frozenset[str]()):
        engine.runtime.graph_cache = GraphCache(devices)
        for _ in range(2):
            # The second batch of a shape only replays.
            state = engine.start(prompts, ["a", "b", "c"], 0, range(8))
            for _ in range(5):
                state = engine.step(state)
        answers = engine.decode(state, 6, keep_logits=True)
        assert answers.logits is not None
        written = torch.arange(answers.token_ids.shape[1], device="cuda") < answers.lengths[:, None]
        found.append((state.latents, answers.logits[written], answers.token_ids, answers.lengths))
        if devices:
            (runner,) = engine.runtime.graph_cache._runners.values()
            assert all(one._graph is not None for one in runner._graphs.values())
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_captured_is_run_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    device, one = torch.device("cuda"), torch.ones(3, device="cuda")
    graph = CudaGraph()
    for value in (1.0, 2.0, 3.0):
        one.fill_(value)
        assert graph.run(lambda: one * int(one.sum() > 0), device).tolist() == [value] * 3
    assert "not captured" in caplog.text
    # Neither random numbers nor later captures suffer from the one that failed.
    assert torch.randn(3, device="cuda").isfinite().all()
    other = CudaGraph()
    for value in (1.0, 2.0, 3.0):
        one.fill_(value)
        assert other.run(lambda: one * 2, device).tolist() == [2 * value] * 3
    assert other._graph is not None
