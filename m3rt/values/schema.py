"""JSON to frozen dataclasses, by their annotations, and whether a value is what an annotation says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

SURROGATE = re.compile("[\ud800-\udfff]")  # a str with one could not even be printed

T = TypeVar("T")


def parsed(text: str | bytes) -> Any:
    """A JSON value that JSON can also write: ValueError for NaN, Infinity and numbers beyond a float, too."""
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is no number that a float holds")
    return number


def build(kind: type[T], raw: Any) -> T:
    """The dataclass `kind` from what JSON has for it: an object, whose keys are its fields, all the way down.

    Only the shape is made here; its `__post_init__`, or conforms(), says whether the values are right.
    Raises ValueError for a missing or an unknown key and for what is no object or list where one must be.
    """
    built: T = _build(kind, raw, "it")
    return built


def _build(kind: Any, raw: Any, name: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is UnionType:
        if raw is None and NoneType in args:
            return None
        return _build(next(arg for arg in args if arg is not NoneType), raw, name)
    if origin is tuple:
        return tuple(_build(args[0], item, f"{name}[{i}]") for i, item in enumerate(_of(list, raw, name)))
    if origin is Mapping:
        return {key: _build(args[1], item, f"{name}.{key}") for key, item in _of(dict, raw, name).items()}
    if not is_dataclass(kind):
        return raw
    return _record(kind, raw, name)


def _record(kind: Any, raw: Any, name: str) -> Any:
    hints, optional = _hints(kind), _optional(kind)
    if unknown := sorted(_of(dict, raw, name).keys() - hints.keys()):
        raise ValueError(f"{name} has unknown keys: {', '.join(unknown)!s:.200}")
    if missing := sorted(hints.keys() - raw.keys() - optional):
        raise ValueError(f"{name} has no {', '.join(missing)}")
    return kind(**{key: _build(hints[key], item, key) for key, item in raw.items()})


def _of(kind: type, raw: Any, name: str) -> Any:
    if not isinstance(raw, kind):
        raise ValueError(f"{name} is {raw!r:.80}, expected {'an object' if kind is dict else 'a list'}")
    return raw


@cache  # an index has hundreds of file records
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _optional(kind: Any) -> frozenset[str]:
    return frozenset(f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING)


def conforms(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says, all the way down; whole numbers are never negative here."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in args
    if origin is UnionType:
        return any(conforms(value, arg) for arg in args)
    if origin is tuple:
        return isinstance(value, tuple) and all(conforms(item, args[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            conforms(key, args[0]) and conforms(item, args[1]) for key, item in value.items()
        )
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind).items()
        return isinstance(value, kind) and all(conforms(getattr(value, name), hint) for name, hint in hints)
    if kind is int:
        return type(value) is int and 0 <= value < 2**63
    if kind is str:
        return isinstance(value, str) and not SURROGATE.search(value)  # could not even be printed
    return kind is Any or isinstance(value, kind)


def wanted(kind: Any) -> str:
    """What an annotation expects, for a message."""
    return (
        f"one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
    )
