"""The conventions of a converted checkpoint: those of its family, with what the user says otherwise."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from latent_core.conversion.base import Options
from latent_core.errors import UserError
from latent_core.models.formats import FAMILIES as DESCRIBED
from latent_core.models.formats import FORMATS, LatentFormat
from latent_core.settings import explain_validation_error

FAMILIES = (
    *("coconut", "codi", "colar", "generic"),
    *("colar_policy", "latent_grpo", "latent_sft", "multiplex", "soft_thinking"),
)
"""Families whose conventions can be asked for by name."""
_ID_KEYS = ("latent_start_id", "latent_end_id", "latent_id")


def family_format(family: str, has_projector: bool, config: Mapping[str, Any] | None = None) -> LatentFormat:
    """Return the published conventions of a family, which the content of `config.json` may vary."""
    if family == "coconut":
        return FORMATS["COCONUTGPT2"]({})
    if family == "codi":
        return FORMATS["CODIGPT2"]({"projector": has_projector})
    if family == "colar":
        return FORMATS["ColarLlama"]({})
    if family in DESCRIBED:
        return DESCRIBED[family](config or {})
    return LatentFormat(prompt="{question}<|start-latent|>")


def changed_format(start: LatentFormat, changes: Mapping[str, Any]) -> LatentFormat:
    """Return a format with other settings; a prompt that is not among them follows the start token.

    Raises:
        UserError: If a setting is not valid.
    """
    values = {**start.model_dump(), **changes}
    if "prompt" in changes:
        # A prompt that somebody wrote out is the whole prompt.
        values["opening_token"] = changes.get("opening_token", False)
    if "prompt" not in changes and start.start_token is not None:
        values["prompt"] = start.prompt.replace(start.start_token, values["start_token"] or "")
    try:
        return LatentFormat.model_validate(values)
    except ValidationError as error:
        field, _, reason = explain_validation_error(error, LatentFormat).partition(": ")
        raise UserError(f"--{field.replace('_', '-')}: {reason}") from None


def opened_prompt(checkpoint_format: LatentFormat, tokenizer: PreTrainedTokenizerBase) -> LatentFormat:
    """Return the format with the token that a tokenizer puts before every text written out in its prompt.

    Trainers let the tokenizer add it; prompts of this package say all that is in them.
    """
    opening = tokenizer.bos_token
    written: Sequence[int] = tokenizer("a", add_special_tokens=True)["input_ids"]
    bare: Sequence[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    if opening is None or len(written) == len(bare) or written[0] != tokenizer.bos_token_id:
        return checkpoint_format
    prompt = str(opening) + checkpoint_format.prompt
    return checkpoint_format.model_copy(update={"prompt": prompt, "opening_token": False})


def steps_note(conventions: LatentFormat, options: Options, otherwise: str = "as published") -> str:
    """Return what is said about a number of latent steps that no trainer writes into its files."""
    most = "up to " if conventions.adaptive else ""
    said = f"{otherwise}; --latent-steps says another number"
    if "latent_steps" in options.changes:
        said = "as --latent-steps says"
    return f"thinks in {most}{conventions.latent_steps} latent steps, {said}"


def released_name(family: str, model_type: str) -> str | None:
    """Return the architecture under which checkpoints of a family and a model type are released, if there is one."""
    stems = {"coconut": "COCONUT", "codi": "CODI"}
    backbones = {"gpt2": "GPT2", "llama": "Llama"}
    name = stems.get(family, "") + backbones.get(model_type, "-")
    return name if name in FORMATS else None


def described_config(
    raw: Mapping[str, Any],
    checkpoint_format: LatentFormat,
    architecture: str | None,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[dict[str, Any], LatentFormat | None]:
    """Return the content of `config.json`, and of `latent.json` where that one does not say it all.

    Args:
        raw: What `config.json` says so far.
        checkpoint_format: The conventions.
        architecture: A released architecture, which implies conventions, or None.
        tokenizer: The tokenizer, latent tokens included.

    Raises:
        UserError: If a token of the conventions is not among them.
    """
    config = dict(raw)
    # Code that comes with a checkpoint is never run.
    config.pop("auto_map", None)
    if architecture is not None:
        config["architectures"] = [architecture]
    tokens = (checkpoint_format.start_token, checkpoint_format.end_token, checkpoint_format.latent_token)
    vocabulary = tokenizer.get_vocab()
    lacking = [token for token in tokens if token is not None and token not in vocabulary]
    if lacking:
        raise UserError(
            f"the tokenizer has no {lacking[0]}: these weights were trained with latent tokens of their own; leave "
            "--start-token, --end-token and --latent-token out"
        )
    for key, token in zip(_ID_KEYS, tokens, strict=True):
        if token is not None and (architecture is not None or key in config):
            config[key] = vocabulary[token]
    if architecture is not None and FORMATS[architecture](config) == checkpoint_format:
        return config, None
    # What both files say could contradict each other; the configuration's number would win.
    config.pop("latent_steps", None)
    return config, checkpoint_format
