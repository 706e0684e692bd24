"""Rounding noise: matrices whose exact products are zero, so that what is computed is what was rounded on the way.

Two kernels that add up in different orders differ in the last bits of a float32 sum. Where the sum is stored in
bfloat16 next to nothing is left of that: of normal numbers added up forwards and backwards, one in 16,000 comes out
differently where 96 products are added, one in 5,000 where 768 are, so that a comparison may well say that the kernels
are alike. Where everything else cancels, most numbers do.
"""

import torch
from torch import Tensor

_EXPONENTS = 4
"""Factors are spread over as many powers of two, up and down, so that additions have something to round."""


class RoundingNoise:
    """Random factors along one inner dimension: each stands in it twice, and one side changes its sign."""

    def __init__(self, inner: int) -> None:
        """Choose which places of the inner dimension belong together."""
        self._order = torch.randperm(inner)

    def left(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """Return factors [*shape, inner]."""
        return self._factors(shape, dtype, 1.0)

    def right(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """Return factors [*shape, inner] whose products with those of `left` add up to zero."""
        return self._factors(shape, dtype, -1.0)

    def _factors(self, shape: tuple[int, ...], dtype: torch.dtype, sign: float) -> Tensor:
        inner = len(self._order)
        powers = torch.randint(-_EXPONENTS, _EXPONENTS + 1, (*shape, inner // 2)).float().exp2_()
        half = powers.mul_(torch.rand(*shape, inner // 2).sub_(0.5)).to(dtype)
        parts = [half, sign * half] if inner % 2 == 0 else [half, sign * half, half.new_zeros(*shape, 1)]
        return torch.cat(parts, dim=-1)[..., self._order]
