"""How long does a run take from the command to its first stored trajectory?

    python -m benchmarks.first_trajectory --against ../before

Runs of the bundled coconut-tiny in an empty folder, in turns with those of another checkout of latentswarm if one is
named; each is interrupted once its first shard has its name. Beside them the floor: a process that does nothing but
start Ray and ask one actor that imports torch and transformers' model code.
"""

import argparse
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]
_LONGEST = 180.0
_SAMPLER = ("sampler.kind=gaussian", "sampler.sigma=0.4")
_FLOOR = """
import os, sys, logging
from orchestrator.pipeline.local_environment import LOCAL_ENVIRONMENT
for name, value in LOCAL_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
import ray
ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
@ray.remote
class Actor:
    def ready(self):
        import torch, transformers.models.gpt2.modeling_gpt2
        return True
ray.get(Actor.remote().ready.remote())
open(sys.argv[1], "w").close()
"""


def _seconds_until(command: Sequence[str], checkout: Path, folder: Path, pattern: str) -> float:
    """Return the seconds from the start of a process to the first file of a pattern; the process is interrupted then.

    Raises:
        RuntimeError: If it ends before, or takes minutes.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while (took := time.perf_counter() - started) < _LONGEST:
            if any(folder.glob(pattern)):
                process.send_signal(signal.SIGINT)
                process.wait()
                return took
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}, and no {pattern}")
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    raise RuntimeError(f"{' '.join(command)}: no {pattern} after {_LONGEST:g} s")


def seconds_to_first_trajectory(checkout: Path) -> float:
    """Return the seconds of a run of a checkout in a folder of its own."""
    configuration = str(_HERE / "tune_configs" / "word_problems.yaml")
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "run",
        configuration,
        "--out",
        "run",
        "store.path=store",
        *_SAMPLER,
    ]
    with tempfile.TemporaryDirectory() as name:
        return _seconds_until(command, checkout, Path(name), "store/*/*.parquet")


def seconds_of_the_floor() -> float:
    """Return the seconds of a bare start of Ray and of one actor that imports model code."""
    with tempfile.TemporaryDirectory() as name:
        return _seconds_until([sys.executable, "-c", _FLOOR, f"{name}/there"], _HERE, Path(name), "there")


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, whose runs are measured in turns")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    measured = {"here": lambda: seconds_to_first_trajectory(_HERE), "floor": seconds_of_the_floor}
    if options.against:
        measured["there"] = lambda: seconds_to_first_trajectory(options.against.resolve())
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(options.repeats):
        for name, measure in measured.items():
            seconds[name].append(measure())
    sys.stdout.write(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n\n")
    sys.stdout.write("| | seconds | median |\n|---|---|---|\n")
    for name, all_of_it in seconds.items():
        texts = " ".join(f"{one:.1f}" for one in all_of_it)
        sys.stdout.write(f"| {name} | {texts} | {statistics.median(all_of_it):.1f} |\n")


if __name__ == "__main__":
    main()
