"""Prompt cache: keys and values of prompts kept from request to request, for questions that get further samples.

What is recalled has the bits of what would be read anew: a row of a pass does not depend on its neighbours on a CPU.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from latent_core.attention.prefix import PrefixPart, SharedPrefix

_SHARE = 8
"""Of the memory that a batch may fill, one part in so many may be prompts that wait for a further wave."""

Room = Callable[[int], int | None]
"""From the bytes that prompts fill to those that a batch could fill without them; None where nobody knows: then none
are kept."""

Read = Callable[[Sequence[Sequence[int]]], tuple[SharedPrefix, Tensor]]
"""Reads prompts in one pass; returns them, as one part, and the hidden state at the end of each."""


@dataclass(frozen=True, eq=False)
class KeptPrompt:
    """One prompt.

    Attributes:
        keys: One tensor per layer, [1, key-value heads, P, head size].
        values: Same shapes as the keys.
        length: Its tokens, int64 [1].
        hidden: Hidden state at its end, [1, hidden size].
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    length: Tensor
    hidden: Tensor

    @classmethod
    def of(cls, part: PrefixPart, hidden: Tensor, place: int) -> Self:
        """Copy one of the prompts of a part, so that the others do not stay with it."""
        one = slice(place, place + 1)
        keys = tuple(layer[one].clone() for layer in part.keys)
        values = tuple(layer[one].clone() for layer in part.values)
        return cls(keys, values, part.lengths[one].clone(), hidden[one].clone())

    @property
    def nbytes(self) -> int:
        """Bytes that it fills."""
        return sum(one.nbytes for one in (*self.keys, *self.values, self.hidden))


class PromptCache:
    """Prompts that were read lately, as many as there is memory to spare for; for one model with fixed weights.

    Attributes:
        read: Prompts that had to be read.
        recalled: Prompts that were there.
    """

    def __init__(self, room: Room) -> None:
        """Start with nothing.

        Args:
            room: How many bytes there are.
        """
        self.read = self.recalled = 0
        self._room, self._nbytes = room, 0
        self._kept: OrderedDict[tuple[int, tuple[int, ...]], KeptPrompt] = OrderedDict()

    def prefill(self, prompts: Sequence[Sequence[int]], padded: int, read: Read) -> tuple[SharedPrefix, Tensor]:
        """Return prompts of one padded length and the hidden states at their ends, and read those that are not there.

        Args:
            prompts: Token ids of each.
            padded: What they are padded to, in tokens.
            read: Reads some of them, padded to that length.
        """
        addresses = [(padded, tuple(prompt)) for prompt in prompts]
        known = {address: self._kept[address] for address in addresses if address in self._kept}
        for address in known:
            self._kept.move_to_end(address)
        lacking = [place for place, address in enumerate(addresses) if address not in known]
        self.read += len(lacking)
        self.recalled += len(prompts) - len(lacking)
        if lacking:
            prefix, hidden = read([prompts[place] for place in lacking])
            part = prefix.parts[0]
            own = {place: KeptPrompt.of(part, hidden, index) for index, place in enumerate(lacking)}
            self._keep({addresses[place]: one for place, one in own.items()})
            if not known:
                return prefix, hidden
        else:
            own = {}
        rows = [own.get(place) or known[address] for place, address in enumerate(addresses)]
        layers = range(len(rows[0].keys))
        keys = tuple(torch.cat([row.keys[layer] for row in rows]) for layer in layers)
        values = tuple(torch.cat([row.values[layer] for row in rows]) for layer in layers)
        part = PrefixPart(keys, values, torch.cat([row.length for row in rows]))
        return SharedPrefix((part,)), torch.cat([row.hidden for row in rows])

    def clear(self) -> None:
        """Give all memory back."""
        self._kept.clear()
        self._nbytes = 0

    def _keep(self, prompts: dict[tuple[int, tuple[int, ...]], KeptPrompt]) -> None:
        for address, prompt in prompts.items():
            former = self._kept.pop(address, None)
            self._nbytes += prompt.nbytes - (former.nbytes if former is not None else 0)
            self._kept[address] = prompt
        room = (self._room(self._nbytes) or 0) // _SHARE
        while self._nbytes > room:
            _, oldest = self._kept.popitem(last=False)
            self._nbytes -= oldest.nbytes
