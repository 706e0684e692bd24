"""What does it cost to score trajectories, beside sampling them?

    python -m benchmarks.score_beside_sampling                    # GPT-2 small on one CPU thread, N = 64

A reasoner with random weights samples, and a LatentRM of its size scores what it has thought: both as actors do, in
the same process and thread, in turns; CPU seconds. The arithmetic says which share a scorer would have that works as
well as the reasoner does: it reads the prompt and T latents, which the reasoner does too before it writes an answer.
"""

import argparse
import gc
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.machine import cpu_seconds_of
from benchmarks.random_model import SHAPES, VOCABULARIES, random_problems_of, save_random_reasoner
from latent_core.engine.sampling import sample_trajectories
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.invariant_layers import make_rows_invariant
from latent_core.models.packing import pack_linear_layers
from latent_core.models.reasoner import DTYPES, LatentReasoner
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.types import QuestionToScore
from latent_core.samplers import parse_sampler
from latent_core.trajectory import TrajectoryBatch

_STEPS, _ANSWER_TOKENS, _POSITIONS = 6, 12, 256
_SAMPLER = {"kind": "gaussian", "sigma": 0.3}


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        n: Trajectories per question.
        questions: Questions.
        sampling: CPU seconds to sample them.
        scoring: CPU seconds to score them.
        flops: FLOPs of both, sampling first.
    """

    n: int
    questions: int
    sampling: float
    scoring: float
    flops: tuple[float, float]

    @property
    def share(self) -> float:
        """Seconds of scoring over those of sampling."""
        return self.scoring / self.sampling

    @property
    def arithmetic(self) -> float:
        """FLOPs of scoring over those of sampling."""
        return self.flops[1] / self.flops[0]


class Bench:
    """A reasoner, and a LatentRM of its size."""

    def __init__(self, shape: str, folder: Path, dtype: torch.dtype) -> None:
        """Make random weights and load them as a reasoner's and as a LatentRM's."""
        save_random_reasoner(shape, _POSITIONS, folder, VOCABULARIES[shape])
        self.reasoner = LatentReasoner.from_pretrained(str(folder), dtype=dtype)
        self.model = LatentRewardModel.from_reasoner(Checkpoint.open(str(folder)), seed=0).to(dtype).eval()
        self.model.requires_grad_(False)
        # As a scorer's are.
        pack_linear_layers(self.model.model.base_model)
        make_rows_invariant([self.model.model])
        gc.freeze()

    def line(self, n: int, questions: int, rounds: int) -> Line:
        """Measure one line, both sides in turns."""
        problems, sampler = random_problems_of(prompt_lengths(questions)), parse_sampler(_SAMPLER)
        prompts = [self.reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]

        def sample() -> TrajectoryBatch:
            return sample_trajectories(
                self.reasoner,
                sampler,
                problems,
                range(n),
                latent_steps=_STEPS,
                answer_tokens=_ANSWER_TOKENS,
                seed=0,
            )

        rows = sample()
        asked = [
            QuestionToScore(problem.question, tuple(one.latents for one in some), ((),) * n)
            for problem, some in zip(problems, (rows[at : at + n] for at in range(0, len(rows), n)), strict=True)
        ]

        def score() -> object:
            return score_groups(self.model, prompts, asked, score_answer=False)

        found = score_groups(self.model, prompts, asked, score_answer=False)
        assert np.isfinite(found.score).all()
        seconds = [[cpu_seconds_of(side) for side in (sample, score)] for _ in range(rounds)]
        sampling, scoring = (statistics.median(column) for column in zip(*seconds, strict=True))
        flops = _flops(rows.prompt_flops, rows.flops, n), _flops(found.prompt_flops, found.flops, n)
        return Line(n, questions, sampling, scoring, flops)


def _flops(prompts: NDArray[np.float64], rows: NDArray[np.float64], n: int) -> float:
    """Return the FLOPs of a batch whose prompts are read once for n rows each."""
    return float(prompts[::n].sum() + rows.sum())


def table(lines: Sequence[Line]) -> str:
    """Return the lines as Markdown."""
    rows = [
        "| N | questions | sampling, CPU s | GFLOP/s | scoring, CPU s | GFLOP/s | share | by arithmetic |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        sampling, scoring = (
            f"{seconds:.2f} | {flops / seconds / 1e9:.0f}"
            for seconds, flops in zip((line.sampling, line.scoring), line.flops, strict=True)
        )
        rows.append(
            f"| {line.n} | {line.questions} | {sampling} | {scoring} | {100 * line.share:.0f} % | "
            f"{100 * line.arithmetic:.0f} % |"
        )
    return "\n".join(rows)


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small")
    parser.add_argument("--n", type=int, nargs="+", default=[64])
    parser.add_argument("--questions", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.shape, Path(folder), DTYPES[options.dtype])
    lines = [bench.line(n, options.questions, options.rounds) for n in options.n]
    sys.stdout.write(table(lines) + "\n")


if __name__ == "__main__":
    main()
