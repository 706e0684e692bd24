"""What a picture holds: settings side by side in a sweep, aggregations side by side in a run."""

import pytest

from orchestrator.analysis.curves import CurveRow
from orchestrator.reporting.layout import grid, panels, ticks, trials

SIX = ("coverage", "majority_vote", "best_of_n", "weighted_vote", "best_of_n_answer", "weighted_vote_answer")


def make_rows(*trials: str, beam: tuple[str, ...] = ()) -> list[CurveRow]:
    """Six aggregations of every trial, greedy, guesses, and beam searches at budgets of their own."""
    rows = [CurveRow("greedy", "none", "greedy", 1, 0.4, 0.3, 0.5, 10, 1e9)]
    rows += [
        CurveRow(trial, trial.split()[0], name, n, 0.5, 0.4, 0.6, n, n)
        for trial in trials
        for name in SIX
        for n in (1, 4, 16)
    ]
    rows += [
        CurveRow(trial, trial.split()[0], name, n, 0.6, 0.5, 0.7, n, n)
        for trial in beam
        for name in ("beam_search", "beam_vote")
        for n in (20, 6)
    ]
    rows += [CurveRow("random_guess", "random_guess", "random_guess", n, 0.1, 0.1, 0.1, n, 0) for n in (1, 4, 16)]
    return rows


def test_a_sweep_has_a_panel_per_aggregation_and_a_line_per_setting() -> None:
    shown = panels(make_rows("gaussian sigma=0.1", "mc_dropout p=0.1", beam=("gaussian sigma=0.1",)))
    assert [panel.title for panel in shown] == [
        "coverage (pass@N)",
        "majority vote",
        "best-of-N (LatentRM)",
        "weighted vote (LatentRM)",
        "best-of-N (answer-aware)",
        "weighted vote (answer-aware)",
        "beam search (LatentRM)",
        "beam search + vote (LatentRM)",
    ]
    for panel in shown[:6]:
        assert [line.label for line in panel.lines] == ["gaussian sigma=0.1", "mc_dropout p=0.1"]
        assert len({line.colour for line in panel.lines}) == len({line.marker for line in panel.lines}) == 2
    assert [line.label for line in shown[6].lines] == ["gaussian sigma=0.1"]
    assert [row.n for row in shown[6].lines[0].rows] == [6, 20]
    assert [bool(panel.guess) for panel in shown] == [True] + [False] * 7


def test_a_run_has_one_panel_with_a_line_per_aggregation() -> None:
    [panel] = panels(make_rows("gaussian sigma=0.1", beam=("gaussian sigma=0.1",)))
    assert panel.title == "gaussian sigma=0.1"
    assert len(panel.lines) == 8
    assert len({line.label for line in panel.lines}) == 8
    assert {row.aggregation for line in panel.lines for row in line.rows} == {*SIX, "beam_search", "beam_vote"}
    assert all(len({row.aggregation for row in line.rows}) == 1 for line in panel.lines)
    assert panel.guess
    # No two lines look alike: the answer-aware variants have the hue of their method, but are dashed.
    assert len({(line.colour, line.marker, line.dashed) for line in panel.lines}) == 8
    plain, aware = panel.lines[2], panel.lines[4]
    assert (plain.colour, plain.marker, plain.dashed) == (aware.colour, aware.marker, not aware.dashed)


def test_beam_searches_under_names_of_their_own_do_not_turn_a_run_into_a_sweep() -> None:
    beams = ("gaussian beam 2x4", "gaussian beam 4x4")
    [panel] = panels(make_rows("gaussian sigma=0.1", beam=beams))
    assert [line.label for line in panel.lines[6:]] == [
        f"{name}, {beam}" for name in ("beam search (LatentRM)", "beam search + vote (LatentRM)") for beam in beams
    ]
    assert len({line.colour for line in panel.lines[6:]}) == 4


def test_an_aggregation_of_somebody_elses_gets_a_free_colour() -> None:
    rows = [*make_rows("g"), CurveRow("g", "g", "my_vote", 4, 0.5, 0.4, 0.6, 4, 4)]
    [panel] = panels(rows)
    *known, mine = panel.lines
    assert mine.label == "my vote"
    assert mine.colour not in {line.colour for line in known}


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (6, (2, 3)), (8, (3, 3))]
)
def test_panels_wrap(count: int, shape: tuple[int, int]) -> None:
    assert grid(count) == shape


def test_ticks_mark_the_budgets_of_sampling() -> None:
    assert ticks(make_rows("g", beam=("g",))) == [1, 4, 16]
    assert ticks([row for row in make_rows(beam=("g",)) if row.aggregation == "beam_vote"]) == [6, 20]


def test_nothing_to_show() -> None:
    assert panels([]) == []
    [greedy] = panels(make_rows()[:1])
    assert (greedy.title, greedy.lines) == ("coverage (pass@N)", [])


@pytest.mark.parametrize(("samplers", "settings"), [(20, 1), (1, 20), (9, 4)])
def test_no_two_curves_share_colour_and_marker(samplers: int, settings: int) -> None:
    """Many runs beside each other have as many samplers."""
    names = [f"s{sampler} x={setting}" for sampler in range(samplers) for setting in range(settings)]
    looks = [(one.colour, one.marker) for one in trials(make_rows(*names))]
    assert len(set(looks)) == len(looks) == samplers * settings
