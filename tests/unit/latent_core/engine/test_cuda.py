"""The engine on a GPU draws the same numbers and comes to the same answers as on the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latent_core.engine.memory import free_bytes
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


@pytest.mark.parametrize("kind", [{"kind": "gaussian", "sigma": 0.3}, {"kind": "mc_dropout", "p": 0.1}])
def test_trajectories_are_the_same_up_to_rounding(tiny_checkpoint: Path, kind: dict[str, object]) -> None:
    problems = load_task(name="word_problems").problems[:4]
    on_cpu, on_gpu = (
        sample_trajectories(
            LatentReasoner.from_pretrained(str(tiny_checkpoint), device=device),
            parse_sampler(kind),
            problems,
            range(4),
            latent_steps=2,
            answer_tokens=4,
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
