"""CoLaR's own number of latent steps, row by row, against golden ids of the released behaviour."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler

NONE = parse_sampler({"kind": "none"})


@pytest.fixture(scope="module")
def description(parity_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((parity_dir / "colar-adaptive.json").read_text())
    return content


@pytest.fixture(scope="module")
def golden(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "colar-adaptive.golden.safetensors")


@pytest.fixture(scope="module")
def reasoner(parity_dir: Path, description: dict[str, Any]) -> LatentReasoner:
    """The CoLaR checkpoint, with the end token of the golden rollouts, which is not the one in its configuration."""
    loaded = LatentReasoner.from_pretrained(str(parity_dir / "colar"))
    assert loaded.checkpoint.format.adaptive
    loaded.checkpoint = replace(loaded.checkpoint, end_id=description["latent_end_id"])
    return loaded


def new_ids(reasoner: LatentReasoner, prompts: list[list[int]], most_steps: int, width: int) -> list[list[int]]:
    """Return the ids behind each prompt: latent ids, the end id where the row wrote it, answer ids."""
    engine, checkpoint = RolloutEngine(reasoner, NONE), reasoner.checkpoint
    start = engine.start(prompts, [str(i) for i in range(len(prompts))], 0, range(1))
    rows: dict[int, list[int]] = {}
    for stop in run_latent_steps(engine, ActiveRows.of(start), most_steps):
        answers = engine.decode(stop.state, width, stop_at_end=False, truncated=stop.truncated).token_ids.tolist()
        latents = [checkpoint.latent_id] * stop.state.latents.shape[1]
        forced = [] if stop.truncated else [checkpoint.end_id]
        for row in stop.counts.nonzero().flatten().tolist():
            origin = int(stop.origin[row])
            assert origin not in rows
            rows[origin] = (latents + forced + answers[row])[:width]
    return [rows[row] for row in range(len(prompts))]


@pytest.mark.parametrize("at_once", [6, 2, 1], ids=["one batch", "two by two", "one by one"])
def test_every_row_stops_by_itself(
    reasoner: LatentReasoner, golden: dict[str, Tensor], description: dict[str, Any], at_once: int
) -> None:
    padded = zip(golden["input_ids"].tolist(), golden["attention_mask"].tolist(), strict=True)
    prompts = [[token for token, real in zip(ids, mask, strict=True) if real] for ids, mask in padded]
    width = golden["new_ids"].shape[1]
    got = []
    for first in range(0, len(prompts), at_once):
        got += new_ids(reasoner, prompts[first : first + at_once], description["max_latent_steps"], width)
    assert got == golden["new_ids"].tolist()
    # Guards against a golden file that says nothing: rows stop at different steps, and some are cut off.
    steps = {len(ids) - len([one for one in ids if one != reasoner.checkpoint.latent_id]) for ids in got}
    assert len(steps) > 2
