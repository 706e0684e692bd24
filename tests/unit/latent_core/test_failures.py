"""Which stored errors had a passing reason."""

import pytest
import torch

from latent_core.failures import TRAJECTORY_FAILED, failure_text, is_transient


def test_memory_that_is_short_passes() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60)
    text = failure_text(refused.value)
    assert is_transient(text)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
            True,
        ),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("AcceleratorError: CUDA error: unspecified launch failure", True),
        ("ActorDiedError: The actor died unexpectedly before finishing this task.", True),
        ("RuntimeError: the hidden state is not finite at step 2", False),
        ("ValueError: the prompt has 2,100 tokens", False),
        ("IndexError: index out of range in self", False),
        (TRAJECTORY_FAILED, False),
    ],
)
def test_the_text_tells(error: str, passes: bool) -> None:
    assert is_transient(error) == passes
