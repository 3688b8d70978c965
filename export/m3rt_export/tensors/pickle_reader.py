"""Reads the pickle of a torch.save archive as data: nothing in it is imported, called or run.

A restricted `pickle.Unpickler` is not enough: ten hostile bytes (LONG_BINPUT with a large index) make it allocate
gigabytes, and BUILD can set attributes of any object that `find_class` returned. So `pickletools.genops` walks the
opcodes, and only those that torch.save writes for tensors are executed here.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m3rt.errors import CheckpointError

from .dtypes import TORCH_STORAGES

_RESAVE = "nothing was executed; re-save the weights as safetensors"


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage that the pickle refers to: the archive's record `data/<key>` of `numel` elements."""

    dtype: np.dtype[Any]
    key: str
    numel: int

    def __post_init__(self) -> None:
        if type(self.key) is not str or type(self.numel) is not int or self.numel < 0:
            raise ValueError("a storage reference without key and size")


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A strided window into a storage; offset and strides count elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.storage, StorageRef) or not len(self.shape) == len(self.strides) <= 32:
            raise ValueError("a tensor without storage, or with other strides than sizes")
        if any(type(n) is not int or not 0 <= n < 2**63 for n in (self.offset, *self.shape, *self.strides)):
            raise ValueError("an offset, size or stride that is no int64 count")


def read_pickle(data: bytes, path: Path) -> object:
    """Read the object that a torch.save pickle describes, with a `TensorRef` for each tensor.

    Args:
        data: the whole pickle, protocol 2 to 5.
        path: the file that holds it, for messages.

    Returns:
        dicts (with str or int keys), lists, tuples, strings, numbers and `TensorRef`s. It may contain itself.

    Raises:
        CheckpointError: the pickle is malformed, or asks for anything besides tensors and dicts.

    Source: https://docs.python.org/3/library/pickletools.html; torch/serialization.py, `persistent_id`.
    """
    machine = _Machine(path)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except (ValueError, TypeError, LookupError, DeprecationWarning) as error:  # genops warns about bad escapes
        raise CheckpointError(
            f"{path}: malformed pickle ({type(error).__name__}), expected torch.save's; "
            "the file is damaged: fetch it again"
        ) from error


def _ordered_dict(pairs: Any = ()) -> dict[object, object]:
    result: dict[object, object] = {}
    for key, value in pairs:
        _set(result, key, value)
    return result


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_autograd: object) -> TensorRef:
    return TensorRef(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: object, *_autograd: object) -> object:
    return tensor


_GLOBALS: dict[str, object] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    **{f"torch.{name}": dtype for name, dtype in TORCH_STORAGES.items()},
}

_LITERALS = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], object]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME", "STOP"}


class _Machine:
    """The pickle machine's stack, marks and memo; `_STEPS` maps opcodes to the functions below."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, object] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(self.stack[-_TUPLES[name] :])]
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in _IGNORED:
            raise CheckpointError(f"{self.path}: pickle opcode {name} refused, expected only tensors; {_RESAVE}")

    def pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def look_up(self, module: str, name: str) -> None:
        wanted = f"{module}.{name}"
        if wanted not in _GLOBALS:
            raise CheckpointError(f"{self.path}: pickle asks for {wanted[:80]!r}, expected only tensors; {_RESAVE}")
        self.stack.append(_GLOBALS[wanted])


def _mark(machine: _Machine, _: object) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _tuple(machine: _Machine, _: object) -> None:
    items = machine.pop_to_mark()
    machine.stack.append(tuple(items))


def _put(machine: _Machine, index: int | None) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


def _get(machine: _Machine, index: int) -> None:
    machine.stack.append(machine.memo[index])


def _append(machine: _Machine, _: object) -> None:
    _extend(machine.stack, [machine.stack.pop()])


def _appends(machine: _Machine, _: object) -> None:
    items = machine.pop_to_mark()
    _extend(machine.stack, items)


def _extend(stack: list[Any], items: list[Any]) -> None:
    if not isinstance(stack[-1], list):
        raise TypeError("items for something that is not a list")
    stack[-1].extend(items)


def _set_item(machine: _Machine, _: object) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set(machine.stack[-1], key, value)


def _set_items(machine: _Machine, _: object) -> None:
    items = machine.pop_to_mark()
    for key, value in zip(items[::2], items[1::2], strict=True):
        _set(machine.stack[-1], key, value)


def _set(target: object, key: object, value: object) -> None:
    # Hashing a deeply nested tuple would overflow the C stack.
    if not isinstance(target, dict) or not isinstance(key, str | int):
        raise TypeError("a dict key that is neither str nor int")
    target[key] = value


def _global(machine: _Machine, argument: str) -> None:
    machine.look_up(*argument.split(" ", 1))


def _stack_global(machine: _Machine, _: object) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise TypeError("a global without a name")
    machine.look_up(module, name)


def _call(machine: _Machine, _: object) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    if not callable(function) or not isinstance(arguments, tuple):
        raise TypeError("a call of something that is not a function")
    machine.stack.append(function(*arguments))


def _drop_state(machine: _Machine, _: object) -> None:
    machine.stack.pop()  # BUILD: a module's _metadata, which holds no tensor


def _storage(machine: _Machine, _: object) -> None:
    kind, dtype, key, _location, numel = machine.stack.pop()
    if type(kind) is not str or kind != "storage" or not isinstance(dtype, np.dtype):
        raise TypeError("a persistent id that is not a storage")
    machine.stack.append(StorageRef(dtype, key, numel))


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _mark,
    "TUPLE": _tuple,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _call,
    "BUILD": _drop_state,
    "BINPERSID": _storage,
}
