"""Reader of Ray Tune's saved state: what is in a run directory about its trials, as far as that is plain JSON."""

import json
from pathlib import Path


def trial_states(directory: Path) -> dict[str, str]:
    """Return the state of each trial by the name of its trial, such as "terminated", "running" or "error".

    Tune keeps its state for itself, in a form that no document promises: what cannot be read is left out, and nothing
    but words for people may depend on it. The newest file is the one of the last command that ran trials here.
    """
    states: dict[str, str] = {}
    # Their names end in the time at which they were begun.
    for file in sorted(directory.glob("experiment_state-*.json"))[-1:]:
        try:
            trials = json.loads(file.read_text(encoding="utf-8"))["trial_data"]
            for state, *_ in trials:
                trial = json.loads(state)
                states[str(trial["config"]["setting"])] = str(trial["status"]).lower()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
    return states


def can_resume(directory: Path) -> bool:
    """Whether Tune has written down enough to go on: the state of its trials, and that of its searcher.

    It writes now and then; a command that was killed before the first time has left nothing.
    """
    patterns = ("experiment_state-*.json", "search_gen_state-*.json", "searcher-state-*.pkl")
    return all(any(directory.glob(pattern)) for pattern in patterns)
