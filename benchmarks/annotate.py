"""How much faster are step labels from stored states than from rollouts that start at the prompt again?

    python -m benchmarks.annotate                                        # GPT-2 small, random weights
    python -m benchmarks.annotate --checkpoint bundled:coconut-tiny --task word_problems

Both sides label the same candidates with the same draws in the same process; their labels are compared before their
times are. The plain loop is timed in two forms: as published, one batch per candidate and step, and in batches of all
candidates of a question.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers

from benchmarks.plain_loop import PlainLoop
from benchmarks.random_model import SHAPES, random_problems, save_random_reasoner
from latent_core.models.reasoner import LatentReasoner
from latent_core.randomness import Streams
from latent_core.reward.annotation import annotate
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem
from latent_core.tasks.loading import load_task
from latent_core.trajectory import FloatArray

label = partial(annotate, cut_answers="vote")
"""The plain loop takes an answer as far as it got, and models with random weights write no end token."""


def plain_labels(
    loop: PlainLoop,
    sampler: Sampler,
    problem: Problem,
    candidates: int,
    rollouts: int,
    lengths: tuple[int, int],
    at_once: int,
) -> FloatArray:
    """Label a question's candidates, recomputing everything from the prompt.

    Args:
        loop: The plain loop.
        sampler: Perturbs the latents.
        problem: The question.
        candidates: N.
        rollouts: M.
        lengths: Latent steps and longest answer.
        at_once: Candidates per batch of completions.

    Returns:
        Labels, float32 [N, T].
    """
    steps, answer_tokens = lengths
    prompt = loop.checkpoint.prompt_ids(problem.question)
    labels = np.empty((candidates, steps), dtype=np.float32)
    streams = _streams(problem, torch.arange(candidates), torch.zeros(candidates, dtype=torch.int64))
    hidden = int(loop.model.config.hidden_size)
    latents, answers = loop.roll_out(prompt, torch.zeros(candidates, 0, hidden), streams, sampler, steps, answer_tokens)
    labels[:, -1] = _right(loop, problem, answers)
    for step in range(1, steps):
        for first in range(0, candidates, at_once):
            sample = torch.arange(first, min(first + at_once, candidates)).repeat_interleave(rollouts)
            number = torch.arange(rollouts).repeat(len(sample) // rollouts) + (step - 1) * rollouts + 1
            past = latents[sample, :step]
            _, completed = loop.roll_out(prompt, past, _streams(problem, sample, number), sampler, steps, answer_tokens)
            shares = np.array(_right(loop, problem, completed)).reshape(-1, rollouts).mean(axis=1)
            labels[first : first + at_once, step - 1] = shares
    return labels


def _streams(problem: Problem, sample: torch.Tensor, rollout: torch.Tensor) -> Streams:
    key = Streams.for_questions(0, [problem.question_id]).key
    return Streams(key.expand(len(sample), -1), sample, rollout)


def _right(loop: PlainLoop, problem: Problem, answers: torch.Tensor) -> list[bool]:
    checkpoint = loop.checkpoint
    texts = checkpoint.tokenizer.batch_decode(answers, skip_special_tokens=True)
    return [problem.is_correct(problem.canonical(checkpoint.format.extract_answer(text))) for text in texts]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Print ratios of medians as a table and as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--checkpoint", help="a reasoner, with --task; random weights without it")
    parser.add_argument("--task", default="word_problems", help="a registered task, or a local file")
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small", help="of random weights")
    parser.add_argument("--prompt-tokens", type=int, default=64, help="of questions for random weights")
    parser.add_argument("--questions", type=int, default=1, help="questions with right and wrong candidates")
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--answer-tokens", type=int, default=4, help="COCONUT's to GSM8K: 3 or 4")
    parser.add_argument("--sigma", type=float, default=0.4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint or folder
        if not options.checkpoint:
            save_random_reasoner(options.shape, options.prompt_tokens + 64, Path(folder))
        reasoner = LatentReasoner.from_pretrained(checkpoint)
        loop = PlainLoop(reasoner.checkpoint)
    sampler = parse_sampler({"kind": "gaussian", "sigma": options.sigma, "relative": True})
    lengths = (reasoner.checkpoint.latent_steps, options.answer_tokens)
    problems = _mixed(reasoner, sampler, _problems(options), options, lengths)
    n, m = options.candidates, options.rollouts

    def ours() -> list[FloatArray | None]:
        rows = label(reasoner, sampler, problems, n, m, latent_steps=lengths[0], answer_tokens=lengths[1], seed=0)
        return [row.labels for row in rows]

    def plain(at_once: int) -> list[FloatArray]:
        return [plain_labels(loop, sampler, problem, n, m, lengths, at_once) for problem in problems]

    known = [labels for labels in ours() if labels is not None]
    difference = np.abs(np.stack(known) - np.concatenate(plain(n))).mean()
    times: dict[str, list[float]] = {"ours": [], "plain, a candidate a batch": [], "plain, a question a batch": []}
    for _ in range(options.repeats):
        times["ours"].append(timed(ours))
        times["plain, a candidate a batch"].append(timed(lambda: plain(1)))
        times["plain, a question a batch"].append(timed(lambda: plain(n)))
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    completions = len(problems) * n * m * (lengths[0] - 1)
    print(f"{'':<28} {'seconds':>9} {'completions/s':>14} {'ours is faster':>15}")  # noqa: T201
    for name, seconds in median.items():
        print(f"{name:<28} {seconds:9.2f} {completions / seconds:14,.0f} {seconds / median['ours']:14.1f}x")  # noqa: T201
    print(f"mean difference of labels: {difference:.4f}")  # noqa: T201
    result = {
        "benchmark": "annotate",
        **vars(options),
        "prompt_tokens": statistics.mean(len(reasoner.checkpoint.prompt_ids(one.question)) for one in problems),
        "seconds": median,
        "label_difference": float(difference),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    print(json.dumps(result))  # noqa: T201


def _problems(options: argparse.Namespace) -> Sequence[Problem]:
    if not options.checkpoint:
        return random_problems(8 * options.questions, options.prompt_tokens)
    source = {"path": options.task} if os.path.exists(options.task) else {"name": options.task}
    return load_task(**source).problems


def _mixed(
    reasoner: LatentReasoner,
    sampler: Sampler,
    problems: Sequence[Problem],
    options: argparse.Namespace,
    lengths: tuple[int, int],
) -> list[Problem]:
    """Return the first questions with right and wrong candidates: only those are labelled."""
    found: list[Problem] = []
    for problem in problems:
        rows = label(
            reasoner,
            sampler,
            [problem],
            options.candidates,
            0,
            latent_steps=lengths[0],
            answer_tokens=lengths[1],
            seed=0,
        )
        if rows[0].labels is not None:
            found.append(problem)
        if len(found) == options.questions:
            return found
    raise SystemExit("too few questions with right and wrong candidates; try another sigma")


if __name__ == "__main__":
    main()
