"""What does training on its own rollouts do for a reasoner?

    python -m benchmarks.policy                                        # bundled:coconut-tiny, one seed, one CPU thread
    python -m benchmarks.policy --objective supervised --seed 1        # the control on the same questions and masks
    python -m benchmarks.policy --checkpoint bundled:coconut-paths --task path_finding --objective both

Rollouts and updates take turns in one process. Every choice is made by validation questions: the update with the best
greedy + single-sample accuracy whose coverage is at most a point below the start's. That one is tested, once, on
questions of another split, beside the start and with paired 95 % intervals.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch

from latent_core.models.reasoner import LatentReasoner
from latent_core.policy.accuracy import MEASURES, Validation, compare
from latent_core.policy.learner import PolicyLearner
from latent_core.policy.rollouts import rollout
from latent_core.policy.settings import PolicySettings
from latent_core.policy.trainable import load_weights
from latent_core.policy.validation import validate
from latent_core.samplers import Sampler, parse_sampler
from latent_core.tasks.loading import TASKS

_SAMPLER = '{"kind": "mc_dropout", "p": 0.1, "mask": "trajectory"}'
_VALIDATION_SEED, _TEST_SEED = 5, 2311
_LEAST_COVERAGE = -0.01
_SHOWN = ("reward", "no_signal", "entropy", "spread", "cut", "grad_norm")


def main() -> None:
    """Read the command line, train, and print a line per validation and one of the test."""
    arguments = _arguments()
    torch.set_num_threads(1)
    settings = PolicySettings(objective=arguments.objective, **json.loads(arguments.settings))
    sampler = parse_sampler(json.loads(arguments.sampler))
    task, began = TASKS[arguments.task], time.process_time()
    per_update = settings.questions_per_update
    questions = task("train", arguments.updates * per_update, 1000 + arguments.seed).problems
    validation = task("validation", arguments.validation, _VALIDATION_SEED).problems
    learner = PolicyLearner(_load(arguments.checkpoint), sampler, settings, arguments.seed)

    def judged(reasoner: LatentReasoner) -> Validation:
        return validate(reasoner, sampler, validation, settings, _VALIDATION_SEED)

    start = judged(learner.reasoner)
    _say({"update": 0, **_percent(compare(start), MEASURES)})
    best, chosen, at, clocks, shown = 0.0, learner.weights(), 0, [0.0, 0.0], dict.fromkeys(_SHOWN, 0.0)
    for update in range(arguments.updates):
        some, seed = questions[update * per_update :][:per_update], arguments.seed * 1_000_000 + update
        clock = time.process_time()
        rows = rollout(learner.reasoner, sampler, some, settings, seed, learner.version)
        clocks[0] += time.process_time() - clock
        clock = time.process_time()
        numbers = learner.update(some, rows)
        clocks[1] += time.process_time() - clock
        shown = {name: shown[name] + numbers[name] / arguments.every for name in _SHOWN}
        if (update + 1) % arguments.every:
            continue
        found = compare(judged(learner.reasoner), start)
        gains = [f"{name}_gain" for name in MEASURES]
        _say({"update": update + 1, **_percent(found, gains), **{name: round(one, 3) for name, one in shown.items()}})
        quality = found["greedy_gain"] + found["mean_gain"]
        if quality > best and found["coverage_gain"] >= _LEAST_COVERAGE:
            best, chosen, at = quality, learner.weights(), update + 1
        shown = dict.fromkeys(_SHOWN, 0.0)
    trained = time.process_time() - began
    _say({"chosen": at, "processor_seconds": round(trained), "rollouts": round(clocks[0]), "updates": round(clocks[1])})
    _test(arguments, sampler, settings, chosen)


def _test(arguments: Any, sampler: Sampler, settings: PolicySettings, chosen: Mapping[str, torch.Tensor]) -> None:
    """Judge the chosen weights on the test questions, in pairs with the start."""
    problems = TASKS[arguments.task]("test", arguments.test, _TEST_SEED).problems
    answers = {**sampler.to_config(), "answer_temperature": 1.0}
    reasoner = _load(arguments.checkpoint)

    def judged() -> tuple[Validation, Validation]:
        samplers = sampler, parse_sampler(answers)
        one, other = (validate(reasoner, each, problems, settings, _TEST_SEED) for each in samplers)
        return one, other

    start = judged()
    load_weights(reasoner, chosen)
    now = judged()
    found, drawn = compare(now[0], start[0]), compare(now[1], start[1])
    named = [one for name in MEASURES for one in (name, f"{name}_gain", f"{name}_gain_lo", f"{name}_gain_hi")]
    sampled = {f"answers_drawn_{name}": drawn[name] for name in ("mean", "mean_gain", "mean_gain_lo", "mean_gain_hi")}
    before = {f"start_{name}": value for name, value in compare(start[0]).items() if name in MEASURES}
    _say({"test": arguments.seed, **_percent(found, named), **_percent(sampled, sampled), **_percent(before, before)})


def _load(checkpoint: str) -> LatentReasoner:
    return LatentReasoner.from_pretrained(checkpoint, trainable=True)


def _percent(numbers: Mapping[str, float], names: Any) -> dict[str, float]:
    return {name: round(100 * numbers[name], 1) for name in names}


def _say(numbers: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(numbers) + "\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="bundled:coconut-tiny")
    parser.add_argument("--task", default="word_problems", help="word_problems or path_finding")
    parser.add_argument("--objective", default="answer")
    parser.add_argument("--sampler", default=_SAMPLER, help=f"as JSON (default {_SAMPLER})")
    parser.add_argument("--settings", default="{}", help="further settings of the recipe, as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--every", type=int, default=25, help="updates between two validations (default 25)")
    parser.add_argument("--validation", type=int, default=512, help="validation questions (default 512)")
    parser.add_argument("--test", type=int, default=512, help="test questions (default 512)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
