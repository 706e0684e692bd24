"""What does dropout on the last prompt position add to dropout on the latent steps?

    python -m benchmarks.boundary                       # bundled paths, 300 questions x 64 samples, one CPU thread

Coverage at 64 samples and the accuracy of a single sample, scope by scope on the same questions, and the paired
differences from the first scope with one standard error over questions.
"""

import argparse
import sys
import time

import numpy as np
import torch

from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.samplers import parse_sampler
from latent_core.tasks.loading import load_task

_SCOPES = (["latent"], ["boundary", "latent"])
_ANSWER_TOKENS, _AT_ONCE = 8, 20


def main() -> None:
    """Read the command line, measure, and print a line per scope."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=300, help="questions (default 300)")
    parser.add_argument("--samples", type=int, default=64, help="samples per question (default 64)")
    parser.add_argument("--p", type=float, default=0.2, help="probability of dropout (default 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default 0)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reasoner = LatentReasoner.from_pretrained("bundled:coconut-paths")
    problems = load_task(name="path_finding").problems[: arguments.questions]
    first = None
    for scope in _SCOPES:
        sampler = parse_sampler({"kind": "mc_dropout", "p": arguments.p, "scope": scope})
        began, correct, flops = time.process_time(), [], 0.0
        for place in range(0, len(problems), _AT_ONCE):
            some = problems[place : place + _AT_ONCE]
            rows = sample_trajectories(
                reasoner,
                sampler,
                some,
                range(arguments.samples),
                latent_steps=reasoner.checkpoint.latent_steps,
                answer_tokens=_ANSWER_TOKENS,
                seed=arguments.seed,
                latents=None,
            )
            judged = rows.judged("abstain")
            correct.append(judged.correct.reshape(len(some), -1))
            flops += float(rows.flops.sum())
        right = np.concatenate(correct)
        values = np.stack([right.any(axis=1), right.mean(axis=1)]).astype(np.float64)
        first = values if first is None else first
        difference = values - first
        error = difference.std(axis=1, ddof=1) / np.sqrt(len(problems))
        told = (
            f"{name} {100 * value.mean():.1f} ({100 * one.mean():+.1f} +- {100 * se:.1f})"
            for name, value, one, se in zip(
                (f"coverage@{arguments.samples}", "single sample"), values, difference, error, strict=True
            )
        )
        cost = flops / right.size / 1e6
        sys.stdout.write(
            f"p = {arguments.p}, {len(problems)} questions, scope {'+'.join(scope)}: {', '.join(told)}, "
            f"{cost:.2f} MFLOP a sample beside what is shared, {time.process_time() - began:.0f} s of processor time\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
