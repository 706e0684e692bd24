"""Aggregations: the ways to turn n samples of a question into a result. One file each, found by name.

A new aggregation is a new module here with a function under `@register_aggregation()`; curves, tables and plots take
the names from the registry.
"""

from latent_core.selection.aggregations.base import (
    AGGREGATIONS,
    Aggregation,
    Look,
    Marker,
    Need,
    Outcomes,
    Scorer,
    available,
    register_aggregation,
)

__all__ = [
    "AGGREGATIONS",
    "Aggregation",
    "Look",
    "Marker",
    "Need",
    "Outcomes",
    "Scorer",
    "available",
    "register_aggregation",
]
