"""Find a checkpoint and learn everything about it that needs no weights in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from latent_core.errors import UserError
from latent_core.models.config_values import check_raw_values, check_sizes, named_architectures
from latent_core.models.files import LATENT_FILE, check_quantization, fingerprint, load_part, locate, read_json
from latent_core.models.formats import FORMATS, LatentFormat, described_format
from latent_core.models.special_tokens import (
    answer_ends,
    check_start,
    fed_text_ids,
    named_ids,
    prompt_ids,
    prompt_text,
    special_ids,
)
from latent_core.models.tokenization import OpenedTokenizer, open_tokenizer, opening_ids
from latent_core.models.weight_files import WeightSource
from latent_core.settings import explain_validation_error

_UNLIMITED = 1 << 60
_READ_AT_ONCE = 1024
"""Prompts that are tokenized in one call: what one costs more is the call, and what each leaves behind is memory."""
_LOGIT_SETTINGS = (
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
    "output_multiplier",
    "final_logit_softcapping",
    "logits_soft_cap",
    "softcap",
)
"""Keys of transformers that change logits behind the output head; see `latent_core.models.output_head`."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory on this machine that has been checked.

    Attributes:
        source: What the user named: a directory, a hub id, or "bundled:NAME".
        directory: Where its files are.
        config: The transformers configuration.
        tokenizer: Its tokenizer.
        format: Conventions of the checkpoint's family.
        architecture: The class name that `config.json` carries.
        end_id: Id of the token behind the last latent; of several, the one that ends thinking.
        latent_id: Id that stands for a latent vector; `NO_ID` where nothing does.
        weights: The files that hold the weights, and what their headers say.
        answer_ends: Ids with which an answer ends; the tokenizer's end-of-text token is the first of them.
        opening: Ids in front of every prompt, which its template does not say.
        beyond: What decides what it computes beyond what former versions read from its files; see `fingerprint`.
        end_ids: Ids that are fed behind the last latent, where they are not `end_id` alone.
        never_written: Ids that no answer has.
        gate_ids: Ids whose rows of the output head are the gate's, for going on and for stopping; none where the gate
            has tensors of its own, or there is no gate.
    """

    source: str
    directory: Path
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    format: LatentFormat
    architecture: str
    end_id: int
    latent_id: int
    weights: WeightSource
    answer_ends: tuple[int, ...]
    opening: tuple[int, ...] = ()
    beyond: Mapping[str, Any] = field(default_factory=dict)
    end_ids: tuple[int, ...] = ()
    never_written: tuple[int, ...] = ()
    gate_ids: tuple[int, ...] = ()

    @classmethod
    def open(cls, source: str) -> "Checkpoint":
        """Find, download if needed, and check a checkpoint.

        Args:
            source: A directory, a Hugging Face hub id, or "bundled:NAME".

        Raises:
            UserError: If there is no such checkpoint, or it is not a latent reasoner that can be run.
        """
        directory = locate(source)
        raw = read_json(source, directory / "config.json")
        named = named_architectures(source, raw)
        architecture, checkpoint_format = _format(source, directory, raw, named)
        config = load_config(source, directory, raw)
        weights = WeightSource.find(source, directory)
        opened = open_tokenizer(source, directory)
        tokenizer = opened.tokenizer
        if tokenizer.eos_token_id is None:
            raise UserError(f"checkpoint {source}: its tokenizer has no end-of-text token, with which answers end")
        # Lengths are checked against the model's context, with the whole rollout in view; see `check_length`.
        tokenizer.model_max_length = _UNLIMITED
        end_id, latent_id = special_ids(source, config, tokenizer, checkpoint_format)
        check_start(source, tokenizer, checkpoint_format)
        ends = answer_ends(source, directory, raw, int(tokenizer.eos_token_id), int(config.vocab_size))
        opening = opening_ids(source, tokenizer) if checkpoint_format.opening_token else ()
        beyond = beyond_files(opened, opening) | _logit_settings(config) | ({"ends": sorted(ends)} if ends[1:] else {})
        beyond |= beyond_description(source, directory, tokenizer, checkpoint_format)
        return cls(
            source,
            directory,
            config,
            tokenizer,
            checkpoint_format,
            architecture,
            end_id,
            latent_id,
            weights,
            ends,
            opening,
            beyond,
            fed_text_ids(source, tokenizer, checkpoint_format),
            named_ids(source, tokenizer, "never_written", checkpoint_format.never_written),
            named_ids(
                source, tokenizer, "gate", () if checkpoint_format.gate is None else checkpoint_format.gate.tokens
            ),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of configuration, tokenizer and weights (16 hexadecimal digits), the same wherever the files are."""
        return fingerprint(self.directory, self.weights.files, self.beyond)

    @property
    def context_length(self) -> int:
        """Positions that the model has, in tokens."""
        return int(self.config.max_position_embeddings)

    @property
    def hidden_size(self) -> int:
        """Width of a latent vector."""
        return int(self.config.hidden_size)

    def prompt_text(self, question: str) -> str:
        """Return a question's prompt, without `opening`."""
        return prompt_text(self.tokenizer, self.format, question)

    @property
    def fed_ids(self) -> tuple[int, ...]:
        """Ids that are fed behind the last latent."""
        return self.end_ids or (self.end_id,)

    @property
    def latent_steps(self) -> int:
        """T, the number of latent steps: the checkpoint's own, else the published one of its format."""
        return int(getattr(self.config, "latent_steps", None) or self.format.latent_steps)

    def prompt_ids(self, question: str) -> list[int]:
        """Tokenize a question's prompt; but for `opening`, nothing is added to what the format's template says.

        Raises:
            UserError: If the tokenizer cannot read it.
        """
        try:
            return prompt_ids(self.tokenizer, self.format, self.opening, question)
        except Exception as error:  # A bare one comes from vocabularies that lack their own unknown token.
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"checkpoint {self.source}: its tokenizer cannot read {question[:60]!r}: {reason}"
            ) from error

    def prompt_ids_of(self, questions: Sequence[str]) -> list[list[int]]:
        """Tokenize the prompts of many questions; the same ids as `prompt_ids` gives, in calls for many at a time.

        Raises:
            UserError: As `prompt_ids`, for the first question that the tokenizer cannot read.
        """
        library: Any = self.tokenizer
        if not library.is_fast:
            return [self.prompt_ids(question) for question in questions]
        found: list[list[int]] = []
        for start in range(0, len(questions), _READ_AT_ONCE):
            block = questions[start : start + _READ_AT_ONCE]
            try:
                texts = [self.prompt_text(question) for question in block]
                read = library(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
            except Exception:
                for question in block:
                    self.prompt_ids(question)
                raise
            found += [[*self.opening, *ids] for ids in read]
        return found

    def most_behind(self, latent_steps: int, answer_tokens: int) -> int:
        """Return the most positions behind a prompt: latents, end and answer, which may share one budget."""
        thinking = latent_steps + len(self.fed_ids)
        return max(thinking, answer_tokens) if self.format.budget == "shared" else thinking + answer_tokens

    def check_length(self, question_id: str, prompt_tokens: int, latent_steps: int, answer_tokens: int) -> None:
        """Refuse a question whose rollout would not fit the context.

        Raises:
            UserError: With all the lengths involved.
        """
        needed = prompt_tokens + self.most_behind(latent_steps, answer_tokens)
        if needed > self.context_length:
            ends = "end token" if len(self.fed_ids) == 1 else f"{len(self.fed_ids)} end tokens"
            behind = f"{latent_steps} latent steps + {ends} + {answer_tokens} answer tokens"
            if self.format.budget == "shared":
                behind = f"{needed - prompt_tokens} tokens of thoughts and answer together"
            raise UserError(
                f"question {question_id}: {prompt_tokens} prompt tokens + {behind} = {needed}, but {self.source} has a "
                f"context of {self.context_length}; shorten or drop the question, or lower answer_tokens"
            )


def read_format(source: str, directory: Path) -> LatentFormat | None:
    """Read the conventions of a checkpoint from its `latent.json`; None where it has no such file.

    Raises:
        UserError: If they are not valid.
    """
    path = directory / LATENT_FILE
    if not path.is_file():
        return None
    described = read_json(source, path)
    try:
        return described_format(described, read_json(source, directory / "config.json"))
    except ValidationError as error:
        raise UserError(
            f"checkpoint {source}: {LATENT_FILE}: {explain_validation_error(error, LatentFormat)}"
        ) from None
    except UserError as error:
        raise UserError(f"checkpoint {source}: {LATENT_FILE}: {error}") from None


def load_config(source: str, directory: Path, raw: Mapping[str, Any]) -> PreTrainedConfig:
    """Load the configuration of a model that transformers itself knows.

    Raises:
        UserError: If it does not, or the configuration is not valid. Code from the checkpoint is never run.
    """
    check_raw_values(source, raw)
    model_type = raw.get("model_type")
    if model_type not in CONFIG_MAPPING:
        has_code = "auto_map" in raw
        why = "code that comes with a checkpoint is never run" if has_code else "transformers has no such model"
        raise UserError(f"checkpoint {source}: model_type {model_type!r} in config.json cannot be loaded: {why}")
    check_quantization(source, raw)
    check_sizes(source, raw, CONFIG_MAPPING[str(model_type)].attribute_map)
    load = partial(AutoConfig.from_pretrained, trust_remote_code=False)
    config: PreTrainedConfig = load_part(source, "config.json", load, directory)
    for name in ("vocab_size", "hidden_size"):
        # Models of several parts have them one level further down.
        if not isinstance(getattr(config, name, None), int):
            raise UserError(f"checkpoint {source}: config.json is not that of a language model: it has no {name}")
    return config


def beyond_files(opened: OpenedTokenizer, opening: tuple[int, ...]) -> dict[str, Any]:
    """Return what decides the ids of prompts where former versions had others; nothing where they had the same.

    It goes into fingerprints, so that what was sampled from other ids is not found.
    """
    rules = {} if opened.replaced is None else {"tokenizer": "tokenizer.json"}
    return rules | ({"opening": list(opening)} if opening else {})


def beyond_description(
    source: str, directory: Path, tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat
) -> dict[str, Any]:
    """Return what decides prompts and thoughts and does not stand in the description: its family, a chat's template.

    Raises:
        UserError: If it is to be a chat, and the tokenizer has no template for one.
    """
    said: dict[str, Any] = {}
    path = directory / LATENT_FILE
    if path.is_file() and "family" in read_json(source, path):
        said["family"] = checkpoint_format.model_dump(mode="json", exclude=set(checkpoint_format.silent))
    if checkpoint_format.chat is not None:
        template: Any = tokenizer.chat_template
        if not template:
            raise UserError(
                f"checkpoint {source}: its prompt is a chat, but its tokenizer has no chat_template; write the whole "
                f'prompt into {LATENT_FILE}, with "chat": null'
            )
        said["chat_template"] = template
    return said


def _logit_settings(config: PreTrainedConfig) -> dict[str, Any]:
    """Return what former versions left out when they computed logits."""
    said = {name: getattr(config, name, None) for name in _LOGIT_SETTINGS}
    # A factor of 1 changes nothing, a cap of 1 does.
    neutral = {name: (0,) if "cap" in name else (0, 1) for name in said}
    changed = {
        name: value for name, value in said.items() if isinstance(value, int | float) and value not in neutral[name]
    }
    return {"logits": changed} if changed else {}


def _format(source: str, directory: Path, raw: Mapping[str, Any], named: list[str]) -> tuple[str, LatentFormat]:
    """Return the architecture's name and the conventions of the checkpoint."""
    described = read_format(source, directory)
    if described is not None:
        return (named or ["none"])[0], described
    architecture = next((name for name in named if name in FORMATS), None)
    if architecture is None:
        raise UserError(
            f"checkpoint {source}: 'architectures' in config.json names {', '.join(named) or 'nothing'}, which is no "
            f"known latent reasoner (known: {', '.join(FORMATS)}), and there is no {LATENT_FILE} that describes it; "
            "`latentswarm convert` writes one, and its --family says whose conventions"
        )
    return architecture, FORMATS[architecture](raw)
