"""Each directory says which command made it: others leave it alone, and `status` says what it is and how far."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from orchestrator.cli import main
from orchestrator.experiment.lease import Lease
from orchestrator.experiment.run_directory import directory_kind, write_group_file, write_run_file, write_work_file
from orchestrator.store.folder import ShardFolder
from orchestrator.store.shards import Shard

MAKERS = {
    "run": lambda out: write_run_file(out, "run", "who", 1, []),
    "sweep": lambda out: write_run_file(out, "sweep", "who", 1, []),
    "sweep group": lambda out: write_group_file(out, {"a": "a"}),
    "annotate": lambda out: write_work_file(out, "annotate", {"questions": 2, "candidates": 4, "labels": "labels-x"}),
    "train-rm": lambda out: write_work_file(out, "train-rm", {"updates": 40}),
    "train-policy": lambda out: write_work_file(out, "train-policy", {"updates": 40}),
    "train-reasoner": lambda out: (out / "training.json").write_text("{}"),
}


def made_by(kind: str, out: Path) -> Path:
    out.mkdir(parents=True)
    (out / "config.yaml").write_text("store: {path: store}\n")
    MAKERS[kind](out)
    return out


def files(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in out.iterdir()}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_is_known_by_its_directory(kind: str, tmp_path: Path) -> None:
    assert directory_kind(made_by(kind, tmp_path / "out")) == kind


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (kind, command)
        for kind in MAKERS
        for command in ("run", "sweep", "annotate", "train-rm", "train-policy", "train-reasoner")
        if kind != command and {kind, command} != {"run", "sweep"}
    ],
)
def test_a_command_leaves_what_another_kind_has_made_as_it_was(
    kind: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = made_by(kind, tmp_path / "out")
    before = files(out)
    config = tmp_path / "config.yaml"
    small = {"checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems"}, "sampler": {"kind": "none"}}
    config.write_text(yaml.safe_dump(small))
    assert main([command, str(config), "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"latentswarm: --out {out}: holds ")
    assert said.endswith("choose another directory")
    assert "\n" not in said
    assert files(out) == before


def test_directories_of_commands_that_did_not_say_are_told_by_their_files(tmp_path: Path) -> None:
    for file, kind in (("labels.json", "annotate"), ("plan.json", "train-rm"), ("training.json", "train-reasoner")):
        out = tmp_path / kind
        out.mkdir()
        (out / file).write_text("{}")
        assert directory_kind(out) == kind
    # A finished training of a LatentRM has both.
    (tmp_path / "train-rm" / "training.json").write_text("{}")
    assert directory_kind(tmp_path / "train-rm") == "train-rm"
    assert directory_kind(tmp_path) is None


def test_status_of_a_labelled_set_counts_what_is_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = made_by("annotate", tmp_path / "out")
    assert main(["status", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] is None
    store = ShardFolder("store", "labels-x", {})
    store.prepare()
    store.write(Shard(0, 1, 0, 4), pa.table({"question_index": [0] * 4, "sample_index": [0, 1, 2, 3]}))
    assert main(["status", str(out)]) == 0
    said = capsys.readouterr().out
    assert "annotate" in said
    assert "4 of 8 labelled candidates" in said
    assert "unfinished; the same command goes on" in said
    with Lease(out, "annotate"):
        assert main(["status", str(out), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["running"].startswith("process ")


@pytest.mark.parametrize(("kind", "summary"), [("train-rm", "training.json"), ("train-policy", "summary.json")])
def test_status_of_a_training_counts_updates(
    kind: str, summary: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = made_by(kind, tmp_path / "out")
    (out / "history.json").write_text(json.dumps([{"update": 10}, {"update": 20}]))
    assert main(["status", str(out)]) == 0
    assert "20 of 40 updates" in capsys.readouterr().out
    (out / summary).write_text("{}")
    assert main(["status", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "finished"


@pytest.mark.parametrize("kind", ["annotate", "train-rm"])
def test_report_says_what_a_directory_is(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = made_by(kind, tmp_path / "out")
    assert main(["report", str(out)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"as `{kind}` makes it, and neither a run nor a sweep" in said


def test_report_of_an_unfinished_policy_says_who_tells_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = made_by("train-policy", tmp_path / "out")
    assert main(["report", str(out)]) == 2
    assert f"unfinished training of a policy; `latentswarm status {out}`" in " ".join(capsys.readouterr().err.split())


def test_status_tells_running_from_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = made_by("annotate", tmp_path / "out")
    with Lease(out, "annotate"):
        assert main(["status", str(out)]) == 0
        assert "running (process " in capsys.readouterr().out
    assert main(["status", str(out)]) == 0
    assert "running (process" not in capsys.readouterr().out
