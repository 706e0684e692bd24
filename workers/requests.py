"""Requests to actors. Kept apart from the actors so that asking needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from latent_core.tasks.base import Problem
from latent_core.trajectory import CutAnswers


@dataclass(frozen=True)
class PlannedCode:
    """Which code a setting was planned for.

    Attributes:
        extras: What its trajectories are named by beyond the default, see `TrajectorySpec.extras` of the store.
        reading: How its texts are read, see `TrajectorySpec.reading`.
    """

    extras: Mapping[str, Any]
    reading: Mapping[str, Any]


@dataclass(frozen=True)
class SampleRequest:
    """One shard of work. The sampler's settings travel with it, so that one actor serves every setting.

    Attributes:
        problems: The questions of the shard; they are one batch.
        first_sample: First sample index.
        samples: Number of sample indices.
        sampler: Sampler setting as plain data.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.
        first_question: Index of the first question in its task.
        latents: Precision of the latent vectors in the reply: "none", "float16" or "float32".
        code: Which code has to be at work; None for whatever is there.
        keep_prompts: Whether further samples of the same questions may be asked for soon.
    """

    problems: tuple[Problem, ...]
    first_sample: int
    samples: int
    sampler: dict[str, Any]
    latent_steps: int
    answer_tokens: int
    seed: int
    first_question: int = 0
    latents: str = "none"
    code: PlannedCode | None = None
    keep_prompts: bool = False


@dataclass(frozen=True)
class SearchRequest:
    """Questions for a search.

    Attributes:
        problems: The questions; they are one batch.
        sampler: Sampler setting as plain data.
        beams: B, beams that are kept; particles of "smc".
        branching: C, continuations per beam and step.
        scorer: The LatentRM: a directory, a hub id, or "bundled:NAME".
        scorer_dtype: Name of its precision.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.
        first_question: Index of the first question in its task.
        latents: Precision of the latent vectors in the reply: "none", "float16" or "float32".
        code: Which code has to be at work; None for whatever is there.
        kind: "beam" or "smc".
        prune_from: First latent step at which anything is dropped.
        temperature: Of the weights of particles.
    """

    problems: tuple[Problem, ...]
    sampler: dict[str, Any]
    beams: int
    branching: int
    scorer: str
    scorer_dtype: str
    latent_steps: int
    answer_tokens: int
    seed: int
    first_question: int = 0
    latents: str = "none"
    code: PlannedCode | None = None
    kind: str = "beam"
    prune_from: int = 1
    temperature: float | None = None


@dataclass(frozen=True)
class AnnotateRequest:
    """Questions whose candidates are to be sampled and labelled.

    Attributes:
        problems: The questions; they are one batch.
        sampler: Sampler setting as plain data.
        candidates: N, candidates per question.
        rollouts: M, completions per candidate and step.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the run.
        cut_answers: What becomes of answers that were cut off.
        first_question: Index of the first question in its task.
        code: Which code has to be at work; None for whatever is there.
    """

    problems: tuple[Problem, ...]
    sampler: dict[str, Any]
    candidates: int
    rollouts: int
    latent_steps: int
    answer_tokens: int
    seed: int
    cut_answers: CutAnswers = "abstain"
    first_question: int = 0
    code: PlannedCode | None = None


@dataclass(frozen=True)
class ScoreRequest:
    """One shard of trajectories to score.

    Attributes:
        trajectories: Their table, question by question, as many for each; they are one batch.
        samples: Samples per question.
        questions: The text of each question.
        latents: Precision in which latents are read.
        score_answer: Whether the answers are read too.
    """

    trajectories: pa.Table
    samples: int
    questions: tuple[str, ...]
    latents: str
    score_answer: bool
