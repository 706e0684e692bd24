"""Factors that cancel show orders of additions that other numbers hide."""

import pytest
import torch
from torch import Tensor

from latent_core.rounding_noise import RoundingNoise

ROWS, OUTPUTS = 64, 48


def summed(left: Tensor, right: Tensor, order: Tensor) -> Tensor:
    """The product of bfloat16 matrices, added up in an order in float32 and stored in bfloat16."""
    total = torch.zeros(ROWS, OUTPUTS)
    for place in order.tolist():
        total += left[:, place, None].float() * right[None, :, place].float()
    return total.bfloat16()


@pytest.mark.parametrize("inner", [96, 97])
def test_the_exact_product_is_zero(inner: int) -> None:
    noise = RoundingNoise(inner)
    left, right = noise.left(2, ROWS, dtype=torch.float32), noise.right(OUTPUTS, dtype=torch.float32)
    assert left.shape == (2, ROWS, inner)
    assert right.shape == (OUTPUTS, inner)
    products = left[:, :, None].double() * right.double()
    assert products.sum(dim=-1).abs().max() < 1e-12
    assert products.abs().sum(dim=-1).min() > 1


def test_another_order_shows_in_bfloat16() -> None:
    torch.manual_seed(0)
    forwards, backwards, noise = torch.arange(96), torch.arange(95, -1, -1), RoundingNoise(96)
    factors = [
        (noise.left(ROWS, dtype=torch.bfloat16), noise.right(OUTPUTS, dtype=torch.bfloat16)),
        (torch.randn(ROWS, 96).bfloat16(), torch.randn(OUTPUTS, 96).bfloat16()),
    ]
    shares = [
        float((summed(left, right, forwards) != summed(left, right, backwards)).float().mean())
        for left, right in factors
    ]
    assert shares[0] > 0.5
    assert shares[1] < 0.01
