"""The loop over latent steps: all rows take the same number of them, or each row until the model has thought enough."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState, even_selection
from latent_core.row_invariance import MIN_ROWS

_COMPACT_BELOW = 0.75
"""Rows that have stopped are dropped once the others fill less than this share of the batch."""


@dataclass(frozen=True)
class ActiveRows:
    """The rows of a batch that are at the same latent step.

    Attributes:
        state: Their state.
        origin: The row of the first state that each of them comes from, int64 [rows].
        counts: Which of them count; the others only fill the batch up, bool [rows].
        truncated: Whether they were cut off at the largest number of steps while they wanted to think on.
    """

    state: RolloutState
    origin: Tensor
    counts: Tensor
    truncated: bool = False

    @classmethod
    def of(cls, state: RolloutState) -> "ActiveRows":
        """Return the rows of a state with which the steps begin: every one counts."""
        origin = torch.arange(state.rows, device=state.hidden.device)
        return cls(state, origin, torch.ones_like(origin, dtype=torch.bool))

    def only(self, rows: Tensor, truncated: bool = False) -> "ActiveRows":
        """Return the rows that are marked, bool [rows], filled up so that every question has equally many."""
        if bool(rows.all()):
            return ActiveRows(self.state, self.origin, rows, truncated)
        by_question = rows.reshape(self.state.questions, self.state.group)
        chosen, filler = even_selection(by_question, MIN_ROWS)
        return ActiveRows(self.state.select(chosen), self.origin[chosen], ~filler, truncated)


def run_latent_steps(
    engine: RolloutEngine, start: ActiveRows, latent_steps: int, on_step: Callable[[ActiveRows], None] | None = None
) -> Iterator[ActiveRows]:
    """Think, and yield rows as they stop.

    Args:
        engine: Takes the steps.
        start: Where from; `latent_steps` counts from the prompt on, so that it may begin in the middle.
        latent_steps: T; where the length is adaptive, the most steps of a row.
        on_step: Called after every step with the rows that took it.

    Yields:
        Every row that counts exactly once, together with others that have thought equally long. With a fixed length
        all rows are yielded at once; the last ones of an adaptive one may be truncated.
    """
    here, adaptive = start, engine.reasoner.checkpoint.format.adaptive
    for _ in range(start.state.latents.shape[1], latent_steps):
        if adaptive:
            done = here.counts & engine.wants_to_stop(here.state)
            if bool(done.any()):
                yield here.only(done)
                going = here.counts & ~done
                if not bool(going.any()):
                    return
                rest = here.only(going)
                here = rest if rest.state.rows <= _COMPACT_BELOW * here.state.rows else _uncounted(here, going)
        here = ActiveRows(engine.step(here.state), here.origin, here.counts)
        if on_step is not None:
            on_step(here)
    if not adaptive:
        yield here
        return
    done = here.counts & engine.wants_to_stop(here.state)
    if bool(done.any()):
        yield here.only(done)
    if bool((here.counts & ~done).any()):
        yield here.only(here.counts & ~done, truncated=True)


def _uncounted(here: ActiveRows, going: Tensor) -> ActiveRows:
    return ActiveRows(here.state, here.origin, going)
