"""The search space: grids become trials with names that a person can read and that never clash."""

from pathlib import Path
from typing import Any

import pytest

from latent_core.errors import UserError
from orchestrator.config.loading import load_config, parse_config
from orchestrator.config.run import RunConfig
from orchestrator.config.space import corners, expand_space

ROOT = Path(__file__).parents[4]


def with_space(*grids: dict[str, Any], **others: Any) -> RunConfig:
    return parse_config(
        RunConfig, {"checkpoint": "c", "task": {"name": "word_problems"}, "sweep": {"space": list(grids)}, **others}
    )


def test_grids_become_trials_in_their_order() -> None:
    config = with_space(
        {"sampler.kind": "mc_dropout", "sampler.p": [0.2, 0.1]},
        {"sampler.kind": "gaussian", "sampler.sigma": [0.4, 0.8], "sampler.relative": True},
        {"sampler.kind": "answer_sampling", "sampler.temperature": [1.0]},
    )
    assert list(expand_space(config)) == [
        "mc_dropout p=0.2",
        "mc_dropout p=0.1",
        "gaussian sigma=0.4 relative",
        "gaussian sigma=0.8 relative",
        # Its temperature is the default, which names leave out.
        "answer_sampling",
    ]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("demo.yaml", {"mc_dropout", "gaussian"}),
        ("word_problems.yaml", {"mc_dropout", "gaussian", "answer_sampling"}),
    ],
)
def test_the_shipped_sweeps_compare_several_kinds_of_samplers(name: str, kinds: set[str]) -> None:
    trials = expand_space(load_config(RunConfig, ROOT / "tune_configs" / name))
    assert {trial.sampler.kind for trial in trials.values()} == kinds


def test_a_grid_is_the_product_of_its_lists() -> None:
    trials = expand_space(
        with_space({"sampler.kind": "gaussian", "sampler.sigma": [0.4, 0.8], "seed": [0, 1], "latent_steps": 3})
    )
    assert list(trials) == [
        f"gaussian sigma={sigma} latent_steps=3 seed={seed}" for sigma in (0.4, 0.8) for seed in (0, 1)
    ]
    assert [(trial.sampler.to_config()["sigma"], trial.seed) for trial in trials.values()] == [
        (0.4, 0),
        (0.4, 1),
        (0.8, 0),
        (0.8, 1),
    ]
    assert {trial.latent_steps for trial in trials.values()} == {3}


def test_the_kind_may_stand_anywhere_and_drops_other_settings() -> None:
    config = with_space(
        {"sampler.sigma": [0.4], "sampler.kind": "gaussian"}, sampler={"kind": "mc_dropout", "p": 0.3}, seed=7
    )
    [trial] = expand_space(config).values()
    assert trial.sampler.to_config() == {"kind": "gaussian", "sigma": 0.4, "relative": False}
    assert trial.seed == 7


def test_settings_of_the_base_are_kept_for_the_same_kind() -> None:
    config = with_space({"sampler.p": [0.1, 0.2]}, sampler={"kind": "mc_dropout", "p": 0.3, "mask": "trajectory"})
    assert list(expand_space(config)) == ["mc_dropout p=0.1 mask=trajectory", "mc_dropout p=0.2 mask=trajectory"]


def test_kinds_may_be_a_list() -> None:
    assert list(expand_space(with_space({"sampler.kind": ["none", "answer_sampling"]}))) == ["none", "answer_sampling"]


def test_lists_of_lists_vary_settings_that_are_lists() -> None:
    trials = expand_space(
        with_space({"sampler.kind": "mc_dropout", "sampler.p": 0.1, "sampler.sites": [["feed_forward"], ["attention"]]})
    )
    assert list(trials) == ["mc_dropout p=0.1", "mc_dropout p=0.1 sites=attention"]


def test_what_two_grids_share_is_one_trial() -> None:
    trials = expand_space(
        with_space(
            {"sampler.kind": "gaussian", "sampler.sigma": [0.4, 0.8]},
            {"sampler.kind": "gaussian", "sampler.sigma": [0.8, 1.6]},
        )
    )
    assert list(trials) == ["gaussian sigma=0.4", "gaussian sigma=0.8", "gaussian sigma=1.6"]


