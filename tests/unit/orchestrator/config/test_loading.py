"""Configuration files, and what the command line changes of them."""

from pathlib import Path
from typing import Any

import pytest

from latent_core.errors import UserError
from latent_core.settings import Settings
from latent_core.training.settings import ReasonerTrainingSettings
from orchestrator.config.annotate import AnnotateConfig
from orchestrator.config.loading import load_config, parse_override, read_yaml, save_config, with_overrides
from orchestrator.config.policy_training import TrainPolicyConfig
from orchestrator.config.reward_training import TrainRewardConfig
from orchestrator.config.run import RunConfig

CONFIGS = Path(__file__).parents[4] / "tune_configs"
SHIPPED = [
    (RunConfig, CONFIGS / "word_problems.yaml"),
    (AnnotateConfig, CONFIGS / "annotate_tiny.yaml"),
    (TrainRewardConfig, CONFIGS / "train_rm_tiny.yaml"),
    (TrainPolicyConfig, CONFIGS / "train_policy_tiny.yaml"),
    (ReasonerTrainingSettings, CONFIGS / "train_tiny.yaml"),
]
of_every_command = pytest.mark.parametrize(("schema", "file"), SHIPPED, ids=lambda part: getattr(part, "stem", ""))


@of_every_command
def test_what_is_saved_is_loaded_again(schema: type[Settings], file: Path, tmp_path: Path) -> None:
    config = load_config(schema, file)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(schema, tmp_path / "config.yaml") == config


@of_every_command
def test_every_command_words_errors_alike(schema: type[Settings], file: Path) -> None:
    for overrides, message in (
        (["nowhere=1"], "unknown key 'nowhere': "),
        (["seed"], "override 'seed': expected key=value, such as sampler.kind=gaussian"),
        (["a=1", "a.b=2"], "override a.b: 'a' holds a value, not keys"),
    ):
        with pytest.raises(UserError) as caught:
            load_config(schema, file, overrides)
        assert str(caught.value).startswith(message)
    with pytest.raises(UserError, match=rf"^config {file}x: no such file"):
        load_config(schema, f"{file}x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 010", "line 1: 010 is 8 in YAML; write 8 or 10"),
        ("budgets:\n- 1\n- 1_0:30", "line 3: 1_0:30 is a number to the base of 60 in YAML; write it in full"),
        (f"seed: {'9' * 5001}", "line 1: a number of 5,001 letters is none that can be read"),
        (f"seed: 0{'7' * 5001}", "line 1: a number of 5,002 letters is none that can be read"),
        (f"seed: {2**63}", "seed: a number of 64 bits; at most 63 are used"),
        (f"seed: 0x{'f' * 5001}", "seed: a number of 20,004 bits; at most 63 are used"),
        (f"budgets: {'[' * 3000}{']' * 3000}", "lists or keys within each other, hundreds deep"),
        (f"budgets: {'[' * 60}{']' * 60}", "budgets: lists or keys within each other, hundreds deep"),
        ('checkpoint: "\\ud800"', "'checkpoint': half of a surrogate pair or a byte that is no UTF-8"),
        ('task: {"a\\ud800": 1}', "half of a surrogate pair"),
        ("budgets: [10000000000]", "budgets.0: input should be less than or equal to 1000000 (got 10000000000)"),
        ("answer_tokens: 10000000000", "answer_tokens: input should be less than or equal to 1000000"),
        ("sweep: {scheduler: {type: asha}}", "'none' or 'asha', a word alone; settings of it are keys of their own"),
    ],
)
def test_what_reads_otherwise_than_it_looks_is_refused_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    others = {"checkpoint": "a", "task": "{name: word_problems}"}
    rest = "".join(f"{key}: {value}\n" for key, value in others.items() if not text.startswith(key))
    file.write_text(f"{text}\n{rest}")
    with pytest.raises(UserError) as caught:
        load_config(RunConfig, file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if "\n" not in text:
        with pytest.raises(UserError) as on_command_line:
            load_config(RunConfig, CONFIGS / "word_problems.yaml", [text.replace(": ", "=", 1)])
        assert said in str(on_command_line.value)
        assert len(str(on_command_line.value)) < 500


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("007", 7), ("-0x1f", -31), ("1_000", 1000), ("1.50", 1.5), ('"010"', "010")]
)
def test_numbers_that_look_as_they_are(text: str, value: object) -> None:
    assert parse_override(f"seed={text}") == ("seed", value)


