"""How much memory does a batch of rollouts take? Each case in a process of its own, which holds nothing else.

    python -m benchmarks.memory                                   # GPT-2 small, N = 64 x 4 questions and others

Peaks are resident memory as Linux counts it, the interpreter and its libraries included: what an actor takes, but for
Ray. The first column is what a process has that has only imported, the second the most that loading takes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.random_model import SHAPES, VOCABULARIES, random_problems_of, save_random_reasoner
from benchmarks.rollout import peak_memory, reset_peak_memory
from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import DTYPES, LatentReasoner
from latent_core.samplers import parse_sampler

_STEPS, _ANSWER_TOKENS, _POSITIONS = 6, 12, 256
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Line:
    """One line of the table; most bytes in use in each part.

    Attributes:
        n: Rows per question.
        questions: Questions in the batch.
        imported: Before anything is loaded.
        loading: While weights are loaded and laid out.
        loaded: Behind that.
        sampling: While a batch is sampled.
    """

    n: int
    questions: int
    imported: float
    loading: float
    loaded: float
    sampling: float


def measure(folder: Path, dtype: torch.dtype, n: int, questions: int) -> Line:
    """Load a reasoner in this process and sample one batch."""
    imported = _in_use()
    reset_peak_memory(_CPU)
    reasoner = LatentReasoner.from_pretrained(str(folder), dtype=dtype)
    loading, loaded = peak_memory(_CPU), _in_use()
    problems = random_problems_of(prompt_lengths(questions))
    reset_peak_memory(_CPU)
    sample_trajectories(
        reasoner,
        parse_sampler({"kind": "gaussian", "sigma": 0.3}),
        problems,
        range(n),
        latent_steps=_STEPS,
        answer_tokens=_ANSWER_TOKENS,
        seed=0,
    )
    return Line(n, questions, imported, loading, loaded, peak_memory(_CPU))


def _in_use() -> float:
    reset_peak_memory(_CPU)
    return peak_memory(_CPU)


def measured_apart(folder: Path, dtype: str, n: int, questions: int) -> Line:
    """Measure a case in a process of its own."""
    case = ["--folder", str(folder), "--dtype", dtype, "--n", str(n), "--questions", str(questions)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *case], check=True, stdout=subprocess.PIPE, text=True
    )
    return Line(**json.loads(done.stdout))


def table(lines: Sequence[Line]) -> str:
    """Return the lines as Markdown, in MB."""
    rows = ["| N | questions | imported, MB | loading | loaded | sampling |", "|---|---|---|---|---|---|"]
    for line in lines:
        parts = (line.imported, line.loading, line.loaded, line.sampling)
        rows.append(f"| {line.n} | {line.questions} | " + " | ".join(f"{one / 1e6:,.0f}" for one in parts) + " |")
    return "\n".join(rows)


def main() -> None:
    """Read the command line, measure, and print a table; with a folder, one case of this process as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--n", type=int, nargs="+", default=[4, 64, 256])
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.folder is not None:
        line = measure(options.folder, DTYPES[options.dtype], options.n[0], options.questions)
        sys.stdout.write(json.dumps(asdict(line)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_random_reasoner(options.shape, _POSITIONS, folder, VOCABULARIES[options.shape])
        lines = [measured_apart(folder, options.dtype, n, options.questions) for n in options.n]
    sys.stdout.write(table(lines) + "\n")


if __name__ == "__main__":
    main()
