from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer, GPT2LMHeadModel

from latent_core.models.checkpoint import Checkpoint
from latent_core.training.from_nothing import any_right_loss
from latent_core.training.settings import ArchitectureSettings, ReasonerTrainingSettings, StageSettings
from latent_core.training.trainer import learning_rate, train_reasoner

ROOT = Path(__file__).parents[4]
BUNDLED = {"train_tiny": "coconut-tiny", "train_paths": "coconut-paths"}
"""Which recipe made which checkpoint."""

Reports = list[dict[str, float | int | str]]


@pytest.fixture(scope="module", params=list(BUNDLED))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recipe(name: str) -> ReasonerTrainingSettings:
    return ReasonerTrainingSettings.model_validate(yaml.safe_load((ROOT / f"tune_configs/{name}.yaml").read_text()))


def scaled_down(recipe: ReasonerTrainingSettings, updates: int) -> ReasonerTrainingSettings:
    """The recipe with a small model and few updates per stage."""
    stages = [
        {**stage.model_dump(), "updates": updates, "warmup_updates": 5, "final_learning_rate": stage.learning_rate}
        for stage in recipe.stages
    ]
    changes = {
        "architecture": ArchitectureSettings(width=64, layers=1, heads=2).model_dump(),
        "stages": stages,
        "batch_size": 16,
        "threads": 1,
        "report_every": 1,
        "evaluate_every": updates,
        "evaluation_problems": 40,
    }
    return ReasonerTrainingSettings.model_validate({**recipe.model_dump(), **changes})


def mean(reports: Reports, stage: str, part: slice) -> float:
    losses = [
        float(report["answer_loss"]) for report in reports if report["stage"] == stage and "answer_loss" in report
    ]
    return sum(losses[part]) / len(losses[part])


def test_a_short_run_of_the_recipe_lowers_the_loss_and_saves_what_it_trained(
    recipe: ReasonerTrainingSettings, tmp_path: Path
) -> None:
    reports: Reports = []
    metrics = train_reasoner(scaled_down(recipe, updates=40), tmp_path / "checkpoint", reports.append)
    assert metrics["updates"] == 40 * len(recipe.stages)
    assert 0 <= metrics["greedy_accuracy"] <= 1
    first = recipe.stages[0].name
    assert mean(reports, first, slice(-10, None)) < 0.7 * mean(reports, first, slice(10))
    assert mean(reports, recipe.stages[-1].name, slice(-10, None)) < mean(reports, first, slice(10))

    model = GPT2LMHeadModel.from_pretrained(tmp_path / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
    config = AutoConfig.from_pretrained(tmp_path / "checkpoint")
    assert config.architectures == ["COCONUTGPT2"]
    assert model.lm_head.weight is model.transformer.wte.weight
    assert len(tokenizer) == config.vocab_size
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_the_same_seed_gives_the_same_weights(recipe: ReasonerTrainingSettings, tmp_path: Path) -> None:
    settings = scaled_down(recipe, updates=3)
    threads = torch.get_num_threads()
    runs = []
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        train_reasoner(settings.model_copy(update={"seed": seed}), tmp_path / name, lambda _: None)
        runs.append((tmp_path / name / "model.safetensors").read_bytes())
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert torch.get_num_threads() == threads


def test_the_learning_rate_warms_up_and_falls_to_its_final_value() -> None:
    stage = StageSettings(
        name="x", thoughts="latent", updates=101, learning_rate=0.01, final_learning_rate=0.001, warmup_updates=10
    )
    rates = [learning_rate(stage, update) for update in range(stage.updates)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[9:11] == pytest.approx([0.01, 0.01])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.001, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {"typo": 1},
        {"latent_steps": 3},
        {"latent_steps": 33},
        {"family": "riddles"},
        {"stages": []},
        {"architecture": {"width": 100, "heads": 3}},
        {"architecture": {"width": 20, "heads": 2}},
        {"architecture": {"number_periods": [0]}},
    ],
)
def test_a_wrong_recipe_is_refused(recipe: ReasonerTrainingSettings, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ReasonerTrainingSettings.model_validate({**recipe.model_dump(), **change})


def test_written_thoughts_cannot_be_disturbed() -> None:
    with pytest.raises(ValidationError, match="no meaning"):
        StageSettings(
            name="x", thoughts="written", updates=1, learning_rate=0.1, final_learning_rate=0.1, latent_noise=0.1
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thoughts": "latent", "detours": 0.1}, "no meaning"),
        ({"thoughts": "latent", "latent_noise": 0.5, "least_latent_noise": 0.6}, "least_latent_noise is larger"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    stage = {"name": "x", "updates": 1, "learning_rate": 0.1, "final_learning_rate": 0.1}
    with pytest.raises(ValidationError, match=message):
        StageSettings.model_validate({**stage, **change})


def test_any_right_token_will_do() -> None:
    logits = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    right = torch.tensor([[[True, True, False], [False, False, False]]])
    chances = logits[0, 0].softmax(0)
    # The second step has no right token and counts as no loss.
    assert any_right_loss(logits, right).item() == pytest.approx(-float((chances[0] + chances[1]).log()) / 2, abs=1e-6)
    logits.requires_grad_()
    any_right_loss(logits, right).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_the_bundled_checkpoint_is_one_that_the_recipe_makes(recipe: ReasonerTrainingSettings, name: str) -> None:
    bundled = ROOT / "latent_core" / "bundled" / BUNDLED[name]
    config = AutoConfig.from_pretrained(bundled)
    assert Checkpoint.open(str(bundled)).latent_steps == recipe.latent_steps
    assert config.architectures == ["COCONUTGPT2"]
    assert (config.n_embd, config.n_layer) == (recipe.architecture.width, recipe.architecture.layers)
    tokenizer = AutoTokenizer.from_pretrained(bundled)
    special = ["<|start-latent|>", "<|end-latent|>", "<|latent|>"]
    ids = [config.latent_start_id, config.latent_end_id, config.latent_id]
    assert tokenizer.convert_tokens_to_ids(special) == ids
    assert sum(path.stat().st_size for path in bundled.iterdir()) < 4_000_000


WEIGHTS = {"train_tiny": 4433.760442748692, "train_paths": 3246.491548160576}
"""Sums of the absolute weights after six updates a stage, as trained before there were other ways to start."""


def test_the_recipes_of_the_bundled_reasoners_still_give_these_weights(
    recipe: ReasonerTrainingSettings, name: str, tmp_path: Path
) -> None:
    train_reasoner(scaled_down(recipe, updates=6), tmp_path, lambda _: None)
    weights = load_file(tmp_path / "model.safetensors").values()
    assert sum(float(one.double().abs().sum()) for one in weights) == pytest.approx(WEIGHTS[name], rel=1e-6)


def test_the_bundled_recipes_can_be_killed_too(recipe: ReasonerTrainingSettings, tmp_path: Path) -> None:
    settings = scaled_down(recipe, updates=4).model_copy(update={"save_every": 3})

    def kill(report: dict[str, float | int | str]) -> None:
        if report["update"] == 5:
            raise InterruptedError

    train_reasoner(settings, tmp_path / "whole", lambda _: None)
    with pytest.raises(InterruptedError):
        train_reasoner(settings, tmp_path / "killed", kill)
    train_reasoner(settings, tmp_path / "killed", lambda _: None)
    first, again = ((tmp_path / one / "model.safetensors").read_bytes() for one in ("whole", "killed"))
    assert first == again
