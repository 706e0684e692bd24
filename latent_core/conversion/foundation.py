"""What weights are put on: configuration and tokenizer, and a model with shapes and nothing in it."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from latent_core.conversion.base import Options, Source
from latent_core.errors import UserError
from latent_core.models.checkpoint import load_config
from latent_core.models.files import locate, read_json
from latent_core.models.tokenization import load_tokenizer, stated_ends
from latent_core.models.weight_rules import is_padded


@dataclass(frozen=True)
class Foundation:
    """Configuration and tokenizer of a causal language model.

    Attributes:
        name: Where they come from, as the user named it.
        directory: Where they are.
        raw: Content of `config.json`.
        config: The same as transformers reads it.
        tokenizer: The tokenizer; tokens may be added to it.
    """

    name: str
    directory: Path
    raw: dict[str, Any]
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def of(cls, source: Source, options: Options, model_type: str | None = None) -> "Foundation":
        """Find it: at `--base`, else beside the weights.

        Args:
            source: The weights.
            options: What the user says.
            model_type: What transformers calls the model, where config.json has a name of the trainer's own.

        Raises:
            UserError: If there is none, there are two, or it is not that of a causal language model.
        """
        if options.base is not None and source.has_config:
            raise UserError(
                f"checkpoint {source.name}: it has a config.json beside its weights; leave --base {options.base} out"
            )
        if options.base is None and not source.has_config:
            raise UserError(
                f"checkpoint {source.name}: there is no config.json beside its weights, or an empty one; say with "
                "--base which model it was trained from (hub id or directory), for configuration and tokenizer"
            )
        name = options.base or source.name
        directory = locate(options.base) if options.base is not None else source.directory
        raw = read_json(name, directory / "config.json")
        if model_type is None:
            config = load_config(name, directory, raw)
        else:
            raw = {**raw, "model_type": model_type}
            config = _load_renamed(name, raw)
        tokenizer = load_tokenizer(name, directory)
        # What is converted has no generation_config.json, but its answers end as they did.
        ends = [one for one in stated_ends(name, directory, raw) if one < config.vocab_size]
        if set(ends) - {tokenizer.eos_token_id}:
            raw = {**raw, "eos_token_id": ends}
        return cls(name, directory, raw, config, tokenizer)

    @property
    def vocab_size(self) -> int:
        """Rows of its embeddings."""
        return int(self.config.vocab_size)

    def blank(self, vocab_size: int | None = None) -> PreTrainedModel:
        """Return the model without weights.

        Args:
            vocab_size: Rows of its embeddings, if not the configuration's own.

        Raises:
            UserError: If transformers has no causal language model for it.
        """
        config = copy.deepcopy(self.config)
        config.vocab_size = vocab_size or self.vocab_size
        try:
            with torch.device("meta"):
                model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except (AssertionError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"checkpoint {self.name}: no causal language model can be made of it: {reason}") from error
        return model


def _load_renamed(name: str, raw: Mapping[str, Any]) -> PreTrainedConfig:
    """Load a configuration that differs from the file."""
    with TemporaryDirectory() as directory:
        (Path(directory) / "config.json").write_text(json.dumps(raw), encoding="utf-8")
        return load_config(name, Path(directory), raw)


def embedding_names(model: PreTrainedModel) -> list[str]:
    """Return the names of the tensors that have one row per token, the input embeddings' first; tied ones once."""
    names: list[str] = []
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        path = next((name for name, other in model.named_modules() if other is module), None)
        if module is not None and path is not None:
            names += [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
    return [name for name in dict.fromkeys(names) if name not in model.all_tied_weights_keys]


def padded_rows(model: PreTrainedModel, tensors: Mapping[str, Any], tokens: int) -> int | None:
    """Return how many rows the input embeddings have where these are those of the tokens, padded; None elsewhere.

    Args:
        model: The model without weights.
        tensors: What there is.
        tokens: How many tokens there are.
    """
    name = embedding_names(model)[0]
    found = tensors.get(name, tensors.get(name.removeprefix(f"{model.base_model_prefix}.")))
    return int(found.shape[0]) if found is not None and is_padded(int(found.shape[0]), tokens) else None


def padding_note(rows: int, tokens: int) -> str:
    """Return what is said where embeddings are padded."""
    return f"{rows - tokens} of {rows} rows of the embeddings are padding, behind those of {tokens} tokens"


def embedding_rows(source: Source, model: PreTrainedModel, tensors: Any) -> int:
    """Return how many rows the input embeddings of a source have.

    Raises:
        UserError: If it has none.
    """
    name = embedding_names(model)[0]
    found = tensors.get(name, tensors.get(name.removeprefix(f"{model.base_model_prefix}.")))
    if found is None:
        raise UserError(f"checkpoint {source.name}: its weights lack the embeddings {name}")
    return int(found.shape[0])
