"""One greedy trajectory, step by step: how large its latents are, how they turn, and which words are near them."""

from dataclasses import dataclass

import numpy as np
import torch

from latent_core.engine.sampling import sample_trajectories
from latent_core.errors import UserError
from latent_core.models.lost_text import lost_characters
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers.none import NoSampling
from latent_core.tasks.base import Problem
from latent_core.trajectory import FloatArray

_QUESTION_ID = "inspected"


@dataclass(frozen=True)
class NearToken:
    """A token that a latent vector decodes to.

    Attributes:
        text: Its text.
        probability: What the output head gives it.
    """

    text: str
    probability: float


@dataclass(frozen=True)
class LatentStep:
    """A latent vector as it is fed back: behind the feedback head, and what a trajectory's record stores.

    Where the head is the identity it is the last hidden state too. Elsewhere it is an input and no hidden state, and
    the words that the output head finds near it are a hint rather than what the model was about to write.

    Attributes:
        number: t, from 1 on.
        norm: Its Euclidean length.
        cosine: Cosine of its angle to the step before; None at the first.
        near: The most probable tokens, best first.
    """

    number: int
    norm: float
    cosine: float | None
    near: tuple[NearToken, ...]


@dataclass(frozen=True)
class Thoughts:
    """A greedy trajectory.

    Attributes:
        prompt_ids: Token ids of the prompt.
        steps: The latent steps.
        answer_text: The decoded text.
        answer_tokens: Its length, the token that ends it included.
        extracted: The piece of it that the format takes for the answer, or None.
        answer: That piece as the one number it holds, or None.
        error: Why the trajectory failed, or None.
        cut: Whether the answer was cut off at the largest number of tokens.
        lost: Characters of the prompt that the tokenizer cannot represent.
    """

    prompt_ids: tuple[int, ...]
    steps: tuple[LatentStep, ...]
    answer_text: str
    answer_tokens: int
    extracted: str | None
    answer: str | None
    error: str | None = None
    cut: bool = False
    lost: tuple[str, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt."""
        return len(self.prompt_ids)


def think(reasoner: LatentReasoner, question: str, latent_steps: int | None = None, near: int = 5) -> Thoughts:
    """Run the greedy trajectory of a question.

    Args:
        reasoner: The model.
        question: The text that goes into the prompt.
        latent_steps: T, or the most steps where the length is adaptive; None for the checkpoint's own.
        near: How many tokens to list per latent.

    Raises:
        UserError: If it would not fit the model's context.
    """
    checkpoint = reasoner.checkpoint
    steps = checkpoint.latent_steps if latent_steps is None else latent_steps
    if steps < 1:
        raise UserError(f"--steps: at least one latent step is needed (got {steps})")
    prompt = checkpoint.prompt_ids(question)
    answer_tokens = checkpoint.format.answer_tokens
    checkpoint.check_length(_QUESTION_ID, len(prompt), steps, answer_tokens)
    (trajectory,) = sample_trajectories(
        reasoner,
        NoSampling(),
        [Problem(_QUESTION_ID, question, "")],
        range(1),
        latent_steps=steps,
        answer_tokens=answer_tokens,
        seed=0,
    )
    latents = trajectory.latents if trajectory.latents is not None else np.zeros((0, checkpoint.hidden_size))
    return Thoughts(
        prompt_ids=tuple(prompt),
        steps=_steps(reasoner, latents.astype(np.float32), near),
        answer_text=trajectory.answer_text,
        answer_tokens=trajectory.answer_tokens,
        extracted=checkpoint.format.extract_answer(trajectory.answer_text),
        answer=trajectory.answer,
        error=trajectory.error,
        cut=trajectory.cut,
        lost=tuple(lost_characters(checkpoint.tokenizer, [checkpoint.prompt_text(question)], [prompt])[0]),
    )


@torch.inference_mode()
def _steps(reasoner: LatentReasoner, latents: FloatArray, near: int) -> tuple[LatentStep, ...]:
    if not len(latents):
        return ()
    vectors = torch.from_numpy(latents)
    norms = vectors.norm(dim=1).tolist()
    cosines = torch.cosine_similarity(vectors[1:], vectors[:-1], dim=1).tolist()
    logits = reasoner.logits(vectors.to(reasoner.device, reasoner.model.dtype))
    best = logits.float().softmax(dim=-1).topk(min(near, logits.shape[-1]), dim=-1)
    decode = reasoner.checkpoint.tokenizer.decode
    return tuple(
        LatentStep(
            number=index + 1,
            norm=norms[index],
            cosine=cosines[index - 1] if index else None,
            near=tuple(
                NearToken(str(decode([token])), probability)
                for token, probability in zip(tokens, probabilities, strict=True)
            ),
        )
        for index, (tokens, probabilities) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    )
