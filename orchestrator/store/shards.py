"""Shards: the unit of work, of storage and of resume."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

_SHARD_NAME = re.compile(r"^q(\d+)-(\d+)_s(\d+)-(\d+)(?:_(float16|float32))?\.parquet$")


@dataclass(frozen=True, order=True)
class Shard:
    """A block of questions x a range of samples; both ranges exclude their end."""

    first_question: int
    end_question: int
    first_sample: int
    end_sample: int

    @property
    def questions(self) -> int:
        """Number of questions."""
        return self.end_question - self.first_question

    @property
    def samples(self) -> int:
        """Number of samples per question."""
        return self.end_sample - self.first_sample

    @property
    def rows(self) -> int:
        """Number of trajectories."""
        return self.questions * self.samples

    def has(self, question: int, sample: int) -> bool:
        """Return whether a trajectory belongs to it."""
        return self.first_question <= question < self.end_question and self.first_sample <= sample < self.end_sample

    def file_name(self, latents: str = "none") -> str:
        """Return the name of its file; `latents` says whether and how latent vectors are in it."""
        suffix = "" if latents == "none" else f"_{latents}"
        return (
            f"q{self.first_question:07d}-{self.end_question:07d}"
            f"_s{self.first_sample:05d}-{self.end_sample:05d}{suffix}.parquet"
        )

    @classmethod
    def parse(cls, file_name: str) -> tuple["Shard", str] | None:
        """Return the shard and latents of a file name, or None if it is no shard's."""
        match = _SHARD_NAME.match(file_name)
        if match is None:
            return None
        first_question, end_question, first_sample, end_sample = (int(match[group]) for group in range(1, 5))
        return cls(first_question, end_question, first_sample, end_sample), match[5] or "none"


class Listing:
    """The shard files of a folder as they were listed, to find those of some rows without looking at all of them."""

    def __init__(self, files: Iterable[tuple[Shard, str]]) -> None:
        """Take shards with the names of their files, in order."""
        self._files = list(files)
        bounds = [(shard.first_question, shard.end_question, shard.first_sample) for shard, _ in self._files]
        self._first, self._end, self._first_sample = np.array(bounds, np.int64).reshape(-1, 3).T

    def among(self, first_question: int, end_question: int, end_sample: int) -> list[tuple[Shard, str]]:
        """Return the files that have rows of questions in a range, and of samples before an end."""
        asked = (self._first < end_question) & (self._end > first_question) & (self._first_sample < end_sample)
        return [self._files[index] for index in np.flatnonzero(asked)]


def covered_by(shards: Iterable[Shard], questions: int, samples: int) -> BoolArray:
    """Return which samples are in some shard, bool [questions, samples]."""
    present = np.zeros((questions, samples), dtype=bool)
    for shard in shards:
        present[shard.first_question : shard.end_question, shard.first_sample : shard.end_sample] = True
    return present


def missing_shards(covered: BoolArray, questions_per_shard: int, samples_per_shard: int) -> list[Shard]:
    """Cut what is not covered into shards.

    Args:
        covered: Which trajectories are present, bool [questions, samples].
        questions_per_shard: Most questions in a shard.
        samples_per_shard: Most samples in a shard.

    Returns:
        Disjoint shards that hold every missing trajectory and no present one, ordered by question.
    """
    questions = len(covered)
    if questions == 0:
        return []
    # Neighbouring questions that lack the same samples go into one shard.
    begins = np.concatenate([[True], (covered[1:] != covered[:-1]).any(axis=1)])
    begins[::questions_per_shard] = True
    firsts = np.flatnonzero(begins)
    ends = np.append(firsts[1:], questions)
    incomplete = ~covered[firsts].all(axis=1)
    return [
        Shard(int(first), int(end), sample, min(sample + samples_per_shard, stop))
        for first, end in zip(firsts[incomplete], ends[incomplete], strict=True)
        for start, stop in _gaps(covered[first])
        for sample in range(start, stop, samples_per_shard)
    ]


def _gaps(covered: BoolArray) -> list[tuple[int, int]]:
    """Return the [start, stop) ranges of False in a bool vector."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], covered, [True]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
