"""Environment of trials: what Ray Tune hands on from this process, what it must not, and what is better left out."""

from ray.tune.execution import class_cache


def trim_environment() -> None:
    """Leave out of the runtime environment that Ray Tune gives to every trial what a trial here does not need.

    Cloud keys of this process would be written to logs by the agents of all nodes. The stages that write to a store are
    no trials and have never had them from here: nodes need keys of their own anyway, and those of a local cluster
    inherit the environment.

    What Tune adds for PyTorch Lightning means nothing here, and is often all that is left. Without it there is no
    runtime environment: trials, and the stages of their pipelines, then are processes that wait for work already, or
    forks, where they would be started from nothing and shared with nobody but other trials.
    """
    # Names that Ray keeps for itself: a release without them does whatever it does, and the test of this says so.
    if hasattr(class_cache, "ENV_VARS_TO_PROPAGATE"):
        handed_on = class_cache.ENV_VARS_TO_PROPAGATE
        class_cache.ENV_VARS_TO_PROPAGATE = {name for name in handed_on if not name.startswith("AWS_")}
    if hasattr(class_cache, "DEFAULT_ENV_VARS"):
        class_cache.DEFAULT_ENV_VARS = {}
