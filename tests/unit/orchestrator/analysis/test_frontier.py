"""Diversity against coverage: values of settings, and which of them are on one line."""

import math
from typing import Any

import numpy as np
import pytest

from latent_core.selection.intervals import Interval
from orchestrator.analysis.frontier import SampledSetting, frontier_rows

CORRECT = np.array([0.0, 0.25, 0.5, 1.0])


def setting(name: str, samples: int = 4, **sampler: Any) -> SampledSetting:
    answers = np.array([1.0, 2.0, np.nan, 3.0])
    return SampledSetting(name, {**sampler, "latent_steps": 6}, samples, CORRECT, answers, Interval(0.3, 0.2, 0.4))


def test_values_of_a_setting() -> None:
    (row,) = frontier_rows([setting("g", kind="gaussian", sigma=0.5)])
    assert (row.trial, row.sampler, row.n) == ("g", "gaussian", 4)
    assert (row.coverage, row.single, row.effective_answers) == pytest.approx((0.75, 0.4375, 2.0))
    assert row.effective_answers_lo >= 1.0
    assert (row.dispersion, row.dispersion_lo, row.dispersion_hi) == (0.3, 0.2, 0.4)
    assert row.coverage_lo < row.coverage < row.coverage_hi
    # Whose number stands beside the point is clear where there is one.
    assert (row.line, row.setting) == ("gaussian (sigma)", 0.5)


def test_settings_that_differ_in_one_number_are_on_a_line() -> None:
    rows = frontier_rows(
        [
            setting("b", kind="mc_dropout", p=0.2, mask="step", sites=["a"]),
            setting("e", kind="gaussian", sigma=2.0, relative=True),
            setting("d", kind="gaussian", sigma=0.5, relative=True),
            setting("a", kind="mc_dropout", p=0.1, mask="step", sites=["a"]),
            setting("c", kind="mc_dropout", p=0.1, mask="trajectory", sites=["a"]),
        ]
    )
    assert [(row.trial, row.line, row.setting) for row in rows] == [
        ("a", "mc_dropout (p) mask=step", 0.1),
        ("b", "mc_dropout (p) mask=step", 0.2),
        ("c", "mc_dropout (p) mask=trajectory", 0.1),
        ("d", "gaussian (sigma)", 0.5),
        ("e", "gaussian (sigma)", 2.0),
    ]


def test_of_two_numbers_the_line_follows_the_one_with_more_values() -> None:
    rows = frontier_rows(
        [setting(f"{t}/{p}", kind="answers", temperature=t, top_p=p) for t in (0.5, 1.0, 2.0) for p in (0.9, 1.0)]
    )
    assert {row.line for row in rows} == {"answers (temperature) top_p=0.9", "answers (temperature) top_p=1.0"}
    assert [row.setting for row in rows] == [0.5, 1.0, 2.0] * 2


def test_which_number_is_meant_may_be_unclear() -> None:
    (row,) = frontier_rows([setting("x", kind="answers", temperature=0.5, top_p=1.0)])
    assert row.line == "answers"
    assert math.isnan(row.setting)


def test_only_settings_that_were_sampled_to_the_full_are_compared() -> None:
    rows = frontier_rows([setting("a", kind="gaussian", sigma=0.1), setting("b", 2, kind="gaussian", sigma=0.2)])
    assert [row.trial for row in rows] == ["a"]
    assert frontier_rows([]) == []
