"""GPU kernels in Triton, for what would otherwise be hundreds of small ones.

Whatever a kernel computes, torch operations elsewhere compute too: they serve every device, and say what is meant.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


def use_kernels(device: torch.device) -> bool:
    """Whether work on a device is done by the kernels of this package."""
    return device.type == "cuda" and _have_triton()


@cache
def _have_triton() -> bool:
    """Whether Triton is installed, as it is with every CUDA build of torch for Linux."""
    if importlib.util.find_spec("triton") is not None:
        return True
    logger.warning(
        "Triton is not installed: the GPU computes the same with more and slower kernels; pip install triton"
    )
    return False
