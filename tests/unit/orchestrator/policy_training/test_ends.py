"""When a training of a policy ends early, and which rollouts are too old for it."""

from typing import Any

import pytest

from orchestrator.policy_training.asking import is_too_old
from orchestrator.policy_training.worker import out_of_patience


def history(*qualities: float | None) -> list[dict[str, Any]]:
    return [{"update": index} | ({} if one is None else {"quality": one}) for index, one in enumerate(qualities)]


@pytest.mark.parametrize(
    ("qualities", "patience", "ends"),
    [
        ((0.5, None, 0.4, 0.4), 2, True),  # Nothing is better than the start.
        ((0.5, None, 0.4, 0.6), 2, False),
        ((0.5, 0.6, 0.6), 2, False),
        ((0.5, 0.6, 0.6, 0.6), 2, True),  # As good is not better.
        ((0.5, 0.6, 0.4, 0.3), None, False),
        ((), 1, False),
    ],
)
def test_patience_counts_validations_since_the_best(
    qualities: tuple[float | None, ...], patience: int | None, ends: bool
) -> None:
    assert out_of_patience(history(*qualities), patience) is ends


def test_rollouts_may_be_as_many_versions_behind_as_staleness_says() -> None:
    assert not is_too_old(5, 5, 0)
    assert is_too_old(4, 5, 0)
    assert not is_too_old(4, 5, 1)
    assert is_too_old(3, 5, 1)
    # The first updates have no older weights than those of the start.
    assert not is_too_old(0, 1, 1)
