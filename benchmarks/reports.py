"""How long do `report`, `status` and a second `run` take where the store holds very many questions?

    python -m benchmarks.reports --questions 12500 25000 100000

A run of that many made-up questions with one sample each, and greedy decoding, is written into a store in shards of 16
questions, as a run with the default `micro_batch` leaves them. Then the real commands are timed in processes of their
own, imports included. CPU seconds, user and system, and the peak of the memory.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from latent_core.tasks.loading import load_task
from latent_core.trajectory import Trajectory, TrajectoryBatch
from orchestrator.config.loading import parse_config, save_config
from orchestrator.config.run import RunConfig
from orchestrator.experiment.command_plans import plan_run
from orchestrator.experiment.experiment import Experiment
from orchestrator.names import GREEDY
from orchestrator.store.shards import Shard
from workers.tables import trajectory_table

_PER_SHARD = 16


def store_run(folder: Path, questions: int) -> Experiment:
    """Write a finished run of made-up questions; returns it."""
    task = folder / "task.json"
    # The bundled tokenizer knows no other words.
    asked = load_task(name="word_problems", count=1).problems[0].question
    rows = [{"id": f"q{q}", "question": asked, "answer": str(2 * q)} for q in range(questions)]
    task.write_text(json.dumps(rows))
    settings = {
        "checkpoint": "bundled:coconut-tiny",
        "task": {"path": str(task)},
        "sampler": {"kind": "mc_dropout", "p": 0.1},
        "budgets": [1],
        "answer_tokens": 8,
        "store": {"path": str(folder / "store"), "latents": "none"},
    }
    out = folder / "run"
    out.mkdir()
    config = parse_config(RunConfig, settings)
    experiment = plan_run("run", config, out)
    save_config(config, out / "config.yaml")
    experiment.record()
    ids = [problem.question_id for problem in experiment.plan.problems]
    for trial in experiment.sampled_trials():
        trial.store.prepare()
        for first in range(0, questions, _PER_SHARD):
            end = min(first + _PER_SHARD, questions)
            batch = TrajectoryBatch.of(_made_up(ids[q], q, trial.name == GREEDY) for q in range(first, end))
            trial.store.write(Shard(first, end, 0, 1), trajectory_table(batch, first, 1))
    return experiment


def _made_up(question_id: str, question: int, greedy: bool) -> Trajectory:
    right = question * 31 % 3 > int(greedy)
    answer = str(2 * question + (not right))
    return Trajectory(question_id, 0, f"# {answer}", answer, right, 3, 4, (5, 6, 7, 8), None, 1e9, 1e8, 0.001)


def _cost(command: Callable[[], None]) -> tuple[float, float]:
    """Return CPU seconds and peak mebibytes of a command in a process of its own."""
    child = os.fork()
    if child == 0:
        command()
        os._exit(127)
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"the command failed with {status}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _command(folder: Path, *arguments: str) -> Callable[[], None]:
    def replace_process() -> None:
        os.chdir(folder)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os.execv(sys.executable, [sys.executable, "-m", "orchestrator", *arguments])

    return replace_process


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--questions", type=int, nargs="+", default=[12_500, 25_000])
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write("| questions | command | CPU s | peak MiB |\n|---|---|---|---|\n")
    for questions in options.questions:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            store_run(folder, questions)
            commands = {"status": ["status", "run"], "report": ["report", "run"], "run": ["run", "run/config.yaml"]}
            for what, arguments in commands.items():
                more = ["--out", "run"] if what == "run" else []
                seconds, peak = _cost(_command(folder, *arguments, *more))
                sys.stdout.write(f"| {questions:,} | {what} | {seconds:.1f} | {peak:,.0f} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
