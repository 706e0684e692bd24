"""A sampler setting of a run, as the processes that work on it need to know it."""

from dataclasses import dataclass

from orchestrator.store import SettingStore


@dataclass(frozen=True)
class Setting:
    """One sampler setting of a run: a curve.

    Attributes:
        name: Unique within the run, readable.
        sampler: Kind of its sampler; the complete setting is in `store.spec`.
        samples: Samples per question at its largest budget.
        budgets: Where its curve is reported.
        store: Where its trajectories are.
    """

    name: str
    sampler: str
    samples: int
    budgets: tuple[int, ...]
    store: SettingStore
