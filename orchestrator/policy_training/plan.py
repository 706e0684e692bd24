"""Training plan of `train-policy`: checkpoint and questions checked, training, validation and test kept apart."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.policy.checks import answer_tokens_of, check_policy, check_questions, latent_steps_of
from latent_core.policy.objectives import OBJECTIVES
from latent_core.tasks.base import Problem, Task
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.config.task import TaskConfig
from orchestrator.tracking.server import check_uri

_TEST = "test"
_ADAM_BYTES = 12
"""Of each trained weight: its gradient and two moments, in single precision."""
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class PolicyPlan:
    """Checked training plan.

    Attributes:
        config: The configuration.
        reasoner: What training begins with.
        task: Name of the training questions.
        train: Questions to train on.
        validation: Questions by which training is judged.
        in_validation: Training questions that were dropped because validation asks the same.
        in_test: Questions of both kinds that were dropped because the test split asks the same.
        test: How many test questions were compared, or why none were.
        parameters: Weights of the model.
    """

    config: TrainPolicyConfig
    reasoner: Checkpoint
    task: str
    train: tuple[Problem, ...]
    validation: tuple[Problem, ...]
    in_validation: int
    in_test: int
    test: str
    parameters: int

    @cached_property
    def digest(self) -> str:
        """Hash of all questions and answers (16 hexadecimal digits): other questions, other weights."""
        content = [
            [(one.question_id, one.question, one.answer, one.grader) for one in problems]
            for problems in (self.train, self.validation)
        ]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()

    @property
    def rollouts_per_update(self) -> int:
        """Sampled answers of one update."""
        policy = self.config.policy
        return policy.questions_per_update * policy.trajectories * policy.answers

    @property
    def learner_bytes(self) -> int:
        """Bytes of a learner's weights, gradients and moments, if all weights were trained; activations are beyond."""
        own, single = _BYTES[self.config.dtype], _BYTES["float32"]
        # Weights of less precision have copies in single precision.
        return self.parameters * (own + (0 if own == single else single) + _ADAM_BYTES)

    def describe(self) -> str:
        """Return one line for people."""
        policy = self.config.policy
        return (
            f"{len(self.train):,} training questions, {len(self.validation):,} validation questions; "
            f"{self.config.updates:,} updates of {policy.questions_per_update} questions x {policy.trajectories} "
            f"trajectories x {policy.answers} answers = {self.rollouts_per_update:,} rollouts"
        )

    def lines(self) -> Iterator[str]:
        """Return what a dry run prints."""
        config, policy = self.config, self.config.policy
        steps = latent_steps_of(self.reasoner, policy)
        tokens = answer_tokens_of(self.reasoner, policy)
        yield f"start       {self.reasoner.source}  ({self.reasoner.format.name}, {self.reasoner.fingerprint})"
        yield f"questions   {self.describe()}"
        dropped = f"dropped {self.in_validation:,} that validation asks too and {self.in_test:,} that test asks too"
        yield f"disjoint    {dropped} ({self.test})"
        lengths = f"{steps} latent steps, up to {tokens} answer tokens"
        yield f"rollouts    {config.sampler.describe()}, {lengths}, staleness {config.staleness}"
        versus = f", baseline {policy.baseline}" if OBJECTIVES[policy.objective].uses_rewards else ", a control"
        yield (
            f"learning    objective {policy.objective}{versus}; trained: {policy.trainable}; learning rate "
            f"{policy.learning_rate:g}, seed {config.seed}"
        )
        size = self.learner_bytes / 2**20
        kind = "at most" if policy.trainable != "all" else "about"
        yield f"memory      {kind} {size:,.0f} MiB a learner for weights, gradients and moments; activations beside"
        actor, learner = config.actor, config.learner
        yield (
            f"cluster     {config.actors} actors x ({actor.cpus} CPUs, {actor.gpus:g} GPUs), "
            f"{learner.workers} learners x ({learner.threads} CPUs, {learner.gpus:g} GPUs)"
        )
        patience = config.validation.patience
        ends = "" if patience is None else f"; ends after {patience} without a better one"
        yield f"validation  every {config.validation.every} updates, better is more {config.validation.stop_on}{ends}"


