"""What do waves cost whose prompts an actor has kept, beside waves that read them again, and all samples in one go?

    python -m benchmarks.kept_prompts                    # GPT-2 small on one CPU thread, waves 4, 8, 16, 32, 64
    python -m benchmarks.kept_prompts --shape llama-1b --waves 4 8 16 --dtype bfloat16

Weights are random in the real shape, prompts as long as GSM8K's. All three sample the same trajectories of the same
questions, in one process and thread, in turns; CPU seconds, medians.
"""

import argparse
import gc
import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.machine import cpu_seconds_of
from benchmarks.random_model import SHAPES, VOCABULARIES, random_problems_of, save_random_reasoner
from latent_core.engine.runtime import RolloutRuntime
from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import DTYPES, LatentReasoner
from latent_core.samplers import parse_sampler

_STEPS, _ANSWER_TOKENS, _POSITIONS = 6, 12, 256
_SAMPLER = {"kind": "gaussian", "sigma": 0.3}


class Bench:
    """A reasoner whose questions get their samples wave by wave."""

    def __init__(self, shape: str, folder: Path, dtype: torch.dtype, questions: int) -> None:
        """Make random weights and questions."""
        save_random_reasoner(shape, _POSITIONS, folder, VOCABULARIES[shape])
        self._reasoner = LatentReasoner.from_pretrained(str(folder), dtype=dtype)
        self._problems = random_problems_of(prompt_lengths(questions))
        self._sampler = parse_sampler(_SAMPLER)
        gc.freeze()

    def sample(self, waves: Sequence[int], keep: bool) -> None:
        """Sample all questions at the end of each wave from where the one before has ended."""
        cache = RolloutRuntime.of(self._reasoner).prompts
        cache.clear()
        before = cache.recalled
        for first, last in pairwise((0, *waves)):
            sample_trajectories(
                self._reasoner,
                self._sampler,
                self._problems,
                range(first, last),
                latent_steps=_STEPS,
                answer_tokens=_ANSWER_TOKENS,
                seed=0,
                keep_prompts=keep,
            )
        expected = (len(waves) - 1) * len(self._problems) if keep else 0
        if cache.recalled - before != expected:
            raise RuntimeError(f"{cache.recalled - before} prompts were kept, and {expected} should have been")


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small")
    parser.add_argument("--waves", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.shape, Path(folder), DTYPES[options.dtype], options.questions)
    rows = ["| waves | in one go, CPU s | prompts read again | prompts kept | saved |", "|---|---|---|---|---|"]
    for count in range(2, len(options.waves) + 1):
        waves = options.waves[:count]
        sides = (
            partial(bench.sample, waves[-1:], False),
            partial(bench.sample, waves, False),
            partial(bench.sample, waves, True),
        )
        seconds = [[cpu_seconds_of(side) for side in sides] for _ in range(options.rounds)]
        whole, again, kept = (statistics.median(column) for column in zip(*seconds, strict=True))
        shown = ", ".join(map(str, waves))
        rows.append(f"| {shown} | {whole:.2f} | {again:.2f} | {kept:.2f} | {1 - kept / again:.0%} |")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
