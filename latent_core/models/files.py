"""The files of a checkpoint: found, downloaded, checked and fingerprinted, whatever model they hold."""

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from latent_core.errors import UserError
from latent_core.settings import object_of_pairs

BUNDLED_PREFIX = "bundled:"
LATENT_FILE = "latent.json"
"""Conventions of a latent reasoner whose architecture does not imply them."""
GENERATION_FILE = "generation_config.json"
TOKENIZER_FILE = "tokenizer.json"
_BUNDLED_ROOT = Path(__file__).parent.parent / "bundled"
# The settings of an adapter come along, so that weights with one beside them are refused from the hub too.
_WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json", "adapter_config.json")
# As what transformers writes, and as bitsandbytes, GPTQ and compressed-tensors wrote before it.
_QUANTIZED = ("quantization_config", "compression_config", "quantize_config", "quantization")
# A template in a file of its own; its text is in fingerprints where prompts are chats.
_CHAT_PATTERNS = ("chat_template.jinja",)
_TOKENIZER_PATTERNS = ("tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "*.model")
# What tokenizers of the time before `tokenizer.json` are kept in; see `_legacy_files`.
_LEGACY_VOCABULARIES = (
    "vocab.txt",
    "vocab.bpe",
    "encoder.json",
    "emoji.json",
    "normalizer.json",
    "word_*.json",
    "*.tiktoken",
    "*.tokenizer",
    "tekken.json",
)
_ADDED_TOKENS = "added_tokens.json"
# What a LatentRM has beside its weights: without it a downloaded one would pass for one that reads no answers.
_REWARD_PATTERNS = ("latent_rm.json", "*vote_calibration.json", "gain_tables.json")
_SETTINGS_FILES = ("config.json", GENERATION_FILE, LATENT_FILE)
_LEGACY_PATTERNS = (*_LEGACY_VOCABULARIES, _ADDED_TOKENS)
_HUB_PATTERNS = (
    *(*_SETTINGS_FILES, *_WEIGHT_PATTERNS, *_TOKENIZER_PATTERNS, *_CHAT_PATTERNS),
    *(*_LEGACY_PATTERNS, *_REWARD_PATTERNS),
)


def locate(source: str) -> Path:
    """Return the directory of a checkpoint, downloading it if needed.

    Args:
        source: A directory, a Hugging Face hub id, or "bundled:NAME".

    Raises:
        UserError: If there is no such checkpoint.
    """
    return find_local(source) or _download(source)


def find_local(source: str) -> Path | None:
    """Return the directory of a checkpoint that is named by its place, or None for one that the hub may have.

    Raises:
        UserError: If there is no such checkpoint.
    """
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
    return None


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_PATTERNS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"checkpoint {hub_id}: no such directory, and the hub did not give it ({type(error).__name__}); where the "
            f"network is, run `hf download {shlex.quote(hub_id)}`, or name a local directory"
        ) from error


def read_json(source: str, path: Path) -> dict[str, Any]:
    """Read a file that holds settings.

    Raises:
        UserError: If it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.name == "config.json" and not text.strip():
            raise UserError(
                f"checkpoint {source}: config.json is empty, as SIM-CoT's trainer leaves it; `latentswarm convert "
                f"{shlex.quote(source)} --base MODEL --out DIRECTORY` takes that of the model that it was trained from"
            )
        content = json.loads(text, object_pairs_hook=object_of_pairs)
    except (OSError, ValueError) as error:
        raise UserError(f"checkpoint {source}: {path.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {source}: {path.name} holds no settings, but a {type(content).__name__}")
    return content


def check_quantization(source: str, raw: Mapping[str, Any]) -> None:
    """Refuse weights that a library has quantized: what stands for a weight is not its value then.

    Raises:
        UserError: If config.json says so.
    """
    for key in _QUANTIZED:
        if not raw.get(key):
            continue
        said = raw[key].get("quant_method") if isinstance(raw[key], Mapping) else None
        raise UserError(
            f"checkpoint {source}: its weights are quantized ({key} in config.json"
            + (f": {said}" if said else "")
            + "), which is not run here; load it with transformers, dequantize, save_pretrained, and name that"
        )


def load_part(source: str, what: str, load: Callable[[Path], Any], directory: Path) -> Any:
    """Call a library's loading function on the directory.

    Raises:
        UserError: If it fails; `what` names what was loaded.
    """
    try:
        return load(directory)
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"checkpoint {source}: its {what} cannot be loaded: {reason}") from error


def fingerprint(directory: Path, weights: Iterable[Path], beyond: Mapping[str, Any] | None = None) -> str:
    """Hash configuration, tokenizer and weights: 16 hexadecimal digits, the same wherever they are.

    Args:
        directory: Where configuration and tokenizer are.
        weights: The files that decide the weights, and no others that may lie beside them.
        beyond: What else decides what the checkpoint computes and is not in all of these files, or was read from them
            in another way by former versions; nothing for most checkpoints, whose hash has to stay what it was.
    """
    digest = hashlib.blake2b(digest_size=8)
    patterns = ("config.json", LATENT_FILE, *_TOKENIZER_PATTERNS)
    described = {path for pattern in patterns for path in directory.glob(pattern)}
    for path in sorted({*weights} | described | _legacy_files(directory)):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    if beyond:
        digest.update(json.dumps(beyond, sort_keys=True).encode())
    return digest.hexdigest()


def _legacy_files(directory: Path) -> set[Path]:
    """Return the files of old tokenizers that are read; beside newer ones they mean nothing."""
    found: set[Path] = set()
    if not (directory / TOKENIZER_FILE).is_file():
        found.update(path for pattern in _LEGACY_VOCABULARIES for path in directory.glob(pattern))
    settings = directory / "tokenizer_config.json"
    # Where the settings list the added tokens themselves, the library does not look into the file.
    if (directory / _ADDED_TOKENS).is_file() and not (
        settings.is_file() and "added_tokens_decoder" in read_json(str(directory), settings)
    ):
        found.add(directory / _ADDED_TOKENS)
    return found
