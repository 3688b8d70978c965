"""Filters: find the rows of a segment by the values in their metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import check_offsets, check_places
from .columns import Arrays
from .keys import key

Scalar = str | int | float | bool | None
Filter = Mapping[str, Scalar | Sequence[Scalar]]  # several values: any of them
_NUMBER = re.compile(r"[+-]?(\d{1,400}\.?\d{0,400}|\.\d{1,400})([eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_BOOLS = {"True": "true", "False": "false"}  # the spelling of Python and of tables: that of JSON
_EXACT_FLOATS = 2**53  # every whole number below it has a float of the same value
FACETS = ("facet_keys", "facet_starts", "facet_rows")  # the arrays of invert_facets()


def invert_facets(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The facets of a segment's rows, sorted, and for each of them the rows that have it."""
    owners = np.repeat(np.arange(len(arrays["keys"])), np.diff(arrays["facets.offsets"]))
    order = np.argsort(arrays["facets.keys"], kind="stable")
    keys, starts = np.unique(arrays["facets.keys"][order], return_index=True)
    return {
        "facet_keys": keys,
        "facet_starts": np.append(starts, len(order)).astype(np.int64),
        "facet_rows": owners[order],
    }


def check_facets(arrays: Arrays, rows: int) -> None:
    """Raise ValueError unless the arrays of invert_facets() fit each other and a segment of so many rows."""
    check_offsets("facet_starts.npy", arrays["facet_starts"], len(arrays["facet_keys"]), len(arrays["facet_rows"]))
    check_places("facet_rows.npy", arrays["facet_rows"], rows)


def filter_rows(arrays: Arrays, wanted: Filter) -> NDArray[np.bool_]:
    """A mask (rows,) bool of the rows that have one of the wanted values in every wanted field."""
    kept = np.ones(len(arrays["keys"]), np.bool_)
    for field, values in wanted.items():
        has = np.zeros(len(kept), np.bool_)
        for value in values if isinstance(values, tuple | list) else (values,):
            for text in _spellings(value):
                has[_rows(arrays, _text_key(field, text))] = True
        kept &= has
    return kept


def has_field(arrays: Arrays, field: str) -> bool:
    """Whether any row of a segment has that field in its metadata."""
    return len(_rows(arrays, _field_key(field))) > 0


def facet_keys(metadata: Mapping[str, Any]) -> list[int]:
    """The keys by which a document is filtered: one for each field, one for each field's value."""
    keys = []
    for field, value in metadata.items():
        keys.append(_field_key(field))
        if isinstance(value, Scalar):
            keys.append(facet_key(field, value))
    return keys


def facet_key(field: str, value: Scalar) -> int:
    """The key of a value, by its text: "2020" and 2020 are equal, so are true and "true"."""
    return _text_key(field, value if isinstance(value, str) else _text(value))


def _text_key(field: str, text: str) -> int:
    return key(json.dumps([field, text]))


def _text(value: float | bool | None) -> str:
    """A value as JSON writes it; numbers that are equal have one text, 4.0 that of 4."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def _spellings(value: Scalar) -> set[str]:
    """Every text by which a document may hold `value`, whether that was typed on a command line or written in Python.

    The spelling of a number does not matter: 4, 4.0, "4" and "4.0" match each other, and so do 1e-7 and "1e-07"; True
    matches "true" and "True".
    """
    if isinstance(value, str):
        texts = {value, _BOOLS.get(value, value)}
        if _NUMBER.fullmatch(value):
            whole = _WHOLE.fullmatch(value)
            number = int(value) if whole else float(value)
            texts |= {_text(number)} if whole or isfinite(number) else set()
        return texts
    if isinstance(value, bool):
        return {_text(value), repr(value)}
    try:
        texts = {_text(value)}
    except ValueError:  # a whole number of more digits than JSON can hold
        return set()
    if isinstance(value, int | float):
        texts |= {repr(value), repr(float(value))} if abs(value) < _EXACT_FLOATS else {repr(value)}
    return texts


def _field_key(field: str) -> int:
    return key(json.dumps([field]))


def simple(value: Any) -> Any:
    """Convert numpy scalars, dates, times and decimals to values that JSON can hold; return anything else unchanged."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, date | time | Decimal) else value


def _rows(arrays: Arrays, facet: int) -> NDArray[np.int64]:
    low, high = (int(np.searchsorted(arrays["facet_keys"], np.uint64(facet), side)) for side in ("left", "right"))
    rows: NDArray[np.int64] = arrays["facet_rows"][slice(*arrays["facet_starts"][[low, high]])]
    return rows
