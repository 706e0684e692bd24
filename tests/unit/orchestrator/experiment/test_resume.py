"""Going on with a run directory."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from latent_core.errors import UserError
from orchestrator.config.loading import parse_config, save_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.fingerprint import check_resume

CONTENT: dict[str, Any] = {
    "checkpoint": "bundled:coconut-tiny",
    "task": {"name": "word_problems", "limit": 4},
    "sampler": {"kind": "gaussian", "sigma": 0.5},
    "sweep": {"space": [{"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.2]}]},
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    save_config(parse_config(RunConfig, CONTENT), tmp_path / "config.yaml")
    return tmp_path


@pytest.mark.parametrize("changes", [{}, {"actors": 8}, {"micro_batch": 1}, {"tracking": {"experiment": "x"}}], ids=str)
def test_the_same_experiment(out: Path, changes: dict[str, Any]) -> None:
    check_resume(out, parse_config(RunConfig, {**CONTENT, **changes}))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"sweep": {"space": [{"sampler.kind": "gaussian", "sampler.sigma": [0.1, 0.3]}]}}, "sweep.space"),
        ({"sweep": {**CONTENT["sweep"], "scheduler": "asha"}}, "sweep.scheduler"),
        ({"sampler": {"kind": "gaussian", "sigma": 0.6}}, "sampler.sigma"),
        ({"sampler": {"kind": "mc_dropout", "p": 0.1}}, "sampler.kind"),
        ({"task": {"name": "word_problems", "limit": 5}}, "task.limit"),
        ({"seed": 1}, "seed"),
    ],
)
def test_another_experiment(out: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as caught:
        check_resume(out, parse_config(RunConfig, {**CONTENT, **changes}))
    assert str(caught.value).startswith(f"--resume {out}: it was begun with another {key}, and its curves")
    assert "\n" not in str(caught.value)


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.yaml there"):
        check_resume(tmp_path / "nowhere", parse_config(RunConfig, CONTENT))


def test_a_search_of_an_older_version_was_begun_with_pruning_at_once(out: Path) -> None:
    content = {**CONTENT, "search": {"kind": "beam"}}
    raw = yaml.safe_load((out / "config.yaml").read_text())
    del raw["search"]["prune_from"], raw["search"]["temperature"]
    # Where there was no search, there is nothing that could have changed.
    (out / "config.yaml").write_text(yaml.safe_dump(raw))
    check_resume(out, parse_config(RunConfig, CONTENT))
    raw["search"]["kind"] = "beam"
    (out / "config.yaml").write_text(yaml.safe_dump(raw))
    check_resume(out, parse_config(RunConfig, {**content, "search": {"kind": "beam", "prune_from": 1}}))
    with pytest.raises(UserError, match=r"begun with another search\.prune_from"):
        check_resume(out, parse_config(RunConfig, content))


def test_a_run_of_an_older_version_was_begun_with_votes_of_cut_answers(out: Path) -> None:
    raw = yaml.safe_load((out / "config.yaml").read_text())
    del raw["task"]["cut_answers"]
    (out / "config.yaml").write_text(yaml.safe_dump(raw))
    check_resume(out, parse_config(RunConfig, {**CONTENT, "task": {**CONTENT["task"], "cut_answers": "vote"}}))
    with pytest.raises(UserError, match=r"begun with another task\.cut_answers"):
        check_resume(out, parse_config(RunConfig, CONTENT))
