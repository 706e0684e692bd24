"""Kernels run on a GPU where there is one, or in Triton's interpreter if the environment asks for it."""

import os

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    """Where kernels run."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("needs a CUDA device; test_interpreted.py runs it in Triton's interpreter")
    return torch.device("cpu")
