"""Places of stores: real disks that are full or read-only, what cannot be reached, and what is shown of URIs."""

from pathlib import Path

import pyarrow as pa
import pytest
from support import fill, make_read_only, small_disk, trajectory_table

from latent_core.errors import UserError
from latent_core.trajectory import Trajectory
from orchestrator.store.labels import LabelManifest, ReasonerIdentity, label_files
from orchestrator.store.places import check_writable, filesystem_of, joined, name_of
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore

SPEC = TrajectorySpec("checkpoint", "task", {"kind": "gaussian", "sigma": 0.4}, 6, 32, 0, "float32")
SHARD = Shard(0, 1, 0, 64)


def table() -> pa.Table:
    rows = [
        Trajectory("q", sample, f"### {sample}", str(sample), True, 2, 4, (1, sample), None, 1.0, 2.0, 0.5)
        for sample in range(64)
    ]
    return trajectory_table(rows, 0, 64)


def test_a_full_disk_is_named_leaves_nothing_behind_and_takes_the_shard_once_it_has_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = TrajectoryStore(str(disk / "store"), SPEC)
        store.prepare()
        filler = fill(disk)
        with pytest.raises(UserError, match=f"^store.path {disk}/store: cannot be written: .*No space left") as caught:
            store.write(SHARD, table())
        assert "\n" not in str(caught.value)
        assert [file.name for file in Path(store.directory).iterdir()] == ["spec.json"]
        filler.unlink()
        store.write(SHARD, table())
        assert len(store.read(1, 64)) == 64


def test_a_full_disk_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "store").mkdir()
        fill(disk)
        with pytest.raises(UserError, match="No space left"):
            check_writable(str(disk / "store"))
        assert list((disk / "store").iterdir()) == []


def test_a_read_only_store_is_refused_before_anything_is_computed_though_its_folders_are_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        TrajectoryStore(str(disk), SPEC).prepare()
        make_read_only(disk)
        with pytest.raises(UserError, match=f"^store.path {disk}: cannot be written: .*Read-only file system"):
            check_writable(str(disk))


def test_a_file_where_the_store_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(UserError, match=r"store.path .*store: cannot be written: "):
        check_writable(str(tmp_path / "store"))


def test_a_store_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(str(tmp_path / "store"))
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("uri", ["abfss://container/x", "az://container/x", "hdfs://nowhere/x", "foo://bar"])
def test_a_place_that_nothing_here_knows_is_one_line_with_what_is_known(uri: str) -> None:
    with pytest.raises(UserError, match=f"^store.path {uri}: cannot be reached: .*name a directory") as caught:
        filesystem_of(uri)
    assert "\n" not in str(caught.value)


def test_a_part_that_pyarrow_was_built_without_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lacking:
        """What other builds of pyarrow answer."""

        @staticmethod
        def from_uri(uri: str) -> None:
            raise pa.ArrowNotImplementedError("Got S3 URI but Arrow compiled without S3 support")

    monkeypatch.setattr("pyarrow.fs.FileSystem", Lacking)
    with pytest.raises(UserError, match=r"^store.path s3://\*\*\*@bucket: cannot be reached: .*without S3 support"):
        filesystem_of("s3://key:secret@bucket")


def test_what_gives_access_is_not_shown_where_a_place_cannot_be_reached() -> None:
    with pytest.raises(UserError) as caught:
        filesystem_of("foo://key:hidden@bucket/x?secret_key=hidden&region=r")
    assert "hidden" not in str(caught.value)
    assert str(caught.value).startswith("store.path foo://***@bucket/x?secret_key=***&region=r: ")


def test_a_place_below_another_one() -> None:
    assert joined("/store/", "name") == "/store/name"
    assert joined("s3://bucket/store", "name") == "s3://bucket/store/name"
    assert joined("s3://bucket/store?region=r", "name") == "s3://bucket/store/name?region=r"


def test_a_store_shows_its_place_and_keeps_what_gives_access(tmp_path: Path) -> None:
    store = TrajectoryStore("s3://key:hidden@bucket/store?region=r", SPEC)
    assert store.place == f"s3://***@bucket/store/{store.name}?region=r"
    assert store.root == "s3://key:hidden@bucket/store?region=r"
    local = TrajectoryStore(str(tmp_path), SPEC)
    assert local.place == local.directory


def test_a_place_that_was_written_down_without_its_password_is_read_with_what_the_environment_gives(
    tmp_path: Path,
) -> None:
    store = TrajectoryStore(f"file://{tmp_path}/store", SPEC)
    store.prepare()
    assert filesystem_of(f"file://***@{tmp_path}/store?secret_key=***")[1] == f"{tmp_path}/store"


def test_labels_are_found_in_a_place_with_options(tmp_path: Path) -> None:
    (tmp_path / SHARD.file_name()).touch()
    manifest = LabelManifest(
        directory=f"file://{tmp_path}",
        reasoner=ReasonerIdentity(source="checkpoint", fingerprint="f"),
        task="task",
        candidates=64,
        rollouts=1,
        latent_steps=1,
        hidden_size=1,
        questions=1,
        mixed_questions=0,
        sampler={},
        answer_tokens=1,
    )
    assert label_files(manifest) == [f"file://{tmp_path}/{SHARD.file_name()}"]
    assert name_of(f"s3://bucket/set/{SHARD.file_name()}?region=r") == SHARD.file_name()
    assert name_of("/a/b?c") == "b?c"