def test_different_trials_have_different_names() -> None:
    trials = expand_space(
        with_space(
            {
                "sampler.kind": "mc_dropout",
                "sampler.p": [0.1, 0.12],
                "sampler.sites": [["feed_forward"], ["attention"], ["feed_forward", "attention"]],
                "sampler.scope": [["latent"], ["prompt", "latent"]],
                "sampler.mask": ["step", "trajectory"],
                "seed": [0, 1],
                "latent_steps": [2, 4],
                "answer_tokens": [8, 16],
            }
        )
    )
    assert len(trials) == 2 * 3 * 2 * 2 * 2 * 2 * 2
    assert len({trial.model_dump_json() for trial in trials.values()}) == len(trials)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"samplr.kind": ["none"]}, "'samplr.kind' cannot be varied in a sweep: did you mean 'sampler.kind'?"),
        ({"dtype": ["float32", "bfloat16"]}, "'dtype' cannot be varied in a sweep: known: "),
        ({"aggregation": ["best_of_n"]}, "every aggregation is computed of every trial"),
        ({"latent_step": [1]}, "'latent_step' cannot be varied in a sweep: did you mean 'latent_steps'?"),
        ({"sampler.kind": "gaussian", "sampler.sigma": []}, "'sampler.sigma' has no values"),
        ({"sampler.kind": "gaussian", "sampler.sigma": [0.4, -1]}, "sampler.sigma: input should be greater than or"),
        ({"sampler.kind": "gaussian", "sampler.p": [0.4]}, "unknown key 'sampler.p' of sampler 'gaussian'"),
        ({"sampler.kind": "gausian"}, "unknown sampler 'gausian': did you mean 'gaussian'?"),
        ({"latent_steps": [0]}, "latent_steps: input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_grid_is_named(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        expand_space(with_space({"sampler.kind": "none"}, grid))
    assert str(caught.value).startswith(f"sweep.space[1]: {message}")
    assert "\n" not in str(caught.value)


def test_an_empty_space() -> None:
    with pytest.raises(UserError, match=r"sweep\.space: empty; give at least one grid"):
        expand_space(with_space())


def test_a_value_that_is_itself_a_list() -> None:
    grid = {"sampler.kind": "mc_dropout", "sampler.p": [0.1, 0.2], "sampler.scope": [["prompt", "latent"]]}
    trials = expand_space(with_space(grid))
    assert [trial.sampler.to_config()["scope"] for trial in trials.values()] == [["prompt", "latent"]] * 2
    with pytest.raises(UserError, match=r"and \[\[a, b\]\] for one value that is a list"):
        expand_space(with_space({**grid, "sampler.scope": ["prompt", "latent"]}))


def test_distributions_are_drawn_from_for_every_combination() -> None:
    grid = {"sampler.kind": "gaussian", "sampler.sigma": {"loguniform": [0.1, 1.0]}, "seed": [1, 2]}
    trials = list(expand_space(with_space(grid, seed=5)).values())
    assert len(trials) == 2
    space = with_space(grid).sweep.model_copy(update={"draws": 4})
    config = with_space(grid).model_copy(update={"sweep": space})
    several = list(expand_space(config).values())
    assert [trial.seed for trial in several] == [1] * 4 + [2] * 4
    sigmas = [trial.sampler.to_config()["sigma"] for trial in several]
    assert len(set(sigmas)) == 8
    assert all(0.1 <= sigma <= 1.0 for sigma in sigmas)
    # The same sweep again is the same trials, so that it finds what it has sampled.
    assert list(expand_space(config)) == list(expand_space(config))
    other = config.model_copy(update={"seed": 6})
    assert list(expand_space(other)) != list(expand_space(config))
    with pytest.raises(UserError, match=r"sweep\.space\[0\]: sampler\.sigma: uniform takes \[low, high\]"):
        expand_space(with_space({"sampler.kind": "gaussian", "sampler.sigma": {"uniform": [2, 1]}}))


def test_budgets_and_beam_shapes_vary_too() -> None:
    grid = {"sampler.kind": "none", "budgets": [[1, 4], [1, 8]], "search.kind": "beam", "search.beams": [2, [2, 4]]}
    trials = expand_space(with_space(grid))
    assert list(trials) == [
        "none budgets=1,4 search.kind=beam search.beams=2",
        "none budgets=1,4 search.kind=beam search.beams=2,4",
        "none budgets=1,8 search.kind=beam search.beams=2",
        "none budgets=1,8 search.kind=beam search.beams=2,4",
    ]
    assert trials["none budgets=1,8 search.kind=beam search.beams=2,4"].budgets == (1, 8)
    assert trials["none budgets=1,8 search.kind=beam search.beams=2,4"].search.beams == (2, 4)


def test_corners_are_the_ends_of_numbers_and_all_of_what_has_no_ends() -> None:
    grid = {
        "sampler.kind": "mc_dropout",
        "sampler.p": {"uniform": [0.1, 0.5]},
        "sampler.mask": ["step", "trajectory"],
        "latent_steps": [2, 6, 4],
    }
    found = {(one.sampler.p, one.sampler.mask, one.latent_steps) for one in corners(with_space(grid)).values()}  # type: ignore[attr-defined]
    assert found == {(p, mask, steps) for p in (0.1, 0.5) for mask in ("step", "trajectory") for steps in (2, 6)}
