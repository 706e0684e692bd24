"""For how many positions fixed memory has room: powers of two, so that few shapes occur."""

_LEAST_PROMPT, _LEAST_TAIL = 64, 32


def prompt_capacity(positions: int) -> int:
    """Return for how many positions of a prompt there is room where the longest has so many."""
    return _power_of_two(positions, _LEAST_PROMPT)


def tail_capacity(positions: int) -> int:
    """Return for how many positions behind the prompt there is room where so many are needed."""
    return _power_of_two(positions, _LEAST_TAIL)


def _power_of_two(count: int, least: int) -> int:
    return max(least, 1 << (count - 1).bit_length())
