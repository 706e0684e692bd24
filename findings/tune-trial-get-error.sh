#!/bin/sh
# Ray Tune's Trial.get_error is declared to return an error and returns text, so that `raise ... from` it is a TypeError.
#
# Input: a trial that raises ValueError, run by `tune.run(..., raise_on_failed_trial=False)`, which is how one looks at
# all trials before saying what failed. The method is annotated `Optional[TuneError]`, and its docstring promises "a
# TuneError object". A good engineer would write `raise RuntimeError(...) from trial.get_error()`. Ray 2.60.0 returns the
# decoded error.txt, a str; the raise ends in "exception causes must derive from BaseException", which names neither the
# trial nor its error, and type checkers find nothing, since they believe the annotation. `get_pickled_error` beside it
# returns the exception.
#
# Exits with 0 while that is so. Seen:
#   declared           Optional[ray.tune.error.TuneError]
#   get_error          str
#   get_pickled_error  ValueError in its bases: True
#   raise from it      TypeError: exception causes must derive from BaseException
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[tune]==2.60.0'
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import logging
import sys
from typing import get_type_hints

import ray
from ray import tune
from ray.tune import TuneError
from ray.tune.experiment import Trial


def fails(config):
    raise ValueError("no such setting")


logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
finished = tune.run(fails, storage_path=sys.argv[1], name="tune", raise_on_failed_trial=False, verbose=0)
trial = finished.trials[0]
declared, error, pickled = get_type_hints(Trial.get_error)["return"], trial.get_error(), trial.get_pickled_error()
try:
    raise RuntimeError("a trial failed") from error
except (RuntimeError, TypeError) as raised:
    seen = raised
print(f"Ray {ray.__version__}")
print(f"{'declared':<18} {str(declared).removeprefix('typing.')}")
print(f"{'get_error':<18} {type(error).__name__}")
print(f"{'get_pickled_error':<18} ValueError in its bases: {isinstance(pickled, ValueError)}")
print(f"{'raise from it':<18} {type(seen).__name__}: {seen}")
same = (
    TuneError in declared.__args__
    and type(error) is str
    and "no such setting" in error
    and isinstance(pickled, ValueError)
    and isinstance(seen, TypeError)
)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
