"""Labelling: the pipeline of `annotate`, from shards of questions to labelled candidates in the store."""

from collections.abc import Sequence
from typing import Any

import ray
from rich.console import Console

from orchestrator.experiment.plan import Plan
from orchestrator.pipeline.blocks import dataset_of
from orchestrator.pipeline.cluster import check_resources, connect, cpus_needed, disconnect, reasoner_pool
from orchestrator.pipeline.dispatch import call_actors_and_write, users_errors
from orchestrator.pipeline.rollouts import GENERATE_CPUS
from orchestrator.pipeline.stages import AnnotateRequests, CallActor, Persist
from orchestrator.progress.board import create_board
from orchestrator.progress.display import ProgressDisplay
from orchestrator.progress.utilization import ActorMeter
from orchestrator.store.shards import Shard
from orchestrator.store.specs import LabelStore


def label(plan: Plan, store: LabelStore, shards: Sequence[Shard], console: Console) -> None:
    """Sample and label shards, and store them.

    Args:
        plan: The plan.
        store: Where they go.
        shards: What it lacks.
        console: Where progress is said.

    Raises:
        UserError: If the cluster cannot be used, or an actor refuses the work.
    """
    try:
        connect(plan.config.cluster, cpus_needed(plan.config), console)
        check_resources(plan.config)
        with reasoner_pool(plan.config, plan.checkpoint.fingerprint) as reasoners:
            board = create_board()
            stage = CallActor(reasoners, "annotate", AnnotateRequests(store.spec))
            work = dataset_of(shards, plan.problems)
            receipts = call_actors_and_write(work, stage, Persist(store), len(reasoners), len(shards), GENERATE_CPUS)
            to_do = sum(shard.rows for shard in shards)
            with (
                ActorMeter({"reasoners": reasoners}) as meter,
                ProgressDisplay(board, to_do, console, meter),
                users_errors(),
            ):
                ray.get(board.begin.remote("annotation"))
                for batch in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
                    table: Any = batch
                    for one in table.to_pylist():
                        board.advance.remote(**one)
    finally:
        disconnect()
