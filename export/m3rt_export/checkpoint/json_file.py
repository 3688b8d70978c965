"""A checkpoint's JSON files: read up to a size, with each value checked when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from m3rt.errors import CheckpointError
from m3rt.host.files import read_bytes

from .git_lfs import PREFIX, REASON

MAX_JSON_BYTES = 256 << 20  # XLM-R's tokenizer.json takes 17 MB
_LARGEST_NUMBER = 2**31 - 1  # sizes and ids stay below 2**31 in every checkpoint


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object of a checkpoint; null counts as absent."""

    path: Path
    raw: Mapping[str, Any]

    def fail(self, key: str, expected: str) -> NoReturn:
        name = key if key.isidentifier() else repr(key)
        raise CheckpointError(f"{self.path}: {name:.60} is {self.raw.get(key)!r:.80}, expected {expected}")

    def get(self, key: str, kinds: tuple[type, ...], expected: str) -> Any:
        """The value under a key, None if it is absent. Fails for a type not in `kinds`; a bool is no int."""
        value = self.raw.get(key)
        if value is not None and type(value) not in kinds:
            self.fail(key, expected)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.get(key, (bool,), "true or false")
        return default if value is None else bool(value)

    def text(self, key: str) -> str:
        return str(self.get(key, (str,), "a text") or "")

    def number(self, *keys: str, low: int = 1, default: int | None = None) -> int:
        key = next((k for k in keys if self.raw.get(k) is not None), keys[0])
        value = self.get(key, (int,), "a whole number") if self.raw.get(key) is not None else default
        if value is None or not low <= value <= _LARGEST_NUMBER:
            self.fail(key, f"a whole number from {low} to {_LARGEST_NUMBER}")
        return int(value)

    def object(self, key: str) -> Fields:
        """The object under a key, an empty one if it is absent."""
        return Fields(self.path, self.get(key, (dict,), "an object") or {})

    def refuse_others(self, known: set[str]) -> None:
        """Raise CheckpointError for the first key that is not known and has a value."""
        for key in self.raw:
            if key not in known and self.raw[key] not in (None, {}, []):
                raise CheckpointError(
                    f"{self.path}: {key!r:.60} is {self.raw[key]!r:.60}, which is not supported and may change the "
                    "vectors; remove it if it does not"
                )


def read_fields(path: Path, *, required: bool = False) -> Fields:
    """Read the object of a JSON file; a missing file counts as an empty object unless it is required."""
    if not required and not path.exists() and not path.is_symlink():
        return Fields(path, {})
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds a {type(raw).__name__}, expected an object; fetch it again")
    return Fields(path, raw)


def read_json(path: Path) -> Any:
    """Read the value of a JSON file. Raises CheckpointError for a missing, large or damaged file."""
    try:
        # Ask for the file's size at most: read_bytes takes that much memory at once.
        data = read_bytes(path, min(MAX_JSON_BYTES, path.stat().st_size))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing; expected a checkpoint directory in Hugging Face's layout, fetch the whole checkpoint"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    if data.startswith(PREFIX):
        raise CheckpointError(f"{path} is {REASON}")
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error!s:.160}; fetch it again") from None


def json_files(folders: Iterable[Path]) -> list[Path]:
    """List the JSON files of these folders that are not too large to be read.

    A manifest records them all, also those that an export does not read: any may say more about the source.
    """
    files = [path for folder in folders for path in folder.glob("*.json")]
    return [path for path in files if path.is_file() and path.stat().st_size <= MAX_JSON_BYTES]


@contextmanager
def understood(where: Path) -> Iterator[None]:
    """Turn any error that a hostile or unreadable file causes inside the block into a CheckpointError."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{where} cannot be read: {error.strerror or error}") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{where}: a JSON file holds a value of an unexpected kind ({reason!a:.120}); is the checkpoint complete?"
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")
