"""The store: content-addressed folders of trajectories, and of the scores and labels that belong to them.

A folder is named by the hash of everything that determines what is in it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.shard_folder import ShardFolder

_VERSION = 2


@dataclass(frozen=True)
class BeamShape:
    """A beam search, as far as it determines trajectories.

    Attributes:
        beams: B, beams that are kept.
        candidates: C, continuations per beam and step.
        scorer: Fingerprint of the LatentRM that guides it.
        scorer_dtype: Precision of the LatentRM.
    """

    beams: int
    candidates: int
    scorer: str
    scorer_dtype: str


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
    """

    checkpoint: str
    task: str
    sampler: dict[str, Any]
    latent_steps: int
    answer_tokens: int
    seed: int
    dtype: str
    beam: BeamShape | None = None

    @property
    def key(self) -> str:
        """Hash that names the setting's folder (20 hexadecimal digits)."""
        return _key(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """The specification as plain data."""
        content = asdict(self)
        if self.beam is None:
            del content["beam"]
        return {"version": _VERSION, **content}


@dataclass(frozen=True)
class ScoreSpec:
    """Everything that determines the scores of given trajectories.

    Attributes:
        scorer: Fingerprint of the LatentRM.
        dtype: Precision of its computation.
        score_answer: Whether it reads the written answers too.
        latents: Precision of the latents that it reads.
    """

    scorer: str
    dtype: str
    score_answer: bool
    latents: str

    @property
    def key(self) -> str:
        """Hash that names the folder of scores (20 hexadecimal digits)."""
        return _key(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """The specification as plain data."""
        return {"version": _VERSION, **asdict(self)}


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


class ScoreStore(ShardFolder):
    """The scores of one setting's trajectories by one LatentRM, in a folder beside the trajectories."""

    def __init__(self, trajectories: SettingStore, spec: ScoreSpec) -> None:
        """Name the place of the scores; nothing is read or written yet."""
        super().__init__(trajectories.root, f"{trajectories.name}/scores-{spec.key}", spec.content)
        self.spec = spec


class LabelStore(ShardFolder):
    """Labelled candidates of one setting."""

    def __init__(self, root: str, spec: LabelSpec) -> None:
        """Name the place of the labels; nothing is read or written yet."""
        super().__init__(root, f"labels-{spec.key}", spec.content)
        self.spec = spec


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=10).hexdigest()
