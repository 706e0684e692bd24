"""Rollouts of a policy: G trajectories a question, K sampled answers behind each, and their rewards.

A rollout holds nothing that its address says already: its latents follow from (weights, seed, question, sample), and
whoever learns from it replays them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latent_core.columns import ColumnBatch, Ragged
from latent_core.engine.answer_tree import BranchedAnswers, write_answers
from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.micro_batches import MicroBatch
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import start_samples
from latent_core.engine.trajectories import read_answers, visible_ids
from latent_core.errors import UserError
from latent_core.models.reasoner import LatentReasoner
from latent_core.policy.checks import answer_tokens_of, check_sampler, latent_steps_of
from latent_core.policy.rewards import latent_scores, rewards_of
from latent_core.policy.settings import PolicySettings
from latent_core.randomness import Streams
from latent_core.reward.model import LatentRewardModel
from latent_core.samplers.answer_sampling import TokenDistribution
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import NO_TOKEN, is_cut

_ANSWERS_AT_ONCE = 1024
"""Answers whose distributions are side by side when their tokens are drawn."""


class Rollout(NamedTuple):
    """One sampled answer behind one trajectory.

    Attributes:
        question_id: The question.
        trajectory: Which trajectory of the question it is: its sample index.
        answer: Which answer of the trajectory it is.
        answer_ids: Its tokens, the one that ends it included.
        reward: What it earns; NaN for one that could not be computed, which does not count.
        correct: Whether it is right.
        cut: Whether it was cut off; such an answer is wrong.
        unparsable: Whether no answer could be read.
        logprob: Its log-probability under the weights and at the temperature that sampled it.
        entropy: Mean entropy of its tokens in nats.
        spread: How far the trajectory's latents are from the mean of those of the question's trajectories: root of the
            mean square distance over that of the latents; NaN where the lengths of trajectories differ.
        latent_steps: Latent vectors of the trajectory.
        seed: Seed of the draws.
        version: Version of the weights.
    """

    question_id: str
    trajectory: int
    answer: int
    answer_ids: tuple[int, ...]
    reward: float
    correct: bool
    cut: bool
    unparsable: bool
    logprob: float
    entropy: float
    spread: float
    latent_steps: int
    seed: int
    version: int


@dataclass(frozen=True, eq=False)
class RolloutBatch(ColumnBatch[Rollout]):
    """Rollouts, column by column: question by question, trajectory by trajectory, answer by answer.

    Attributes:
        question_id: As in `Rollout`, as all that follows.
        trajectory: int32 [rows].
        answer: int32 [rows].
        answer_ids: int32 values.
        reward: float32 [rows].
        correct: bool [rows].
        cut: bool [rows].
        unparsable: bool [rows].
        logprob: float32 [rows].
        entropy: float32 [rows].
        spread: float32 [rows].
        latent_steps: int32 [rows].
        seed: int64 [rows].
        version: int32 [rows].
    """

    question_id: list[str]
    trajectory: NDArray[np.int32]
    answer: NDArray[np.int32]
    answer_ids: Ragged
    reward: NDArray[np.float32]
    correct: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    unparsable: NDArray[np.bool_]
    logprob: NDArray[np.float32]
    entropy: NDArray[np.float32]
    spread: NDArray[np.float32]
    latent_steps: NDArray[np.int32]
    seed: NDArray[np.int64]
    version: NDArray[np.int32]

    def _row(self, row: int) -> Rollout:
        columns = {name: column[row] for name, column in self._columns().items()}
        ids = columns.pop("answer_ids")
        plain = {name: one.item() if isinstance(one, np.generic) else one for name, one in columns.items()}
        return Rollout(answer_ids=tuple(ids.tolist()), **plain)


def rollout(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: Sequence[Problem],
    settings: PolicySettings,
    seed: int,
    version: int,
    *,
    reward_model: LatentRewardModel | None = None,
) -> RolloutBatch:
    """Roll questions out: latents by the sampler, answers drawn at the temperature of the settings.

    Args:
        reasoner: The policy; one that can be trained, so that its latents are those of the learner to the bit.
        sampler: What makes the trajectories of a question differ.
        problems: The questions.
        settings: The recipe.
        seed: Seed of the draws; another one for every update.
        version: Version of the weights, for the record.
        reward_model: The LatentRM whose scores shape the reward, where they have a weight.

    Returns:
        len(problems) x G x K rollouts in the order of the problems.

    Raises:
        UserError: If the sampler draws nothing that can be replayed, or scores have a weight and there is no LatentRM.
    """
    check_sampler(sampler)
    if settings.shaping_weight and reward_model is None:
        raise UserError("shaping_weight: it weighs scores of a LatentRM, and none is named; name one, or leave it at 0")
    engine, prompt_batch = RolloutEngine(reasoner, sampler), PromptBatch.of(reasoner, problems)
    roller = _Roller(engine, settings, seed, version, reward_model)
    found = engine.runtime.row_limit.run(
        batches_of(len(problems), settings),
        divisible=False,
        compute=lambda part: roller.roll(prompt_batch.part(part.questions)),
    )
    return prompt_batch.unsort(RolloutBatch.concat(found))


def batches_of(questions: int, settings: PolicySettings) -> list[MicroBatch]:
    """Cut so many questions into the parts that are computed at a time."""
    size, samples = settings.micro_batch, range(settings.trajectories)
    return [MicroBatch(slice(first, min(first + size, questions)), samples) for first in range(0, questions, size)]


@dataclass(frozen=True)
class _Rolled:
    """Trajectories on the host, in the order of the first state.

    Attributes:
        ids: int64 [rows, K, longest].
        lengths: int64 [rows, K].
        logprob: [rows, K].
        entropy: [rows, K].
        finite: Whether all numbers behind an answer are some, bool [rows, K].
        latents: [rows, T, hidden size], zeros beyond a row's steps.
        steps: int64 [rows].
        limits: The most tokens of an answer, int64 [rows].
        truncated: Whether thinking was truncated, so that nothing was written, bool [rows].
    """

    ids: Tensor
    lengths: Tensor
    logprob: Tensor
    entropy: Tensor
    finite: Tensor
    latents: Tensor
    steps: Tensor
    limits: Tensor
    truncated: Tensor


@dataclass(frozen=True)
class _Roller:
    engine: RolloutEngine
    settings: PolicySettings
    seed: int
    version: int
    reward_model: LatentRewardModel | None

    def roll(self, some: PromptBatch) -> RolloutBatch:
        """Roll some questions out."""
        reasoner, settings = self.engine.reasoner, self.settings
        most = latent_steps_of(reasoner.checkpoint, settings)
        state, kept = start_samples(self.engine, some, range(settings.trajectories), self.seed)
        rolled = self._rolled(state.rows, run_latent_steps(self.engine, ActiveRows.of(state), most), most)
        rolled = _Rolled(**{name: one[torch.tensor(kept)] for name, one in vars(rolled).items()})
        return self._batch(some, rolled, most)

    def _rolled(self, rows: int, stops: Any, most: int) -> _Rolled:
        """Write the answers of all rows, as they stop thinking, and put them into the order of the first state."""
        reasoner, settings = self.engine.reasoner, self.settings
        answer_tokens, width = answer_tokens_of(reasoner.checkpoint, settings), reasoner.checkpoint.hidden_size
        shape = (rows, settings.answers)
        whole = _Rolled(
            ids=torch.full((*shape, answer_tokens), reasoner.end_of_text_id),
            lengths=torch.zeros(shape, dtype=torch.int64),
            logprob=torch.zeros(shape),
            entropy=torch.zeros(shape),
            finite=torch.ones(shape, dtype=torch.bool),
            latents=torch.zeros(rows, most, width),
            steps=torch.zeros(rows, dtype=torch.int64),
            limits=torch.zeros(rows, dtype=torch.int64),
            truncated=torch.zeros(rows, dtype=torch.bool),
        )
        for stop in stops:
            counts = stop.counts.cpu()
            origin, steps = stop.origin.cpu()[counts], stop.state.latents.shape[1]
            whole.steps[origin] = steps
            whole.truncated[origin] = stop.truncated
            latents = stop.state.latents.float().cpu()[counts]
            whole.latents[origin, :steps] = latents
            # Rows that were cut off while they wanted to think on write nothing.
            limit = 0 if stop.truncated else self.engine.answer_limit(stop.state, answer_tokens)
            whole.limits[origin] = limit
            finite = latents.flatten(1).isfinite().all(dim=1)[:, None].expand(-1, settings.answers)
            if limit:
                answers = self._answers(stop, limit)
                whole.ids[origin, :, : answers.token_ids.shape[2]] = answers.token_ids.cpu()[counts]
                whole.lengths[origin] = answers.lengths.cpu()[counts]
                whole.logprob[origin] = answers.logprob.float().cpu()[counts]
                whole.entropy[origin] = answers.entropy.float().cpu()[counts]
                finite = finite & answers.finite.cpu()[counts]
            whole.finite[origin] = finite
        return whole

    def _answers(self, stop: ActiveRows, limit: int) -> BranchedAnswers:
        settings, streams = self.settings, _completions(stop.state.streams, self.settings.answers)

        def draw(logits: Tensor, node: Tensor, position: int, step: int) -> Tensor:
            distribution, nodes = TokenDistribution.of_logits(logits, settings.temperature, 1.0), node.flatten()
            parts = range(0, len(nodes), _ANSWERS_AT_ONCE)
            drawn = [
                distribution.take(nodes[first : first + _ANSWERS_AT_ONCE]).draw(
                    streams.part(slice(first, first + _ANSWERS_AT_ONCE)), step
                )
                for first in parts
            ]
            return torch.cat(drawn).reshape(node.shape)

        return write_answers(self.engine, stop.state, settings.answers, limit, settings.temperature, draw)

    def _batch(self, some: PromptBatch, rolled: _Rolled, most: int) -> RolloutBatch:
        settings, reasoner, k = self.settings, self.engine.reasoner, self.settings.answers
        questions = np.repeat(np.arange(len(some.problems)), settings.trajectories * k)
        written = rolled.ids.numpy().astype(np.int32)
        lengths = rolled.lengths.numpy().ravel()
        values = written.reshape(-1, written.shape[-1])
        ids = Ragged(values.ravel(), np.arange(len(values)) * values.shape[1], lengths).packed()
        _, answers, correct = read_answers(reasoner, some.problems, questions, visible_ids(reasoner, ids))
        last = np.full(len(ids), NO_TOKEN)
        last[lengths > 0] = values[np.arange(len(values)), np.maximum(lengths - 1, 0)][lengths > 0]
        limits, truncated = (np.repeat(one.numpy(), k) for one in (rolled.limits, rolled.truncated))
        cut = is_cut(lengths, last, limits, reasoner.checkpoint.answer_ends) | truncated
        steps = rolled.steps.numpy()
        scores = None
        if self.reward_model is not None and settings.shaping_weight:
            scores = np.repeat(latent_scores(self.reward_model, some.prompts, rolled.latents, rolled.steps), k)
        right = correct & ~cut
        reward = rewards_of(right, np.repeat(steps, k), most, settings, scores)
        return RolloutBatch(
            question_id=[some.problems[one].question_id for one in questions.tolist()],
            trajectory=np.tile(np.repeat(np.arange(settings.trajectories), k), len(some.problems)).astype(np.int32),
            answer=np.tile(np.arange(k), len(some.problems) * settings.trajectories).astype(np.int32),
            answer_ids=ids,
            reward=np.where(rolled.finite.numpy().ravel(), reward, np.nan).astype(np.float32),
            correct=right,
            cut=cut,
            unparsable=np.array([one is None for one in answers]),
            logprob=rolled.logprob.numpy().ravel(),
            entropy=rolled.entropy.numpy().ravel(),
            spread=np.repeat(_spread(rolled, settings.trajectories), k),
            latent_steps=np.repeat(steps, k).astype(np.int32),
            seed=np.full(len(questions), self.seed, np.int64),
            version=np.full(len(questions), self.version, np.int32),
        )


def _completions(streams: Streams, n: int) -> Streams:
    """Return the streams of n answers behind each row: completions 1 to n, as branching numbers them."""
    rows = torch.arange(len(streams), device=streams.sample.device).repeat_interleave(n)
    index = torch.arange(1, n + 1, device=rows.device).repeat(len(streams))
    return replace(streams.take(rows), rollout=index)


def _spread(rolled: _Rolled, group: int) -> NDArray[np.float32]:
    """Return how far each trajectory is from the mean of its question's, float32 [rows]."""
    rows = len(rolled.steps)
    if len(rolled.steps.unique()) > 1:
        return np.full(rows, np.nan, np.float32)
    latents = rolled.latents.reshape(rows // group, group, -1)
    away = (latents - latents.mean(dim=1, keepdim=True)).square().mean(dim=2).sqrt()
    size = latents.square().mean(dim=(1, 2)).sqrt()[:, None]
    spread: NDArray[np.float32] = (away / size.clamp(min=1e-12)).flatten().numpy()
    return spread
