"""Load a benchmark by name, from a local file, or from the Hugging Face hub."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from latent_core.answers.extractors import find_extractor
from latent_core.answers.grading import NUMERIC, check_fits_any_data
from latent_core.errors import UserError
from latent_core.registry import Registry
from latent_core.tasks.base import Task
from latent_core.tasks.columns import Columns
from latent_core.tasks.hub import load_hub
from latent_core.tasks.local import load_local

TaskLoader = Callable[..., Task]
"""Takes the name of a split and returns the task; raises UserError for a split it does not have.

One that is made from a seed also takes `count`, the number of problems; a family of tasks, of which one is named as
"family:member", also takes `member`."""

TASKS: Registry[TaskLoader] = Registry("task", "latent_core.tasks", group="tasks")


def load_task(
    *,
    name: str | None = None,
    path: str | None = None,
    hub: str | None = None,
    hub_config: str | None = None,
    split: str = "test",
    columns: Columns | None = None,
    grader: str | None = None,
    extractor: str | None = None,
    count: int | None = None,
) -> Task:
    """Load a benchmark.

    Args:
        name: A registered task; exactly one of name, path and hub is given.
        path: A local JSON, JSONL, Parquet, CSV or TSV file.
        hub: A data set of the Hugging Face hub, or a directory in its layout.
        hub_config: Configuration of the hub's data set.
        split: Which split of a registered task or of the hub's data set.
        columns: Which columns of the file or of the hub's data set are read.
        grader: Grader of the file or of the hub's data set; "numeric" where it is not given.
        extractor: What finds the answer in generated text; that of the checkpoint's format where it is not given.
        count: Number of problems, for a registered task that is made from a seed.

    Raises:
        UserError: If the benchmark is unknown, missing, malformed or empty, or a setting does not apply to it.
    """
    task = _load(name, path, hub, hub_config, split, columns, grader, count)
    if extractor is None:
        return task
    find_extractor(extractor)
    return replace(task, problems=tuple(replace(problem, extractor=extractor) for problem in task.problems))


def _load(
    name: str | None,
    path: str | None,
    hub: str | None,
    hub_config: str | None,
    split: str,
    columns: Columns | None,
    grader: str | None,
    count: int | None,
) -> Task:
    if sum(source is not None for source in (name, path, hub)) != 1:
        raise UserError("task: give exactly one of task.name, task.path and task.hub")
    if hub is None and hub_config is not None:
        raise UserError("task.hub_config: it says which part of task.hub is meant, and there is no task.hub")
    if name is not None:
        for key, value in (("columns", columns), ("grader", grader)):
            if value is not None:
                raise UserError(f"task.{key}: {name} has its own {key}; it is for data of task.path and task.hub")
        return _load_registered(name, split, count)
    if count is not None:
        raise UserError("task.count: a data set has the questions it has; use task.limit to keep the first ones")
    check_fits_any_data(grader or NUMERIC)
    if hub is not None:
        return load_hub(hub, hub_config, split, columns, grader or NUMERIC)
    return load_local(str(path), columns, grader or NUMERIC)


def _load_registered(name: str, split: str, count: int | None) -> Task:
    family, colon, member = name.partition(":")
    loader = TASKS[family]
    accepted = inspect.signature(loader).parameters
    settings: dict[str, Any] = {}
    if "member" in accepted:
        if not member:
            raise UserError(f"task {name}: name one of its data sets, as in task.name={family}:NAME")
        settings["member"] = member
    elif colon:
        raise UserError(f"task {name}: {family} is one task, and has no {member!r}")
    if count is not None:
        if "count" not in accepted:
            raise UserError(f"task.count: {name} has the questions it has; use task.limit to keep the first ones")
        settings["count"] = count
    return loader(split, **settings)
