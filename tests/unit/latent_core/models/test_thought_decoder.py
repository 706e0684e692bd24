"""The output head read alone says the same tokens as the model it came from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import save_checkpoint_of

from latent_core.errors import UserError
from latent_core.models import LatentReasoner
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.thought_decoder import ThoughtDecoder, head_name


@pytest.mark.parametrize("layout", ["tiny", "llama", "bundled"])
def test_tokens_are_the_models_own(layout: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    sources = {"tiny": lambda: str(tiny_checkpoint), "bundled": lambda: "bundled:coconut-paths"}
    source = sources.get(layout, lambda: str(save_checkpoint_of(tmp_path / "one", layout, {"feedback": "identity"})))()
    reasoner = LatentReasoner.from_pretrained(source)
    latents = np.random.default_rng(0).normal(size=(2000, reasoner.checkpoint.hidden_size)).astype(np.float16)
    decoder = ThoughtDecoder.of(Checkpoint.open(source))
    with torch.inference_mode():
        expected = reasoner.logits(torch.from_numpy(latents.astype(np.float32))).argmax(dim=-1)
    assert (decoder.decode(latents) == expected.numpy()).mean() > 0.999
    assert decoder.flops(10) == 20.0 * decoder.weight.size


def test_a_bias_counts() -> None:
    decoder = ThoughtDecoder(np.eye(3, dtype=np.float32), np.array([0.0, 5.0, 0.0], np.float32))
    assert decoder.decode(np.eye(3, dtype=np.float32)).tolist() == [1, 1, 1]
    assert decoder.decode(np.empty((0, 3), np.float16)).tolist() == []


def test_a_head_that_cannot_be_told_is_refused() -> None:
    def checkpoint(*names: str) -> Any:
        headers = {name: SimpleNamespace(shape=(9, 4)) for name in names}
        config, weights = SimpleNamespace(vocab_size=9), SimpleNamespace(headers=headers)
        return SimpleNamespace(config=config, hidden_size=4, weights=weights, source="mine")

    assert head_name(checkpoint("model.wte.weight", "lm_head.weight")) == "lm_head.weight"
    assert head_name(checkpoint("model.wte.weight", "x.weight")) == "model.wte.weight"
    assert head_name(checkpoint("strange")) == "strange"
    for names in ((), ("one", "two")):
        with pytest.raises(UserError, match="cannot tell which of its tensors is the output head"):
            head_name(checkpoint(*names))
