"""Kinds of a plan: which code decides its trajectories, as far as that is not version 1 of what was shipped."""

import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from latent_core.code_identity import code_of
from latent_core.errors import UserError
from latent_core.models.backbones import BACKBONES, Backbone
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.feedback import FEEDBACKS
from latent_core.models.files import LATENT_FILE
from latent_core.models.formats import FORMATS, LatentFormat
from latent_core.models.formats.base import GENERIC_VERSION
from latent_core.reward.checkpoint import ARCHITECTURE_SUFFIX, RewardCheckpoint
from latent_core.samplers import SAMPLERS, Sampler
from latent_core.samplers.base import Phase
from latent_core.tasks.reading import extractor_code, grader_code

_READING = ("latent_core.answers", "latent_core.tasks")
"""How answers are read is a matter of `TrajectorySpec.reading`."""


def trajectory_extras(checkpoint: Checkpoint, backbone: Backbone, sampler: Sampler) -> dict[str, Any]:
    """Return what `TrajectorySpec.extras` says of the code of a setting; empty where all of it is as it always was.

    Raises:
        UserError: If the source of a kind that is not as it was shipped cannot be read.
    """
    code = {
        "sampler": SAMPLERS.code(sampler.kind),
        "feedback": FEEDBACKS.code(checkpoint.format.feedback, apart=_READING),
        "format": _format_code(checkpoint.directory, [checkpoint.architecture]),
        "backbone": _backbone_code(backbone, sampler),
    }
    return _extras(code)


def check_same_code(
    checkpoint: Checkpoint,
    backbone: Backbone,
    sampler: Sampler,
    graders: Iterable[str],
    extras: Mapping[str, Any],
    reading: Mapping[str, Any],
) -> None:
    """Refuse to compute with other code than that for which a setting was planned, as on a node with older files.

    Args:
        checkpoint: The checkpoint.
        backbone: Family of its architecture.
        sampler: The sampler.
        graders: Names of the graders of some of the questions.
        extras: `TrajectorySpec.extras` of the setting.
        reading: `TrajectorySpec.reading` of the setting.

    Raises:
        UserError: With the names of the kinds that differ, and of this machine.
    """
    own = trajectory_extras(checkpoint, backbone, sampler).get("code", {})
    planned = dict(extras.get("code", {}))
    extractor = dict(reading.get("extractor", {}))
    own["extractor"] = extractor_code(extractor.pop("name", checkpoint.format.extractor))
    planned["extractor"] = extractor
    for name in graders:
        known = name.partition(":")[0]
        own[f"grader {known}"] = grader_code(name)
        planned[f"grader {known}"] = reading.get("graders", {}).get(known, {})
    other = [part for part in sorted({*own, *planned}) if own.get(part, {}) != planned.get(part, {})]
    if other:
        raise UserError(
            f"{platform.node()}: here other code stands behind {', '.join(other)} than where the run was planned; put "
            "the same files on every node"
        )


def scorer_extras(reward: RewardCheckpoint) -> dict[str, Any]:
    """Return what `ScoreSpec.extras` says of a LatentRM: it reads prompts as its format writes them.

    Raises:
        UserError: As for `trajectory_extras`.
    """
    named = [str(name).removesuffix(ARCHITECTURE_SUFFIX) for name in reward.config.architectures or []]
    return _extras({"format": _format_code(reward.directory, named)})


def _extras(code: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    changed = {part: said for part, said in code.items() if said}
    return {"code": changed} if changed else {}


def _format_code(directory: Path, architectures: Iterable[str]) -> dict[str, Any]:
    if (directory / LATENT_FILE).is_file():
        return code_of(LATENT_FILE, [LatentFormat.__module__], GENERIC_VERSION, apart=_READING)
    return FORMATS.code(next(name for name in architectures if name in FORMATS), apart=_READING)


def _backbone_code(backbone: Backbone, sampler: Sampler) -> dict[str, Any]:
    # The names of modules only matter to those who act inside them.
    acts_inside = bool(sampler.module_sites) or any(sampler.projections(phase) for phase in Phase)
    return BACKBONES.code(backbone.name) if acts_inside and backbone.name in BACKBONES else {}
