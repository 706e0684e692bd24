"""CUDA graphs: kernels that are launched together, so that the GPU does not wait for Python in between."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class CapturedPass:
    """A computation on tensors that stay where they are: on a GPU run as it is once, then captured and replayed.

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
                graph.capture_begin(pool=_pool(device), capture_error_mode="thread_local")
                try:
                    output = compute()
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            # What ends a broken capture complains too.
            reason = str(error.__context__ or error).splitlines()[0]
            logger.warning("steps are not captured as CUDA graphs, which makes them slower: %s", reason)
            return
        current.wait_stream(stream)
        self._graph, self._output = graph, output


@cache
def _pool(device: torch.device) -> Any:
    """Return the memory that all graphs of a device share: no two of them ever run at once."""
    with torch.cuda.device(device):
        return torch.cuda.graph_pool_handle()
