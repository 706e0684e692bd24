"""Step labels by stochastic rollouts: how often does a trajectory succeed when it goes on from here?

The label of latent step t is the share of M stochastic completions from h_1..t that reach a right answer; the label
of the last step is the trajectory's own correctness (arXiv 2510.07745). Completions branch off stored states: neither
the prompt nor any earlier latent step is computed again.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from latent_core.columns import ABSENT, Ragged
from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.micro_batches import MicroBatch, micro_batches
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import start_samples
from latent_core.engine.trajectories import read_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.reward.types import LabelledBatch
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import NO_TOKEN, CutAnswers, FloatArray, TrajectoryBatch, is_cut

_MOST_ROWS = 1024
"""Completions that are computed at once, unless one question alone has more."""


def annotate(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: Sequence[Problem],
    candidates: int,
    rollouts: int,
    *,
    latent_steps: int,
    answer_tokens: int,
    seed: int,
    cut_answers: CutAnswers = "abstain",
) -> LabelledBatch:
    """Sample candidates of every question and label their steps.

    Args:
        reasoner: The model.
        sampler: What makes candidates and completions differ.
        problems: The questions.
        candidates: N, trajectories per question: samples 0 to N - 1.
        rollouts: M, completions per trajectory and step; 0 labels the last step only.
        latent_steps: T, latent vectors per trajectory.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.
        cut_answers: Whether an answer that was cut off can be right, of a candidate and of a completion alike: not if
            they "abstain".

    Returns:
        len(problems) * candidates labelled trajectories, question by question in sample order; iterating yields
        records.
    """
    engine, prompt_batch = RolloutEngine(reasoner, sampler), PromptBatch.of(reasoner, problems)

    def compute(batch: MicroBatch) -> LabelledBatch:
        some, started = prompt_batch.part(batch.questions), time.perf_counter()
        state, kept = start_samples(engine, some, batch.samples, seed)
        behind: list[ActiveRows] = []
        stops = run_latent_steps(engine, ActiveRows.of(state), latent_steps, behind.append)
        rows = read_trajectories(engine, stops, some, batch.samples, kept, answer_tokens, started)
        labeller = _Labeller(engine, some, rollouts, latent_steps, answer_tokens, cut_answers)
        return labeller.label(rows.judged(cut_answers), kept, behind)

    suffix = reasoner.checkpoint.most_behind(latent_steps, answer_tokens)
    # Candidates are kept while they are completed.
    needs = [(own, row * (1 + rollouts)) for own, row in prompt_batch.needs(engine.runtime, sampler, suffix)]
    batches = micro_batches(needs, range(candidates), engine.runtime.memory_budget, divisible=False)
    found = engine.runtime.row_limit.run(batches, divisible=False, compute=compute)
    return prompt_batch.unsort(LabelledBatch.concat(found))


@dataclass(frozen=True)
class _Labeller:
    engine: RolloutEngine
    prompt_batch: PromptBatch
    rollouts: int
    latent_steps: int
    answer_tokens: int
    cut_answers: CutAnswers

    def label(self, trajectories: TrajectoryBatch, kept: Sequence[int], behind: Sequence[ActiveRows]) -> LabelledBatch:
        """Label candidates.

        Args:
            trajectories: The candidates, question by question.
            kept: The row of the first state that each of them is.
            behind: The rows that took each latent step, behind it.
        """
        questions = len(self.prompt_batch.problems)
        correct = trajectories.correct.reshape(questions, -1)
        is_mixed: NDArray[np.bool_] = np.logical_and(correct.any(axis=1), ~correct.all(axis=1))
        labels = np.full((len(trajectories), self.latent_steps), np.nan, dtype=np.float32)
        flops, cut = np.zeros(len(trajectories)), np.zeros(len(trajectories), dtype=np.int64)
        steps = trajectories.latent_steps.astype(np.int64)
        if self.rollouts > 0:
            candidate_of = {row: candidate for candidate, row in enumerate(kept)}
            at_once = max(1, _MOST_ROWS // (correct.shape[1] * self.rollouts))
            mixed = np.flatnonzero(is_mixed)
            for first in range(0, len(mixed), at_once):
                some = set(mixed[first : first + at_once].tolist())
                for step, active in enumerate(behind, start=1):
                    self._complete_step(step, active, candidate_of, some, steps, labels, flops, cut)
        # A row that failed is a wrong candidate that nobody can read.
        failed = np.array([error is not None for error in trajectories.error], np.bool_)
        is_labelled = np.repeat(is_mixed, correct.shape[1]) & ~failed
        ends = np.flatnonzero(is_labelled & (steps > 0))
        labels[ends, steps[ends] - 1] = trajectories.correct[ends]
        places = np.arange(len(trajectories)) * self.latent_steps
        own = Ragged(labels.ravel(), places, np.where(is_labelled, steps, ABSENT))
        return LabelledBatch(trajectories, own, flops, cut)

    def _complete_step(
        self,
        step: int,
        active: ActiveRows,
        candidate_of: dict[int, int],
        questions: set[int],
        steps: NDArray[np.int64],
        labels: FloatArray,
        flops: NDArray[np.float64],
        cut: NDArray[np.int64],
    ) -> None:
        """Label one step of the candidates of some questions that have thought on after it."""
        per_question = len(steps) // len(self.prompt_batch.problems)
        candidates = [candidate_of.get(row, -1) for row in active.origin.tolist()]
        goes_on = torch.tensor(
            [one >= 0 and one // per_question in questions and int(steps[one]) > step for one in candidates]
        )
        marked = active.counts & goes_on.to(active.counts.device)
        if not bool(marked.any()):
            return
        here = active.only(marked)
        owners = np.array([candidate_of[row] for row in here.origin.tolist()])
        right, cost, cut_off = self._complete(here, step, owners // per_question)
        own = here.counts.cpu().numpy()
        labels[owners[own], step - 1] = right[own].mean(axis=1)
        flops[owners[own]] += cost[own].sum(axis=1)
        cut[owners[own]] += cut_off[own].sum(axis=1)

    def _complete(
        self, here: ActiveRows, step: int, questions: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
        """Complete every row several times.

        Returns:
            Which completions are right, their FLOPs, and which of them were cut off, [rows, M] each.
        """
        rows, device = here.state.rows, here.origin.device
        per_row = max(self.rollouts, -(-MIN_ROWS // rows))
        # Every step has completions of its own numbers: labels of neighbouring steps must not share their draws.
        state = self.engine.branch(here.state, per_row, first=(step - 1) * self.rollouts)
        wanted = here.counts[:, None] & (torch.arange(per_row, device=device) < self.rollouts)
        start = ActiveRows(state, torch.arange(state.rows, device=device), wanted.flatten())
        right, cost = np.zeros((rows, self.rollouts), dtype=np.bool_), np.zeros((rows, self.rollouts))
        written, last = np.zeros(right.shape, dtype=np.int64), np.full(right.shape, NO_TOKEN)
        limits = np.full(right.shape, self.answer_tokens)
        # Completions of a question often say the same, and reading an answer costs more than looking it up.
        known: dict[tuple[int, tuple[int, ...]], bool] = {}
        for stop in run_latent_steps(self.engine, start, self.latent_steps):
            limit = self.engine.answer_limit(stop.state, self.answer_tokens)
            answers = self.engine.decode(stop.state, limit, truncated=stop.truncated)
            token_ids, lengths, origin = answers.token_ids.tolist(), answers.lengths.tolist(), stop.origin.tolist()
            thought = stop.state.latents.shape[1] - step
            for place in stop.counts.nonzero().flatten().tolist():
                row, rollout = divmod(origin[place], per_row)
                question, ids = int(questions[row]), tuple(token_ids[place][: lengths[place]])
                if (question, ids) not in known:
                    known[question, ids] = self._is_correct(self.prompt_batch.problems[question], ids)
                right[row, rollout], limits[row, rollout] = known[question, ids], limit
                visible = self.engine.reasoner.visible_tokens(ids)
                written[row, rollout], last[row, rollout] = len(ids), visible[-1] if visible else NO_TOKEN
                cost[row, rollout] = self._cost(question, step, thought, len(ids), stop.truncated)
        cut = is_cut(written, last, limits, self.engine.reasoner.checkpoint.answer_ends)
        return right & ~cut if self.cut_answers == "abstain" else right, cost, cut

    def _cost(self, question: int, step: int, thought: int, written: int, truncated: bool) -> float:
        """Return the FLOPs of a completion behind a step, with so many more steps and answer tokens."""
        context = len(self.prompt_batch.prompts[question]) + step
        reasoner = self.engine.reasoner
        forced = 0 if truncated else len(reasoner.checkpoint.fed_ids)
        own = reasoner.flops.trajectory(context, thought, forced, written)
        return own + self.engine.perturbation_flops(0, thought)

    def _is_correct(self, problem: Problem, token_ids: Sequence[int]) -> bool:
        reasoner = self.engine.reasoner
        text = reasoner.decode_text(token_ids)
        return problem.is_correct(problem.canonical(problem.extract(text, reasoner.checkpoint.format.extract_answer)))
