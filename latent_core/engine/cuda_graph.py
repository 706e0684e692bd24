"""CUDA graphs: kernels that are launched together, so that the GPU does not wait for Python in between."""

import logging
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class CudaGraph:
    """CUDA graph of a computation on tensors that stay where they are: run as it is once, then captured and replayed.

    The first run compiles kernels and makes handles of libraries, which a capture must not. Whatever cannot be captured
    is run as it is, after a warning.
    """

    def __init__(self) -> None:
        """Start with nothing captured."""
        self._runs = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Tensor | None = None

    def run(self, compute: Callable[[], Tensor], device: torch.device) -> Tensor:
        """Return what the computation returns; it must do the same every time, with other values in its tensors."""
        self._runs += 1
        if device.type == "cuda" and self._runs == 2:
            self._capture(compute, device)
        if self._graph is None or self._output is None:
            return compute()
        self._graph.replay()
        # The next replay writes over it.
        return self._output.clone()

    def _capture(self, compute: Callable[[], Tensor], device: torch.device) -> None:
        graph = torch.cuda.CUDAGraph()
        stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
        stream.wait_stream(current)
        try:
            # Not `torch.cuda.graph`, which waits for the device and empties the allocator's cache.
            with torch.cuda.stream(stream):
                graph.capture_begin(pool=_POOLS[device].handle(graph), capture_error_mode="thread_local")
                try:
                    output = compute()
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            # What ends a broken capture complains too.
            reason = str(error.__context__ or error).splitlines()[0]
            _forget_capture(device)
            logger.warning("steps are not captured as CUDA graphs, which makes them slower: %s", reason)
            return
        current.wait_stream(stream)
        self._graph, self._output = graph, output


class _Pool:
    """The memory that all graphs of a device share: no two of them ever run at once."""

    def __init__(self) -> None:
        self._graphs: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()
        self._handle: Any = None

    def handle(self, graph: torch.cuda.CUDAGraph) -> Any:
        """Return the pool that a new graph goes into. One whose graphs are all gone cannot be used again."""
        if not self._graphs:
            self._handle = torch.cuda.graph_pool_handle()
        self._graphs.add(graph)
        return self._handle


_POOLS: defaultdict[torch.device, _Pool] = defaultdict(_Pool)


def _forget_capture(device: torch.device) -> None:
    """Free the random generator of a device from a capture that failed, which it would wait for ever to end."""
    generator = torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    generator.graphsafe_set_state(generator.clone_state())
