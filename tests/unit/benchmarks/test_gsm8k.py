"""The measurement on real benchmarks, end to end on a bundled reasoner: parts are kept, and the report is of them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import benchmarks.gsm8k as benchmark
from benchmarks.gsm8k_parts import Parts, read_parts
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task

ROOT = Path(__file__).parents[3]
QUESTIONS, SAMPLES = 6, 4


def write_task(file: Path, problems: "list[Problem]") -> Path:
    file.write_text(json.dumps([{"question": one.question, "answer": one.answer} for one in problems]))
    return file


def test_a_measurement_is_made_in_parts_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reasoner = tmp_path / "reasoner"
    shutil.copytree(ROOT / "latent_core" / "bundled" / "coconut-tiny", reasoner)
    problems = list(load_task(name="word_problems").problems)
    task = write_task(tmp_path / "words.json", problems[:QUESTIONS])
    train = write_task(tmp_path / "train.json", problems[100:124])
    settings = tuple(one for one in benchmark.SETTINGS if one.get("p") == 0.1 or one["kind"] == "answer_sampling")[:2]
    monkeypatch.setattr(benchmark, "SETTINGS", settings)
    words = ["measure", str(reasoner), "--train", str(train), "--tasks", str(task), "--n", str(SAMPLES)]
    words += ["--candidates", "4", "--rollouts", "2", "--label-at-once", "12", "--reward-updates", "2"]

    benchmark.main([*words, "--minutes", "0"])
    assert "the same command goes on" in capsys.readouterr().out
    assert read_parts(reasoner / "parts") == {}
    benchmark.main(words)
    assert "all parts are there" in capsys.readouterr().out
    benchmark.main(words)
    assert capsys.readouterr().out == "all parts are there\n"

    parts = read_parts(reasoner / "parts")
    assert set(parts) == {
        *("words-greedy", "labels-00000", "labels-00012", "latent-rm"),
        *("words-mc_dropout_p=0.1", "words-answer_sampling_temperature=0.5"),
    }
    assert parts["latent-rm"].has_learned
    sampled = parts["words-mc_dropout_p=0.1"]
    outcomes = sampled.outcomes(parts["latent-rm"].calibration)
    assert outcomes.correct.shape == (QUESTIONS, SAMPLES)
    assert outcomes.scores is not None
    assert np.isfinite(outcomes.scores).all()
    assert {one.measure for one in sampled.dynamics} >= {"cosine_distance", "greedy_distance"}

    benchmark.main(["report", str(reasoner)])
    with (reasoner / "curves.csv").open() as source:
        rows = list(csv.DictReader(source))
    coverage = {
        int(row["n"]): float(row["value"])
        for row in rows
        if row["setting"] == "mc_dropout p=0.1" and row["aggregation"] == "coverage"
    }
    assert coverage[SAMPLES] == pytest.approx(outcomes.correct.any(axis=1).mean())
    assert coverage[1] == pytest.approx(outcomes.correct.mean())
    greedy = next(row for row in rows if row["aggregation"] == "greedy")
    assert float(greedy["value"]) == pytest.approx(np.concatenate(parts["words-greedy"].correct).mean())
    assert {row["aggregation"] for row in rows} >= {"greedy", "coverage", "majority_vote", "best_of_n"}
    assert "LatentRM, trained on" in (reasoner / "report.md").read_text()
    assert (reasoner / "curves.png").stat().st_size > 10_000


def test_a_part_that_was_broken_off_is_computed_again(tmp_path: Path) -> None:
    def fail() -> object:
        raise InterruptedError

    parts = Parts(tmp_path, minutes=1)
    with pytest.raises(InterruptedError):
        parts.get("one", fail)
    assert parts.get("one", lambda: 3) == 3
    assert parts.get("one", fail) == 3
