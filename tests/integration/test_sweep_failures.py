"""What a sweep says when Tune has given trials up: real trials that fail, and error files as Tune writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from support import fill, small_disk

from latent_core.errors import UserError
from orchestrator.tuning.failures import sweep_failure

# Processes of a cluster cannot import tests.
cloudpickle.register_pickle_by_value(support)
pytestmark = pytest.mark.usefixtures("local_ray")


def failed_trials(folder: Path, errors: list[Exception], before: Callable[[], object] = lambda: None) -> list[Trial]:
    """Have Tune run a trial for each error, which raises it, and keep its folder "tune" below a folder."""

    def fails(config: dict[str, Any]) -> None:
        before()
        raise errors[config["index"]]

    finished = tune.run(
        tune.with_resources(fails, {"cpu": 0.01}),
        config={"index": tune.grid_search(list(range(len(errors))))},
        name="tune",
        storage_path=str(folder),
        max_failures=0,
        raise_on_failed_trial=False,
        verbose=0,
    )
    failed = [trial for trial in finished.trials if trial.status == Trial.ERROR]
    assert len(failed) == len(errors)
    return failed


def test_the_users_error_of_any_trial_is_the_sweeps(tmp_path: Path) -> None:
    errors = [RuntimeError("a process was lost"), UserError("store.path /full: cannot be written: no room")]
    failure = sweep_failure(failed_trials(tmp_path, errors), 3, tmp_path / "tune")
    assert isinstance(failure, UserError)
    assert str(failure) == "store.path /full: cannot be written: no room"


def test_another_error_is_raised_with_its_text(tmp_path: Path) -> None:
    trials = failed_trials(tmp_path, [ZeroDivisionError("of nothing")])
    files = set((tmp_path / "tune").iterdir())
    failure = sweep_failure(trials, 3, tmp_path / "tune")
    assert isinstance(failure, RuntimeError)
    assert str(failure).startswith("1 of 3 trials failed; ")
    assert "ZeroDivisionError: of nothing" in str(failure)
    assert set((tmp_path / "tune").iterdir()) == files


def test_a_disk_too_full_for_the_error_itself_is_the_cause(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        trials = failed_trials(disk, [OSError(28, "No space left on device")], before=lambda: fill(disk))
        with pytest.raises(OSError, match=f"No space left on device: '{disk}/tune/"):
            sweep_failure(trials, 1, disk / "tune")
        (disk / "filler").unlink(missing_ok=True)
