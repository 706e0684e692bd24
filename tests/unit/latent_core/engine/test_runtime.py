"""Engines of one reasoner share a runtime, which neither outlives the reasoner nor keeps it."""

import gc
import weakref
from pathlib import Path

from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.runtime import RolloutRuntime
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler


def test_engines_of_one_reasoner_share_what_was_captured_and_learnt(tiny_reasoner: LatentReasoner) -> None:
    samplers = [parse_sampler({"kind": "none"}), parse_sampler({"kind": "gaussian", "sigma": 0.1})]
    first, second = (RolloutEngine(tiny_reasoner, sampler) for sampler in samplers)
    assert first.runtime is second.runtime is RolloutRuntime.of(tiny_reasoner)


def test_it_goes_with_its_reasoner(tiny_checkpoint: Path) -> None:
    reasoner = LatentReasoner.from_pretrained(str(tiny_checkpoint))
    runtime = weakref.ref(RolloutEngine(reasoner, parse_sampler({"kind": "none"})).runtime)
    assert runtime() is not None
    del reasoner
    gc.collect()
    assert runtime() is None


def test_it_goes_without_the_garbage_collector() -> None:
    """Graphs and prompts fill a GPU until then."""
    reasoner = LatentReasoner.from_pretrained("bundled:coconut-tiny")
    gc.disable()
    try:
        gone = weakref.ref(RolloutRuntime(reasoner))
        assert gone() is None
    finally:
        gc.enable()
