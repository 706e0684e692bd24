"""Singular-value perturbation: the batched form is the replaced weight, and draws are those of the trajectory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import save_checkpoint_of
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from latent_core.engine.rollout import RolloutEngine
from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.randomness import Streams
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import DrawSite, Phase, Projection
from latent_core.samplers.singular_value import SingularValuePerturbation

STEPS, TOKENS, SEED, TRAJECTORIES = 3, 5, 4, 3
QUESTION = "ann has 12 pens . buys 3 pens ?"


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def reasoner(request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Fused query, key and value with biases, and grouped separate ones without.

    In double precision, since large random weights blow rounding up.
    """
    if request.param == "gpt2":
        return LatentReasoner.from_pretrained(str(tiny_checkpoint), dtype=torch.float64, packed=False)
    directory = tmp_path_factory.mktemp("singular") / "llama"
    return LatentReasoner.from_pretrained(
        str(save_checkpoint_of(directory, "llama", {})), dtype=torch.float64, packed=False
    )


def sampler_of(projection: Projection, **changes: Any) -> SingularValuePerturbation:
    sampler = parse_sampler({"kind": "singular_value", "alpha": 0.5, "projection": projection, **changes})
    assert isinstance(sampler, SingularValuePerturbation)
    return sampler


def replace_weights(reasoner: LatentReasoner, sampler: SingularValuePerturbation, sample: int) -> None:
    """Put the weights that a trajectory should think with into the model itself."""
    part = reasoner.modules.backbone.projections[sampler.projection]
    streams = Streams.for_questions(SEED, ["q"])
    streams = Streams(streams.key, torch.tensor([sample]), streams.rollout)
    for layer, block in enumerate(reasoner.modules.backbone.blocks(reasoner.model.base_model)):
        module = block.get_submodule(part.path)
        whole: Tensor = module.weight.data if isinstance(module, Conv1D) else module.weight.data.T
        weight = whole.chunk(part.of, dim=1)[part.index]
        left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
        drawn = streams.normal(0, DrawSite.of_projection(sampler.projection, layer), len(values))[0]
        weight.copy_(left @ torch.diag(values * (1.0 + sampler.alpha * drawn)) @ right)


@pytest.mark.parametrize("projection", list(Projection))
def test_batched_is_the_same_as_replacing_the_weight(reasoner: LatentReasoner, projection: Projection) -> None:
    sampler, none = sampler_of(projection), parse_sampler({"kind": "none"})
    prompt = reasoner.checkpoint.prompt_ids(QUESTION)
    engine = RolloutEngine(reasoner, sampler)
    state = engine.start([prompt], ["q"], SEED, range(TRAJECTORIES))
    for _ in range(STEPS):
        state = engine.step(state)
    answers = engine.decode(state, TOKENS, stop_at_end=False, keep_logits=True)

    original = {name: tensor.clone() for name, tensor in reasoner.model.state_dict().items()}
    plain = RolloutEngine(reasoner, none)
    for sample in range(TRAJECTORIES):
        replace_weights(reasoner, sampler, sample)
        thought = plain.start([prompt], ["q"], SEED, range(4))
        for _ in range(STEPS):
            thought = plain.step(thought)
        # The answer is decoded with the weights as they were.
        reasoner.model.load_state_dict(original)
        expected = plain.decode(thought, TOKENS, stop_at_end=False, keep_logits=True)
        torch.testing.assert_close(state.latents[sample], thought.latents[0], atol=1e-4, rtol=1e-4)
        assert answers.logits is not None
        assert expected.logits is not None
        torch.testing.assert_close(answers.logits[sample], expected.logits[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(state.latents[0], state.latents[1], atol=1e-2)


def test_latents_only_shares_the_prompt(reasoner: LatentReasoner) -> None:
    sampler = sampler_of(Projection.ATTENTION_VALUE, scope=["latent"])
    assert not sampler.perturbs_prompt
    engine = RolloutEngine(reasoner, sampler)
    state = engine.start([reasoner.checkpoint.prompt_ids(QUESTION)], ["q"], SEED, range(4))
    assert len(state.prefix.lengths) == 1
    first = engine.step(state)
    # The first latent comes from the prompt alone; what reads it is perturbed.
    assert torch.equal(first.latents[0], first.latents[1])
    second = engine.step(first)
    assert not torch.allclose(second.latents[0, 1], second.latents[1, 1], atol=1e-2)


def test_nothing_to_perturb_is_deterministic() -> None:
    sampler = sampler_of(Projection.ATTENTION_VALUE, alpha=0.0)
    assert sampler.deterministic
    assert not sampler.perturbs_prompt
    assert not sampler.perturbs_forward
    assert sampler.perturbation(Phase.LATENT, Streams.for_questions(0, ["q"]), 1) is None
    assert sampler.projections(Phase.LATENT) == frozenset()


def test_answers_are_decoded_clean() -> None:
    sampler = sampler_of(Projection.ATTENTION_VALUE)
    assert sampler.perturbation(Phase.ANSWER, Streams.for_questions(0, ["q"]), 9) is None


def test_what_it_costs_is_counted(reasoner: LatentReasoner) -> None:
    """Two thin products per position and layer."""
    width, layers = 32, 2
    flops = reasoner.modules.perturbation_flops(sampler_of(Projection.ATTENTION_OUTPUT), 10, STEPS)
    assert flops == 2.0 * (10 + STEPS) * layers * width * 2 * width
    latent_only = sampler_of(Projection.ATTENTION_OUTPUT, scope=["latent"])
    assert reasoner.modules.perturbation_flops(latent_only, 10, STEPS) == flops * STEPS / (10 + STEPS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": -0.1}, "sampler.alpha: "),
        ({"projection": "values"}, "sampler.projection: "),
        ({"scope": []}, "sampler.scope: name at least one"),
    ],
    ids=["alpha", "projection", "scope"],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_sampler({"kind": "singular_value", "alpha": 0.1, **changes})
    assert str(caught.value).startswith(message)
