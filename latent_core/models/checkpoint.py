"""Find a checkpoint and learn everything about it that needs no weights in memory."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from latent_core.errors import UserError
from latent_core.models.backbones import BACKBONES, Backbone
from latent_core.models.formats import FORMATS, LatentFormat

BUNDLED_PREFIX = "bundled:"
_BUNDLED_ROOT = Path(__file__).parent.parent / "bundled"
_WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json")
_TOKENIZER_PATTERNS = ("tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "*.model")
_UNLIMITED = 1 << 60
_HUB_PATTERNS = ("config.json", "generation_config.json", *_WEIGHT_PATTERNS, *_TOKENIZER_PATTERNS)


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
        directory = _locate(source)
        raw = _read_json(source, directory / "config.json")
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
        if not any(directory.glob("*.safetensors")):
            raise UserError(f"checkpoint {source}: no .safetensors weights in {directory}")
        _check_weight_files(source, directory)
        config = _load(source, "config.json", AutoConfig.from_pretrained, directory)
        tokenizer = _load(source, "tokenizer", AutoTokenizer.from_pretrained, directory)
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
        digest = hashlib.blake2b(digest_size=8)
        patterns = ("config.json", *_WEIGHT_PATTERNS, *_TOKENIZER_PATTERNS)
        for path in sorted({path for pattern in patterns for path in self.directory.glob(pattern)}):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while chunk := file.read(1 << 22):
                    digest.update(chunk)
        return digest.hexdigest()

    @property
    def context_length(self) -> int:
        """Positions that the model has, in tokens."""
        return int(self.config.max_position_embeddings)

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


def _locate(source: str) -> Path:
    if source.startswith(BUNDLED_PREFIX):
        directory = _BUNDLED_ROOT / source.removeprefix(BUNDLED_PREFIX)
        if not (directory / "config.json").is_file():
            names = sorted(BUNDLED_PREFIX + path.parent.name for path in _BUNDLED_ROOT.glob("*/config.json"))
            raise UserError(f"checkpoint {source}: not bundled; bundled are {', '.join(names)}")
        return directory
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"checkpoint {source}: the directory has no config.json")
        return path
    if path.is_absolute() or source.startswith((".", "~")) or source.count("/") != 1:
        raise UserError(f"checkpoint {source}: no such directory, and not a hub id (owner/name) or bundled:NAME")
    return _download(source)


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_PATTERNS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"checkpoint {hub_id}: no such directory, and the hub did not give it ({type(error).__name__}); where the "
            f"network is, run `hf download {hub_id}`, or name a local directory"
        ) from error


def _read_json(source: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"checkpoint {source}: {path.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {source}: {path.name} holds no settings, but a {type(content).__name__}")
    return content


def _check_weight_files(source: str, directory: Path) -> None:
    """Read the headers of the weight files, which say whether they are whole."""
    for path in sorted(directory.glob("*.safetensors")):
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise UserError(f"checkpoint {source}: the weights in {path.name} are damaged: {error}") from error


def _load(source: str, what: str, load: Callable[[Path], Any], directory: Path) -> Any:
    try:
        return load(directory)
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"checkpoint {source}: its {what} cannot be loaded: {reason}") from error


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
