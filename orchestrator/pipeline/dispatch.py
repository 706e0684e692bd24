"""Dispatch of actor calls by Ray Data, whose processes do nothing but wait: how many calls at once, and who waits.

Where there are few actors, each call is waited for by a task: its process is shared with all other stages and with the
pipelines that follow, so nothing has to be started. Where there are many, that would be as many processes; a few
dispatchers wait for many calls each, in threads.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray.data
from ray.exceptions import RayError

from latent_core.errors import UserError

Stage = Callable[[pa.Table], pa.Table]

_FEW_ACTORS = 4
_CALLS_PER_DISPATCHER = 16
"""Enough for the eight actors of a large node."""
_CALLS_PER_ACTOR = 2
"""Whoever has finished a call should find its next one waiting; a trial that is stopped leaves that one behind."""

_USER_ERROR = re.compile(rf"^{re.escape(f'{UserError.__module__}.{UserError.__qualname__}')}: (.+)$", re.MULTILINE)


class Dispatcher:
    """Runs a stage in the threads of a process of its own."""

    def __init__(self, stage: Stage) -> None:
        """Take the stage; it has to bear several calls at once."""
        self._stage = stage

    def __call__(self, block: pa.Table) -> pa.Table:
        """Process a block."""
        return self._stage(block)


def call_actors(blocks: ray.data.Dataset, stage: Stage, actors: int, shards: int, cpus: float) -> ray.data.Dataset:
    """Let a stage process blocks by calls to a pool of actors.

    Args:
        blocks: What it reads, one shard per block.
        stage: Chooses an actor, calls it, and waits; has no state of its own.
        actors: Size of the pool.
        shards: Number of blocks.
        cpus: Logical CPUs of a process that waits.
    """
    options: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "num_cpus": cpus}
    if actors <= _FEW_ACTORS:
        return blocks.map_batches(stage, compute=ray.data.TaskPoolStrategy(size=min(actors + 1, shards)), **options)
    dispatchers, each = calls_at_once(actors, shards)
    pool = ray.data.ActorPoolStrategy(
        size=dispatchers,
        max_concurrent_calls_per_actor=each,
        max_tasks_in_flight_per_actor=each,
        enable_true_multi_threading=True,
    )
    return blocks.map_batches(Dispatcher, fn_constructor_args=(stage,), compute=pool, **options)


def calls_at_once(actors: int, shards: int) -> tuple[int, int]:
    """Return how many dispatchers wait for a large pool of actors, and for how many calls each of them does."""
    calls = min(actors * _CALLS_PER_ACTOR, shards)
    dispatchers = -(-calls // _CALLS_PER_DISPATCHER)
    return dispatchers, -(-calls // dispatchers)


_SHORT_OF_MEMORY = "running low on memory"
"""In the words of Ray's monitor, which ends processes before the system does."""
_ENDED_PROCESS = re.compile(r"name=([^,]+?),")
_NODE = re.compile(r"\(IP: ([^,)]+)")


@contextmanager
def users_errors() -> Iterator[None]:
    """Let what is the user's to mend leave a pipeline as it was said, in whatever process that was.

    Raises:
        UserError: Where an actor or a stage has raised one, or was ended because its node's memory is short.
    """
    try:
        yield
    except RayError as error:
        said = user_error(error)
        if said is None:
            raise
        raise said from None


def user_error(error: BaseException | str) -> UserError | None:
    """Return the user's error behind one of Ray's, which keeps only the text of what has crossed several processes."""
    text = str(error)
    if found := _USER_ERROR.findall(text):
        return UserError(found[-1])
    if _SHORT_OF_MEMORY not in text:
        return None
    name, node = _ENDED_PROCESS.search(text), _NODE.search(text)
    return UserError(
        f"out of memory: Ray has ended {name[1] if name else 'a process'} because memory is short on "
        f"{node[1] if node else 'its node'}; lower micro_batch, store.samples_per_shard or actors, or add memory; what "
        "has been sampled is in the store"
    )
