"""A policy is judged question by question, and its gain over the start is paired."""

import numpy as np
import pytest

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.policy.settings import PolicySettings
from latent_core.policy.validation import Validation, compare, validate
from latent_core.samplers import parse_sampler
from latent_core.tasks.word_problems import word_problems


def judged(seed: int, questions: int = 40) -> Validation:
    generator = np.random.default_rng(seed)
    ids = [f"q{number}" for number in range(questions)]
    columns = [generator.integers(0, 2, questions).astype(np.float64) for _ in range(4)]
    return Validation(ids, *columns)


def test_gains_are_paired_whatever_the_order() -> None:
    now, start = judged(0), judged(1)
    numbers = compare(now, start)
    assert numbers["coverage_gain"] == pytest.approx((now.coverage - start.coverage).mean())
    assert numbers["greedy_gain_lo"] < numbers["greedy_gain"] < numbers["greedy_gain_hi"]
    assert numbers == compare(now, start.take(np.random.default_rng(2).permutation(len(start))))
    assert "greedy_gain" not in compare(now)
    with pytest.raises(ValueError, match="same questions"):
        compare(now, start[:39])


def test_accuracies_are_those_of_the_samples() -> None:
    reasoner = LatentReasoner.from_pretrained("bundled:coconut-tiny")
    problems = word_problems("validation", 12).problems
    sampler = parse_sampler({"kind": "mc_dropout", "p": 0.2})
    rows = sample_trajectories(
        reasoner, sampler, problems, range(8), latent_steps=6, answer_tokens=32, seed=4, latents=None
    )
    answers = {(row.question_id, row.sample_index): None if row.cut else row.answer for row in rows}
    found = validate(reasoner, sampler, problems, PolicySettings(), 4, samples=8)
    for one, problem in zip(found, problems, strict=True):
        own = [answers[problem.question_id, sample] for sample in range(8)]
        assert one.mean == np.mean([answer == problem.answer for answer in own])
        assert one.coverage == (problem.answer in own)
        votes = {answer: own.count(answer) for answer in own if answer is not None}
        winners = [answer for answer, count in votes.items() if count == max(votes.values())]
        assert one.majority == pytest.approx((problem.answer in winners) / max(1, len(winners)))
    assert 0 < found.mean.mean() < 1
