"""How long does the demo take behind installing, and does it come to the same curves?

    python -m benchmarks.demo --against ../before

Whole sweeps of `tune_configs/demo.yaml` in empty folders, in turns with those of another checkout of latentswarm if one
is named. Curves are compared by the values at the points that both have; intervals may be made otherwise.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

_HERE = Path(__file__).resolve().parents[1]
_DEMO = _HERE / "tune_configs" / "demo.yaml"
_POINT = ["trial", "aggregation", "n"]
_ROUNDING = 1e-9


def demo_of(checkout: Path, *overrides: str) -> tuple[float, pd.DataFrame]:
    """Run the demo of a checkout in a folder of its own; returns its seconds, and its curves.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "orchestrator", "sweep", str(_DEMO), "--out", "demo", *overrides]
        variables = {**os.environ, "PYTHONPATH": str(checkout)}
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
        return time.perf_counter() - started, pd.read_csv(Path(folder, "demo", "curves.csv"))


def other_values(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """Names of the aggregations that have another value somewhere, where both tables of curves have one."""
    both = one.merge(other, on=_POINT, suffixes=("", " there"))
    return sorted(set(both["aggregation"][(both["value"] - both["value there"]).abs() > _ROUNDING]))


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, whose demo is measured in turns")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    checkouts = {"here": _HERE, **({"there": options.against.resolve()} if options.against else {})}
    seconds: dict[str, list[float]] = {name: [] for name in checkouts}
    curves: dict[str, pd.DataFrame] = {}
    for _ in range(options.repeats):
        for name, checkout in checkouts.items():
            took, curves[name] = demo_of(checkout)
            seconds[name].append(took)
    sys.stdout.write(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n\n")
    sys.stdout.write("| | seconds | median |\n|---|---|---|\n")
    for name, all_of_it in seconds.items():
        texts = " ".join(f"{one:.0f}" for one in all_of_it)
        sys.stdout.write(f"| {name} | {texts} | {statistics.median(all_of_it):.0f} |\n")
    if options.against:
        others = other_values(curves["here"], curves["there"])
        sys.stdout.write(f"\naggregations with other values: {', '.join(others) or 'none'}\n")


if __name__ == "__main__":
    main()
