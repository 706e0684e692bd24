"""Which questions an update takes, and how they are cut: functions of the seed alone."""

from latent_core.tasks.base import Problem
from orchestrator.config.types import MAX_SEED
from orchestrator.policy_training.order import QuestionOrder, parts_of, seed_of

PROBLEMS = [Problem(f"q{index}", f"question {index}", "1") for index in range(10)]


def names(order: QuestionOrder, update: int) -> list[str]:
    return [one.question_id for one in order.questions(update)]


def test_no_question_comes_twice_in_an_epoch_and_each_epoch_has_an_order_of_its_own() -> None:
    order = QuestionOrder(PROBLEMS, 3, 4)
    first, second = ([*names(order, 2 * epoch), *names(order, 2 * epoch + 1)] for epoch in range(2))
    assert len(set(first)) == len(first) == 8
    assert len(set(second)) == 8
    assert first != second


def test_an_update_is_asked_the_same_whenever_it_is_asked_for() -> None:
    order = QuestionOrder(PROBLEMS, 3, 4)
    forwards = [names(order, update) for update in range(6)]
    assert [names(QuestionOrder(PROBLEMS, 3, 4), update) for update in reversed(range(6))] == forwards[::-1]
    assert names(QuestionOrder(PROBLEMS, 4, 4), 0) != forwards[0]


def test_parts_are_all_questions_in_order() -> None:
    for number in range(1, 13):
        parts = parts_of(PROBLEMS, number)
        assert sum(parts, ()) == tuple(PROBLEMS)
        sizes = [len(part) for part in parts]
        assert len(parts) == min(number, 10)
        assert max(sizes) - min(sizes) <= 1


def test_seeds_differ_by_update_and_fit_a_configuration() -> None:
    seeds = {seed_of(seed, update) for seed in range(3) for update in (*range(100), "validation")}
    assert len(seeds) == 3 * 101
    assert all(0 <= seed < MAX_SEED for seed in seeds)
