"""ProsQA: which of two concepts a thing belongs to, by rules that form a graph (Hao et al. 2024, arXiv 2412.06769)."""

from dataclasses import replace
from pathlib import Path

from latent_core.answers.grading import TEXT
from latent_core.errors import UserError
from latent_core.tasks.base import Task, questions_of
from latent_core.tasks.columns import Columns
from latent_core.tasks.loading import TASKS
from latent_core.tasks.local import load_local

_FOLDER = "https://raw.githubusercontent.com/facebookresearch/coconut/main/data"
_SPLITS = {"train": "prosqa_train.json", "valid": "prosqa_valid.json", "test": "prosqa_test.json"}


def prosqa(split: str) -> Task:
    """Load the problems from their authors' repository, which is where they are published: not on the hub.

    A file that has been downloaded is kept in the cache of the datasets library and read from there ever after.

    Raises:
        UserError: If there is no such split, or the file is neither in the cache nor to be had.
    """
    if split not in _SPLITS:
        raise UserError(f"task prosqa: unknown split {split!r}; use one of {', '.join(_SPLITS)}")
    train = None if split == "train" else lambda: questions_of(_load("train", only_cached=True))
    return replace(_load(split), train_questions=train)


def _load(split: str, *, only_cached: bool = False) -> Task:
    file = _downloaded(f"{_FOLDER}/{_SPLITS[split]}", only_cached)
    return replace(load_local(str(file), Columns(steps="steps"), TEXT), name=f"prosqa/{split}")


def _downloaded(url: str, only_cached: bool) -> Path:
    # Takes a second to import; only who loads this task waits for it.
    from datasets import DownloadConfig, DownloadManager

    # With the server's tag in a file's name, the cache could only be read where the server can be asked.
    settings = DownloadConfig(use_etag=False, disable_tqdm=True, local_files_only=only_cached)
    try:
        return Path(DownloadManager(download_config=settings).download(url))
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"task prosqa: {url} cannot be downloaded ({reason}); fetch it where the network is, and set task.path to "
            "the file, with task.grader=text"
        ) from error


TASKS.register("prosqa", prosqa)
