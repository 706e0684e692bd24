"""Well-known benchmarks by name: where each is on the hub, and which of its columns hold what."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from latent_core.answers.grading import NUMERIC
from latent_core.errors import UserError
from latent_core.tasks.base import Task
from latent_core.tasks.columns import Columns
from latent_core.tasks.hub import load_hub
from latent_core.tasks.loading import TASKS

_SPLITS = {"train": "train", "test": "test"}
_SPLITS_AND_ALL = {**_SPLITS, "all": "train+test"}


@dataclass(frozen=True)
class HubTask:
    """A benchmark on the hub.

    Attributes:
        name: Its name here.
        hub: Its id on the hub.
        config: Its configuration on the hub.
        columns: Which columns hold what.
        splits: Names of splits here and on the hub.
        grader: Name of the grader of its answers.
    """

    name: str
    hub: str
    config: str | None = None
    columns: Columns = Columns()  # noqa: RUF009 - immutable
    splits: Mapping[str, str] = field(default_factory=lambda: _SPLITS)
    grader: str = NUMERIC

    def __call__(self, split: str) -> Task:
        """Load a split.

        Raises:
            UserError: If there is no such split, or the data set cannot be had.
        """
        if split not in self.splits:
            raise UserError(f"task {self.name}: unknown split {split!r}; use one of {', '.join(self.splits)}")
        called = f"{self.name}/{split}"
        return load_hub(self.hub, self.config, self.splits[split], self.columns, self.grader, called)


_HUB_TASKS = (
    HubTask("gsm8k", "openai/gsm8k", config="main"),
    # Published as one split, which is called "train" and is meant for testing.
    HubTask(
        "gsm_hard",
        "reasoning-machines/gsm-hard",
        columns=Columns(question=("input",), answer="target"),
        splits={"test": "train"},
    ),
    HubTask("multiarith", "ChilleD/MultiArith", columns=Columns(answer="final_ans"), splits=_SPLITS_AND_ALL),
    HubTask(
        "svamp",
        "ChilleD/SVAMP",
        columns=Columns(question=("Body", "Question"), answer="Answer"),
        splits=_SPLITS_AND_ALL,
    ),
)

for _task in _HUB_TASKS:
    TASKS.register(_task.name, _task)
