"""The guard lets ratios vary a little, and says which have fallen."""

import json

from benchmarks.guard import ANY_PROCESSOR, RECORD, TOLERANCE, fallen, processor, table


def test_a_little_less_is_no_regression() -> None:
    recorded = {"rollout": 4.0, "score": 10.0}
    assert fallen({"rollout": 4.0 * (1 - TOLERANCE) + 0.01, "score": 12.0}, recorded) == []


def test_much_less_is_one() -> None:
    assert fallen({"rollout": 2.9, "score": 10.0}, {"rollout": 4.0, "score": 10.0}) == [
        "rollout: 2.90, but 4.00 is recorded"
    ]
    assert len(fallen({"rollout": float("nan")}, {"rollout": 4.0})) == 1


def test_what_is_not_recorded_is_named() -> None:
    [problem] = fallen({"new": 1.0}, {})
    assert problem == "new: nothing is recorded; run `python -m benchmarks.guard --record`"


def test_the_record_holds_ratios_of_each_kind_of_processor() -> None:
    records = json.loads(RECORD.read_text())
    shared = records.pop(ANY_PROCESSOR)
    assert {name.partition(":")[0] for name in shared} == {"pool", "store", "beside sampling"}
    assert {"AVX2", "AVX512"} <= set(records)
    for recorded in records.values():
        assert {name.partition(":")[0] for name in recorded} == {"rollout", "mixtures", "score"}
        assert all(ratio > 0 for ratio in recorded.values())


def test_the_processor_is_named_by_its_vector_instructions() -> None:
    assert processor().partition(" with ")[0] in ("DEFAULT", "AVX2", "AVX512", "SVE256", "SVE128", "NEON", "VSX")


def test_the_table_shows_both() -> None:
    assert table({"rollout": 3.456, "new": 1.0}, {"rollout": 4.0}).splitlines()[2:] == [
        "| rollout | 3.46 | 4.00 |",
        "| new | 1.00 | - |",
    ]
