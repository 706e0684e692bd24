"""Answers that were cut off at `answer_tokens`, as results count them: in one place, before anything is computed.

The store keeps what was written and how it was graded, whatever becomes of cut answers; results are made of records
that have gone through `judged`. So the setting changes curves and counts, and no trajectory.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestrator.store.counting import counted
from orchestrator.store.specs import PRUNE_FROM_BEFORE
from orchestrator.store.trial import CUT_ANSWERS_BEFORE

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.store.trial import Trial


def judged(records: "pd.DataFrame", trial: "Trial") -> "pd.DataFrame":
    """Return records as they count.

    Args:
        records: One row per trajectory, with the columns answer, correct, error and cut.
        trial: Whose they are.

    Returns:
        The records, in which an answer that was cut off is none, and wrong, where such answers abstain; with columns
        `failed`, `unparsable` and `cut`, of which a row has one at most: it failed, or its answer was cut off, or it
        was not and cannot be read.

    Raises:
        UserError: If an older store does not tell which answers were cut off.
    """
    return counted(records, trial.cut_answers, trial.name)


def as_begun(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of a run directory with what its command took for granted.

    Args:
        config: Its `config.yaml`; one that does not say what becomes of cut answers is older than that setting, and
            one whose search does not say from which step it prunes is older than that one.
    """
    task, search = config.get("task"), config.get("search")
    if isinstance(task, Mapping):
        config = {**config, "task": {"cut_answers": CUT_ANSWERS_BEFORE, **task}}
    if isinstance(search, Mapping) and search.get("kind", "none") != "none":
        config = {**config, "search": {"prune_from": PRUNE_FROM_BEFORE, **search}}
    return config


def with_end_ids(trials: Iterable["Trial"], checkpoint: str) -> list["Trial"]:
    """Return trials whose stores ask the checkpoint which tokens end an answer, if nothing else tells them.

    Args:
        trials: Trials as a run directory knows them.
        checkpoint: What they were sampled from. It is opened when records are read, and only if a store of an older
            version makes it necessary; a UserError says if it cannot be.
    """

    @cache
    def end_ids() -> tuple[int, ...]:
        # Model code takes seconds to import, and nearly always the store knows.
        from latent_core.models.checkpoint import Checkpoint

        return Checkpoint.open(checkpoint).answer_ends

    def knowing(trial: "Trial") -> "Trial":
        store = copy(trial.store)
        store.ask_end_ids = end_ids
        return replace(trial, store=store, searches=tuple(map(knowing, trial.searches)))

    return list(map(knowing, trials))
