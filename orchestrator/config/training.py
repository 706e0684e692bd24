"""Configuration of a training: which of its settings decide the weights."""

from collections.abc import Set
from typing import Any, ClassVar, Self

from latent_core.settings import Settings


class TrainingConfig(Settings):
    """Settings of a training, of which some decide its weights and others only where and how it runs.

    Class attributes:
        WITHOUT_INFLUENCE: Keys that leave the weights as they are.
        SECTIONS: Keys that hold settings of their own, which are named one by one.
    """

    WITHOUT_INFLUENCE: ClassVar[Set[str]] = frozenset()
    SECTIONS: ClassVar[tuple[str, ...]] = ()

    def same_weights(self, other: Self) -> str | None:
        """Return the first key by which the other configuration would train other weights, or None."""
        own, others = self._influential(), other._influential()
        return next((key for key in own if own[key] != others.get(key)), None)

    def _influential(self) -> dict[str, Any]:
        plain = self.model_dump(mode="json", exclude=set(self.WITHOUT_INFLUENCE))
        return plain | {
            f"{section}.{key}": value for section in self.SECTIONS for key, value in plain.pop(section).items()
        }