def test_a_section_without_content_is_as_if_it_was_not_there() -> None:
    sections = ("scorer", "search", "store", "tracking", "cluster", "sweep", "actor")
    file = CONFIGS / "word_problems.yaml"
    whole = load_config(RunConfig, file, [f"{name}=null" for name in sections])
    assert whole.scorer.checkpoint is None
    assert whole.store.path == "runs/store"
    assert load_config(RunConfig, file, ["scorer=", "scorer.checkpoint=x"]).scorer.checkpoint == "x"
    with pytest.raises(UserError, match=r"^task: "):
        load_config(RunConfig, file, ["task=null"])


def test_what_is_shown_of_a_value_fits_into_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_config(RunConfig, CONFIGS / "word_problems.yaml", [f"checkpoint={'a' * 300}"])
    assert str(caught.value).startswith("checkpoint: is too long for a path: names have at most 255 bytes")
    assert str(caught.value).endswith("... of 302 letters)")
    with pytest.raises(UserError, match=r"a+: is too long for a path"):
        read_yaml(tmp_path / ("a" * 300))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=3", ("seed", 3)),
        ("sampler.p=0.1", ("sampler.p", 0.1)),
        ("budgets=[1, 2]", ("budgets", [1, 2])),
        ("sampler.relative=true", ("sampler.relative", True)),
        ("tracking.uri=http://host/?a=b", ("tracking.uri", "http://host/?a=b")),
        ("task.limit=null", ("task.limit", None)),
        ("task.limit=", ("task.limit", None)),
        (" seed =3", ("seed", 3)),
    ],
)
def test_overrides_are_yaml(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "override 'seed': expected key=value, such as sampler.kind=gaussian"),
        ("=3", "override '=3': expected key=value, such as sampler.kind=gaussian"),
        ("budgets=[1", "override 'budgets=[1': the value is not valid YAML"),
    ],
)
def test_wrong_overrides(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_override(text)
    assert str(caught.value) == message


def test_overrides_apply_from_left_to_right_and_leave_the_original() -> None:
    raw: dict[str, Any] = {"seed": 1, "store": {"path": "a"}}
    result = with_overrides(raw, [("seed", 2), ("store.latents", "float16"), ("seed", 3), ("actor.cpus", 4)])
    assert result == {"seed": 3, "store": {"path": "a", "latents": "float16"}, "actor": {"cpus": 4}}
    assert raw == {"seed": 1, "store": {"path": "a"}}


def test_another_kind_drops_the_settings_of_the_former() -> None:
    raw = {"sampler": {"kind": "mc_dropout", "p": 0.1, "sites": ["attention"]}, "seed": 1}
    result = with_overrides(raw, [("sampler.kind", "gaussian"), ("sampler.sigma", 0.4)])
    assert result == {"sampler": {"kind": "gaussian", "sigma": 0.4}, "seed": 1}


def test_a_search_that_is_switched_on_keeps_its_settings() -> None:
    """Its numbers belong to no kind, and may stand in a file that leaves the search switched off."""
    raw = {"search": {"beams": [1, 4], "candidates": 2}}
    assert with_overrides(raw, [("search.kind", "beam")]) == {"search": {"kind": "beam", **raw["search"]}}


def test_the_same_kind_keeps_its_settings() -> None:
    raw = {"sampler": {"kind": "mc_dropout", "p": 0.1, "sites": ["attention"]}}
    result = with_overrides(raw, [("sampler.kind", "mc_dropout"), ("sampler.p", 0.2)])
    assert result == {"sampler": {"kind": "mc_dropout", "p": 0.2, "sites": ["attention"]}}


@pytest.mark.parametrize(
    ("start", "override", "expected"),
    [
        ({"name": "word_problems", "limit": 3}, ("task.path", "x.json"), {"path": "x.json", "limit": 3}),
        ({"path": "x.json", "limit": 3}, ("task.name", "word_problems"), {"name": "word_problems", "limit": 3}),
        ({"name": "word_problems", "limit": 3}, ("task.hub", "a/b"), {"hub": "a/b", "limit": 3}),
        ({"hub": "a/b", "hub_config": "main", "grader": "text"}, ("task.path", "x.json"), {"path": "x.json"}),
        ({"hub": "a/b", "columns": {"answer": "x"}}, ("task.name", "gsm8k"), {"name": "gsm8k"}),
        # The same source with another value is another edition of the same data.
        ({"hub": "a/b", "grader": "text"}, ("task.hub", "c/d"), {"hub": "c/d", "grader": "text"}),
        ({"name": None, "path": "x.json", "grader": "text"}, ("task.path", "y"), {"path": "y", "grader": "text"}),
        ({"hub": "a/b", "grader": "text"}, ("task.name", None), {"hub": "a/b", "grader": "text", "name": None}),
    ],
)
def test_sources_of_questions_replace_each_other(
    start: dict[str, Any], override: tuple[str, Any], expected: dict[str, Any]
) -> None:
    assert with_overrides({"task": start}, [override]) == {"task": expected}


def test_what_is_given_with_another_source_is_kept_in_any_order() -> None:
    raw = {"task": {"path": "x.json", "columns": {"answer": "x"}, "grader": "numeric"}}
    overrides = [("task.grader", "text"), ("task.columns.question", "q"), ("task.hub", "a/b")]
    expected = {"hub": "a/b", "grader": "text", "columns": {"answer": "x", "question": "q"}}
    assert with_overrides(raw, overrides) == {"task": expected}


def test_a_key_is_set_under_what_a_resolved_configuration_leaves_empty() -> None:
    raw = {"task": {"path": "x.json", "columns": None}}
    assert with_overrides(raw, [("task.columns.question", "q")])["task"]["columns"] == {"question": "q"}


def test_an_override_cannot_lead_through_a_value() -> None:
    with pytest.raises(UserError, match=r"override seed\.x: 'seed' holds a value, not keys"):
        with_overrides({"seed": 1}, [("seed.x", 2)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not valid YAML: "),
        (b"a: b: c", "not valid YAML: "),
        (b"\ta: 1", "not valid YAML: "),
        (b"\xff\xfe\xfa", "not valid YAML: "),
        (b"- a\n- b\n", "expected keys and values, found list"),
        (b"text", "expected keys and values, found str"),
        (b"", "expected keys and values, found NoneType"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"config {file}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_answered_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").touch()
    with pytest.raises(UserError) as caught:
        read_yaml(tmp_path / "dmeo.yaml")
    assert str(caught.value) == f"config {tmp_path}/dmeo.yaml: no such file; did you mean {tmp_path}/demo.yaml?"
    with pytest.raises(UserError, match=r"no such file$"):
        read_yaml(tmp_path / "zzz.txt")
    with pytest.raises(UserError, match=r"no such file$"):
        read_yaml(tmp_path / "nowhere" / "demo.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nbudgets: [1]\nseed: 2\n", "line 3: the key 'seed' is given twice (first in line 1); drop one"),
        ("task:\n  limit: 1\n  name: x\n  limit: 2\n", "line 4: the key 'limit' is given twice (first in line 2)"),
        ("sampler: {kind: a, kind: a}\n", "line 1: the key 'kind' is given twice (first in line 1); drop one"),
        ("sweep: {space: [{a: 1, a: 2}]}\n", "line 1: the key 'a' is given twice"),
        ("seed: 1\n'seed': 2\n", "line 2: the key 'seed' is given twice (first in line 1)"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"config {file}: {message}")


def test_anchors_and_merged_keys_may_be_overridden(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("base: &b {seed: 1, limit: 2}\nown: {<<: *b, seed: 3}\nagain: *b\n")
    assert read_yaml(file)["own"] == {"seed": 3, "limit": 2}


def test_an_override_with_a_key_twice_is_refused() -> None:
    with pytest.raises(UserError, match="line 1: the key 'kind' is given twice"):
        parse_override("sampler={kind: gaussian, kind: none}")


def test_another_source_drops_the_extractor_of_the_former() -> None:
    raw = {"task": {"path": "a.json", "extractor": "boxed"}}
    assert with_overrides(raw, [("task.name", "gsm8k")]) == {"task": {"name": "gsm8k"}}
    assert with_overrides(raw, [("task.limit", 3)])["task"]["extractor"] == "boxed"
