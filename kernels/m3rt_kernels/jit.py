"""Kernels are compiled when they are first called, and kept on disk where that is possible."""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

P = ParamSpec("P")
R = TypeVar("R")

_compiling = threading.Lock()
_log = logging.getLogger("m3rt_kernels")


def _digest() -> str:
    """Hash of this package's modules: kernels of one are compiled into kernels of another."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# Now, in half a millisecond, and not when a kernel is compiled: a process that was there before an upgrade would else
# keep its old code under the new sources' name, for new processes to crash on.
_SOURCES = _digest()


@cache
def available() -> bool:
    """Whether numba can be imported and may compile; where not, wrappers call their numpy twins."""
    with suppress(ImportError):
        import numba

        return not numba.config.DISABLE_JIT
    return False


@cache
def _tell() -> None:
    """Say once that there is something to wait for. Logged, so that an application can have it elsewhere."""
    _log.warning(
        "m3rt: compiling kernels for this processor, once, for some 10 s (python -m m3rt_kernels does it ahead)"
    )


@contextmanager
def interruptible() -> Iterator[None]:
    """Let no interrupt be lost: one that reaches Python inside a finalizer of LLVM's objects is printed and dropped."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupts: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupts:
        raise KeyboardInterrupt


class Kernel(Generic[P, R]):
    """A function that numba compiles at its first call; one kernel may call another."""

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        self.__wrapped__ = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self._options = options
        self._dispatcher: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return (self._dispatcher or self.dispatcher())(*args, **kwargs)

    def dispatcher(self) -> Callable[P, R]:
        """numba's dispatcher. Raises ImportError with the command that installs numba."""
        with _compiling:
            if self._dispatcher is None:
                self._dispatcher = _numba()(self.__wrapped__, self._options)
            return self._dispatcher

    def __repr__(self) -> str:
        return f"<kernel {self.__wrapped__.__module__}.{self.__name__}>"


@overload
def jit(function: Callable[P, R]) -> Kernel[P, R]: ...
@overload
def jit(**options: Any) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...
def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Mark a function as a kernel. `options` are numba.njit's; it runs without the GIL and divides as numpy does.

    >>> @jit(fastmath=True)
    ... def total(values: Any) -> float:
    ...     result = 0.0
    ...     for value in values:
    ...         result += value
    ...     return result
    """
    options = {"nogil": True, "error_model": "numpy", **options}
    return Kernel(function, options) if function else lambda f: Kernel(f, options)


_inner_names: set[str] = set()


def inner(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that another function made, for kernels to call.

    numba names machine code by qualname, argument types and a counter of the process. Functions made in one place share
    a qualname, so that kernels compiled by different processes would come out of the cache with one symbol for two
    codes, and be linked to the wrong one. `name` is the qualname instead; ValueError when it is taken.
    """
    if name in _inner_names:
        raise ValueError(f"two compiled functions are named {name!r}, expected a name each")
    _inner_names.add(name)

    def compiled(function: Callable[..., Any]) -> Any:
        from numba import njit

        function.__name__ = function.__qualname__ = name.replace("-", "_")
        return njit(nogil=True)(function)

    return compiled


@cache
def _numba() -> Callable[[Callable[..., Any], dict[str, Any]], Callable[..., Any]]:
    try:
        import numba
        from numba.core import types
        from numba.core.caching import FunctionCache
        from numba.extending import typeof_impl
    except ImportError as error:
        raise ImportError(f"numba cannot be imported ({error}); pip install 'm3rt[kernels]'") from None

    typeof_impl.register(Kernel, lambda kernel, context: types.Dispatcher(kernel.dispatcher()))

    class Cache(FunctionCache):  # type: ignore[misc]
        """numba's, but a file that cannot be read or written is no error, and any change of a source is a miss."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            found = None
            with suppress(Exception):  # unpickling a damaged file raises anything
                found = super().load_overload(sig, target_context)
            if found is None:
                _tell()
            return found

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception:  # a full disk, or a damaged index, which would stay damaged
                with suppress(Exception):
                    self.flush()

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            return *super()._index_key(sig, codegen), _SOURCES

    def compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
        dispatcher: Any = numba.njit(**options)(function)
        dispatcher.compile = interruptible()(dispatcher.compile)
        try:
            dispatcher._cache = Cache(function)
        except (RuntimeError, OSError):  # no directory is writable: each process compiles
            _tell()
        return cast("Callable[..., Any]", dispatcher)

    return compiled
