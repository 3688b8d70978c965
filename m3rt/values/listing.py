"""Turns what callers pass for a list (a column, an array, a generator) into a list, read once and by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MappingView, Set
from typing import Any

from ..errors import InputError, M3rtError
from .shown import a_kind, reason, shown

# Methods of pyarrow, polars, pandas, numpy and torch that return Python values by position, whatever the labels.
_TO_LIST = ("to_pylist", "to_list", "tolist")
_MISSING = ("NAType", "NaTType")  # classes of pandas, which need not be installed


def listed(name: str, value: object, wanted: str = "a list of str", *, advice: str = "") -> list[Any]:
    """Return the items of `value` in order; a numpy str becomes a Python str.

    Takes lists, tuples, iterators, views of dictionaries, arrays of one dimension and columns of tables.
    Raises InputError, with `wanted` and the next step, for one text or number, for mappings and sets, whose order means
    nothing, for anything of no or two dimensions, and for anything that fails while it is read.
    """
    return list(items(name, value, wanted, advice=advice))


def items(name: str, value: object, wanted: str = "a list of str", *, advice: str = "") -> Iterator[Any]:
    """Yield the items of listed() one at a time."""
    _check(name, value, wanted, advice)
    source = _iterator(name, value, wanted)
    place = 0
    while True:
        try:
            item = next(source)
        except StopIteration:
            return
        except M3rtError:
            raise
        except Exception as error:
            raise InputError(f"{name} failed at item {place} ({reason(error)}), expected {wanted}") from error
        yield str.__str__(item) if isinstance(item, str) else item
        place += 1


def is_missing(value: object) -> bool:
    """Whether a value marks a missing one in a column: None, NaN, pandas' NA and NaT."""
    return value is None or type(value).__name__ in _MISSING or (isinstance(value, float) and value != value)


def _check(name: str, value: object, wanted: str, advice: str) -> None:
    shape = _shape(value)
    if shape is not None and len(shape) != 1:
        actual = f"{shown(value)}" if shape else f"{a_kind(value)} without dimensions"
        raise InputError(f"{name} is {actual}, expected {wanted}{advice or _advice(shape)}")
    if shape is None and (hasattr(type(value), "columns") or _attribute(value, "columns") is not None):
        raise InputError(f"{name} is {a_kind(value)}, a table, expected {wanted}{advice or _advice((0, 0))}")
    if isinstance(value, str):
        raise InputError(f"{name} is a str, expected {wanted}; put it into a list")
    if isinstance(value, Set) and not isinstance(value, MappingView):
        raise InputError(f"{name} is {a_kind(value)}, whose order means nothing, expected {wanted}")
    if value is None or isinstance(value, bytes | bytearray | memoryview | Mapping):
        raise InputError(f"{name} is {a_kind(value)}, expected {wanted}")


def _advice(shape: tuple[Any, ...]) -> str:
    return "; give one of its columns" if shape else "; put its item() into a list"


def _shape(value: object) -> tuple[Any, ...] | None:
    """Return the shape of an array, column or table; None for anything else."""
    shape, ndim = _attribute(value, "shape"), _attribute(value, "ndim")
    if isinstance(shape, tuple):
        return shape
    return (None,) * ndim if isinstance(ndim, int) and not isinstance(value, memoryview) else None


def _attribute(value: object, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # a foreign object's property may raise anything
        return None


def _iterator(name: str, value: Any, wanted: str) -> Iterator[Any]:
    to_list = next((method for method in _TO_LIST if callable(getattr(type(value), method, None))), None)
    try:
        return iter(getattr(value, to_list)() if to_list else value)
    except Exception as error:
        if not any(hasattr(type(value), method) for method in ("__iter__", "__getitem__")):
            raise InputError(f"{name} is {a_kind(value)}, expected {wanted}") from None
        raise InputError(f"{name} cannot be read ({reason(error)}), expected {wanted}") from error
