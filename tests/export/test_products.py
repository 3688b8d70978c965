"""Tables of signs that are products of two smaller ones: found exactly, and nothing else taken for one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3rt_export.compact.digits import Digits, packed
from m3rt_export.compact.products import Product, factored, numbered, product, side


def signs(random: Any, *shape: int) -> Any:
    return (random.integers(0, 2, shape) * 2 - 1).astype(np.int8)


def crossed(seed: int, count: int, columns: int = 7, empty: int = 3) -> Any:
    """Rows by plain loops: every left row with the first right one, then with the second, and so on."""
    random = np.random.default_rng(seed)
    p = side(count - empty)
    left, right = signs(random, p, columns), signs(random, p, columns)
    rows = [[int(a) * int(b) for a, b in zip(x, y, strict=True)] for y in right for x in left]
    return np.array([[0] * columns] * empty + rows[: count - empty], np.int8)


@given(st.integers(0, 999), st.integers(12, 90), st.integers(1, 9), st.integers(0, 3))
def test_a_product_is_found_and_gives_its_rows_back(seed: int, count: int, columns: int, empty: int) -> None:
    table = crossed(seed, count, columns, empty)
    found = factored(table)
    assert found is not None
    assert np.array_equal(found.rows(count), table)
    assert found.left.nbytes + found.right.nbytes <= (2 * side(count) + 1) * columns


@given(st.integers(0, 999), st.integers(5, 40), st.integers(0, 3))
def test_rows_used_more_than_once_are_kept_once(seed: int, count: int, empty: int) -> None:
    table = crossed(seed, count + 3, 48)  # so many columns that no two of its rows are the same
    random = np.random.default_rng(seed)
    seen = np.concatenate([np.arange(count), random.integers(0, count, 60)])
    which = np.array([0] * empty + (seen + 3).tolist())
    found = factored(table[which])
    assert found is not None
    assert found.which is not None
    assert np.array_equal(found.rows(len(which)), table[which])
    assert len(found.left) == side(count)


def test_rows_are_numbered_by_where_they_are_first() -> None:
    first, number = numbered(np.array([[5, 1], [2, 2], [5, 1], [0, 0], [2, 2]]))
    assert first.tolist() == [0, 1, 3]
    assert number.tolist() == [0, 1, 0, 2, 1]
    assert numbered(np.array([7, 3, 7]))[1].tolist() == [0, 1, 0]


@given(st.integers(0, 999), st.integers(30, 80))
def test_one_other_sign_makes_it_no_product(seed: int, count: int) -> None:
    table = crossed(seed, count, 48)  # so many columns that no two of its rows are the same
    p = side(count - 3)  # after the rows of `left`, and not one that `right` is read from
    table[3 + p + 1 + seed % (p - 1), seed % 48] *= -1
    assert factored(table) is None


def test_what_starts_with_more_zeros_than_a_small_table_has_rows_keeps_them_once() -> None:
    table = np.concatenate([np.zeros((9, 4), np.int8), np.ones((4, 4), np.int8)])
    found = factored(table)
    assert found is not None
    assert np.array_equal(found.rows(13), table)
    assert factored(np.zeros((9, 4), np.int8)) is None


def test_rows_are_those_of_the_two_tables() -> None:
    found = product(np.array([[1, -1], [1, 1]], np.int8), np.array([[-1, 1], [1, 1]], np.int8), 1)
    assert found.rows(5).tolist() == [[0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]]


def test_a_table_keeps_its_signs_as_a_product_and_the_rest_in_digits() -> None:
    random = np.random.default_rng(0)
    wide = random.integers(-7, 8, (60, 4)).astype(np.float32)
    wide[0] = 7
    every = np.ones((60, 1), np.float32)
    table = np.concatenate([wide, crossed(1, 60, 8) * np.float32(0.3), every], axis=1)
    found = packed(table)
    assert found is not None
    assert [type(run) for run in found.runs] == [Digits, Product, Digits]
    kept = found.runs[1]
    assert isinstance(kept, Product)
    assert kept.rows(60) * found.step[4:12] == pytest.approx(table[:, 4:12])
    table[50, 5] *= -1
    other = packed(table)
    assert other is not None
    assert {type(run) for run in other.runs} == {Digits}
