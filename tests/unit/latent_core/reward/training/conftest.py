"""Random labelled questions for the tiny reasoner: nothing to understand, but enough to learn by heart."""

from collections.abc import Callable

import numpy as np
import pytest

from latent_core.models import LatentReasoner
from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion
from latent_core.tasks.base import Problem

MakeQuestions = Callable[..., list[LabelledQuestion]]


@pytest.fixture(scope="session")
def make_questions(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> MakeQuestions:
    """Build questions with random latents; every question has right and wrong candidates."""

    def build(count: int, candidates: int = 4, steps: int = 3, seed: int = 0) -> list[LabelledQuestion]:
        rng = np.random.default_rng(seed)
        width = tiny_reasoner.checkpoint.config.hidden_size
        questions = []
        for index in range(count):
            right = rng.permutation([True, False, *(rng.random(candidates - 2) < 0.5)])
            rows = []
            for correct in right:
                labels = rng.integers(0, 5, steps).astype(np.float32) / 4
                labels[-1] = correct
                latents = rng.standard_normal((steps, width)).astype(np.float16)
                wrong = str(rng.integers(1, 4))
                ids = tuple(int(one) for one in rng.integers(3, 10, rng.integers(1, 4)))
                answer = "0" if correct else wrong
                rows.append(LabelledCandidate(bool(correct), answer, latents, labels, ids))
            prompt = tuple(tiny_reasoner.checkpoint.prompt_ids(problems[index % len(problems)].question))
            questions.append(LabelledQuestion(f"q{index}", prompt, tuple(rows)))
        return questions

    return build
