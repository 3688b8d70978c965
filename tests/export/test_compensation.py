"""Rounding that makes up for its own errors, beside the method as its paper writes it."""

import numpy as np
import pytest
from m3rt_export.graph.compensation import mean_products, round_in_turn
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Whole:
    """Rounds to whole numbers."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.rounded = np.empty(shape, np.float32)
        self.starts: list[int] = []
        self.costs: list[Array] = []

    def start(self, begin: int, block: Array, costs: Array) -> None:
        self.starts.append(begin)
        self.costs.append(costs)

    def round(self, at: int, column: Array) -> Array:
        self.rounded[at] = np.rint(column)
        return np.asarray(self.rounded[at], np.float32)


def inputs(k: int) -> Array:
    random = np.random.default_rng(k)
    mixed = random.normal(size=(700, 20)) @ random.normal(size=(20, k)) + 0.2 * random.normal(size=(700, k))
    return np.asarray(mixed, np.float32)


def slow(columns: Array, moments: Array) -> NDArray[np.float64]:
    """arXiv:2210.17323, algorithm 1, one column at a time and in float64."""
    damped = moments.astype(np.float64) + 0.2 * np.diag(moments).mean() * np.eye(len(moments))
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    rest, rounded = columns.astype(np.float64), np.empty(columns.shape)
    for at in range(len(rest)):
        rounded[at] = np.rint(rest[at])
        rest[at:] -= np.outer(factor[at, at:], (rest[at] - rounded[at]) / factor[at, at])
    return rounded


@pytest.mark.parametrize(("k", "block"), [(5, 32), (64, 32), (300, 32), (300, 7)])
def test_blocks_give_the_codes_of_the_plain_method(k: int, block: int) -> None:
    columns = (3 * np.random.default_rng(1).normal(size=(k, 40))).astype(np.float32)
    moments, rounder = mean_products(inputs(k)), Whole(columns.shape)
    round_in_turn(columns.copy(), moments, block, rounder)
    assert rounder.starts == [*range(0, k, block)]
    assert (rounder.rounded == slow(columns, moments)).mean() > 0.99  # float32 decides some ties otherwise


def test_the_product_loses_less_than_by_nearest_rounding_and_beyond_one_group_too() -> None:
    rows = inputs(1100)
    columns = (3 * np.random.default_rng(2).normal(size=(1100, 8))).astype(np.float32)
    rounder = Whole(columns.shape)
    round_in_turn(columns.copy(), mean_products(rows), 64, rounder)
    errors = [np.square(rows @ (rounded - columns)).mean() for rounded in (rounder.rounded, np.rint(columns))]
    assert errors[0] < 0.5 * errors[1]


def test_mean_products_are_those_of_channels_that_are_rounded_together() -> None:
    rows = inputs(1030)
    expected = rows.T.astype(np.float64) @ rows / len(rows)
    expected[:1024, 1024:], expected[1024:, :1024] = 0, 0
    np.testing.assert_allclose(mean_products(rows), expected, atol=1e-3)


def test_costs_are_what_is_left_of_a_columns_error_when_later_columns_make_up_for_it() -> None:
    k, rounder = 12, Whole((12, 3))
    moments = mean_products(inputs(k))
    round_in_turn(np.ones((k, 3), np.float32), moments, 5, rounder)
    damped = moments.astype(np.float64) + 0.2 * np.diag(moments).mean() * np.eye(k)
    left = [
        damped[i, i] - damped[i, i + 1 :] @ np.linalg.solve(damped[i + 1 :, i + 1 :], damped[i + 1 :, i])
        for i in range(k)
    ]
    np.testing.assert_allclose(np.concatenate(rounder.costs), left, rtol=1e-3)


@pytest.mark.parametrize("k", [1, 40, 1024])
def test_inputs_that_were_always_0_round_to_finite_numbers(k: int) -> None:
    columns = np.full((k, 3), 1.4, np.float32)
    rounder = Whole(columns.shape)
    round_in_turn(columns, np.zeros((k, k), np.float32), 32, rounder)
    np.testing.assert_array_equal(rounder.rounded, 1)
