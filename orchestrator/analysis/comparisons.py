"""Does choosing by score beat choosing without? Differences between aggregations on the same questions."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from latent_core.selection.aggregations import AGGREGATIONS
from latent_core.selection.estimators import FloatArray
from latent_core.selection.intervals import paired_difference
from orchestrator.files import write_csv
from orchestrator.names import GREEDY

_MAJORITY_VOTE = "majority_vote"
_BASELINES = (_MAJORITY_VOTE, GREEDY)


@dataclass(frozen=True)
class Comparison:
    """One line of `comparisons.csv`.

    Attributes:
        trial: Name of the sampler setting.
        aggregation: What is compared.
        baseline: What it is compared with.
        n: Budget of the aggregation: samples per question. That of greedy decoding is 1 whatever it is compared with.
        difference: Accuracy of the aggregation minus that of the baseline, mean over questions, in [-1, 1].
        lo: Lower end of its 95 % interval.
        hi: Upper end of its 95 % interval.
        questions: Number of questions.
    """

    trial: str
    aggregation: str
    baseline: str
    n: int
    difference: float
    lo: float
    hi: float
    questions: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.lo > 0.0 or self.hi < 0.0


COLUMNS = tuple(entry.name for entry in fields(Comparison))


def compare(values: Mapping[str, FloatArray], *, trial: str, n: int) -> list[Comparison]:
    """Compare every way of choosing by score with majority vote and with greedy decoding.

    What needs no scores is a baseline or, like coverage, no way of choosing: without scores there is no comparison.
    Names that are not registered, such as those of a beam search, are taken to choose by score.

    Args:
        values: By name of the aggregation (or "greedy") the value of every question [Q], in one order of questions.
        trial: Name of the sampler setting.
        n: The budget at which the values were estimated.

    Returns:
        One comparison per aggregation and baseline, in the order of `values`.

    Raises:
        ValueError: If the numbers of questions differ.
    """
    baselines = [name for name in _BASELINES if name in values]
    chosen = [
        name for name in values if name != GREEDY and (name not in AGGREGATIONS or AGGREGATIONS[name].needs is not None)
    ]
    return [
        Comparison(trial, name, baseline, n, *paired_difference(values[name], values[baseline]), len(values[name]))
        for name in chosen
        for baseline in baselines
    ]


def write_comparisons_csv(comparisons: Iterable[Comparison], path: Path) -> None:
    """Write comparisons; numbers are spelled so that reading restores them exactly."""
    write_csv(path, COLUMNS, map(astuple, comparisons))
