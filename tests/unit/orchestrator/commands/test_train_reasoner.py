"""Training recipes as the command line reads them; training itself is tested beside the trainer."""

from pathlib import Path

import pytest

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
    ("file", "family", "latent_steps"), [("train_tiny", "word_problems", 6), ("train_paths", "path_finding", 4)]
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
