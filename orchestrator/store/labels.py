"""Labelled set, which `annotate` writes and `train-rm` reads: its columns, its manifest, and what both check."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import Field, ValidationError

from latent_core.errors import UserError
from latent_core.settings import Settings, explain_validation_error
from latent_core.trajectory import CutAnswers
from orchestrator.files import write_json
from orchestrator.store.places import filesystem_of, joined, name_of
from orchestrator.store.shards import Shard
from workers.tables import LABEL_SCHEMA

MANIFEST_FILE = "labels.json"
_ROWS_AT_ONCE = 64


class ReasonerIdentity(Settings):
    """The reasoner whose trajectories were labelled.

    Attributes:
        source: What the user named: a directory, a hub id, or "bundled:NAME".
        fingerprint: Hash of its files.
    """

    source: str = Field(min_length=1)
    fingerprint: str = Field(min_length=1)


class LabelManifest(Settings):
    """What a labelled set says about itself; kept in `labels.json` in the run directory of `annotate`.

    Attributes:
        directory: Absolute path or URI of the folder with the shards.
        reasoner: Whose trajectories they are.
        task: Name of the task.
        candidates: N, candidates per question.
        rollouts: M, completions per candidate and step; 0 where only the last steps are labelled.
        latent_steps: T.
        hidden_size: Size of a latent vector.
        questions: Number of questions.
        mixed_questions: Those with right and wrong candidates.
        sampler: The complete sampler setting of candidates and completions.
        answer_tokens: Longest answer in tokens; None for the default of the reasoner's format.
        extractor: What found the answers in generated text; None for that of the reasoner's format.
        cut_answers: Whether an answer that was cut off could be right; "vote" in a set that is older than the setting.
    """

    directory: str = Field(min_length=1)
    reasoner: ReasonerIdentity
    task: str
    candidates: int = Field(ge=1)
    rollouts: int = Field(ge=0)
    latent_steps: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    questions: int = Field(ge=0)
    mixed_questions: int = Field(ge=0)
    sampler: dict[str, Any]
    answer_tokens: int | None = Field(default=None, ge=1)
    extractor: str | None = None
    cut_answers: CutAnswers = "vote"

    @classmethod
    def load(cls, path: str | Path, key: str = "data") -> "LabelManifest":
        """Read the manifest of a labelled set.

        Args:
            path: The run directory of `annotate`, or its `labels.json`.
            key: The setting that names it, for error messages.

        Raises:
            UserError: If it is missing or not valid.
        """
        file = Path(path).expanduser()
        file = file / MANIFEST_FILE if file.is_dir() else file
        if not file.is_file():
            raise UserError(
                f"{key} {path}: no {MANIFEST_FILE} there; give the directory that `latentswarm annotate` has written"
            )
        try:
            return cls.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise UserError(f"{key} {file}: {explain_validation_error(error, cls)}") from None
        except ValueError as error:
            raise UserError(f"{key} {file}: not valid JSON: {' '.join(str(error).split())}") from error

    def save(self, path: str | Path) -> None:
        """Write the manifest into a run directory, or to a file whose name ends in `.json`; whole or not at all."""
        file = Path(path)
        file = file if file.suffix == ".json" else file / MANIFEST_FILE
        write_json(file, self.model_dump(mode="json"))


def label_files(manifest: LabelManifest, key: str = "data") -> list[str]:
    """List the shards of a labelled set in order, as paths or URIs that `read_labels` takes.

    Raises:
        UserError: If the folder cannot be read or holds no shard.
    """
    try:
        filesystem, path = filesystem_of(manifest.directory, key)
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{key}: the folder {manifest.directory} of its manifest cannot be read: {error}") from error
    shards = sorted((parsed[0], info.base_name) for info in found if (parsed := Shard.parse(info.base_name)))
    if not shards:
        raise UserError(f"{key}: the folder {manifest.directory} of its manifest holds no labelled questions")
    return [joined(manifest.directory, name) for _, name in shards]


def read_labels(file: str, columns: list[str] | None = None, key: str = "data") -> pa.Table:
    """Read a shard, or some of its columns.

    Raises:
        UserError: If it cannot be read or its columns are not those of `LABEL_SCHEMA`.
    """
    filesystem, path = filesystem_of(file, key)
    try:
        with filesystem.open_input_file(path) as opened:
            parquet = pq.ParquetFile(opened, page_checksum_verification=True)
            check_labels(parquet.schema_arrow, file, key)
            return parquet.read(columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{key} {file}: cannot be read: {' '.join(str(error).split())}") from error


def check_labels(schema: pa.Schema, file: str, key: str = "data") -> None:
    """Refuse columns that are missing or of another type; further ones do no harm.

    Raises:
        UserError: With the first column that is wrong.
    """
    for field in LABEL_SCHEMA:
        index = schema.get_field_index(field.name)
        # Names of list items differ between writers and mean nothing.
        if index < 0 or not schema.field(index).type.equals(field.type):
            found = "missing" if index < 0 else f"of type {schema.field(index).type}"
            raise UserError(f"{key} {file}: column {field.name!r} is {found}, expected {field.type}; annotate it anew")


def missing_questions(manifest: LabelManifest, key: str = "data") -> list[int]:
    """Return the numbers of the questions that a manifest counts and no shard is named after, in order.

    Raises:
        UserError: As `label_files` does.
    """
    covered = np.zeros(manifest.questions, dtype=np.bool_)
    for file in label_files(manifest, key):
        parsed = Shard.parse(name_of(file))
        if parsed is not None:
            covered[parsed[0].first_question : parsed[0].end_question] = True
    absent: list[int] = np.flatnonzero(~covered).tolist()
    return absent


def check_label_rows(table: pa.Table, manifest: LabelManifest, file: str, key: str = "data") -> None:
    """Refuse rows that are not what their manifest says, or whose labels are no shares of right completions.

    Args:
        table: The columns question_id, labels, latent_steps and rollouts of a shard.
        manifest: The labelled set.
        file: The shard.
        key: The setting that names the set.

    Raises:
        UserError: With the first row that is wrong.
    """
    ids, labels = table["question_id"], table["labels"].combine_chunks()
    steps = table["latent_steps"].to_numpy()
    lengths = pc.fill_null(pc.list_value_length(labels), -1).to_numpy(zero_copy_only=False)
    values = labels.flatten().to_numpy(zero_copy_only=False)
    row_of = np.repeat(np.arange(len(table)), np.maximum(lengths, 0))
    ends = np.cumsum(np.maximum(lengths, 0))
    unknown = np.isnan(values)
    if manifest.rollouts == 0:
        # Without completions only the last step of a candidate is labelled.
        is_last = np.zeros(len(values), dtype=np.bool_)
        is_last[ends[lengths > 0] - 1] = True
        unknown &= is_last
    outside = row_of[(values < 0) | (values > 1) | unknown]
    for rows, what in (
        (np.flatnonzero(table["rollouts"].to_numpy() != manifest.rollouts), "{rollouts} completions per step"),
        (np.flatnonzero(steps > manifest.latent_steps), "{latent_steps} latent steps"),
        (np.flatnonzero((lengths >= 0) & (lengths != steps)), "{labels} labels of {latent_steps} latent steps"),
    ):
        if len(rows):
            place = int(rows[0])
            said = what.format(rollouts=table["rollouts"][place], latent_steps=steps[place], labels=int(lengths[place]))
            raise UserError(
                f"{key} {file}: question {ids[place]} has {said}, but {MANIFEST_FILE} says {manifest.rollouts} "
                f"completions and {manifest.latent_steps} steps: it is not the manifest of these rows; annotate anew"
            )
    if len(outside):
        place = int(outside[0])
        raise UserError(
            f"{key} {file}: question {ids[place]} has the labels {str(labels[place].as_py())[:100]}, and a label is a "
            "share of right completions, from 0 to 1; annotate it anew"
        )


def check_width(manifest: LabelManifest, file: str, key: str = "data") -> None:
    """Compare the width of the first latents of a shard with what its manifest says; reads no more than it has to.

    Raises:
        UserError: If they differ, or the shard cannot be read.
    """
    filesystem, path = filesystem_of(file, key)
    try:
        with filesystem.open_input_file(path) as opened:
            parquet = pq.ParquetFile(opened, page_checksum_verification=True)
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=["latents", "latent_steps"]):
                lengths = pc.list_value_length(batch["latents"])
                known = pc.divide(
                    lengths.filter(pc.greater(lengths, 0)), batch["latent_steps"].filter(pc.greater(lengths, 0))
                )
                if len(known):
                    width = known[0].as_py()
                    break
            else:
                return
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{key} {file}: cannot be read: {' '.join(str(error).split())}") from error
    if width != manifest.hidden_size:
        raise UserError(
            f"{key} {file}: latents of width {width}, but {MANIFEST_FILE} says {manifest.hidden_size}: it is not the "
            "manifest of these rows; annotate anew"
        )
