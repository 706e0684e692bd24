"""Which code decides the trajectories of a setting, and the scores of a LatentRM."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from latent_core.kinds import scorer_extras, trajectory_extras
from latent_core.models.backbones import BACKBONES, Backbone
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.feedback.identity import Identity
from latent_core.models.formats import FORMATS
from latent_core.reward.checkpoint import RewardCheckpoint
from latent_core.samplers import parse_sampler
from latent_core.samplers.gaussian import GaussianNoise
from latent_core.shipped import SOURCES

GAUSSIAN = parse_sampler({"kind": "gaussian", "sigma": 0.4})
DROPOUT = parse_sampler({"kind": "mc_dropout", "p": 0.2})
WEIGHTS = parse_sampler({"kind": "singular_value", "alpha": 0.2})


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(str(tiny_checkpoint))


def edited(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(SOURCES, module, "0" * 16)  # type: ignore[arg-type]


def parts(extras: Mapping[str, Any]) -> dict[str, set[str]]:
    return {part: set(said) for part, said in extras.get("code", {}).items()}


@pytest.mark.parametrize("kind", ["gaussian", "mc_dropout", "singular_value", "none", "answer_sampling"])
def test_nothing_is_said_of_what_was_shipped(checkpoint: Checkpoint, kind: str) -> None:
    """Whatever stores hold keeps its name."""
    needed = {"gaussian": {"sigma": 0.4}, "mc_dropout": {"p": 0.2}, "singular_value": {"alpha": 0.2}}.get(kind, {})
    assert trajectory_extras(checkpoint, BACKBONES["gpt2"], parse_sampler({"kind": kind, **needed})) == {}


def test_the_version_of_every_kind_counts(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GaussianNoise, "version", 2)
    monkeypatch.setattr(Identity, "version", 3)
    monkeypatch.setitem(FORMATS._versions, "COCONUTGPT2", 4)
    assert trajectory_extras(checkpoint, BACKBONES["gpt2"], GAUSSIAN) == {
        "code": {"sampler": {"version": 2}, "feedback": {"version": 3}, "format": {"version": 4}}
    }


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("latent_core.samplers.gaussian", "sampler"),
        ("latent_core.models.feedback.identity", "feedback"),
        ("latent_core.models.formats.coconut", "format"),
    ],
)
def test_edited_source_counts(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, module: str, part: str) -> None:
    edited(monkeypatch, module)
    assert parts(trajectory_extras(checkpoint, BACKBONES["gpt2"], GAUSSIAN)) == {part: {"source"}}


def test_the_layout_counts_for_those_who_act_inside_it(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(monkeypatch, "latent_core.models.backbones.gpt2")
    for sampler, expected in ((GAUSSIAN, {}), (DROPOUT, {"backbone": {"source"}}), (WEIGHTS, {"backbone": {"source"}})):
        assert parts(trajectory_extras(checkpoint, BACKBONES["gpt2"], sampler)) == expected
        assert trajectory_extras(checkpoint, Backbone("unlisted", "h", {}), sampler) == {}


def test_how_answers_are_read_is_said_elsewhere(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formats name extractors: with another one nothing has to be sampled again."""
    edited(monkeypatch, "latent_core.answers.parsing")
    edited(monkeypatch, "latent_core.answers.grading")
    assert trajectory_extras(checkpoint, BACKBONES["gpt2"], DROPOUT) == {}


def test_conventions_of_a_file_are_read_by_what_reads_any(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = tmp_path / "described"
    shutil.copytree(tiny_checkpoint, described)
    (described / "latent.json").write_text(json.dumps({"prompt": "{question}<|start-latent|>"}))
    checkpoint = Checkpoint.open(str(described))
    edited(monkeypatch, "latent_core.models.formats.coconut")
    assert trajectory_extras(checkpoint, BACKBONES["gpt2"], GAUSSIAN) == {}
    monkeypatch.setattr("latent_core.kinds.GENERIC_VERSION", 2)
    assert trajectory_extras(checkpoint, BACKBONES["gpt2"], GAUSSIAN) == {"code": {"format": {"version": 2}}}


def test_a_latent_rm_reads_prompts_as_its_format_writes_them(
    tiny_reward_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = RewardCheckpoint.open(str(tiny_reward_checkpoint))
    assert scorer_extras(reward) == {}
    monkeypatch.setitem(FORMATS._versions, "COCONUTGPT2", 2)
    assert scorer_extras(reward) == {"code": {"format": {"version": 2}}}
