"""Well-known benchmarks by name: where each is on the hub, and which of its columns hold what.

What is written down here of columns and splits is what the data sets' cards say; what they hold is in docs/tasks.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from latent_core.answers.choice import CHOICE
from latent_core.answers.grading import NUMERIC, check_fits_any_data
from latent_core.answers.mathematics import MATH
from latent_core.answers.yes_no import YES_NO
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
        secret: Splits of which only the questions are published.
        unanswerable: Reference answer of rows without one, if it has questions that cannot be answered.
    """

    name: str
    hub: str
    config: str | None = None
    columns: Columns = Columns()  # noqa: RUF009 - immutable
    splits: Mapping[str, str] = field(default_factory=lambda: _SPLITS)
    grader: str = NUMERIC
    secret: tuple[str, ...] = ()
    unanswerable: str | None = None

    def __call__(self, split: str) -> Task:
        """Load a split.

        Raises:
            UserError: If there is no such split, the data set cannot be had, or its grader lacks a package.
        """
        if split not in self.splits:
            reason = "the answers of split" if split in self.secret else "unknown split"
            ending = " are not published" if split in self.secret else ""
            raise UserError(f"task {self.name}: {reason} {split!r}{ending}; use one of {', '.join(self.splits)}")
        check_fits_any_data(self.grader)
        called = f"{self.name}/{split}"
        return load_hub(self.hub, self.config, self.splits[split], self.columns, self.grader, called, self.unanswerable)


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
    # Questions that lack what they need are in it by design, with no answer or with the word "None" as one.
    HubTask(
        "gsm_plus",
        "qintongli/GSM-Plus",
        splits={"test": "test", "testmini": "testmini"},
        unanswerable="None",
    ),
    # `result`, of these two, is a text that may be a fraction; `result_float` is its value.
    HubTask(
        "asdiv_a",
        "MU-NLPC/Calc-asdiv_a",
        config="default",
        columns=Columns(answer="result_float"),
        splits={"test": "test"},
    ),
    HubTask(
        "mawps",
        "MU-NLPC/Calc-mawps",
        config="original-splits",
        columns=Columns(answer="result_float"),
        splits={**_SPLITS, "validation": "validation"},
    ),
    HubTask(
        "math500",
        "HuggingFaceH4/MATH-500",
        columns=Columns(question=("problem",)),
        splits={"test": "test"},
        grader=MATH,
    ),
    HubTask("aime24", "HuggingFaceH4/aime_2024", columns=Columns(question=("problem",)), splits={"test": "train"}),
    HubTask("aime25", "math-ai/aime25", columns=Columns(question=("problem",)), splits={"test": "test"}),
    HubTask("amc", "AI-MO/aimo-validation-amc", columns=Columns(question=("problem",)), splits={"test": "train"}),
    HubTask("amc23", "math-ai/amc23", splits={"test": "test"}),
    HubTask(
        "prontoqa",
        "renma/ProntoQA",
        columns=Columns(question=("context", "question"), options="options"),
        splits={"test": "validation"},
        grader=CHOICE,
    ),
    HubTask("strategyqa", "ChilleD/StrategyQA", splits=_SPLITS_AND_ALL, grader=YES_NO),
    HubTask(
        "commonsense_qa",
        "tau/commonsense_qa",
        columns=Columns(answer="answerKey", options="choices"),
        splits={"train": "train", "validation": "validation"},
        grader=CHOICE,
        secret=("test",),
    ),
)

for _task in _HUB_TASKS:
    TASKS.register(_task.name, _task)
