"""Leaving a cluster while another thread's garbage refers to its objects."""

import subprocess
import sys
from pathlib import Path

from support import environment

LEAVE = """
import gc, threading, time
import ray
from ray._private.worker import global_worker
from orchestrator.config.environment import ClusterConfig
from orchestrator.console import make_console
from orchestrator.pipeline import cluster

cluster.connect(ClusterConfig(), 1, make_console())
references = [ray.ObjectRef(number.to_bytes(28, "big")) for number in range(1, 20_001)]
gc.set_threshold(1)

def work():
    while global_worker.connected:
        time.sleep(0)
    while references and left.is_alive():
        # A cycle, which only a collection can free.
        cycle = [references.pop()]
        cycle.append(cycle)
        time.sleep(1e-5)

left = threading.main_thread()
threading.Thread(target=work, daemon=True).start()
cluster.disconnect()
print(20_000 - len(references), gc.isenabled())
"""


def test_nothing_is_collected_while_ray_frees_its_core_worker() -> None:
    left = subprocess.run(
        [sys.executable, "-c", LEAVE],
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert left.returncode == 0, left.stderr
    garbage, collects_again = left.stdout.split()
    assert int(garbage) > 100, "the thread has hardly worked"
    assert collects_again == "True"
