"""Calls side by side: results in order, no more at a time than asked, errors in their place."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3rt.batching.ahead import ahead


@given(st.lists(st.integers(), max_size=9), st.integers(1, 4))
def test_results_come_in_the_order_of_their_items(items: list[int], count: int) -> None:
    assert list(ahead(lambda x: 2 * x, items, count)) == [2 * x for x in items]


@pytest.mark.parametrize("count", [2, 3])
def test_so_many_calls_run_at_a_time_and_no_more(count: int) -> None:
    together, running, most = threading.Barrier(count), set[int](), 0
    lock = threading.Lock()

    def call(item: int) -> int:
        nonlocal most
        with lock:
            running.add(item)
            most = max(most, len(running))
        together.wait(60)  # passes only when all of them are here
        with lock:
            running.discard(item)
        return item

    assert list(ahead(call, range(4 * count), count)) == list(range(4 * count))
    assert most == count


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_comes_in_its_items_place_and_ends_it(count: int) -> None:
    def call(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = ahead(call, range(9), count)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_error_of_the_items_comes_after_the_results_before_it(count: int) -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise ValueError("torn off")

    results = ahead(lambda x: x, items(), count)
    assert [next(results), next(results), next(results)] == [1, 2, 3]
    with pytest.raises(ValueError, match="torn off"):
        next(results)


@pytest.mark.parametrize("count", [1, 2])
def test_no_more_items_are_taken_than_calls_may_run(count: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(9):
            taken.append(i)
            yield i

    results = ahead(lambda x: x, items(), count)
    next(results)
    assert len(taken) == count
    results.close()
    assert len(taken) == count
