"""How fast is the store, and how long does it take to see what is in it?

    python -m benchmarks.store

Shards of 64 questions x 64 samples are written and read as a run does it, in one process: batches of trajectories
become a table, a Parquet file, a data frame. Then a run is planned that finds most of very many shards in the store;
planning reads names only, so these shards are empty files.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from latent_core.trajectory import Trajectory, TrajectoryBatch
from orchestrator.store.shards import Shard, missing_shards
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from workers.tables import trajectory_table

_QUESTIONS, _SAMPLES = 64, 64
_ANSWER_IDS = tuple(range(1000, 1008))


def make_store(folder: Path, name: str) -> TrajectoryStore:
    """Return an empty store."""
    spec = TrajectorySpec("benchmark", name, {"kind": "gaussian", "sigma": 0.1}, 6, 16, 0, "float32")
    store = TrajectoryStore(str(folder), spec)
    store.prepare()
    return store


def made_up(question: int, sample: int) -> Trajectory:
    """Return a trajectory that differs from others as real ones do."""
    right = (question * 31 + sample * 17) % 3 > 0
    answer = str((question * 7919) % 1000 + (0 if right else sample % 5 + 1))
    return Trajectory(
        question_id=f"gsm8k-{question}",
        sample_index=sample,
        answer_text=f"# {answer}",
        answer=answer,
        correct=right,
        latent_steps=6,
        answer_tokens=len(_ANSWER_IDS),
        answer_ids=_ANSWER_IDS,
        latents=None,
        prompt_flops=1e10 + question,
        flops=4e9,
        seconds=0.01 + sample * 1e-4,
    )


def write_rows(store: TrajectoryStore, shards: int) -> float:
    """Write shards; returns rows per second."""
    blocks = [
        TrajectoryBatch.of(
            made_up(first + question, sample) for question in range(_QUESTIONS) for sample in range(_SAMPLES)
        )
        for first in range(0, shards * _QUESTIONS, _QUESTIONS)
    ]
    started = time.perf_counter()
    for number, trajectories in enumerate(blocks):
        first = number * _QUESTIONS
        table = trajectory_table(trajectories, first, _SAMPLES)
        store.write(Shard(first, first + _QUESTIONS, 0, _SAMPLES), table)
    return shards * _QUESTIONS * _SAMPLES / (time.perf_counter() - started)


def read_rows(store: TrajectoryStore, shards: int) -> float:
    """Read all rows; returns rows per second."""
    started = time.perf_counter()
    rows = store.read(shards * _QUESTIONS, _SAMPLES)
    seconds = time.perf_counter() - started
    assert len(rows) == shards * _QUESTIONS * _SAMPLES
    return len(rows) / seconds


def plan_seconds(store: TrajectoryStore, shards: int, per_question: int) -> tuple[float, int]:
    """Plan a run of which all shards but each hundredth are in the store.

    Returns:
        Seconds, and the number of shards that are to be sampled.
    """
    questions, samples = shards // per_question * _QUESTIONS, per_question * _SAMPLES
    whole = [
        Shard(first, first + _QUESTIONS, start, start + _SAMPLES)
        for first in range(0, questions, _QUESTIONS)
        for start in range(0, samples, _SAMPLES)
    ]
    for number, shard in enumerate(whole):
        if number % 100:
            Path(store.directory, shard.file_name()).touch()
    started = time.perf_counter()
    missing = missing_shards(store.covered(questions, samples), _QUESTIONS, _SAMPLES)
    seconds = time.perf_counter() - started
    assert missing == whole[::100]
    return seconds, len(missing)


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shards", type=int, default=50, help="shards that are written and read")
    parser.add_argument("--planned", type=int, default=100_000, help="shards of the run that is planned")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_store(folder, "rows")
        written = write_rows(store, options.shards)
        lines = [("rows written per second", f"{written:,.0f}")]
        lines.append(("rows read per second", f"{read_rows(store, options.shards):,.0f}"))
        for per_question in (1, 16):
            planned = make_store(folder, f"plan-{per_question}")
            seconds, missing = plan_seconds(planned, options.planned, per_question)
            shape = f"{options.planned:,} shards, {per_question * _SAMPLES} samples a question, {missing:,} missing"
            lines.append((f"seconds to plan a resume: {shape}", f"{seconds:.2f}"))
    sys.stdout.write(
        "\n".join(["| what | measured |", "|---|---|", *(f"| {what} | {value} |" for what, value in lines)]) + "\n"
    )


if __name__ == "__main__":
    main()
