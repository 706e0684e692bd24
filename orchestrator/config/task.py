"""Settings of the task: which questions are asked, and how their answers are found and judged."""

from pydantic import Field, model_validator

from latent_core.settings import Settings
from latent_core.tasks.base import Task
from latent_core.tasks.columns import Columns
from latent_core.tasks.loading import load_task
from latent_core.trajectory import CutAnswers
from orchestrator.config.loading import TASK_SOURCES
from orchestrator.config.paths import Place
from orchestrator.config.types import Count


class TaskConfig(Settings):
    """Which questions are asked.

    Attributes:
        name: A registered task, or one of a family ("reasoning_gym:NAME"); exactly one of name, path and hub is given.
        path: A local JSON, JSONL, Parquet, CSV or TSV file.
        hub: A data set of the Hugging Face hub (owner/name), or a directory in its layout.
        hub_config: Configuration of the hub's data set, where it has several.
        split: Split of a registered task or of the hub's data set.
        columns: Which columns of the file or of the hub's data set hold question, answer, id, steps and options.
        grader: How answers of the file or of the hub's data set are judged: "numeric" where it is not given; or "text",
            "math", "choice" or "yes_no".
        extractor: What finds the answer in generated text; where it is not given, what the checkpoint's format says.
        count: Number of questions of a task that is made from a seed; its own default where it is not given.
        limit: Keep only the first questions.
        cut_answers: What becomes of answers that were cut off at `answer_tokens`: they "abstain", which is to say that
            they do not vote and are not right, like answers that cannot be read; or they "vote" as far as they got.
        trust_grader: Whether answers are judged by the task's own scorer though it takes wrong ones for right.
    """

    name: str | None = None
    path: Place | None = None
    hub: Place | None = None
    hub_config: str | None = None
    split: str = "test"
    columns: Columns | None = None
    grader: str | None = None
    extractor: str | None = None
    count: Count | None = None
    limit: int | None = Field(default=None, ge=1)
    cut_answers: CutAnswers = "abstain"
    trust_grader: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> "TaskConfig":
        if sum(getattr(self, source) is not None for source in TASK_SOURCES) != 1:
            raise ValueError("give exactly one of task.name, task.path and task.hub")
        return self

    def load(self) -> Task:
        """Load the questions, also those that a limit leaves out.

        Raises:
            UserError: If they cannot be had, or a setting does not apply to them.
        """
        return load_task(
            name=self.name,
            path=self.path,
            hub=self.hub,
            hub_config=self.hub_config,
            split=self.split,
            columns=self.columns,
            grader=self.grader,
            extractor=self.extractor,
            count=self.count,
        )
