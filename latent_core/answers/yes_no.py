"""Questions of yes or no: answers that say one of the two, as "yes" and "no" or as "true" and "false".

Read is an answer that says nothing else, also behind a lead-in such as "So the answer is". "No, wait: yes" is ambiguous
and not read, and neither is a word with an explanation behind it.
"""

import re
from typing import Final

from latent_core.answers.grading import GRADERS, Grader

YES_NO: Final = "yes_no"
"""Yes or no, right if it is what the reference says."""

_SPELLINGS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_ANSWER = re.compile(
    r"(?:(?:so|thus|therefore|hence),?\s+)?(?:(?:the\s+)?(?:final\s+|correct\s+)?answer\s*(?:is\s*:?|:)\s*)?"
    rf"({'|'.join(_SPELLINGS)})\s*[.!]*",
    re.IGNORECASE,
)
_MARKS = re.compile(r"[*`$\"']+|\\(?:text|textbf|mathrm|mathbf|boxed)\s*(?=\{)|[{}]")


def canonical_yes_no(text: str | None) -> str | None:
    """Return "yes" or "no"; None for an answer that is neither."""
    said = _ANSWER.fullmatch(" ".join(_MARKS.sub(" ", text or "").split()))
    return None if said is None else _SPELLINGS[said[1].lower()]


def _is_the_same(question: str, reference: str, answer: str) -> bool:
    return answer == canonical_yes_no(reference)


GRADERS.register(YES_NO, Grader(canonical_yes_no, _is_the_same, fits_any_data=True))
