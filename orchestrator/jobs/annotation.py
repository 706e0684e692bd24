"""Annotation: sample candidates on the cluster and label their steps by stochastic rollouts."""

import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from latent_core.errors import UserError
from orchestrator.config.annotate import AnnotateConfig
from orchestrator.config.loading import load_config, save_config
from orchestrator.console import say
from orchestrator.experiment.dry_run import reference_lines
from orchestrator.experiment.lease import Lease
from orchestrator.experiment.plan import Plan, make_plan
from orchestrator.experiment.run_directory import check_kind, write_work_file
from orchestrator.files import write_json
from orchestrator.pipeline.forked_workers import forked_workers
from orchestrator.store.labels import LabelManifest, ReasonerIdentity
from orchestrator.store.places import check_writable
from orchestrator.store.retries import Retries, remove_rows, retries_in, retry_lines
from orchestrator.store.shards import Shard, missing_shards
from orchestrator.store.specs import LabelSpec, LabelStore
from workers.tables import CUT_FIELDS

_CUT_COLUMNS = [name for name, _ in CUT_FIELDS]


def annotate_from_config(
    path: str, overrides: Sequence[str], out: Path, dry_run: bool, console: Console, *, retry_failed: bool = False
) -> None:
    """Label what the store lacks, and write the manifest of the labelled set into `out`.

    Args:
        path: The configuration.
        overrides: Keys and values that replace some of it.
        out: The run directory.
        dry_run: Whether to print the plan and leave everything alone.
        console: Where remarks go.
        retry_failed: Whether to label those candidates again, too, that have failed for good.

    Raises:
        UserError: If the configuration, the run directory, the store or the cluster cannot be used.
    """
    began = time.monotonic()
    check_kind(out, "annotate")
    config = load_config(AnnotateConfig, path, overrides)
    with ExitStack() as entered:
        imported = entered.enter_context(forked_workers(config.cluster, gpus=config.actor.gpus, wanted=not dry_run))
        plan = make_plan(config.as_run(), imported=imported)
        store = label_store(config, plan)
        entered.enter_context(nullcontext() if dry_run else Lease(out, "annotate"))
        retries = _examine(config, plan, store, dry_run, retry_failed, console)
        shards = missing_labels(config, plan, store, retries)
        _show(config, plan, store, shards, console)
        if dry_run:
            return
        try:
            save_config(config, out / "config.yaml")
            facts = {"questions": len(plan.problems), "candidates": config.candidates, "labels": store.name}
            write_work_file(out, "annotate", facts)
        except OSError as error:
            raise UserError(f"--out {out}: cannot be written: {error}") from error
        if shards:
            check_writable(config.store.path)
            store.prepare()
            # A plan, and a set that is labelled already, need not wait for Ray; nor can what has Ray be forked.
            from orchestrator.jobs.labelling import label

            label(plan, store, shards, console)
        manifest, counts = summarise(config, plan, store)
        manifest.save(out)
        counts["seconds_of_this_command"] = round(time.monotonic() - began, 3)
        write_json(out / "summary.json", counts)
    _report(manifest, counts, out)


def label_store(config: AnnotateConfig, plan: Plan) -> LabelStore:
    """Return the place of the labelled set."""
    trajectories = plan.trial("candidates", config.sampler).store.spec
    return LabelStore(
        config.store.path,
        LabelSpec(trajectories, config.candidates, config.rollouts, config.store.latents, config.task.cut_answers),
    )


def _examine(
    config: AnnotateConfig, plan: Plan, store: LabelStore, dry_run: bool, retry_failed: bool, console: Console
) -> Retries:
    """Look for damaged shards and for rows that are to be tried again, and clear them away unless it is a dry run."""
    found = store.inspect([problem.question_id for problem in plan.problems])
    shape = len(plan.problems), config.candidates
    retries = retries_in(store, found.failed, shape, lasting=retry_failed)
    for line in store.disregard_damaged(found.damages) if dry_run else store.set_aside_damaged(found.damages):
        say(console, line)
    for line in retry_lines([retries], lasting=retry_failed):
        say(console, line)
    if not dry_run:
        remove_rows(store, retries.trajectories)
    return retries


