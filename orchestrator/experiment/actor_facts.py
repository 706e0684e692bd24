"""Facts that actors tell of the work of a command, for `summary.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class ActorFacts:
    """What the actors of a command say at its end.

    Attributes:
        row_invariance: By pool, how its actors kept rows apart to the bit; None where nothing was computed.
        prompts: Of questions that got their samples in waves, how many times a prompt was read, and how many times an
            actor had kept it from an earlier wave; None where no rule decided upon samples. An actor that was started
            again counts anew.
    """

    row_invariance: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    prompts: Mapping[str, int] | None = None

    @classmethod
    def of(cls, reasoners: Sequence[str], scorers: Sequence[str], *, waves: bool) -> Self:
        """Ask the actors of these names; `waves` says whether a rule decided upon samples."""
        # Whoever finds everything in the store asks nobody, and does without Ray.
        from workers.pool import actor_pool

        pools = {"reasoners": tuple(reasoners), "scorers": tuple(scorers)}
        row_invariance = {name: actor_pool(names).row_invariance() for name, names in pools.items() if names}
        read, kept = actor_pool(pools["reasoners"]).prompts() if waves else (0, 0)
        return cls(row_invariance, {"read": read, "kept": kept} if waves else None)

    @property
    def rows_hold(self) -> bool:
        """Whether rows were kept apart to the bit wherever that was asked."""
        return all(one["holds"] for found in (self.row_invariance or {}).values() for one in found)


NO_FACTS = ActorFacts()
"""Of a command that computed nothing."""
