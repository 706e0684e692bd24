"""SIM-CoT's trainer on COCONUT: what only training needs is left out, and the number of latent steps is said."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from trainers import BASE_TOKENS, CoconutModule, base_tokenizer, with_tokens
from transformers import AutoModelForCausalLM

from latent_core.conversion import Options, convert
from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint

START, END = BASE_TOKENS, BASE_TOKENS + 1


def saved(base: Path, directory: Path, name: str) -> CoconutModule:
    """Write what the trainer leaves: its state_dict, and a configuration with nothing in it."""
    module = CoconutModule(with_tokens(base, 3))
    auxiliary = AutoModelForCausalLM.from_pretrained(base).state_dict()
    directory.mkdir()
    torch.save(
        {**module.state_dict(), **{f"expainable_llm.{key}": one for key, one in auxiliary.items()}}, directory / name
    )
    (directory / "config.json").touch()
    return module


@pytest.mark.parametrize("named", ["the directory", "the file"])
def test_it_thinks_as_it_did(named: str, gpt2_base: Path, tmp_path: Path, agree: Callable[..., None]) -> None:
    module = saved(gpt2_base, tmp_path / "trained", "checkpoint_28")
    source = tmp_path / "trained" if named == "the directory" else tmp_path / "trained" / "checkpoint_28"
    notes = convert(str(source), tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))
    assert any(note.startswith("not used: auxiliary model of SIM-CoT's training: ") for note in notes)
    prompt = [*base_tokenizer()("ann has 3 pens ?\n")["input_ids"], START]
    agree(tmp_path / "out", prompt, END, module.base_causallm, module.embedding, nn.Identity())


@pytest.mark.parametrize(("epoch", "steps"), [(28, 10), (15, 10), (14, 8), (3, 2)])
def test_latent_steps_are_those_of_the_epoch(epoch: int, steps: int, gpt2_base: Path, tmp_path: Path) -> None:
    saved(gpt2_base, tmp_path / "trained", f"checkpoint_{epoch}")
    notes = convert(str(tmp_path / "trained"), tmp_path / "out", Options(base=str(gpt2_base), allow_pickle=True))
    assert f"thinks in {steps} latent steps, as published; --latent-steps says another number" in notes
    assert Checkpoint.open(str(tmp_path / "out")).latent_steps == steps


def test_an_epoch_without_latents_has_to_be_explained(
    gpt2_base: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    saved(gpt2_base, tmp_path / "trained", "checkpoint_2")
    given = {"base": str(gpt2_base), "allow_pickle": True}
    assert "at epoch 2 SIM-CoT's training had reached no stage with latents; say with --latent-steps" in refusal(
        tmp_path / "trained", **given
    )
    notes = convert(str(tmp_path / "trained"), tmp_path / "out", Options(**given, changes={"latent_steps": 4}))
    assert "thinks in 4 latent steps, as --latent-steps says" in notes


def test_what_the_user_drops(gpt2_base: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    module = CoconutModule(with_tokens(gpt2_base, 3))
    state = {name: one.clone() for name, one in module.state_dict().items()}
    save_file({**state, "probe.weight": torch.ones(2), "probe.bias": torch.ones(2)}, tmp_path / "file.safetensors")
    source, base = tmp_path / "file.safetensors", str(gpt2_base)
    assert "nothing in a gpt2 model is called probe.bias, probe.weight" in refusal(source, base=base)
    assert "--drop prob.*: none of its tensors is called like that" in refusal(source, base=base, drop=("prob.*",))
    assert "--drop *: no tensor is left" in refusal(source, base=base, drop=("*",))
    notes = convert(str(source), tmp_path / "out", Options(base=base, drop=("probe.*",)))
    assert "dropped as probe.*: 2 tensors (probe.bias, probe.weight)" in notes


def test_an_empty_configuration_says_what_would_help(gpt2_base: Path, tmp_path: Path) -> None:
    saved(gpt2_base, tmp_path / "trained", "checkpoint_28")
    with pytest.raises(UserError, match=r"config\.json is empty, .*`latentswarm convert .* --base MODEL"):
        Checkpoint.open(str(tmp_path / "trained"))
