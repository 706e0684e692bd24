"""Many actors: a few processes wait for all of their calls, and nothing is lost when one of them dies."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from ray import cloudpickle
from support import processes_below

from benchmarks.sleeping_reasoner import SleepingReasoner
from latent_core.errors import UserError
from latent_core.tasks.base import Problem
from orchestrator.pipeline.blocks import WorkItem, dataset_of
from orchestrator.pipeline.dispatch import call_actors_and_write
from orchestrator.pipeline.rollouts import Sampling
from orchestrator.progress.board import create_board
from orchestrator.store.shards import Shard
from orchestrator.store.specs import TrajectorySpec, TrajectoryStore
from orchestrator.store.trial import Trial
from workers.pool import ActorPool, ActorSpec, create_pool, stop_pool
from workers.reasoner import ReasonerWorker
from workers.requests import SampleRequest

# Processes of a cluster cannot import tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

ACTORS, SHARDS, QUESTIONS, SAMPLES, SECONDS = 6, 60, 3, 8, 0.3


class GatedReasoner(SleepingReasoner):
    """Answers the first quarter of the shards; says of the others that they have come, and waits for leave."""

    def __init__(self, gate: Path) -> None:
        super().__init__(SECONDS)
        self._gate = gate

    def sample(self, request: SampleRequest) -> pa.Table:
        if request.first_question >= SHARDS // 4 * QUESTIONS:
            (self._gate / "reached").touch()
            while not (self._gate / "open").exists():
                time.sleep(0.02)
        return super().sample(request)


def dispatchers() -> list[int]:
    """The processes that wait for calls."""
    return processes_below(os.getpid(), "MapWorker")


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "killed"])
def test_every_row_is_there_once_and_every_actor_has_worked(tmp_path: Path, kill: bool) -> None:
    names = create_pool(f"sleeping-{kill}", ActorSpec(GatedReasoner, (tmp_path,), cpus=1, gpus=0), ACTORS)
    problems = tuple(Problem(f"question-{number}", "?", "0") for number in range(SHARDS * QUESTIONS))
    spec = TrajectorySpec("sleeping", str(kill), {"kind": "none"}, 6, 4, 0, "float32")
    trial = Trial("sleeping", "none", SAMPLES, (SAMPLES,), TrajectoryStore(str(tmp_path / "store"), spec))
    # Whoever waited for another pipeline may still be ending.
    others = set(dispatchers())
    seen: set[int] = set()
    killed: set[int] = set()
    done = threading.Event()

    def look() -> None:
        """Kill who waits for calls while some are in flight, and let them go on when somebody else waits for them."""
        while not done.wait(0.05):
            waiting = set(dispatchers()) - others
            seen.update(waiting)
            if kill and not killed and waiting and (tmp_path / "reached").exists():
                for process in waiting:
                    os.kill(process, signal.SIGKILL)
                killed.update(waiting)
            if not kill or (killed and waiting - killed):
                (tmp_path / "open").touch()

    watcher = threading.Thread(target=look)
    watcher.start()
    board = create_board()
    try:
        Sampling(problems, tuple(names), QUESTIONS, SAMPLES).run(trial, SAMPLES, board)
        busy = [one.busy_seconds for one in ActorPool(names).activity() if one is not None]
    finally:
        done.set()
        watcher.join()
        stop_pool(names)
    assert len(killed) == kill
    assert len(seen - killed) == 1
    assert len(trial.store.shards()) == SHARDS
    rows = trial.store.read(len(problems), SAMPLES)
    assert len(rows) == len(problems) * SAMPLES
    assert not rows.duplicated(["question_index", "sample_index"]).any()
    assert ray.get(board.snapshot.remote()).done == len(rows)
    # Nobody has less than half of its share.
    assert len(busy) == ACTORS
    assert min(busy) > SHARDS / ACTORS / 2 * SECONDS


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("actors", "together"), [(2, True), (6, False)], ids=["few actors", "many actors"])
def test_whoever_waits_for_one_of_few_actors_writes_its_answer(actors: int, together: bool) -> None:
    """Processes that only write would be as many again; beside dispatchers they are a few for hundreds of actors."""

    def call(block: pa.Table) -> pa.Table:
        item = WorkItem.of(block)
        return item.label(pa.table({"number": [item.number], "called_by": [os.getpid()]}))

    def write(block: pa.Table) -> pa.Table:
        return block.append_column("written_by", pa.array([os.getpid()] * len(block)))

    shards = [Shard(first, first + 2, 0, 4) for first in range(0, 40, 2)]
    blocks = dataset_of(shards, [Problem(f"question-{number}", "?", "0") for number in range(40)])
    found = call_actors_and_write(blocks, call, write, actors, len(shards), 0.02).take_all()
    assert sorted(row["number"] for row in found) == list(range(20))
    assert all((row["called_by"] == row["written_by"]) is together for row in found)


@pytest.mark.usefixtures("local_ray")
def test_the_shard_travels_with_its_rows() -> None:
    """From stage to stage, whatever the size of a block: no block is cut, none is joined with another."""

    def widened(block: pa.Table) -> pa.Table:
        """Rows for a shard; one has more than Ray Data would leave in a block."""
        item = WorkItem.of(block)
        rows = 30_000_000 if item.number == 2 else item.shard.rows
        return item.label(pa.table({"row": pa.nulls(rows, pa.int64())}))

    def asked(block: pa.Table) -> pa.Table:
        item = WorkItem.of(block)
        return pa.table({"number": [item.number], "first_question": [item.shard.first_question], "rows": [len(block)]})

    shards = [Shard(first, first + 2, 0, 4) for first in range(0, 10, 2)]
    problems = [Problem(f"question-{number}", "?", "0") for number in range(10)]
    blocks = dataset_of(shards, problems)
    # Other amounts of CPU keep the stages apart, as those of a run are.
    for stage, cpus in ((widened, 0.02), (lambda block: block, 0.01), (asked, 0.02)):
        blocks = blocks.map_batches(stage, batch_size=None, batch_format="pyarrow", num_cpus=cpus)
    found = sorted(blocks.take_all(), key=lambda row: row["number"])
    assert [row["number"] for row in found] == list(range(5))
    assert [row["first_question"] for row in found] == [0, 2, 4, 6, 8]
    assert [row["rows"] for row in found] == [8, 8, 30_000_000, 8, 8]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.timeout(180)
def test_work_begins_where_actors_hold_all_cpus_but_a_part_of_one() -> None:
    """Two reasoners, a scorer and three trials leave 0.97 of four."""

    @ray.remote
    class Holder:
        def is_there(self) -> bool:
            return True

    free = ray.available_resources()["CPU"]
    holder = Holder.options(num_cpus=int(free) - 1).remote()
    rest = Holder.options(num_cpus=0.1 + free - int(free)).remote()
    assert all(ray.get([holder.is_there.remote(), rest.is_there.remote()]))
    try:
        shards = [Shard(first, first + 2, 0, 4) for first in range(0, 10, 2)]
        blocks = dataset_of(shards, [Problem(f"question-{number}", "?", "0") for number in range(10)])
        found = blocks.map_batches(lambda block: block, batch_size=None, batch_format="pyarrow", num_cpus=0.02)
        assert len(found.take_all()) == 5
    finally:
        ray.kill(holder)
        ray.kill(rest)


@pytest.mark.usefixtures("local_ray")
def test_a_node_with_other_code_is_refused_in_one_line(tmp_path: Path) -> None:
    """Its rows would go under a name that stands for the code of the driver."""
    names = create_pool("other", ActorSpec(ReasonerWorker, ("bundled:coconut-tiny", "float32", 1), cpus=1, gpus=0), 1)
    extras = {"code": {"sampler": {"source": "0123456789abcdef"}}}
    reading = {"graders": {"numeric": {"version": 2}}}
    spec = TrajectorySpec("c", "t", {"kind": "gaussian", "sigma": 0.4}, 2, 4, 0, "float32", None, extras, reading)
    trial = Trial("other", "gaussian", 2, (2,), TrajectoryStore(str(tmp_path), spec))
    problems = (Problem("q", "Ann has 12 pens . How many ?", "12"),)
    try:
        with pytest.raises(UserError, match=r"^[^\n]+: here other code stands behind sampler than where [^\n]+$"):
            Sampling(problems, tuple(names), 1, 2).run(trial, 2, create_board())
    finally:
        stop_pool(names)
    assert trial.store.shards() == []