def plan_policy(config: TrainPolicyConfig) -> PolicyPlan:
    """Check everything that can be checked without loading weights.

    Raises:
        UserError: If the checkpoint cannot be trained, settings do not fit it, or there are too few questions.
    """
    check_uri(config.tracking)
    reasoner = Checkpoint.open(config.checkpoint)
    check_policy(reasoner, config.sampler, config.policy, staleness=config.staleness)
    parameters = _check_weights(reasoner)
    if config.reward_model is not None:
        _check_reward_model(config.reward_model, reasoner)

    task = _training_task(config)
    train = list(task.head(config.task.limit).problems)
    validation, name = _validation(config, train)
    test, compared = _test_questions(config.task)
    kept = [one for one in train if _plain(one) not in test]
    judged = [one for one in validation if _plain(one) not in test]
    in_test = len(train) - len(kept) + len(validation) - len(judged)
    asked = {_plain(one) for one in judged}
    own = _distinct(one for one in kept if _plain(one) not in asked)
    in_validation = sum(_plain(one) in asked for one in kept) if config.validation.task is not None else 0
    check_questions(own, task.name)
    if not judged:
        raise UserError(f"validation {name}: no question is left to judge by; give others, or raise validation.share")
    if len(own) < config.policy.questions_per_update:
        raise UserError(
            f"task {task.name}: {len(own):,} training questions, but an update takes policy.questions_per_update="
            f"{config.policy.questions_per_update} different ones; give more questions, or lower it"
        )
    return PolicyPlan(
        config, reasoner, task.name, tuple(own), tuple(judged), in_validation, in_test, compared, parameters
    )


def _training_task(config: TrainPolicyConfig) -> Task:
    if config.task.split == _TEST and config.task.path is None:
        raise UserError(
            "task.split test: a policy is never trained on the questions that results are reported on; leave "
            "task.split out, or name the training split"
        )
    return config.task.load()


def _validation(config: TrainPolicyConfig, train: Sequence[Problem]) -> tuple[list[Problem], str]:
    """Return the validation questions and what they are called; a share of the training questions by default."""
    own = config.validation.task
    if own is None:
        return [one for one in train if _share(one) < config.validation.share], f"share {config.validation.share:g}"
    if own.split == _TEST and own.path is None:
        raise UserError(
            "validation.task.split test: choices are never made by the questions that results are reported on; name "
            "another split, or leave validation.task out to hold out a share of the training questions"
        )
    loaded = own.load()
    return _distinct(loaded.head(own.limit).problems), loaded.name


def _test_questions(task: TaskConfig) -> tuple[set[str], str]:
    """Return the questions of the test split, and a remark on them."""
    if task.path is not None:
        return set(), "a file has no test split to compare with"
    try:
        problems = TaskConfig(name=task.name, hub=task.hub, hub_config=task.hub_config, columns=task.columns).load()
    except UserError as error:
        return set(), f"test questions cannot be had: {error}"
    return {_plain(one) for one in problems.problems}, f"{len(problems.problems):,} test questions compared"


def _check_weights(reasoner: Checkpoint) -> int:
    """Refuse weights that are not those of the configuration; returns their number."""
    # Model code takes seconds to import, and most of what goes wrong with a plan is found without it.
    from latent_core.models.meta_model import check_model

    return sum(one.numel() for one in check_model(reasoner).parameters())


def _check_reward_model(source: str, reasoner: Checkpoint) -> None:
    from latent_core.reward.checkpoint import RewardCheckpoint

    RewardCheckpoint.open(source).check_fits(reasoner)


def _share(problem: Problem) -> float:
    """Return a number in [0, 1) that depends on the id alone."""
    return int.from_bytes(hashlib.blake2b(problem.question_id.encode(), digest_size=8).digest(), "big") / 2**64


def _plain(problem: Problem) -> str:
    return " ".join(problem.question.split())


def _distinct(problems: "Iterator[Problem] | Sequence[Problem]") -> list[Problem]:
    """Return problems without those that repeat an earlier question or its name."""
    seen: set[str] = set()
    kept = []
    for one in problems:
        if one.question_id in seen or _plain(one) in seen:
            continue
        seen |= {one.question_id, _plain(one)}
        kept.append(one)
    return kept
