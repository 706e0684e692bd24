"""Layers that apply the activation behind them compute what both do, and hooks see what they saw before."""

import platform
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoints import save_checkpoint_of
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.models.invariant_layers import make_rows_invariant
from latent_core.models.packed_linear import PackedLinear, packable
from latent_core.models.packing import FusedActivation, pack_linear_layers, without_activation
from latent_core.row_invariance import one_thread
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import Site
from latent_core.tasks.base import Problem

pytestmark = pytest.mark.skipif(
    not packable(torch.zeros(256, 256)), reason=f"no packed products on {platform.machine()} with this torch"
)
WIDTH, INNER = 256, 512
LLAMA_LIKE = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 8,
}
SHAPES = {
    "gpt2": {"n_embd": WIDTH, "n_inner": INNER, "n_layer": 1, "n_head": 4, "vocab_size": 8},
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), LLAMA_LIKE),
}


def feed_forward(family: str, **settings: object) -> nn.Module:
    """The feed-forward part of a block of a family, with random weights."""
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(family, **SHAPES[family], **settings, initializer_range=0.1))
    module = next(module for module in model.modules() if type(module).__name__.endswith("MLP"))
    return module.eval().requires_grad_(False)


def layer_of(module: nn.Module) -> PackedLinear:
    """The layer that applies the activation."""
    (layer,) = (one for one in module.modules() if isinstance(one, PackedLinear) and one.activation)
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        *((family, {}) for family in SHAPES if family != "gpt2"),
        ("gpt2", {"activation_function": "gelu"}),
        ("gpt2", {"activation_function": "gelu_pytorch_tanh"}),
        ("llama", {"hidden_act": "gelu_pytorch_tanh"}),
    ],
)
def test_it_is_the_same_feed_forward(family: str, settings: dict[str, str], dtype: torch.dtype) -> None:
    module = feed_forward(family, **settings).to(dtype)
    if not packable(torch.zeros(WIDTH, WIDTH, dtype=dtype)):
        pytest.skip(f"no packed products of {dtype} on this processor")
    inputs = torch.randn(3, 5, WIDTH).to(dtype)
    before, exact = module(inputs), feed_forward(family, **settings)(inputs.float())
    pack_linear_layers(module)
    assert layer_of(module).activates
    fused = module(inputs)
    if dtype == torch.float32:
        torch.testing.assert_close(fused, before, rtol=1e-4, atol=1e-4)
    else:
        # Each is as near to the truth as the other: what is not activated yet is not rounded to bfloat16 any more.
        assert (fused - exact).abs().mean() <= 1.1 * (before - exact).abs().mean()
    with without_activation(layer_of(module)):
        torch.testing.assert_close(module(inputs), before)


def test_other_activations_and_other_classes_are_left_alone() -> None:
    relu = feed_forward("gpt2", activation_function="relu")
    foreign = type("GPT2MLP", (type(relu),), {"__module__": "somebody.elses"})
    gelu = feed_forward("gpt2", activation_function="gelu")
    gelu.__class__ = foreign
    for module in (relu, gelu):
        pack_linear_layers(module)
        assert [one.activation for one in module.modules() if isinstance(one, PackedLinear)] == [None, None]
        assert not any(isinstance(one, FusedActivation) for one in module.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_row_is_the_same_to_the_bit_with_and_without(family: str, dtype: torch.dtype) -> None:
    module = feed_forward(family, **({"activation_function": "gelu_pytorch_tanh"} if family == "gpt2" else {})).to(
        dtype
    )
    if not packable(torch.zeros(WIDTH, WIDTH, dtype=dtype)):
        pytest.skip(f"no packed products of {dtype} on this processor")
    pack_linear_layers(module)
    rules = make_rows_invariant([module])
    kind = f"{str(dtype).removeprefix('torch.')} {WIDTH} -> {INNER}"
    assert {f"{kind} with {layer_of(module).activation.name}", kind} <= {one.layer for one in rules}
    if not all(one.rule.holds for one in rules):
        pytest.skip(f"{rules} on this processor")
    layer, inputs = layer_of(module), torch.randn(600, WIDTH).to(dtype)

    def all_alike() -> Tensor:
        whole: Tensor = module(inputs)
        for rows in (*range(4, 20), 63, 64, 65, 130, 256, 300, 599):
            assert torch.equal(module(inputs[:rows]), whole[:rows]), rows
            assert torch.equal(module(inputs[-rows:]), whole[-rows:]), rows
        return whole

    with one_thread():
        fused = all_alike()
        with without_activation(layer):
            all_alike()
        assert torch.equal(module(inputs), fused)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def wide_checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is wide enough for its layers to be packed."""
    shape = {"hidden_size": WIDTH, "intermediate_size": INNER, "initializer_range": 0.06}
    return save_checkpoint_of(tmp_path_factory.mktemp("wide") / "one", request.param, {"feedback": "identity"}, **shape)


def latents(reasoner: LatentReasoner, sampler: dict[str, object]) -> Tensor:
    problems = [Problem(str(number), f"ann has {number} pens . ben 5 cards ?", "1") for number in range(2)]
    rows = sample_trajectories(
        reasoner, parse_sampler(sampler), problems, range(3), latent_steps=3, answer_tokens=2, seed=0
    )
    return torch.stack([torch.from_numpy(row.latents) for row in rows if row.latents is not None])


def test_a_sampler_that_changes_the_layer_sees_its_own_outputs_and_leaves_no_trace(wide_checkpoint: Path) -> None:
    inputs = {"kind": "singular_value", "alpha": 0.3, "projection": "feed_forward_input"}
    noise = {"kind": "gaussian", "sigma": 0.3}
    fused, plain = (LatentReasoner.from_pretrained(str(wide_checkpoint), packed=packed) for packed in (True, False))
    assert any(isinstance(one, FusedActivation) for one in fused.model.modules())
    before = latents(fused, noise)
    torch.testing.assert_close(latents(fused, inputs), latents(plain, inputs), rtol=1e-4, atol=1e-4)
    assert torch.equal(latents(fused, noise), before)


def test_a_site_on_the_layer_is_before_its_activation(wide_checkpoint: Path) -> None:
    dropout = {"kind": "mc_dropout", "p": 0.3, "sites": ["feed_forward"]}
    found = []
    for packed in (True, False):
        reasoner = LatentReasoner.from_pretrained(str(wide_checkpoint), packed=packed)
        modules = reasoner.modules
        first = "mlp.c_fc" if modules.backbone.name == "gpt2" else "mlp.gate_proj"
        modules.backbone = replace(modules.backbone, sites={Site.FEED_FORWARD: first})
        found.append(latents(reasoner, dropout))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
