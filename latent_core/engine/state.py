"""The state of a rollout: a batch of partial latent trajectories."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from latent_core.attention.prefixed_rows import SharedPromptRows, check_branches
from latent_core.randomness import Streams


@dataclass(frozen=True)
class RolloutState(SharedPromptRows):
    """B questions with G rows each, ordered question by question. Verbs return new states and leave old ones usable.

    Attributes:
        prefix: Keys and values of the B prompts, stored once.
        suffix: Keys and values behind the prompt, one batch entry per row.
        hidden: Last hidden state of each row, [B * G, hidden size]; the next latent comes from it.
        latents: The vectors fed back so far, [B * G, t, hidden size].
        streams: The random streams of the rows.
        thought_ids: The tokens that stand for the latents, int64 [B * G, t]; [B * G, 0] where none do.
        calm: Steps in a row, up to the last one, on which each row has been sure, int64 [B * G].
        boundary: Positions of the suffix that end the prompt: 1 where a sampler acts on the prompt's last position, so
            that every row has read it for itself, else 0.
        gap: How far the positions behind the last latent jump; 0 where they follow on.
    """

    hidden: Tensor
    latents: Tensor
    streams: Streams
    thought_ids: Tensor
    calm: Tensor
    boundary: int = 0
    gap: int = 0

    def next_positions(self, count: int = 1) -> Tensor:
        """Return the absolute positions of each row's next inputs, int64 [rows, count]."""
        return super().next_positions(count) + self.gap

    @property
    def next_step(self) -> int:
        """Step of the next position: they count from 1 behind the prompt."""
        return self.suffix_length - self.boundary + 1

    def branch(self, n: int, first: int = 0) -> Self:
        """Turn every row into n rows that differ from here on.

        Before the first latent step the new rows are samples `first`..`first + n - 1` of their question; later they
        are stochastic completions number `first`..`first + n - 1` of their trajectory.

        Raises:
            ValueError: If n < 1, or if rows that have been branched into samples before t = 0 are branched again.
        """
        check_branches(n)
        index = torch.arange(first, first + n, device=self.hidden.device).repeat(self.rows)
        streams = self.streams.take(self._source_rows(n))
        if self.latents.shape[1] > 0:
            # Completion 0 must not repeat the draws of the trajectory that it leaves, whose rollout index is 0.
            streams = replace(streams, rollout=index + 1)
        elif self.group == 1:
            streams = replace(streams, sample=streams.sample + index)
        else:
            raise ValueError("the prompt has been branched into samples already; branch again after a latent step")
        return self.spread(n, streams)

    def spread(self, n: int, streams: Streams) -> Self:
        """Turn every row into n rows that go on with the given streams, one per new row.

        Raises:
            ValueError: If n < 1.
        """
        prefix, suffix = self.repeated(n)
        source = self._source_rows(n)
        return replace(
            self,
            prefix=prefix,
            suffix=suffix,
            hidden=self.hidden[source],
            latents=self.latents[source],
            streams=streams,
            thought_ids=self.thought_ids[source],
            calm=self.calm[source],
        )

    def select(self, rows: Tensor) -> Self:
        """Keep some rows, in the given order. See `SharedPromptRows.taken`."""
        prefix, suffix = self.taken(rows)
        return replace(
            self,
            prefix=prefix,
            suffix=suffix,
            hidden=self.hidden[rows],
            latents=self.latents[rows],
            streams=self.streams.take(rows),
            thought_ids=self.thought_ids[rows],
            calm=self.calm[rows],
        )


def even_selection(keep: Tensor, at_least: int = 1) -> tuple[Tensor, Tensor]:
    """Choose rows for `RolloutState.select` when questions keep different numbers of them.

    Questions that keep fewer rows than the fullest one are filled up with repetitions of a row of theirs; questions
    that keep none are dropped.

    Args:
        keep: Which rows to keep, bool [questions, group]; at least one.
        at_least: Fewest rows to return, fillers included.

    Returns:
        Row indices int64 [n], and which of them are fillers, bool [n].
    """
    group = keep.shape[1]
    kept = keep[keep.any(dim=1)]
    questions = keep.any(dim=1).nonzero().squeeze(1)
    counts = kept.sum(dim=1)
    # A stable sort on "not kept" brings the kept rows of each question to the front in their order.
    order = torch.argsort((~kept).int(), dim=1, stable=True)
    new_group = max(int(counts.max()), -(-at_least // len(questions)))
    position = torch.arange(new_group, device=keep.device).expand(len(questions), -1)
    filler = position >= counts[:, None]
    slots = order.gather(1, torch.where(filler, 0, position))
    return (questions[:, None] * group + slots).flatten(), filler.flatten()


def halved_selection(keep: Tensor, at_least: int) -> tuple[Tensor, Tensor] | None:
    """Choose rows as `even_selection` does, but all questions stay, with a half, a quarter, ... of their rows.

    Every shape of a batch costs something where steps are captured; this way they are few.

    Args:
        keep: Which rows to keep, bool [questions, group].
        at_least: Fewest rows to return, fillers included.

    Returns:
        Row indices int64 [n], and which of them are fillers, bool [n]; None where not even a half can be dropped.
    """
    questions, group = keep.shape
    counts = keep.sum(dim=1)
    most, new_group = int(counts.max()), group
    while new_group % 2 == 0 and new_group // 2 >= max(most, 1) and questions * (new_group // 2) >= at_least:
        new_group //= 2
    if new_group == group:
        return None
    order = torch.argsort((~keep).int(), dim=1, stable=True)[:, :new_group]
    filler = torch.arange(new_group, device=keep.device) >= counts[:, None]
    first = torch.arange(questions, device=keep.device)[:, None] * group
    return (first + order).flatten(), filler.flatten()
