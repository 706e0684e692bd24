"""Packed layers compute what others do, whichever rows are beside a row, and samplers find their weights."""

import platform
from pathlib import Path

import pytest
import torch
from checkpoints import save_checkpoint_of
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from latent_core.engine.sampling import sample_trajectories
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.invariant_layers import invariant_rows
from latent_core.models.output_head import largest_output, pieces_of
from latent_core.models.packed_linear import PackedLinear, packable
from latent_core.models.packing import pack_linear_layers
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.scoring import CandidateBatch, score_candidates
from latent_core.reward.training.trunk import trunk_reasoner
from latent_core.row_invariance import one_thread
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import Projection
from latent_core.tasks.base import Problem

pytestmark = pytest.mark.skipif(
    not packable(torch.zeros(256, 256)), reason=f"no packed products on {platform.machine()} with this torch"
)
WIDTH = 256


def packed(layer: nn.Module) -> nn.Module:
    holder = nn.Sequential(layer)
    pack_linear_layers(holder)
    return holder[0]


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(768, WIDTH, generator=torch.Generator().manual_seed(0)) / 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_the_same_layer(weight: Tensor, bias: bool, dtype: torch.dtype) -> None:
    layer = nn.Linear(WIDTH, 768, bias=bias)
    layer.weight.data = weight
    layer = layer.to(dtype).requires_grad_(False)
    if not packable(layer.weight):
        pytest.skip(f"no packed products of {dtype} on this processor")
    inputs = torch.randn(5, 3, WIDTH).to(dtype)
    other = packed(layer)
    assert isinstance(other, PackedLinear)
    torch.testing.assert_close(other(inputs), layer(inputs))
    assert torch.equal(other.unpacked_weight(), layer.weight)
    assert {one.dtype for one in other.parameters()} == {dtype}
    assert sum(one.numel() for one in other.parameters()) == sum(one.numel() for one in layer.parameters())


def test_gpt2_stores_weights_the_other_way_round(weight: Tensor) -> None:
    layer = Conv1D(768, WIDTH).requires_grad_(False)
    layer.weight.data, layer.bias.data = weight.T.contiguous(), torch.randn(768)
    inputs = torch.randn(7, WIDTH)
    torch.testing.assert_close(packed(layer)(inputs), layer(inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(768, 256), (256, 1024), (2304, 768), (768, 3072)])
def test_a_row_is_the_same_to_the_bit_whatever_is_beside_it(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = (torch.randn(shape) / shape[1] ** 0.5).to(dtype)
    if not packable(weight):
        pytest.skip(f"no packed products of {dtype} on this processor")
    rule, product = invariant_rows(PackedLinear(weight, None))
    if not rule.rule.holds:
        pytest.skip(f"{rule.layer} {rule.rule} on this processor")
    layer, inputs = product or PackedLinear(weight, None), torch.randn(900, shape[1]).to(dtype)
    with one_thread():
        whole = layer(inputs)
        for rows in [*range(4, 40), 63, 64, 65, 127, 200, 299, 500, 899]:
            assert torch.equal(layer(inputs[:rows]), whole[:rows]), rows
            assert torch.equal(layer(inputs[-rows:]), whole[-rows:]), rows


def test_what_would_be_slower_or_do_something_else_is_left_alone() -> None:
    class Scaled(nn.Linear):
        pass

    layers = [nn.Linear(128, 768), nn.Linear(768, 128), Scaled(768, 768), nn.Linear(768, 768).half(), nn.LayerNorm(768)]
    assert [packed(layer) for layer in layers] == layers


def test_the_largest_output_of_a_packed_head() -> None:
    # Whole numbers leave nothing to round, so that equals are equal.
    head = nn.Linear(WIDTH, 5000, bias=False)
    head.weight.data = torch.randint(-3, 4, (5000, WIDTH)).float()
    hidden = torch.randint(-3, 4, (33, WIDTH)).float()
    pieces = pieces_of(head, packed=True)
    assert [isinstance(piece, PackedLinear) for piece in pieces] == [True] * 3
    assert torch.equal(largest_output(pieces, hidden), head(hidden).argmax(dim=-1))


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def wide_checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is wide enough for its layers to be packed."""
    shape = {"hidden_size": WIDTH, "intermediate_size": 512, "initializer_range": 0.06}
    return save_checkpoint_of(tmp_path_factory.mktemp("wide") / "one", request.param, {"feedback": "identity"}, **shape)


def test_a_reasoner_thinks_the_same(wide_checkpoint: Path) -> None:
    problems = [Problem(str(number), f"ann has {number} pens . ben 5 cards ?", "1") for number in range(3)]
    sampler = parse_sampler({"kind": "mc_dropout", "p": 0.2, "sites": ["attention", "feed_forward"]})
    latents = []
    for allowed in (True, False):
        reasoner = LatentReasoner.from_pretrained(str(wide_checkpoint), packed=allowed)
        found = [one for one in reasoner.model.modules() if isinstance(one, PackedLinear)]
        assert bool(found) is allowed
        rows = sample_trajectories(reasoner, sampler, problems, range(3), latent_steps=4, answer_tokens=3, seed=0)
        latents.append(torch.stack([torch.from_numpy(row.latents) for row in rows if row.latents is not None]))
    torch.testing.assert_close(*latents, rtol=1e-4, atol=1e-4)
    assert latents[0].std(dim=1).min() > 0


def test_a_latent_rm_scores_the_same_and_may_be_trained_on(wide_checkpoint: Path, tmp_path: Path) -> None:
    reasoner = Checkpoint.open(str(wide_checkpoint))
    LatentRewardModel.from_reasoner(reasoner, seed=0).save(reasoner, tmp_path, RewardCard())
    one, other = (LatentRewardModel.from_pretrained(str(tmp_path), packed=packed) for packed in (True, False))
    assert [any(isinstance(layer, PackedLinear) for layer in model.modules()) for model in (one, other)] == [
        True,
        False,
    ]
    prompts = [reasoner.prompt_ids("ann has 3 pens ?"), reasoner.prompt_ids("ben 5 cards . buys 2 cards ?")]
    candidates = CandidateBatch(torch.randn(8, 3, WIDTH), torch.full((8,), 3))
    with torch.inference_mode():
        mine, theirs = (score_candidates(model, prompts, candidates).steps for model in (one, other))
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)

    trunk = trunk_reasoner(other, str(wide_checkpoint))
    weights = dict(trunk.model.base_model.named_parameters())
    assert all(torch.equal(weights[name], tensor) for name, tensor in other.model.base_model.named_parameters())


@pytest.mark.parametrize("projection", list(Projection))
def test_samplers_find_the_weights(wide_checkpoint: Path, projection: Projection) -> None:
    one, other = (LatentReasoner.from_pretrained(str(wide_checkpoint), packed=packed) for packed in (True, False))
    mine, theirs = (vars(reasoner.modules.factors(projection, 1)) for reasoner in (one, other))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
