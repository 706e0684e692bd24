"""The store: content-addressed folders of trajectories, and of the scores and labels that belong to them.

A folder is named by the hash of everything that determines what is in it. How the texts of trajectories are read has a
part of the name for itself: folders of the same trajectories begin alike, and one is made from another without a model.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.shard_folder import ShardFolder
from workers.requests import PlannedCode

_VERSION = 2


@dataclass(frozen=True)
class BeamShape:
    """A beam search, as far as it determines trajectories.

    Attributes:
        beams: B, beams that are kept.
        candidates: C, continuations per beam and step.
        scorer: Fingerprint of the LatentRM that guides it.
        scorer_dtype: Precision of the LatentRM.
        extras: As in `TrajectorySpec`, of the LatentRM.
    """

    beams: int
    candidates: int
    scorer: str
    scorer_dtype: str
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrajectorySpec:
    """Everything that determines the trajectories of a setting.

    Attributes:
        checkpoint: Fingerprint of the checkpoint.
        task: Fingerprint of the task's questions and answers.
        sampler: Complete sampler setting.
        latent_steps: T.
        answer_tokens: Longest answer in tokens.
        seed: Seed of the draws.
        dtype: Precision of the computation.
        beam: The search, or None for independent samples.
        extras: Whatever else determines them and is not as it always was, by name, as plain data; above all under
            "code" the version or the source of samplers and the like. What is as it always was is left out, so that
            what stores of earlier builds hold keeps its name.
        reading: How answers are found in the texts and judged, where that is not as it always was: see
            `latent_core.tasks.reading`. The trajectories themselves do not depend on it.
    """

    checkpoint: str
    task: str
    sampler: dict[str, Any]
    latent_steps: int
    answer_tokens: int
    seed: int
    dtype: str
    beam: BeamShape | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of the setting's folder: `trajectories_key`, and behind it a hash of the reading where there is one."""
        return f"{self.trajectories_key}-{_key(self.reading)}" if self.reading else self.trajectories_key

    @property
    def code(self) -> PlannedCode:
        """What workers compare with the code that they run."""
        return PlannedCode(self.extras, self.reading)

    @property
    def trajectories_key(self) -> str:
        """Hash of everything that determines what the model does (20 hexadecimal digits)."""
        return _key({name: value for name, value in self.content.items() if name != "reading"})

    @property
    def content(self) -> dict[str, Any]:
        """The specification as plain data."""
        content = _without_empty(asdict(self), "extras", "reading")
        if self.beam is None:
            del content["beam"]
        else:
            content["beam"] = _without_empty(content["beam"], "extras")
        return {"version": _VERSION, **content}


@dataclass(frozen=True)
class ScoreSpec:
    """Everything that determines the scores of given trajectories.

    Attributes:
        scorer: Fingerprint of the LatentRM.
        dtype: Precision of its computation.
        score_answer: Whether it reads the written answers too.
        latents: Precision of the latents that it reads.
        extras: As in `TrajectorySpec`.
    """

    scorer: str
    dtype: str
    score_answer: bool
    latents: str
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Hash that names the folder of scores (20 hexadecimal digits)."""
        return _key(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """The specification as plain data."""
        return {"version": _VERSION, **_without_empty(asdict(self), "extras")}


@dataclass(frozen=True)
class LabelSpec:
    """Everything that determines the labelled candidates of a setting.

    Attributes:
        trajectories: What determines the candidates.
        candidates: N, candidates per question; whether a question has mixed outcomes depends on it.
        rollouts: M, completions per candidate and step.
        latents: Precision of the stored latents.
    """

    trajectories: TrajectorySpec
    candidates: int
    rollouts: int
    latents: str

    @property
    def key(self) -> str:
        """Hash that names the folder of labels (20 hexadecimal digits)."""
        return _key(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """The specification as plain data."""
        own = {"candidates": self.candidates, "rollouts": self.rollouts, "latents": self.latents}
        return {"version": _VERSION, "labels": own, "trajectories": self.trajectories.content}


class SettingStore(ShardFolder):
    """The trajectories of one setting."""

    def __init__(self, root: str, spec: TrajectorySpec, latents: str = "none") -> None:
        """Name a setting's place; nothing is read or written yet.

        Args:
            root: Directory or URI of the store.
            spec: The setting.
            latents: Whether and how latent vectors are wanted: shards with less do not count as present.
        """
        super().__init__(root, spec.key, spec.content, latents)
        self.spec = spec

    def relatives(self) -> list[ShardFolder]:
        """List the folders that hold the same trajectories, read in another way."""
        own = self.spec.trajectories_key
        names = [name for name in self.beside() if name.partition("-")[0] == own and name != self.name]
        return [ShardFolder(self.root, name, {}, self.latents) for name in names]


class ScoreStore(ShardFolder):
    """The scores of one setting's trajectories by one LatentRM, in a folder beside the trajectories."""

    def __init__(self, trajectories: SettingStore, spec: ScoreSpec) -> None:
        """Name the place of the scores; nothing is read or written yet."""
        super().__init__(trajectories.root, self.folder(trajectories.name, spec), spec.content)
        self.spec = spec

    @staticmethod
    def folder(trajectories: str, spec: ScoreSpec) -> str:
        """Return the path of a folder of scores below the store, given that of its trajectories."""
        return f"{trajectories}/scores-{spec.key}"


class LabelStore(ShardFolder):
    """Labelled candidates of one setting."""

    def __init__(self, root: str, spec: LabelSpec) -> None:
        """Name the place of the labels; nothing is read or written yet."""
        super().__init__(root, f"labels-{spec.key}", spec.content)
        self.spec = spec


def _without_empty(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value or name not in names}


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=10).hexdigest()
