"""The shapes of rollouts for which a reasoner keeps fixed memory, and captured steps, from one batch to the next."""

from collections import OrderedDict

import torch

from latent_core.engine.graph_runner import FixedRows, Shape
from latent_core.engine.memory import share_of
from latent_core.engine.state import RolloutState
from latent_core.samplers.base import ModulePerturbation, Site

_MOST_SHAPES = 8
_SHARE = 0.7
"""Share of the memory for batches beyond which buffers make room for those of another shape."""


class FixedShapes:
    """Fixed rows by shape; those that were used last are kept.

    Attributes:
        devices: Types of device that it serves. Elsewhere fixed shapes gain nothing.
    """

    def __init__(self, devices: frozenset[str] = frozenset({"cuda"})) -> None:
        """Start without any."""
        self.devices = devices
        self._kept: OrderedDict[Shape, FixedRows] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(rows.nbytes for rows in self._kept.values())

    def serves(self, device: torch.device) -> bool:
        """Whether rollouts on a device take fixed shapes, so that every further shape costs something."""
        return device.type in self.devices

    def rows_for(self, state: RolloutState, perturbation: ModulePerturbation | None) -> FixedRows | None:
        """Return buffers in which a state can go on, or None if it has to go on without.

        Args:
            state: The state.
            perturbation: What a sampler does inside the pass; masks of attention weights depend on lengths.
        """
        if not self.serves(state.hidden.device) or torch.is_grad_enabled():
            return None
        if perturbation is not None and Site.ATTENTION_WEIGHTS in perturbation.sites:
            return None
        shape = Shape.of(state)
        rows = self._kept.get(shape)
        if rows is None:
            rows = self._make(shape, state)
        elif rows.in_use and not rows.follows(state):
            return None
        if rows is not None:
            self._kept.move_to_end(shape)
        return rows

    def clear(self) -> None:
        """Give all memory back."""
        self._kept.clear()

    def _make(self, shape: Shape, like: RolloutState) -> FixedRows | None:
        needed, room = shape.nbytes(like), share_of(like.hidden.device, self.nbytes)
        if room is not None and needed > room:
            return None
        while self._kept and (
            len(self._kept) == _MOST_SHAPES or (room is not None and needed + self.nbytes > _SHARE * room)
        ):
            self._kept.popitem(last=False)
        self._kept[shape] = rows = FixedRows(shape, like)
        return rows
