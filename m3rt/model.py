"""A bundle loaded into an engine: what an encoder and a reranker have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from .bundle import DEFAULT, Bundle, open_bundle, portable
from .bundle.fields import Kind
from .bundle.manifest import Manifest
from .engines import Engine, checked, load_engine
from .engines.profile import choose
from .errors import InputError
from .text.tokenizer import Tokenizer
from .values.arguments import flag, whole_number
from .values.shown import a_kind

Progress = Callable[[int, int], object]  # texts and tokens of a finished forward pass


class Model:
    """One bundle, its tokenizer and its engine; may be called from many threads, pickled and forked."""

    _kinds: ClassVar[tuple[Kind, ...]]  # of bundles that the class opens
    _other: ClassVar[str]  # the class that opens the others

    _again: Callable[[], Model] | None  # how another process opens this model

    def __init__(
        self,
        model: str | Path = DEFAULT,
        *,
        device: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if batch_tokens is not None:
            batch_tokens = whole_number("batch_tokens", batch_tokens, 1, 1 << 30)
        bundle = self._checked(open_bundle(model))
        tokenizer = Tokenizer.of(bundle)
        choice = choose(bundle, *checked(engine, device, threads))
        self._assemble(bundle, load_engine(bundle, **choice.options), tokenizer, batch_tokens)
        options: dict[str, Any] = {"device": device, "engine": engine, "threads": threads, "batch_tokens": batch_tokens}
        self._again = partial(type(self), portable(model), **options)

    @classmethod
    def with_engine(cls, bundle: Bundle, engine: Engine, *, batch_tokens: int | None = None) -> Self:
        """A model around an engine of one's own."""
        if not isinstance(bundle, Bundle):
            raise InputError(f"bundle is {a_kind(bundle)}, expected what open_bundle() returns")
        if batch_tokens is not None:
            batch_tokens = whole_number("batch_tokens", batch_tokens, 1, 1 << 30)
        self = cls.__new__(cls)
        self._assemble(cls._checked(bundle), engine, Tokenizer.of(bundle), batch_tokens)
        return self

    @classmethod
    def _checked(cls, bundle: Bundle) -> Bundle:
        if (found := bundle.manifest.kind) not in cls._kinds:
            wanted = " or ".join(cls._kinds)
            raise InputError(f"{bundle.path} is a bundle of kind {found}, expected {wanted}; open it with {cls._other}")
        return bundle

    def _assemble(self, bundle: Bundle, engine: Engine, tokenizer: Tokenizer, batch_tokens: int | None) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.path = bundle.path
        self.engine = engine
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens or engine.batch_tokens
        self._again = None

    def __reduce__(self) -> tuple[Callable[[], Model], tuple[()]]:
        """A model pickles as its arguments, and is opened again. Raises InputError for one with_engine()."""
        if self._again is None:
            raise InputError(
                f"this {type(self).__name__} has an engine of its own, which cannot be pickled or copied; send the "
                f"bundle's path {str(self.path)!r} instead and make it there"
            )
        return self._again, ()

    @property
    def device(self) -> str:
        """Where the engine runs: "cpu" or "cuda"."""
        return self.engine.device

    def __repr__(self) -> str:
        m = self.manifest
        width = f"{m.labels} labels" if m.labels > 1 else f"dim {m.dim}"
        return (
            f"{type(self).__name__}({str(self.path)!r}: {m.source.id}, {m.kind}, {m.precision}, {width}, "
            f"max_tokens {m.max_tokens}, {self.engine.name} on {self.engine.device})"
        )


@contextmanager
def progress(total: int, show: bool | Progress | None, name: str) -> Iterator[Progress]:
    """A bar on stderr over `total` tokens, the caller's own function, or nothing."""
    if callable(show):
        yield show
    elif show is not None and flag("show_progress", show):
        from tqdm import tqdm

        with tqdm(total=total, unit="tok", unit_scale=True, desc=name) as bar:
            yield lambda texts, tokens: bar.update(tokens)
    else:
        yield lambda texts, tokens: None
