"""Checkpoints of any architecture with random weights, made in a moment."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.training.tokenizer import build_tokenizer
from latent_core.trajectory import Trajectory

WORDS = ("ann", "ben", "eva", "has", "buys", "sells", "pens", "cards", ".", "?", "###", *map(str, range(20)))
POSITIONS, WIDTH = 96, 32
SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
PROMPT = "{question}<|start-latent|>"


def save_checkpoint_of(
    directory: Path,
    model_type: str,
    described: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    words: Sequence[str] = (),
    chat_template: str | None = None,
    **config: Any,
) -> Path:
    """Write a checkpoint with random weights.

    Args:
        directory: Where to.
        model_type: Of transformers.
        described: What its `latent.json` says; None writes none.
        tensors: Of its feedback head.
        words: What its tokenizer knows beside `WORDS`.
        chat_template: Of its tokenizer; None for none.
        **config: Changes of the configuration; a latent head has a scale of 1 unless it says another.
    """
    if any(name.startswith("lt_head.") for name in tensors or ()):
        config.setdefault("latent_embedding_std", 1.0)
    tokenizer = build_tokenizer([*WORDS, *words], POSITIONS)
    tokenizer.chat_template = chat_template
    end_of_text = tokenizer.eos_token_id
    ids = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), end_of_text)
    extra = {name: config.pop(name) for name in [*config] if name in ("architectures",)}
    settings = CONFIG_MAPPING[model_type](**{**SHAPE, **ids, "vocab_size": len(tokenizer), **config})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(settings)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                # Biases and norms start at 0 and 1, where a mistake with them would not show.
                torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    if tensors:
        save_file({**load_file(directory / "model.safetensors"), **tensors}, directory / "model.safetensors")
    if described is not None:
        (directory / "latent.json").write_text(json.dumps({"prompt": PROMPT, "latent_steps": 3, **described}))
    if extra:
        content = {**json.loads((directory / "config.json").read_text()), **extra}
        (directory / "config.json").write_text(json.dumps(content))
    return directory


def linear_tensors(name: str, outputs: int, inputs: int, seed: int) -> dict[str, Tensor]:
    """Random weight and bias of a linear layer."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{name}.weight": torch.randn(outputs, inputs, generator=generator) * inputs**-0.5,
        f"{name}.bias": torch.randn(outputs, generator=generator) * 0.1,
    }


def norm_tensors(name: str, width: int, seed: int) -> dict[str, Tensor]:
    """Random weight and bias of a layer normalisation."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{name}.weight": 1.0 + 0.1 * torch.randn(width, generator=generator),
        f"{name}.bias": 0.1 * torch.randn(width, generator=generator),
    }


def projector_tensors(width: int = WIDTH, inner: int = 20, norm: bool = True) -> dict[str, Tensor]:
    """Random tensors of CODI's projector."""
    layers = linear_tensors("projector.1", inner, width, 1) | linear_tensors("projector.3", width, inner, 2)
    return layers | (norm_tensors("projector.4", width, 3) if norm else {})


def latent_head_tensors(width: int = WIDTH, inner: int = 20) -> dict[str, Tensor]:
    """Random tensors of CoLaR's latent head."""
    return {
        **linear_tensors("lt_head.fc.0", inner, width, 1),
        **linear_tensors("lt_head.fc.2", inner, inner, 2),
        **norm_tensors("lt_head.fc.3", inner, 3),
        **linear_tensors("lt_head.mean", width, inner, 4),
    }


def save_adaptive_checkpoint(folder: Path, sample: Callable[[LatentReasoner], Sequence[Trajectory]]) -> LatentReasoner:
    """Write reasoners that stop thinking at a word, until one stops early, late, and not at all.

    Args:
        folder: Where to.
        sample: Samples a reasoner; what is looked for is different numbers of steps in it.

    Returns:
        The first with five different numbers of steps, else the one with the most of them.
    """
    described = {"latent_length": "adaptive", "latent_steps": 5, "feedback": "latent_head", "latent_token": None}
    best: tuple[int, LatentReasoner] | None = None
    for number, word in enumerate(WORDS):
        directory = save_checkpoint_of(
            folder / str(number), "llama", {**described, "end_token": word}, latent_head_tensors()
        )
        reasoner = LatentReasoner.from_pretrained(str(directory))
        lengths = len({row.latent_steps for row in sample(reasoner)})
        if best is None or lengths > best[0]:
            best = lengths, reasoner
        if lengths > 4:
            break
    assert best is not None
    return best[1]


def sums_of(source: str) -> str:
    """Return what becomes of a checkpoint: fingerprint, and sums over weights and latents; or why it is refused."""
    try:
        reasoner = LatentReasoner.from_pretrained(source)
    except UserError as error:
        return str(error)
    weights = sum(float(one.double().abs().sum()) for one in reasoner.model.state_dict().values())
    latents = reasoner.feed_back(reasoner.embed(torch.arange(3)))
    return f"{reasoner.checkpoint.fingerprint} {weights} {latents.sum().item()}"
