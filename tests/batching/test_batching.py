"""Batches hold each text once, stay within the budget and have little padding."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3rt.batching.plan import plan

LENGTHS = st.lists(st.integers(2, 300) | st.integers(2, 8), max_size=80)
WASTE = 24
BUDGETS = st.integers(1, 4000)
fuzz = settings(max_examples=300)


def batches(lengths: list[int], budget: int) -> list[list[int]]:
    return [batch.tolist() for batch in plan(np.array(lengths, np.int64), budget, WASTE)]


@given(LENGTHS, BUDGETS)
@fuzz
def test_every_text_runs_exactly_once(lengths: list[int], budget: int) -> None:
    assert sorted(i for batch in batches(lengths, budget) for i in batch) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
@fuzz
def test_a_batch_keeps_the_budget_unless_it_is_one_text(lengths: list[int], budget: int) -> None:
    for batch in batches(lengths, budget):
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(LENGTHS, BUDGETS)
@fuzz
def test_padding_costs_less_than_a_pass(lengths: list[int], budget: int) -> None:
    for batch in batches(lengths, budget):
        longest = max(lengths[i] for i in batch)
        assert sum(longest - lengths[i] for i in batch) <= WASTE


@given(LENGTHS, BUDGETS)
@fuzz
def test_no_batch_could_have_taken_the_next_text(lengths: list[int], budget: int) -> None:
    plans = batches(lengths, budget)
    for batch, following in pairwise(plans):
        grown = [lengths[i] for i in (*batch, following[0])]
        waste = max(grown) * len(grown) - sum(grown)
        assert len(grown) * max(grown) > budget or waste > WASTE


@given(LENGTHS, BUDGETS)
@fuzz
def test_the_longest_texts_run_first(lengths: list[int], budget: int) -> None:
    ran = [lengths[i] for batch in batches(lengths, budget) for i in batch]
    assert ran == sorted(ran, reverse=True)


@pytest.mark.parametrize(("count", "length", "budget", "sizes"), [
    (10, 16, 64, [4, 4, 2]), (3, 100, 99, [1, 1, 1]), (5, 2, 10**9, [5]), (0, 0, 64, []),
])  # fmt: skip
def test_equal_lengths_fill_the_budget(count: int, length: int, budget: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches([length] * count, budget)] == sizes
