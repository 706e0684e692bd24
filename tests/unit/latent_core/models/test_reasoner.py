"""Loading weights, refusing damaged ones, and reaching every place that samplers disturb."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DynamicCache

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.samplers.base import ModulePerturbation, Site


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that may be spoilt."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def cut_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def lfs_pointer(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 498000000\n")


def wrong_shape(file: Path) -> None:
    weights = load_file(file)
    weights["transformer.h.1.mlp.c_fc.weight"] = weights["transformer.h.1.mlp.c_fc.weight"][:5].clone()
    save_file(weights, file, metadata={"format": "pt"})


def missing_tensor(file: Path) -> None:
    """Nothing may be filled up with random numbers in silence."""
    weights = load_file(file)
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, file, metadata={"format": "pt"})


def no_number(file: Path) -> None:
    """The row of one token would be the most likely one after every text."""
    weights = load_file(file)
    weights["transformer.wte.weight"][7, 3] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})


def lost_shard(file: Path) -> None:
    file.rename(file.with_name("model-00001-of-00002.safetensors"))


@pytest.mark.parametrize(
    "spoil", [cut_off, cut_header, empty, lfs_pointer, wrong_shape, missing_tensor, no_number, lost_shard]
)
def test_damaged_weights_are_refused_in_one_line(copy: Path, spoil: Callable[[Path], None]) -> None:
    spoil(copy / "model.safetensors")
    with pytest.raises(UserError) as caught:
        LatentReasoner.from_pretrained(str(copy))
    message = str(caught.value)
    assert message.startswith(f"checkpoint {copy}: ")
    assert "weights" in message
    assert "\n" not in message


def test_weights_are_loaded_as_they_are(tiny_reasoner: LatentReasoner, tiny_checkpoint: Path) -> None:
    loaded = tiny_reasoner.model.state_dict()
    for name, weight in load_file(tiny_checkpoint / "model.safetensors").items():
        assert torch.equal(loaded[name], weight), name
    assert not tiny_reasoner.model.training
    assert not any(parameter.requires_grad for parameter in tiny_reasoner.model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_precision_is_a_choice(tiny_checkpoint: Path, dtype: torch.dtype) -> None:
    reasoner = LatentReasoner.from_pretrained(str(tiny_checkpoint), dtype=dtype)
    assert {parameter.dtype for parameter in reasoner.model.parameters()} == {dtype}


def run(reasoner: LatentReasoner, perturbation: ModulePerturbation | None) -> Tensor:
    tokens = torch.tensor([[1, 2, 3, 4]])
    positions = torch.arange(4)[None]
    with torch.no_grad():
        return reasoner.forward(reasoner.embed(tokens), positions, DynamicCache(), perturbation=perturbation)


class Recorder(ModulePerturbation):
    """Notes where it is called."""

    def __init__(self, *sites: Site) -> None:
        self.sites = frozenset(sites)
        self.calls: list[tuple[Site, int, tuple[int, ...]]] = []

    def on_output(self, site: Site, layer: int, output: Tensor) -> Tensor:
        self.calls.append((site, layer, tuple(output.shape)))
        return output

    def on_attention_weights(
        self, layer: int, weights: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> Tensor:
        self.calls.append((Site.ATTENTION_WEIGHTS, layer, tuple(weights.shape)))
        return weights


def test_every_site_of_every_layer_is_reached_once_and_in_order(tiny_reasoner: LatentReasoner) -> None:
    recorder = Recorder(*Site)
    run(tiny_reasoner, recorder)
    width, weights = (1, 4, 32), (1, 2, 4, 4)
    block = [(Site.ATTENTION_WEIGHTS, weights), (Site.ATTENTION, width), (Site.FEED_FORWARD, width)]
    expected = [(Site.EMBEDDING, 0, width)]
    expected += [(site, layer, shape) for layer in (0, 1) for site, shape in block]
    assert recorder.calls == expected


@pytest.mark.parametrize("site", list(Site))
def test_sites_that_were_not_named_are_left_alone(tiny_reasoner: LatentReasoner, site: Site) -> None:
    recorder = Recorder(site)
    run(tiny_reasoner, recorder)
    assert {called for called, *_ in recorder.calls} == {site}


class Zero(Recorder):
    """Removes the output of a site."""

    def on_output(self, site: Site, layer: int, output: Tensor) -> Tensor:
        return torch.zeros_like(output)


def test_sites_sit_in_front_of_the_residual_sum(tiny_reasoner: LatentReasoner) -> None:
    """Without both branches of all blocks the embeddings go straight to the final norm."""
    hidden = run(tiny_reasoner, Zero(Site.FEED_FORWARD, Site.ATTENTION))
    transformer = tiny_reasoner.model.transformer
    embedded = tiny_reasoner.embed(torch.tensor([[1, 2, 3, 4]])) + transformer.wpe(torch.arange(4))
    torch.testing.assert_close(hidden, transformer.ln_f(embedded))
    # With the embeddings gone too, nothing but the norm's bias is left.
    torch.testing.assert_close(
        run(tiny_reasoner, Zero(Site.FEED_FORWARD, Site.ATTENTION, Site.EMBEDDING)),
        transformer.ln_f.bias.expand(1, 4, 32),
    )


class Failing(Recorder):
    """Breaks inside the model."""

    def on_output(self, site: Site, layer: int, output: Tensor) -> Tensor:
        raise RuntimeError("no")


def test_a_pass_that_fails_leaves_nothing_behind(tiny_reasoner: LatentReasoner) -> None:
    before = run(tiny_reasoner, None)
    with pytest.raises(RuntimeError, match="no"):
        run(tiny_reasoner, Failing(Site.FEED_FORWARD))
    assert torch.equal(run(tiny_reasoner, None), before)


def test_decoded_text_has_no_special_tokens(tiny_reasoner: LatentReasoner) -> None:
    tokenizer = tiny_reasoner.checkpoint.tokenizer
    ids = tokenizer.convert_tokens_to_ids(["###", "7", "<|endoftext|>"])
    assert tiny_reasoner.decode_text(ids).split() == ["###", "7"]
    assert tiny_reasoner.end_of_text_id == ids[-1]


def test_weights_that_a_precision_cannot_hold_are_refused_in_it(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["transformer.h.1.mlp.c_fc.weight"][0, 0] = 1e5
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    LatentReasoner.from_pretrained(str(copy), device="cpu")
    with pytest.raises(
        UserError, match=r"^[^\n]+transformer\.h\.1\.mlp\.c_fc\.weight that are [^\n]+ as float16;[^\n]+$"
    ):
        LatentReasoner.from_pretrained(str(copy), device="cpu", dtype=torch.float16)
