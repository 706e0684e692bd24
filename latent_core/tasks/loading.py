"""Load a benchmark by name or from a local file."""

from collections.abc import Callable

from latent_core.errors import UserError
from latent_core.registry import Registry
from latent_core.tasks.base import Task
from latent_core.tasks.local import load_local

TaskLoader = Callable[[str], Task]
"""Takes the name of a split and returns the task; raises UserError for a split it does not have."""

TASKS: Registry[TaskLoader] = Registry("task", "latent_core.tasks")


def load_task(*, name: str | None = None, path: str | None = None, split: str = "test") -> Task:
    """Load a benchmark.

    Args:
        name: A registered task.
        path: A local JSON or JSONL file; exactly one of name and path is given.
        split: Which split of a registered task.

    Raises:
        UserError: If the benchmark is unknown, missing, malformed or empty.
    """
    if (name is None) == (path is None):
        raise UserError("task: give exactly one of task.name and task.path")
    return TASKS[name](split) if name is not None else load_local(str(path))
