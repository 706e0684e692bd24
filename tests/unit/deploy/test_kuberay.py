"""The Kubernetes manifest: its fields exist, its parts fit each other, and what it starts fits its pods."""

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from orchestrator.config.loading import load_config
from orchestrator.config.run import RunConfig
from orchestrator.pipeline.cluster import actor_pools, cpus_needed
from workers.placement import NodeSize, place

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((Path(__file__).parent / "rayjob.schema.json").read_text())


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "kuberay-rayjob.yaml").read_text())


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_its_fields_are_those_of_a_rayjob(job: dict[str, Any]) -> None:
    jsonschema.validate(job, SCHEMA)


def test_a_misspelt_field_is_noticed(job: dict[str, Any]) -> None:
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 2
    with pytest.raises(jsonschema.ValidationError, match="'replica' was unexpected"):
        jsonschema.validate(job, SCHEMA)


def test_pods_mount_volumes_that_they_have(job: dict[str, Any]) -> None:
    for pod in pods(job):
        names = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]} <= names


def test_what_has_to_outlive_the_pods_is_on_a_shared_volume(job: dict[str, Any]) -> None:
    shared = [mount["mountPath"] for pod in pods(job) for mount in pod["containers"][0]["volumeMounts"]]
    assert set(shared) == {"/shared"}
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[words.index("--out") + 1].startswith("/shared/")
    assert any(word.startswith("store.path=/shared/") for word in words)


def test_its_actors_fit_its_pods(job: dict[str, Any]) -> None:
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:4] == ["python", "-m", "orchestrator", "sweep"]
    overrides = [word for word in words[5:] if "=" in word]
    config = load_config(RunConfig, ROOT / "tune_configs" / Path(words[4]).name, overrides)
    nodes = [
        NodeSize(f"{group['groupName']}-{number}", float(has["cpu"]), float(has.get("nvidia.com/gpu", 0)))
        for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        for has in [group["template"]["spec"]["containers"][0]["resources"]["limits"]]
        for number in range(group["replicas"])
    ]
    assert cpus_needed(config) <= sum(node.cpus for node in nodes)
    placed = place(nodes, list(actor_pools(config).values()))
    assert placed == [["gpu-0", "gpu-1"] * 2, ["cpu-0", "cpu-1"]]


def test_the_image_has_the_ray_of_the_constraints_and_of_the_manifest(job: dict[str, Any]) -> None:
    [constraint] = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    version = constraint.removeprefix("ray==")
    recipe = (ROOT / "Dockerfile").read_text()
    assert f"ARG RAY_VERSION={version}\n" in recipe
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version
    [folder] = [line.split()[1] for line in recipe.splitlines() if line.startswith("WORKDIR")]
    assert {pod["containers"][0]["workingDir"] for pod in pods(job) if "workingDir" in pod["containers"][0]} <= {folder}
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert not {"latent_core", "workers", "orchestrator", "tune_configs", "constraints.txt", "README.md"} & set(
        left_out
    )
