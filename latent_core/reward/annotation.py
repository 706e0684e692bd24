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

from latent_core.engine.attention import MIN_ROWS
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import PromptBlock, prompt_blocks, read_trajectories, start_samples
from latent_core.engine.state import RolloutState
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import FloatArray, Trajectory

_MOST_ROWS = 1024
"""Completions that are computed at once, unless one question alone has more."""


@dataclass(frozen=True)
class LabelledTrajectory:
    """A candidate with the labels of its steps.

    Attributes:
        trajectory: The candidate.
        labels: Share of successful completions after each latent step, float32 [T], the last one being the
            trajectory's own correctness; NaN for steps that were not labelled because no completions were asked for.
            None where the question's candidates are all right or all wrong: there is nothing to tell apart.
        label_flops: FLOPs of its completions.
    """

    trajectory: Trajectory
    labels: FloatArray | None
    label_flops: float = 0.0


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
) -> list[LabelledTrajectory]:
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

    Returns:
        len(problems) * candidates labelled trajectories, question by question in sample order.
    """
    engine = RolloutEngine(reasoner, sampler)
    done: dict[int, list[LabelledTrajectory]] = {}
    for block in prompt_blocks(reasoner, problems):
        started = time.perf_counter()
        state, kept = start_samples(engine, block, range(candidates), seed)
        states = []
        for _ in range(latent_steps):
            state = engine.step(state)
            states.append(state)
        rows = read_trajectories(engine, state, block, range(candidates), kept, answer_tokens, started)
        # Rows that only filled the batch up are not labelled.
        states = [engine.select(one, torch.tensor(kept, device=reasoner.device)) for one in states[:-1]]
        labelled = _Labeller(engine, block, rollouts, answer_tokens).label(rows, states)
        for position, index in enumerate(block.indices):
            done[index] = labelled[position * candidates : (position + 1) * candidates]
    return [row for index in range(len(problems)) for row in done[index]]


@dataclass(frozen=True)
class _Labeller:
    engine: RolloutEngine
    block: PromptBlock
    rollouts: int
    answer_tokens: int

    def label(self, trajectories: list[Trajectory], states: Sequence[RolloutState]) -> list[LabelledTrajectory]:
        """Label candidates; `states` holds the state behind each latent step but the last, one row per candidate."""
        questions, steps = len(self.block.problems), len(states) + 1
        correct = np.array([trajectory.correct for trajectory in trajectories]).reshape(questions, -1)
        is_mixed: NDArray[np.bool_] = np.logical_and(correct.any(axis=1), ~correct.all(axis=1))
        labels = np.full((*correct.shape, steps), np.nan, dtype=np.float32)
        labels[:, :, -1] = correct
        flops = np.zeros(correct.shape)
        if self.rollouts > 0:
            self._complete_all(np.flatnonzero(is_mixed), states, labels, flops)
        result = []
        for row, trajectory in enumerate(trajectories):
            question, candidate = divmod(row, correct.shape[1])
            # A row that failed is a wrong candidate that nobody can read.
            readable = is_mixed[question] and trajectory.error is None
            own = labels[question, candidate] if readable else None
            result.append(LabelledTrajectory(trajectory, own, float(flops[question, candidate])))
        return result

    def _complete_all(
        self,
        questions: NDArray[np.int64],
        states: Sequence[RolloutState],
        labels: FloatArray,
        flops: NDArray[np.float64],
    ) -> None:
        """Fill in labels [questions, candidates, steps] and costs [questions, candidates] of some questions."""
        candidates = labels.shape[1]
        at_once = max(1, _MOST_ROWS // (candidates * self.rollouts))
        for first in range(0, len(questions), at_once):
            some = questions[first : first + at_once]
            rows = torch.tensor((some[:, None] * candidates + np.arange(candidates)).ravel())
            for step, state in enumerate(states, start=1):
                here = self.engine.select(state, rows.to(state.hidden.device))
                right, cost = self._complete(here, some, labels.shape[2])
                labels[some, :, step - 1] = right.reshape(len(some), candidates)
                flops[some] += cost.reshape(len(some), candidates)

    def _complete(
        self, state: RolloutState, questions: NDArray[np.int64], steps: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Complete every row several times; returns the share of right completions and their FLOPs, both [rows]."""
        step, rows = state.latents.shape[1], state.rows
        per_row = max(self.rollouts, -(-MIN_ROWS // rows))
        # Every step has completions of its own numbers: labels of neighbouring steps must not share their draws.
        state = self.engine.branch(state, per_row, first=(step - 1) * self.rollouts)
        for _ in range(step, steps):
            state = self.engine.step(state)
        answers = self.engine.decode(state, self.answer_tokens)
        token_ids, lengths = answers.token_ids.tolist(), answers.lengths.tolist()
        right, cost = np.zeros((rows, self.rollouts)), np.zeros((rows, self.rollouts))
        # Completions of a question often say the same, and reading an answer costs more than looking it up.
        known: dict[tuple[int, tuple[int, ...]], bool] = {}
        for row in range(rows):
            question = int(questions[row // (rows // len(questions))])
            context = len(self.block.prompts[question]) + step
            for rollout in range(self.rollouts):
                place = row * per_row + rollout
                ids = tuple(token_ids[place][: lengths[place]])
                if (question, ids) not in known:
                    known[question, ids] = self._is_correct(self.block.problems[question], ids)
                right[row, rollout] = known[question, ids]
                cost[row, rollout] = self.engine.reasoner.flops.trajectory(context, steps - step, 1, len(ids))
        return right.mean(axis=1), cost.sum(axis=1)

    def _is_correct(self, problem: Problem, token_ids: Sequence[int]) -> bool:
        reasoner = self.engine.reasoner
        text = reasoner.decode_text(token_ids)
        return problem.is_correct(problem.canonical(reasoner.checkpoint.format.extract_answer(text)))
