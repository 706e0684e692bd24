"""The gain table that training fits is the one that is fitted to the same samples, drawn and scored one by one."""

import math

import numpy as np
import pytest
import torch

from latent_core.budgets import DEFAULT_WAVES
from latent_core.budgets.gain_fit import fit_gain_tables
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, score_candidates
from latent_core.reward.training.gains import FEWEST_SAMPLES, fit_gains
from latent_core.samplers import parse_sampler
from latent_core.selection.aggregations import Outcomes
from latent_core.selection.calibration import VoteCalibration
from latent_core.tasks.loading import load_task
from latent_core.trajectory import CutAnswers

SAMPLES = FEWEST_SAMPLES
CALIBRATION = VoteCalibration(temperature=0.5)


# With two tokens every answer is written, and none is ended.
@pytest.mark.parametrize(("cut_answers", "tokens"), [("vote", 2), ("abstain", 3), ("abstain", 2)])
def test_it_is_fitted_to_samples_and_scores_of_all_questions(cut_answers: CutAnswers, tokens: int) -> None:
    lengths = {"latent_steps": 6, "answer_tokens": tokens}
    reasoner = LatentReasoner.from_pretrained("bundled:coconut-tiny")
    problems = load_task(name="word_problems", split="validation").head(21).problems
    model = LatentRewardModel.from_reasoner(reasoner.checkpoint, 0).eval()
    sampler = parse_sampler({"kind": "gaussian", "sigma": 0.8, "relative": True})
    fitted = fit_gains(
        reasoner, model, problems, sampler, SAMPLES, CALIBRATION, cut_answers=cut_answers, seed=3, **lengths
    )
    shape = len(problems), SAMPLES
    correct, votes, scores = np.zeros(shape, bool), np.full(shape, -1), np.zeros(shape)
    sure, likely = np.full(shape, np.nan), np.zeros(shape)
    for row, problem in enumerate(problems):
        drawn = sample_trajectories(
            reasoner, sampler, [problem], range(SAMPLES), seed=3, latents=torch.float16, **lengths
        )
        known: list[str] = []
        for column, one in enumerate(drawn):
            if one.answer is not None and not (one.cut and cut_answers == "abstain"):
                if one.answer not in known:
                    known.append(one.answer)
                votes[row, column] = known.index(one.answer)
                correct[row, column] = one.correct
            assert one.answer_logprob is not None
            sure[row, column] = one.answer_logprob
            likely[row, column] = math.exp(one.answer_logprob / one.answer_tokens)
        latents = torch.from_numpy(np.array([one.latents for one in drawn], np.float32))
        with torch.inference_mode():
            prompt = reasoner.checkpoint.prompt_ids(problem.question)
            rewards = score_candidates(
                model, [prompt], CandidateBatch(latents, torch.full((SAMPLES,), latents.shape[1]))
            )
        scores[row] = rewards.score.numpy()
    counts = (cut_answers, tokens) != ("abstain", 2)
    assert (votes >= 0).all() == correct.any() == counts
    own = {"confidences": sure, "confidence_weights": likely}
    outcomes = Outcomes(correct, votes, scores, CALIBRATION.weights(scores), **own)
    expected = fit_gain_tables(outcomes, DEFAULT_WAVES, CALIBRATION.temperature)
    assert (fitted.questions, fitted.samples, fitted.sampler) == (21, SAMPLES, "gaussian sigma=0.8 relative")
    assert set(fitted.tables) == set(expected.tables)
    assert len(fitted.tables) == 6
    for name, table in expected.tables.items():
        own = fitted.tables[name]
        assert [stage.samples for stage in own.stages] == [4, 8]
        for mine, theirs in zip(own.stages, table.stages, strict=True):
            np.testing.assert_allclose(mine.means, theirs.means, atol=1e-2)
            np.testing.assert_allclose(sum(mine.share), 1.0, atol=1e-4)
