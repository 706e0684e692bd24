"""What a run has to know about its LatentRM: checked before anything starts, and refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from scored_plans import GAUSSIAN, Copy, config_of, plan_of, refusal

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.reward.checkpoint import CARD_FILE, RewardCard, RewardCheckpoint
from latent_core.samplers import parse_sampler
from latent_core.selection.calibration import ANSWER_CALIBRATION_FILE, CALIBRATION_FILE, VoteCalibration
from latent_core.training.model import build_model, save_checkpoint
from latent_core.training.settings import ArchitectureSettings
from latent_core.training.tokenizer import build_tokenizer
from orchestrator.experiment.command_plans import plan_sweep
from orchestrator.experiment.plan import make_plan
from orchestrator.store.specs import ScoreSpec


def test_without_a_scorer_nothing_is_scored_and_no_latents_are_kept(content: dict[str, Any]) -> None:
    plan = plan_of(content, scorer={})
    trial = plan.trial("a", parse_sampler(GAUSSIAN))
    assert plan.scorer is None
    assert (trial.scored, trial.store.latents) == (None, "none")
    assert trial.coverage(len(plan.problems)).unscored(8, 8) == []


def test_what_determines_scores(content: dict[str, Any], tiny_reward_checkpoint: Path) -> None:
    plan = plan_of(content, scorer={**content["scorer"], "dtype": "bfloat16"})
    trial = plan.trial("a", parse_sampler(GAUSSIAN))
    assert trial.scored is not None
    fingerprint = RewardCheckpoint.open(str(tiny_reward_checkpoint)).fingerprint
    assert trial.scored.store.spec == ScoreSpec(fingerprint, "bfloat16", True, "float16")
    assert trial.store.latents == "float16"
    assert trial.scored.store.name == f"{trial.store.spec.key}/scores-{trial.scored.store.spec.key}"
    # A scorer changes no trajectory.
    plain = plan_of(content, scorer={}).trial("a", parse_sampler(GAUSSIAN))
    assert plain.store.spec == trial.store.spec


@pytest.mark.parametrize(("latents", "kept"), [("auto", "float16"), ("float16", "float16"), ("float32", "float32")])
def test_the_precision_of_latents(content: dict[str, Any], latents: str, kept: str) -> None:
    plan = plan_of(content, store={**content["store"], "latents": latents})
    trial = plan.trial("a", parse_sampler(GAUSSIAN))
    assert trial.scored is not None
    assert (trial.store.latents, trial.scored.store.spec.latents) == (kept, kept)
    assert trial.scored.store.latents == "none"


@pytest.mark.parametrize("sampler", [{"kind": "none"}, {"kind": "gaussian", "sigma": 0.0}])
def test_a_single_sample_is_not_scored(content: dict[str, Any], sampler: dict[str, Any]) -> None:
    trial = plan_of(content).trial("a", parse_sampler(sampler))
    assert (trial.scored, trial.store.latents) == (None, "none")


@pytest.mark.parametrize(("card", "said", "reads"), [(True, None, True), (True, False, False), (False, None, False)])
def test_answers_are_scored_as_it_was_trained_unless_told_otherwise(
    content: dict[str, Any], copy: Copy, card: bool, said: bool | None, reads: bool
) -> None:
    directory = copy()
    (directory / CARD_FILE).write_text(RewardCard(score_answer=card).model_dump_json())
    plan = plan_of(content, scorer={"checkpoint": str(directory), "score_answer": said})
    assert plan.scorer is not None
    assert plan.scorer.score_answer == reads
    trial = plan.trial("a", parse_sampler(GAUSSIAN))
    assert trial.scored is not None
    assert (trial.scored.answer_calibration is not None) == reads


def test_answers_cannot_be_scored_by_one_that_was_trained_without(content: dict[str, Any], copy: Copy) -> None:
    directory = copy()
    (directory / CARD_FILE).write_text(RewardCard(score_answer=False).model_dump_json())
    scorer = {"checkpoint": str(directory), "score_answer": True}
    message = refusal(lambda: plan_of(content, scorer=scorer))
    assert message.startswith(f"scorer.score_answer: {directory} was trained to score latents only; ")
    (directory / CARD_FILE).unlink()
    assert refusal(lambda: plan_of(content, scorer=scorer)) == message


def test_a_scorer_needs_latents(content: dict[str, Any]) -> None:
    message = refusal(lambda: plan_of(content, store={**content["store"], "latents": "none"}))
    assert message.startswith("store.latents: a scorer reads latents, so they have to be kept")


def test_a_beam_search_needs_a_scorer(content: dict[str, Any]) -> None:
    message = refusal(lambda: plan_of(content, scorer={}, search={"kind": "beam"}))
    assert message.startswith("search.kind: beam search is guided by a LatentRM; set scorer.checkpoint")


def test_a_reasoner_is_no_scorer_and_a_scorer_no_reasoner(content: dict[str, Any]) -> None:
    reasoner, scorer = content["checkpoint"], content["scorer"]["checkpoint"]
    assert "which is no known LatentRM" in refusal(lambda: plan_of(content, scorer={"checkpoint": reasoner}))
    assert "which is no known latent reasoner" in refusal(lambda: plan_of(content, checkpoint=scorer))


def test_a_scorer_of_another_reasoner(content: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["ann", "?"], 96)
    trials = ArchitectureSettings(width=32, layers=1, heads=2, positions=96, number_periods=(10.0,))
    save_checkpoint(build_model(trials, tokenizer), tokenizer, tmp_path / "other", torch.float32)
    message = refusal(lambda: plan_of(content, checkpoint=str(tmp_path / "other")))
    assert message.endswith("use a LatentRM that was trained for this reasoner")


def test_a_context_that_is_too_short_is_noticed_with_all_lengths(content: dict[str, Any], copy: Copy) -> None:
    directory = copy()
    longest = max(plan_of(content).prompt_tokens)
    steps, answer = 6, 8
    weights, name = load_file(directory / "model.safetensors"), "transformer.wpe.weight"
    for room, fits_latents, fits_answers in (
        (longest + steps - 1, False, False),
        (longest + steps, True, False),
        (longest + steps + answer, True, False),
        (longest + steps + 1 + answer, True, True),
    ):
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps({**config, "n_positions": room}))
        save_file({**weights, name: weights[name][:room].clone()}, directory / "model.safetensors", {"format": "pt"})
        for score_answer, fits in ((False, fits_latents), (True, fits_answers)):
            scorer = {"checkpoint": str(directory), "score_answer": score_answer}
            if fits:
                assert plan_of(content, scorer=scorer).scorer is not None
                continue
            message = refusal(lambda scorer=scorer: plan_of(content, scorer=scorer))  # type: ignore[misc]
            assert message.startswith(f"scorer.checkpoint {directory}: the longest prompt has {longest} tokens, with 6")
            assert f"but its context is {room}" in message


def test_calibrations_are_the_given_one_else_the_fitted_ones_else_the_default(
    content: dict[str, Any], copy: Copy
) -> None:
    directory = copy()
    scorer = {"checkpoint": str(directory)}
    plan = plan_of(content, scorer=scorer)
    assert plan.scorer is not None
    assert (plan.scorer.calibration, plan.scorer.answer_calibration) == (VoteCalibration(), VoteCalibration())
    fitted, answers = VoteCalibration(temperature=0.2), VoteCalibration(temperature=5.0, weighting="sigmoid")
    (directory / CALIBRATION_FILE).write_text(fitted.model_dump_json())
    (directory / ANSWER_CALIBRATION_FILE).write_text(answers.model_dump_json())
    plan = plan_of(content, scorer=scorer)
    assert plan.scorer is not None
    assert (plan.scorer.calibration, plan.scorer.answer_calibration) == (fitted, answers)
    scored = plan.scorer.scored(plan.trial("a", parse_sampler(GAUSSIAN)).store)
    assert (scored.calibration, scored.answer_calibration) == (fitted, answers)
    plan = plan_of(content, scorer={**scorer, "vote_calibration": {"temperature": 3.0}})
    assert plan.scorer is not None
    assert plan.scorer.calibration.temperature == plan.scorer.answer_calibration.temperature == 3.0


@pytest.mark.parametrize("name", [CALIBRATION_FILE, ANSWER_CALIBRATION_FILE])
@pytest.mark.parametrize("broken", ["{", "[1]", '{"temperature": 0}', '{"temprature": 1}'])
def test_a_broken_calibration_is_no_default(content: dict[str, Any], copy: Copy, name: str, broken: str) -> None:
    directory = copy()
    (directory / name).write_text(broken)
    message = refusal(lambda: plan_of(content, scorer={"checkpoint": str(directory)}))
    assert message.startswith(f"scorer.checkpoint {directory}: {name} is not valid: ")


@pytest.mark.parametrize(
    ("changes", "metric", "message"),
    [
        ({"scorer": {}}, "best_of_n", "best_of_n needs scores, which the trial 'gaussian sigma=0.4' will not have"),
        ({}, "weighted_vote", "which the trial 'gaussian sigma=0.0' will not have"),
    ],
    ids=["no scorer", "a deterministic trial"],
)
def test_a_metric_that_some_trial_cannot_have(
    content: dict[str, Any], tmp_path: Path, changes: dict[str, Any], metric: str, message: str
) -> None:
    sigmas = [0.4] if changes else [0.4, 0.0]
    sweep = {"space": [{"sampler.kind": "gaussian", "sampler.sigma": sigmas}], "objective": metric}
    found = refusal(lambda: plan_sweep("mine", config_of(content, sweep=sweep, **changes), tmp_path))
    assert found.startswith("sweep.objective: ")
    assert message in found


def test_a_metric_of_answers_that_are_not_scored(content: dict[str, Any], tmp_path: Path) -> None:
    sweep = {"space": [{"sampler.kind": "gaussian", "sampler.sigma": 0.4}], "objective": "best_of_n_answer"}
    scorer = content["scorer"]
    blind = config_of(content, sweep=sweep, scorer={**scorer, "score_answer": False})
    assert "best_of_n_answer needs scores of written answers" in refusal(lambda: plan_sweep("mine", blind, tmp_path))
    assert plan_sweep("mine", config_of(content, sweep=sweep), tmp_path).trials


def test_the_same_reasoner_elsewhere_is_the_same(
    content: dict[str, Any], tmp_path: Path, tiny_checkpoint: Path
) -> None:
    shutil.copytree(tiny_checkpoint, tmp_path / "elsewhere")
    plan = plan_of(content, checkpoint=str(tmp_path / "elsewhere"))
    assert plan.checkpoint.fingerprint == Checkpoint.open(str(tiny_checkpoint)).fingerprint


SPOILT: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "int8": (lambda weight: weight.mul(100).to(torch.int8), "stored as I8"),
    "float8": (lambda weight: weight.to(torch.float8_e4m3fn), "stored as F8_E4M3"),
    "shape": (lambda weight: weight[:-1].contiguous(), "with shape"),
}


@pytest.mark.parametrize("whose", ["scorer", "reasoner"])
@pytest.mark.parametrize("kind", SPOILT)
def test_weights_of_another_type_or_shape_are_refused_at_planning(
    content: dict[str, Any], copy: Copy, tiny_checkpoint: Path, tmp_path: Path, whose: str, kind: str
) -> None:
    spoil, reason = SPOILT[kind]
    directory = copy() if whose == "scorer" else Path(shutil.copytree(tiny_checkpoint, tmp_path / "reasoner"))
    weights = load_file(directory / "model.safetensors")
    name = next(name for name in weights if name.endswith("h.1.mlp.c_fc.weight"))
    save_file({**weights, name: spoil(weights[name])}, directory / "model.safetensors", {"format": "pt"})
    changes = {"scorer": {"checkpoint": str(directory)}} if whose == "scorer" else {"checkpoint": str(directory)}
    with pytest.raises(UserError, match=f"h.1.mlp.c_fc.weight .*{reason}") as refused:
        make_plan(config_of(content, **changes))
    assert "\n" not in str(refused.value)
