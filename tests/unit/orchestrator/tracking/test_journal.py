"""The journal outlives its writer and knows what it has."""

import json
from pathlib import Path

import pytest

from orchestrator.tracking.journal import JOURNAL_FILE, Journal

NAN = float("nan")


def filled(folder: Path) -> Journal:
    journal = Journal(folder, "one")
    journal.append("start", "a", name="a", params={}, tags={}, parent=None)
    journal.append_metrics("a", [("coverage", 0.5, 1), ("coverage", NAN, 2)])
    return journal


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    first = filled(tmp_path)
    second = Journal(tmp_path, "one")
    assert not first.resumed
    assert second.resumed
    assert second.id == first.id
    assert [second[index] for index in range(len(second))] == [first[index] for index in range(len(first))]
    assert (second.has_run("a"), second.has_run("b"), second.runs()) == (True, False, ["a"])
    assert second.last_step("a", "coverage") == 1
    assert second.last_step("a", "other") == 0


def test_a_metric_has_one_value_at_a_step(tmp_path: Path) -> None:
    filled(tmp_path)
    journal = Journal(tmp_path, "one")
    before = len(journal)
    journal.append_metrics("a", [("coverage", 0.75, 1)])
    assert len(journal) == before
    journal.append_metrics("a", [("coverage", 0.5, 1), ("coverage", 0.75, 4)])
    assert journal[len(journal) - 1].content["points"] == [["coverage", 0.75, 4]]
    # Another run has steps of its own.
    journal.append_metrics("b", [("coverage", 0.5, 1)])
    assert journal[len(journal) - 1].run == "b"


@pytest.mark.parametrize("torn", [b'{"kind": "metr', b"{"], ids=["long", "short"])
def test_a_line_that_was_being_written_is_dropped(tmp_path: Path, torn: bytes) -> None:
    journal = filled(tmp_path)
    with journal.file.open("ab") as file:
        file.write(torn)
    again = Journal(tmp_path, "one")
    assert len(again) == len(journal)
    again.append("end", "a", status="FINISHED")
    assert len(Journal(tmp_path, "one")) == len(journal) + 1


@pytest.mark.parametrize(
    "broken", [b"{", b"\x00\xff", b"[]", b'{"kind": "new", "run": "a", "time": 0}', b'{"kind": 1}'], ids=str
)
def test_a_broken_line_in_the_middle_costs_that_line(tmp_path: Path, broken: bytes) -> None:
    journal, said = filled(tmp_path), list[str]()
    journal.append("end", "a", status="FINISHED")
    lines = journal.file.read_bytes().split(b"\n")
    journal.file.write_bytes(b"\n".join([*lines[:2], broken, *lines[3:]]))
    again = Journal(tmp_path, "one", said.append)
    # Its place is kept: what has been sent is counted by places.
    assert [again[index].kind for index in range(len(again))] == ["start", "lost", "end"]
    assert (again.id, again.runs(), again.is_open("a")) == (journal.id, ["a"], False)
    assert said == [f"tracking: 1 of 3 records in {again.file} cannot be read and are left out"]
    # Its values can be written down anew.
    again.append_metrics("a", [("coverage", 0.5, 1)])
    assert again[3].kind == "metrics"


def test_a_journal_whose_first_line_is_broken_is_kept_and_begun_anew(tmp_path: Path) -> None:
    journal, said = filled(tmp_path), list[str]()
    journal.file.write_bytes(b"{" + journal.file.read_bytes())
    again = Journal(tmp_path, "one", said.append)
    assert (len(again), again.resumed, len(said)) == (0, False, 1)
    assert (tmp_path / "tracking-1.jsonl").is_file()


def test_a_final_value_replaces_another_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "one")
    journal.append("start", "a", name="a", params={}, tags={}, parent=None)
    journal.append_metrics("a", [("coverage", 0.5, 4)])
    journal.append_metrics("a", [("coverage", 0.75, 4)])
    assert journal.history("a", "coverage") == [(4, 0.5)]
    journal.append_metrics("a", [("coverage", 0.75, 4), ("other", 0.1, 4)], final=True)
    journal.append_metrics("a", [("coverage", 0.75, 4), ("other", 0.1, 4)], final=True)
    again = Journal(tmp_path, "one")
    assert len(again) == 3
    assert again.history("a", "coverage") == [(4, 0.75)]


def test_another_configuration_begins_anew_and_the_old_journal_is_kept(tmp_path: Path) -> None:
    ids = [Journal(tmp_path, configuration).id for configuration in ("one", "two", "two", "three")]
    assert ids[1] == ids[2]
    assert len(set(ids)) == 3
    kept = [json.loads(tmp_path.joinpath(f"tracking-{number}.jsonl").read_text().splitlines()[0]) for number in (1, 2)]
    assert [header["configuration"] for header in kept] == ["one", "two"]
    assert (tmp_path / JOURNAL_FILE).is_file()


def test_a_run_is_open_until_it_ends_and_again_when_it_is_resumed(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    states = [journal.is_open("b"), journal.is_open("a")]
    for kind in ("end", "resume"):
        journal.append(kind, "a")  # type: ignore[arg-type]
        states.append(journal.is_open("a"))
    assert states == [False, True, False, True]
