"""Cache of CUDA graphs by batch shape: static memory and captured steps, kept from one batch to the next."""

from collections import OrderedDict

import torch

from latent_core.engine.graph_runner import BatchShape, GraphRunner
from latent_core.engine.memory import share_of
from latent_core.engine.state import RolloutState
from latent_core.samplers.base import ModulePerturbation, Site

_MOST_SHAPES = 8
_SHARE = 0.7
"""Share of the memory for batches beyond which buffers make room for those of another shape."""


class GraphCache:
    """Graph runners by shape; those that were used last are kept.

    Attributes:
        devices: Types of device that it serves. Elsewhere static memory gains nothing.
    """

    def __init__(self, devices: frozenset[str] = frozenset({"cuda"})) -> None:
        """Start without any."""
        self.devices = devices
        self._runners: OrderedDict[BatchShape, GraphRunner] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(runner.nbytes for runner in self._runners.values())

    def serves(self, device: torch.device) -> bool:
        """Whether rollouts on a device go through static memory, so that every further shape costs something."""
        return device.type in self.devices

    def runner_for(self, state: RolloutState, perturbation: ModulePerturbation | None) -> GraphRunner | None:
        """Return the runner with which a state can go on, or None if it has to go on without.

        Args:
            state: The state.
            perturbation: What a sampler does inside the pass; masks of attention weights depend on lengths.
        """
        if not self.serves(state.hidden.device) or torch.is_grad_enabled():
            return None
        if perturbation is not None and Site.ATTENTION_WEIGHTS in perturbation.sites:
            return None
        shape = BatchShape.of(state)
        runner = self._runners.get(shape)
        if runner is None:
            runner = self._make(shape, state)
        elif runner.in_use and not runner.follows(state):
            return None
        if runner is not None:
            self._runners.move_to_end(shape)
        return runner

    def clear(self) -> None:
        """Give all memory back."""
        self._runners.clear()

    def _make(self, shape: BatchShape, like: RolloutState) -> GraphRunner | None:
        needed, budget = shape.nbytes(like), share_of(like.hidden.device, self.nbytes)
        if budget is not None and needed > budget:
            return None
        while self._runners and (
            len(self._runners) == _MOST_SHAPES or (budget is not None and needed + self.nbytes > _SHARE * budget)
        ):
            self._runners.popitem(last=False)
        self._runners[shape] = runner = GraphRunner(shape, like)
        return runner
