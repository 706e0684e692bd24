"""Flash attention to own positions equals a softmax over everything, and no row sees its neighbours."""

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from latent_core.attention import shared_prefix
from latent_core.attention.flash import flash_rule, own_attention
from latent_core.attention.prefix import PrefixPart, SharedPrefix
from latent_core.row_invariance import RowRule, is_slow, one_thread

ROWS, GROUP, HEADS, SIZE, PADDED = 12, 4, 3, 16, 32
LENGTHS = (32, 20, 5)


def bfloat16(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).bfloat16()


@pytest.mark.parametrize("keys", [1, 2, 9, 40])
def test_own_positions_and_prompts_together_are_one_softmax(monkeypatch: pytest.MonkeyPatch, keys: int) -> None:
    torch.manual_seed(keys)
    # On processors of any kind: those that are slow in bfloat16 do not take this way by themselves.
    monkeypatch.setattr(shared_prefix, "flash_rule", lambda *_: RowRule())
    query, prompts = bfloat16(ROWS, HEADS, 1, SIZE), [bfloat16(len(LENGTHS), HEADS, PADDED, SIZE) for _ in range(2)]
    # As in the buffers of a suffix, which have room for more.
    key, value = (bfloat16(ROWS, HEADS, keys + 3, SIZE)[:, :, :keys] for _ in range(2))
    part = PrefixPart((prompts[0],), (prompts[1],), torch.tensor(LENGTHS))
    module = nn.Module()
    module.layer_idx = 0
    with torch.inference_mode():
        output, _ = shared_prefix.shared_prefix_attention(
            module, query, key, value, None, prefix=SharedPrefix((part,), GROUP)
        )
    for row in range(ROWS):
        question, length = row // GROUP, LENGTHS[row // GROUP]
        seen = [
            torch.cat([shared[question, :, :length], own[row]], dim=1).double()
            for shared, own in zip(prompts, (key, value), strict=True)
        ]
        expected = scaled_dot_product_attention(query[row].double(), *seen).transpose(0, 1)
        assert torch.allclose(output[row].double(), expected, atol=0.02), f"row {row}"


def test_sums_are_those_of_the_scores() -> None:
    query, key, value = bfloat16(2, 1, 1, 8), bfloat16(2, 1, 3, 8), bfloat16(2, 1, 3, 8)
    _, log_sums = own_attention(query, key, value, 0.5, RowRule(at_least=1))
    expected = (query.float() @ key.float().transpose(-1, -2) * 0.5).logsumexp(-1, keepdim=True)
    assert torch.allclose(log_sums, expected, atol=1e-4)


def test_bits_of_a_row_do_not_depend_on_the_others() -> None:
    if is_slow(torch.bfloat16):
        pytest.skip("this processor computes bfloat16 by plain loops")
    query, key, value = (bfloat16(64, HEADS, length, SIZE) for length in (1, 11, 11))
    rule = flash_rule(query, key)
    assert rule is not None, "no rule was found"
    with one_thread(), torch.inference_mode():
        together = torch.cat(own_attention(query, key, value, 0.25, rule), dim=-1)
        for some in ([5], [63, 0], list(range(7, 40))):
            apart = torch.cat(own_attention(query[some], key[some], value[some], 0.25, rule), dim=-1)
            assert torch.equal(apart, together[some])


@pytest.mark.parametrize(
    ("query", "key"),
    [
        (bfloat16(4, 4, 2, 8), bfloat16(4, 4, 5, 8)),
        (bfloat16(4, 4, 1, 8), bfloat16(4, 2, 5, 8)),
        (torch.randn(4, 4, 1, 8), torch.randn(4, 4, 5, 8)),
    ],
    ids=["several positions", "heads that share keys", "float32"],
)
def test_everything_else_stays_two_products(query: torch.Tensor, key: torch.Tensor) -> None:
    assert flash_rule(query, key) is None
