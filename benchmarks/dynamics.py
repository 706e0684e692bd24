"""How long do the dynamics of a trial take, and how much memory: at the demo's size and at GPT-2's?

    python -m benchmarks.dynamics

Stores of random latents are written; their dynamics, principal components and decoded thoughts among them, are computed
in a process of its own each, once of all questions and once of half of them: memory must not grow with their number.
The vocabulary of the larger trial is cut to 1,024 tokens where thoughts are decoded, since the output head of GPT-2
takes longer than everything else and works only once.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from latent_core.models.thought_decoder import ThoughtDecoder
from latent_core.tasks.base import Problem
from latent_core.trajectory import Trajectory, TrajectoryBatch
from orchestrator.analysis.dynamics import HeadSource, dynamics_of
from orchestrator.names import GREEDY
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial
from workers.tables import trajectory_table

_PER_SHARD = 16
_MIB = 1024.0


@dataclass(frozen=True)
class Size:
    """A trial.

    Attributes:
        name: What it is like.
        questions: Q.
        samples: N.
        steps: T.
        width: Hidden size.
        vocabulary: Tokens that the output head knows.
    """

    name: str
    questions: int
    samples: int
    steps: int
    width: int
    vocabulary: int


SIZES = (Size("demo", 300, 64, 4, 128, 178), Size("GPT-2", 600, 64, 6, 768, 1024))


def make_trial(root: str, size: Size, name: str, samples: int) -> Trial:
    """Write a trial of random latents, or name one that has been written."""
    spec = TrajectorySpec("benchmark", size.name, {"kind": name}, size.steps, 8, 0, "float32")
    trial = Trial(name, name, samples, (samples,), TrajectoryStore(root, spec, "float16"))
    rng = np.random.default_rng(0)
    trial.store.prepare()
    for first in range(0, size.questions, _PER_SHARD):
        end = min(first + _PER_SHARD, size.questions)
        centres = rng.normal(size=(end - first, 1, size.steps, size.width)).astype(np.float32)
        noise = rng.normal(size=(end - first, samples, size.steps, size.width)).astype(np.float32)
        latents = (centres + 0.7 * noise).astype(np.float16)
        rows = [
            Trajectory(f"q{first + q}", i, "1", str(i % 3), i % 3 == 0, size.steps, 1, (1,), latents[q, i], 0, 0, 0)
            for q in range(end - first)
            for i in range(samples)
        ]
        table = trajectory_table(TrajectoryBatch.of(rows), first, samples, "float16")
        trial.store.write(Shard(first, end, 0, samples), table)
    return trial


def measure(trial: Trial, greedy: Trial, size: Size, questions: int, results: Any) -> None:
    """Compute the dynamics of some questions, and put CPU seconds and MiB beyond what was there before into results."""
    rng = np.random.default_rng(1)
    head = ThoughtDecoder(rng.normal(size=(size.vocabulary, size.width)).astype(np.float32))
    source = HeadSource(lambda: SimpleNamespace(fingerprint="benchmark"), unlimited=True)  # type: ignore[arg-type,return-value]
    setattr(ThoughtDecoder, "of", staticmethod(lambda _: head))  # noqa: B010
    problems = [Problem(f"q{index}", "?", "1") for index in range(questions)]
    before, started = _memory(), time.process_time()
    found = dynamics_of(trial, greedy, problems, size.samples, source)
    results.put((time.process_time() - started, _memory() - before, len(found.rows), found.missing))


def _memory() -> float:
    """Return the most MiB that this process has had; `getrusage` begins with those of the one that started it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / _MIB


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.parse_args()
    # A forked process would begin with the memory that writing has taken.
    context = multiprocessing.get_context("spawn")
    lines = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as root:
            trial, greedy = make_trial(root, size, "noise", size.samples), make_trial(root, size, GREEDY, 1)
            for questions in (size.questions // 2, size.questions):
                for thoughts in ("decoded", "stored"):
                    results = context.Queue()
                    process = context.Process(target=measure, args=(trial, greedy, size, questions, results))
                    process.start()
                    seconds, memory, rows, missing = results.get()
                    process.join()
                    assert not missing, missing
                    assert rows
                    shape = f"{questions} x {size.samples} x {size.steps} x {size.width}"
                    lines.append(f"| {size.name} | {shape} | {thoughts} | {seconds:.1f} | {memory:.0f} |")
    header = [
        "| like | questions x samples x steps x width | thoughts | CPU seconds | MiB more |",
        "|---|---|---|---|---|",
    ]
    sys.stdout.write("\n".join([*header, *lines]) + "\n")


if __name__ == "__main__":
    main()
