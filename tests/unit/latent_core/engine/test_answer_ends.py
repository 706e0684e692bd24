"""Answers end with every token that the checkpoint's files name, not only with the tokenizer's."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import latent_head_tensors, save_checkpoint_of

from latent_core.conversion.base import Options
from latent_core.conversion.convert import convert
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem
from latent_core.trajectory import TrajectoryBatch

PROBLEMS = [Problem("a", "ann has 3 pens ?", "3"), Problem("b", "ben buys 5 cards . sells 2 ?", "3")]
ADAPTIVE = {"latent_length": "adaptive", "feedback": "latent_head", "end_token": "###", "latent_token": None}


def save(directory: Path, model_type: str, described: dict[str, Any] | None = None, **config: Any) -> Path:
    tensors = latent_head_tensors() if described and "feedback" in described else None
    return save_checkpoint_of(directory, model_type, described or {}, tensors, **config)


def state_ends(directory: Path, ends: Any) -> Path:
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "temperature": 0.6}))
    return directory


def sample(directory: Path, kind: dict[str, Any], samples: int = 4) -> TrajectoryBatch:
    reasoner = LatentReasoner.from_pretrained(str(directory))
    sampler = parse_sampler(kind)
    return sample_trajectories(reasoner, sampler, PROBLEMS, range(samples), latent_steps=2, answer_tokens=8, seed=3)


def cut(ids: Sequence[int], ends: set[int]) -> tuple[int, ...]:
    """An answer up to the first of the ends, that one included."""
    stop = next((at + 1 for at, one in enumerate(ids) if one in ends), len(ids))
    return tuple(ids[:stop])


@pytest.mark.parametrize("kind", [{"kind": "gaussian", "sigma": 0.5}, {"kind": "answer_sampling", "temperature": 1.0}])
@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_an_answer_ends_with_any_of_them(tmp_path: Path, model_type: str, kind: dict[str, Any]) -> None:
    directory = save(tmp_path / "one", model_type)
    own = Checkpoint.open(str(directory)).answer_ends
    before = sample(directory, kind)
    written = [one.answer_ids for one in before]
    # Two tokens that stand in the middle of answers.
    others = {ids[1] for ids in written if len(ids) > 3}
    others = set(sorted(others - set(own))[:2])
    assert others
    state_ends(directory, [*own, *others])
    after = sample(directory, kind)
    assert [one.answer_ids for one in after] == [cut(ids, {*own, *others}) for ids in written]
    assert any(len(one.answer_ids) < len(ids) for one, ids in zip(after, written, strict=True))
    for one, other in zip(before, after, strict=True):
        assert one.latents is not None
        assert (one.latents == other.latents).all()


def test_rows_that_were_cut_off_while_thinking_end_too(tmp_path: Path) -> None:
    """Only what they say counts, not what they think on silently."""
    directory = save(tmp_path / "one", "llama", ADAPTIVE)
    reasoner = LatentReasoner.from_pretrained(str(directory))
    prompts = [reasoner.checkpoint.prompt_ids(problem.question) for problem in PROBLEMS]

    def truncated(source: Path) -> torch.Tensor:
        loaded = LatentReasoner.from_pretrained(str(source))
        engine = RolloutEngine(loaded, parse_sampler({"kind": "none"}))
        state = engine.step(engine.start(prompts, ["a", "b"], 0, range(2)))
        return engine.decode(state, 6, truncated=True).lengths

    first = truncated(directory)
    state_ends(directory, [*reasoner.checkpoint.answer_ends, *range(5, 36)])
    assert (truncated(directory) <= first).all()


def test_released_formats_stay_as_published(tiny_checkpoint: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(tiny_checkpoint, tmp_path / "one"))
    before = Checkpoint.open(str(directory))
    state_ends(directory, [before.answer_ends[0], 5])
    after = Checkpoint.open(str(directory))
    assert after.answer_ends == before.answer_ends
    assert after.fingerprint == before.fingerprint


def test_only_what_changes_the_ends_changes_the_fingerprint(tmp_path: Path) -> None:
    directory = save(tmp_path / "one", "gpt2")
    alone = Checkpoint.open(str(directory))
    (own,) = alone.answer_ends
    found = {}
    for ends in (own, [own], [own, 10**6], None, [own, 5], [5, own, 5], 5, [own, 6]):
        state_ends(directory, ends)
        checkpoint = Checkpoint.open(str(directory))
        found[str(ends)] = (checkpoint.answer_ends, checkpoint.fingerprint)
    same = [str(ends) for ends in (own, [own], [own, 10**6], None)]
    assert {found[ends] for ends in same} == {((own,), alone.fingerprint)}
    assert found[str([own, 5])] == found[str([5, own, 5])] == found["5"]
    assert found["5"][0] == (own, 5)
    assert len({fingerprint for _, fingerprint in found.values()}) == 3


def test_what_is_converted_ends_as_before(tmp_path: Path) -> None:
    directory = save(tmp_path / "one", "gpt2")
    state_ends(directory, [0, 4, 2])
    convert(str(directory), tmp_path / "out", Options())
    assert Checkpoint.open(str(tmp_path / "out")).answer_ends == (0, 2, 4)
