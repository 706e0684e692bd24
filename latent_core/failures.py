"""Failures of rows: how an error stands in a stored row, and which of them may be gone when the row is tried again.

The text alone tells, so that it can be told of what older versions have stored, too.
"""

from typing import Final

TRAJECTORY_FAILED: Final = "the trajectory failed"
"""The error of a score whose trajectory has none to be scored."""

CPU_ALLOCATOR: Final = "DefaultCPUAllocator"
"""In the words of torch, which has no class for it, no memory is left on a CPU."""

_TRANSIENT = (
    CPU_ALLOCATOR,
    "OutOfMemoryError",
    "out of memory",
    "_ALLOC_FAILED",
    # A device that has failed once answers everything else alike: most of the rows that say so are not its cause.
    "CUDA error",
    "CUDA driver error",
    # Ray's words for processes and nodes that are gone.
    "ActorDiedError",
    "ActorUnavailableError",
    "RayActorError",
    "NodeDiedError",
    "WorkerCrashedError",
)
_MOST_LETTERS = 500


def failure_text(error: BaseException) -> str:
    """Return an error as it stands in a row: its class and its message, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_LETTERS]}"


def is_transient(error: str) -> bool:
    """Whether a stored error had a passing reason: memory was short, or a device or a process was lost."""
    return any(mark in error for mark in _TRANSIENT)
