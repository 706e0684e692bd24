"""Planning of searches over latent steps: their number, their names in the store, and the step that they prune from."""

from pathlib import Path
from typing import Any

import pytest
from scored_plans import Copy, config_of, refusal

from latent_core.reward.checkpoint import CARD_FILE, RewardCard
from orchestrator.experiment.command_plans import plan_run, plan_sweep
from orchestrator.experiment.experiment import missing
from orchestrator.store.specs import BeamShape
from orchestrator.store.trial import Trial


def beams_of(content: dict[str, Any], tmp_path: Path, **changes: Any) -> list[Trial]:
    experiment = plan_run("mine", config_of(content, **changes), tmp_path / "out")
    return [trial for trial in experiment.all_trials() if trial.store.spec.beam is not None]


def test_every_number_of_beams_is_a_setting_of_its_own(content: dict[str, Any], tmp_path: Path) -> None:
    search = {"kind": "beam", "beams": [4, 1], "candidates": 3, "prune_from": 1}
    experiment = plan_run("mine", config_of(content, search=search), tmp_path / "out")
    names = [trial.name for trial in experiment.all_trials()]
    assert names == ["greedy", "gaussian sigma=0.4", "gaussian sigma=0.4 beam 1x3", "gaussian sigma=0.4 beam 4x3"]
    sampled, one, four = experiment.all_trials()[1:]
    assert sampled.searches == (one, four)
    plan = experiment.plan
    assert plan.scorer is not None
    fingerprint = plan.scorer.reward.fingerprint
    assert four.store.spec.beam == BeamShape(4, 3, fingerprint, "float32")
    assert (four.samples, four.budgets, four.scored) == (4, (12,), None)
    assert Path(str(four.scorer)) == Path(content["scorer"]["checkpoint"])
    # Without further wishes a search keeps no latents: nothing reads them.
    assert four.store.latents == "none"
    coverage = experiment.coverage()
    missing_shards = {one.name: plan.missing(one, coverage[one.name].sampled) for one in (one, four)}
    # The beams of a question are found together.
    assert {shard.samples for shard in missing_shards[four.name]} == {4}
    assert missing(coverage) == 3 * (1 + 4 + 1 + 4)
    assert (
        plan.estimated_flops(four, missing_shards[four.name]) > plan.estimated_flops(one, missing_shards[one.name]) > 0
    )


def test_a_single_number_of_beams_needs_no_list(content: dict[str, Any], tmp_path: Path) -> None:
    [trial] = beams_of(content, tmp_path, search={"kind": "beam", "beams": 2, "candidates": 2, "prune_from": 1})
    assert trial.name == "gaussian sigma=0.4 beam 2x2"


def test_everything_about_a_search_has_a_part_in_its_key(content: dict[str, Any], tmp_path: Path, copy: Copy) -> None:
    search = {"kind": "beam", "beams": 2, "candidates": 2, "prune_from": 1}
    other = copy()
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    keys = [
        beams_of(content, tmp_path, **{"search": search, **changes})[0].store.spec.key
        for changes in (
            {},
            {"search": {**search, "beams": 3}},
            {"search": {**search, "candidates": 3}},
            {"search": {**search, "prune_from": 2}},
            {"search": {**search, "kind": "smc"}},
            {"search": {**search, "kind": "smc", "prune_from": 2}},
            {"search": {**search, "kind": "smc", "temperature": 2.0}},
            {"scorer": {**content["scorer"], "dtype": "bfloat16"}},
            {"scorer": {"checkpoint": str(other)}},
            {"seed": 1},
        )
    ]
    assert len(set(keys)) == len(keys)


def with_card(directory: Path, areas: tuple[float, ...] | None) -> dict[str, Any]:
    (directory / CARD_FILE).write_text(RewardCard(score_answer=True, auc_by_step=areas).model_dump_json())
    return {"checkpoint": str(directory)}


