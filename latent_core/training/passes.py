"""The differentiable forward pass over prompt, thoughts and answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from latent_core.training.data import Batch


@dataclass(frozen=True)
class Prediction:
    """What the model says along one pass.

    Attributes:
        thoughts: Logits of each step's value, float [rows, latent steps, vocabulary].
        answer: Logits of the answer's tokens, float [rows, 3, vocabulary].
    """

    thoughts: Tensor
    answer: Tensor


@contextmanager
def feed_forward_dropout(model: GPT2LMHeadModel, probability: float) -> Iterator[None]:
    """Switch dropout on after every feed-forward block, and nowhere else."""
    dropouts = [module.dropout for module in model.modules() if isinstance(module, GPT2MLP)]
    before = [(dropout.p, dropout.training) for dropout in dropouts]
    for dropout in dropouts:
        dropout.p = probability
        dropout.train(probability > 0)
    try:
        yield
    finally:
        for dropout, (p, training) in zip(dropouts, before, strict=True):
            dropout.p = p
            dropout.train(training)


def _after_thoughts(model: GPT2LMHeadModel, batch: Batch) -> Tensor:
    """Token ids that are read after the thoughts, each of which predicts one token of the answer, int64 [rows, 3]."""
    end = torch.full_like(batch.answer[:, :1], model.config.latent_end_id)
    return torch.cat([end, batch.answer[:, :-1]], dim=1)


def written_pass(model: GPT2LMHeadModel, batch: Batch) -> Prediction:
    """Read prompt, the reference values as tokens, and the answer in one go."""
    steps = batch.values.shape[1]
    behind = torch.cat([batch.values, _after_thoughts(model, batch)], dim=1)
    last = batch.positions[:, -1:]
    hidden = model.transformer(
        input_ids=torch.cat([batch.prompt, behind], dim=1),
        attention_mask=torch.cat([batch.mask, torch.ones_like(behind)], dim=1),
        position_ids=torch.cat([batch.positions, last + 1 + torch.arange(behind.shape[1])], dim=1),
        use_cache=False,
    ).last_hidden_state
    first = batch.prompt.shape[1] - 1
    thoughts = model.lm_head(hidden[:, first : first + steps])
    return Prediction(thoughts, model.lm_head(hidden[:, -batch.answer.shape[1] :]))


def latent_pass(
    model: GPT2LMHeadModel,
    batch: Batch,
    *,
    dropout: float = 0.0,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> Prediction:
    """Read the prompt, take the latent steps one after the other, and read the answer.

    Args:
        model: The reasoner, in evaluation mode.
        batch: Problems; the values give the number of latent steps.
        dropout: Probability of dropout after the feed-forward blocks on latent steps.
        noise: Standard deviation of the noise on fed-back vectors, as a share of each vector's RMS.
        generator: Source of the noise; torch's own without one. Dropout always draws from torch's own.
    """
    cache = DynamicCache(config=model.config)
    mask, position = batch.mask, batch.positions[:, -1:]
    hidden = model.transformer(
        input_ids=batch.prompt, attention_mask=mask, position_ids=batch.positions, past_key_values=cache, use_cache=True
    ).last_hidden_state[:, -1:]
    thoughts = []
    with feed_forward_dropout(model, dropout):
        for _ in range(batch.values.shape[1]):
            thoughts.append(hidden)
            if noise:
                # The size of the noise is a number, not a way to lower the loss: no gradient through it.
                scale = noise * hidden.detach().square().mean(-1, keepdim=True).sqrt()
                hidden = hidden + scale * torch.randn(hidden.shape, generator=generator)
            mask = torch.cat([mask, torch.ones_like(position)], dim=1)
            position = position + 1
            hidden = model.transformer(
                inputs_embeds=hidden, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
            ).last_hidden_state
    behind = _after_thoughts(model, batch)
    answered = model.transformer(
        input_ids=behind,
        attention_mask=torch.cat([mask, torch.ones_like(behind)], dim=1),
        position_ids=position + 1 + torch.arange(behind.shape[1]),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return Prediction(model.lm_head(torch.cat(thoughts, dim=1)), model.lm_head(answered))
