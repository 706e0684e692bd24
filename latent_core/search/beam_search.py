"""Beam search over latent steps, guided by a LatentRM (arXiv 2510.07745, section 4).

Each of B beams branches into C perturbed continuations, the reward model reads the new step of each, and the B best by
cumulative reward go on. Nothing that was read before is read again: the reasoner's and the reward model's keys and
values branch and are selected together.

C = 1 never prunes, so its beams are samples 0 to B - 1 of plain sampling, and the best of them is the best of B;
B = C = 1 is a single sample.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latent_core.engine.latent_steps import ActiveRows
from latent_core.engine.memory import Footprint
from latent_core.engine.micro_batches import MicroBatch, micro_batches
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState
from latent_core.engine.trajectories import read_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import extend, read_prompts
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers.base import Sampler
from latent_core.search.beam import BeamBatch
from latent_core.tasks.base import Problem


def beam_search(
    reasoner: LatentReasoner,
    reward_model: LatentRewardModel,
    sampler: Sampler,
    problems: Sequence[Problem],
    beams: int,
    branching: int,
    *,
    latent_steps: int,
    answer_tokens: int,
    seed: int,
) -> BeamBatch:
    """Search the latent trajectories of questions.

    Args:
        reasoner: The model that thinks.
        reward_model: The model that scores its steps.
        sampler: What makes continuations differ.
        problems: The questions.
        beams: B, beams that are kept.
        branching: C, continuations per beam and step.
        latent_steps: T, latent vectors per trajectory.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.

    Returns:
        len(problems) * beams beams, question by question, the best one first; iterating yields records.

    Raises:
        ValueError: If the sampler perturbs the prompt, which beams share, if the reasoner decides by itself how long
            it thinks, or a number is below 1.
    """
    if reasoner.checkpoint.format.adaptive:
        raise ValueError("beams advance together, and this reasoner decides by itself how long each trajectory thinks")
    if sampler.perturbs_prompt:
        raise ValueError("beam search shares the prompt among beams, and this sampler perturbs it")
    if beams < 1 or branching < 1:
        raise ValueError(f"beam search needs at least one beam and one candidate, got {beams} and {branching}")
    search = _Search(RolloutEngine(reasoner, sampler), reward_model, beams, branching, seed)
    runtime = search.engine.runtime
    prompt_batch = PromptBatch.of(reasoner, problems)
    suffix = reasoner.checkpoint.most_behind(latent_steps, answer_tokens)

    def compute(batch: MicroBatch) -> BeamBatch:
        return search.run(prompt_batch.part(batch.questions), latent_steps, answer_tokens)

    scorer = Footprint.of(reward_model.model)
    needs = [
        (
            own + scorer.prompt(len(prompt)),
            row + scorer.row(len(prompt), latent_steps, samples_tokens=False, on_cpu=True),
        )
        for prompt, (own, row) in zip(prompt_batch.prompts, prompt_batch.needs(runtime, sampler, suffix), strict=True)
    ]
    batches = micro_batches(needs, range(beams * branching), runtime.memory_budget, divisible=False)
    return prompt_batch.unsort(BeamBatch.concat(runtime.row_limit.run(batches, divisible=False, compute=compute)))


@dataclass(frozen=True)
class _Search:
    engine: RolloutEngine
    reward_model: LatentRewardModel
    beams: int
    branching: int
    seed: int

    def run(self, prompt_batch: PromptBatch, steps: int, answer_tokens: int) -> BeamBatch:
        """Search questions."""
        questions = len(prompt_batch.problems)
        # Batches below the smallest size are filled up with repetitions, which are dropped again.
        repeated = prompt_batch.repeated(-(-MIN_ROWS // (questions * self.beams)))
        return self._run(repeated, steps, answer_tokens)[: questions * self.beams]

    @torch.inference_mode()
    def _run(self, prompt_batch: PromptBatch, steps: int, answer_tokens: int) -> BeamBatch:
        started, questions = time.perf_counter(), len(prompt_batch.problems)
        sampler = self.engine.sampler
        late = sampler.perturbs_forward
        # What acts inside a forward pass shows in the next latent: such beams branch before they are fed, others after.
        # What acts on the end of the prompt shows in the first latent already.
        width = self.beams if late and not sampler.perturbs_boundary else self.beams * self.branching
        state = self.engine.start(prompt_batch.prompts, prompt_batch.question_ids, self.seed, range(width))
        scored = read_prompts(self.reward_model, prompt_batch.prompts, apart=True).branch(width)
        rewards = torch.zeros(state.rows, 0, device=state.hidden.device)
        fed, read = [], []
        for step in range(1, steps + 1):
            latents = self.engine.propose(state)
            scored, reward = extend(self.reward_model, scored, latents[:, None])
            rewards = torch.cat([rewards, reward], dim=1)
            read.append(state.group)
            kept = self._best(rewards.sum(dim=1), questions)
            state, scored, latents, rewards = state.select(kept), scored.select(kept), latents[kept], rewards[kept]
            branches = self.branching if step < steps else 1
            source = torch.arange(len(kept), device=kept.device).repeat_interleave(branches)
            if late:
                state, latents = self._branched(state, step, branches), latents[source]
            state = self.engine.feed(state, latents)
            fed.append(state.group)
            if not late:
                state = self._branched(state, step, branches)
            scored, rewards = scored.branch(branches), rewards[source]
        order = _by_rank(rewards.sum(dim=1), questions).flatten()
        state, rewards = state.select(order), rewards[order]
        ranks = range(self.beams)
        stops = [ActiveRows.of(state)]
        rows = read_trajectories(self.engine, stops, prompt_batch, ranks, range(len(order)), answer_tokens, started)
        lengths = [len(prompt) for prompt in prompt_batch.prompts for _ in ranks]
        costs = [
            self._cost(length, written, fed, read)
            for length, written in zip(lengths, rows.answer_tokens.tolist(), strict=True)
        ]
        thinking, scoring, prompt = np.array(costs, np.float64).T
        return BeamBatch(replace(rows, flops=thinking), rewards.cpu().numpy(), scoring, prompt)

    def _branched(self, state: RolloutState, step: int, branches: int) -> RolloutState:
        """Branch every beam: its first continuation goes on with its own draws, the others with fresh ones."""
        device = state.hidden.device
        streams = state.streams.take(torch.arange(state.rows, device=device).repeat_interleave(branches))
        continuation = torch.arange(branches, device=device).repeat(state.rows)
        beam = torch.arange(self.beams, device=device).repeat_interleave(branches).repeat(state.questions)
        # 0 belongs to plain samples.
        fresh = 1 + ((step - 1) * self.beams + beam) * branches + continuation
        rollout = torch.where(continuation == 0, streams.rollout, fresh)
        return state.spread(branches, replace(streams, rollout=rollout))

    def _best(self, totals: Tensor, questions: int) -> Tensor:
        """Return the rows of the best beams of every question, in their order, int64 [questions * beams]."""
        return _by_rank(totals, questions)[:, : self.beams].sort(dim=1).values.flatten()

    def _cost(self, prompt_tokens: int, written: int, fed: list[int], read: list[int]) -> tuple[float, float, float]:
        """Return the FLOPs of a beam, an even share of all that the search has computed for its question.

        Args:
            prompt_tokens: Length of the prompt.
            written: Answer tokens.
            fed: Rows per question that the reasoner was fed at every step.
            read: Those that the reward model read.

        Returns:
            What the reasoner computed, what the reward model did, and its reading of the prompt.
        """
        reasoner, scorer = self.engine.reasoner.flops, self.reward_model.flops
        steps, end = range(len(fed)), self.engine.sampler.own_prompt_tokens(prompt_tokens)
        reading = read[0] * reasoner.shared_prompt(prompt_tokens, end)[1]
        thinking = sum(fed[step] * reasoner.trajectory(prompt_tokens + step, 1, 0, 0) for step in steps)
        scoring = sum(read[step] * scorer.suffix(prompt_tokens + step, 1) for step in steps)
        forced = len(self.engine.reasoner.checkpoint.fed_ids)
        writing = reasoner.trajectory(prompt_tokens + len(fed), 0, forced, written)
        return (reading + thinking) / self.beams + writing, scoring / self.beams, scorer.prompt(prompt_tokens)


def _by_rank(totals: Tensor, questions: int) -> Tensor:
    """Return the rows of every question, the best one first, int64 [questions, rows per question].

    Ties keep their order, and what is not a number comes last.
    """
    by_question = totals.reshape(questions, -1)
    order = by_question.nan_to_num(nan=float("-inf")).sort(dim=1, descending=True, stable=True).indices
    return order + torch.arange(questions, device=totals.device)[:, None] * by_question.shape[1]
