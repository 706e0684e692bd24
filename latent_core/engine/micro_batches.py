"""Micro-batching: as many rows at once as memory has room for, and fewer where that was too many."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from latent_core.failures import CPU_ALLOCATOR
from latent_core.row_invariance import MIN_ROWS

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MicroBatch:
    """Part of the questions that were asked for, at some of their sample indices.

    Attributes:
        questions: Neighbouring questions.
        samples: Sample indices.
    """

    questions: slice
    samples: range

    @property
    def rows(self) -> int:
        """Rows that it has."""
        return int(self.questions.stop - self.questions.start) * len(self.samples)

    def halves(self, divisible: bool) -> "tuple[MicroBatch, MicroBatch] | None":
        """Return its two halves, or None if it cannot be cut further.

        Args:
            divisible: Whether the samples of one question may be computed apart.
        """
        first, last = self.questions.start, self.questions.stop
        if last - first > 1:
            middle = (first + last) // 2
            return MicroBatch(slice(first, middle), self.samples), MicroBatch(slice(middle, last), self.samples)
        if not divisible or len(self.samples) <= MIN_ROWS:
            return None
        half = -(-len(self.samples) // 2)
        return MicroBatch(self.questions, self.samples[:half]), MicroBatch(self.questions, self.samples[half:])


def micro_batches(
    needs: Sequence[tuple[int, int]], samples: range, memory_budget: int | None, divisible: bool
) -> Iterator[MicroBatch]:
    """Cut questions into batches that fit into memory.

    Args:
        needs: Bytes that each question needs, and bytes that each sample of it needs.
        samples: Sample indices of every question.
        memory_budget: Bytes that there are; None for any number.
        divisible: Whether the samples of one question may be computed apart.

    Yields:
        Batches that cover every question and sample once, question by question. What does not fit however it is cut
        is tried nevertheless.
    """
    first, used = 0, 0
    for place, (own, per_sample) in enumerate(needs):
        needed = own + per_sample * len(samples)
        if memory_budget is not None and place > first and used + needed > memory_budget:
            yield MicroBatch(slice(first, place), samples)
            first, used = place, 0
        if memory_budget is not None and needed > memory_budget and divisible:
            fits = max(MIN_ROWS, (memory_budget - own) // per_sample)
            for start in range(0, len(samples), fits):
                yield MicroBatch(slice(place, place + 1), samples[start : start + fits])
            first, used = place + 1, 0
            continue
        used += needed
    if first < len(needs):
        yield MicroBatch(slice(first, len(needs)), samples)


@dataclass
class RowLimit:
    """The most rows that a model has been able to compute at once; it outlives a batch that ran out of memory.

    Attributes:
        rows: The limit; None until memory has run out.
        release: Gives back memory that is kept for later, when it runs out.
    """

    rows: int | None = None
    release: Callable[[], None] = lambda: None

    def run(self, batches: Iterable[MicroBatch], divisible: bool, compute: Callable[[MicroBatch], T]) -> list[T]:
        """Compute batches one after the other; one that runs out of memory is halved and computed again.

        Args:
            batches: What to compute, question by question.
            divisible: Whether the samples of one question may be computed apart.
            compute: Returns the results of a batch.

        Returns:
            The results of all batches. Samples are cut only where a batch is one question, so one behind the other
            they are question by question, in sample order.

        Raises:
            RuntimeError: If memory does not even suffice for the smallest batch.
        """
        waiting = list(batches)[::-1]
        done: list[T] = []
        while waiting:
            batch = waiting.pop()
            halves = batch.halves(divisible)
            if self.rows is not None and batch.rows > self.rows and halves is not None:
                waiting.extend(reversed(halves))
                continue
            try:
                done.append(compute(batch))
            except RuntimeError as error:
                if halves is None or not _is_out_of_memory(error):
                    raise
            else:
                continue
            # Only here is the error gone, and with it the tensors that its frames held.
            self._lower(batch.rows)
            waiting.extend(reversed(halves))
        return done

    def _lower(self, tried: int) -> None:
        if self.rows is None:
            logger.warning("memory ran out with %d rows at once; going on with half of them", tried)
        self.rows = max(MIN_ROWS, tried // 2)
        self.release()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: RuntimeError) -> bool:
    # On CPUs torch has no class of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error)
