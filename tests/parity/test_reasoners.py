"""Rollouts of every released format against golden outputs: latents, ids and next-token logits."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers import Sampler, parse_sampler

TOLERANCE = 1e-4
NONE = parse_sampler({"kind": "none"})


class InjectedNoise(Sampler):
    """Adds given noise instead of drawn noise: row i of step t gets eps[t - 1, i]."""

    kind: ClassVar[str] = "injected"
    eps: Any

    def perturb_latent(self, latent: Tensor, streams: Streams, step: int) -> Tensor:
        return latent + self.eps[step - 1]


@dataclass(frozen=True)
class Golden:
    """One golden file with its description."""

    reasoner: LatentReasoner
    description: dict[str, Any]
    tensors: dict[str, Tensor]

    def prompt_ids(self) -> list[list[int]]:
        tokenizer = self.reasoner.checkpoint.tokenizer
        return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in self.description["prompts"]]

    def roll_out(self, sampler: Sampler, prompts: list[list[int]], samples: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents, ids (latent ids, end id, answer ids) and the logits of the answer ids."""
        engine = RolloutEngine(self.reasoner, sampler)
        state = engine.start(prompts, [str(i) for i in range(len(prompts))], 0, range(samples))
        # The golden rollouts of all formats have one fixed length, also of those that could stop by themselves.
        for _ in range(self.description["latent_steps"]):
            state = engine.step(state)
        answers = engine.decode(state, self.description["answer_tokens"], stop_at_end=False, keep_logits=True)
        assert answers.logits is not None
        checkpoint = self.reasoner.checkpoint
        forced = torch.tensor([checkpoint.latent_id] * self.description["latent_steps"] + [checkpoint.end_id])
        ids = torch.cat([forced.expand(state.rows, -1), answers.token_ids], dim=1)
        return state.latents, ids, answers.logits


@pytest.fixture(scope="module", params=["coconut", "codi", "colar"])
def golden(request: pytest.FixtureRequest, parity_dir: Path) -> Golden:
    family = request.param
    return Golden(
        LatentReasoner.from_pretrained(str(parity_dir / family)),
        json.loads((parity_dir / f"{family}.json").read_text()),
        load_file(parity_dir / f"{family}.golden.safetensors"),
    )


def assert_same(golden: Golden, kind: str, got: tuple[Tensor, Tensor, Tensor], rows: slice = slice(None)) -> None:
    latents, ids, logits = got
    answer_tokens = golden.description["answer_tokens"]
    torch.testing.assert_close(latents, golden.tensors[f"{kind}.latents"][rows], atol=TOLERANCE, rtol=0)
    assert ids.tolist() == golden.tensors[f"{kind}.new_ids"][rows].tolist()
    wanted = golden.tensors[f"{kind}.logits"][rows][:, -answer_tokens:]
    torch.testing.assert_close(logits, wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("at_once", [6, 2, 1], ids=["one batch", "two by two", "one by one"])
def test_greedy(golden: Golden, at_once: int) -> None:
    prompts = golden.prompt_ids()
    for first in range(0, len(prompts), at_once):
        rows = slice(first, first + at_once)
        assert_same(golden, "greedy", golden.roll_out(NONE, prompts[rows]), rows)


@pytest.mark.parametrize("at_once", [6, 2, 1], ids=["one batch", "two by two", "one by one"])
def test_injected_noise(golden: Golden, at_once: int) -> None:
    prompts, eps = golden.prompt_ids(), golden.tensors["noise.eps"]
    samples = eps.shape[1] // len(prompts)
    for first in range(0, len(prompts), at_once):
        rows = slice(first * samples, (first + at_once) * samples)
        got = golden.roll_out(InjectedNoise(eps=eps[:, rows]), prompts[first : first + at_once], samples)
        assert_same(golden, "noise", got, rows)