@pytest.mark.parametrize(
    ("areas", "steps", "expected"),
    [
        ((0.5, 0.69, 0.7, 0.9), 4, 3),
        ((0.8, 0.6, 0.9), 4, 1),
        # It never tells: nothing is dropped before the end, however long that is.
        ((0.5, 0.6), 4, 4),
        # Trajectories shorter than those that it was measured on.
        ((0.5, 0.5, 0.5, 0.9), 2, 2),
    ],
)
def test_auto_is_the_first_step_at_which_the_latent_rm_can_tell(
    content: dict[str, Any], tmp_path: Path, copy: Copy, areas: tuple[float, ...], steps: int, expected: int
) -> None:
    scorer = with_card(copy(), areas)
    search = {"kind": "beam", "beams": 2, "candidates": 2}
    [auto] = beams_of(content, tmp_path, scorer=scorer, search=search, latent_steps=steps)
    [said] = beams_of(content, tmp_path, scorer=scorer, search={**search, "prune_from": expected}, latent_steps=steps)
    assert auto.store.spec.beam == said.store.spec.beam
    assert auto.store.spec.key == said.store.spec.key
    assert auto.store.spec.beam is not None
    assert auto.store.spec.beam.prune_from == expected
    assert auto.name == "gaussian sigma=0.4 beam 2x2" + (f" from {expected}" if expected > 1 else "")
    assert Trial.from_plain(auto.to_plain(), auto.store.root).store.spec == auto.store.spec


def test_a_latent_rm_that_does_not_say_needs_a_step(content: dict[str, Any], tmp_path: Path, copy: Copy) -> None:
    scorer, search = with_card(copy(), None), {"kind": "beam", "beams": 2, "candidates": 2}
    message = refusal(lambda: beams_of(content, tmp_path, scorer=scorer, search=search, latent_steps=3))
    assert message.startswith("search.prune_from: auto needs to know from which latent step on ")
    assert "set a step from 1 (prunes at once) to 3 (drops nothing before the last), or train it" in message


@pytest.mark.parametrize("kind", ["beam", "smc"])
def test_a_search_does_not_start_behind_its_end(content: dict[str, Any], tmp_path: Path, kind: str) -> None:
    search = {"kind": kind, "beams": 2, "candidates": 2, "prune_from": 5}
    message = refusal(lambda: beams_of(content, tmp_path, search=search, latent_steps=4))
    assert message == (
        "search.prune_from: 5 is beyond the 4 latent steps of a trajectory; set a step from 1 to 4, or auto"
    )


def test_where_nothing_is_dropped_the_step_makes_no_other_search(content: dict[str, Any], tmp_path: Path) -> None:
    for search in ({"kind": "beam", "beams": 4, "candidates": 1}, {"kind": "smc", "beams": 1, "candidates": 1}):
        one, other = (beams_of(content, tmp_path, search={**search, "prune_from": step})[0] for step in (1, 3))
        assert one.store.spec.key == other.store.spec.key


def test_particles_are_as_many_as_beams_have_continuations(content: dict[str, Any], tmp_path: Path) -> None:
    search = {"kind": "smc", "beams": [2, 4], "candidates": 2, "prune_from": 1}
    four, eight = beams_of(content, tmp_path, search=search)
    assert (four.name, eight.name) == ("gaussian sigma=0.4 smc 4", "gaussian sigma=0.4 smc 8")
    assert (eight.samples, eight.budgets) == (8, (8,))
    [same] = beams_of(content, tmp_path, search={**search, "beams": 8, "candidates": 1})
    assert same.store.spec.key == eight.store.spec.key


def test_searches_share_their_prompt(content: dict[str, Any], tmp_path: Path) -> None:
    changes = {"sampler": {"kind": "mc_dropout", "p": 0.1, "scope": ["prompt"]}, "search": {"kind": "beam"}}
    message = refusal(lambda: beams_of(content, tmp_path, **changes))
    assert message.startswith("search.kind: beams share the prompt, which 'mc_dropout p=0.1")


def test_greedy_decoding_is_not_searched(content: dict[str, Any], tmp_path: Path) -> None:
    assert beams_of(content, tmp_path, sampler={"kind": "none"}, search={"kind": "beam"}) == []


def test_a_sweep_has_the_searches_of_every_trial(content: dict[str, Any], tmp_path: Path) -> None:
    space = [{"sampler.kind": "gaussian", "sampler.sigma": [0.4, 0.8]}]
    config = config_of(
        content, search={"kind": "beam", "beams": [2], "candidates": 2, "prune_from": 1}, sweep={"space": space}
    )
    names = [trial.name for trial in plan_sweep("mine", config, tmp_path).all_trials()]
    assert names == [
        "greedy",
        "gaussian sigma=0.4",
        "gaussian sigma=0.4 beam 2x2",
        "gaussian sigma=0.8",
        "gaussian sigma=0.8 beam 2x2",
    ]
