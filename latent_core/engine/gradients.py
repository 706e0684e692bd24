"""Gradient mode of the engine: its verbs compute without gradients unless somebody asks for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

_builds: ContextVar[bool] = ContextVar("builds_gradients", default=False)


@contextmanager
def gradients(wanted: bool = True) -> Iterator[None]:
    """Let the verbs within build gradients of the weights that ask for them, or no longer.

    The reasoner has to be one that can be trained: packed layers have none.
    """
    token = _builds.set(wanted)
    try:
        with torch.set_grad_enabled(wanted):
            yield
    finally:
        _builds.reset(token)


def builds_gradients() -> bool:
    """Whether verbs build gradients here."""
    return _builds.get()


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of the engine's verbs: inference mode, but for those who have asked for `gradients`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if builds_gradients():
            return function(*args, **kwargs)
        with torch.inference_mode():
            return function(*args, **kwargs)

    return run
