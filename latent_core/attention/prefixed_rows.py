"""Rows that share prompts: what the states of a rollout and of its scoring have in common."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latent_core.attention.prefix import SharedPrefix
from latent_core.attention.suffix import SuffixCache


def check_branches(n: int) -> None:
    """Refuse to turn a row into no rows.

    Raises:
        ValueError: If n < 1.
    """
    if n < 1:
        raise ValueError(f"cannot branch into {n} rows")


@dataclass(frozen=True)
class SharedPromptRows:
    """B prompts with G rows each, ordered prompt by prompt.

    Attributes:
        prefix: Keys and values of the B prompts, stored once.
        suffix: Keys and values behind the prompt, one batch entry per row.
    """

    prefix: SharedPrefix
    suffix: SuffixCache

    @property
    def rows(self) -> int:
        """B * G, the number of rows."""
        return self.questions * self.group

    @property
    def questions(self) -> int:
        """B, the number of prompts."""
        return len(self.prefix.lengths)

    @property
    def group(self) -> int:
        """G, the rows per prompt."""
        return self.prefix.group

    @property
    def suffix_length(self) -> int:
        """Positions behind the prompt that have been computed."""
        return int(self.suffix.get_seq_length())

    def next_positions(self, count: int = 1) -> Tensor:
        """Return the absolute positions of each row's next inputs, int64 [rows, count]."""
        first = self.prefix.row_lengths + self.suffix_length
        return first[:, None] + torch.arange(count, device=first.device)

    def repeated(self, n: int) -> tuple[SharedPrefix, SuffixCache]:
        """Return prompts and suffixes where every row has become n rows.

        Raises:
            ValueError: If n < 1.
        """
        check_branches(n)
        suffix = self.suffix.copied()
        suffix.batch_repeat_interleave(n)
        return self.prefix.regroup(self.group * n), suffix

    def taken(self, rows: Tensor) -> tuple[SharedPrefix, SuffixCache]:
        """Return prompts and suffixes of some rows, in the given order.

        Args:
            rows: Row indices, int64 [n], question by question, the same number for every question that is kept;
                a row may be kept more than once.

        Raises:
            ValueError: If questions keep different numbers of rows, or rows are not ordered by question.
        """
        questions, counts = torch.unique_consecutive(rows // self.group, return_counts=True)
        if len(rows) == 0 or bool((counts != counts[0]).any()) or len(questions.unique()) != len(questions):
            raise ValueError("select needs the same number of rows for every kept question, ordered by question")
        suffix = self.suffix.copied()
        suffix.batch_select_indices(rows)
        return self.prefix.take(questions, int(counts[0])), suffix

    def _source_rows(self, n: int) -> Tensor:
        """Return the row that each row comes from when every row becomes n rows, int64 [rows * n]."""
        rows = torch.arange(self.rows, device=self.prefix.lengths.device)
        return rows.repeat_interleave(n)
