"""What arrives on the host is what was on the device."""

import pytest
import torch

from latent_core.engine.host import to_host


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
