"""Find a checkpoint and learn everything about it that needs no weights in memory."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from latent_core.errors import UserError
from latent_core.models.backbones import BACKBONES, Backbone
from latent_core.models.files import check_weight_files, fingerprint, load_part, locate, read_json
from latent_core.models.formats import FORMATS, LatentFormat

_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory on this machine that has been checked.

    Attributes:
        source: What the user named: a directory, a hub id, or "bundled:NAME".
        directory: Where its files are.
        config: The transformers configuration.
        tokenizer: Its tokenizer.
        format: Conventions of the checkpoint's family.
        backbone: Module names of its architecture.
        end_id: Id of the token that is forced behind the last latent.
        latent_id: Id that stands for a latent vector.
    """

    source: str
    directory: Path
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    format: LatentFormat
    backbone: Backbone
    end_id: int
    latent_id: int

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
        architectures = raw.get("architectures") or []
        architecture = next((name for name in architectures if name in FORMATS), None)
        if architecture is None:
            named = ", ".join(architectures) or "nothing"
            raise UserError(
                f"checkpoint {source}: 'architectures' in config.json names {named}, which is no known latent "
                f"reasoner; known: {', '.join(FORMATS)}"
            )
        checkpoint_format = FORMATS[architecture]
        if str(raw.get("model_type")) not in BACKBONES:
            raise UserError(
                f"checkpoint {source}: model_type {raw.get('model_type')!r} in config.json is not supported; "
                f"known: {', '.join(BACKBONES)}"
            )
        check_weight_files(source, directory)
        config = load_part(source, "config.json", AutoConfig.from_pretrained, directory)
        tokenizer = load_part(source, "tokenizer", AutoTokenizer.from_pretrained, directory)
        if tokenizer.eos_token_id is None:
            raise UserError(f"checkpoint {source}: its tokenizer has no end-of-text token, with which answers end")
        # Lengths are checked against the model's context, with the whole rollout in view; see `check_length`.
        tokenizer.model_max_length = _UNLIMITED
        ids = _special_ids(source, config, tokenizer, checkpoint_format)
        backbone = BACKBONES[config.model_type]
        return cls(source, directory, config, tokenizer, checkpoint_format, backbone, end_id=ids[1], latent_id=ids[2])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of configuration, tokenizer and weights (16 hexadecimal digits), the same wherever the files are."""
        return fingerprint(self.directory)

    @property
    def context_length(self) -> int:
        """Positions that the model has, in tokens."""
        return int(self.config.max_position_embeddings)

    @property
    def latent_steps(self) -> int:
        """T, the number of latent steps: the checkpoint's own, else the published one of its format."""
        return int(getattr(self.config, "latent_steps", None) or self.format.latent_steps)

    def prompt_ids(self, question: str) -> list[int]:
        """Tokenize a question's prompt; nothing is added to what the format's template says."""
        ids: list[int] = self.tokenizer(self.format.prompt(question), add_special_tokens=False)["input_ids"]
        return ids

    def check_length(self, question_id: str, prompt_tokens: int, latent_steps: int, answer_tokens: int) -> None:
        """Refuse a question whose rollout would not fit the context.

        Raises:
            UserError: With all the lengths involved.
        """
        needed = prompt_tokens + latent_steps + 1 + answer_tokens
        if needed > self.context_length:
            raise UserError(
                f"question {question_id}: {prompt_tokens} prompt tokens + {latent_steps} latent steps + end token + "
                f"{answer_tokens} answer tokens = {needed}, but {self.source} has a context of {self.context_length}; "
                "shorten or drop the question, or lower answer_tokens"
            )


def _special_ids(
    source: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, checkpoint_format: LatentFormat
) -> list[int]:
    """Return the ids of start, end and latent token, checked against tokenizer and configuration."""
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in checkpoint_format.special_tokens if token not in vocabulary]
    if missing:
        raise UserError(
            f"checkpoint {source}: its tokenizer lacks the latent tokens {', '.join(missing)}; "
            "it is not the tokenizer this reasoner was trained with"
        )
    ids = [vocabulary[token] for token in checkpoint_format.special_tokens]
    for key, token, found in zip(
        ("latent_start_id", "latent_end_id", "latent_id"), checkpoint_format.special_tokens, ids, strict=True
    ):
        said = getattr(config, key, found)
        if said != found:
            raise UserError(
                f"checkpoint {source}: config.json says {key} {said}, but its tokenizer has {token} at {found}"
            )
    if max(ids) >= config.vocab_size:
        raise UserError(
            f"checkpoint {source}: latent token id {max(ids)} is outside its {config.vocab_size} embeddings"
        )
    return ids
