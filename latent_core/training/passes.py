"""The differentiable forward pass over prompt, thoughts and answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from latent_core.training.batch import Batch


@dataclass(frozen=True)
class Prediction:
    """What the model says along one pass.

    Attributes:
        latents: The hidden states that hold the thoughts, before any noise, float [rows, latent steps, width].
        thoughts: Logits of each thought's token, float [rows, latent steps, vocabulary].
        answer: Logits of the answer's tokens, float [rows, answer tokens, vocabulary].
        taken: Token ids of the thoughts that were fed back, int64 [rows, latent steps]: the written ones, or with a
            guide what the latents decode to, noise included.
        answer_ids: Token ids of the right answer, int64 [rows, answer tokens].
    """

    latents: Tensor
    thoughts: Tensor
    answer: Tensor
    taken: Tensor
    answer_ids: Tensor


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


def _after_thoughts(model: GPT2LMHeadModel, answer: Tensor) -> Tensor:
    """Token ids that are read after the thoughts, each of which predicts one token of the answer."""
    end = torch.full_like(answer[:, :1], model.config.latent_end_id)
    return torch.cat([end, answer[:, :-1]], dim=1)


def written_pass(model: GPT2LMHeadModel, batch: Batch) -> Prediction:
    """Read prompt, the written thoughts, and the answer in one go."""
    steps = batch.thoughts.shape[1]
    behind = torch.cat([batch.thoughts, _after_thoughts(model, batch.answer)], dim=1)
    last = batch.positions[:, -1:]
    hidden = model.transformer(
        input_ids=torch.cat([batch.prompt, behind], dim=1),
        attention_mask=torch.cat([batch.mask, torch.ones_like(behind)], dim=1),
        position_ids=torch.cat([batch.positions, last + 1 + torch.arange(behind.shape[1])], dim=1),
        use_cache=False,
    ).last_hidden_state
    first = batch.prompt.shape[1] - 1
    latents = hidden[:, first : first + steps]
    answer = model.lm_head(hidden[:, -batch.answer.shape[1] :])
    return Prediction(latents, model.lm_head(latents), answer, batch.thoughts, batch.answer)


def latent_pass(
    model: GPT2LMHeadModel,
    batch: Batch,
    *,
    dropout: float = 0.0,
    noise: float = 0.0,
    least_noise: float | None = None,
    gradient: bool = True,
    generator: torch.Generator | None = None,
) -> Prediction:
    """Read the prompt, take the latent steps one after the other, and read the answer.

    Args:
        model: The reasoner, in evaluation mode.
        batch: Problems; their written thoughts give the number of latent steps. With a guide, what each fed-back
            vector decodes to is the truth for all that follows.
        dropout: Probability of dropout after the feed-forward blocks on latent steps.
        noise: Standard deviation of the noise on fed-back vectors, as a share of each vector's RMS.
        least_noise: Where given, each row draws its own standard deviation between this and `noise`.
        gradient: Whether the losses of later positions reach the thoughts through the fed-back vectors.
        generator: Source of the noise; torch's own without one. Dropout always draws from torch's own.
    """
    cache = DynamicCache(config=model.config)
    level: Tensor | float = noise
    if least_noise is not None:
        level = least_noise + (noise - least_noise) * torch.rand(len(batch), 1, 1, generator=generator)
    mask, position = batch.mask, batch.positions[:, -1:]
    hidden = model.transformer(
        input_ids=batch.prompt, attention_mask=mask, position_ids=batch.positions, past_key_values=cache, use_cache=True
    ).last_hidden_state[:, -1:]
    latents, taken = [], []
    with feed_forward_dropout(model, dropout):
        for _ in range(batch.thoughts.shape[1]):
            latents.append(hidden)
            if not gradient:
                hidden = hidden.detach()
            if noise:
                # The size of the noise is a number, not a way to lower the loss: no gradient through it.
                scale = level * hidden.detach().square().mean(-1, keepdim=True).sqrt()
                hidden = hidden + scale * torch.randn(hidden.shape, generator=generator)
            if batch.guide is not None:
                taken.append(model.lm_head(hidden.detach()).argmax(-1))
            mask = torch.cat([mask, torch.ones_like(position)], dim=1)
            position = position + 1
            hidden = model.transformer(
                inputs_embeds=hidden, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
            ).last_hidden_state
    thoughts = torch.cat(taken, dim=1) if batch.guide is not None else batch.thoughts
    answer = batch.guide.answer(thoughts) if batch.guide is not None else batch.answer
    behind = _after_thoughts(model, answer)
    answered = model.transformer(
        input_ids=behind,
        attention_mask=torch.cat([mask, torch.ones_like(behind)], dim=1),
        position_ids=position + 1 + torch.arange(behind.shape[1]),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    stacked = torch.cat(latents, dim=1)
    return Prediction(stacked, model.lm_head(stacked), model.lm_head(answered), thoughts, answer)
