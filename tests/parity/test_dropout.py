"""Monte Carlo dropout against the moments that native dropout modules gave."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from latent_core.engine.rollout import RolloutEngine
from latent_core.models import LatentReasoner
from latent_core.samplers import parse_sampler


def test_moments(parity_dir: Path) -> None:
    """The fed-back vectors have the same mean and spread."""
    description = json.loads((parity_dir / "coconut-dropout-moments.json").read_text())
    moments = load_file(parity_dir / "coconut-dropout-moments.safetensors")
    reasoner = LatentReasoner.from_pretrained(str(parity_dir / "coconut"))
    sites, scope = ["feed_forward", "attention"], ["prompt", "latent"]
    engine = RolloutEngine(
        reasoner, parse_sampler({"kind": "mc_dropout", "p": description["p"], "sites": sites, "scope": scope})
    )
    samples, chunk = description["samples"], 512
    for index, text in enumerate(description["prompts"]):
        prompt = reasoner.checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"]
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
