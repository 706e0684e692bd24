"""Load a benchmark by name or from a local file."""

import inspect
from collections.abc import Callable

from latent_core.errors import UserError
from latent_core.registry import Registry
from latent_core.tasks.base import Task
from latent_core.tasks.local import load_local

TaskLoader = Callable[..., Task]
"""Takes the name of a split and returns the task; raises UserError for a split it does not have.

One that is made from a seed also takes `count`, the number of problems."""

TASKS: Registry[TaskLoader] = Registry("task", "latent_core.tasks")


def load_task(
    *, name: str | None = None, path: str | None = None, split: str = "test", count: int | None = None
) -> Task:
    """Load a benchmark.

    Args:
        name: A registered task.
        path: A local JSON or JSONL file; exactly one of name and path is given.
        split: Which split of a registered task.
        count: Number of problems, for a registered task that is made from a seed.

    Raises:
        UserError: If the benchmark is unknown, missing, malformed or empty.
    """
    if (name is None) == (path is None):
        raise UserError("task: give exactly one of task.name and task.path")
    if name is None:
        if count is not None:
            raise UserError("task.count: a file has the questions it has; use task.limit to keep the first ones")
        return load_local(str(path))
    loader = TASKS[name]
    if count is None:
        return loader(split)
    if "count" not in inspect.signature(loader).parameters:
        raise UserError(f"task.count: {name} has the questions it has; use task.limit to keep the first ones")
    return loader(split, count=count)
