"""Search over latent steps, guided by a LatentRM: beams (arXiv 2510.07745, section 4) or particles.

The reward model reads the new step of every row of a question, a rule (`latent_core.search.rules`) says which rows go
on and as how many, and continuations of one row differ by fresh draws. Nothing that was read before is read again: the
reasoner's and the reward model's keys and values branch and are selected together.

With beams, C = 1 never prunes, so its beams are samples 0 to B - 1 of plain sampling, and the best of them is the best
of B; B = C = 1 is a single sample.
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
from latent_core.randomness import Streams
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import ScoreState, extend, read_prompts
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers.base import Sampler
from latent_core.search.beam import BeamBatch
from latent_core.search.rules import BeamRule, Choose, ParticleRule, SearchRule, by_rank
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
    prune_from: int = 1,
) -> BeamBatch:
    """Search questions with beams: `search_latents` under `BeamRule(beams, branching, prune_from)`.

    Raises:
        ValueError: As there, and if a number of beams or candidates is below 1.
    """
    rule, lengths = (
        BeamRule(beams, branching, prune_from),
        {"latent_steps": latent_steps, "answer_tokens": answer_tokens},
    )
    return search_latents(reasoner, reward_model, sampler, problems, rule, seed=seed, **lengths)


def search_latents(
    reasoner: LatentReasoner,
    reward_model: LatentRewardModel,
    sampler: Sampler,
    problems: Sequence[Problem],
    rule: BeamRule | ParticleRule,
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
        rule: Which rows go on.
        latent_steps: T, latent vectors per trajectory.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.

    Returns:
        len(problems) * rule.survivors beams, question by question, the best one by cumulative reward first; iterating
        yields records.

    Raises:
        ValueError: If the sampler perturbs the prompt, which beams share; if the reasoner decides by itself how long
            it thinks, since sums of unequally many rewards do not rank; or if `rule.prune_from` is no latent step.
    """
    if reasoner.checkpoint.format.adaptive:
        raise ValueError("beams advance together, and this reasoner decides by itself how long each trajectory thinks")
    if sampler.perturbs_prompt:
        raise ValueError("beam search shares the prompt among beams, and this sampler perturbs it")
    if not 1 <= rule.prune_from <= latent_steps:
        raise ValueError(f"a search prunes from one of the {latent_steps} latent steps on, not from {rule.prune_from}")
    search = _Search(RolloutEngine(reasoner, sampler), reward_model, rule, seed)
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
    batches = micro_batches(needs, range(rule.width), runtime.memory_budget, divisible=False)
    return prompt_batch.unsort(BeamBatch.concat(runtime.row_limit.run(batches, divisible=False, compute=compute)))


