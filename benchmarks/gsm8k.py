"""A latent reasoner on real benchmarks, in one process without Ray: train it, sample it, score it, report.

    python -m benchmarks.gsm8k train tune_configs/train_gsm8k.yaml runs/gsm8k base=smollm2 data.path=gsm8k_train.jsonl
    python -m benchmarks.gsm8k measure runs/gsm8k --train gsm8k_train.jsonl --tasks gsm8k_test.json multiarith.json \
        svamp.json --device cuda --dtype bfloat16 --minutes 9
    python -m benchmarks.gsm8k report runs/gsm8k

`measure` works in parts, each a file in `parts/` beside the checkpoint: greedy decoding of every task, labels, a
LatentRM trained on them, and every sampler setting of every task, with scores and dynamics. What is there is not done
again, and no part is begun after `--minutes`: the same command goes on. Labels are of the problems of `--train`, never
of a task.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.gsm8k_parts import Part, Parts, read_parts
from benchmarks.gsm8k_report import write_report
from benchmarks.gsm8k_reward import Labels, label_problems, train_reward_model
from latent_core.dynamics.block import LatentBlock
from latent_core.dynamics.dynamics import Dynamics
from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import DTYPES, LatentReasoner
from latent_core.reward.batch_scoring import score_groups
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.types import QuestionToScore
from latent_core.samplers import parse_sampler
from latent_core.samplers.base import Sampler
from latent_core.tasks.base import Problem, Task
from latent_core.tasks.loading import load_task
from latent_core.training.settings import ReasonerTrainingSettings
from latent_core.training.trainer import train_reasoner
from latent_core.trajectory import TrajectoryBatch

GREEDY: dict[str, Any] = {"kind": "none"}
SETTINGS: tuple[dict[str, Any], ...] = (
    *({"kind": "mc_dropout", "p": p} for p in (0.05, 0.1, 0.2, 0.3)),
    *({"kind": "gaussian", "sigma": sigma, "relative": True} for sigma in (0.1, 0.2, 0.4, 0.8)),
    *({"kind": "answer_sampling", "temperature": temperature} for temperature in (0.5, 1.0, 1.5)),
)
LABELLED_UNDER: dict[str, Any] = {"kind": "mc_dropout", "p": 0.1}
_QUESTIONS_AT_ONCE = 64
_SEED = 0


@dataclass(frozen=True)
class Measurement:
    """Measures parts of one reasoner.

    Attributes:
        reasoner: The reasoner.
        reward_model: Its LatentRM; None before there is one.
        samples: N.
    """

    reasoner: LatentReasoner
    reward_model: LatentRewardModel | None
    samples: int

    def part(self, task: Task, setting: dict[str, Any]) -> Part:
        """Sample a task under a setting, score the samples, and look at their latents."""
        sampler, is_greedy = parse_sampler(setting), setting == GREEDY
        found = Part(task.name, sampler.describe(), scores=None if is_greedy or self.reward_model is None else [])
        dynamics = Dynamics(self.reasoner.checkpoint.latent_steps, self.reasoner.checkpoint.hidden_size)
        for first in range(0, len(task.problems), _QUESTIONS_AT_ONCE):
            problems = task.problems[first : first + _QUESTIONS_AT_ONCE]
            started = time.perf_counter()
            batch = self._sample(sampler, problems, 1 if is_greedy else self.samples).judged("abstain")
            found.seconds += time.perf_counter() - started
            shape = (len(problems), -1)
            found.correct.append(batch.correct.reshape(shape))
            found.votes.append(_votes(batch.answer, len(problems)))
            if is_greedy:
                continue
            steps = self._steps_scored(problems, batch)
            if found.scores is not None and steps is not None:
                found.scores.append(steps.sum(axis=-1))
            greedy = self._sample(parse_sampler(GREEDY), problems, 1)
            dynamics.add(_block(batch, greedy, len(problems), steps))
        found.dynamics = [] if is_greedy else dynamics.measured()
        return found

    def _sample(self, sampler: Sampler, problems: Sequence[Problem], samples: int) -> TrajectoryBatch:
        checkpoint = self.reasoner.checkpoint
        lengths = {"latent_steps": checkpoint.latent_steps, "answer_tokens": checkpoint.format.answer_tokens}
        return sample_trajectories(self.reasoner, sampler, problems, range(samples), seed=_SEED, **lengths)

    def _steps_scored(self, problems: Sequence[Problem], batch: TrajectoryBatch) -> Any:
        """Return the reward of every latent step, [questions, samples, steps], NaN for rows that failed."""
        if self.reward_model is None:
            return None
        latents = [batch.latents[row] for row in range(len(batch))]
        groups = [
            QuestionToScore(problem.question, tuple(latents[start : start + self.samples]), ((),) * self.samples)
            for problem, start in zip(problems, range(0, len(batch), self.samples), strict=True)
        ]
        prompts = [self.reasoner.checkpoint.prompt_ids(problem.question) for problem in problems]
        scored = score_groups(self.reward_model, prompts, groups, score_answer=False)
        absent = np.full(self.reasoner.checkpoint.latent_steps, np.nan)
        rows = [absent if one.step_scores is None else one.step_scores for one in scored]
        return np.stack(rows).astype(np.float64).reshape(len(problems), self.samples, -1)


def _votes(answers: Sequence[str | None], questions: int) -> Any:
    codes: dict[str, int] = {}
    flat = [-1 if answer is None else codes.setdefault(answer, len(codes)) for answer in answers]
    return np.array(flat, np.int64).reshape(questions, -1)


def _block(batch: TrajectoryBatch, greedy: TrajectoryBatch, questions: int, steps: Any) -> LatentBlock:
    latents, valid = _dense(batch, questions)
    base, known = _dense(greedy, questions)
    present = np.repeat(valid[..., None], latents.shape[2], axis=2)
    return LatentBlock(
        latents=latents,
        present=present,
        valid=valid,
        correct=batch.correct.reshape(questions, -1),
        greedy=base[:, 0],
        greedy_present=np.repeat(known[:, :1], latents.shape[2], axis=1),
        scores=None if steps is None else steps.cumsum(axis=-1),
    )


def _dense(batch: TrajectoryBatch, questions: int) -> tuple[Any, Any]:
    """Return latents [questions, samples, steps, width], zeros for rows that failed, and which have not failed."""
    rows = [batch.latents[row] for row in range(len(batch))]
    valid = np.array([row is not None for row in rows])
    shape = next((row.shape for row in rows if row is not None), (0, 0))
    filled = np.stack([np.zeros(shape) if row is None else row for row in rows]).astype(np.float32)
    return filled.reshape(questions, -1, *shape), valid.reshape(questions, -1)


def measure(options: argparse.Namespace) -> int:
    """Compute the parts that are not there; return how many are left."""
    parts = Parts(options.directory / "parts", options.minutes)
    device, dtype = torch.device(options.device), DTYPES[options.dtype]
    reasoner = LatentReasoner.from_pretrained(str(options.directory), device, dtype)
    tasks = [load_task(path=str(path)).head(options.limit) for path in options.tasks]
    plain = Measurement(reasoner, None, options.n)
    for task in tasks:
        parts.get(f"{task.name}-greedy", lambda task=task: plain.part(task, GREEDY))
    problems = load_task(path=str(options.train)).problems[: options.label_questions]
    labels: list[Labels] = []
    for first in range(0, len(problems), options.label_at_once):
        some = problems[first : first + options.label_at_once]
        found = parts.get(
            f"labels-{first:05d}",
            lambda some=some: label_problems(
                reasoner, parse_sampler(LABELLED_UNDER), some, options.candidates, options.rollouts, _SEED
            ),
        )
        if found is not None:
            labels += found
    folder = options.directory / "latent-rm"
    trained = None
    if not parts.left_out:
        train = lambda: train_reward_model(reasoner, labels, options.reward_updates, folder, _SEED)  # noqa: E731
        trained = parts.get("latent-rm", train)
    reward_model = None
    if trained is not None and trained.has_learned:
        reward_model = LatentRewardModel.from_pretrained(str(folder), device, dtype)
    full = Measurement(reasoner, reward_model, options.n)
    # Without labels nothing would be scored, and parts are not computed twice.
    for task in tasks if not parts.left_out else []:
        for setting in SETTINGS:
            name = parse_sampler(setting).describe().replace(" ", "_")
            parts.get(f"{task.name}-{name}", lambda task=task, setting=setting: full.part(task, setting))
    sys.stdout.write("all parts are there\n" if not parts.left_out else "time is over; the same command goes on\n")
    return parts.left_out


def train(recipe: Path, out: Path, overrides: Sequence[str]) -> None:
    """Train, or go on training; settings are those of the recipe, with `key=value` over them."""
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    for override in overrides:
        key, _, value = override.partition("=")
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = yaml.safe_load(value)

    def say(entry: dict[str, float | int | str]) -> None:
        sys.stdout.write(" ".join(f"{key} {value}" for key, value in entry.items()) + "\n")
        sys.stdout.flush()

    say(dict(train_reasoner(ReasonerTrainingSettings.model_validate(content), out, say)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("recipe", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("overrides", nargs="*")
    one = commands.add_parser("measure")
    one.add_argument("directory", type=Path, help="what train has written")
    one.add_argument("--train", type=Path, required=True, help="problems to label, none of a task")
    one.add_argument("--tasks", type=Path, nargs="+", required=True)
    one.add_argument("--limit", type=int, help="questions of each task; all without it")
    one.add_argument("--n", type=int, default=64)
    one.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    one.add_argument("--dtype", choices=DTYPES, default="float32")
    one.add_argument("--minutes", type=float, default=9.0)
    one.add_argument("--label-questions", type=int, default=2048)
    one.add_argument("--label-at-once", type=int, default=64)
    one.add_argument("--candidates", type=int, default=16)
    one.add_argument("--rollouts", type=int, default=8)
    one.add_argument("--reward-updates", type=int, default=300)
    one = commands.add_parser("report")
    one.add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "train":
        train(options.recipe, options.out, options.overrides)
    elif options.command == "measure":
        measure(options)
    else:
        write_report(read_parts(options.directory / "parts"), options.directory)


if __name__ == "__main__":
    main()
