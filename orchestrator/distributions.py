"""Distributions of a search space: `{uniform: [low, high]}`, `{loguniform: [low, high]}`, `{randint: [low, high]}`."""

import math
import random
from typing import Any

from latent_core.errors import UserError

_KINDS = ("uniform", "loguniform", "randint")
_DIGITS = 4


def is_distribution(value: object) -> bool:
    """Whether a value of a grid stands for a distribution."""
    return isinstance(value, dict)


def draw(where: str, distribution: dict[str, Any], rng: random.Random) -> float | int:
    """Draw a value; real numbers are rounded to four significant digits, so that the names of trials can be read.

    Args:
        where: The key that it belongs to, for error messages.
        distribution: One kind and its bounds.
        rng: Where randomness comes from.

    Raises:
        UserError: If the kind is unknown or the bounds make no sense.
    """
    kind, bounds = next(iter(distribution.items())) if len(distribution) == 1 else (None, None)
    if kind not in _KINDS:
        raise UserError(f"{where}: {distribution} is no distribution; known: {', '.join(_KINDS)}, with [low, high]")
    if not _are_bounds(bounds, kind):
        wanted = {"uniform": "two numbers", "loguniform": "two numbers above 0", "randint": "two whole numbers"}[kind]
        raise UserError(f"{where}: {kind} takes [low, high], {wanted} with low < high (got {bounds!r})")
    assert bounds is not None
    low, high = bounds
    if kind == "randint":
        return rng.randint(low, high)
    if kind == "loguniform":
        return _rounded(math.exp(rng.uniform(math.log(low), math.log(high))))
    return _rounded(rng.uniform(low, high))


def _are_bounds(bounds: Any, kind: str) -> bool:
    whole = kind == "randint"
    numbers = (int,) if whole else (int, float)
    if not isinstance(bounds, list) or len(bounds) != 2:
        return False
    if any(isinstance(bound, bool) or not isinstance(bound, numbers) for bound in bounds):
        return False
    return bool(bounds[0] < bounds[1] and (kind != "loguniform" or bounds[0] > 0))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
