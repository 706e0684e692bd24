"""Export of a trained LatentRM: the best weights become a checkpoint directory and are measured once more."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from latent_core.budgets import GAIN_FILE
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.reasoner import LatentReasoner
from latent_core.reward.checkpoint import RewardCard
from latent_core.reward.training.gains import FEWEST_SAMPLES, fit_gains
from latent_core.reward.training.trainer import forward_flops
from latent_core.reward.training.trunk import greedy_accuracy, trunk_reasoner
from latent_core.samplers import parse_sampler
from latent_core.selection.calibration import ANSWER_CALIBRATION_FILE, CALIBRATION_FILE, VoteCalibration
from latent_core.tasks.base import Problem
from orchestrator.reward_training.job import RewardJob
from orchestrator.reward_training.worker import STATE_FILE
from orchestrator.store.labels import read_labels


def finish_training(job: RewardJob, best: str, directory: str, latent_steps: int, answer_tokens: int) -> dict[str, Any]:
    """Save the best weights with their calibrations, and measure them and their backbone; runs as a Ray task.

    Args:
        job: The training.
        best: Directory of the best checkpoint.
        directory: Where the LatentRM goes.
        latent_steps: T of the reasoner.
        answer_tokens: Longest answer in tokens.

    Returns:
        `validation` and `train` with numbers by name, `backbone_greedy_accuracy` and `reasoner_greedy_accuracy` on
        the validation questions, both calibrations, `flops_per_evaluation`, and what `gain_table` was fitted to.
    """
    torch.set_num_threads(job.settings.threads)
    # Every checkpoint that is opened would draw a bar and report the head, which is replaced at once.
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = job.new_model().eval().requires_grad_(False).to(device)
    state = torch.load(Path(best) / STATE_FILE, map_location=device, weights_only=True)
    model.load_state_dict(state["trainer"]["model"])
    encode = job.encoder()
    validation, watched = job.load_validation(encode), job.load_watched(encode)
    report, on_train = validation.measure(model), watched.measure(model)

    reasoner = Checkpoint.open(job.reasoner)
    target = Path(directory)
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    settings = job.settings
    card = RewardCard(
        score_answer=settings.score_answer,
        objective=settings.objective,
        reasoner=reasoner.fingerprint,
        seed=settings.seed,
        auc_by_step=validation.auc_by_step(model),
    )
    model.save(reasoner, temporary, card)
    _write(report.calibration, temporary / CALIBRATION_FILE)
    if report.answer_calibration is not None:
        _write(report.answer_calibration, temporary / ANSWER_CALIBRATION_FILE)
    problems = _problems(job)
    lengths = {"latent_steps": latent_steps, "answer_tokens": answer_tokens}
    original = LatentReasoner.from_pretrained(job.reasoner, device)
    gains = None
    if job.gain_samples >= FEWEST_SAMPLES:
        gains = fit_gains(
            original,
            model,
            problems,
            parse_sampler(job.sampler),
            job.gain_samples,
            report.calibration,
            cut_answers=job.cut_answers,
            **lengths,
        )
        (temporary / GAIN_FILE).write_text(gains.model_dump_json() + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)

    flops = sum(
        forward_flops(model.flops, measured.questions, settings.score_answer) for measured in (validation, watched)
    )
    return {
        "validation": report.numbers,
        "train": {name: value for name, value in on_train.numbers.items() if name.startswith("auc")},
        "calibration": report.calibration.model_dump(mode="json"),
        "answer_calibration": report.answer_calibration and report.answer_calibration.model_dump(mode="json"),
        "backbone_greedy_accuracy": greedy_accuracy(trunk_reasoner(model, job.reasoner), problems, **lengths),
        "reasoner_greedy_accuracy": greedy_accuracy(original, problems, **lengths),
        "gain_table": gains and {"samples": gains.samples, "questions": gains.questions, "sampler": gains.sampler},
        "flops_per_evaluation": flops,
    }


def _problems(job: RewardJob) -> list[Problem]:
    """Return the validation questions as problems."""
    wanted = set(job.validation)
    found: dict[str, Problem] = {}
    for file in sorted({file for file, _ in job.validation}):
        table = read_labels(file, ["question_id", "question", "reference", "grader"])
        for row in table.take(list(range(0, len(table), job.validation_candidates))).to_pylist():
            if (file, row["question_id"]) in wanted:
                found[row["question_id"]] = Problem(
                    row["question_id"],
                    row["question"],
                    row["reference"],
                    grader=row["grader"],
                    extractor=job.validation_extractor,
                )
    return list(found.values())


def _write(calibration: VoteCalibration, file: Path) -> None:
    file.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
