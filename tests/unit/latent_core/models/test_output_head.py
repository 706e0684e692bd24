"""The largest output, piece by piece, is the largest output."""

import pytest
import torch
from torch import nn

from latent_core.models.output_head import largest_output, pieces_of


@pytest.mark.parametrize("outputs", [1, 7, 2048, 2049, 5000])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_that_of_the_whole_layer(outputs: int, bias: bool) -> None:
    torch.manual_seed(outputs)
    head, hidden = nn.Linear(16, outputs, bias=bias), torch.randn(33, 16)
    assert torch.equal(largest_output(pieces_of(head), hidden), head(hidden).argmax(dim=-1))


def head_of(outputs: torch.Tensor) -> nn.Linear:
    """A layer that gives these outputs for the input 1."""
    head = nn.Linear(1, len(outputs), bias=False)
    head.weight.data = outputs[:, None].clone()
    return head


def test_the_first_of_equals_wins() -> None:
    outputs = torch.zeros(6000)
    outputs[[2500, 2600, 5000]] = 1.0
    assert largest_output(pieces_of(head_of(outputs)), torch.ones(4, 1)).tolist() == [2500] * 4


@pytest.mark.parametrize("places", [[3], [4100], [4100, 5000], [10, 4100]])
def test_what_is_no_number_is_treated_as_argmax_does(places: list[int]) -> None:
    outputs = torch.linspace(0, 1, 6000)
    outputs[places] = torch.nan
    assert outputs.argmax() == places[0]
    assert largest_output(pieces_of(head_of(outputs)), torch.ones(2, 1)).tolist() == [places[0]] * 2
