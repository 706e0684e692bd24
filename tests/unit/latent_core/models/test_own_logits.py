"""Logits are the model's own: scaled, capped and shifted as its class does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import save_checkpoint_of
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from latent_core.engine.sampling import sample_trajectories
from latent_core.inspection.thoughts import think
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.output_head import OutputHead
from latent_core.samplers import parse_sampler
from latent_core.tasks.base import Problem

FULL: dict[str, Any] = {"head_dim": 8, "layer_types": ["full_attention"] * 2}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "granite": ("granite", {"logits_scaling": 8.0}),
    "cohere": ("cohere", {"logit_scale": 0.0625}),
    "cohere2": ("cohere2", {"logit_scale": 0.25, "layer_types": ["full_attention"] * 2}),
    "hyperclovax": ("hyperclovax", {"logits_scaling": 0.125}),
    "gemma3": ("gemma3_text", {**FULL, "final_logit_softcapping": 2.0}),
    "gemma2": ("gemma2", {**FULL, "attn_logit_softcapping": None, "final_logit_softcapping": 2.0}),
    "nanochat": ("nanochat", {"final_logit_softcapping": 2.0}),
}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "llama": ("llama", {}),
    "qwen2": ("qwen2", {}),
    "gemma3": ("gemma3_text", FULL),
    "granite": ("granite", {"logits_scaling": 1.0}),
    "opt": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
}
QUESTION = "ann has 3 pens ?"


def hidden_and_logits(directory: Path) -> tuple[Tensor, Tensor]:
    """What the library's model computes by itself."""
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    ids = torch.tensor([Checkpoint.open(str(directory)).prompt_ids(QUESTION)])
    with torch.inference_mode():
        return model.base_model(input_ids=ids).last_hidden_state[0], model(input_ids=ids).logits[0]


@pytest.mark.parametrize("kind", [*KINDS])
def test_scaled_and_capped_logits(tmp_path: Path, kind: str) -> None:
    model_type, config = KINDS[kind]
    directory = save_checkpoint_of(tmp_path / "one", model_type, {}, **config)
    reasoner = LatentReasoner.from_pretrained(str(directory))
    hidden, logits = hidden_and_logits(directory)
    with torch.inference_mode():
        torch.testing.assert_close(reasoner.logits(hidden), logits)
        torch.testing.assert_close(reasoner.logits(hidden[None, :, None]), logits[None, :, None])
        assert torch.equal(reasoner.most_likely(hidden), logits.argmax(-1))
        # So the most likely token is still found piece by piece.
        assert reasoner.output_head._keeps_order
        head: Any = reasoner.model.get_output_embeddings()
        assert not torch.allclose(head(hidden), logits, rtol=0.1)
    # It is part of what names trajectories: some were sampled from the head alone.
    assert "logits" in reasoner.checkpoint.beyond


@pytest.mark.parametrize("kind", [*PLAIN])
def test_where_the_head_says_it_all_it_is_asked_alone(tmp_path: Path, kind: str) -> None:
    model_type, config = PLAIN[kind]
    directory = save_checkpoint_of(tmp_path / "one", model_type, {}, **config)
    reasoner = LatentReasoner.from_pretrained(str(directory))
    hidden, logits = hidden_and_logits(directory)
    assert reasoner.output_head._own is None
    with torch.inference_mode():
        torch.testing.assert_close(reasoner.logits(hidden), logits)
    assert "logits" not in reasoner.checkpoint.beyond


def test_what_turns_the_order_round_decides_greedy_too(tmp_path: Path) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "cohere", {}, logit_scale=-0.5)
    reasoner = LatentReasoner.from_pretrained(str(directory))
    hidden, logits = hidden_and_logits(directory)
    with torch.inference_mode():
        assert torch.equal(reasoner.most_likely(hidden), logits.argmax(-1))
    assert not reasoner.output_head._keeps_order


def test_sampled_answers_and_inspected_probabilities_follow(tmp_path: Path) -> None:
    """Granite's factor acts as a temperature: undone, the same weights behave like Llama's with that temperature."""
    one = LatentReasoner.from_pretrained(str(save_checkpoint_of(tmp_path / "a", "granite", {}, logits_scaling=4.0)))
    two = LatentReasoner.from_pretrained(str(save_checkpoint_of(tmp_path / "b", "granite", {}, logits_scaling=1.0)))

    def answers(reasoner: LatentReasoner, temperature: float) -> list[str]:
        sampler = parse_sampler({"kind": "answer_sampling", "temperature": temperature})
        problem = Problem("q", QUESTION, "3")
        rows = sample_trajectories(reasoner, sampler, [problem], range(8), latent_steps=2, answer_tokens=4, seed=0)
        return [row.answer_text for row in rows]

    assert answers(one, 1.0) == answers(two, 4.0) != answers(two, 1.0)
    near = [think(reasoner, QUESTION).steps[0].near[0] for reasoner in (one, two)]
    assert near[0].text == near[1].text
    assert near[0].probability < near[1].probability


def test_a_head_behind_which_nobody_knows_what_happens(tmp_path: Path) -> None:
    """Any class is asked for its own logits, whatever it calls what it does."""
    directory = save_checkpoint_of(tmp_path / "one", "llama", {})
    model: Any = AutoModelForCausalLM.from_pretrained(directory).eval()
    shift = torch.linspace(-3, 3, model.config.vocab_size)
    assert OutputHead(model)._own is None
    model.__class__ = type("Shifted", (type(model),), {"forward": _shifted_forward(type(model), shift)})
    hidden = torch.randn(5, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        head = OutputHead(model)
        wanted = model.lm_head(hidden) + shift
        torch.testing.assert_close(head.logits(hidden), wanted)
        assert torch.equal(head.most_likely(hidden), wanted.argmax(-1))
        assert not torch.equal(head.most_likely(hidden), model.lm_head(hidden).argmax(-1))


def _shifted_forward(cls: type[nn.Module], shift: Tensor) -> Callable[..., Any]:
    def forward(self: nn.Module, **inputs: Any) -> Any:
        output = cls.forward(self, **inputs)
        output.logits = output.logits + shift
        return output

    return forward
