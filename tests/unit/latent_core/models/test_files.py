"""The files of a checkpoint, as the hub gives them."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects

from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.checkpoint import RewardCheckpoint
from latent_core.selection.calibration import ANSWER_CALIBRATION_FILE, CALIBRATION_FILE, VoteCalibration


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose folders are what the hub has; a download leaves out what was not asked for."""

    def download(hub_id: str, allow_patterns: list[str], **_: Any) -> str:
        repository, copy = tmp_path / "hub" / hub_id, tmp_path / "cache" / hub_id
        names = [str(file.relative_to(repository)) for file in repository.rglob("*") if file.is_file()]
        copy.mkdir(parents=True, exist_ok=True)
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            shutil.copy(repository / name, copy / name)
        return str(copy)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return tmp_path / "hub"


def test_a_reasoner_comes_without_what_nobody_reads(hub: Path, tiny_checkpoint: Path) -> None:
    shutil.copytree(tiny_checkpoint, hub / "owner" / "reasoner")
    (hub / "owner" / "reasoner" / "pytorch_model.bin").write_bytes(b"x")
    found = Checkpoint.open("owner/reasoner")
    assert found.fingerprint == Checkpoint.open(str(tiny_checkpoint)).fingerprint
    assert not (found.directory / "pytorch_model.bin").exists()


def test_a_latent_rm_comes_with_all_it_says_about_itself(hub: Path, tiny_reward_checkpoint: Path) -> None:
    """Without its card it would pass for one that reads no answers, without calibrations for one that has none."""
    repository = hub / "owner" / "rm"
    shutil.copytree(tiny_reward_checkpoint, repository)
    for name in (CALIBRATION_FILE, ANSWER_CALIBRATION_FILE):
        (repository / name).write_text(VoteCalibration(temperature=0.5).model_dump_json())
    found, local = RewardCheckpoint.open("owner/rm"), RewardCheckpoint.open(str(tiny_reward_checkpoint))
    assert found.card == local.card
    assert found.card.score_answer
    assert found.fingerprint == local.fingerprint
    assert all((found.directory / name).is_file() for name in (CALIBRATION_FILE, ANSWER_CALIBRATION_FILE))
