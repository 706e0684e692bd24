"""Flash attention of a row's new position to its own positions, in the reduced precision of a CPU.

torch's kernel reads keys and values as they are, writes no scores down, and says of every query the logarithm of the
sum of their exponentials (arXiv 2307.08691): to a softmax over everything else all own positions are one more key, with
that logarithm as its score and the output as its value. In float32 two products are as fast, and stay.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from latent_core.rounding_noise import RoundingNoise
from latent_core.row_invariance import RowRule, is_slow, known_rule

_flash: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_MEASURED_KEYS = 16
"""Own positions with which the rule is measured: rows have as many as their neighbours, whatever number that is."""


def flash_rule(query: Tensor, key: Tensor) -> RowRule | None:
    """Return how rows have to be computed by `own_attention`; None where two products are as good or better.

    They are where heads share keys: the kernel lays keys out anew for them.

    Args:
        query: [rows, heads, queries, head size].
        key: [rows, key-value heads, keys, head size].
    """
    if query.device.type != "cpu" or query.dtype == torch.float32 or is_slow(query.dtype):
        return None
    if query.shape[2] > 1 or query.shape[1] != key.shape[1]:
        return None
    rule = _measured(query.shape[3], query.dtype)
    return rule if rule.holds else None


def own_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, rule: RowRule) -> tuple[Tensor, Tensor]:
    """Attend over the rows' own positions alone.

    Args:
        query: [rows, heads, 1, head size].
        key: [rows, heads, keys, head size].
        value: Same shape as key.
        scale: Factor on the scores.
        rule: What `flash_rule` has returned.

    Returns:
        The output, float32 [rows, heads, 1, head size], and the logarithm of the sum of the exponentials of the scores,
        float32 [rows, heads, 1, 1].
    """
    both = rule.apply(partial(_attend, scale), query, key, value)
    return both[..., :-1], both[..., -1:]


def _attend(scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return outputs and, behind them, the logarithms: float32 [rows, heads, 1, head size + 1]."""
    output, log_sum = _flash(query, key, value, 0.0, False, attn_mask=None, scale=scale)
    return torch.cat([output.float(), log_sum[..., None]], dim=-1)


def _measured(size: int, dtype: torch.dtype) -> RowRule:
    def example(rows: int) -> tuple[Tensor, Tensor, Tensor]:
        noise = RoundingNoise(_MEASURED_KEYS)
        # Keys alike in pairs, with values that cancel: what is left of the output was rounded.
        keys = noise.left(rows, 2, size, dtype=dtype).transpose(-1, -2)
        values = noise.right(rows, 2, size, dtype=dtype).transpose(-1, -2)
        return torch.randn(rows, 2, 1, size).to(dtype), keys, values

    return known_rule(("own attention", dtype, size), partial(_attend, size**-0.5), example, sparse=True)
