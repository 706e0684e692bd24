"""The loop over latent steps: all rows take the same number of them, or each row until the model has thought enough."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latent_core.engine.rollout import RolloutEngine
from latent_core.engine.state import RolloutState, even_selection
from latent_core.models.feedback.base import Thought
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
        thought: What they would think next; None where that is not known yet.
    """

    state: RolloutState
    origin: Tensor
    counts: Tensor
    truncated: bool = False
    thought: Thought | None = None

    @classmethod
    def of(cls, state: RolloutState) -> "ActiveRows":
        """Return the rows of a state with which the steps begin: every one counts."""
        origin = torch.arange(state.rows, device=state.hidden.device)
        return cls(state, origin, torch.ones_like(origin, dtype=torch.bool))

    def only(self, rows: Tensor, truncated: bool = False) -> "ActiveRows":
        """Return the rows that are marked, bool [rows], filled up so that every question has equally many."""
        if bool(rows.all()):
            return replace(self, counts=rows, truncated=truncated)
        by_question = rows.reshape(self.state.questions, self.state.group)
        chosen, filler = even_selection(by_question, MIN_ROWS)
        thought = None if self.thought is None else self.thought.take(chosen)
        return ActiveRows(self.state.select(chosen), self.origin[chosen], ~filler, truncated, thought)

    def without(self, done: Tensor) -> "ActiveRows":
        """Return the rows but for those that are marked, bool [rows]; these are dropped where that pays."""
        going = self.counts & ~done
        rest = self.only(going)
        return rest if rest.state.rows <= _COMPACT_BELOW * self.state.rows else replace(self, counts=going)

    def closed(self, engine: RolloutEngine, most_steps: int) -> "ActiveRows":
        """Return rows that have stopped, ready for the end."""
        return replace(self, state=engine.behind_thoughts(self.state, most_steps))

    def thinking(self, engine: RolloutEngine) -> "ActiveRows":
        """Return the rows with what they would think next."""
        return replace(self, thought=engine.think(self.state))

    @property
    def wants_to_stop(self) -> Tensor:
        """Which of the rows that count would stop instead of thinking, bool [rows]; none where nobody has asked."""
        if self.thought is None or self.thought.stops is None:
            return torch.zeros_like(self.counts)
        return self.counts & self.thought.stops

    def advanced(self, engine: RolloutEngine) -> "ActiveRows":
        """Return the rows behind one more step."""
        thought = engine.think(self.state) if self.thought is None else self.thought
        return ActiveRows(engine.advance(self.state, thought), self.origin, self.counts)


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
    here, conventions = start, engine.reasoner.checkpoint.format
    stops_first = conventions.last_latent != "fed"
    for _ in range(start.state.latents.shape[1], latent_steps):
        here = here.thinking(engine)
        done = here.wants_to_stop
        some_are_done = conventions.adaptive and bool(done.any())
        if some_are_done and stops_first:
            yield here.only(done).closed(engine, latent_steps)
            if not bool((here.counts & ~done).any()):
                return
            here = here.without(done)
        here = here.advanced(engine)
        if on_step is not None:
            on_step(here)
        if some_are_done and not stops_first:
            yield here.only(done).closed(engine, latent_steps)
            if not bool((here.counts & ~done).any()):
                return
            here = here.without(done)
    if not conventions.adaptive or conventions.at_limit == "close":
        yield here.closed(engine, latent_steps)
        return
    here = here.thinking(engine)
    done = here.wants_to_stop
    if bool(done.any()):
        yield here.only(done).closed(engine, latent_steps)
    if bool((here.counts & ~done).any()):
        yield here.only(here.counts & ~done, truncated=True)
