"""What is said about a checkpoint is what its loaded model has."""

from pathlib import Path

import pytest
from checkpoints import POSITIONS, latent_head_tensors, projector_tensors, save_checkpoint_of
from trainers import save_base

from latent_core.conversion import Options, convert
from latent_core.errors import UserError
from latent_core.inspection.facts import CheckpointFacts, Token, checkpoint_facts
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.samplers.base import Projection, Site


def facts_of(source: str | Path) -> CheckpointFacts:
    return checkpoint_facts(Checkpoint.open(str(source)))


def check_against_the_model(facts: CheckpointFacts) -> None:
    """Compare numbers and places with the model in memory."""
    reasoner = LatentReasoner.from_pretrained(facts.source)
    assert facts.backbone_parameters == sum(one.numel() for one in reasoner.model.parameters())
    assert facts.feedback_parameters == sum(one.numel() for one in reasoner.feedback.parameters())
    assert facts.vocabulary == reasoner.model.get_input_embeddings().weight.shape[0]
    assert facts.backbone == reasoner.modules.backbone.name
    places = [facts.sites[Site.FEED_FORWARD], facts.sites[Site.ATTENTION], *facts.projections.values()]
    for place in places:
        for layer in range(facts.layers):
            reasoner.model.get_submodule(place.partition(" ")[0].replace("*", str(layer)))
    for token in facts.tokens.values():
        assert reasoner.checkpoint.tokenizer.convert_tokens_to_ids(token.text) == token.id


def test_the_bundled_reasoner() -> None:
    facts = facts_of("bundled:coconut-tiny")
    check_against_the_model(facts)
    assert facts.tokens == {
        "start": Token("<|start-latent|>", 538),
        "end": Token("<|end-latent|>", 539),
        "latent": Token("<|latent|>", 540),
    }
    assert (facts.architecture, facts.model_type, facts.backbone) == ("COCONUTGPT2", "gpt2", "gpt2")
    assert (facts.layers, facts.width, facts.heads, facts.context_length) == (3, 128, 4, 128)
    assert (facts.feedback_width, facts.feedback_parameters, facts.latent_steps) == (None, 0, 6)
    assert facts.projections[Projection.ATTENTION_KEY] == "transformer.h.*.attn.c_attn (2 of 3)"
    assert set(facts.sites) == set(Site)
    assert facts.dtypes == ("float32",)
    assert facts.fingerprint == Checkpoint.open("bundled:coconut-tiny").fingerprint


def test_a_converted_llama(tmp_path: Path) -> None:
    convert(str(save_base(tmp_path / "base", "llama")), tmp_path / "out", Options(changes={"latent_steps": 9}))
    facts = facts_of(tmp_path / "out")
    check_against_the_model(facts)
    assert (facts.architecture, facts.backbone, facts.latent_steps) == ("LlamaForCausalLM", "llama", 9)
    assert (facts.heads, facts.key_value_heads, facts.context_length) == (4, 2, POSITIONS)
    assert facts.sites[Site.FEED_FORWARD] == "model.layers.*.mlp.down_proj"


@pytest.mark.parametrize(
    ("feedback", "tensors"), [("projector", projector_tensors()), ("latent_head", latent_head_tensors())]
)
def test_feedback_heads(tmp_path: Path, feedback: str, tensors: dict) -> None:  # type: ignore[type-arg]
    tensors = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    facts = facts_of(save_checkpoint_of(tmp_path / "one", "llama", {"feedback": feedback}, tensors))
    check_against_the_model(facts)
    assert facts.feedback_width == 20
    assert facts.dtypes == ("float32", "bfloat16")


def test_an_end_token_that_only_the_configuration_names(tmp_path: Path) -> None:
    described = {"start_token": None, "end_token": None, "latent_token": None, "prompt": "{question}###"}
    directory = save_checkpoint_of(tmp_path / "one", "llama", described, latent_end_id=12)
    facts = facts_of(directory)
    assert facts.tokens == {"end": Token(Checkpoint.open(str(directory)).tokenizer.convert_ids_to_tokens(12), 12)}
    check_against_the_model(facts)


def test_problems_show(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": "projector"})
    with pytest.raises(UserError, match=r"its weights lack projector\.1\.weight"):
        facts_of(directory)
