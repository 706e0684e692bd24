"""Multiple choice: answers that name one option, by its letter or by its text.

Read as an option's letter are "B", "b", "(B)", "B.", "B)", "B: text", "(B) text", each also behind a lead-in such as
"The answer is" or "Option". Where the question lists its options ("(A) red (B) blue", one a line or in one line), their
text is read too, and a letter that is none of them, or stands beside the text of another, is not. Anything else is
ambiguous: "A and B", "a dog", two options of one text.
"""

import re
from functools import lru_cache
from typing import Final

from latent_core.answers.grading import GRADERS, Grader
from latent_core.answers.parsing import canonical_text

CHOICE: Final = "choice"
"""One option of a multiple-choice question, right if it is that of the reference."""

_LETTERS = "ABCDEFGHIJ"
_LEAD_IN = re.compile(
    r"(?:so\s+)?(?:the\s+)?(?:correct\s+|final\s+|best\s+)?(?:answer|option|choice)(?:\s+is)?\s*:?\s*", re.IGNORECASE
)
_MARKS = re.compile(r"[*`$]+|\\(?:text|textbf|mathrm|mathbf)\s*(?=\{)|[{}]")
_LETTER = re.compile(rf"\(?([{_LETTERS}])(?:\)[.:]?|[.:])?", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(rf"(?:\(([{_LETTERS}])\)[.:]?|([{_LETTERS}])[.:)])\s+(\S.*)", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile(rf"(?:(?<=\s)|\A)(?:\(([{_LETTERS}])\)[.:]?|([{_LETTERS}])[.:)])\s*(?=\S)")


@lru_cache(maxsize=4096)
def options_of(question: str) -> dict[str, str]:
    """Return the options that a question lists, letter to canonical text, from A on; empty where fewer than two.

    The last list counts: letters with a stop may stand in the question before it.
    """
    found = [(mark[1] or mark[2], mark) for mark in _OPTION.finditer(question)]
    starts = [place for place, (letter, _) in enumerate(found) if letter == "A"]
    if not starts:
        return {}
    listed = found[starts[-1] :]
    if len(listed) < 2 or [letter for letter, _ in listed] != list(_LETTERS[: len(listed)]):
        return {}
    ends = [mark.start() for _, mark in listed[1:]] + [len(question)]
    texts = {letter: question[mark.end() : end] for (letter, mark), end in zip(listed, ends, strict=True)}
    return {letter: canonical_text(text.strip(" \n\t,;")) or "" for letter, text in texts.items()}


def canonical_choice(question: str, text: str | None) -> str | None:
    """Return the letter of the option that an answer names, in upper case; None where it names none or several."""
    options = options_of(question)
    plain = " ".join(_MARKS.sub(" ", text or "").split())
    for candidate in dict.fromkeys((plain, _LEAD_IN.sub("", plain, count=1) if _LEAD_IN.match(plain) else plain)):
        letter = _letter_in(candidate, options) or _of_text(candidate, options)
        if letter is not None:
            return letter
    return None


def _letter_in(plain: str, options: dict[str, str]) -> str | None:
    alone = _LETTER.fullmatch(plain)
    if alone is not None:
        letter = alone[1].upper()
        # A lone parenthesis on the left is what is left of something longer.
        return letter if (not options or letter in options) and plain.count("(") <= plain.count(")") else None
    both = _LETTER_AND_TEXT.fullmatch(plain)
    if both is None or _OPTION.search(both[3]) is not None or _LETTER.fullmatch(both[3]) is not None:
        return None
    letter, said = (both[1] or both[2]).upper(), _of_text(both[3], options)
    if options and letter not in options:
        return None
    return letter if said in (None, letter) else None


def _of_text(plain: str, options: dict[str, str]) -> str | None:
    said = canonical_text(plain)
    named = [letter for letter, option in options.items() if said is not None and option == said]
    return named[0] if len(named) == 1 else None


def _without_question(text: str | None) -> str | None:
    return canonical_choice("", text)


def _is_the_option(question: str, reference: str, answer: str) -> bool:
    return answer == canonical_choice(question, reference)


GRADERS.register(CHOICE, Grader(_without_question, _is_the_option, fits_any_data=True, canonical_for=canonical_choice))
