"""Budget rules: how many samples each question gets, decided from what has been seen of it. One file each.

A new rule is a new module here with a `BudgetRule` subclass under `@register_rule`; nothing else changes. Pure numpy.
"""

from latent_core.budgets.base import (
    DEFAULT_WAVES,
    RULES,
    Budget,
    BudgetRule,
    Decide,
    parse_budget,
    register_rule,
)
from latent_core.budgets.gain_table import GAIN_FILE, GainTables
from latent_core.budgets.prefix import Prefix

__all__ = [
    "DEFAULT_WAVES",
    "GAIN_FILE",
    "RULES",
    "Budget",
    "BudgetRule",
    "Decide",
    "GainTables",
    "Prefix",
    "parse_budget",
    "register_rule",
]
