"""Feedback heads compute what their papers say, and are refused where they do not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import latent_head_tensors, projector_tensors, save_checkpoint_of
from torch import Tensor
from torch.nn import functional

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.feedback import FEEDBACKS

Tensors = dict[str, Tensor]


def affine(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def normalised(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return functional.layer_norm(x, x.shape[-1:], weight, bias)


def hidden(rows: int = 5) -> Tensor:
    return torch.randn(rows, 32, generator=torch.Generator().manual_seed(9))


def test_identity() -> None:
    feedback = FEEDBACKS["identity"].from_tensors({}, 1.0)
    assert torch.equal(feedback(hidden()), hidden())


@pytest.mark.parametrize("norm", [True, False])
def test_projector(norm: bool) -> None:
    tensors = projector_tensors(norm=norm)
    inner = functional.gelu(affine(tensors, "projector.1", hidden()))
    expected = affine(tensors, "projector.3", inner)
    if norm:
        expected = normalised(tensors, "projector.4", expected)
    torch.testing.assert_close(FEEDBACKS["projector"].from_tensors(tensors, 1.0)(hidden()), expected)


def test_latent_head() -> None:
    tensors = latent_head_tensors()
    inner = functional.gelu(affine(tensors, "lt_head.fc.0", hidden()))
    inner = normalised(tensors, "lt_head.fc.3", affine(tensors, "lt_head.fc.2", inner))
    expected = affine(tensors, "lt_head.mean", inner) * 0.018
    torch.testing.assert_close(FEEDBACKS["latent_head"].from_tensors(tensors, 0.018)(hidden()), expected)


def test_a_checkpoint_feeds_back_through_its_head(tmp_path: Path) -> None:
    """The scale of a latent head is in config.json."""
    tensors = latent_head_tensors()
    described = {"feedback": "latent_head"}
    directory = save_checkpoint_of(tmp_path / "one", "llama", described, tensors, latent_embedding_std=0.25)
    reasoner = LatentReasoner.from_pretrained(str(directory))
    expected = FEEDBACKS["latent_head"].from_tensors(tensors, 0.25)(hidden())
    torch.testing.assert_close(reasoner.feed_back(hidden()), expected)
    assert reasoner.flops.per_feedback == 2.0 * (20 * 32 + 20 * 20 + 32 * 20)


@pytest.mark.parametrize(
    ("kind", "tensors", "message"),
    [
        ("projector", {}, "its weights lack projector.1.weight of the projector feedback"),
        (
            "projector",
            projector_tensors(width=24),
            "projector.1.weight of the projector feedback has shape [20, 24], but latents of width 32 need [20, 32]",
        ),
        ("latent_head", {}, "its weights lack lt_head.fc.0.weight of the latent_head feedback"),
        (
            "latent_head",
            {name: tensor for name, tensor in latent_head_tensors().items() if name != "lt_head.mean.bias"},
            "its weights lack lt_head.mean.bias of the latent_head feedback",
        ),
    ],
    ids=["none", "width", "none of another kind", "incomplete"],
)
def test_a_head_that_does_not_fit(tmp_path: Path, kind: str, tensors: Tensors, message: str) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": kind}, tensors)
    with pytest.raises(UserError) as caught:
        LatentReasoner.from_pretrained(str(directory))
    assert str(caught.value) == f"checkpoint {directory}: {message}"


@pytest.mark.parametrize(
    ("kind", "make"),
    [("projector", projector_tensors), ("latent_head", latent_head_tensors)],
    ids=["projector", "latent_head"],
)
def test_precision_is_the_models(tmp_path: Path, kind: str, make: Callable[[], Tensors]) -> None:
    directory = save_checkpoint_of(tmp_path / "one", "llama", {"feedback": kind}, make())
    reasoner = LatentReasoner.from_pretrained(str(directory), dtype=torch.bfloat16)
    assert reasoner.feed_back(hidden().bfloat16()).dtype is torch.bfloat16
