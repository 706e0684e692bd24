"""The differentiable forward pass over prompt, thoughts and answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from transformers import DynamicCache, GPT2LMHeadModel, PreTrainedModel

from latent_core.models.backbones import find_backbone
from latent_core.samplers.base import Site
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


@dataclass(frozen=True)
class Disturbance:
    """What training does to latent steps.

    Attributes:
        dropout: Probability of dropout after the feed-forward blocks.
        noise: Standard deviation of the noise on fed-back vectors, as a share of each vector's RMS.
        least_noise: Where given, each row draws its own standard deviation between this and `noise`.
        gradient: Whether the losses of later positions reach the thoughts through the fed-back vectors.
    """

    dropout: float = 0.0
    noise: float = 0.0
    least_noise: float | None = None
    gradient: bool = True


UNDISTURBED = Disturbance()


@dataclass(frozen=True)
class Thinking:
    """Where a batch is behind its latent steps.

    Attributes:
        latents: The hidden states that hold the thoughts, before feedback and noise, float [rows, steps, width].
        cache: Keys and values of prompt and latents.
        mask: 1 at tokens and latents and 0 at padding, int64 [rows, prompt + steps].
        position: Position of the last latent, int64 [rows, 1].
    """

    latents: Tensor
    cache: DynamicCache
    mask: Tensor
    position: Tensor


@contextmanager
def feed_forward_dropout(model: PreTrainedModel, probability: float) -> Iterator[None]:
    """Switch dropout on after every feed-forward block, and nowhere else."""
    base: nn.Module = model.base_model
    backbone = find_backbone("in training", base)
    hooks = [
        block.get_submodule(backbone.sites[Site.FEED_FORWARD]).register_forward_hook(
            lambda _module, _inputs, output: drop(output, probability)
        )
        for block in (backbone.blocks(base) if probability else ())
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def take_latent_steps(
    model: PreTrainedModel,
    batch_prompt: tuple[Tensor, Tensor, Tensor],
    steps: int,
    disturbance: Disturbance = UNDISTURBED,
    *,
    feedback: nn.Module | None = None,
    generator: torch.Generator | None = None,
    watch: Callable[[Tensor], None] | None = None,
) -> Thinking:
    """Read prompts and take latent steps one after the other.

    Args:
        model: The reasoner, in evaluation mode.
        batch_prompt: Token ids, mask and positions, int64 [rows, prompt] each; the last column is of no padding.
        steps: Latent steps.
        disturbance: What is done to them.
        feedback: What turns hidden states into what is fed back; None for the hidden states themselves.
        generator: Source of the noise, on the CPU; torch's own without one. Dropout always draws from torch's own.
        watch: Called with what is fed back at every step, noise included, [rows, 1, width].
    """
    prompt, mask, positions = batch_prompt
    cache = DynamicCache(config=model.config)
    level: Tensor | float = disturbance.noise
    if disturbance.least_noise is not None:
        share = torch.rand(len(prompt), 1, 1, generator=generator).to(prompt.device)
        level = disturbance.least_noise + (disturbance.noise - disturbance.least_noise) * share
    position = positions[:, -1:]
    hidden = model.base_model(
        input_ids=prompt, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    ).last_hidden_state[:, -1:]
    latents = []
    with feed_forward_dropout(model, disturbance.dropout):
        for _ in range(steps):
            latents.append(hidden)
            if not disturbance.gradient:
                hidden = hidden.detach()
            if feedback is not None:
                hidden = feedback(hidden)
            if disturbance.noise:
                # The size of the noise is a number, not a way to lower the loss: no gradient through it.
                scale = level * hidden.detach().square().mean(-1, keepdim=True).sqrt()
                hidden = hidden + scale * torch.randn(hidden.shape, generator=generator).to(hidden.device)
            if watch is not None:
                watch(hidden)
            mask = torch.cat([mask, torch.ones_like(position)], dim=1)
            position = position + 1
            hidden = model.base_model(
                inputs_embeds=hidden, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
            ).last_hidden_state
    return Thinking(torch.cat(latents, dim=1), cache, mask, position)


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
        dropout: As in `Disturbance`, as the next three.
        noise: As in `Disturbance`.
        least_noise: As in `Disturbance`.
        gradient: As in `Disturbance`.
        generator: Source of the noise; torch's own without one. Dropout always draws from torch's own.
    """
    taken: list[Tensor] = []
    thinking = take_latent_steps(
        model,
        (batch.prompt, batch.mask, batch.positions),
        batch.thoughts.shape[1],
        Disturbance(dropout, noise, least_noise, gradient),
        generator=generator,
        watch=None if batch.guide is None else lambda fed: taken.append(model.lm_head(fed.detach()).argmax(-1)),
    )
    thoughts = torch.cat(taken, dim=1) if batch.guide is not None else batch.thoughts
    answer = batch.guide.answer(thoughts) if batch.guide is not None else batch.answer
    behind = _after_thoughts(model, answer)
    answered = model.transformer(
        input_ids=behind,
        attention_mask=torch.cat([thinking.mask, torch.ones_like(behind)], dim=1),
        position_ids=thinking.position + 1 + torch.arange(behind.shape[1]),
        past_key_values=thinking.cache,
        use_cache=True,
    ).last_hidden_state
    thought = model.lm_head(thinking.latents)
    return Prediction(thinking.latents, thought, model.lm_head(answered), thoughts, answer)