def missing_labels(
    config: AnnotateConfig, plan: Plan, store: LabelStore, retries: Retries | None = None
) -> list[Shard]:
    """Return the shards that are still to be labelled; all candidates of a question are in one."""
    covered = store.covered(len(plan.problems), config.candidates)
    if retries is not None:
        covered &= ~retries.trajectories
    return missing_shards(covered, config.micro_batch, config.candidates)


def summarise(config: AnnotateConfig, plan: Plan, store: LabelStore) -> tuple[LabelManifest, dict[str, Any]]:
    """Count what the store holds; returns the manifest and further counts and costs."""
    questions = len(plan.problems)
    columns = ["question_id", "answer", "correct", "error", "prompt_flops", "flops", "label_flops", *_CUT_COLUMNS]
    rows = store.read(questions, config.candidates, columns)
    cut = rows["cut"].fillna(False).astype(bool)
    unknown = bool(rows["cut"].isna().any())
    by_question = rows.groupby("question_id")
    right = by_question["correct"].mean()
    mixed = int(((right > 0) & (right < 1)).sum())
    manifest = LabelManifest(
        directory=store.place,
        reasoner=ReasonerIdentity(source=config.checkpoint, fingerprint=plan.checkpoint.fingerprint),
        task=plan.task.name,
        candidates=config.candidates,
        rollouts=config.rollouts,
        latent_steps=plan.latent_steps,
        hidden_size=int(plan.checkpoint.config.hidden_size),
        questions=questions,
        mixed_questions=mixed,
        sampler=config.sampler.to_config(),
        answer_tokens=plan.answer_tokens,
        extractor=config.task.extractor,
        cut_answers=config.task.cut_answers,
    )
    counts = {
        "questions": questions,
        "mixed_questions": mixed,
        "all_right": int((right == 1).sum()),
        "all_wrong": int((right == 0).sum()),
        "candidates": len(rows),
        "failed_candidates": int(rows["error"].notna().sum()),
        "unparsable_candidates": int((rows["answer"].isna() & rows["error"].isna() & ~cut).sum()),
        # Labels of an older version do not tell.
        "cut_candidates": None if unknown else int(cut.sum()),
        "cut_completions": None if unknown else int(rows["cut_completions"].sum()),
        "cut_answers": config.task.cut_answers,
        "accuracy_of_candidates": float(rows["correct"].mean()),
        "completions": mixed * config.candidates * config.rollouts * (plan.latent_steps - 1),
        "flops": {
            "candidates": float(by_question["prompt_flops"].max().sum() + rows["flops"].sum()),
            "completions": float(rows["label_flops"].sum()),
        },
    }
    return manifest, counts


def _show(config: AnnotateConfig, plan: Plan, store: LabelStore, shards: list[Shard], console: Console) -> None:
    wanted, missing = len(plan.problems) * config.candidates, sum(shard.rows for shard in shards)
    for line in (
        f"checkpoint  {config.checkpoint}  ({plan.checkpoint.format.name}, {plan.checkpoint.fingerprint})",
        f"task        {plan.task.name}  ({len(plan.problems):,} questions, {plan.task_fingerprint})",
        *reference_lines(plan),
        *(f"            {remark}" for remark in plan.remarks),
        f"candidates  {config.candidates} per question by {config.sampler.describe()!r}, seed {config.seed}",
        f"labels      {config.rollouts} completions per candidate and latent step, {plan.latent_steps} steps",
        f"store       {store.place}",
        f"to label    {missing:,} of {wanted:,} candidates",
    ):
        say(console, line)


def _report(manifest: LabelManifest, counts: dict[str, Any], out: Path) -> None:
    console = Console()
    for line in (
        f"{counts['mixed_questions']:,} of {counts['questions']:,} questions have right and wrong candidates and are "
        f"for training; all right: {counts['all_right']:,}, all wrong: {counts['all_wrong']:,}",
        f"{counts['candidates']:,} candidates, {100 * counts['accuracy_of_candidates']:.1f} % right, "
        f"{counts['failed_candidates']:,} failed, {counts['unparsable_candidates']:,} unparsable, "
        f"{_known(counts['cut_candidates'])} cut; {counts['completions']:,} completions, "
        f"{_known(counts['cut_completions'])} cut (task.cut_answers: {counts['cut_answers']})",
        f"labelled set  {out}  (shards in {manifest.directory})",
        f"next          latentswarm train-rm CONFIG {shlex.quote(f'data={out}')}",
    ):
        say(console, line)


def _known(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
