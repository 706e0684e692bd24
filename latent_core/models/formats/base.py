"""What a checkpoint format has to say about a latent reasoner."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from latent_core.answers.extractors import EXTRACTORS, is_extractor
from latent_core.mixtures import MixtureSettings
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.gates import StopGateSettings
from latent_core.registry import Registry, nearest_hint
from latent_core.settings import Settings

_FIRST_SETTINGS = frozenset(
    {"name", "prompt", "feedback", "start_token", "end_token", "latent_token", "latent_length", "latent_steps"}
    | {"answer_tokens", "extractor"}
)
GENERIC_VERSION = 1
"""Version of what is done with the conventions of any `latent.json`."""
_QUESTION = "{question}"


class Chat(Settings):
    """How a prompt becomes turns of a chat, written by the tokenizer's own template.

    Attributes:
        system: Text of a turn before the question; None for none, and for what the template puts there by itself.
        tail: Text behind the beginning of the model's turn, such as a tag that opens thinking; left out where the
            template ends with it already.
        variables: What the template may ask for, such as `enable_thinking`. Templates that write a date get a fixed one
            unless `date_string` says another, so that prompts do not change from day to day.
    """

    system: str | None = None
    tail: str = ""
    variables: dict[str, bool | int | float | str] = Field(default_factory=dict)


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
            as the model predicts the end token, row by row; "gated" as soon as `gate` says so.
        latent_steps: T, the published number of latent steps; the most of them where the length is adaptive.
        answer_tokens: Longest answer to decode, in tokens, unless a run says otherwise.
        extractor: Name of the function that finds the answer in the decoded text.
        chat: Where given, `prompt` is the user's turn of a chat.
        mixture: How the `vocabulary_mixture` feedback merges tokens; of no account for others.
        end_text: Text behind the last latent, of one or more tokens, in place of `end_token`.
        stop_at: Which token of `end_text` ends thinking when the model would write it.
        end_fed: Whether all tokens of `end_text` are fed behind the last latent, or only the one that ends thinking.
        least_latent_steps: Steps that every row takes; with an adaptive length, before it may end.
        at_limit: What becomes of a row that has taken the most steps of an adaptive length without an end: "think_on"
            lets it write one token and think on, as released CoLaR does; "close" feeds it the end.
        budget: Whether latents and end count as answer tokens: "own" gives answers a limit of their own, with "shared"
            `answer_tokens` is the limit of all together.
        gate: The head that decides whether to think on, where the length is gated.
        last_latent: What becomes of the latent of a step with which thinking ends: "dropped", "fed" as a step that
            counts, or fed "with_end", added to the embedding of the end.
        fed_text: Text that is fed behind the last latent in place of the end, of one or more tokens.
        positions: With "published" the end stands where it would behind the most steps, so that positions jump where a
            row has taken fewer, as in LaTER's evaluation; with "gapless" it stands behind the last latent.
        never_written: Tokens that no answer has: their logits do not count in it.
    """

    name: str = Field(default="generic", min_length=1)
    prompt: str
    opening_token: bool = False
    feedback: str = "identity"
    start_token: str | None = "<|start-latent|>"
    end_token: str | None = "<|end-latent|>"
    latent_token: str | None = "<|latent|>"
    latent_length: Literal["fixed", "adaptive", "gated"] = "fixed"
    latent_steps: int = Field(default=6, ge=1)
    answer_tokens: int = Field(default=32, ge=1)
    extractor: str = "last_number"
    chat: Chat | None = None
    mixture: MixtureSettings | None = None
    end_text: str | None = Field(default=None, min_length=1)
    stop_at: Literal["first", "last"] = "first"
    end_fed: Literal["all", "stop"] = "all"
    least_latent_steps: int = Field(default=0, ge=0)
    at_limit: Literal["think_on", "close"] = "think_on"
    budget: Literal["own", "shared"] = "own"
    gate: StopGateSettings | None = None
    last_latent: Literal["dropped", "fed", "with_end"] = "dropped"
    fed_text: str | None = Field(default=None, min_length=1)
    positions: Literal["gapless", "published"] = "gapless"
    never_written: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_end(cls, data: Any) -> Any:
        """Let an end text take the place of the end token's default."""
        if isinstance(data, Mapping) and data.get("end_text") is not None and "end_token" not in data:
            return {**data, "end_token": None}
        return data

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
        if not is_extractor(value):
            raise ValueError(f"unknown extractor {value!r}: {nearest_hint(value, list(EXTRACTORS))}")
        return value

    @model_validator(mode="after")
    def _gate_of_a_gated_length(self) -> "LatentFormat":
        if (self.gate is not None) != (self.latent_length == "gated"):
            raise ValueError('"latent_length": "gated" and a "gate" belong together: say both, or neither')
        return self

    @property
    def silent(self) -> frozenset[str]:
        """Settings of later versions that say nothing: descriptions without them are those of earlier ones."""
        return frozenset(
            name
            for name, one in type(self).model_fields.items()
            if name not in _FIRST_SETTINGS and getattr(self, name) == one.default
        )

    @property
    def adaptive(self) -> bool:
        """Whether each trajectory has its own number of latent steps."""
        return self.latent_length != "fixed"

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Those of start, end and latent token that the tokenizer has to have."""
        return tuple(token for token in (self.start_token, self.end_token, self.latent_token) if token is not None)

    def fill_prompt(self, question: str) -> str:
        """Return the prompt text of a question; the user's turn where it is a chat."""
        return self.prompt.replace(_QUESTION, question)

    def extract_answer(self, text: str) -> str | None:
        """Return the piece of the decoded text that holds the answer, or None."""
        return EXTRACTORS[self.extractor](text)


FormatOf = Callable[[Mapping[str, Any]], LatentFormat]
"""Takes the content of `config.json`."""

FORMATS: Registry[FormatOf] = Registry("checkpoint architecture", "latent_core.models.formats", group="formats")
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


FAMILIES: Registry[FormatOf] = Registry("family", "latent_core.models.formats")
"""Formats that no architecture implies, by the name under which a `latent.json` asks for them."""


def register_family(name: str, version: int = 1) -> Callable[[FormatOf], FormatOf]:
    """Function decorator that makes a format available under the name of a family."""

    def register(format_of: FormatOf) -> FormatOf:
        return FAMILIES.register(name, format_of, version)

    return register


def described_format(described: Mapping[str, Any], config: Mapping[str, Any]) -> LatentFormat:
    """Return the format that a description names: that of its `family`, where it has one, with other settings.

    Args:
        described: Content of `latent.json`.
        config: Content of `config.json`.

    Raises:
        UserError: If there is no such family.
        ValidationError: If a setting is not valid.
    """
    settings = dict(described)
    family = settings.pop("family", None)
    if family is None:
        return LatentFormat.model_validate(settings)
    start = FAMILIES[str(family)](config).model_dump()
    for name, value in settings.items():
        is_section = isinstance(value, Mapping) and isinstance(start.get(name), Mapping)
        start[name] = _merged(start[name], value) if is_section else value
    return LatentFormat.model_validate(start)


def _merged(start: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with others, sections of sections likewise."""
    merged = dict(start)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged
