"""Build the GPT-2 whose last hidden state is fed back, and save it the way COCONUT checkpoints are released."""

import copy
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from latent_core.models.formats.coconut import COCONUT
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import END_LATENT, LATENT, START_LATENT

_ARCHITECTURE = "COCONUTGPT2"
_IGNORED_TARGET = -100


def number_features(values: Tensor, periods: tuple[float, ...]) -> Tensor:
    """Return sine and cosine of numbers at several periods: unit RMS, and adding a constant is a rotation.

    Args:
        values: Numbers, float [n].
        periods: One pair of features per period.

    Returns:
        float [n, 2 * len(periods)].
    """
    angles = values[:, None] * (2 * math.pi / torch.tensor(periods))
    return math.sqrt(2) * torch.cat([angles.sin(), angles.cos()], dim=1)


def build_model(
    settings: ArchitectureSettings, tokenizer: PreTrainedTokenizerFast, latent_steps: int = COCONUT.latent_steps
) -> GPT2LMHeadModel:
    """Create an untrained reasoner from torch's current random state.

    Number tokens start with features of their value. Learned from random embeddings, arithmetic on hundreds of
    numbers would take many times as long.
    """
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=settings.positions,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.heads,
        resid_pdrop=settings.dropout,
        embd_pdrop=settings.dropout,
        attn_pdrop=settings.dropout,
        activation_function=settings.activation,
        initializer_range=settings.initial_std,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    # What a released COCONUT GPT-2 says about itself beyond a plain GPT-2.
    config.latent_start_id = tokenizer.convert_tokens_to_ids(START_LATENT)
    config.latent_end_id = tokenizer.convert_tokens_to_ids(END_LATENT)
    config.latent_id = tokenizer.convert_tokens_to_ids(LATENT)
    config.target_id = _IGNORED_TARGET
    if latent_steps != COCONUT.latent_steps:
        config.latent_steps = latent_steps
    model = GPT2LMHeadModel(config)
    model.transformer.ln_f.weight.detach().fill_(settings.final_norm)
    numbers = {int(token): index for token, index in tokenizer.get_vocab().items() if token.isdecimal()}
    features = number_features(torch.tensor(list(numbers), dtype=torch.float32), settings.number_periods)
    with torch.no_grad():
        model.transformer.wte.weight[list(numbers.values()), : features.shape[1]] = features * settings.initial_std
    return model


def save_checkpoint(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, directory: Path, dtype: torch.dtype
) -> None:
    """Write config, weights and tokenizer in the Hugging Face layout; the model itself keeps its type."""
    directory.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(model.config)
    # The class name by which COCONUT checkpoints are recognised; save_pretrained would write the class it runs in.
    config.architectures = [_ARCHITECTURE]
    config.dtype = dtype
    config.save_pretrained(directory)
    # The output head is the embedding matrix; a file must not hold it twice.
    weights = {name: weight.to(dtype) for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    assert model.generation_config is not None  # Every language model of transformers has one.
    model.generation_config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
