"""Decoded thoughts: sequences, their effective number, departures from the greedy path, variance between them."""

import numpy as np
import pytest

from latent_core.dynamics.block import ENDED
from latent_core.dynamics.thoughts import departures, effective_number, sequence_codes, variance_between


def test_sequences_are_equal_up_to_a_step_exactly_if_all_their_thoughts_are() -> None:
    thoughts = np.random.default_rng(0).integers(ENDED, 3, size=(4, 30, 3))
    codes = sequence_codes(thoughts)
    for step in range(3):
        for q in range(4):
            own = [tuple(row) for row in thoughts[q, :, : step + 1]]
            same = np.array([[a == b for a in own] for b in own])
            np.testing.assert_array_equal(codes[q, :, step][:, None] == codes[q, :, step], same)
        # Numbers of different questions never meet.
        assert not set(codes[0, :, step]) & set(codes[1, :, step])


def test_effective_number_of_even_and_uneven_shares() -> None:
    codes = np.array([[0, 0, 0, 0], [0, 1, 2, 3], [5, 5, 7, 7], [1, 1, 1, 2], [1, 2, 3, 4]])
    counted = np.ones((5, 4), np.bool_)
    counted[4] = False
    uneven = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    np.testing.assert_allclose(effective_number(codes, counted), [1, 4, 2, uneven, np.nan])
    counted[1, 2:] = False
    assert effective_number(codes, counted)[1] == pytest.approx(2)


def test_departures_are_the_first_differences() -> None:
    greedy = np.array([[3, 4, 5], [3, ENDED, ENDED], [ENDED, ENDED, ENDED]])
    thoughts = np.array(
        [
            [[3, 4, 5], [3, 9, 5], [3, 4, ENDED]],
            [[3, ENDED, ENDED], [3, 4, ENDED], [8, ENDED, ENDED]],
            [[3, 4, 5], [1, 1, 1], [2, 2, 2]],
        ]
    )
    valid = np.ones((3, 3), np.bool_)
    valid[0, 0] = False
    first, compared = departures(thoughts, greedy, valid)
    assert first[:2].tolist() == [[3, 1, 2], [3, 1, 0]]
    # A question whose greedy trajectory failed has no path to leave.
    assert compared.tolist() == [[False, True, True], [True, True, True], [False, False, False]]


def test_variance_between_thoughts_and_within() -> None:
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(6, 20, 2, 5)).astype(np.float32)
    present = rng.random((6, 20, 2)) < 0.8
    latents *= present[..., None]
    thoughts = np.where(present, rng.integers(0, 4, size=present.shape), ENDED)
    between, total = variance_between(latents, present, thoughts)
    for q in range(6):
        for t in range(2):
            own, said = latents[q, present[q, :, t], t].astype(np.float64), thoughts[q, present[q, :, t], t]
            centre = own.mean(axis=0)
            groups = [own[said == one] for one in set(said.tolist())]
            expected = sum(len(group) * ((group.mean(axis=0) - centre) ** 2).sum() for group in groups)
            assert between[q, t] == pytest.approx(expected, rel=1e-4)
            assert total[q, t] == pytest.approx(((own - centre) ** 2).sum(), rel=1e-4)


def test_equal_latents_have_no_variance() -> None:
    latents = np.repeat(np.random.default_rng(2).normal(size=(3, 1, 1, 100)), 9, axis=1).astype(np.float32)
    between, total = variance_between(latents, np.ones((3, 9, 1), np.bool_), np.zeros((3, 9, 1), np.int64))
    assert not between.any()
    assert not total.any()
