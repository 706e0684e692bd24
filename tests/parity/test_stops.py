"""Reasoners that stop by a gate, or behind a latent that is still fed: converted, against golden rollouts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_rollouts import NONE, TOLERANCE, Golden

from latent_core.conversion import Options, convert
from latent_core.engine.graph_cache import GraphCache
from latent_core.engine.runtime import RolloutRuntime
from latent_core.models import LatentReasoner

AT_ONCE = pytest.mark.parametrize("at_once", [6, 2, 1], ids=["one batch", "two by two", "one by one"])


def converted(golden: Golden, to: Path, **changes: Any) -> LatentReasoner:
    """Convert a checkpoint, with what its golden rollouts have otherwise."""
    described = golden.description
    changes = {"latent_steps": described["max_latent_steps"], "answer_tokens": described["answer_tokens"]} | changes
    convert(str(golden.directory / golden.name), to / golden.name, Options(changes=changes))
    reasoner = LatentReasoner.from_pretrained(str(to / golden.name))
    checkpoint = reasoner.checkpoint
    assert [checkpoint.prompt_ids(text) for text in described["questions"]] == described["prompt_ids"]
    assert (checkpoint.end_id, checkpoint.answer_ends[0]) == (described["end_id"], described["eos_id"])
    return reasoner


@pytest.fixture(scope="module")
def later(parity_2026_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Golden, LatentReasoner]:
    golden = Golden("later-qwen3", parity_2026_dir)
    return golden, converted(golden, tmp_path_factory.mktemp("later"))


@pytest.fixture(scope="module")
def adaptive(parity_2026_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Golden, LatentReasoner]:
    golden = Golden("adaptive-latent-llama", parity_2026_dir)
    return golden, converted(golden, tmp_path_factory.mktemp("adaptive"))


@AT_ONCE
def test_later_as_published(later: tuple[Golden, LatentReasoner], at_once: int) -> None:
    golden, reasoner = later
    assert reasoner.checkpoint.fed_ids == (golden.description["think_id"],)
    check(golden, "greedy", reasoner, at_once)
    # Guards against golden rollouts in which positions do not jump.
    assert len(set(golden.tensors["greedy.steps"].tolist())) > 1


@AT_ONCE
def test_later_without_gaps(later: tuple[Golden, LatentReasoner], tmp_path: Path, at_once: int) -> None:
    golden = later[0]
    path = later[1].checkpoint.directory / "latent.json"
    described = json.loads(path.read_text())
    for file in later[1].checkpoint.directory.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "latent.json").unlink()
    (tmp_path / "latent.json").write_text(json.dumps({**described, "positions": "gapless"}))
    check(golden, "compact", LatentReasoner.from_pretrained(str(tmp_path)), at_once)


@AT_ONCE
def test_adaptive(adaptive: tuple[Golden, LatentReasoner], at_once: int) -> None:
    golden, reasoner = adaptive
    assert set(reasoner.checkpoint.never_written) == set(golden.description["never_written"])
    check(golden, "greedy", reasoner, at_once)


@AT_ONCE
def test_adaptive_behind_the_published_prefix(
    adaptive: tuple[Golden, LatentReasoner], tmp_path: Path, at_once: int
) -> None:
    golden, loaded = adaptive
    described = json.loads((loaded.checkpoint.directory / "latent.json").read_text())
    for file in loaded.checkpoint.directory.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "latent.json").unlink()
    described["fed_text"] = described["end_token"] + golden.description["answer_prefix"]
    (tmp_path / "latent.json").write_text(json.dumps(described))
    reasoner = LatentReasoner.from_pretrained(str(tmp_path))
    assert list(reasoner.checkpoint.fed_ids[1:]) == golden.description["answer_prefix_ids"]
    check(golden, "prefixed", reasoner, at_once)


def check(golden: Golden, kind: str, reasoner: LatentReasoner, at_once: int) -> None:
    """Compare with a set that may hold answers alone; thoughts are then those of the greedy set."""
    found = golden.roll_out(reasoner, NONE, at_once)
    wanted = golden.tensors
    assert found.steps.tolist() == wanted["greedy.steps"].tolist()
    torch.testing.assert_close(found.latents, wanted["greedy.latents"], atol=TOLERANCE, rtol=0)
    assert found.answer_ids.tolist() == wanted[f"{kind}.answer_ids"].tolist()
    logits = wanted[f"{kind}.logits"]
    torch.testing.assert_close(found.logits[:, : logits.shape[1]], logits, atol=TOLERANCE, rtol=0)


def test_positions_jump_in_static_memory_too(
    later: tuple[Golden, LatentReasoner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers of captured steps have positions of their own."""
    golden, reasoner = later
    runtime = RolloutRuntime.of(reasoner)
    monkeypatch.setattr(runtime, "graph_cache", GraphCache(frozenset({"cpu"})))
    check(golden, "greedy", reasoner, 6)
    assert runtime.graph_cache.nbytes > 0
