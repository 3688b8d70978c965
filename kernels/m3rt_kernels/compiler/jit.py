"""Kernels are compiled when they are first called, and kept on disk where that is possible."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from . import isa

P = ParamSpec("P")
R = TypeVar("R")

_compiling = threading.Lock()
_log = logging.getLogger("m3rt_kernels")
_WORTH_NS = 2e9  # of numpy's time: about what the kernels of one kind of search take to compile


class NotCompiled(Exception):
    """A kernel would have to be compiled, and its caller has something else to do."""


def _digest() -> str:
    """Hash of this package's modules: kernels of one are compiled into kernels of another."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
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
        "m3rt: compiling kernels for this processor, once, for 10 to 30 s (python -m m3rt_kernels does it ahead)"
    )


class _Mood(threading.local):
    refuses = False  # whether this thread does without a kernel that is not compiled


_mood = _Mood()
_eager = False


@contextmanager
def eager() -> Iterator[None]:
    """Compile whatever is called, however little it has to do."""
    global _eager
    before, _eager = _eager, True
    try:
        yield
    finally:
        _eager = before


def either(
    kernel: Kernel[P, Any], cost_ns: float, native: Callable[[Callable[P, Any]], R], plain: Callable[[], R]
) -> R:
    """native(kernel), or plain(), which computes the same in numpy in about `cost_ns`.

    A kernel that is neither in this process nor in the cache is compiled when numpy would take longer than that, at
    once or in all calls so far: nobody waits long for little, nor often.
    """
    if not available():
        return plain()
    if _eager or kernel.spared_ns + cost_ns > _WORTH_NS:
        return native(kernel)
    try:
        return native(kernel.ready)
    except NotCompiled:
        kernel.spared_ns += cost_ns
    return plain()


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
        self.spared_ns = 0.0  # of numpy's time, in calls that did not wait for a compilation

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return (self._dispatcher or self.dispatcher())(*args, **kwargs)

    def ready(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it, if that needs no compilation. Raises NotCompiled."""
        before, _mood.refuses = _mood.refuses, True
        try:
            return self(*args, **kwargs)
        finally:
            _mood.refuses = before

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


def _miss() -> None:
    """What has to be done before a compilation."""
    if _mood.refuses:
        raise NotCompiled
    _tell()


@cache
def _numba() -> Callable[[Callable[..., Any], dict[str, Any]], Callable[..., Any]]:
    try:
        import numba
        from numba.core import types
        from numba.core.caching import FunctionCache, NullCache
        from numba.extending import typeof_impl
    except ImportError as error:
        raise ImportError(f"numba cannot be imported ({error}); pip install 'm3rt[kernels]'") from None

    isa.choose()
    typeof_impl.register(Kernel, lambda kernel, context: types.Dispatcher(kernel.dispatcher()))

    class Cache(FunctionCache):  # type: ignore[misc]
        """numba's, but a file that cannot be read or written is no error, and any change of a source is a miss."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            found = None
            with suppress(Exception):  # unpickling a damaged file raises anything
                found = super().load_overload(sig, target_context)
            if found is None:
                _miss()
            return found

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception:  # a full disk, or a damaged index, which would stay damaged
                with suppress(Exception):
                    self.flush()

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            return *super()._index_key(sig, codegen), _SOURCES

    class NoCache(NullCache):  # type: ignore[misc]
        def load_overload(self, sig: Any, target_context: Any) -> None:
            _miss()

    def cache_of(function: Callable[..., Any]) -> Any:
        try:
            found = Cache(function)
        except (RuntimeError, OSError):  # no directory is writable: each process compiles
            return NoCache()
        return found if _is_ours(Path(found.cache_path), Path(function.__code__.co_filename)) else NoCache()

    def compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
        dispatcher: Any = numba.njit(**options)(function)
        dispatcher.compile = interruptible()(dispatcher.compile)
        dispatcher._cache = cache_of(function)
        return cast("Callable[..., Any]", dispatcher)

    return compiled


def _is_ours(directory: Path, source: Path) -> bool:
    """Whether nobody else may have put code into this directory of the cache; warns where somebody may.

    Beside the sources, those who may write could as well change the sources. Groups are the directory's owner's choice.
    """
    if directory.parent == source.parent or not hasattr(os, "geteuid"):  # Windows: a home is its user's
        return True
    found = directory.stat()
    if found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o002:
        return True
    _distrust(directory)
    return False


@cache
def _distrust(directory: Path) -> None:
    _log.warning(
        "m3rt: compiled kernels in %s are ignored: others may write there; give NUMBA_CACHE_DIR to yourself", directory
    )
