"""What a machine can do at best: its rates of matrix products and of memory, measured where a benchmark runs."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import transformers

from latent_core.models.packed_linear import PackedLinear, packable

_SIZE = {"cpu": 1536, "cuda": 8192}
_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}


@dataclass(frozen=True)
class Machine:
    """Rates that no program exceeds.

    Attributes:
        name: Processor or GPU, with threads and versions.
        flops: Floating-point operations per second of large matrix products.
        bandwidth: Bytes per second that are read and written.
    """

    name: str
    flops: float
    bandwidth: float

    def seconds(self, flops: float, moved: float) -> float:
        """Return the least time for that much arithmetic and that many bytes, whichever binds."""
        return max(flops / self.flops, moved / self.bandwidth)


def measure_machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """Measure both rates; takes some seconds."""
    size = _SIZE[device.type]
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    source = torch.empty(_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = fastest(lambda: left @ right, device)
    if packable(right):
        layer = PackedLinear(right, None)
        product = min(product, fastest(lambda: layer(left), device))
    copy = fastest(lambda: target.copy_(source), device)
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    name = f"{kind}, {torch.get_num_threads()} thread(s), {str(dtype).removeprefix('torch.')}"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return Machine(f"{name}; {versions}", 2.0 * size**3 / product, 2.0 * source.numel() / copy)


def faster(one: Machine, other: Machine) -> Machine:
    """Return the best of two measurements: a machine that others used meanwhile looks slower than it is."""
    return replace(one, flops=max(one.flops, other.flops), bandwidth=max(one.bandwidth, other.bandwidth))


def fastest(work: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    """Return the seconds of the fastest of some runs."""
    work()
    return min(seconds_of(work, device) for _ in range(repeats))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one run, device work included."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cpu_seconds_of(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one run in this process: where others wait for the same cores, those mislead less."""
    started = time.process_time()
    work()
    return time.process_time() - started
