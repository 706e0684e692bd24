"""The labelled set on disk: manifest, shards, columns."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latent_core.errors import UserError
from orchestrator.store.labels import LabelManifest, check_labels, label_files, read_labels
from workers.tables import LABEL_SCHEMA

MANIFEST: dict[str, Any] = {
    "directory": "/somewhere/shards",
    "reasoner": {"source": "bundled:coconut-tiny", "fingerprint": "abc"},
    "task": "word_problems",
    "candidates": 4,
    "rollouts": 2,
    "latent_steps": 6,
    "hidden_size": 128,
    "questions": 10,
    "mixed_questions": 7,
    "sampler": {"kind": "gaussian", "sigma": 0.5},
}


def test_a_manifest_survives_the_disk(tmp_path: Path) -> None:
    manifest = LabelManifest.model_validate(MANIFEST)
    manifest.save(tmp_path)
    assert LabelManifest.load(tmp_path) == manifest
    assert LabelManifest.load(tmp_path / "labels.json") == manifest
    assert [file.name for file in tmp_path.iterdir()] == ["labels.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        (json.dumps({**MANIFEST, "candidate": 3}), "unknown key 'candidate': did you mean 'candidates'"),
        (json.dumps({**MANIFEST, "rollouts": -1}), "rollouts: input should be greater than or equal to 0"),
        ("[]", "input should be a valid dictionary"),
    ],
)
def test_a_damaged_manifest(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError) as caught:
        LabelManifest.load(tmp_path, "validation_data")
    assert message in str(caught.value)
    assert str(caught.value).startswith("validation_data ")
    assert "\n" not in str(caught.value)


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data .*: no labels\.json there; give the directory that .* has written"):
        LabelManifest.load(tmp_path)


def test_shards_are_listed_in_order_and_nothing_else(tmp_path: Path) -> None:
    manifest = LabelManifest.model_validate({**MANIFEST, "directory": str(tmp_path)})
    with pytest.raises(UserError, match="holds no labelled questions"):
        label_files(manifest)
    names = ("q0000010-0000020_s00000-00004.parquet", "q0000000-0000010_s00000-00004.parquet")
    for name in (*names, "spec.json", "q0000020-0000030_s00000-00004.parquet.x.tmp"):
        (tmp_path / name).touch()
    assert label_files(manifest) == [f"{tmp_path}/{name}" for name in reversed(names)]


def test_columns_are_checked(tmp_path: Path) -> None:
    good = LABEL_SCHEMA.empty_table()
    pq.write_table(good, tmp_path / "good.parquet")
    assert read_labels(str(tmp_path / "good.parquet")).schema.names == LABEL_SCHEMA.names
    assert read_labels(str(tmp_path / "good.parquet"), ["correct"]).schema.names == ["correct"]
    further = good.append_column("flops", pa.array([], pa.float64()))
    check_labels(further.schema, "x")
    with pytest.raises(UserError, match="x: column 'labels' is missing"):
        check_labels(good.drop_columns(["labels"]).schema, "x")
    other = good.set_column(good.schema.get_field_index("correct"), "correct", pa.array([], pa.int8()))
    with pytest.raises(UserError, match="column 'correct' is of type int8, expected bool"):
        check_labels(other.schema, "x")


def test_a_damaged_shard(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"data .*bad\.parquet: cannot be read"):
        read_labels(str(tmp_path / "bad.parquet"))
