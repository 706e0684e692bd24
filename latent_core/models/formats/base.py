"""What a checkpoint format has to say about a latent reasoner."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from latent_core.answers.extractors import EXTRACTORS
from latent_core.models.feedback import FEEDBACKS
from latent_core.registry import Registry, nearest_hint
from latent_core.settings import Settings

GENERIC_VERSION = 1
"""Version of what is done with the conventions of any `latent.json`."""
_QUESTION = "{question}"


class LatentFormat(Settings):
    """Conventions of a latent reasoner (prompt, tokens, feedback, answer), apart from its weights.

    A registered architecture implies them; for any other checkpoint they stand in `latent.json` beside `config.json`.

    Attributes:
        name: Short name of the family.
        prompt: The prompt's template, with `{question}` in it; it ends where the first latent is read.
        opening_token: Whether the token that the tokenizer puts before every text, such as begin-of-text, stands in
            front of the prompt; nothing where it has none.
        feedback: What turns the last hidden state into the next input: the name of a feedback head.
        start_token: Token that opens the latent steps; None where the prompt needs none.
        end_token: Token behind the last latent; None where `latent_end_id` of `config.json` names it.
        latent_token: Token that stands for a latent vector in id sequences; None where nothing does.
        latent_length: "fixed" thinks for `latent_steps` steps and then forces the end token; "adaptive" stops as soon
            as the model predicts the end token, row by row.
        latent_steps: T, the published number of latent steps; the most of them where the length is adaptive.
        answer_tokens: Longest answer to decode, in tokens, unless a run says otherwise.
        extractor: Name of the function that finds the answer in the decoded text.
    """

    name: str = Field(default="generic", min_length=1)
    prompt: str
    opening_token: bool = False
    feedback: str = "identity"
    start_token: str | None = "<|start-latent|>"
    end_token: str | None = "<|end-latent|>"
    latent_token: str | None = "<|latent|>"
    latent_length: Literal["fixed", "adaptive"] = "fixed"
    latent_steps: int = Field(default=6, ge=1)
    answer_tokens: int = Field(default=32, ge=1)
    extractor: str = "last_number"

    @field_validator("prompt")
    @classmethod
    def _asks_the_question(cls, value: str) -> str:
        if _QUESTION not in value:
            raise ValueError(f"the template has to contain {_QUESTION}")
        return value

    @field_validator("feedback")
    @classmethod
    def _known_feedback(cls, value: str) -> str:
        if value not in FEEDBACKS:
            raise ValueError(f"unknown feedback {value!r}: {nearest_hint(value, list(FEEDBACKS))}")
        return value

    @field_validator("extractor")
    @classmethod
    def _known_extractor(cls, value: str) -> str:
        if value not in EXTRACTORS:
            raise ValueError(f"unknown extractor {value!r}: {nearest_hint(value, list(EXTRACTORS))}")
        return value

    @property
    def adaptive(self) -> bool:
        """Whether each trajectory has its own number of latent steps."""
        return self.latent_length == "adaptive"

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Those of start, end and latent token that the tokenizer has to have."""
        return tuple(token for token in (self.start_token, self.end_token, self.latent_token) if token is not None)

    def fill_prompt(self, question: str) -> str:
        """Return the prompt text of a question."""
        return self.prompt.replace(_QUESTION, question)

    def extract_answer(self, text: str) -> str | None:
        """Return the piece of the decoded text that holds the answer, or None."""
        return EXTRACTORS[self.extractor](text)


FormatOf = Callable[[Mapping[str, Any]], LatentFormat]
"""Takes the content of `config.json`."""

FORMATS: Registry[FormatOf] = Registry("checkpoint architecture", "latent_core.models.formats")
"""Formats by the architecture that `config.json` names."""


def register_format(*architectures: str, version: int = 1) -> Callable[[FormatOf], FormatOf]:
    """Function decorator that makes a format available under the names of its architectures.

    Args:
        architectures: Class names that `config.json` carries.
        version: Raised with what a shipped format does, so that what an older one has sampled is not taken for its own.
    """

    def register(format_of: FormatOf) -> FormatOf:
        for architecture in architectures:
            FORMATS.register(architecture, format_of, version)
        return format_of

    return register
