"""Architectures that compute the same with a shared prompt are let through, others are refused before any weights."""

from pathlib import Path
from typing import Any

import pytest
from checkpoints import save_checkpoint_of

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.shared_prefix_check import check_shared_prefix

SMOLLM = {"no_rope_layers": [1, 0]}


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
        ("bloom", {"n_head": 4, "n_layer": 2}, "computes something else where samples share a prompt"),
    ],
    ids=["window", "layers", "rope", "alibi"],
)
def test_other_attention(tmp_path: Path, model_type: str, config: dict[str, Any], why: str) -> None:
    directory = tmp_path / "one"
    with pytest.raises(UserError) as caught:
        check(directory, model_type, **config)
    assert str(caught.value).startswith(f"checkpoint {directory}: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
