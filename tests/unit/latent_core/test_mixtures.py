"""Filters and weights of vocabulary mixtures, against loops over single tokens."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from latent_core.mixtures import Candidates, MixtureSettings

SETTINGS: tuple[dict[str, Any], ...] = (
    {"width": 10},
    {"width": 3, "temperature": 0.6},
    {"width": 5, "top_k": 8},
    {"width": 10, "temperature": 0.6, "top_k": 30, "top_p": 0.9, "min_p": 0.02},
    {"width": 4, "top_p": 0.5},
    {"width": 10, "top_p": 0.3, "at_least": 10},
    {"width": 6, "min_p": 0.3},
    {"width": 400, "top_p": 0.999},
)


def logits(rows: int = 3, vocabulary: int = 700, spread: float = 3.0) -> Tensor:
    return spread * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(0))


def brute_force(row: list[float], settings: MixtureSettings) -> dict[int, float]:
    """Weights by token: sort, filter, renormalise, one after the other."""
    exact = [math.exp(value / settings.temperature) for value in row]
    kept = sorted(((value / sum(exact), token) for token, value in enumerate(exact)), reverse=True)
    if settings.top_k is not None:
        kept = kept[: settings.top_k]
    if settings.top_p < 1.0:
        total, mass, nucleus = sum(value for value, _ in kept), 0.0, []
        for place, (value, token) in enumerate(kept):
            if place < settings.at_least or mass < settings.top_p:
                nucleus.append((value, token))
            mass += value / total
        kept = nucleus
    kept = [(value, token) for value, token in kept if value >= settings.min_p * kept[0][0]]
    kept = kept[: settings.width]
    total = sum(value for value, _ in kept)
    return {token: value / total for value, token in kept}


@pytest.mark.parametrize("said", SETTINGS, ids=[" ".join(f"{k}={v}" for k, v in one.items()) for one in SETTINGS])
def test_filters_one_after_the_other(said: dict[str, Any]) -> None:
    settings, rows = MixtureSettings(**said), logits()
    merged = Candidates.of(rows, settings).merged
    assert merged.ids.shape[1] == settings.width
    for row in range(len(rows)):
        wanted = brute_force(rows[row].tolist(), settings)
        found = {
            token: weight
            for token, weight in zip(merged.ids[row].tolist(), merged.weights[row].tolist(), strict=True)
            if weight > 0.0
        }
        assert found.keys() == wanted.keys()
        assert found == pytest.approx(wanted, rel=1e-4)
        assert merged.best[row] == rows[row].argmax()


@pytest.mark.parametrize("said", SETTINGS)
def test_a_row_is_the_same_beside_any_other(said: dict[str, Any]) -> None:
    """A flat distribution has a large nucleus, beside which those of the others are filled up."""
    settings, rows = MixtureSettings(**said), logits(rows=2)
    crowded = torch.cat([rows, torch.zeros(1, rows.shape[1])])
    alone, beside = Candidates.of(rows, settings).merged, Candidates.of(crowded, settings).merged
    assert torch.equal(alone.weights, beside.weights[:2])
    assert torch.equal(alone.ids[alone.weights > 0], beside.ids[:2][alone.weights > 0])


def test_entropy_is_that_of_the_tempered_distribution_before_any_filter() -> None:
    said: dict[str, Any] = {"temperature": 0.5, "top_k": 2, "cold_stop": {"entropy": 0.1}}
    found = Candidates.of(logits(), MixtureSettings(**said)).entropy
    assert found is not None
    exact = torch.distributions.Categorical(logits=logits().double() / 0.5).entropy()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
    assert Candidates.of(logits(), MixtureSettings()).entropy is None


def test_the_weighted_mean_of_embeddings() -> None:
    table = torch.randn(700, 6, generator=torch.Generator().manual_seed(1))
    merged = Candidates.of(logits(), MixtureSettings(width=3)).merged
    for row in range(3):
        wanted = sum(
            weight * table[token]
            for token, weight in zip(merged.ids[row].tolist(), merged.weights[row].tolist(), strict=True)
        )
        torch.testing.assert_close(merged.embedded(table[merged.ids])[row], wanted)


def test_a_range_has_an_order() -> None:
    with pytest.raises(ValueError, match="has to be below"):
        MixtureSettings(noise_range=(3.0, -1.5))
