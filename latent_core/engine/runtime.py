"""Runtime of rollouts: what outlives an engine, such as captured CUDA graphs and what has been learnt about memory."""

import weakref
from functools import partial

from latent_core.engine.graph_cache import GraphCache
from latent_core.engine.memory import Footprint, share_of
from latent_core.engine.micro_batches import RowLimit
from latent_core.engine.prompt_cache import PromptCache
from latent_core.models.reasoner import LatentReasoner


class RolloutRuntime:
    """State of the rollouts of one reasoner; all its engines share it.

    It does not hold the reasoner, so that it goes when the reasoner does.

    Attributes:
        device: Where the reasoner computes.
        footprint: What its rollouts need in memory.
        graph_cache: CUDA graphs of rollout steps, and the static memory that they go through.
        prompts: Prompts that are kept for further samples of their questions.
        reads_logits: Whether the reasoner needs all logits, at every latent step or whenever it writes.
        row_limit: How many rows at once memory has turned out to hold.
    """

    def __init__(self, reasoner: LatentReasoner) -> None:
        """Start with nothing captured and nothing learnt; most callers want `of`."""
        self.device = reasoner.device
        self.reads_logits = reasoner.feedback.reads_logits or bool(reasoner.checkpoint.never_written)
        self.footprint, self.graph_cache = Footprint.of(reasoner.model), GraphCache()
        self.prompts = PromptCache(partial(share_of, self.device))
        self.row_limit = RowLimit(release=partial(_release, self.graph_cache, self.prompts))

    @classmethod
    def of(cls, reasoner: LatentReasoner) -> "RolloutRuntime":
        """Return the runtime of a reasoner, made when it is first asked for.

        Engines are made for every request; what one has captured and learnt would be lost if each had a runtime of its
        own.
        """
        found = _RUNTIMES.get(reasoner)
        if found is None:
            _RUNTIMES[reasoner] = found = cls(reasoner)
        return found

    @property
    def memory_budget(self) -> int | None:
        """Bytes that a batch of rollouts may fill, or None where nobody knows how much there is."""
        return share_of(self.device, self.graph_cache.nbytes)


def _release(graph_cache: GraphCache, prompts: PromptCache) -> None:
    # A method would hold its runtime, which then goes later than the reasoner, and the graphs' memory with it.
    graph_cache.clear()
    prompts.clear()


_RUNTIMES: weakref.WeakKeyDictionary[LatentReasoner, RolloutRuntime] = weakref.WeakKeyDictionary()
