"""What the training loop has to know about what it trains."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from latent_core.training.settings import StageSettings


class Rows(Protocol):
    """Problems that can be cut into parts."""

    def __len__(self) -> int: ...

    def rows(self, start: int, end: int) -> Self:
        """Return a range of rows."""


B = TypeVar("B", bound=Rows)


@dataclass(frozen=True)
class Losses:
    """Losses of some rows, means over rows.

    Attributes:
        total: What is minimised, a scalar.
        parts: What it is made of, scalars by the names under which they are reported.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class Learner(abc.ABC, Generic[B]):
    """A reasoner with its problems and its losses.

    Attributes:
        trained: What holds the weights.
        generator: Source of the noise, on the CPU.
    """

    trained: nn.Module
    generator: torch.Generator

    @abc.abstractmethod
    def batches(self, index: int, stage: StageSettings, first: int = 0) -> Iterator[B]:
        """Yield the batches of a stage, which is the `index`-th, from one of them on."""

    @abc.abstractmethod
    def losses(self, batch: B, stage: StageSettings) -> Losses:
        """Return what a stage minimises."""

    @abc.abstractmethod
    def accuracy(self) -> float:
        """Return the greedy accuracy on validation problems, in [0, 1]."""

    @abc.abstractmethod
    def save(self, directory: Path) -> None:
        """Write the checkpoint."""
