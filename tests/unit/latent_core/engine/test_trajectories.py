"""Latents that are no numbers are found, and where the first one stands; what arrives on the host was on the device."""

import pytest
import torch

from latent_core.engine.trajectories import _finite_steps, to_host


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_latents_count_up_to_the_first_that_is_not_finite(value: float) -> None:
    latents = torch.randn(4, 3, 5)
    latents[1, 2, 4] = latents[2, 0, 0] = latents[3, 1, 2] = value
    latents[3, 0, 3] = -value
    assert _finite_steps(latents).tolist() == [3, 2, 0, 0]


def test_large_latents_are_finite() -> None:
    largest = torch.finfo(torch.float32).max
    assert _finite_steps(torch.tensor([[[largest, -largest]]])).tolist() == [1]


def test_a_trajectory_without_latents() -> None:
    assert _finite_steps(torch.zeros(2, 0, 5)).tolist() == [0, 0]


def test_what_is_on_the_host_stays_where_it_is() -> None:
    tensors = [torch.arange(3), torch.ones(2, 2)]
    assert [found.data_ptr() for found in to_host(*tensors)] == [tensor.data_ptr() for tensor in tensors]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_is_on_a_gpu_is_copied() -> None:
    tensors = [torch.arange(1000, device="cuda"), torch.randn(50, 50, device="cuda")[:, ::2]]
    for found, tensor in zip(to_host(*tensors), tensors, strict=True):
        assert found.device.type == "cpu"
        assert torch.equal(found, tensor.cpu())
