"""COCONUT rollouts against golden outputs of the released format."""

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
        for _ in range(self.description["latent_steps"]):
            state = engine.step(state)
        answers = engine.decode(state, self.description["answer_tokens"], stop_at_end=False, keep_logits=True)
        assert answers.logits is not None
        checkpoint = self.reasoner.checkpoint
        forced = torch.tensor([checkpoint.latent_id] * self.description["latent_steps"] + [checkpoint.end_id])
        ids = torch.cat([forced.expand(state.rows, -1), answers.token_ids], dim=1)
        return state.latents, ids, answers.logits


@pytest.fixture(scope="module")
def golden(parity_dir: Path) -> Golden:
    description = json.loads((parity_dir / "coconut.json").read_text())
    return Golden(
        LatentReasoner.from_pretrained(str(parity_dir / "coconut")),
        description,
        load_file(parity_dir / "coconut.golden.safetensors"),
    )


def assert_same(golden: Golden, kind: str, got: tuple[Tensor, Tensor, Tensor], rows: slice = slice(None)) -> None:
    latents, ids, logits = got
    answer_tokens = golden.description["answer_tokens"]
    torch.testing.assert_close(latents, golden.tensors[f"{kind}.latents"][rows], atol=TOLERANCE, rtol=0)
    assert ids.tolist() == golden.tensors[f"{kind}.new_ids"][rows].tolist()
    wanted = golden.tensors[f"{kind}.logits"][rows][:, -answer_tokens:]
    torch.testing.assert_close(logits, wanted, atol=TOLERANCE, rtol=0)


def test_greedy_in_one_batch(golden: Golden) -> None:
    assert_same(golden, "greedy", golden.roll_out(parse_sampler({"kind": "none"}), golden.prompt_ids()))


def test_greedy_one_by_one(golden: Golden) -> None:
    for row, prompt in enumerate(golden.prompt_ids()):
        got = golden.roll_out(parse_sampler({"kind": "none"}), [prompt])
        assert_same(golden, "greedy", got, slice(row, row + 1))


def test_injected_noise_in_one_batch(golden: Golden) -> None:
    prompts = golden.prompt_ids()
    eps = golden.tensors["noise.eps"]
    got = golden.roll_out(InjectedNoise(eps=eps), prompts, samples=eps.shape[1] // len(prompts))
    assert_same(golden, "noise", got)


def test_injected_noise_one_by_one(golden: Golden) -> None:
    prompts = golden.prompt_ids()
    eps = golden.tensors["noise.eps"]
    samples = eps.shape[1] // len(prompts)
    for question, prompt in enumerate(prompts):
        rows = slice(question * samples, (question + 1) * samples)
        assert_same(golden, "noise", golden.roll_out(InjectedNoise(eps=eps[:, rows]), [prompt], samples), rows)


def test_dropout_moments(parity_dir: Path, golden: Golden) -> None:
    """Monte Carlo dropout has the mean and spread that the native dropout modules gave."""
    description = json.loads((parity_dir / "coconut-dropout-moments.json").read_text())
    moments = load_file(parity_dir / "coconut-dropout-moments.safetensors")
    sampler = parse_sampler(
        {
            "kind": "mc_dropout",
            "p": description["p"],
            "sites": ["feed_forward", "attention"],
            "scope": ["prompt", "latent"],
        }
    )
    engine = RolloutEngine(golden.reasoner, sampler)
    tokenizer = golden.reasoner.checkpoint.tokenizer
    samples, chunk = description["samples"], 512
    for index, text in enumerate(description["prompts"]):
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        drawn = []
        for first in range(0, samples, chunk):
            state = engine.start([prompt], [str(index)], 7, range(first, first + chunk))
            for _ in range(description["latent_steps"]):
                state = engine.step(state)
            drawn.append(state.latents)
        latents = torch.cat(drawn).double()
        mean, std = moments[f"{index}.mean"].double(), moments[f"{index}.std"].double()
        # Both means are estimates from the same number of samples, so their difference has twice the variance.
        standard_error = std * (2 / samples) ** 0.5
        assert ((latents.mean(dim=0) - mean).abs() / standard_error).max() < 5
        torch.testing.assert_close(latents.std(dim=0), std, rtol=0.1, atol=0)
