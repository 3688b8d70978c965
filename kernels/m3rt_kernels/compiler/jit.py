"""Kernels are compiled when they are first called, and kept on disk where that is possible.

Every kernel has one shape, which a new one should have too:

    @jit
    def _kernel(arrays, out, begin, end):  # arithmetic alone: numba compiles it
        ...

    def _kernel_numpy(arrays, out):  # its twin, which computes the same in numpy; a module twin.py where it is long
        ...

    def public(arrays, threads):  # checks its arguments, then lets either() pick: nothing else asks for numba
        return either(_kernel, cost_ns, lambda kernel: ..., lambda: _kernel_numpy(arrays, out))

tests/kernels runs each kernel and its twin.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from . import isa
from .cache import caches
from .interrupts import interruptible

P = ParamSpec("P")
R = TypeVar("R")

_compiling = threading.Lock()
_log = logging.getLogger("m3rt_kernels")
_COMPILATION_NS = 2e9  # about the time that the kernels of one kind of search take to compile


class NotCompiled(Exception):
    """A kernel would have to be compiled, and its caller can do without it."""


@cache
def available() -> bool:
    """Return whether numba can be imported and may compile."""
    with suppress(ImportError):
        import numba

        return not numba.config.DISABLE_JIT
    return False


@cache
def _announce() -> None:
    """Say once that a compilation takes time. It is logged, so that an application can redirect the line."""
    _log.warning(
        "m3rt: compiling kernels for this processor, once, for 10 to 30 s (python -m m3rt_kernels does it ahead)"
    )


class _ThreadState(threading.local):
    may_compile = True


_thread = _ThreadState()
_eager = False


@contextmanager
def eager() -> Iterator[None]:
    """Compile every kernel that is called in this block, however little it has to do."""
    global _eager
    before, _eager = _eager, True
    try:
        yield
    finally:
        _eager = before


def either(
    kernel: Kernel[P, Any] | None, cost_ns: float, compiled: Callable[[Callable[P, Any]], R], twin: Callable[[], R]
) -> R:
    """Return compiled(kernel), or twin(), which computes the same in numpy in about `cost_ns`.

    The twin runs where numba is missing or `kernel` is None, since it cannot be compiled for this processor. A kernel
    that is neither in this process nor in the cache is compiled once numpy would take longer than a compilation, in
    this call or in all calls so far: no caller waits for a compilation to save a little work.
    """
    if kernel is None or not available():
        return twin()
    if _eager or kernel.numpy_ns + cost_ns > _COMPILATION_NS:
        return compiled(kernel)
    try:
        return compiled(kernel.ready)
    except NotCompiled:
        kernel.numpy_ns += cost_ns
    return twin()


class Kernel(Generic[P, R]):
    """A function that numba compiles at its first call; one kernel may call another."""

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        self.__wrapped__ = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self._options = options
        self._dispatcher: Callable[P, R] | None = None
        self.numpy_ns = 0.0  # the twin's time in the calls so far that did not wait for a compilation

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return (self._dispatcher or self.dispatcher())(*args, **kwargs)

    def ready(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the kernel. Raises NotCompiled if it would have to be compiled first."""
        before, _thread.may_compile = _thread.may_compile, False
        try:
            return self(*args, **kwargs)
        finally:
            _thread.may_compile = before

    def dispatcher(self) -> Callable[P, R]:
        """Return numba's dispatcher. Raises ImportError with the command that installs numba."""
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
    """Mark a function as a kernel with options of numba.njit. It runs without the GIL and divides as numpy does.

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
    a qualname, so kernels that different processes compiled could come out of the cache with one symbol for two pieces
    of code, and be linked to the wrong one. `name` replaces the qualname; ValueError when it is taken.
    """
    if name in _inner_names:
        raise ValueError(f"two compiled functions are named {name!r}, expected a name each")
    _inner_names.add(name)

    def compiled(function: Callable[..., Any]) -> Any:
        from numba import njit

        function.__name__ = function.__qualname__ = name.replace("-", "_")
        return njit(nogil=True)(function)

    return compiled


def _miss() -> None:
    """Announce the compilation that has to follow. Raises NotCompiled in a thread that may not compile."""
    if not _thread.may_compile:
        raise NotCompiled
    _announce()


@cache
def _numba() -> Callable[[Callable[..., Any], dict[str, Any]], Callable[..., Any]]:
    """Return what compiles a function. Raises ImportError with the command that installs numba."""
    try:
        import numba
        from numba.core import types
        from numba.extending import typeof_impl

        cache_of = caches(_miss)
    except ImportError as error:
        raise ImportError(f"numba cannot be imported ({error}); pip install 'm3rt[kernels]'") from None

    isa.choose()
    typeof_impl.register(Kernel, lambda kernel, context: types.Dispatcher(kernel.dispatcher()))

    def compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
        dispatcher: Any = numba.njit(**options)(function)
        dispatcher.compile = interruptible()(dispatcher.compile)
        dispatcher._cache = cache_of(function)
        return cast("Callable[..., Any]", dispatcher)

    return compiled
