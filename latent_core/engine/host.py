"""Results on their way from the device to the host."""

import torch
from torch import Tensor


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors to the host, all at once, waiting for the device only at the end; what is there already stays.

    Args:
        tensors: Tensors of one device.
    """
    if tensors[0].device.type != "cuda":
        return list(tensors)
    # Only copies into pinned memory go on by themselves.
    copies = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True).copy_(one, non_blocking=True) for one in tensors]
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return copies
