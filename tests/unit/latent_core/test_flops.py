"""Counted FLOPs against PyTorch's own counter on real forward passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, DynamicCache, GPT2LMHeadModel, LlamaConfig, PreTrainedModel

from latent_core.attention.padding import padded_length
from latent_core.engine.rollout import RolloutEngine
from latent_core.flops import FlopModel
from latent_core.models import LatentReasoner
from latent_core.row_invariance import MIN_ROWS
from latent_core.samplers import parse_sampler

Count = Callable[[], float]


@contextmanager
def counting() -> Iterator[Count]:
    """Count the FLOPs of what runs inside."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        yield lambda: float(counter.get_total_flops())


def gpt2(tiny_checkpoint: Path) -> PreTrainedModel:
    model: PreTrainedModel = GPT2LMHeadModel.from_pretrained(tiny_checkpoint, attn_implementation="eager")
    return model.eval()


def llama() -> PreTrainedModel:
    """Grouped keys, heads whose size is not width / heads, and a gated feed-forward."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=False,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model.eval()


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> PreTrainedModel:
    return gpt2(tiny_checkpoint) if request.param == "gpt2" else llama()


def feed_one_by_one(model: PreTrainedModel, cache: DynamicCache, tokens: int) -> None:
    for _ in range(tokens):
        model.base_model(input_ids=torch.tensor([[1]]), past_key_values=cache, use_cache=True)


@pytest.mark.parametrize("tokens", [1, 7, 20])
def test_prompt_fed_token_by_token(model: PreTrainedModel, tokens: int) -> None:
    """Every query then meets exactly the keys up to itself, which is what causal attention needs."""
    with counting() as counted:
        feed_one_by_one(model, DynamicCache(config=model.config), tokens)
    assert FlopModel.of(model).prompt(tokens) == pytest.approx(counted(), rel=1e-9)


@pytest.mark.parametrize("tokens", [7, 40])
def test_prompt_in_one_pass(model: PreTrainedModel, tokens: int) -> None:
    """Eager attention also computes the half of the square that causality hides; that half is not counted."""
    flops = FlopModel.of(model)
    with counting() as counted:
        model.base_model(input_ids=torch.ones(1, tokens, dtype=torch.int64), use_cache=False)
    hidden_half = flops.per_token_and_key * tokens * (tokens - 1) / 2
    assert flops.prompt(tokens) + hidden_half == pytest.approx(counted(), rel=1e-9)


def test_suffix_behind_a_context(model: PreTrainedModel) -> None:
    cache = DynamicCache(config=model.config)
    feed_one_by_one(model, cache, 9)
    with counting() as counted:
        feed_one_by_one(model, cache, 5)
    assert FlopModel.of(model).suffix(9, 5) == pytest.approx(counted(), rel=1e-9)


def test_logits(model: PreTrainedModel) -> None:
    with counting() as counted:
        model.get_output_embeddings()(torch.zeros(1, model.config.hidden_size))
    assert FlopModel.of(model).per_logits == counted()


def test_feedback_head(model: PreTrainedModel) -> None:
    head = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32), nn.LayerNorm(32))
    with counting() as counted:
        head(torch.zeros(1, 32))
    assert FlopModel.of(model, head).per_feedback == counted()
    assert FlopModel.of(model).per_feedback == 0


@pytest.mark.parametrize("samples", [MIN_ROWS, 5])
def test_trajectories_of_the_engine(tiny_reasoner: LatentReasoner, samples: int) -> None:
    """What is recorded for a rollout is what the engine computes where neither prompt nor rows need padding."""
    prompt, steps, tokens = [1 + index % 8 for index in range(padded_length(1))], 4, 6
    engine = RolloutEngine(tiny_reasoner, parse_sampler({"kind": "none"}))
    state = engine.start([prompt], ["q"], 0, range(samples))
    with counting() as counted:
        for _ in range(steps):
            state = engine.step(state)
        engine.decode(state, tokens, stop_at_end=False)
    expected = samples * tiny_reasoner.flops.trajectory(len(prompt), steps, 1, tokens)
    assert expected == pytest.approx(counted(), rel=1e-9)


def test_a_trajectory_adds_up() -> None:
    flops = FlopModel(per_token=100, per_token_and_key=10, per_logits=7, per_feedback=3)
    # Fed: 2 latents, the end token, and 3 of the 4 answer tokens, at contexts of 5 to 10 keys and themselves.
    assert flops.trajectory(5, 2, 1, 4) == 6 * 100 + 10 * (6 + 7 + 8 + 9 + 10 + 11) + 4 * 7 + 2 * 3
    assert flops.trajectory(5, 2, 1, 0) == 3 * 100 + 10 * (6 + 7 + 8) + 2 * 3
    assert flops.prompt(3) == 3 * 100 + 10 * (1 + 2 + 3)
    assert flops.prompt(0) == 0


def test_shapes_are_enough(tiny_checkpoint: Path) -> None:
    """The estimate before a run is made without weights."""
    real = gpt2(tiny_checkpoint)
    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(real.config)
    assert FlopModel.of(shapes) == FlopModel.of(real)
