"""Search-space distributions: `{uniform: [low, high]}`, `{loguniform: [low, high]}`, `{randint: [low, high]}`."""

import math
import random
from typing import Any

from latent_core.errors import UserError

KINDS = ("uniform", "loguniform", "randint")
_DIGITS = 4


def is_distribution(value: object) -> bool:
    """Whether a value of a grid stands for a distribution; a budget is the only other value that has keys."""
    return isinstance(value, dict) and not {"rule", "waves"} & value.keys()


def bounds(where: str, distribution: dict[str, Any]) -> tuple[float, float]:
    """Return the least and the greatest value of a distribution.

    Args:
        where: The key that it belongs to, for error messages.
        distribution: One kind and its bounds.

    Raises:
        UserError: If the kind is unknown or the bounds make no sense.
    """
    kind_of(where, distribution)
    [(low, high)] = distribution.values()
    return low, high


def kind_of(where: str, distribution: dict[str, Any]) -> str:
    """Return the kind of a distribution whose bounds make sense.

    Raises:
        UserError: If the kind is unknown or the bounds make no sense.
    """
    kind, ends = next(iter(distribution.items())) if len(distribution) == 1 else (None, None)
    if kind not in KINDS:
        raise UserError(f"{where}: {distribution} is no distribution; known: {', '.join(KINDS)}, with [low, high]")
    if not _are_bounds(ends, kind):
        wanted = {"uniform": "two numbers", "loguniform": "two numbers above 0", "randint": "two whole numbers"}[kind]
        raise UserError(f"{where}: {kind} takes [low, high], {wanted} with low < high (got {ends!r})")
    return str(kind)


def draw(where: str, distribution: dict[str, Any], rng: random.Random) -> float | int:
    """Draw a value; real numbers are rounded, see `readable`.

    Args:
        where: The key that it belongs to, for error messages.
        distribution: One kind and its bounds.
        rng: Where randomness comes from.

    Raises:
        UserError: If the kind is unknown or the bounds make no sense.
    """
    kind, (low, high) = kind_of(where, distribution), bounds(where, distribution)
    if kind == "randint":
        return rng.randint(int(low), int(high))
    if kind == "loguniform":
        return readable(math.exp(rng.uniform(math.log(low), math.log(high))))
    return readable(rng.uniform(low, high))


def readable(value: float) -> float:
    """Round to four significant digits, so that the names of trials can be read."""
    return float(f"{value:.{_DIGITS}g}")


def _are_bounds(ends: Any, kind: str) -> bool:
    whole = kind == "randint"
    numbers = (int,) if whole else (int, float)
    if not isinstance(ends, list) or len(ends) != 2:
        return False
    if any(isinstance(bound, bool) or not isinstance(bound, numbers) for bound in ends):
        return False
    return bool(ends[0] < ends[1] and (kind != "loguniform" or ends[0] > 0))
