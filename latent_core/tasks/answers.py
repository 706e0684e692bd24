"""From generated text to an answer that can be compared.

An extractor takes the decoded text after the latent steps and returns the piece that holds the answer, or None.
`canonical_answer` brings that piece into one spelling per value, so that equal answers are equal strings: votes are
counted on it and it is compared with the reference.
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

Extractor = Callable[[str], str | None]

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)")


def after_last_hash(text: str) -> str | None:
    """Return what follows the last "#", the format of COCONUT checkpoints; None without a "#"."""
    _, mark, tail = text.rpartition("#")
    return tail.strip() if mark else None


def last_number(text: str) -> str | None:
    """Return the last number in the text, the format of CODI checkpoints; None without a number."""
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else None


def after_answer_marker(text: str) -> str | None:
    """Return what follows the last "Answer:", the format of CoLaR checkpoints; None without the marker."""
    _, mark, tail = text.rpartition("Answer:")
    return tail.strip() if mark else None


EXTRACTORS: dict[str, Extractor] = {
    "after_last_hash": after_last_hash,
    "last_number": last_number,
    "after_answer_marker": after_answer_marker,
}


def canonical_answer(text: str | None) -> str | None:
    """Bring a numeric answer into its one canonical spelling.

    Thousands separators, a leading currency sign, a trailing period and insignificant zeros go: "1,234", "$1234" and
    "1234.0" all become "1234".

    Returns:
        The canonical spelling, or None where the text is not one number: such an answer is wrong and never votes.
    """
    if text is None:
        return None
    stripped = text.strip().replace(",", "").removeprefix("$").rstrip(".").strip()
    if not _NUMBER.fullmatch(stripped):
        return None
    try:
        value = Decimal(stripped)
    except InvalidOperation:
        return None
    if value == 0:
        return "0"
    return format(value.normalize(), "f")
