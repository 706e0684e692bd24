"""SIM-CoT's checkpoints as its trainers leave them: converted, and run against golden rollouts of published code."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from latent_core.conversion import Options, convert
from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler

TOLERANCE = 1e-4
NONE = parse_sampler({"kind": "none"})


@pytest.fixture(scope="module", params=["simcot-coconut-gpt2", "simcot-codi-gpt2", "simcot-codi-llama"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def description(name: str, parity_2026_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((parity_2026_dir / f"{name}.json").read_text())
    return content


@pytest.fixture(scope="module")
def converted(
    name: str, description: dict[str, Any], parity_2026_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LatentReasoner, tuple[str, ...]]:
    out = tmp_path_factory.mktemp("simcot") / name
    options = Options(
        base=str(parity_2026_dir / description["base"]),
        lora_alpha=description.get("lora_alpha", 32.0),
        allow_pickle="lora_alpha" not in description,
    )
    notes = convert(str(parity_2026_dir / name), out, options)
    return LatentReasoner.from_pretrained(str(out)), notes


def test_conventions_are_those_of_the_trainer(
    converted: tuple[LatentReasoner, tuple[str, ...]], description: dict[str, Any]
) -> None:
    checkpoint, notes = converted[0].checkpoint, "\n".join(converted[1])
    assert [checkpoint.prompt_ids(one) for one in description["questions"]] == description["prompt_ids"]
    assert checkpoint.latent_steps == description["latent_steps"]
    assert (checkpoint.end_id, checkpoint.answer_ends[0]) == (description["end_id"], description["eos_id"])
    # What is left out, and what no file says, is printed.
    assert "of SIM-CoT's training: " in notes
    assert f"thinks in {description['latent_steps']} latent steps, as published" in notes


@pytest.mark.parametrize("at_once", [6, 2, 1], ids=["one batch", "two by two", "one by one"])
def test_greedy(
    name: str,
    converted: tuple[LatentReasoner, tuple[str, ...]],
    description: dict[str, Any],
    parity_2026_dir: Path,
    at_once: int,
) -> None:
    golden = load_file(parity_2026_dir / f"{name}.golden.safetensors")
    reasoner, prompts, answer = converted[0], description["prompt_ids"], description["answer_tokens"]
    engine = RolloutEngine(reasoner, NONE)
    for first in range(0, len(prompts), at_once):
        rows = slice(first, first + at_once)
        state = engine.start(prompts[rows], [str(one) for one in range(len(prompts))[rows]], 0, range(1))
        for _ in range(reasoner.checkpoint.latent_steps):
            state = engine.step(state)
        torch.testing.assert_close(state.latents, golden["greedy.latents"][rows], atol=TOLERANCE, rtol=0)
        answers = engine.decode(state, answer, stop_at_end=False, keep_logits=True)
        assert answers.logits is not None
        assert answers.token_ids.tolist() == golden["greedy.new_ids"][rows, -answer:].tolist()
        # Rows that were added for ids that are never fed have no counterpart.
        wanted = golden["greedy.logits"][rows, -answer:]
        torch.testing.assert_close(answers.logits[..., : wanted.shape[-1]], wanted, atol=TOLERANCE, rtol=0)
