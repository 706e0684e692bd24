"""Dispatch of actor calls by Ray Data, whose processes wait and write: how many calls at once, who waits, who writes.

Where there are few actors, each call is waited for by a task: its process is shared with all other stages and with the
pipelines that follow, so nothing has to be started. It writes the answer too, since writers of their own would be as
many processes again, which a small machine starts for longer than they ever write. Where there are many actors, tasks
would be as many processes; a few dispatchers wait for many calls each, in threads, and a few writers write.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
_WRITERS, _ACTORS_PER_WRITER = 2, 8
"""Processes that write: some, and one more for so many actors. Without a limit there would be one for each shard."""
_WRITE_CPUS = 0.01
"""Of a process that writes; other stages take other parts of a CPU, or Ray Data would fuse them with it."""

_USER_ERROR = re.compile(rf"^{re.escape(f'{UserError.__module__}.{UserError.__qualname__}')}: (.+)$", re.MULTILINE)


class Dispatcher:
    """Runs a stage in the threads of a process of its own."""

    def __init__(self, stage: Stage) -> None:
        """Take the stage; it has to bear several calls at once."""
        self._stage = stage

    def __call__(self, block: pa.Table) -> pa.Table:
        """Process a block."""
        return self._stage(block)


@dataclass(frozen=True)
class CallAndWrite:
    """Stage that has an actor answer a block and writes the answer.

    Attributes:
        call: Calls the actor.
        write: Writes what it has answered.
    """

    call: Stage
    write: Stage

    def __call__(self, block: pa.Table) -> pa.Table:
        """Process a block."""
        return self.write(self.call(block))


def call_actors_and_write(
    blocks: ray.data.Dataset, call: Stage, write: Stage, actors: int, shards: int, cpus: float
) -> ray.data.Dataset:
    """Let a pool of actors process blocks, and write what they have answered.

    Args:
        blocks: What `call` reads, one shard per block.
        call: As `call_actors` takes it.
        write: Writes an answer; has no state of its own.
        actors: Size of the pool.
        shards: Number of blocks.
        cpus: Logical CPUs of a process that waits.
    """
    if actors <= _FEW_ACTORS:
        return call_actors(blocks, CallAndWrite(call, write), actors, shards, cpus)
    return call_actors(blocks, call, actors, shards, cpus).map_batches(
        write,
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.TaskPoolStrategy(size=min(_WRITERS + actors // _ACTORS_PER_WRITER, shards)),
        num_cpus=_WRITE_CPUS,
    )


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
