"""Builds frozen dataclasses from JSON by their annotations, and checks values against annotations."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

SURROGATE = re.compile("[\ud800-\udfff]")  # a str that holds one cannot be printed

T = TypeVar("T")


def parsed(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError, also for NaN, Infinity and numbers beyond a float, which JSON cannot write."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is no number that a float holds")
    return number


def build(kind: type[T], raw: Any) -> T:
    """Build the dataclass `kind` from a JSON object whose keys are its fields, all the way down.

    Only the shape is checked; `__post_init__` or conforms() checks the values. Raises ValueError for a missing or an
    unknown key, and for any other value where an object or a list must be.
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
        return tuple(_build(args[0], item, f"{name}[{i}]") for i, item in enumerate(_expect(list, raw, name)))
    if origin is Mapping:
        return {key: _build(args[1], item, f"{name}.{key}") for key, item in _expect(dict, raw, name).items()}
    if not is_dataclass(kind):
        return raw
    return _record(kind, raw, name)


def _record(kind: Any, raw: Any, name: str) -> Any:
    hints, optional = _hints(kind), _optional(kind)
    if unknown := sorted(_expect(dict, raw, name).keys() - hints.keys()):
        raise ValueError(f"{name} has unknown keys: {', '.join(unknown)!s:.200}")
    if missing := sorted(hints.keys() - raw.keys() - optional):
        raise ValueError(f"{name} has no {', '.join(missing)}")
    return kind(**{key: _build(hints[key], item, key) for key, item in raw.items()})


def _expect(kind: type, raw: Any, name: str) -> Any:
    if not isinstance(raw, kind):
        raise ValueError(f"{name} is {raw!r:.80}, expected {'an object' if kind is dict else 'a list'}")
    return raw


@cache  # since an index has hundreds of file records
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _optional(kind: Any) -> frozenset[str]:
    return frozenset(f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING)


def conforms(value: Any, kind: Any) -> bool:
    """Whether a value fits an annotation, all the way down; a whole number must be in 0..2**63 - 1."""
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
        return isinstance(value, str) and not SURROGATE.search(value)
    return kind is Any or isinstance(value, kind)


def wanted(kind: Any) -> str:
    """Describe an annotation for a message."""
    return (
        f"one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
    )
