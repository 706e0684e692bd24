"""Update batch: the rollouts of one update as tensors, with the advantage of every answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from latent_core.attention.padding import argsort_by_length
from latent_core.models.checkpoint import Checkpoint
from latent_core.policy.baselines import BASELINES
from latent_core.policy.objectives import OBJECTIVES
from latent_core.policy.rollouts import RolloutBatch
from latent_core.policy.settings import PolicySettings
from latent_core.tasks.base import Problem


@dataclass(frozen=True, eq=False)
class UpdateBatch:
    """Questions from which something can be learnt, those first whose prompts are shortest.

    Attributes:
        problems: Q questions.
        ids: Tokens of the sampled answers, int64 [Q x G, K, longest]; filled up with zeros.
        lengths: Tokens of each, int64 [Q x G, K].
        advantages: What weighs each, [Q x G, K]; [Q x G, 1] where references are learnt from.
        logprob: Its log-probability under the weights that sampled it, [Q x G, K].
        version: Version of these weights, int64 [Q x G, K].
        seed: Seed of the draws.
        answers: Number of advantages of all questions, those included from which nothing can be learnt.
        numbers: What rollouts say of the policy; see `of`.
    """

    problems: tuple[Problem, ...]
    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    advantages: NDArray[np.float64]
    logprob: NDArray[np.float32]
    version: NDArray[np.int64]
    seed: int
    answers: int
    numbers: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.problems)

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, problems: Sequence[Problem], rollouts: RolloutBatch, settings: PolicySettings
    ) -> "UpdateBatch":
        """Arrange rollouts.

        Args:
            checkpoint: Reads the prompts.
            problems: The questions.
            rollouts: G x K of each, in any order.
            settings: The recipe.

        Returns:
            The batch; its numbers are means over all rollouts: `reward`, `accuracy`, `no_signal` (share of questions
            all of whose answers earn the same), `failed` (share of those with an answer that could not be computed),
            `entropy`, `spread`, `cut`, `unparsable`, `latent_steps`.

        Raises:
            ValueError: If a question has not G x K rollouts, or they are of several seeds.
        """
        seeds = set(rollouts.seed.tolist())
        if len(seeds) != 1:
            raise ValueError(f"the rollouts of an update are of one seed, got {sorted(seeds)}")
        group, k = settings.trajectories, settings.answers
        order = argsort_by_length([checkpoint.prompt_ids(problem.question) for problem in problems])
        ordered = [problems[index] for index in order]
        rows = rollouts.take(_addresses(ordered, rollouts, group, k))
        rewards = rows.reward.astype(np.float64).reshape(len(ordered), group * k)
        failed = np.isnan(rewards).any(axis=1)
        objective = OBJECTIVES[settings.objective]
        advantages = np.ones((len(ordered), group))
        if objective.uses_rewards:
            advantages = BASELINES[settings.baseline](np.nan_to_num(rewards))
        n = advantages.size // (len(ordered) * group)
        silent = (rewards == rewards[:, :1]).all(axis=1)
        useful = ~failed & (~silent | (settings.kl > 0) | (not objective.uses_rewards))
        ids, lengths = _padded(rows)
        shape = (len(ordered), group, k)

        return cls(
            problems=tuple(problem for problem, is_useful in zip(ordered, useful.tolist(), strict=True) if is_useful),
            ids=ids.reshape(*shape, -1)[useful].reshape(-1, k, ids.shape[1]),
            lengths=lengths.reshape(shape)[useful].reshape(-1, k),
            advantages=advantages.reshape(*shape[:2], n)[useful].reshape(-1, n),
            logprob=rows.logprob.reshape(shape)[useful].reshape(-1, k),
            version=rows.version.astype(np.int64).reshape(shape)[useful].reshape(-1, k),
            seed=seeds.pop(),
            answers=advantages.size,
            numbers={
                "reward": float(np.nanmean(rows.reward)) if not failed.all() else float("nan"),
                "accuracy": float(rows.correct.mean()),
                "no_signal": float(silent.mean()),
                "failed": float(failed.mean()),
                "entropy": float(rows.entropy.mean()),
                "spread": float(rows.spread.mean()),
                "cut": float(rows.cut.mean()),
                "unparsable": float(rows.unparsable.mean()),
                "latent_steps": float(rows.latent_steps.mean()),
            },
        )

    def part(self, questions: slice) -> "UpdateBatch":
        """Return neighbouring questions."""
        group = len(self.ids) // len(self.problems)
        rows = slice(questions.start * group, questions.stop * group)
        return UpdateBatch(
            self.problems[questions],
            self.ids[rows],
            self.lengths[rows],
            self.advantages[rows],
            self.logprob[rows],
            self.version[rows],
            self.seed,
            self.answers,
        )


def _addresses(problems: Sequence[Problem], rollouts: RolloutBatch, group: int, k: int) -> NDArray[np.int64]:
    """Return where the rollouts of questions stand, question by question, trajectory by trajectory."""
    place = {problem.question_id: index for index, problem in enumerate(problems)}
    question = np.array([place.get(one, -1) for one in rollouts.question_id])
    known = question >= 0
    address = (question * group + rollouts.trajectory) * k + rollouts.answer
    counts = np.bincount(address[known], minlength=len(problems) * group * k)
    if len(counts) != len(problems) * group * k or (counts != 1).any():
        raise ValueError(f"every question of an update needs {group} x {k} rollouts, each once")
    return np.flatnonzero(known)[np.argsort(address[known], kind="stable")]


def _padded(rows: RolloutBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return answer tokens [rows, longest] and their numbers [rows]."""
    lengths = np.maximum(rows.answer_ids.lengths, 0)
    longest = max(1, int(lengths.max(initial=0)))
    ids = np.zeros((len(lengths), longest), np.int64)
    packed = rows.answer_ids.packed()
    ids[np.arange(longest) < lengths[:, None]] = packed.values
    return ids, lengths
