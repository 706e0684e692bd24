#!/bin/sh
# A Ray Tune trial and every task that it starts run in worker processes that are started from nothing, although workers
# that have nothing to do wait on the same node.
#
# Input: three tasks, so that three workers have been started and wait; then one trial whose function starts a task. Ray
# leases a waiting worker to any task of the same runtime environment, and the script names none. But Tune makes its
# actors with one, {"env_vars": {"PL_DISABLE_FORK": "1"}}, meant for PyTorch Lightning, whatever the trainable is
# (ray/tune/execution/class_cache.py). Tasks inherit it from the trial, so for these, too, no waiting worker will do: the
# node's agent is asked for the environment, a process is started that sets it up, and one that imports Ray, and what the
# task needs, again. With heavy imports that is seconds for every process of every sweep. `ray.remote` takes an empty
# "env_vars" as no environment at all: with `class_cache.DEFAULT_ENV_VARS = {}` before the sweep, the trial and its task
# are given the workers that wait.
#
# Exits with 0 while that is so. Seen:
#   ray 2.60.0, as shipped: environment of the trial's task {"env_vars": {"PL_DISABLE_FORK": "1"}}; in a waiting worker: False
#   ray 2.60.0, without Tune's default: environment of the trial's task {}; in a waiting worker: True
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[tune]==2.60.0'
cat >"$folder/sweep.py" <<'PYTHON'
import os
import sys
import tempfile
import time

os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
import ray
from ray import tune
from ray.tune.execution import class_cache


@ray.remote(num_cpus=0.1)
def who(seconds):
    time.sleep(seconds)
    return os.getpid(), ray.get_runtime_context().get_runtime_env_string()


def trainable(config):
    process, environment = ray.get(who.options(scheduling_strategy="DEFAULT").remote(0))
    tune.report({"process": process, "environment": environment})


if sys.argv[1] == "without":
    class_cache.DEFAULT_ENV_VARS = {}
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
waiting = {process for process, _ in ray.get([who.remote(2) for _ in range(3)])}
with tempfile.TemporaryDirectory() as results:
    done = tune.run(trainable, resources_per_trial={"cpu": 0.1}, storage_path=results, verbose=0)
found = done.trials[0].last_result
title = {"with": "as shipped", "without": "without Tune's default"}[sys.argv[1]]
reused = found["process"] in waiting
print(f"ray {ray.__version__}, {title}: environment of the trial's task {found['environment']}; ", end="")
print(f"in a waiting worker: {reused}")
expected = {"with": '{"env_vars": {"PL_DISABLE_FORK": "1"}}', "without": "{}"}[sys.argv[1]]
sys.exit(0 if found["environment"] == expected and reused is (sys.argv[1] == "without") else "the behaviour has changed")
PYTHON
for defaults in with without; do
    env -u RAY_ADDRESS "$folder/venv/bin/python" "$folder/sweep.py" "$defaults"
done
