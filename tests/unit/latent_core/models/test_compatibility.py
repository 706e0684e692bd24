"""Architectures that compute the same with a shared prompt are let through, others are refused before any weights."""

from pathlib import Path
from typing import Any

import pytest
from checkpoints import save_checkpoint_of

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.compatibility import check_shared_prefix
from latent_core.models.meta_model import check_model
from latent_core.reward.model import LatentRewardModel

SMOLLM = {"no_rope_layers": [1, 0]}
FULL: dict[str, Any] = {"layer_types": ["full_attention"] * 2}
BLOOM = {"n_head": 4, "n_layer": 2}
XGLM = {"d_model": 32, "ffn_dim": 48, "attention_heads": 4, "num_layers": 2}


def check(directory: Path, model_type: str, **config: Any) -> None:
    save_checkpoint_of(directory, model_type, {}, **config)
    checkpoint = Checkpoint.open(str(directory))
    check_shared_prefix(checkpoint.source, checkpoint.config)


@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("gpt2", {}),
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 8}),
        ("smollm3", SMOLLM),
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": 96}),
        ("gemma", {"head_dim": 8}),
        ("gemma2", {"head_dim": 8, **FULL, "attn_logit_softcapping": None}),
        ("granite", {"logits_scaling": 8.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.3}),
        ("mixtral", {"num_local_experts": 2}),
        ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    ],
)
def test_plain_causal_attention(tmp_path: Path, model_type: str, config: dict[str, Any]) -> None:
    check(tmp_path / "one", model_type, **config)


@pytest.mark.parametrize(
    ("model_type", "config", "why"),
    [
        ("mistral", {"sliding_window": 8}, "asks for a sliding window of 8, but only full causal attention"),
        ("gemma2", {"head_dim": 8}, "asks for sliding_attention, but only full causal attention"),
        (
            "qwen2",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "rope type 'dynamic' makes positions depend on the longest row",
        ),
        # Its scores are biased by distance, outside of the attention function.
        ("bloom", BLOOM, "computes something else where samples share a prompt"),
        ("gemma2", {"head_dim": 8, **FULL}, "caps the scores of attention (attn_logit_softcapping 50.0)"),
    ],
    ids=["window", "layers", "rope", "alibi", "cap"],
)
def test_other_attention(tmp_path: Path, model_type: str, config: dict[str, Any], why: str) -> None:
    directory = tmp_path / "one"
    with pytest.raises(UserError) as caught:
        check(directory, model_type, **config)
    assert str(caught.value).startswith(f"checkpoint {directory}: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("mistral", {"sliding_window": 8}),
    ("gemma2", {"head_dim": 8}),
    ("bloom", BLOOM),
    ("xglm", XGLM),
    ("mamba", {}),
]


@pytest.mark.parametrize(("model_type", "config"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_whoever_loads_is_refused_as_whoever_inspects(tmp_path: Path, model_type: str, config: dict[str, Any]) -> None:
    directory = str(save_checkpoint_of(tmp_path / "one", model_type, {}, **config))
    reasons = set()
    for ask in (
        lambda: check_model(Checkpoint.open(directory)),
        lambda: LatentReasoner.from_pretrained(directory),
        lambda: LatentRewardModel.from_reasoner(Checkpoint.open(directory), seed=0),
    ):
        with pytest.raises(UserError) as caught:
            ask()
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_a_latent_rm_is_asked_too(tmp_path: Path) -> None:
    architecture = {"architectures": ["MistralForTokenClassification"]}
    directory = save_checkpoint_of(tmp_path / "rm", "mistral", {}, sliding_window=8, **architecture)
    with pytest.raises(UserError, match="asks for a sliding window of 8, but only full causal attention"):
        LatentRewardModel.from_pretrained(str(directory))
