"""Training plan of `train-rm`: labelled sets checked, train/validation split, starting weights found."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from latent_core.errors import UserError
from latent_core.models.checkpoint import Checkpoint
from latent_core.models.files import locate, read_json
from latent_core.reward.checkpoint import ARCHITECTURE_SUFFIX, RewardCheckpoint
from latent_core.reward.losses import LOSSES
from latent_core.reward.training.trainer import planned_updates
from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.store.labels import (
    LabelManifest,
    check_label_rows,
    check_width,
    label_files,
    missing_questions,
    read_labels,
)
from orchestrator.tracking.server import check_uri

_INDEX_COLUMNS = ["question_id", "question", "correct", "labels", "latent_steps", "rollouts"]


@dataclass(frozen=True)
class QuestionRef:
    """Address of a labelled question.

    Attributes:
        question_id: Its name.
        text: The question itself.
        file: The shard that holds all its candidates.
        is_mixed: Whether right and wrong candidates can be told apart.
    """

    question_id: str
    text: str
    file: str
    is_mixed: bool

    @property
    def hash(self) -> float:
        """A number in [0, 1) that depends on the id alone."""
        return int.from_bytes(hashlib.blake2b(self.question_id.encode(), digest_size=8).digest(), "big") / 2**64


@dataclass(frozen=True)
class RewardPlan:
    """Checked training plan.

    Attributes:
        config: The configuration.
        manifest: The labelled set.
        validation_manifest: The set that the validation questions come from; often the same.
        reasoner: The reasoner whose trajectories they are.
        train: Questions to train on, all mixed, in the order of their hash.
        validation: Held-out questions, mixed or not.
        left_out: Training questions that teach nothing because their candidates are all right or all wrong.
        in_both: Training questions that were dropped because validation asks the same.
        absent: Questions of both sets whose labels are missing.
        per_batch: Questions per update.
        updates: Updates in all.
    """

    config: TrainRewardConfig
    manifest: LabelManifest
    validation_manifest: LabelManifest
    reasoner: Checkpoint
    train: tuple[QuestionRef, ...]
    validation: tuple[QuestionRef, ...]
    left_out: int
    in_both: int
    absent: int
    per_batch: int
    updates: int

    @property
    def digest(self) -> str:
        """Hash of all questions by set and shard (16 hexadecimal digits): other data, other weights."""
        content = [
            [(ref.file, ref.question_id, ref.is_mixed) for ref in refs] for refs in (self.train, self.validation)
        ]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()

    @property
    def answer_tokens(self) -> int:
        """Longest answer in tokens."""
        return self.manifest.answer_tokens or self.reasoner.format.answer_tokens

    def describe(self) -> str:
        """Return one line for people."""
        mixed = sum(ref.is_mixed for ref in self.validation)
        dropped = f", {self.in_both} that validation asks too" if self.in_both else ""
        missing = f"; the labels of {self.absent:,} questions are missing" if self.absent else ""
        return (
            f"{len(self.train)} training questions x {self.manifest.candidates} candidates (left out: {self.left_out} "
            f"all right or all wrong{dropped}), {len(self.validation)} validation questions ({mixed} mixed), "
            f"{self.updates} updates of {self.per_batch} questions{missing}"
        )


def plan_training(config: TrainRewardConfig) -> RewardPlan:
    """Check everything that can be checked without loading weights.

    Raises:
        UserError: If a labelled set is missing, damaged or of no use, or does not fit the starting weights.
    """
    check_uri(config.tracking)
    manifest = LabelManifest.load(config.data)
    _check_labels_serve(config, manifest)
    validation_manifest = manifest
    if config.validation_data is not None:
        validation_manifest = LabelManifest.load(config.validation_data, "validation_data")
        _check_same_reasoner(manifest, validation_manifest)
    reasoner = _open_reasoner(config, manifest)
    _check_start(config, reasoner, manifest)

    train = index_questions(manifest)
    absent = _check_complete(config, manifest, "data")
    if config.validation_data is None:
        validation = [ref for ref in train if ref.hash < config.validation_share]
        train = [ref for ref in train if ref.hash >= config.validation_share]
    else:
        validation = index_questions(validation_manifest, "validation_data")
        absent += _check_complete(config, validation_manifest, "validation_data")
    asked = {ref.text for ref in validation}
    kept = [ref for ref in train if ref.text not in asked]
    mixed = sorted((ref for ref in kept if ref.is_mixed), key=lambda ref: (ref.hash, ref.question_id))
    left_out = len(kept) - len(mixed)
    mixed = mixed[: config.limit_questions]
    if len(mixed) < config.workers:
        raise UserError(
            f"data {config.data}: of {len(kept)} training questions {len(mixed)} have right and wrong candidates, and "
            f"{config.workers} are needed at least; annotate more questions, or with more candidates or noise"
        )
    if not any(ref.is_mixed for ref in validation):
        key = f"validation_data {config.validation_data}" if config.validation_data else f"data {config.data}"
        raise UserError(
            f"{key}: none of {len(validation)} validation questions has right and wrong candidates, so selection "
            "cannot be measured; annotate more questions, or raise validation_share"
        )
    per_batch, updates = planned_updates(config.training, len(mixed), config.workers)
    return RewardPlan(
        config,
        manifest,
        validation_manifest,
        reasoner,
        tuple(mixed),
        tuple(validation),
        left_out,
        len(train) - len(kept),
        absent,
        per_batch,
        updates,
    )


def index_questions(manifest: LabelManifest, key: str = "data") -> list[QuestionRef]:
    """List the questions of a labelled set, each once, in the order of the shards.

    Raises:
        UserError: If a shard cannot be read, lacks candidates of a question, or does not fit the manifest.
    """
    refs: dict[str, QuestionRef] = {}
    width_is_checked = False
    for file in label_files(manifest, key):
        table = read_labels(file, _INDEX_COLUMNS, key)
        check_label_rows(table, manifest, file, key)
        ids = table["question_id"].to_numpy()
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if len(ids) else np.array([], dtype=int)
        correct = table["correct"].to_numpy()
        labelled = ~table["labels"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        texts = table["question"].take(pa.array(starts)).to_pylist()
        for start, end, text in zip(starts, [*starts[1:], len(ids)], texts, strict=True):
            if end - start != manifest.candidates:
                raise UserError(
                    f"{key} {file}: {end - start} candidates of question {ids[start]} in a row, expected "
                    f"{manifest.candidates} as the manifest says; annotate it anew"
                )
            is_mixed = len(set(correct[start:end])) == 2 and bool(labelled[start:end].any())
            # Runs with other shard borders may have written a question twice; both copies are equal.
            if is_mixed and not width_is_checked:
                check_width(manifest, file, key)
                width_is_checked = True
            refs.setdefault(str(ids[start]), QuestionRef(str(ids[start]), text, file, is_mixed))
    return list(refs.values())


def by_file(refs: Sequence[QuestionRef]) -> dict[str, list[str]]:
    """Return the question ids of each shard; shards in order of their names, ids in the given order."""
    files: dict[str, list[str]] = {file: [] for file in sorted({ref.file for ref in refs})}
    for ref in refs:
        files[ref.file].append(ref.question_id)
    return files


def is_latent_rm(source: str) -> bool:
    """Whether a checkpoint has a scalar head rather than an output head.

    Raises:
        UserError: If there is no such checkpoint.
    """
    architectures = read_json(source, locate(source) / "config.json").get("architectures") or []
    return any(str(name).endswith(ARCHITECTURE_SUFFIX) for name in architectures)


def _check_labels_serve(config: TrainRewardConfig, manifest: LabelManifest) -> None:
    if manifest.mixed_questions == 0:
        raise UserError(
            f"data {config.data}: no question has both right and wrong candidates, so there is nothing to learn; "
            "annotate more questions, or with more candidates or noise"
        )
    if manifest.rollouts == 0 and LOSSES[config.training.objective].needs_step_labels:
        raise UserError(
            f"training.objective {config.training.objective}: it needs labels of every step, and data {config.data} "
            "was annotated with rollouts = 0; use training.objective=outcome, or annotate with rollouts >= 1"
        )


def _check_complete(config: TrainRewardConfig, manifest: LabelManifest, key: str) -> int:
    """Refuse a labelled set that lacks questions, unless that is allowed; returns how many it lacks."""
    absent = missing_questions(manifest, key)
    if absent and not config.allow_missing:
        raise UserError(
            f"{key} {getattr(config, key)}: the labels of {len(absent):,} of {manifest.questions:,} questions are not "
            f"in {manifest.directory} (the first is number {absent[0]}); the same `latentswarm annotate` makes them, "
            "and allow_missing=true trains without them"
        )
    return len(absent)


def _check_same_reasoner(manifest: LabelManifest, validation: LabelManifest) -> None:
    if validation.reasoner.fingerprint != manifest.reasoner.fingerprint:
        raise UserError(
            f"validation_data: its trajectories come from {validation.reasoner.source} "
            f"({validation.reasoner.fingerprint}), those of data from {manifest.reasoner.source} "
            f"({manifest.reasoner.fingerprint}); annotate both with the same reasoner"
        )
    if validation.cut_answers != manifest.cut_answers:
        raise UserError(
            f"validation_data: annotated with task.cut_answers={validation.cut_answers}, data with "
            f"{manifest.cut_answers}; annotate both with the same"
        )
    if validation.hidden_size != manifest.hidden_size:
        raise UserError(f"validation_data: latents of width {validation.hidden_size}, data has {manifest.hidden_size}")


def _open_reasoner(config: TrainRewardConfig, manifest: LabelManifest) -> Checkpoint:
    source = config.reasoner or manifest.reasoner.source
    reasoner = Checkpoint.open(source)
    if reasoner.fingerprint != manifest.reasoner.fingerprint:
        raise UserError(
            f"reasoner {source}: its files have fingerprint {reasoner.fingerprint}, but data {config.data} was "
            f"annotated with {manifest.reasoner.fingerprint}; set reasoner= to where that one is, or annotate anew"
        )
    _check_weights(reasoner)
    return reasoner


def _check_weights(opened: Checkpoint | RewardCheckpoint) -> None:
    """Refuse weights that are not those of the configuration, before anything starts."""
    # Model code takes seconds to import, and most of what goes wrong with a plan is found without it.
    if isinstance(opened, RewardCheckpoint):
        from latent_core.reward.meta_model import check_reward_weights

        check_reward_weights(opened)
    else:
        from latent_core.models.meta_model import check_weights, meta_device_model

        check_weights(opened, meta_device_model(opened))


def _check_start(config: TrainRewardConfig, reasoner: Checkpoint, manifest: LabelManifest) -> None:
    source = config.training.init
    if source is None:
        return
    latent_rm = is_latent_rm(source)
    opened = RewardCheckpoint.open(source) if latent_rm else Checkpoint.open(source)
    _check_weights(opened)
    if opened.config.hidden_size != manifest.hidden_size:
        raise UserError(
            f"training.init {source}: its hidden size is {opened.config.hidden_size}, but data {config.data} has "
            f"latents of width {manifest.hidden_size}; start from {reasoner.source} or a model made of it"
        )
    if isinstance(opened, RewardCheckpoint):
        opened.check_fits(reasoner)
    elif opened.tokenizer.get_vocab() != reasoner.tokenizer.get_vocab():
        raise UserError(f"training.init {source}: its vocabulary is not that of {reasoner.source}")
