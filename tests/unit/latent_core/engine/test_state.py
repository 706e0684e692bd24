"""States: branching and selecting rows."""

import pytest
import torch
from torch import Tensor

from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState, even_selection, halved_selection
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem


@pytest.fixture
def engine(tiny_reasoner: LatentReasoner) -> RolloutEngine:
    return RolloutEngine(tiny_reasoner, parse_sampler({"kind": "none"}))


@pytest.fixture
def fresh(engine: RolloutEngine, problems: tuple[Problem, ...]) -> RolloutState:
    """Three questions right after prefill."""
    prompts = [engine.reasoner.checkpoint.prompt_ids(problem.question) for problem in problems[:3]]
    return engine.prefill(prompts, ["a", "b", "c"], seed=0)


def test_prefill_has_one_row_per_question_at_step_zero(fresh: RolloutState) -> None:
    assert (fresh.rows, fresh.questions, fresh.group, fresh.suffix_length) == (3, 3, 1, 0)
    assert fresh.latents.shape[:2] == (3, 0)
    assert fresh.next_positions().flatten().tolist() == fresh.prefix.lengths.tolist()


def test_branching_numbers_the_samples(fresh: RolloutState) -> None:
    state = fresh.branch(3, first=4)
    assert (state.rows, state.questions, state.group) == (9, 3, 3)
    assert state.streams.sample.tolist() == [4, 5, 6] * 3
    assert state.streams.rollout.tolist() == [0] * 9
    assert torch.equal(state.streams.key, fresh.streams.key.repeat_interleave(3, dim=0))
    assert torch.equal(state.hidden, fresh.hidden.repeat_interleave(3, dim=0))


def test_branching_later_numbers_the_completions(engine: RolloutEngine, fresh: RolloutState) -> None:
    state = engine.step(fresh.branch(2)).branch(3, first=1)
    assert (state.rows, state.group, state.suffix_length) == (18, 6, 1)
    assert state.streams.sample.tolist() == [0, 0, 0, 1, 1, 1] * 3
    # Index 0 is the trajectory itself.
    assert state.streams.rollout.tolist() == [2, 3, 4] * 6
    assert state.next_positions().flatten().tolist() == [n + 1 for n in fresh.prefix.lengths.tolist() for _ in range(6)]


def test_samples_cannot_be_branched_into_samples(fresh: RolloutState) -> None:
    with pytest.raises(ValueError, match="already"):
        fresh.branch(2).branch(2)


@pytest.mark.parametrize("n", [0, -1])
def test_branching_needs_rows(fresh: RolloutState, n: int) -> None:
    with pytest.raises(ValueError, match="cannot branch into"):
        fresh.branch(n)


@pytest.mark.parametrize(
    "rows",
    [[], [0, 1, 2], [0, 2, 1, 3], [0, 1, 2, 4, 5]],
    ids=["none", "different numbers", "mixed questions", "ragged at the end"],
)
def test_ragged_selections_are_refused(fresh: RolloutState, rows: list[int]) -> None:
    with pytest.raises(ValueError, match="same number of rows"):
        fresh.branch(2).select(torch.tensor(rows, dtype=torch.int64))


def test_selecting_carries_everything_along(engine: RolloutEngine, fresh: RolloutState) -> None:
    state = engine.step(fresh.branch(3))
    rows = [7, 6, 1, 1]
    chosen = state.select(torch.tensor(rows))
    assert (chosen.questions, chosen.group, chosen.suffix_length) == (2, 2, 1)
    assert chosen.prefix.lengths.tolist() == [int(fresh.prefix.lengths[2]), int(fresh.prefix.lengths[0])]
    assert torch.equal(chosen.hidden, state.hidden[rows])
    assert torch.equal(chosen.latents, state.latents[rows])
    assert chosen.streams.sample.tolist() == [1, 0, 1, 1]
    assert torch.equal(chosen.suffix.layers[0].keys, state.suffix.layers[0].keys[rows])


def keep(*rows: str) -> Tensor:
    return torch.tensor([[mark == "x" for mark in row] for row in rows])


@pytest.mark.parametrize(
    ("mask", "rows", "fillers"),
    [
        (keep("xx", "xx"), [0, 1, 2, 3], []),
        (keep(".x", "x."), [1, 2], []),
        (keep("x.x", ".x.", "xxx"), [0, 2, 0, 4, 4, 4, 6, 7, 8], [2, 4, 5]),
        (keep("...", ".x.", "..x"), [4, 8], []),
        (keep("..x", "...", "xx."), [2, 2, 6, 7], [1]),
        (keep("x"), [0], []),
    ],
    ids=["all", "one each", "ragged", "dropped question", "ragged and dropped", "single"],
)
def test_even_selection(mask: Tensor, rows: list[int], fillers: list[int]) -> None:
    chosen, filler = even_selection(mask)
    assert chosen.tolist() == rows
    assert filler.nonzero().flatten().tolist() == fillers


@pytest.mark.parametrize(
    ("mask", "at_least", "rows", "fillers"),
    [
        (keep("x...", "...."), 4, [0, 0, 0, 0], [1, 2, 3]),
        (keep(".x.", "..x"), 3, [1, 1, 5, 5], [1, 3]),
        (keep("xx", "xx"), 4, [0, 1, 2, 3], []),
        (keep("xxx", "x.."), 4, [0, 1, 2, 3, 3, 3], [4, 5]),
        # More rows than there were: a row repeats itself as often as needed.
        (keep("x"), 4, [0, 0, 0, 0], [1, 2, 3]),
    ],
)
def test_even_selection_returns_a_least_number_of_rows(
    mask: Tensor, at_least: int, rows: list[int], fillers: list[int]
) -> None:
    chosen, filler = even_selection(mask, at_least)
    assert chosen.tolist() == rows
    assert filler.nonzero().flatten().tolist() == fillers


def test_even_selection_keeps_every_row_once_and_fits_select(fresh: RolloutState) -> None:
    state = fresh.branch(6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        mask = torch.rand(3, 6, generator=generator) < 0.4
        if not mask.any():
            continue
        at_least = int(torch.randint(1, 6, (1,), generator=generator))
        chosen, filler = even_selection(mask, at_least)
        assert len(chosen) >= at_least
        assert sorted(chosen[~filler].tolist()) == mask.flatten().nonzero().flatten().tolist()
        selected = state.select(chosen)
        assert selected.questions == int(mask.any(dim=1).sum())
        assert selected.group >= int(mask.sum(dim=1).max())


@pytest.mark.parametrize(
    ("mask", "at_least", "group"),
    [
        ([[1, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]], 1, 2),
        ([[1, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]], 8, 4),
        ([[1, 0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]], 1, 4),
        ([[0, 0, 0, 0, 1, 0, 0, 0]], 1, 1),
        ([[1, 0, 0, 0, 0, 0]], 1, 3),
        ([[1, 1, 1, 1, 1, 0, 0, 0]], 1, None),
        ([[1, 0, 0]], 1, None),
        ([[1, 0, 0, 0]], 4, None),
    ],
)
def test_halved_selection(mask: list[list[int]], at_least: int, group: int | None) -> None:
    keep = torch.tensor(mask, dtype=torch.bool)
    found = halved_selection(keep, at_least)
    if group is None:
        assert found is None
        return
    assert found is not None
    chosen, filler = found
    questions, before = keep.shape
    assert torch.equal(chosen // before, torch.arange(questions).repeat_interleave(group))
    # Every row that is kept counts once; fillers were not to be kept.
    assert chosen[~filler].tolist() == keep.flatten().nonzero().flatten().tolist()
    assert not keep.flatten()[chosen[filler]].any()
