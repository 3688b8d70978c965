"""Values that callers have by mistake, and stand-ins for columns of libraries that need not be installed."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np


class Column:
    """A column as pandas has it: iterated by position, indexed by label, and the labels are not the positions."""

    ndim = 1

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = list(values)
        self.shape = (len(self._values),)
        self.index = list(range(len(self._values)))[::-1]

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, label: Any) -> Any:
        return self._values[self.index.index(label)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def tolist(self) -> list[Any]:
        return list(self._values)


class Frame:
    """A table as pandas has it: its iterator gives the names of its columns."""

    columns = ("text", "id")
    ndim = 2
    shape = (2, 2)

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


class Lazy:
    """A table of unknown length that has nothing but columns."""

    @property
    def columns(self) -> list[str]:
        raise RuntimeError("not read yet")


class Failing:
    """Every method raises."""

    def __iter__(self) -> Any:
        raise RuntimeError("first line\nsecond line \x1b[31m")

    def __len__(self) -> int:
        raise ZeroDivisionError("no length")

    def __getitem__(self, key: Any) -> Any:
        raise OSError("no item")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    def __index__(self) -> int:
        raise ArithmeticError("no number")

    def __fspath__(self) -> str:
        raise RuntimeError("no path")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


class FailingMapping(Mapping[str, Any]):
    """A mapping whose items cannot be had."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys\n")

    def __len__(self) -> int:
        return 1


class NAType:
    """pandas' NA: no truth and no order."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = object.__hash__


class Loud:
    """A repr of several lines that would colour a terminal."""

    def __repr__(self) -> str:
        return "line\r\nline \x1b]0;title\x07 \u202e \x9b31m " + "x" * 1000


def broken() -> Iterator[str]:
    yield "a"
    raise KeyError("half way\nthrough")


def odd_values() -> dict[str, Any]:
    """Fresh odd values by name."""
    found: dict[str, Any] = {
        "None": None, "True": True, "nan": float("nan"), "inf": float("inf"), "1.5": 1.5, "complex": 1j,
        "huge": 10**6000, "-huge": -(10**6000), "-1": -1, "numpy int": np.int64(5), "numpy nan": np.float32("nan"),
        "str": "abc", "empty": "", "digits": "10", "NUL": "a\0b", "surrogate": "\ud800", "controls": "a\nb\x1b[31m\x9b",
        "long": "ferry " * 2000, "numpy str": np.str_("abc"), "bytes": b"abc", "bytearray": bytearray(b"abc"),
        "memoryview": memoryview(b"abc"), "0-d": np.array("abc"), "0-d int": np.array(4), "2-d": np.array([["a", "b"]]),
        "3-d": np.zeros((2, 2, 2)), "floats": np.linspace(0, 1, 2000), "ints": np.arange(3),
        "dates": np.array(["2020"], "M8[D]"),
        "dict": {"a": 1}, "nested dict": {"a": {"b": [np.zeros(3)]}}, "empty dict": {},
        "set": {"a"}, "frozenset": frozenset(),
        "empty list": [], "list": ["a", "b"], "tuple": ("a", "b"), "triple": ("a", "b", "c"), "list of None": [None],
        "list with nan": ["a", float("nan")], "list with NA": ["a", NAType()], "list of lists": [["a"], ["b"]],
        "list of arrays": [np.zeros((2, 3)), 1], "list of surrogate": ["a", "\udc80"], "list of bytes": [b"a", b"b"],
        "list of dict": [{"a": "b"}, {5: None}, {"7": [1]}], "pairs": [("a", "b"), ("c",)],
        "huge pairs": [(10**6000, "b")],
        "list of failing": ["a", Failing()], "list of failing mappings": [FailingMapping()], "range": range(3),
        "generator": (text for text in ["a", "b"]), "broken": broken(), "zip": zip("ab", "cd", strict=True),
        "column": Column(["a", "b"]), "column of nan": Column(["a", float("nan")]), "frame": Frame(), "lazy": Lazy(),
        "failing": Failing(), "failing mapping": FailingMapping(), "loud": Loud(), "list of loud": [Loud()],
        "NA": NAType(),
        "type": str, "function": len, "object": object(), "Ellipsis": ...,
    }  # fmt: skip
    if find_spec("pandas"):
        import pandas as pd

        found |= {"Series": pd.Series(["a", "b"], index=[1, 0]), "DataFrame": pd.DataFrame({"text": ["a"]}),
                  "NA of pandas": pd.NA, "Series of NA": pd.Series(["a", None], dtype="string")}  # fmt: skip
    if find_spec("pyarrow"):
        import pyarrow as pa

        found |= {"Array": pa.array(["a", None]), "Table": pa.table({"text": ["a"]}), "Scalar": pa.scalar("a")}
    return found
