"""How many rows a product needs is measured, and each way of computing it keeps rows apart.

Products that depend on their rows as those of other processors do stand for processors that are not here.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from latent_core.models import invariant_layers
from latent_core.models.invariant_layers import LayerRule, invariant_rows, make_rows_invariant, summary_of
from latent_core.row_invariance import DOES_NOT_HOLD, MIN_ROWS, RowRule, measured_rule, row_product

WIDTH = 32
WEIGHT = torch.randn(WIDTH, 24, generator=torch.Generator().manual_seed(0))


def exact(rows: Tensor) -> Tensor:
    """A product whose rows do not know each other: one after the other."""
    return (rows[:, :, None] * WEIGHT).sum(dim=1)


def below(least: int) -> Callable[[Tensor], Tensor]:
    """Other bits with few rows, as MKL's float32 products."""
    return lambda rows: exact(rows) * (1 if len(rows) >= least else 1 + 2**-20)


def above(most: int) -> Callable[[Tensor], Tensor]:
    """Other bits with many rows, as oneDNN's float32 products on processors without AVX2."""
    return lambda rows: exact(rows) * (1 if len(rows) <= most else 1 + 2**-20)


def by_count(rows: Tensor) -> Tensor:
    """Other bits with every number of rows, as oneDNN's bfloat16 products on tiles."""
    return exact(rows) * (1 + len(rows) * 2**-20)


def by_neighbours(rows: Tensor) -> Tensor:
    """Bits that depend on what is in the other rows."""
    return exact(rows) + rows.sum() * 1e-3


def example(count: int) -> tuple[Tensor]:
    return (torch.randn(count, WIDTH),)


@pytest.mark.parametrize(
    ("product", "rule"),
    [
        (exact, RowRule(MIN_ROWS)),
        *((below(least), RowRule(max(least, MIN_ROWS))) for least in (2, 3, 6, 11, 16)),
        (above(180), RowRule(64, 64, larger=(128,))),
        (by_count, RowRule(64, 64)),
        (by_neighbours, DOES_NOT_HOLD),
    ],
)
def test_the_rule_is_measured_and_kept(product: Callable[[Tensor], Tensor], rule: RowRule) -> None:
    assert measured_rule(product, example) == rule
    rows = torch.randn(200, WIDTH)
    whole = rule.apply(product, rows)
    alike = all(
        torch.equal(rule.apply(product, rows[first : first + count]), whole[first : first + count])
        for first, count in ((0, 4), (3, 5), (196, 4), (60, 8), (7, 63), (1, 64), (9, 65), (0, 130))
    )
    assert alike == rule.holds
    torch.testing.assert_close(whole, rows @ WEIGHT, rtol=1e-2, atol=rows.sum().abs().item() * 1e-3 + 1e-3)


class Odd(nn.Linear):
    """A layer of another kind, with the product of another processor."""

    product: Callable[[Tensor], Tensor] = staticmethod(by_count)

    def forward(self, input: Tensor) -> Tensor:
        return type(self).product(input.reshape(-1, WIDTH)).unflatten(0, input.shape[:-1])


def test_a_layer_is_computed_by_its_rule_and_stays_itself() -> None:
    layer = Odd(WIDTH, 24)
    [rule] = make_rows_invariant([layer])
    assert rule == LayerRule("float32 32 -> 24", "itself", RowRule(64, 64))
    inputs = torch.randn(9, 2, WIDTH, requires_grad=True)
    assert torch.equal(layer(inputs[3:5]), layer(inputs)[3:5])
    layer(inputs).sum().backward()
    assert inputs.grad is not None
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_another_product_is_taken_where_the_first_is_not_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariant_layers, "_chosen", {})
    monkeypatch.setattr("latent_core.row_invariance._rules", {})
    monkeypatch.setattr(invariant_layers, "can_pack", lambda _: False)
    linear = nn.functional.linear
    monkeypatch.setattr(
        nn.functional,
        "linear",
        lambda input, weight, bias=None: linear(input, weight, bias) * (1 + input.numel() // WIDTH * 2**-20),
    )
    layer = nn.Linear(WIDTH, 24).requires_grad_(False)
    rule, product = invariant_rows(layer)
    assert rule.product == "columns of weights"
    assert rule.rule.holds
    assert rule.rule.chunk is None
    assert product is not None
    inputs = torch.randn(12, WIDTH)
    torch.testing.assert_close(product(inputs), linear(inputs, layer.weight, layer.bias))


def test_what_does_not_hold_is_said() -> None:
    good, bad = LayerRule("float32 1 -> 2", "itself", RowRule()), LayerRule("bfloat16 3 -> 4", "itself", DOES_NOT_HOLD)
    assert summary_of([good])["holds"]
    found = summary_of([good, bad])
    assert (found["holds"], found["rule"], found["exceptions"]["bfloat16 3 -> 4"]) == (
        False,
        "does not hold",
        "does not hold",
    )


def test_activations_have_no_rest() -> None:
    activation = nn.GELU(approximate="tanh")
    make_rows_invariant([activation])
    inputs = torch.randn(40, 125)
    whole = activation(inputs)
    assert all(torch.equal(activation(inputs[:rows]), whole[:rows]) for rows in range(1, 40))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_with_prompts(dtype: torch.dtype) -> None:
    left, keys = torch.randn(3, 2, 70, 16).to(dtype), torch.randn(3, 2, 96, 16).to(dtype)
    whole = row_product(left, keys.transpose(-1, -2))
    torch.testing.assert_close(whole, left @ keys.transpose(-1, -2))
    for rows in (1, 2, 3, 4, 5, 16, 33):
        assert torch.equal(row_product(left[1:2, :, :rows], keys[1:2].transpose(-1, -2)), whole[1:2, :, :rows])