@dataclass(frozen=True)
class _Search:
    engine: RolloutEngine
    reward_model: LatentRewardModel
    rule: SearchRule
    seed: int

    def run(self, prompt_batch: PromptBatch, steps: int, answer_tokens: int) -> BeamBatch:
        """Search questions."""
        rows = len(prompt_batch.problems) * self.rule.survivors
        # Batches below the smallest size are filled up with repetitions, which are dropped again.
        repeated = prompt_batch.repeated(-(-MIN_ROWS // rows))
        return self._run(repeated, steps, answer_tokens)[:rows]

    @torch.inference_mode()
    def _run(self, prompt_batch: PromptBatch, steps: int, answer_tokens: int) -> BeamBatch:
        started, questions, rule = time.perf_counter(), len(prompt_batch.problems), self.rule
        # What acts inside a forward pass shows in the next latent: such rows branch before they are fed, others after.
        # What acts on the end of the prompt shows in the first latent already.
        sampler = self.engine.sampler
        late = sampler.perturbs_forward
        width = rule.survivors if late and not (rule.waits or sampler.perturbs_boundary) else rule.width
        state = self.engine.start(prompt_batch.prompts, prompt_batch.question_ids, self.seed, range(width))
        streams = Streams.for_questions(self.seed, prompt_batch.question_ids, state.hidden.device)
        choose = rule.start(streams, steps)
        scored = read_prompts(self.reward_model, prompt_batch.prompts, apart=True)
        rewards = torch.zeros(state.rows, 0, device=state.hidden.device)
        fed, read = [], []
        for step in range(1, steps + 1):
            latents = self.engine.propose(state)
            if step == 1 and rule.waits and self._alike_at_first:
                scored, reward = self._read_once(scored, latents)
                read.append(1)
            else:
                scored = scored if step > 1 else scored.branch(width)
                scored, reward = extend(self.reward_model, scored, latents[:, None])
                read.append(state.group)
            rewards = torch.cat([rewards, reward], dim=1)
            kept = self._kept(choose, step, rewards, questions)
            if kept is not None:
                state, scored, latents, rewards = state.select(kept), scored.select(kept), latents[kept], rewards[kept]
            branches = rule.branches(step, steps)
            source = torch.arange(state.rows, device=state.hidden.device).repeat_interleave(branches)
            if late:
                state, latents = self._branched(state, step, branches, kept), latents[source]
            state = self.engine.feed(state, latents)
            fed.append(state.group)
            if not late:
                state = self._branched(state, step, branches, kept)
            if branches > 1:
                scored, rewards = scored.branch(branches), rewards[source]
        order = _flat(by_rank(rewards.sum(dim=1).reshape(questions, -1)), rewards)
        state, rewards = state.select(order), rewards[order]
        ranks = range(rule.survivors)
        stops = [ActiveRows.of(state)]
        rows = read_trajectories(self.engine, stops, prompt_batch, ranks, range(len(order)), answer_tokens, started)
        lengths = [len(prompt) for prompt in prompt_batch.prompts for _ in ranks]
        costs = [
            self._cost(length, written, fed, read)
            for length, written in zip(lengths, rows.answer_tokens.tolist(), strict=True)
        ]
        thinking, scoring, prompt = np.array(costs, np.float64).T
        return BeamBatch(replace(rows, flops=thinking), rewards.cpu().numpy(), scoring, prompt)

    @property
    def _alike_at_first(self) -> bool:
        """Whether the first latent is the same in all rows: it follows from the prompt, and nothing is added to it."""
        sampler = self.engine.sampler
        return type(sampler).perturb_latent is Sampler.perturb_latent and not sampler.perturbs_boundary

    def _read_once(self, scored: ScoreState, latents: Tensor) -> tuple[ScoreState, Tensor]:
        """Score the first latent of each question once, for all of its rows."""
        questions = scored.questions
        width = len(latents) // questions
        first = torch.arange(questions, device=latents.device)[:, None]
        # Few questions are read more than once, so that there are rows enough for bits not to depend on their number.
        times = min(width, -(-MIN_ROWS // questions))
        rows = (first * width + torch.arange(times, device=latents.device)).flatten()
        scored, reward = extend(self.reward_model, scored.branch(times), latents[rows, None])
        everyone = (first * times).repeat(1, width).flatten()
        return scored.select(everyone), reward[everyone]

    def _kept(self, choose: Choose, step: int, rewards: Tensor, questions: int) -> Tensor | None:
        """Return which rows of the batch go on; None where all do."""
        chosen = choose(step, rewards.reshape(questions, -1, step))
        return None if chosen is None else _flat(chosen, rewards)

    def _branched(self, state: RolloutState, step: int, branches: int, kept: Tensor | None) -> RolloutState:
        """Branch rows: the first continuation of each goes on with its own draws, the others with fresh ones.

        Args:
            state: Rows that may have been kept several times.
            step: The latent step.
            branches: Continuations of each row.
            kept: Which row of the step each of them is; None if all are different.
        """
        source = torch.arange(state.rows, device=state.hidden.device)
        parent = (source if kept is None else kept).repeat_interleave(branches)
        streams = state.streams.take(source.repeat_interleave(branches))
        own = torch.ones_like(parent, dtype=torch.bool)
        own[1:] = parent[1:] != parent[:-1]
        place = torch.arange(len(parent), device=parent.device) % (state.group * branches)
        # 0 belongs to plain samples.
        fresh = 1 + (step - 1) * self.rule.width + place
        streams = replace(streams, rollout=torch.where(own, streams.rollout, fresh))
        return replace(state, streams=streams) if branches == 1 else state.spread(branches, streams)

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
        reasoner, scorer, beams = self.engine.reasoner.flops, self.reward_model.flops, self.rule.survivors
        steps, end = range(len(fed)), self.engine.sampler.own_prompt_tokens(prompt_tokens)
        at_end, with_step = (self.engine.perturbation_flops(prompt_tokens, count) for count in (0, 1))
        perturbing = with_step - at_end
        reading = read[0] * (reasoner.shared_prompt(prompt_tokens, end)[1] + at_end)
        thinking = sum(fed[step] * (reasoner.trajectory(prompt_tokens + step, 1, 0, 0) + perturbing) for step in steps)
        scoring = sum(read[step] * scorer.suffix(prompt_tokens + step, 1) for step in steps)
        forced = len(self.engine.reasoner.checkpoint.fed_ids)
        writing = reasoner.trajectory(prompt_tokens + len(fed), 0, forced, written)
        return (reading + thinking) / beams + writing, scoring / beams, scorer.prompt(prompt_tokens)


def _flat(chosen: Tensor, rewards: Tensor) -> Tensor:
    """Return rows of questions, int64 [questions, n], as rows of the batch whose rewards are given."""
    questions = len(chosen)
    return (chosen + torch.arange(questions, device=chosen.device)[:, None] * (len(rewards) // questions)).flatten()
