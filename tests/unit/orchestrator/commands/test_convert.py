"""`latentswarm convert`: options reach the conversion, and what comes next is said."""

import json
from pathlib import Path

import pytest
import torch
from trainers import BASE_TOKENS, CoconutModule, save_base, with_tokens

from latent_core.conversion.description import FAMILIES
from latent_core.models.formats import LatentFormat
from orchestrator.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_trainer_file_and_what_to_try_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save_base(here / "base", "gpt2")
    torch.save(CoconutModule(with_tokens(base, 3)).state_dict(), here / "checkpoint_33")
    arguments = ["convert", "checkpoint_33", "--base", "base", "--out", "my out"]
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        "latentswarm: checkpoint checkpoint_33: checkpoint_33 is pickled, and reading a pickle can run code; if you "
        "trust its author, add --allow-pickle\n"
    )
    assert main([*arguments, "--allow-pickle", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "read as COCONUT's trainer" in said
    assert said.endswith("would be written to my out\n")
    assert sorted(path.name for path in here.iterdir()) == ["base", "checkpoint_33"]
    assert main([*arguments, "--allow-pickle"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "checkpoint my out: written and checked",
        "look at it: latentswarm inspect 'my out'",
    ]
    assert "read as COCONUT's trainer" in captured.err
    assert main(["inspect", "my out"]) == 0
    assert f"start '<|start-latent|>' {BASE_TOKENS}" in capsys.readouterr().out
    # It is there now, and nothing is written over it.
    assert main([*arguments, "--allow-pickle"]) == 2
    assert "--out my out: the directory is not empty" in capsys.readouterr().err


def test_every_option(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_base(here / "base", "llama")
    options = (
        "--family generic --feedback identity --prompt {question}<|s|> --latent-steps 4 --latent-length adaptive "
        "--start-token <|s|> --end-token <|e|> --latent-token none --extractor after_last_hash --answer-tokens 9 "
        "--lora-alpha 16"
    )
    assert main(["convert", "./base", "--out", "out", *options.split()]) == 0
    assert "nothing has taught this model to think in latents" in capsys.readouterr().err
    found = LatentFormat.model_validate(json.loads((here / "out" / "latent.json").read_text()))
    assert found == LatentFormat(
        prompt="{question}<|s|>",
        start_token="<|s|>",
        end_token="<|e|>",
        latent_token=None,
        latent_length="adaptive",
        latent_steps=4,
        answer_tokens=9,
        extractor="after_last_hash",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "?"], "--prompt: the template has to contain {question} (got '?')"),
        (["--latent-length", "long"], "--latent-length: input should be 'fixed', 'adaptive' or 'gated' (got 'long')"),
        (["--feedback", "projctor"], "--feedback: unknown feedback 'projctor': did you mean 'projector'?"),
        (["--answer-tokens", "0"], "--answer-tokens: input should be greater than or equal to 1"),
        (["--base", "nowhere"], "it has a config.json beside its weights; leave --base nowhere out"),
        (["--feedback", "projector"], "its weights lack projector.1.weight of the projector feedback"),
    ],
)
def test_wrong_input_is_one_line(
    options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_base(here / "base", "gpt2")
    capsys.readouterr()
    assert main(["convert", "./base", "--out", "out", *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert [path.name for path in here.iterdir()] == ["base"]


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "--out", "b", "--family", "gpt"], ["a", "b", "--out", "c"]])
def test_wrong_arguments_show_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", *arguments]) == 2
    assert "Usage: latentswarm" in capsys.readouterr().err


def test_help_names_the_families(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--help"]) == 0
    assert "|".join(FAMILIES) in capsys.readouterr().out
