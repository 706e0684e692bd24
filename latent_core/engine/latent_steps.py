"""Walk through the latent steps: all rows the same number of them, or each row until the model has thought enough."""

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
class Stretch:
    """Rows of a walk that are at the same latent step.

    Attributes:
        state: Their state.
        origin: The row of the first state that each of them comes from, int64 [rows].
        counts: Which of them count; the others only fill the batch up, bool [rows].
        overrun: Whether they were cut off at the largest number of steps while they wanted to think on.
    """

    state: RolloutState
    origin: Tensor
    counts: Tensor
    overrun: bool = False

    @classmethod
    def of(cls, state: RolloutState) -> "Stretch":
        """Return the stretch that a walk starts with: every row counts."""
        origin = torch.arange(state.rows, device=state.hidden.device)
        return cls(state, origin, torch.ones_like(origin, dtype=torch.bool))

    def only(self, rows: Tensor, overrun: bool = False) -> "Stretch":
        """Return the rows that are marked, bool [rows], filled up so that every question has equally many."""
        if bool(rows.all()):
            return Stretch(self.state, self.origin, rows, overrun)
        by_question = rows.reshape(self.state.questions, self.state.group)
        chosen, filler = even_selection(by_question, MIN_ROWS)
        return Stretch(self.state.select(chosen), self.origin[chosen], ~filler, overrun)


def walk(
    engine: RolloutEngine, start: Stretch, latent_steps: int, on_step: Callable[[Stretch], None] | None = None
) -> Iterator[Stretch]:
    """Think, and yield rows as they stop.

    Args:
        engine: Takes the steps.
        start: Where from; `latent_steps` counts from the prompt on, so that a walk may start in the middle.
        latent_steps: T; where the length is adaptive, the most steps of a row.
        on_step: Called after every step with the rows that took it.

    Yields:
        Every row that counts exactly once, together with others that have thought equally long. With a fixed length
        that is one stretch with all rows; the last stretch of an adaptive one may be an overrun.
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
        here = Stretch(engine.step(here.state), here.origin, here.counts)
        if on_step is not None:
            on_step(here)
    if not adaptive:
        yield here
        return
    done = here.counts & engine.wants_to_stop(here.state)
    if bool(done.any()):
        yield here.only(done)
    if bool((here.counts & ~done).any()):
        yield here.only(here.counts & ~done, overrun=True)


def _uncounted(here: Stretch, going: Tensor) -> Stretch:
    return Stretch(here.state, here.origin, going)
