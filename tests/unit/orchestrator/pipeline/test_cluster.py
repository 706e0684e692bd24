"""Whether the cluster can hold what is asked for: noticed before anything waits for it."""

from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.config.loading import parse_config
from orchestrator.config.run import RunConfig
from orchestrator.pipeline import cluster
from orchestrator.pipeline.cluster import check_resources

MINIMAL: dict[str, Any] = {"checkpoint": "bundled:coconut-tiny", "task": {"name": "word_problems"}}
SCORER: dict[str, Any] = {"checkpoint": "rm", "actors": 2, "actor": {"cpus": 2, "gpus": 0.5}}


def check(monkeypatch: pytest.MonkeyPatch, *has: dict[str, float], **changes: Any) -> str | None:
    """Return the refusal of a cluster whose nodes have these resources, or None."""
    nodes = [{"NodeID": str(number), "Alive": True, "Resources": resources} for number, resources in enumerate(has)]
    monkeypatch.setattr(cluster.ray, "nodes", lambda: nodes)
    try:
        check_resources(parse_config(RunConfig, {**MINIMAL, **changes}))
    except UserError as error:
        return str(error)
    return None


def test_one_cpu_stays_free_for_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, {"CPU": 4}, actors=3) is None
    message = check(monkeypatch, {"CPU": 3}, actors=3)
    assert message is not None
    assert "actors: 3 reasoners x (1 CPUs, 0 GPUs), and 1 CPU for the pipeline, need 4 CPUs" in message
    assert "but the cluster has 3" in message


def test_scorers_need_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasoners that took everything would leave scorers waiting for ever."""
    reasoners = {"actors": 1, "actor": {"gpus": 1}}
    assert check(monkeypatch, {"CPU": 6, "GPU": 2}, scorer=SCORER, **reasoners) is None
    assert check(monkeypatch, {"CPU": 2, "GPU": 1}, **reasoners) is None
    gpus = check(monkeypatch, {"CPU": 6, "GPU": 1}, scorer=SCORER, **reasoners)
    assert gpus is not None
    assert "1 reasoners x (1 CPUs, 1 GPUs) + 2 scorers x (2 CPUs, 0.5 GPUs)" in gpus
    assert "need 2 GPUs, but the cluster has 1" in gpus
    cpus = check(monkeypatch, {"CPU": 5, "GPU": 2}, scorer=SCORER, **reasoners)
    assert cpus is not None
    assert "need 6 CPUs, but the cluster has 5" in cpus


def test_scorer_actors_without_a_scorer_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = {key: value for key, value in SCORER.items() if key != "checkpoint"}
    assert check(monkeypatch, {"CPU": 2}, scorer=scorer) is None


def test_an_actor_has_to_fit_on_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough GPUs in all would let the actor wait for ever for two that are side by side."""
    nodes = ({"CPU": 4}, {"CPU": 8, "GPU": 1}, {"CPU": 8, "GPU": 1})
    message = check(monkeypatch, *nodes, actors=1, actor={"gpus": 2})
    assert message == (
        "actors: 1 reasoners x (1 CPUs, 2 GPUs): no node has 1 CPUs and 2 GPUs for one of them; the nodes are "
        "1 x (4 CPUs, 0 GPUs), 2 x (8 CPUs, 1 GPUs); ask for smaller actors, or add larger nodes"
    )
    message = check(monkeypatch, *nodes, scorer={**SCORER, "actors": 3, "actor": {"cpus": 2, "gpus": 0.6}})
    assert message is not None
    assert message.startswith(
        "scorer.actors: 3 scorers x (2 CPUs, 0.6 GPUs): the nodes have room for 2 of 3, although the total would do"
    )


def test_a_limit_per_node_needs_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = {"actors": 3, "actor": {"per_node": 1}}
    assert check(monkeypatch, {"CPU": 8}, {"CPU": 8}, {"CPU": 8}, **limited) is None
    message = check(monkeypatch, {"CPU": 8}, {"CPU": 8}, **limited)
    assert message is not None
    assert "3 reasoners x (1 CPUs, 0 GPUs, at most 1 on a node): the nodes have room for 2 of 3" in message


def test_pools_have_to_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    half_more = {"cpus": 1, "gpus": 0.6}
    scorer = {**SCORER, "actors": 1, "actor": half_more}
    assert check(monkeypatch, {"CPU": 8, "GPU": 1}, {"CPU": 1, "GPU": 1}, actor=half_more, scorer=scorer) is None
    message = check(monkeypatch, {"CPU": 8, "GPU": 1}, {"CPU": 0, "GPU": 1}, actor=half_more, scorer=scorer)
    assert message is not None
    assert "each pool fits by itself, but not together" in message
