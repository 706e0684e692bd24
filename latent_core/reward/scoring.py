"""Score trajectories: groups of candidates against one shared prompt, in one go or step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from latent_core.attention.padding import length_buckets, right_padded
from latent_core.attention.prefix import SharedPrefix
from latent_core.attention.prefixed_rows import SharedPromptRows
from latent_core.attention.suffix import SuffixCache
from latent_core.reward.model import LatentRewardModel


@dataclass(frozen=True)
class CandidateBatch:
    """B * N trajectories, N per question, ordered question by question.

    Attributes:
        latents: The vectors that were fed back, [B * N, T, hidden size]; what lies beyond a row's length
            has to be finite and does not count.
        lengths: Latent steps of each row, int64 [B * N].
        answers: Answer tokens, the end-of-text token included, int64 [B * N, longest answer]; None where they are not
            scored.
        answer_lengths: Answer tokens of each row, int64 [B * N], at least 1; None without answers.
    """

    latents: Tensor
    lengths: Tensor
    answers: Tensor | None = None
    answer_lengths: Tensor | None = None


@dataclass(frozen=True)
class Rewards:
    """Rewards of trajectories.

    Attributes:
        steps: r_t of every latent step, float32 [B * N, T]; 0 beyond a row's length.
        answer: The reward read at the last answer token, r_{T+1}, float32 [B * N]; None where it was not asked for.
    """

    steps: Tensor
    answer: Tensor | None = None

    @property
    def score(self) -> Tensor:
        """The latent-only score of a trajectory, sum_t r_t (arXiv 2510.07745), [B * N]."""
        return self.steps.sum(dim=1)

    @property
    def answer_score(self) -> Tensor | None:
        """The answer-aware score, r_{T+1} added to the sum, [B * N]; ours, not the paper's."""
        return None if self.answer is None else self.score + self.answer


@dataclass(frozen=True)
class ScoreState(SharedPromptRows):
    """B prompts with G partial trajectories each, as the reward model has read them. Old states stay usable."""

    def branch(self, n: int) -> Self:
        """Turn every row into n rows."""
        prefix, suffix = self.repeated(n)
        return replace(self, prefix=prefix, suffix=suffix)

    def select(self, rows: Tensor) -> Self:
        """Keep some rows, in the given order. See `SharedPromptRows.taken`."""
        prefix, suffix = self.taken(rows)
        return replace(self, prefix=prefix, suffix=suffix)


def read_prompts(model: LatentRewardModel, prompts: Sequence[Sequence[int]], *, apart: bool = False) -> ScoreState:
    """Read each prompt once; the state has one row per prompt.

    Args:
        model: The reward model.
        prompts: Token ids.
        apart: Whether prompts of different padded lengths are read apart, so that no score depends on the others'
            lengths, on CPUs not even in its last bit. Neighbours of one length are read together.
    """
    runs = list(length_buckets(prompts, model.device)) if apart else [slice(0, len(prompts))]
    return ScoreState(SharedPrefix.joined([_read(model, prompts[run]) for run in runs]), SuffixCache())


def _read(model: LatentRewardModel, prompts: Sequence[Sequence[int]]) -> SharedPrefix:
    tokens, lengths = right_padded(prompts, model.end_of_text_id, model.context_length, model.device)
    cache = DynamicCache()
    positions = torch.arange(tokens.shape[1], device=tokens.device).expand(len(prompts), -1)
    model(model.embed(tokens), positions, cache)
    return SharedPrefix.from_cache(cache, lengths)


def extend(model: LatentRewardModel, state: ScoreState, inputs: Tensor) -> tuple[ScoreState, Tensor]:
    """Read further positions of every row; nothing that was read before is read again.

    Args:
        model: The reward model.
        state: What it has read.
        inputs: Latent vectors or token embeddings, [rows, k, hidden size].

    Returns:
        The new state, and the rewards at these positions, float32 [rows, k].
    """
    suffix = state.suffix.copied()
    rewards: Tensor = model(inputs, state.next_positions(inputs.shape[1]), suffix, state.prefix)
    return replace(state, suffix=suffix), rewards


def score_candidates(
    model: LatentRewardModel, prompts: Sequence[Sequence[int]], candidates: CandidateBatch, *, apart: bool = False
) -> Rewards:
    """Score N candidates of each question against its one prompt; differentiable.

    Args:
        model: The reward model.
        prompts: Token ids of the B prompts.
        candidates: B * N trajectories.
        apart: See `read_prompts`.

    Returns:
        Their rewards.
    """
    rows, steps = candidates.latents.shape[:2]
    state = read_prompts(model, prompts, apart=apart).branch(rows // len(prompts))
    inputs = candidates.latents
    if candidates.answers is not None:
        inputs = _followed_by_answers(model, candidates)
    _, rewards = extend(model, state, inputs)
    column = torch.arange(steps, device=rewards.device)
    own = rewards[:, :steps].masked_fill(column >= candidates.lengths[:, None], 0.0)
    if candidates.answer_lengths is None:
        return Rewards(own)
    # The end token lies between the latents and the answer.
    last = candidates.lengths + candidates.answer_lengths
    return Rewards(own, rewards.gather(1, last[:, None]).squeeze(1))


def _followed_by_answers(model: LatentRewardModel, candidates: CandidateBatch) -> Tensor:
    """Put end token and answer right behind the last latent of each row, [rows, T + 1 + longest answer, hidden]."""
    assert candidates.answers is not None
    rows, steps = candidates.latents.shape[:2]
    end = torch.full((rows, 1), model.end_id, device=candidates.latents.device)
    written = model.embed(torch.cat([end, candidates.answers], dim=1))
    both = torch.cat([candidates.latents.to(written.dtype), written], dim=1)
    column = torch.arange(both.shape[1], device=both.device).expand(rows, -1)
    behind = column - candidates.lengths[:, None]
    source = torch.where(behind < 0, column, (steps + behind).clamp(max=both.shape[1] - 1))
    return both.gather(1, source[:, :, None].expand(-1, -1, both.shape[2]))
