"""Latents that are no numbers are found, and where the first one stands; what arrives on the host was on the device."""

import pytest
import torch

from latent_core.engine.trajectories import _are_finite, _finite_steps, _rounded, to_host


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_latents_count_up_to_the_first_that_is_not_finite(value: float) -> None:
    latents = torch.randn(4, 3, 5)
    latents[1, 2, 4] = latents[2, 0, 0] = latents[3, 1, 2] = value
    latents[3, 0, 3] = -value
    assert _finite_steps(latents).tolist() == [3, 2, 0, 0]
    assert not _are_finite(latents)
    assert _are_finite(latents[:1])


def test_large_latents_are_finite() -> None:
    largest = torch.finfo(torch.float32).max
    assert _finite_steps(torch.tensor([[[largest, -largest]]])).tolist() == [1]


def test_a_trajectory_without_latents() -> None:
    assert _finite_steps(torch.zeros(2, 0, 5)).tolist() == [0, 0]
    assert _are_finite(torch.zeros(2, 0, 5))


@pytest.mark.parametrize("computed", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("recorded", [torch.float32, torch.float16])
def test_latents_are_rounded_as_torch_does(computed: torch.dtype, recorded: torch.dtype) -> None:
    latents = torch.cat([torch.randn(3, 2, 64), torch.tensor([1e-7, -65520.0, 1e9, float("nan")]).repeat(1, 2, 16)])
    latents = latents.to(computed)
    found = _rounded(latents, recorded)
    assert found.dtype == recorded
    torch.testing.assert_close(found, latents.to(recorded), rtol=0, atol=0, equal_nan=True)


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
