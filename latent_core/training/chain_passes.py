"""Passes of a pretrained model: over the written chain, and through latent steps; and what the one teaches the other.

Self-distillation as in CODI (Shen et al. 2025, arXiv 2502.21074, equations 3 to 6): the hidden states with which the
model begins to write the answer, of all layers, are to be the same behind latents as behind the written chain. Latents
that stand for the first steps of a chain, the others being written behind them, are COCONUT's curriculum (Hao et al.
2024, arXiv 2412.06769, section 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from latent_core.training.chains import ChainBatch, Continuation
from latent_core.training.passes import UNDISTURBED, Disturbance, take_latent_steps


@dataclass(frozen=True)
class ChainPrediction:
    """What the model says of a continuation.

    Attributes:
        logits: Of each of its tokens, float [rows, tokens, vocabulary].
        states: Hidden states behind the answer's mark, embeddings first, float [layers + 1, rows, width].
    """

    logits: Tensor
    states: Tensor


def teacher_pass(model: PreTrainedModel, batch: ChainBatch) -> ChainPrediction:
    """Read question, written chain and answer in one go, without the start token."""
    question, before = batch.prompt[:, :-1], batch.mask[:, :-1]
    mask = torch.cat([before, batch.chain.mask[:, :-1]], dim=1)
    output = model.base_model(
        input_ids=torch.cat([question, batch.chain.ids[:, :-1]], dim=1),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        output_hidden_states=True,
    )
    width = question.shape[1]
    head: nn.Module = model.get_output_embeddings()
    states = _states(output.hidden_states, width + batch.chain.mark)
    return ChainPrediction(head(output.last_hidden_state[:, width - 1 :]), states)


def student_pass(
    model: PreTrainedModel,
    batch: ChainBatch,
    end_id: int,
    steps: int,
    disturbance: Disturbance = UNDISTURBED,
    *,
    feedback: nn.Module | None = None,
    generator: torch.Generator | None = None,
) -> ChainPrediction:
    """Read the question, take latent steps, and read what is written behind them.

    Args:
        model: The reasoner, in evaluation mode.
        batch: Problems.
        end_id: Id of the token behind the last latent.
        steps: Latent steps.
        disturbance: What is done to them.
        feedback: What turns hidden states into what is fed back; None for the hidden states themselves.
        generator: Source of the noise, on the CPU.
    """
    prompt = (batch.prompt, batch.mask, batch.positions)
    thinking = take_latent_steps(model, prompt, steps, disturbance, feedback=feedback, generator=generator)
    end = torch.full_like(batch.rest.ids[:, :1], end_id)
    behind = torch.cat([end, batch.rest.ids[:, :-1]], dim=1)
    output = model.base_model(
        input_ids=behind,
        attention_mask=torch.cat([thinking.mask, torch.ones_like(end), batch.rest.mask[:, :-1]], dim=1),
        position_ids=thinking.position + 1 + torch.arange(behind.shape[1], device=behind.device),
        past_key_values=thinking.cache,
        use_cache=True,
        output_hidden_states=True,
    )
    head: nn.Module = model.get_output_embeddings()
    return ChainPrediction(head(output.last_hidden_state), _states(output.hidden_states, 1 + batch.rest.mark))


def _states(layers: tuple[Tensor, ...], place: Tensor) -> Tensor:
    rows = torch.arange(len(place), device=place.device)
    return torch.stack([layer[rows, place] for layer in layers])


def writing_loss(prediction: ChainPrediction, written: Continuation) -> Tensor:
    """Return the mean over rows of each row's mean of -log P(token), a scalar.

    The mean of every row counts the same, so that a batch can be cut into parts of any size.
    """
    losses = cross_entropy(prediction.logits.float().transpose(1, 2), written.ids, reduction="none")
    return ((losses * written.mask).sum(1) / written.mask.sum(1)).mean()


def distillation_loss(student: ChainPrediction, teacher: ChainPrediction) -> Tensor:
    """Return the mean distance of hidden states in units of the teacher's spread in each layer and row, a scalar.

    No gradient reaches the teacher. Embeddings are left out: they are those of the mark on both sides.
    """
    wanted = teacher.states[1:].detach().float()
    distance = (student.states[1:].float() - wanted).abs().mean(-1)
    return (distance / wanted.std(-1)).mean()


def is_written(prediction: ChainPrediction, written: Continuation) -> Tensor:
    """Return which rows have every token of a continuation as the most likely one, bool [rows].

    Each token is predicted behind the right ones, which for a wholly right row is what greedy decoding does.
    """
    right = (prediction.logits.argmax(-1) == written.ids) | (written.mask == 0)
    return right.all(1)
