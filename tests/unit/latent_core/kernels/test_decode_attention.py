"""The kernel against ordinary softmax attention in double precision."""

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")

from latent_core.kernels.decode_attention import decode_attention

TOLERANCE = {torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def inputs(
    device: torch.device, dtype: torch.dtype, questions: int, group: int, heads: int, kv_heads: int, size: int
) -> dict[str, Tensor]:
    torch.manual_seed(0)
    made = {
        "query": torch.randn(questions * group, 1, heads, size).transpose(1, 2),
        "prompt_keys": torch.randn(questions, kv_heads, 70, size),
        "prompt_values": torch.randn(questions, kv_heads, 70, size),
        "key": torch.randn(questions * group, kv_heads, 12, size),
        "value": torch.randn(questions * group, kv_heads, 12, size),
    }
    lengths = torch.randint(1, 71, (questions,))
    lengths[0] = 70
    return {name: one.to(device, dtype) for name, one in made.items()} | {"prompt_lengths": lengths.to(device)}


def expected(given: dict[str, Tensor], suffix: int, scale: float) -> Tensor:
    """Row by row: nothing shared, nothing padded."""
    wide = {name: one.double().cpu() for name, one in given.items() if name != "prompt_lengths"}
    query, lengths = wide["query"], given["prompt_lengths"].tolist()
    group, share = len(query) // len(lengths), query.shape[1] // wide["key"].shape[1]
    outputs = []
    for row, one in enumerate(query):
        question = row // group
        keys, values = (
            torch.cat([wide[prompt][question, :, : lengths[question]], wide[own][row, :, :suffix]], 1)
            for prompt, own in (("prompt_keys", "key"), ("prompt_values", "value"))
        )
        keys, values = keys.repeat_interleave(share, 0), values.repeat_interleave(share, 0)
        weights = torch.softmax(scale * one @ keys.transpose(1, 2), -1)
        outputs.append((weights @ values).transpose(0, 1))
    return torch.stack(outputs)


@pytest.mark.parametrize(
    ("dtype", "shape", "suffix"),
    [
        (torch.float32, (3, 5, 4, 4, 8), 1),
        (torch.float32, (2, 40, 2, 2, 64), 7),
        (torch.float16, (2, 9, 8, 2, 32), 12),
        (torch.float32, (1, 1, 6, 2, 80), 0),
        pytest.param(torch.bfloat16, (4, 64, 12, 12, 64), 9, marks=pytest.mark.gpu),
        pytest.param(torch.bfloat16, (4, 16, 32, 8, 64), 9, marks=pytest.mark.gpu),
        pytest.param(torch.bfloat16, (2, 3, 8, 8, 128), 3, marks=pytest.mark.gpu),
    ],
)
def test_attention(
    device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int, int, int], suffix: int
) -> None:
    if dtype is torch.bfloat16 and device.type == "cpu":
        pytest.skip("the interpreter multiplies no bfloat16")
    given, scale = inputs(device, dtype, *shape), shape[-1] ** -0.5
    found = decode_attention(**given, suffix_length=torch.tensor([suffix], device=device), scale=scale)
    assert found.shape == (shape[0] * shape[1], 1, shape[2], shape[4])
    torch.testing.assert_close(found.double().cpu(), expected(given, suffix, scale), rtol=0, atol=TOLERANCE[dtype])


def test_what_lies_behind_the_lengths_is_not_looked_at(device: torch.device) -> None:
    given = inputs(device, torch.float32, 2, 4, 2, 2, 16)
    suffix = torch.tensor([5], device=device)
    before = decode_attention(**given, suffix_length=suffix, scale=0.25)
    given["key"][:, :, 5:] = given["value"][:, :, 5:] = float("nan")
    for question, length in enumerate(given["prompt_lengths"].tolist()):
        given["prompt_keys"][question, :, length:] = given["prompt_values"][question, :, length:] = float("nan")
    assert torch.equal(decode_attention(**given, suffix_length=suffix, scale=0.25), before)


def test_a_row_that_is_not_finite_spoils_no_other(device: torch.device) -> None:
    given = inputs(device, torch.float32, 1, 6, 2, 2, 16)
    suffix = torch.tensor([3], device=device)
    before = decode_attention(**given, suffix_length=suffix, scale=0.25)
    given["query"][2] = float("nan")
    found = decode_attention(**given, suffix_length=suffix, scale=0.25)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(found[others], before[others])
    assert found[2].isnan().all()
