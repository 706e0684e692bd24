"""The kernel writes what an indexed copy writes."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from latent_core.kernels.append import append


@pytest.mark.parametrize("sliced", [False, True])
def test_one_position_is_written(device: torch.device, sliced: bool) -> None:
    torch.manual_seed(0)
    # As projections leave them: keys and values side by side, heads inside a position.
    made = torch.randn(37, 1, 3, 5, 24)
    keys, values = (made[:, :, one].transpose(1, 2) for one in (1, 2))
    if not sliced:
        keys, values = keys.contiguous(), values
    buffers = [torch.randn(37, 5, 9, 24) for _ in range(2)]
    expected = [buffer.clone() for buffer in buffers]
    for buffer, new in zip(expected, (keys, values), strict=True):
        buffer[:, :, 6:7] = new
    found = [buffer.to(device) for buffer in buffers]
    if device.type == "cuda":
        keys, values = made.to(device)[:, :, 1].transpose(1, 2), made.to(device)[:, :, 2].transpose(1, 2)
    append(found[0], found[1], keys, values, torch.tensor([6], device=device))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.cpu(), other)
