"""Train a reasoner, stage by stage."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers import GPT2LMHeadModel

from latent_core.training.batch import Batch
from latent_core.training.families import FAMILIES
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.passes import Prediction, latent_pass, written_pass
from latent_core.training.settings import ReasonerTrainingSettings, StageSettings
from latent_core.training.tokenizer import build_tokenizer

Report = Callable[[dict[str, float | int | str]], None]

_EVALUATION_ROWS = 128


def learning_rate(stage: StageSettings, update: int) -> float:
    """Return the learning rate of an update (0-based): linear warm-up, then a cosine down to the final rate."""
    if update < stage.warmup_updates:
        return stage.learning_rate * (update + 1) / stage.warmup_updates
    progress = (update - stage.warmup_updates) / max(1, stage.updates - stage.warmup_updates)
    share = 0.5 * (1 + math.cos(math.pi * progress))
    return stage.final_learning_rate + (stage.learning_rate - stage.final_learning_rate) * share


def predict(model: GPT2LMHeadModel, batch: Batch, stage: StageSettings, generator: torch.Generator) -> Prediction:
    """Run the pass that the stage trains."""
    if stage.thoughts == "written":
        return written_pass(model, batch)
    return latent_pass(
        model,
        batch,
        dropout=stage.latent_dropout,
        noise=stage.latent_noise,
        least_noise=stage.least_latent_noise,
        gradient=stage.latent_gradient,
        generator=generator,
    )


def losses(prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the mean losses of the answer's tokens and of the thoughts, two scalars."""
    answer = cross_entropy(prediction.answer.flatten(0, 1), prediction.answer_ids.flatten())
    if batch.guide is None:
        return answer, cross_entropy(prediction.thoughts.flatten(0, 1), batch.thoughts.flatten())
    steps = prediction.taken.shape[1]
    right = torch.stack([batch.guide.next_thoughts(prediction.taken[:, :step]) for step in range(steps)], dim=1)
    return answer, any_right_loss(prediction.thoughts, right)


def any_right_loss(logits: Tensor, right: Tensor) -> Tensor:
    """Return the mean of -log P(a right token), a scalar.

    Nothing is said about how probability is shared among right tokens, so a thought may settle for one of them.

    Args:
        logits: [rows, steps, vocabulary].
        right: Which tokens are right, bool, same shape; a step where none is counts as no loss.
    """
    chosen = logits.masked_fill(~right, -torch.inf).logsumexp(-1)
    loss = logits.logsumexp(-1) - torch.where(right.any(-1), chosen, logits.logsumexp(-1))
    return loss.mean()


def commitment_loss(model: GPT2LMHeadModel, prediction: Prediction) -> Tensor:
    """Return the mean of 1 - cos(latent, embedding of the token it decodes to), a scalar.

    A latent halfway between two tokens is read as the one or the other by chance; this loss makes it choose.
    """
    nearest = model.transformer.wte.weight.detach()[prediction.thoughts.argmax(-1)]
    return (1 - cosine_similarity(prediction.latents, nearest, dim=-1)).mean()


@torch.no_grad()
def greedy_accuracy(model: GPT2LMHeadModel, problems: Sequence[Batch]) -> float:
    """Share of problems whose whole answer is the most likely one at every token after undisturbed latent steps.

    Each token is predicted behind the reference tokens. For a wholly correct answer that is what greedy decoding does.
    """
    right = 0
    for batch in problems:
        prediction = latent_pass(model, batch)
        solved = (prediction.answer.argmax(-1) == prediction.answer_ids).all(1)
        if batch.guide is not None:
            solved &= batch.guide.solved(prediction.taken)
        right += int(solved.sum())
    return right / sum(len(batch) for batch in problems)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Use this many CPU threads, then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_reasoner(settings: ReasonerTrainingSettings, output_dir: Path, report: Report) -> dict[str, float]:
    """Train a reasoner from nothing and save it.

    The checkpoint is written at the end of every stage, so an interruption costs one stage.

    Args:
        settings: The recipe. The same recipe gives the same weights on the same kind of machine.
        output_dir: Where the checkpoint goes, in the Hugging Face layout.
        report: Called with losses every `report_every` updates and with the accuracy every `evaluate_every`.

    Returns:
        Greedy accuracy on validation problems (0..1), the last losses, the number of updates and the seconds taken.
    """
    with _threads(settings.threads):
        return _train(settings, output_dir, report)


def _train(settings: ReasonerTrainingSettings, output_dir: Path, report: Report) -> dict[str, float]:
    began = time.monotonic()
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    family = FAMILIES[settings.family]
    tokenizer = build_tokenizer(family.vocabulary(), settings.architecture.positions)
    # Evaluation mode throughout: dropout is switched on where a stage asks for it, on latent steps only.
    model = build_model(settings.architecture, tokenizer, settings.latent_steps).train(False)
    family.initialise(model, tokenizer, settings.architecture.embedding_std or settings.architecture.initial_std)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1.0, betas=settings.adam_betas, weight_decay=settings.weight_decay
    )
    count = settings.evaluation_problems
    held_out = next(family.batches("validation", count, 1, settings.seed, tokenizer, settings.latent_steps))
    validation = [held_out.rows(first, first + _EVALUATION_ROWS) for first in range(0, count, _EVALUATION_ROWS)]
    metrics: dict[str, float] = {}
    done = 0
    for index, stage in enumerate(settings.stages):
        # A seed of its own for every stage, so that no stage repeats the problems of another.
        seed = settings.seed * len(settings.stages) + index
        problems = family.batches(
            "train", settings.batch_size, stage.updates, seed, tokenizer, settings.latent_steps, stage.detours
        )
        for update, batch in enumerate(problems):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(stage, update)
            prediction = predict(model, batch, stage, generator)
            answer, thoughts = losses(prediction, batch)
            loss = answer + stage.thought_loss_weight * thoughts
            if stage.commitment_weight:
                loss = loss + stage.commitment_weight * commitment_loss(model, prediction)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            optimizer.step()
            done += 1
            if done % settings.report_every == 0:
                metrics = {"answer_loss": answer.item(), "thought_loss": thoughts.item()}
                report({"stage": stage.name, "update": done, "seconds": time.monotonic() - began, **metrics})
            if done % settings.evaluate_every == 0:
                report({"stage": stage.name, "update": done, "greedy_accuracy": greedy_accuracy(model, validation)})
        save_checkpoint(model, tokenizer, output_dir, getattr(torch, settings.weights_dtype))
    metrics["greedy_accuracy"] = greedy_accuracy(model, validation)
    return {**metrics, "updates": done, "seconds": time.monotonic() - began}
