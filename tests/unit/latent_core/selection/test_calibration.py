"""From scores to vote weights, and what is chosen on validation outcomes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from latent_core.selection.aggregations import Outcomes
from latent_core.selection.calibration import CALIBRATION_FILE, VoteCalibration, fit_vote_calibration
from latent_core.selection.estimators import best_of_n, majority_at_n, weighted_vote_at_n

SCORES = np.array([[0.0, 1.0, np.nan, -2.0], [10.0, 11.0, 8.0, 10.0], [np.nan] * 4])


def outcomes_of(questions: int, samples: int, signal: float, seed: int = 0) -> Outcomes:
    """Three answers, the first right; scores are noise plus `signal` for right samples."""
    rng = np.random.default_rng(seed)
    votes = rng.choice(3, (questions, samples), p=[0.4, 0.3, 0.3])
    scores = rng.normal(size=votes.shape) + signal * (votes == 0)
    return Outcomes(correct=votes == 0, votes=votes, scores=scores)


def test_softmax_weights_are_ratios_of_exponentials_and_blind_to_the_level() -> None:
    weights = VoteCalibration(temperature=2.0).weights(SCORES)
    np.testing.assert_allclose(weights[0], [np.exp(-0.5), 1.0, 0.0, np.exp(-1.5)])
    for centre in (True, False):
        calibration = VoteCalibration(temperature=2.0, centre=centre)
        np.testing.assert_allclose(calibration.weights(SCORES + np.array([[7.0], [-900.0], [0.0]])), weights)


def test_sigmoid_weights_depend_on_the_level_unless_centred() -> None:
    centred = VoteCalibration(weighting="sigmoid")
    np.testing.assert_allclose(centred.weights(SCORES + 50.0), centred.weights(SCORES))
    plain = VoteCalibration(weighting="sigmoid", centre=False)
    sigmoid = 1 / (1 + np.exp(-SCORES[0]))
    np.testing.assert_allclose(plain.weights(SCORES)[0, [0, 1, 3]], (sigmoid / sigmoid[1])[[0, 1, 3]])
    # Far above zero every vote counts alike; far below, ratios are those of the softmax.
    np.testing.assert_allclose(plain.weights(SCORES + 50.0)[1], 1.0)
    np.testing.assert_allclose(plain.weights(SCORES - 900.0), VoteCalibration().weights(SCORES), rtol=1e-6)


@pytest.mark.parametrize("weighting", ["softmax", "sigmoid"])
@pytest.mark.parametrize("temperature", [1e-3, 1.0, 1e3])
def test_a_score_leaves_a_vote_and_none_leaves_none(weighting: str, temperature: float) -> None:
    calibration = VoteCalibration.model_validate({"temperature": temperature, "weighting": weighting, "centre": False})
    weights = calibration.weights(SCORES * 100)
    assert (weights[~np.isnan(SCORES)] > 0).all()
    assert (weights[np.isnan(SCORES)] == 0).all()
    np.testing.assert_array_equal(weights[:2].max(axis=1), 1.0)


def test_a_low_temperature_is_best_of_n_and_a_high_one_majority_vote() -> None:
    outcomes = outcomes_of(50, 9, 0.5)
    assert outcomes.scores is not None
    for n in (2, 4, 9):
        cold = VoteCalibration(temperature=0.01).weights(outcomes.scores)
        warm = VoteCalibration(temperature=1e6).weights(outcomes.scores)
        best = best_of_n(outcomes.scores, outcomes.correct, n)
        majority = majority_at_n(outcomes.votes, outcomes.correct, n)
        # One near tie of scores may be shared; nothing else differs from best-of-n.
        assert np.abs(weighted_vote_at_n(outcomes.votes, outcomes.correct, cold, n) - best).mean() < 0.01
        # A hair more weight decides what would be a tie, so only clear majorities are the same.
        clear = np.isin(majority, [0.0, 1.0])
        assert clear.any()
        np.testing.assert_allclose(
            weighted_vote_at_n(outcomes.votes, outcomes.correct, warm, n)[clear], majority[clear], atol=1e-6
        )


def test_fitting_finds_the_temperature_that_helps() -> None:
    # Both the scores and the counts know something: neither the best score alone nor the count alone is best.
    outcomes = outcomes_of(400, 16, 0.5)
    assert outcomes.scores is not None
    found = fit_vote_calibration(outcomes, [4, 16], [0.01, 1.0, 1000.0])
    accuracy = {
        t: np.mean(
            [
                weighted_vote_at_n(
                    outcomes.votes, outcomes.correct, VoteCalibration(temperature=t).weights(outcomes.scores), n
                )
                for n in (4, 16)
            ]
        )
        for t in (0.01, 1.0, 1000.0)
    }
    assert found.temperature == max(accuracy, key=lambda t: accuracy[t]) == 1.0
    assert found == fit_vote_calibration(outcomes, [4, 16], [1000.0, 0.01, 1.0])


def test_scores_that_mislead_are_flattened_out() -> None:
    assert fit_vote_calibration(outcomes_of(400, 16, -1.0), [16], [0.1, 1.0, 100.0]).temperature == 100.0


@pytest.mark.parametrize(("grid", "chosen"), [([0.1, 0.5, 3.0], 0.5), ([0.5, 2.0], 2.0), ([8.0, 1.0, 0.9], 1.0)])
def test_ties_go_to_the_temperature_nearest_to_one(grid: list[float], chosen: float) -> None:
    level = replace(outcomes_of(20, 6, 0.0), scores=np.zeros((20, 6)))
    assert fit_vote_calibration(level, [2, 6], grid).temperature == chosen


def test_answer_scores_have_a_calibration_of_their_own() -> None:
    # Equal seeds give equal votes: only the scores differ.
    good, bad = outcomes_of(400, 16, 1.0), outcomes_of(400, 16, -1.0)
    both = replace(good, answer_scores=bad.scores)
    assert fit_vote_calibration(both, [16], [1.0, 100.0]).temperature == 1.0
    assert fit_vote_calibration(both, [16], [1.0, 100.0], scores="answer_scores").temperature == 100.0


def test_centring_and_form_can_be_chosen_too() -> None:
    outcomes = outcomes_of(200, 16, 1.0)
    assert outcomes.scores is not None
    # Far above zero an uncentred sigmoid is a majority vote, which loses here.
    high = replace(outcomes, scores=outcomes.scores + 100.0)
    found = fit_vote_calibration(high, [16], [1.0], centres=(False, True), weightings=("sigmoid",))
    assert found == VoteCalibration(centre=True, weighting="sigmoid")


def test_a_file_restores_it(tmp_path: Path) -> None:
    calibration = VoteCalibration(temperature=0.1, centre=False, weighting="sigmoid")
    path = tmp_path / CALIBRATION_FILE
    path.write_text(calibration.model_dump_json())
    assert VoteCalibration.model_validate_json(path.read_text()) == calibration


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": -1.0}, {"weighting": "linear"}, {"t": 1.0}])
def test_senseless_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        VoteCalibration.model_validate(settings)


def test_nothing_to_fit_is_refused() -> None:
    outcomes = outcomes_of(4, 4, 0.0)
    with pytest.raises(ValueError, match="no answer_scores"):
        fit_vote_calibration(outcomes, [2], scores="answer_scores")
    with pytest.raises(ValueError, match="not to vote_weights"):
        fit_vote_calibration(outcomes, [2], scores="vote_weights")
    with pytest.raises(ValueError, match="4 samples"):
        fit_vote_calibration(outcomes, [2, 5])
    with pytest.raises(ValueError, match="4 samples"):
        fit_vote_calibration(outcomes, [])
    with pytest.raises(ValueError, match="at least one"):
        fit_vote_calibration(outcomes, [2], [])
