"""The kernels draw the bits that torch operations draw."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from latent_core.kernels import philox
from latent_core.randomness import Streams

SITE = 70


@pytest.fixture
def streams() -> Streams:
    streams = Streams.for_questions(3, ["a", "b", "c"])
    return replace(streams, sample=torch.tensor([0, 5, 2**31]), rollout=torch.tensor([0, 1, 2**32 - 1]))


def on(device: torch.device, streams: Streams) -> tuple[torch.Tensor, ...]:
    return streams.key.to(device), streams.sample.to(device), streams.rollout.to(device)


@pytest.mark.parametrize("count", [0, 1, 6, 513, 1000])
@pytest.mark.parametrize("steps", [[9], [1, 2, 65535]])
def test_words(streams: Streams, device: torch.device, steps: list[int], count: int) -> None:
    step = torch.tensor(steps)
    place = (step | SITE << 16).to(device)
    found = philox.words(*on(device, streams), place, count)
    assert torch.equal(found.cpu(), streams.words(step, SITE, count))


@pytest.mark.parametrize("count", [1, 7, 8, 1025, 2000])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_masks(streams: Streams, device: torch.device, probability: float, count: int) -> None:
    place = torch.tensor([4 | SITE << 16], device=device)
    threshold = round(probability * 65536)
    found = philox.keep_mask(*on(device, streams), place, count, threshold, 65536 / (65536 - threshold))
    assert torch.equal(found.cpu(), streams.keep_mask(4, SITE, count, probability))


def test_rows_may_be_views(streams: Streams, device: torch.device) -> None:
    key, sample, rollout = on(device, streams)
    place = torch.tensor([4 | SITE << 16], device=device)
    wide = key.repeat(1, 2)[:, :2]
    assert torch.equal(philox.words(wide, sample, rollout, place, 9), philox.words(key, sample, rollout, place, 9))
