"""Steps in static memory come to what steps in growing memory come to."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from latent_core.engine.graph_cache import GraphCache
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.runtime import RolloutRuntime
from latent_core.engine.state import RolloutState
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

SAMPLERS: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "gaussian", "sigma": 0.5},
    {"kind": "mc_dropout", "p": 0.2},
    {"kind": "mc_dropout", "p": 0.2, "sites": ["embedding", "attention"], "scope": ["latent", "answer"]},
    {"kind": "mc_dropout", "p": 0.2, "mask": "trajectory"},
    {"kind": "mc_dropout", "p": 0.2, "scope": ["boundary", "latent", "answer"]},
    {"kind": "singular_value", "alpha": 0.3, "scope": ["latent"]},
]


@pytest.fixture
def graph_cache(tiny_reasoner: LatentReasoner, monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphCache]:
    """The CUDA graphs of a reasoner, as on a GPU."""
    shapes = GraphCache(frozenset({"cpu"}))
    monkeypatch.setattr(RolloutRuntime.of(tiny_reasoner), "graph_cache", shapes)
    yield shapes
    shapes.clear()


@pytest.fixture
def prompts(tiny_reasoner: LatentReasoner, problems: tuple[Problem, ...]) -> list[list[int]]:
    return [tiny_reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]


def rolled_out(
    reasoner: LatentReasoner, settings: dict[str, Any], prompts: list[list[int]], group: int = 4
) -> tuple[RolloutEngine, list[RolloutState]]:
    """Return an engine and its states behind 0 to 3 steps."""
    engine = RolloutEngine(reasoner, parse_sampler(settings))
    states = [engine.start(prompts, [str(prompt) for prompt in prompts], 1, range(group))]
    for _ in range(3):
        states.append(engine.step(states[-1]))
    return engine, states


def growing(reasoner: LatentReasoner, *args: Any, **kwargs: Any) -> tuple[RolloutEngine, list[RolloutState]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RolloutRuntime.of(reasoner), "graph_cache", GraphCache(frozenset()))
        return rolled_out(reasoner, *args, **kwargs)


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", SAMPLERS, ids=str)
def test_rollouts_are_the_same(
    settings: dict[str, Any], tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache
) -> None:
    _, expected = growing(tiny_reasoner, settings, prompts)
    engine, found = rolled_out(tiny_reasoner, settings, prompts)
    assert len(graph_cache._runners) == 1
    for one, other in zip(expected, found, strict=True):
        same(one.hidden, other.hidden)
        same(one.latents, other.latents)
        assert one.suffix_length == other.suffix_length
    decoded = engine.decode(found[-1], 5, keep_logits=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RolloutRuntime.of(tiny_reasoner), "graph_cache", GraphCache(frozenset()))
        wanted = engine.decode(expected[-1], 5, keep_logits=True)
    assert torch.equal(decoded.token_ids, wanted.token_ids)


def test_buffers_are_used_again_once_nobody_looks_into_them(
    tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache
) -> None:
    settings = SAMPLERS[1]
    for some in (prompts, prompts[::-1]):
        _, expected = growing(tiny_reasoner, settings, some)
        _, found = rolled_out(tiny_reasoner, settings, some)
        same(expected[-1].hidden, found[-1].hidden)
        (runner,) = graph_cache._runners.values()
        assert runner.in_use
        del found
        assert not runner.in_use


def test_what_was_there_before_leaves_no_trace(
    tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache
) -> None:
    _, expected = growing(tiny_reasoner, SAMPLERS[1], prompts)
    rolled_out(tiny_reasoner, SAMPLERS[1], prompts)
    (runner,) = graph_cache._runners.values()
    with torch.inference_mode():
        for buffer in (*runner._prompts, *runner._suffixes):
            for one in buffer:
                one.fill_(float("nan"))
    _, found = rolled_out(tiny_reasoner, SAMPLERS[1], prompts)
    same(expected[-1].hidden, found[-1].hidden)


def test_old_states_stay_usable(
    tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache
) -> None:
    engine, found = rolled_out(tiny_reasoner, SAMPLERS[1], prompts)
    _, expected = growing(tiny_reasoner, SAMPLERS[1], prompts)
    # The buffers hold the last state: an earlier one goes on elsewhere, and the last one as if nothing had happened.
    same(engine.step(found[1]).hidden, expected[2].hidden)
    same(engine.step(found[3]).hidden, engine.step(expected[3]).hidden)


def test_rows_can_be_selected_and_branched(
    tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache
) -> None:
    engine, found = rolled_out(tiny_reasoner, SAMPLERS[1], prompts)
    _, expected = growing(tiny_reasoner, SAMPLERS[1], prompts)
    chosen = torch.tensor([1, 3, 4, 4])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RolloutRuntime.of(tiny_reasoner), "graph_cache", GraphCache(frozenset()))
        wanted = engine.step(engine.branch(engine.select(expected[2], chosen), 3))
    same(engine.step(engine.branch(engine.select(found[2], chosen), 3)).hidden, wanted.hidden)


def test_a_tail_grows_beyond_its_buffers(
    tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache
) -> None:
    engine, (*_, state) = rolled_out(tiny_reasoner, SAMPLERS[0], prompts[:1])
    _, (*_, other) = growing(tiny_reasoner, SAMPLERS[0], prompts[:1])
    for _ in range(40):
        state = engine.step(state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RolloutRuntime.of(tiny_reasoner), "graph_cache", GraphCache(frozenset()))
        for _ in range(40):
            other = engine.step(other)
    same(state.hidden, other.hidden)
    assert sorted(shape.suffix for shape in graph_cache._runners) == [32, 64]


def test_masks_of_attention_weights_need_growing_memory(
    tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache
) -> None:
    rolled_out(tiny_reasoner, {"kind": "mc_dropout", "p": 0.2, "sites": ["attention_weights"]}, prompts)
    assert not graph_cache._runners


def test_few_shapes_are_kept(tiny_reasoner: LatentReasoner, prompts: list[list[int]], graph_cache: GraphCache) -> None:
    for group in range(4, 16):
        rolled_out(tiny_reasoner, SAMPLERS[0], prompts, group)
    assert [shape.group for shape in graph_cache._runners] == list(range(8, 16))
    assert graph_cache.nbytes == sum(runner.nbytes for runner in graph_cache._runners.values()) > 0
    assert RolloutRuntime.of(tiny_reasoner).memory_budget is not None


def test_no_memory_is_taken_that_is_not_there(
    tiny_reasoner: LatentReasoner,
    prompts: list[list[int]],
    graph_cache: GraphCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("latent_core.engine.graph_cache.share_of", lambda device, reusable: 1000)
    _, found = rolled_out(tiny_reasoner, SAMPLERS[1], prompts)
    assert not graph_cache._runners
    _, expected = growing(tiny_reasoner, SAMPLERS[1], prompts)
    same(expected[-1].hidden, found[-1].hidden)
