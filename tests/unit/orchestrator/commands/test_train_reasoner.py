"""Training recipes as the command line reads them; training itself is tested beside the trainer."""

import json
from pathlib import Path

import pytest
import torch
from base_models import recipe_of, save_base, save_problems

from latent_core.errors import UserError
from latent_core.training.settings import ReasonerTrainingSettings
from orchestrator.cli import main
from orchestrator.config.loading import load_config

RECIPES = Path(__file__).parents[4] / "tune_configs"
RECIPE = str(RECIPES / "train_tiny.yaml")


def test_the_shipped_recipe_with_overrides() -> None:
    recipe = load_config(ReasonerTrainingSettings, RECIPE, ["seed=5", "architecture.width=64"])
    assert (recipe.seed, recipe.architecture.width) == (5, 64)
    assert recipe.architecture.layers == load_config(ReasonerTrainingSettings, RECIPE).architecture.layers


@pytest.mark.parametrize(
    ("file", "family", "latent_steps"),
    [("train_tiny", "word_problems", 6), ("train_paths", "path_finding", 4), ("train_gsm8k", "gsm8k", 6)],
)
def test_each_shipped_recipe_names_its_family(file: str, family: str, latent_steps: int) -> None:
    recipe = load_config(ReasonerTrainingSettings, str(RECIPES / f"{file}.yaml"))
    assert (recipe.family, recipe.latent_steps) == (family, latent_steps)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("architecture.witdh=64", "unknown key 'architecture.witdh': did you mean 'width'?"),
        ("batch=3", "unknown key 'batch': did you mean 'batch_size'?"),
        ("stages=[{name: x, thoughts: spoken}]", "stages.0.thoughts: input should be 'written' or 'latent'"),
        ("stages=[]", "stages: tuple should have at least 1 item"),
        ("family=word_problem", "family: unknown problem family 'word_problem': did you mean 'word_problems'?"),
        ("latent_steps=4", "latent_steps: word_problems needs 6 to 32 (got 4)"),
        ("seed=x", "seed: input should be a valid integer"),
    ],
)
def test_a_wrong_recipe(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(ReasonerTrainingSettings, RECIPE, [override])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_in_a_stage_is_named(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    stage = "{name: x, thoughts: latent, updates: 1, learning_rate: 0.1, final_learning_rate: 0.1, warmup_update: 3}"
    file.write_text(f"stages: [{stage}]")
    with pytest.raises(UserError, match=r"unknown key 'stages\.0\.warmup_update': did you mean 'warmup_updates'\?"):
        load_config(ReasonerTrainingSettings, str(file))


def test_a_missing_recipe() -> None:
    with pytest.raises(UserError, match=r"train_tny\.yaml: no such file; did you mean .*train_tiny\.yaml\?"):
        load_config(ReasonerTrainingSettings, RECIPE.replace("tiny", "tny"))


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["train-reasoner", RECIPE, "seed=5", "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "family      word_problems, 6 latent steps, seed 5\n" in said
    assert f"results     {out}" in said.replace("\n", "")
    assert not out.exists()
    assert main(["train-reasoner", RECIPE, "seed=x", "--out", str(out), "--dry-run"]) == 2


def test_a_reasoner_from_a_language_model_is_planned_trained_and_inspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, data = save_base(tmp_path / "base"), save_problems(tmp_path / "train.jsonl")
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(json.dumps(recipe_of(base, data, feedback="projector")))
    assert main(["train-reasoner", str(recipe), "--out", str(out), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "(llama), feedback projector" in said
    assert "with calculations, 2 variants at most" in said
    assert not out.exists()
    assert main(["train-reasoner", str(recipe), "--out", str(out)]) == 0
    assert "greedy accuracy" in capsys.readouterr().out
    assert main(["inspect", str(out), "--question", "Ann has 3 pens and buys 4. How many?"]) == 0
    assert "projector" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("base=none", "checkpoint none: no such directory"),
        ("data.path=none.jsonl", "data.path none.jsonl: cannot be read"),
        ("device=cuda", "torch sees no GPU"),
    ],
)
def test_a_start_that_is_not_there(
    override: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if override == "device=cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_of(save_base(tmp_path / "base"), save_problems(tmp_path / "train.jsonl"))))
    out = tmp_path / "out"
    assert main(["train-reasoner", str(recipe), override, "--out", str(out)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    if override != "device=cuda":
        assert main(["train-reasoner", str(recipe), override, "--out", str(out), "--dry-run"]) == 2
