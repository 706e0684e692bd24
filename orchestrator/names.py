"""Names of the curves that are no aggregation of samples: the baselines, and what a beam search comes to."""

from typing import Final

GREEDY: Final = "greedy"
"""Greedy decoding: the one trial, sampler setting and curve that every run has."""

RANDOM_GUESS: Final = "random_guess"
"""Coverage of somebody who guesses, where the task knows the chances of a guess."""

BEAM_SEARCH: Final = "beam_search"
"""The answer of the best beam."""

BEAM_VOTE: Final = "beam_vote"
"""The vote among the beams, weighted by their scores as the weighted vote among samples is."""
