"""From stored latents to the exploration dynamics of trials, block by block.

Nothing here is asked of a model but, where decoded thoughts are not stored yet, its output head; what cannot be had is
said in a line and left out.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latent_core.dynamics.block import ENDED, LatentBlock, dense
from latent_core.dynamics.dynamics import MOST_SAMPLES, Dynamics, Measured
from latent_core.errors import UserError
from latent_core.selection.estimators import FloatArray, IntArray
from latent_core.tasks.base import Problem
from orchestrator.analysis.cut_answers import judged
from orchestrator.analysis.dynamics_rows import DynamicsRow, TrialDynamics
from orchestrator.store.integrity import DamagedShard
from orchestrator.store.shards import Shard, covered_by
from orchestrator.store.thoughts import ThoughtStore, thought_table
from orchestrator.store.trial import Coverage, Trial

if TYPE_CHECKING:
    from latent_core.models.checkpoint import Checkpoint
    from latent_core.models.thought_decoder import ThoughtDecoder

MOST_DECODING_FLOPS: Final = 3e11
"""Work of the output head that a report does unasked for one trial: seconds on one core."""

GREEDY_LATENTS: Final = "`latentswarm run CONFIG sampler.kind=none store.latents=float16` adds them"
"""How a store that has greedy decoding without latents gets them."""

_BLOCK_VALUES = 1 << 22
_COLUMNS = ("question_id", "answer", "correct", "error", "cut", "latent_steps", "latents")
Tokens = NDArray[np.int32]


class ThoughtsUnknown(UserError):
    """Decoded thoughts that cannot be had, and why."""


@dataclass
class HeadSource:
    """Where the output head comes from, if thoughts have to be decoded.

    Attributes:
        open_checkpoint: Opens the checkpoint; it may not be there any more.
        unlimited: Whether to decode however long it takes.
    """

    open_checkpoint: "Callable[[], Checkpoint]"
    unlimited: bool = False
    _refused: str = field(default="", init=False)

    @cached_property
    def _opened(self) -> "tuple[str, ThoughtDecoder]":
        # Model code takes seconds to import, and where thoughts are stored nobody asks for it.
        from latent_core.models.thought_decoder import ThoughtDecoder

        checkpoint = self.open_checkpoint()
        return checkpoint.fingerprint, ThoughtDecoder.of(checkpoint)

    def decoder(self, fingerprint: str, latents: int) -> "ThoughtDecoder":
        """Return the output head of the checkpoint with a fingerprint, for so many latents.

        Raises:
            ThoughtsUnknown: If it is not there, is another one, or decoding would take long.
        """
        if self._refused:
            raise ThoughtsUnknown(self._refused)
        try:
            found, decoder = self._opened
        except UserError as error:
            self._refused = str(error)
            raise ThoughtsUnknown(self._refused) from error
        if found != fingerprint:
            raise ThoughtsUnknown(
                f"the checkpoint is no longer the one that was sampled from ({found}, then {fingerprint})"
            )
        if decoder.flops(latents) > MOST_DECODING_FLOPS and not self.unlimited:
            raise ThoughtsUnknown(
                f"it takes {decoder.flops(latents) / 1e12:.1f} TFLOPs of the output head; `latentswarm report RUN_DIR "
                "--thoughts` computes them once and keeps them in the store"
            )
        return decoder


def dynamics_of(
    trial: Trial,
    greedy: Trial | None,
    problems: Sequence[Problem],
    samples: int,
    head: HeadSource,
    coverage: Mapping[str, Coverage] | None = None,
) -> TrialDynamics:
    """Compute the dynamics of a sampled trial.

    Args:
        trial: The trial.
        greedy: Greedy decoding; None where it is not there.
        problems: The questions that were asked.
        samples: Samples of every question that are there; no more than `MOST_SAMPLES` are looked at.
        head: Where the output head is.
        coverage: What the store holds, by the name of the trial, where that is known.
    """
    samples, known = min(samples, MOST_SAMPLES), coverage or {}
    try:
        try:
            return _compute(trial, greedy, problems, samples, head, known)
        except ThoughtsUnknown as unknown:
            return _compute(
                trial, greedy, problems, samples, None, known, f"decoded thoughts: not stored, and {unknown}"
            )
    except DamagedShard as damage:
        # Nothing but the dynamics reads latents: all other results stand.
        return TrialDynamics(trial.name, missing=(damage.what,))


def _compute(
    trial: Trial,
    greedy: Trial | None,
    problems: Sequence[Problem],
    samples: int,
    head: HeadSource | None,
    coverage: Mapping[str, Coverage],
    *known_to_miss: str,
) -> TrialDynamics:
    own = _Stored.open(trial, problems, samples, head, coverage)
    if own is None:
        return TrialDynamics(
            trial.name,
            missing=("no latents are stored (store.latents is none, or auto without a scorer)",),
        )
    missing = list(known_to_miss)
    base = None if greedy is None else _Stored.open(greedy, problems, 1, head, coverage)
    if base is None:
        missing.append(
            "distance from the greedy path, and where samples leave it: no latents of greedy decoding are stored; "
            + GREEDY_LATENTS
        )
    dynamics: Dynamics | None = None
    width = 0
    for first, end in _blocks(own, len(problems), samples):
        block = _block(own, base, problems, first, end, samples)
        if block is None:
            continue
        if dynamics is None:
            width = block.latents.shape[3]
            dynamics = Dynamics(trial.store.spec.latent_steps, width)
        dynamics.add(block)
    missing += [line for stored in (own, base) if stored is not None for line in stored.remarks]
    if dynamics is None:
        return TrialDynamics(trial.name, missing=(*missing, "no trajectory has a latent"))
    if dynamics.spectrum_steps < trial.store.spec.latent_steps:
        missing.append(f"principal components: covariances of {dynamics.spectrum_steps} steps fit into memory")
    rows = [_row(trial, one, samples) for one in dynamics.measured()]
    return TrialDynamics(trial.name, rows, dynamics.last_dispersion(), tuple(missing), width)


def _row(trial: Trial, one: Measured, samples: int) -> DynamicsRow:
    return DynamicsRow(
        trial.name, trial.sampler, one.measure, one.step, one.value, one.lo, one.hi, one.questions, samples
    )


class _Stored:
    """Latents of a trial, and what they decode to.

    Attributes:
        trial: The trial.
        store: Where its latents are.
        shards: Those that have them.
        has_thoughts: Whether thoughts are asked for.
        remarks: What went wrong with keeping thoughts.
    """

    def __init__(
        self, trial: Trial, shards: Sequence[Shard], problems: Sequence[Problem], samples: int, head: HeadSource | None
    ) -> None:
        self.trial, self.store, self.shards = trial, trial.store.with_latents(), shards
        self.has_thoughts = head is not None
        self.remarks: list[str] = []
        self._ids, self._samples, self._head = [problem.question_id for problem in problems], samples, head
        self._thoughts = ThoughtStore(self.store)
        self._kept = self.has_thoughts and bool(self._thoughts.covered(len(problems), samples).all())

    @classmethod
    def open(
        cls,
        trial: Trial,
        problems: Sequence[Problem],
        samples: int,
        head: HeadSource | None,
        coverage: Mapping[str, Coverage],
    ) -> "_Stored | None":
        """Find the shards with latents; None where they do not have all of what is asked.

        A trial that did not want latents may have them all the same.

        Args:
            trial: The trial.
            problems: All questions.
            samples: Samples of each.
            head: Where the output head is; None to go without thoughts.
            coverage: What the store holds, by the name of the trial, where that is known.
        """
        known = coverage.get(trial.name)
        if known is None or known.files is None:
            known = trial.coverage(len(problems))
        shards = known.shards_with_latents()
        if not covered_by(shards, len(problems), samples).all():
            return None
        return cls(trial, shards, problems, samples, head)

    def read(self, first: int, end: int) -> pd.DataFrame:
        """Read the rows of some questions as they count."""
        return judged(self.store.read(end, self._samples, _COLUMNS, first, self._ids), self.trial)

    def thoughts(self, first: int, end: int, records: pd.DataFrame, width: int) -> list[Tokens | None]:
        """Return the thoughts of rows that `read` has read; they are kept where they had to be decoded.

        Raises:
            ThoughtsUnknown: If they are not stored, and cannot be decoded.
        """
        vectors, steps = _vectors(records)
        if self._kept and (found := self._read_thoughts(first, end, steps)) is not None:
            return found
        assert self._head is not None
        decoder = self._head.decoder(
            self.store.spec.checkpoint, len(self._ids) * self._samples * self.store.spec.latent_steps
        )
        known = [row.reshape(-1, width) for row in vectors if row is not None]
        tokens = decoder.decode(np.concatenate(known)) if known else np.empty(0, np.int32)
        parts = iter(np.split(tokens, np.cumsum([len(row) for row in known])[:-1]))
        decoded = [None if row is None else next(parts) for row in vectors]
        shard = Shard(first, end, 0, self._samples)
        try:
            self._thoughts.prepare()
            self._thoughts.write(shard, thought_table(self._ids[first:end], shard, decoded))
        except (OSError, UserError) as error:
            # A store that can only be read is as good: they are decoded each time.
            self.remarks = [f"decoded thoughts are not kept: {error}"]
        return decoded

    def _read_thoughts(self, first: int, end: int, steps: IntArray) -> list[Tokens | None] | None:
        """Read thoughts; None where they are damaged, or of other rows: what failed may have been sampled again."""
        try:
            found = self._thoughts.read(end, self._samples, ["question_id", "thoughts"], first, self._ids)["thoughts"]
        except DamagedShard:
            return None
        tokens = [None if missing else row for missing, row in zip(found.isna(), found, strict=True)]
        lengths = np.array([0 if row is None else len(row) for row in tokens])
        return tokens if np.array_equal(lengths, steps) else None


def _blocks(stored: _Stored, questions: int, samples: int) -> Iterator[tuple[int, int]]:
    """Cut the questions into blocks of a few million values that end where shards end: none is read twice."""
    width = _width_of(stored)
    per_question = max(1, samples * stored.store.spec.latent_steps * width)
    most = max(1, _BLOCK_VALUES // per_question)
    ends = sorted({min(shard.end_question, questions) for shard in stored.shards} | {questions})
    first = 0
    for end, following in zip(ends, [*ends[1:], math.inf], strict=True):
        if following - first > most:
            yield first, end
            first = end


def _width_of(stored: _Stored) -> int:
    """Return the hidden size, from the first row that has latents; 1 where none has."""
    for shard in stored.shards:
        rows = stored.store.read(
            shard.end_question, shard.end_sample, ["latents", "latent_steps"], first_question=shard.first_question
        )
        known = rows[rows["latents"].notna() & (rows["latent_steps"] > 0)]
        if len(known):
            return len(known["latents"].iloc[0]) // int(known["latent_steps"].iloc[0])
    return 1


def _block(
    own: _Stored, base: _Stored | None, problems: Sequence[Problem], first: int, end: int, samples: int
) -> LatentBlock | None:
    """Read some questions; None where none of their samples has a latent."""
    records = own.read(first, end)
    vectors, steps = _vectors(records)
    known = next((row for row, count in zip(vectors, steps, strict=True) if row is not None and count), None)
    if known is None:
        return None
    width = len(known) // int(steps[steps > 0][0])
    greedy = None if base is None else base.read(first, end)
    greedy_vectors, greedy_steps = ([], np.zeros(0, np.int64)) if greedy is None else _vectors(greedy)
    most = int(max(steps.max(), greedy_steps.max(initial=0)))
    shape = (end - first, samples)
    latents, present = dense(vectors, steps, most, width)
    content: dict[str, Any] = {
        "latents": latents.reshape(*shape, most, width),
        "present": present.reshape(*shape, most),
        "valid": ~records["failed"].to_numpy().reshape(shape),
        "correct": records["correct"].to_numpy(dtype=np.bool_).reshape(shape),
    }
    if greedy is not None:
        content["greedy"], content["greedy_present"] = dense(greedy_vectors, greedy_steps, most, width)
    if own.has_thoughts:
        thoughts = own.thoughts(first, end, records, width)
        content["thoughts"] = _dense_thoughts(thoughts, most).reshape(*shape, most)
        if base is not None and greedy is not None:
            content["greedy_thoughts"] = _dense_thoughts(base.thoughts(first, end, greedy, width), most)
    if own.trial.scored is not None:
        content["scores"] = _cumulative_scores(own.trial, problems, first, end, samples, present.reshape(*shape, most))
    return LatentBlock(**content)


def _vectors(records: pd.DataFrame) -> tuple[list[NDArray[Any] | None], IntArray]:
    """Return the latents of rows, None where there are none, and the latent steps, 0 where there are none."""
    absent = records["latents"].isna().to_numpy()
    vectors = [None if missing else row for missing, row in zip(absent, records["latents"], strict=True)]
    return vectors, np.where(absent, 0, records["latent_steps"].to_numpy(dtype=np.int64))


def _dense_thoughts(rows: Sequence[Tokens | None], most: int) -> IntArray:
    filled = np.full((len(rows), most), ENDED, np.int64)
    for row, tokens in zip(filled, rows, strict=True):
        if tokens is not None:
            row[: len(tokens)] = tokens
    return filled


def _cumulative_scores(
    trial: Trial, problems: Sequence[Problem], first: int, end: int, samples: int, present: NDArray[np.bool_]
) -> FloatArray | None:
    """Return the score of every sample up to each step [Q, N, T], NaN where there is none; None without scores."""
    assert trial.scored is not None
    ids = [problem.question_id for problem in problems]
    rows = trial.scored.store.read(end, samples, ["question_id", "step_scores"], first, ids)
    scores = np.full(present.shape, np.nan)
    for question, sample, values in zip(rows["question_index"], rows["sample_index"], rows["step_scores"], strict=True):
        if values is not None:
            scores[question - first, sample, : len(values)] = np.cumsum(values, dtype=np.float64)
    return np.where(present, scores, np.nan)
