"""Diversity against coverage: what sampler settings pay for the questions that some sample gets right."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from latent_core.selection.estimators import FloatArray
from latent_core.selection.intervals import Interval, mean_interval, unbounded_interval
from orchestrator.files import write_csv

_NOT_THE_SAMPLERS = ("latent_steps",)


@dataclass(frozen=True)
class FrontierRow:
    """One line of `frontier.csv`: a sampler setting at all of its samples.

    Attributes:
        trial: Name of the sampler setting.
        sampler: Name of the sampler.
        line: Settings that differ in one number only are on one line; its name.
        setting: That number; NaN where there is none.
        n: Samples per question, the same for all rows.
        coverage: Share of questions that some sample gets right.
        coverage_lo: Lower end of its 95 % interval.
        coverage_hi: Upper end, and so on below.
        effective_answers: Exponential of the entropy of a question's answers, mean over questions; answers that cannot
            be read are left out.
        effective_answers_lo: See above.
        effective_answers_hi: See above.
        dispersion: Mean pairwise cosine distance of the last latents; NaN where no latents are stored.
        dispersion_lo: See above.
        dispersion_hi: See above.
        single: Accuracy of a single sample.
        single_lo: See above.
        single_hi: See above.
    """

    trial: str
    sampler: str
    line: str
    setting: float
    n: int
    coverage: float
    coverage_lo: float
    coverage_hi: float
    effective_answers: float
    effective_answers_lo: float
    effective_answers_hi: float
    dispersion: float
    dispersion_lo: float
    dispersion_hi: float
    single: float
    single_lo: float
    single_hi: float


COLUMNS = tuple(entry.name for entry in fields(FrontierRow))


@dataclass(frozen=True, eq=False)
class SampledSetting:
    """What a row is made of.

    Attributes:
        trial: Name of the sampler setting.
        sampler: Its complete setting, `kind` among it, and whatever else a sweep varies.
        samples: Samples per question.
        correct: [Q], share of a question's samples that is right.
        effective_answers: [Q].
        dispersion: That of the last latents.
    """

    trial: str
    sampler: Mapping[str, Any]
    samples: int
    correct: FloatArray
    effective_answers: FloatArray
    dispersion: Interval

    @property
    def numbers(self) -> list[str]:
        """Names of the sampler's own settings that are numbers."""
        return [name for name, value in self.sampler.items() if _is_number(value) and name not in _NOT_THE_SAMPLERS]


def frontier_rows(settings: Sequence[SampledSetting]) -> list[FrontierRow]:
    """Return the rows of the settings that were sampled to the full, line by line and by their number."""
    most = max((one.samples for one in settings), default=0)
    full = [one for one in settings if one.samples == most]
    places = _lines(full)
    rows = []
    for one in full:
        line, number = places[one.trial]
        found = mean_interval((one.correct > 0).astype(float))
        answers = unbounded_interval(one.effective_answers, bounds=(1.0, float(most)))
        single = mean_interval(one.correct)
        values = (*found, *answers, *one.dispersion, *single)
        rows.append(FrontierRow(one.trial, str(one.sampler["kind"]), line, number, most, *values))
    kinds, order = ([*dict.fromkeys(getattr(row, name) for row in rows)] for name in ("sampler", "line"))
    # Lines of a sampler stand together, in the order in which samplers and lines first occur.
    return sorted(rows, key=lambda row: (kinds.index(row.sampler), order.index(row.line), row.setting))


def write_frontier_csv(rows: Iterable[FrontierRow], path: Path) -> None:
    """Write rows; numbers are spelled so that reading restores them exactly."""
    write_csv(path, COLUMNS, map(astuple, rows))


def _lines(settings: Sequence[SampledSetting]) -> dict[str, tuple[str, float]]:
    """Return, by trial, the name of its line and its place on it.

    Of the numbers in which settings of a sampler differ, the line follows the one with most values; a setting that
    differs in anything else is on another line, whose name says it.
    """
    found = {}
    for kind in dict.fromkeys(one.sampler["kind"] for one in settings):
        own = [one for one in settings if one.sampler["kind"] == kind]
        names = [name for name in dict.fromkeys(name for one in own for name in one.sampler) if name != "kind"]
        values = {name: {repr(one.sampler.get(name)) for one in own} for name in names}
        varied = [name for name in names if len(values[name]) > 1]
        numeric = [name for name in varied if all(_is_number(one.sampler.get(name)) for one in own)]
        # A sampler with a single setting has its number beside its point all the same, if it is clear which.
        alone = [name for name in names if name in own[0].numbers]
        along = max(numeric, key=lambda name: len(values[name]), default=alone[0] if len(alone) == 1 else None)
        for one in own:
            others = [f"{name}={_spelled(one.sampler.get(name))}" for name in varied if name != along]
            name = " ".join([str(kind), *([f"({along})"] if along else []), *others])
            found[one.trial] = name, math.nan if along is None else float(one.sampler[along])
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spelled(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
