"""Files as the trainers of latent reasoners leave them: small, with random weights, made in a moment."""

from pathlib import Path
from typing import Any

import torch
from checkpoints import POSITIONS, SHAPE, WIDTH, WORDS
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

END_OF_TEXT, OPENING = "<|endoftext|>", "<|begin|>"
BASE_TOKENS = len(WORDS) + 3
"""Of the tokenizer below: ids of whatever a trainer adds begin here."""


def base_tokenizer(opens: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer that knows nothing of latents; `opens` puts a token before every text, as Llama's does."""
    entries = [END_OF_TEXT, OPENING, "<|unk|>", *WORDS]
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(entries)}, unk_token="<|unk|>"))
    backend.pre_tokenizer = Whitespace()
    if opens:
        backend.post_processor = TemplateProcessing(single=f"{OPENING} $A", special_tokens=[(OPENING, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END_OF_TEXT, bos_token=OPENING, unk_token="<|unk|>", pad_token=None
    )


def save_base(directory: Path, model_type: str, opens: bool = False, **config: Any) -> Path:
    """Write a causal language model as transformers saves it."""
    settings = {**SHAPE, "bos_token_id": 1, "vocab_size": BASE_TOKENS, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**settings))
        shake(model)
    model.save_pretrained(directory)
    base_tokenizer(opens).save_pretrained(directory)
    return directory


def shake(model: nn.Module) -> None:
    """Move biases and norms away from 0 and 1, where a mistake with them would not show."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)


def with_tokens(base: Path, more: int) -> PreTrainedModel:
    """Load a base model and give it random embeddings for further tokens, as trainers do."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base)
    rows = model.config.vocab_size + more
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for module in (model.get_input_embeddings(), model.get_output_embeddings()):
            module.weight[-more:] = 0.3 * torch.randn(more, WIDTH)
    return model.eval()


class CoconutModule(nn.Module):
    """What COCONUT's trainer saves: the embeddings have a second name."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.base_causallm = model
        self.embedding = model.get_input_embeddings()


class CodiModule(nn.Module):
    """What CODI's trainer saves: an adapted model and, mostly, a projector."""

    def __init__(self, model: nn.Module, inner: int | None = 20, norm: bool = True) -> None:
        super().__init__()
        self.codi = model
        self.prj: nn.Module = nn.Identity()
        if inner is not None:
            layers = nn.Sequential(nn.Dropout(0.0), nn.Linear(WIDTH, inner), nn.GELU(), nn.Linear(inner, WIDTH))
            if norm:
                layers.add_module("ln", nn.LayerNorm(WIDTH))
            shake(layers)
            self.prj = layers


@torch.inference_mode()
def plain_loop(
    model: nn.Module, embed: nn.Module, feed_back: nn.Module, prompt: list[int], steps: int, end: int
) -> tuple[Tensor, Tensor]:
    """Think without a cache, reading everything again at each step.

    Returns:
        The fed-back vectors, [steps, width], and the logits behind the end token, [vocabulary].
    """
    inputs, latents = embed(torch.tensor([prompt])), []
    for _ in range(steps):
        hidden = model(inputs_embeds=inputs, output_hidden_states=True).hidden_states[-1][:, -1]
        latents.append(feed_back(hidden))
        inputs = torch.cat([inputs, latents[-1][:, None]], dim=1)
    inputs = torch.cat([inputs, embed(torch.tensor([[end]]))], dim=1)
    return torch.cat(latents), model(inputs_embeds=inputs).logits[0, -1]


__all__ = ["BASE_TOKENS", "POSITIONS", "CoconutModule", "CodiModule", "plain_loop", "save_base", "with_tokens"]
