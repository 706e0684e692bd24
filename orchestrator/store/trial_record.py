"""A trial as plain data, so that what has been planned can be found again without the models."""

from collections.abc import Mapping, Sequence
from typing import Any

from latent_core.selection.calibration import VoteCalibration
from orchestrator.analysis.cut_answers import CUT_ANSWERS_BEFORE
from orchestrator.store.specs import BeamShape, ScoreSpec, ScoreStore, TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Scored, Trial, WithSearches


def plain_trial(trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON can hold it; the place of the store is left out, since stores are moved and copied."""
    scored = trial.scored
    return {
        "name": trial.name,
        "sampler": trial.sampler,
        "samples": trial.samples,
        "budgets": list(trial.budgets),
        "trajectories": trial.store.spec.content,
        "latents": trial.store.latents,
        "scored": None
        if scored is None
        else {
            "scores": scored.store.spec.content,
            "calibration": _plain_calibration(scored.calibration),
            "answer_calibration": _plain_calibration(scored.answer_calibration),
        },
        "scorer": trial.scorer,
        "cut_answers": trial.cut_answers,
        "end_ids": None if trial.store.end_ids is None else list(trial.store.end_ids),
    }


def trial_from_plain(raw: Mapping[str, Any], store: str) -> Trial:
    """Return the trial that `plain_trial` has described.

    Args:
        raw: What it returned.
        store: Where the store is.

    Raises:
        ValueError: If the store of that time named its folders otherwise.
        KeyError: If something is missing.
        TypeError: If something is not what it should be.
    """
    content = _without_version(raw["trajectories"])
    beam = content.pop("beam", None)
    spec = TrajectorySpec(**content, beam=BeamShape(**beam) if beam else None)
    _check_version(raw["trajectories"], spec.content)
    trajectories = TrajectoryStore(store, spec, raw["latents"], raw.get("end_ids"))
    return Trial(
        name=raw["name"],
        sampler=raw["sampler"],
        samples=int(raw["samples"]),
        budgets=tuple(int(n) for n in raw["budgets"]),
        store=trajectories,
        scored=None if raw["scored"] is None else _scored(raw["scored"], trajectories),
        scorer=raw["scorer"],
        cut_answers=raw.get("cut_answers", CUT_ANSWERS_BEFORE),
    )


def plain_with_searches(trial: Trial, searches: Sequence[Trial]) -> dict[str, Any]:
    """Return a trial and its beam searches as JSON can hold them."""
    return {**plain_trial(trial), "searches": [plain_trial(search) for search in searches]}


def with_searches_from_plain(raw: Mapping[str, Any], store: str) -> WithSearches:
    """Return what `plain_with_searches` has described; arguments and errors are those of `trial_from_plain`."""
    return trial_from_plain(raw, store), tuple(trial_from_plain(one, store) for one in raw["searches"])


def _scored(raw: Mapping[str, Any], trajectories: TrajectoryStore) -> Scored:
    spec = ScoreSpec(**_without_version(raw["scores"]))
    _check_version(raw["scores"], spec.content)
    calibrations = [_calibration(raw[name]) for name in ("calibration", "answer_calibration")]
    return Scored(ScoreStore(trajectories, spec), *calibrations)


def _without_version(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "version"}


def _check_version(recorded: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    # The version is part of what names a folder: under another one nothing would be found, and all seem to be missing.
    if recorded["version"] != own["version"]:
        raise ValueError(
            f"its store has version {recorded['version']}, this latentswarm reads version {own['version']}"
        )


def _plain_calibration(calibration: VoteCalibration | None) -> dict[str, Any] | None:
    return None if calibration is None else calibration.model_dump(mode="json")


def _calibration(raw: Mapping[str, Any] | None) -> VoteCalibration | None:
    return None if raw is None else VoteCalibration.model_validate(raw)
