"""Ragged rows: offsets from lengths, and slices of rows that hold what the rows hold one by one."""

import numpy as np
import pytest
from corpus import documents, embeddings
from hypothesis import given
from hypothesis import strategies as st

from m3rt.values.ragged import offsets_of

OUT = embeddings(documents(7, 5))


@given(st.lists(st.integers(0, 50)))
def test_offsets_say_where_each_row_begins(lengths: list[int]) -> None:
    offsets = offsets_of(iter(lengths))
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    assert np.array_equal(offsets_of(np.array(lengths, np.int32)), offsets)


@pytest.mark.parametrize("rows", [slice(0, 7), slice(2, 5), slice(3, 3), slice(5, 2), slice(6, 99), slice(None, -2)])
def test_a_part_holds_the_rows_of_its_slice(rows: slice) -> None:
    assert OUT.sparse is not None
    assert OUT.multi is not None
    wanted = range(7)[rows]
    sparse, multi = OUT.sparse.part(rows), OUT.multi.part(rows)
    assert len(sparse) == len(multi) == len(wanted)
    for i, row in enumerate(wanted):
        assert all(map(np.array_equal, sparse.row(i), OUT.sparse.row(row)))
        assert np.array_equal(multi.row(i), OUT.multi.row(row))
