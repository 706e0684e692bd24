"""What does it cost to record how sure the model was of its answers?

    python -m benchmarks.confidence                     # GPT-2 small, N = 64, one CPU thread
    python -m benchmarks.confidence --rounds 9 --questions 2

The same rollouts, with confidence and without, in turns in one process; weights are random in the real shape. Processor
time is what counts: it does not depend on what else the machine does as much as the clock does.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gsm8k_lengths import prompt_lengths
from benchmarks.random_model import VOCABULARIES, random_problems_of, save_random_reasoner
from latent_core.engine.latent_steps import ActiveRows, run_latent_steps
from latent_core.engine.prompt_batch import PromptBatch
from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.sampling import start_samples
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers import parse_sampler

_STEPS, _ANSWER_TOKENS, _POSITIONS = 6, 12, 256


def seconds_of_rollout(engine: RolloutEngine, batch: PromptBatch, n: int, confidence: bool) -> tuple[float, float]:
    """Return processor time and clock time of rolling a batch out, in seconds."""
    began: tuple[Any, Any] = time.process_time(), time.perf_counter()
    state, _ = start_samples(engine, batch, range(n), 0)
    for stop in run_latent_steps(engine, ActiveRows.of(state), _STEPS):
        engine.decode(stop.state, _ANSWER_TOKENS, keep_confidence=confidence)
    return time.process_time() - began[0], time.perf_counter() - began[1]


def main() -> None:
    """Read the command line, measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=64, help="rows per question (default 64)")
    parser.add_argument("--questions", type=int, default=1, help="questions at a time (default 1)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts (default 7)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        save_random_reasoner("gpt2-small", _POSITIONS, Path(folder), VOCABULARIES["gpt2-small"])
        reasoner = LatentReasoner.from_pretrained(folder)
        engine = RolloutEngine(reasoner, parse_sampler({"kind": "gaussian", "sigma": 0.3}))
        batch = PromptBatch.of(reasoner, random_problems_of(prompt_lengths(arguments.questions)))
        sides = (False, True)
        for confidence in sides:
            seconds_of_rollout(engine, batch, arguments.n, confidence)
        rounds = [
            [seconds_of_rollout(engine, batch, arguments.n, confidence) for confidence in sides]
            for _ in range(arguments.rounds)
        ]
    for clock, name in enumerate(("processor time", "clock")):
        without, recorded = (statistics.median(one[side][clock] for one in rounds) for side in range(2))
        sys.stdout.write(
            f"N = {arguments.n}, {arguments.questions} questions, {name}: {without:.3f} s without, {recorded:.3f} s "
            f"with confidence: {100 * (recorded / without - 1):+.1f} %\n"
        )


if __name__ == "__main__":
    main()
