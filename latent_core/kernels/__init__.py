"""GPU kernels in Triton, for what would otherwise be hundreds of small ones.

Whatever a kernel computes, torch operations elsewhere compute too: they serve every device, and say what is meant.
"""

import importlib.util
from functools import cache

import torch


@cache
def have_kernels() -> bool:
    """Whether Triton is installed, as it is with every CUDA build of torch for Linux."""
    return importlib.util.find_spec("triton") is not None


def use_kernels(device: torch.device) -> bool:
    """Whether work on a device is done by the kernels of this package."""
    return device.type == "cuda" and have_kernels()
