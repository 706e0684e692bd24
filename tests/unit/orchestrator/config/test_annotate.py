"""The configuration of annotation: strict, and the run that samples the same candidates."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from latent_core.errors import UserError
from orchestrator.config.annotate import AnnotateConfig
from orchestrator.config.loading import load_config

MINIMAL: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "split": "train", "count": 32},
    "sampler": {"kind": "gaussian", "sigma": 0.5, "relative": True},
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "annotate.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return str(path)


def test_defaults_and_overrides(file: str) -> None:
    config = load_config(AnnotateConfig, file, ["candidates=4", "store.path=elsewhere"])
    assert (config.candidates, config.rollouts, config.store.path) == (4, 8, "elsewhere")
    assert config.store.latents == "float16"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["candidates=1"], "candidates: input should be greater than or equal to 2 (got 1)"),
        (["rollouts=-1"], "rollouts: input should be greater than or equal to 0 (got -1)"),
        (["sampler.kind=none"], "sampler: with 'none' all candidates are the same; use one that samples"),
        (["sampler.sigma=0"], "sampler: with 'gaussian sigma=0.0 relative' all candidates are the same"),
        (["sampler.kind=gausian"], "unknown sampler 'gausian': did you mean 'gaussian'?"),
        (["rollout=3"], "unknown key 'rollout': did you mean 'rollouts'?"),
        (["budgets=[4]"], "unknown key 'budgets'"),
        (["store.latents=float32"], "store.latents: input should be 'float16'"),
        (["checkpoint="], "checkpoint: input should be a valid string"),
    ],
)
def test_what_is_wrong_is_named(file: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(AnnotateConfig, file, overrides)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_run_samples_the_same_candidates(file: str) -> None:
    overrides = ["seed=3", "dtype=bfloat16", "latent_steps=2", "answer_tokens=5", "candidates=6", "actors=2"]
    config = load_config(AnnotateConfig, file, overrides)
    run = config.as_run()
    assert run.sampler == config.sampler
    assert run.samples == 6
    assert (run.seed, run.dtype, run.latent_steps, run.answer_tokens, run.actors) == (3, "bfloat16", 2, 5, 2)
    assert run.task == config.task
    assert (run.store.path, run.store.latents) == (config.store.path, "float16")
    assert run.scorer.checkpoint is None


def test_a_resolved_configuration_reads_back_the_same(file: str, tmp_path: Path) -> None:
    config = load_config(AnnotateConfig, file, ["sampler.kind=mc_dropout", "sampler.p=0.2"])
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    again = load_config(AnnotateConfig, tmp_path / "resolved.yaml")
    assert again == config
    assert isinstance(again, AnnotateConfig)
