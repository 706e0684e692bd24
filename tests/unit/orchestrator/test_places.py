"""Places that cannot be written, and what gives access to one: a line before anything starts, and no secrets."""

import json
from pathlib import Path

import pytest
import ray
from support import fill, make_read_only, small_disk

from orchestrator.cli import latentswarm, main
from orchestrator.config.loading import load_config, save_config
from orchestrator.config.run import RunConfig
from orchestrator.files import write_json


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> Path:
    """A folder with a configuration of the tiny checkpoint."""
    questions = [{"question": "ann has 3 pens ?", "answer": "3"}] * 3
    (tmp_path / "good.json").write_text(json.dumps(questions))
    (tmp_path / "config.yaml").write_text(
        f"checkpoint: {tiny_checkpoint}\ntask: {{path: good.json}}\nbudgets: [1, 4]\n"
        "sampler: {kind: gaussian, sigma: 0.4}\n"
        "sweep: {space: [{sampler.kind: gaussian, sampler.sigma: [0.4, 0.8]}]}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_disk_that_is_full_when_results_are_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)

        def report(**options: object) -> None:
            write_json(disk / "summary.json", ["long"] * 10000)

        monkeypatch.setattr(latentswarm.commands["report"], "callback", report)
        assert main(["report", "run"]) == 1
    error = (
        f"latentswarm: {disk}/summary.json: No space left on device; the same command goes on once it can be written"
    )
    assert capsys.readouterr().err == f"{error}\n"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_where_tune_keeps_its_state_is_refused(
    here: Path, dry_run: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "out").mkdir()
    (here / "out" / "tune").touch()
    assert main(["sweep", "config.yaml", "--out", "out", *(["--dry-run"] * dry_run)]) == 2
    assert capsys.readouterr().err.startswith("latentswarm: --out out: tune is a file there, and Ray Tune needs a")


def test_a_read_only_store_is_refused_before_a_cluster_is_started(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        make_read_only(disk)
        assert main(["run", "config.yaml", "--out", "out", f"store.path={disk}"]) == 2
    assert not ray.is_initialized()
    assert f"store.path {disk}: cannot be written: " in (said := capsys.readouterr().err)
    assert "Read-only file system" in said.splitlines()[-1]


def test_a_read_only_run_directory_is_refused_before_a_cluster_is_started(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        make_read_only(disk)
        assert main(["run", "config.yaml", "--out", str(disk / "out")]) == 2
    assert not ray.is_initialized()
    assert capsys.readouterr().err.startswith(f"latentswarm: --out {disk}/out: cannot be written: ")


def test_what_gives_access_to_a_store_is_neither_shown_nor_written_down(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"file://{here}/store?secret_key=hidden"
    assert main(["run", "config.yaml", "--dry-run", f"store.path={place}"]) == 0
    captured = capsys.readouterr()
    assert "hidden" not in captured.out + captured.err
    assert f"store       file://{here}/store?secret_key=***" in captured.err
    save_config(load_config(RunConfig, "config.yaml", [f"store.path={place}"]), here / "resolved.yaml")
    assert "hidden" not in (here / "resolved.yaml").read_text()
