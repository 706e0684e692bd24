"""Has anything become slower? Ratios are measured anew and compared with the recorded ones.

    python -m benchmarks.guard              # measure and compare: `make bench`
    python -m benchmarks.guard --record     # measure and write the record anew

Only ratios are compared, of two things that are measured in the same process one after the other: times differ from
machine to machine and from hour to hour. More is better in all of them. A ratio may fall by a quarter before the guard
fails, since on a machine that is shared ratios too vary by some 10 % from run to run. Those of computing depend on the
vector instructions of the processor (N=16 with noise: 5.2 with AVX-512, 3.8 with AVX2, of one and the same commit), so
each kind of processor has a record of its own.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
import torch
from rich.console import Console

from benchmarks import mixtures, rollout, score, score_beside_sampling, store
from benchmarks.pool import measure
from benchmarks.sleeping_reasoner import SleepingReasoner
from orchestrator.config.environment import ClusterConfig
from orchestrator.pipeline.cluster import connect
from workers.pool import ActorSpec, create_pool, stop_pool

RECORD = Path(__file__).parent / "results" / "ratios.json"
TOLERANCE = 0.25
"""Largest share by which a ratio may have fallen."""

ANY_PROCESSOR = "any processor"
"""Key of the ratios that do not depend on vector instructions: of planning, of keeping actors busy, and of two passes
through the same layers."""

_CPU = torch.device("cpu")
_QUESTIONS, _ROUNDS = 2, 3
_ACTORS, _SHARD_SECONDS, _ROWS = 8, 1.0, 163_840
_PLANNED = 20_000


@contextmanager
def _random_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def rollout_ratios() -> dict[str, float]:
    """Trajectories per second of the engine over those of the plain loop."""
    with _random_folder() as folder:
        bench = rollout.Bench("gpt2-small", folder, _CPU, torch.float32, all_logits=True)
    cases = [("noise", 1), ("noise", 16), ("dropout", 16)]
    lines = [bench.line(sampler, n, _QUESTIONS, _ROUNDS, with_plain=True) for sampler, n in cases]
    return {f"rollout: {line.sampler}, N={line.n}": line.ours / (line.plain or 1.0) for line in lines}


def mixture_ratios() -> dict[str, float]:
    """The same of reasoners that think in mixtures of token embeddings."""
    lines, _ = mixtures.measure("gpt2-small", [16], _QUESTIONS, _ROUNDS)
    return {f"mixtures: N={line.n}": line.ours / (line.plain or 1.0) for line in lines}


def score_ratios() -> dict[str, float]:
    """Trajectories per second of shared prompts over those of repeated ones."""
    with _random_folder() as folder:
        bench = score.Bench("gpt2-small", folder, _CPU, torch.float32)
    lines = [bench.line(n, _QUESTIONS, _ROUNDS) for n in (1, 16)]
    return {f"score: N={line.n}": line.ours / line.plain for line in lines}


def beside_sampling_ratios() -> dict[str, float]:
    """CPU seconds of sampling over those of scoring the same trajectories."""
    with _random_folder() as folder:
        bench = score_beside_sampling.Bench("gpt2-small", folder, torch.float32)
    line = bench.line(64, 1, rounds=1)
    return {f"beside sampling: scoring, N={line.n}": 1 / line.share}


def pool_ratios() -> dict[str, float]:
    """Time that actors compute over time that passes."""
    connect(ClusterConfig(), _ACTORS + 4, Console(file=sys.stderr))
    names = create_pool("sleeping", ActorSpec(SleepingReasoner, (_SHARD_SECONDS,), cpus=1, gpus=0), _ACTORS)
    try:
        with _random_folder() as folder:
            line = measure(names, _ROWS, 16, 64, _SHARD_SECONDS, str(folder))
    finally:
        stop_pool(names)
        ray.shutdown()
    return {f"pool: {_ACTORS} actors": line.busy}


def store_ratios() -> dict[str, float]:
    """Time to list a folder and look at its entries over time to plan from it what is missing."""
    with _random_folder() as folder:
        planned = store.make_store(folder, "plan")
        seconds, _ = store.plan_seconds(planned, _PLANNED, 1)
        started = time.perf_counter()
        for entry in os.scandir(planned.directory):
            entry.stat()
        listed = time.perf_counter() - started
    return {"store: planning": listed / seconds}


MEASUREMENTS: tuple[tuple[Callable[[], dict[str, float]], bool], ...] = (
    (store_ratios, False),
    (score_ratios, True),
    (rollout_ratios, True),
    (mixture_ratios, True),
    (beside_sampling_ratios, False),
    (pool_ratios, False),
)
"""What is measured, and whether it depends on the processor's vector instructions."""


def processor() -> str:
    """Return the vector instructions that torch computes with here: `AVX2`, `AVX512`, `AVX512 with AMX`."""
    amx = " with AMX" if torch.cpu.get_capabilities().get("amx_tile") else ""
    return torch.backends.cpu.get_cpu_capability() + amx


def fallen(measured: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """Return what is wrong, a line each: ratios that have fallen too far, and ratios that nobody has recorded."""
    problems = []
    for name, ratio in measured.items():
        if name not in recorded:
            problems.append(f"{name}: nothing is recorded; run `python -m benchmarks.guard --record`")
        elif not ratio >= recorded[name] * (1 - TOLERANCE):
            problems.append(f"{name}: {ratio:.2f}, but {recorded[name]:.2f} is recorded")
    return problems


def table(measured: dict[str, float], recorded: dict[str, float]) -> str:
    """Return measured and recorded ratios as Markdown."""
    rows = ["| what | measured | recorded |", "|---|---|---|"]
    for name, ratio in measured.items():
        before = f"{recorded[name]:.2f}" if name in recorded else "-"
        rows.append(f"| {name} | {ratio:.2f} | {before} |")
    return "\n".join(rows)


def main() -> None:
    """Read the command line, measure, compare or record; ends with 1 if something has become slower."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", action="store_true", help="write down what is measured")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    records: dict[str, dict[str, float]] = json.loads(RECORD.read_text())
    measured: dict[str, dict[str, float]] = {ANY_PROCESSOR: {}, processor(): {}}
    for measurement, of_processor in MEASUREMENTS:
        measured[processor() if of_processor else ANY_PROCESSOR] |= measurement()
    flat = {name: ratio for ratios in measured.values() for name, ratio in ratios.items()}
    recorded = records.get(ANY_PROCESSOR, {}) | records.get(processor(), {})
    sys.stdout.write(f"processor: {processor()}\n{table(flat, recorded)}\n")
    if options.record:
        for kind, ratios in measured.items():
            records[kind] = {name: round(ratio, 3) for name, ratio in ratios.items()}
        RECORD.write_text(json.dumps(records, indent=2) + "\n")
        return
    problems = fallen(flat, recorded)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
