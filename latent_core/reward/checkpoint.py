"""Find a LatentRM checkpoint and learn everything about it that needs no weights in memory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from latent_core.errors import UserError
from latent_core.models.checkpoint import (
    Checkpoint,
    beyond_description,
    beyond_files,
    load_config,
    read_format,
)
from latent_core.models.config_values import named_architectures
from latent_core.models.files import LATENT_FILE, fingerprint, locate, read_json
from latent_core.models.formats import FORMATS, LatentFormat
from latent_core.models.special_tokens import end_text_ids, prompt_ids
from latent_core.models.tokenization import open_tokenizer, opening_ids
from latent_core.models.weight_files import WeightSource
from latent_core.settings import Settings

ARCHITECTURE_SUFFIX = "ForTokenClassification"
CARD_FILE = "latent_rm.json"


class RewardCard(Settings):
    """What a LatentRM says about itself beyond its weights; kept in `latent_rm.json`, which released ones lack.

    Attributes:
        score_answer: Whether it was trained to score the written answer too.
        objective: Name of the objective it was trained with.
        reasoner: Fingerprint of the reasoner whose trajectories it was trained on.
        seed: Seed of its training.
        auc_by_step: Within-question AUC of the cumulative reward after each latent step, on held-out questions; None
            where it was not measured.
    """

    score_answer: bool = False
    objective: str | None = None
    reasoner: str | None = None
    seed: int | None = None
    auc_by_step: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(default=None, min_length=1)


@dataclass(frozen=True)
class RewardCheckpoint:
    """A LatentRM checkpoint directory on this machine that has been checked.

    Attributes:
        source: What the user named: a directory, a hub id, or "bundled:NAME".
        directory: Where its files are.
        config: The transformers configuration.
        tokenizer: Its tokenizer, which has to be the reasoner's.
        format: Conventions of the reasoner's family: the prompt is written as for the reasoner.
        end_id: Id of the token between the latents and the answer.
        card: What it says about itself.
        weights: The files that hold the weights, and what their headers say.
        opening: Ids in front of every prompt, as the reasoner's.
        beyond: What decides the ids of prompts beyond what former versions read from its files.
    """

    source: str
    directory: Path
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    format: LatentFormat
    end_id: int
    card: RewardCard
    weights: WeightSource
    opening: tuple[int, ...] = ()
    beyond: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, source: str) -> "RewardCheckpoint":
        """Find, download if needed, and check a LatentRM.

        Args:
            source: A directory, a Hugging Face hub id, or "bundled:NAME".

        Raises:
            UserError: If there is no such checkpoint, or it is not a LatentRM.
        """
        directory = locate(source)
        raw = read_json(source, directory / "config.json")
        family = _format(source, directory, raw, named_architectures(source, raw))
        config = load_config(source, directory, raw)
        weights = WeightSource.find(source, directory)
        opened = open_tokenizer(source, directory)
        tokenizer = opened.tokenizer
        if tokenizer.eos_token_id is None:
            raise UserError(f"scorer.checkpoint {source}: its tokenizer has no end-of-text token")
        if written := end_text_ids(source, tokenizer, family):
            end_id = written[0 if family.stop_at == "first" else -1]
        else:
            end_id = _end_id(source, config, tokenizer, family.end_token)
        opening = opening_ids(source, tokenizer) if family.opening_token else ()
        card, beyond = _read_card(source, directory), beyond_files(opened, opening)
        beyond |= beyond_description(source, directory, tokenizer, family)
        return cls(source, directory, config, tokenizer, family, end_id, card, weights, opening, beyond)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of configuration, tokenizer and weights (16 hexadecimal digits), the same wherever the files are."""
        return fingerprint(self.directory, self.weights.files, self.beyond)

    @property
    def context_length(self) -> int:
        """Positions that the model has, in tokens."""
        return int(self.config.max_position_embeddings)

    @property
    def end_of_text_id(self) -> int:
        """Id of the end-of-text token, with which prompts and answers are padded."""
        return int(str(self.tokenizer.eos_token_id))

    def prompt_ids(self, question: str) -> list[int]:
        """Tokenize a question's prompt as its reasoner would."""
        return prompt_ids(self.tokenizer, self.format, self.opening, question)

    def check_fits(self, reasoner: Checkpoint) -> None:
        """Refuse a reasoner whose latents or tokens this model cannot read.

        Raises:
            UserError: If the hidden sizes, the vocabularies or the special tokens differ.
        """
        own, others = int(self.config.hidden_size), int(reasoner.config.hidden_size)
        if own != others:
            raise UserError(
                f"scorer.checkpoint {self.source}: it reads latents of width {own}, but {reasoner.source} thinks in "
                f"width {others}; use a LatentRM that was trained for this reasoner"
            )
        vocabulary, spoken = self.tokenizer.get_vocab(), reasoner.tokenizer.get_vocab()
        for token in reasoner.format.special_tokens:
            if vocabulary.get(token) != spoken[token]:
                raise UserError(
                    f"scorer.checkpoint {self.source}: its tokenizer has {token} at {vocabulary.get(token)}, but "
                    f"{reasoner.source} has it at {spoken[token]}; use a LatentRM that was trained for this reasoner"
                )
        if self.end_id != reasoner.end_id or vocabulary != spoken or self.config.vocab_size < max(spoken.values()) + 1:
            raise UserError(
                f"scorer.checkpoint {self.source}: its vocabulary is not that of {reasoner.source}; use a LatentRM "
                "that was trained for this reasoner"
            )


def _format(source: str, directory: Path, raw: dict[str, Any], architectures: list[str]) -> LatentFormat:
    """Return the conventions of the reasoner that it was made for."""
    named = [name for name in architectures if name.endswith(ARCHITECTURE_SUFFIX)]
    described = read_format(source, directory)
    if described is not None and named:
        return described
    family = next((base for name in named if (base := name.removesuffix(ARCHITECTURE_SUFFIX)) in FORMATS), None)
    if family is None:
        wanted = ", ".join(name + ARCHITECTURE_SUFFIX for name in FORMATS)
        found = ", ".join(architectures) or "nothing"
        raise UserError(
            f"scorer.checkpoint {source}: 'architectures' in config.json names {found}, which is no known "
            f"LatentRM; known: {wanted}, and *{ARCHITECTURE_SUFFIX} with {LATENT_FILE}"
        )
    return FORMATS[family](raw)


def _end_id(source: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, end_token: str | None) -> int:
    said: int | None = getattr(config, "latent_end_id", None)
    if end_token is None and said is not None:
        return said
    found = tokenizer.get_vocab().get(str(end_token))
    if found is None:
        raise UserError(f"scorer.checkpoint {source}: its tokenizer lacks {end_token}, behind which answers stand")
    if said is not None and said != found:
        raise UserError(
            f"scorer.checkpoint {source}: config.json says latent_end_id {said}, but its tokenizer has {end_token} at "
            f"{found}"
        )
    return int(found)


def _read_card(source: str, directory: Path) -> RewardCard:
    path = directory / CARD_FILE
    if not path.is_file():
        return RewardCard()
    try:
        return RewardCard.model_validate(read_json(source, path))
    except ValueError as error:
        raise UserError(f"scorer.checkpoint {source}: {CARD_FILE} is not valid: {_one_line(error)}") from error


def write_card(card: RewardCard, directory: Path) -> None:
    """Write `latent_rm.json`."""
    (directory / CARD_FILE).write_text(json.dumps(card.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
