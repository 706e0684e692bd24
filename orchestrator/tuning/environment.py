"""Environment of trials: what Ray Tune hands on from this process, and what it must not."""

from ray.tune.execution import class_cache


def keep_cloud_keys() -> None:
    """Keep Ray Tune from handing the cloud keys of this process on to trials.

    It would put them into the runtime environment of each, which the agents of all nodes write to their logs. The
    stages that write to a store are no trials and have never had them from here: nodes need keys of their own anyway,
    and those of a local cluster inherit the environment.
    """
    # A name that Ray keeps for itself: a release without it does whatever it does, and the test of this says so.
    if hasattr(class_cache, "ENV_VARS_TO_PROPAGATE"):
        handed_on = class_cache.ENV_VARS_TO_PROPAGATE
        class_cache.ENV_VARS_TO_PROPAGATE = {name for name in handed_on if not name.startswith("AWS_")}
