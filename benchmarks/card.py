"""What a LatentRM's card says of held-out questions, measured anew and written into the card.

    python -m benchmarks.card latent_core/bundled/latent-rm-tiny tune_configs/annotate_tiny.yaml

`train-rm` measures the same when it ends. This is for LatentRMs that were trained before, or elsewhere: it samples the
candidates that `annotate` would label, of the questions that `train-rm` would hold out, and needs no labels.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from latent_core.engine.sampling import sample_trajectories
from latent_core.models.reasoner import LatentReasoner
from latent_core.reward.checkpoint import RewardCheckpoint, write_card
from latent_core.reward.model import LatentRewardModel
from latent_core.reward.step_auc import TELLING_AUC, first_telling_step
from latent_core.reward.training.batches import LabelledCandidate, LabelledQuestion
from latent_core.reward.training.validation import Validation
from latent_core.tasks.base import Problem
from orchestrator.config.annotate import AnnotateConfig
from orchestrator.config.loading import parse_config, read_yaml
from orchestrator.reward_training.plan import QuestionRef


def held_out(problems: Sequence[Problem], share: float) -> list[Problem]:
    """Return the questions that `train-rm` holds out of a labelled set."""
    return [one for one in problems if QuestionRef(one.question_id, one.question, "", True).hash < share]


def candidates_of(reasoner: LatentReasoner, config: AnnotateConfig, problems: Sequence[Problem]) -> Validation:
    """Sample the candidates of questions, and arrange them as `train-rm` does."""
    batch = sample_trajectories(
        reasoner,
        config.sampler,
        problems,
        range(config.candidates),
        latent_steps=config.latent_steps or reasoner.checkpoint.latent_steps,
        answer_tokens=config.answer_tokens or reasoner.checkpoint.format.answer_tokens,
        seed=config.seed,
        latents=torch.float16,
    )
    cut_abstains = config.task.cut_answers == "abstain"
    questions = []
    for index, problem in enumerate(problems):
        rows = [batch[index * config.candidates + number] for number in range(config.candidates)]
        candidates = tuple(
            LabelledCandidate(
                correct=row.correct and not (row.cut and cut_abstains),
                answer=None if row.cut and cut_abstains else row.answer,
                latents=row.latents,
                labels=None if row.latents is None else np.zeros(len(row.latents), np.float32),
                answer_ids=row.answer_ids,
                failed=row.error is not None,
            )
            for row in rows
        )
        prompt = tuple(reasoner.checkpoint.prompt_ids(problem.question))
        questions.append(LabelledQuestion(problem.question_id, prompt, candidates))
    return Validation(questions, score_answer=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description="measure a LatentRM on held-out questions and write its card")
    parser.add_argument("latent_rm", type=Path, help="directory of a LatentRM")
    parser.add_argument("config", type=Path, help="configuration of `latentswarm annotate`")
    parser.add_argument("--share", type=float, default=0.1, help="validation_share of train-rm")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config = parse_config(AnnotateConfig, read_yaml(options.config))
    reasoner = LatentReasoner.from_pretrained(config.checkpoint)
    opened = RewardCheckpoint.open(str(options.latent_rm))
    model = LatentRewardModel.from_pretrained(str(options.latent_rm))
    problems = held_out(config.task.load().head(config.task.limit).problems, options.share)
    validation = candidates_of(reasoner, config, problems)
    areas, report = validation.auc_by_step(model), validation.measure(model)
    write_card(opened.card.model_copy(update={"auc_by_step": areas}), options.latent_rm)
    start = first_telling_step(areas, len(areas))
    print(  # noqa: T201
        f"{report.questions} held-out questions ({report.mixed_questions} mixed), {config.candidates} candidates each; "
        f"AUC after each latent step: {', '.join(f'{area:.3f}' for area in areas)}; the first that reaches "
        f"{TELLING_AUC}: {start}"
    )


if __name__ == "__main__":
    main()
