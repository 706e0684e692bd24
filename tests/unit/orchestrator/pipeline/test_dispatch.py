"""How many processes wait for how many calls."""

import pytest
from ray.exceptions import OutOfMemoryError

from latent_core.errors import UserError
from orchestrator.pipeline.dispatch import calls_at_once, user_error, users_errors


@pytest.mark.parametrize(
    ("actors", "shards", "expected"),
    [(8, 100, (1, 16)), (9, 100, (2, 9)), (32, 1000, (4, 16)), (1000, 10**6, (125, 16)), (1000, 5, (1, 5))],
)
def test_dispatchers_share_two_calls_per_actor(actors: int, shards: int, expected: tuple[int, int]) -> None:
    dispatchers, each = calls_at_once(actors, shards)
    assert (dispatchers, each) == expected
    assert dispatchers * each >= min(2 * actors, shards)
    assert each <= 16


SAID = """ray::MapBatches(Generate)() (pid=1, ip=192.0.2.1)
ray.exceptions.RayTaskError(UserError): ray::ReasonerWorker.sample() (pid=2, ip=192.0.2.1)
    raise UserError("latent_core.errors.UserError is no traceback")
latent_core.errors.UserError: node: other code: mend it

The above exception was the direct cause of the following exception:
ray.exceptions.UserCodeException: UDF failed to process a data block."""


def test_the_users_error_is_found_behind_rays() -> None:
    found = user_error(RuntimeError(SAID))
    assert isinstance(found, UserError)
    assert str(found) == "node: other code: mend it"
    assert user_error(RuntimeError("RuntimeError: latent_core.errors.UserError: no line of its own")) is None


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="as it was"), users_errors():
        raise ValueError("as it was")


SHORT = """Task was killed due to the node running low on memory.
Memory on the node (IP: 192.0.2.7, ID: 5f3a) where the task (task ID: 8a, name=MapBatches(Persist), pid=7, memory
used=3.10GB) was running was 30.4GB / 32.0GB (0.951), which exceeds the memory usage threshold of 0.95."""


def test_a_process_that_was_ended_for_want_of_memory_names_its_stage_and_what_to_lower() -> None:
    with pytest.raises(UserError) as said, users_errors():
        raise OutOfMemoryError(SHORT)
    message = str(said.value)
    assert message.startswith("out of memory: Ray has ended MapBatches(Persist) because memory is short on 192.0.2.7;")
    assert "lower micro_batch, store.samples_per_shard or actors" in message
    assert "\n" not in message
