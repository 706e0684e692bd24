"""Content addresses of the store: the specifications that name its folders of trajectories, scores and labels.

A folder is named by the hash of everything that determines what is in it. How the texts of trajectories are read has a
part of the name for itself: folders of the same trajectories begin alike, and one is made from another without a model.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from latent_core.trajectory import NO_TOKEN, CutAnswers, is_cut
from orchestrator.store.folder import SCORES, ShardFolder
from orchestrator.store.shards import Shard
from workers.requests import PlannedCode
from workers.tables import CONFIDENCE_COLUMNS, COST_FIELDS, CUT_FIELDS, LABEL_SCHEMA, SCORE_SCHEMA, trajectory_schema

_VERSION = 2
_CUT = "cut"
PRUNE_FROM_BEFORE = 1
"""Where searches of earlier versions began to prune, which did not say so."""


@dataclass(frozen=True)
class BeamShape:
    """A search, as far as it determines trajectories.

    Attributes:
        beams: B, beams that are kept; particles of "smc".
        candidates: C, continuations per beam and step; 1 of "smc".
        scorer: Fingerprint of the LatentRM that guides it.
        scorer_dtype: Precision of the LatentRM.
        extras: As in `TrajectorySpec`, of the LatentRM.
        kind: "beam" or "smc".
        prune_from: First latent step at which anything is dropped.
        temperature: Of the weights of particles; None for beams.
    """

    beams: int
    candidates: int
    scorer: str
    scorer_dtype: str
    extras: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "beam"
    prune_from: int = PRUNE_FROM_BEFORE
    temperature: float | None = None

    @property
    def title(self) -> str:
        """What it is called behind the name of its trial, such as "beam 16x4 from 3"."""
        shape = f"{self.beams}x{self.candidates}" if self.kind == "beam" else str(self.beams)
        return f"{self.kind} {shape}" + (f" from {self.prune_from}" if self.prune_from > 1 else "")

    @property
    def content(self) -> dict[str, Any]:
        """The search as plain data, in which what was always so is left out: earlier stores keep their names."""
        before = {"extras": {}, "kind": "beam", "prune_from": PRUNE_FROM_BEFORE, "temperature": None}
        return {name: value for name, value in asdict(self).items() if name not in before or value != before[name]}


@dataclass(frozen=True)
class TrajectorySpec:
    """Everything that determines the trajectories of a trial.

    Attributes:
        checkpoint: Fingerprint of the checkpoint.
        task: Fingerprint of the task's questions and answers.
        sampler: Complete trial.
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
        """Name of the trial's folder: `trajectories_key`, and behind it a hash of the reading where there is one."""
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
            content["beam"] = self.beam.content
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
    """Everything that determines the labelled candidates of a trial.

    Attributes:
        trajectories: What determines the candidates.
        candidates: N, candidates per question; whether a question has mixed outcomes depends on it.
        rollouts: M, completions per candidate and step.
        latents: Precision of the stored latents.
        cut_answers: Whether an answer that was cut off can be right: labels are shares of right completions.
    """

    trajectories: TrajectorySpec
    candidates: int
    rollouts: int
    latents: str
    cut_answers: CutAnswers = "vote"

    @property
    def key(self) -> str:
        """Hash that names the folder of labels (20 hexadecimal digits)."""
        return _key(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """The specification as plain data."""
        own = {"candidates": self.candidates, "rollouts": self.rollouts, "latents": self.latents}
        # Left out where it says what was always so, as in stores that are older than the trial.
        own |= {} if self.cut_answers == "vote" else {"cut_answers": self.cut_answers}
        return {"version": _VERSION, "labels": own, "trajectories": self.trajectories.content}


class TrajectoryStore(ShardFolder):
    """The trajectories of one trial."""

    schema = trajectory_schema()
    optional = frozenset({_CUT, *CONFIDENCE_COLUMNS})

    def __init__(
        self,
        root: str,
        spec: TrajectorySpec,
        latents: str = "none",
        end_ids: Sequence[int] | None = None,
        kept: str | None = None,
    ) -> None:
        """Name a trial's place; nothing is read or written yet.

        Args:
            root: Directory or URI of the store.
            spec: The trial.
            latents: Whether and how latent vectors are wanted: shards with less do not count as present.
            end_ids: Tokens that end an answer, where the checkpoint is at hand. Shards that are older than the column
                `cut` do not say which answers were cut off; without these ids they are learned from answers that ended
                earlier than they had to, and where none did, `ask_end_ids` is asked for them.
            kept: Whether and how latent vectors are kept of what is sampled; as they are wanted where it is not given.
        """
        super().__init__(root, spec.key, spec.content, latents)
        self.spec = spec
        self.kept = latents if kept is None else kept
        self.end_ids = None if end_ids is None else tuple(end_ids)
        self.ask_end_ids: Callable[[], Sequence[int]] | None = None
        self._learned: frozenset[int] = frozenset()

    @property
    def whole_questions(self) -> bool:
        """The beams of a question are found together."""
        return self.spec.beam is not None

    def _table(self, file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
        known = set(file.schema_arrow.names)
        if columns is None or known.issuperset(CONFIDENCE_COLUMNS):
            return self._table_with_cut(file, columns)
        # Older shards do not say how sure the model was: null says so.
        found = self._table_with_cut(file, [name for name in columns if name not in CONFIDENCE_COLUMNS])
        for name in CONFIDENCE_COLUMNS:
            if name in columns:
                found = found.append_column(name, pa.nulls(len(found), self.schema.field(name).type))
        return found

    def _table_with_cut(self, file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
        if (columns is not None and _CUT not in columns) or _CUT in file.schema_arrow.names:
            return super()._table(file, columns)
        table = file.read(columns=None if columns is None else _with_answers(columns))
        asked = table.select(table.column_names if columns is None else _without_cut(columns))
        return asked.append_column(_CUT, pa.array(self._derived(table), pa.bool_()))

    def _derived(self, table: pa.Table) -> "NDArray[Any]":
        """Return which answers of an old shard were cut off; None where nobody can tell."""
        written, last = _written(table), _last_ids(table)
        ends = self.end_ids if self.end_ids is not None else self._learned_end_ids()
        if not ends and self.ask_end_ids is not None:
            ends = self.end_ids = tuple(self.ask_end_ids())
        cut: NDArray[Any] = is_cut(written, last, self.spec.answer_tokens, ends)
        cut &= table["error"].is_null().to_numpy()
        # Where no answer ended earlier than it had to, an end token and any other last token look alike.
        return cut if ends or not cut.any() else np.array([None if at_the_limit else False for at_the_limit in cut])

    def _learned_end_ids(self) -> frozenset[int]:
        """Return the last tokens of answers that ended earlier than they had to, in all shards."""
        if not self._learned:
            for shard, name in self._files():
                table = self._parse(shard, name, _ANSWER, lambda file: file.read(columns=_ANSWER))
                early, last = _written(table) < self.spec.answer_tokens, _last_ids(table)
                self._learned |= frozenset(last[early & (last != NO_TOKEN)].tolist())
        return self._learned

    def write(self, shard: Shard, table: pa.Table, latents: str | None = None) -> None:
        """Write a shard, see `ShardFolder.write`; its name says which latent vectors are in it."""
        has_latents = "latents" in table.column_names
        super().write(shard, table, latents or (self.kept if has_latents else self.latents))

    def with_latents(self) -> "TrajectoryStore":
        """Return the same place, of which only shards with latent vectors count as present."""
        store = copy(self)
        store.latents = "float16" if self.latents == "none" else self.latents
        return store

    def relatives(self) -> list[ShardFolder]:
        """List the folders that hold the same trajectories, read in another way."""
        own = self.spec.trajectories_key
        names = [name for name in self.beside() if name.partition("-")[0] == own and name != self.name]
        return [ShardFolder(self.root, name, {}, self.latents) for name in names]


class ScoreStore(ShardFolder):
    """The scores of one trial's trajectories by one LatentRM, in a folder beside the trajectories."""

    schema = SCORE_SCHEMA
    error_column = "score_error"

    def __init__(self, trajectories: TrajectoryStore, spec: ScoreSpec) -> None:
        """Name the place of the scores; nothing is read or written yet."""
        super().__init__(trajectories.root, self.folder(trajectories.name, spec), spec.content)
        self.spec = spec

    @staticmethod
    def folder(trajectories: str, spec: ScoreSpec) -> str:
        """Return the path of a folder of scores below the store, given that of its trajectories."""
        return f"{trajectories}/{SCORES}{spec.key}"


class LabelStore(ShardFolder):
    """Labelled candidates of one trial."""

    schema = pa.schema([*LABEL_SCHEMA, *COST_FIELDS, *CUT_FIELDS])
    optional = frozenset(name for name, _ in [*COST_FIELDS, *CUT_FIELDS])

    def __init__(self, root: str, spec: LabelSpec) -> None:
        """Name the place of the labels; nothing is read or written yet."""
        super().__init__(root, f"labels-{spec.key}", spec.content)
        self.spec = spec

    @property
    def whole_questions(self) -> bool:
        """Which candidates are labelled depends on all of a question."""
        return True

    def _table(self, file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
        if columns is None:
            return super()._table(file, columns)
        # Older sets of labels do not tell how many tokens were written, nor which answers were cut off: null says so.
        known = set(file.schema_arrow.names)
        absent = [name for name in columns if name.startswith(_CUT) and name not in known]
        table = super()._table(file, [name for name in columns if name not in absent])
        for name in absent:
            table = table.append_column(name, pa.nulls(len(table), self.schema.field(name).type))
        return table


_ANSWER = ["answer_tokens", "answer_ids", "error"]


def _without_cut(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name != _CUT]


def _with_answers(columns: Sequence[str]) -> list[str]:
    return [*dict.fromkeys([*_without_cut(columns), *_ANSWER])]


def _written(table: pa.Table) -> "NDArray[np.int64]":
    written: NDArray[np.int64] = table["answer_tokens"].to_numpy().astype(np.int64)
    return written


def _last_ids(table: pa.Table) -> "NDArray[np.int64]":
    """Return the last token of every answer; `NO_TOKEN` where there is none."""
    ids = table["answer_ids"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(ids), 0).to_numpy(zero_copy_only=False)
    last = np.full(len(ids), NO_TOKEN, dtype=np.int64)
    # Values of the lists one behind the other: the last of each stands before the first of the next.
    last[lengths > 0] = ids.flatten().to_numpy(zero_copy_only=False)[(np.cumsum(lengths) - 1)[lengths > 0]]
    return last


def _without_empty(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value or name not in names}


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=10).hexdigest()
