import torch

from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import Phase


def test_it_changes_nothing() -> None:
    sampler, streams = parse_sampler({"kind": "none"}), Streams.for_questions(0, ["a", "b"])
    latent, logits = torch.randn(2, 8), torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert sampler.deterministic
    assert not sampler.perturbs_prompt
    assert torch.equal(sampler.perturb_latent(latent, streams, 1), latent)
    assert sampler.choose_token(logits, streams, 1).tolist() == [1, 0]
    assert all(sampler.perturbation(phase, streams, 1) is None for phase in Phase)
