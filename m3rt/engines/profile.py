"""The profile that `m3rt tune` leaves for a bundle on this machine: found, checked, used; never an error."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from ..bundle import Bundle
from ..bundle.directory import sha256_of
from ..bundle.manifest import EngineName
from ..errors import BundleError
from ..host import cache
from ..host.files import FileRecord, read_bytes
from ..host.machine import conditions, versions
from ..host.threads import available_cpus
from ..values.schema import build, conforms, parsed

FORMAT = 3
_PROFILE = "profile.json"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """What ran fastest with one engine: threads, and padded tokens of a pass (None: the engine's own choice).

    saved_session: size and hash of each file of its saved session; none where there is no saved session.
    """

    threads: int
    batch_tokens: int | None
    saved_session: Mapping[str, FileRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("threads", self.threads, 1, available_cpus())
        if self.batch_tokens is not None:
            _check("batch_tokens", self.batch_tokens, 1, 1 << 30)
        for name, record in self.saved_session.items():
            if not conforms(record, FileRecord):
                raise ValueError(f"{name} is {record!r:.80}, expected its size and hash")
            if Path(name).name != name:
                raise ValueError(f"{name!r:.40} is no file name")


@dataclass(frozen=True, slots=True)
class Profile:
    """The best engine, the best setting of each, and every number measured."""

    engine: str
    settings: Mapping[str, Setting]
    measured: tuple[Mapping[str, Any], ...]

    def __post_init__(self) -> None:
        if unknown := set(self.settings) - set(get_args(EngineName)):
            raise ValueError(f"unknown engines: {', '.join(sorted(unknown))}")
        if self.engine not in self.settings:
            raise ValueError(f"engine is {self.engine!r}, expected one of {', '.join(self.settings)}")


@dataclass(frozen=True, slots=True)
class Choice:
    """How to load an engine: what was asked for, and from the profile what was left open."""

    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    batch_tokens: int | None = None
    saved_session: Path | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of load_engine()."""
        return {
            "engine": self.engine,
            "device": self.device,
            "threads": self.threads,
            "batch_tokens": self.batch_tokens,
            "saved_session": self.saved_session,
        }


def choose(bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int | None = None) -> Choice:
    """Fill in from the bundle's profile what the caller left open; explicit arguments always win."""
    asked = Choice(engine, device, threads)
    if not _on_cpu(bundle, device) or (profile := load(bundle)) is None:
        return asked
    name = profile.engine if engine == "auto" else engine
    setting = profile.settings.get(name)
    if setting is None:
        return asked
    saved_session = _saved_session(bundle, name, setting)
    return Choice(name, device, threads or setting.threads, setting.batch_tokens, saved_session)


def load(bundle: Bundle) -> Profile | None:
    """The profile of `bundle` if it was measured on this machine with these versions; else None.

    One that does not hold is told in one warning. M3RT_TUNE=0 ignores profiles.
    """
    if os.environ.get("M3RT_TUNE") == "0":
        return None
    found = _read(bundle)
    if isinstance(found, str):
        _warn(f"the tuning profile {folder(bundle) / _PROFILE} {found}; ignored; {_again(bundle)}")
        return None
    return found


def save(bundle: Bundle, profile: Profile) -> Path:
    """Write the profile in one step and return its path. Raises OutputError."""
    raw = {"format": FORMAT, "conditions": _conditions(bundle), **asdict(profile)}
    return cache.write(make_folder(bundle) / _PROFILE, json.dumps(raw, indent=2) + "\n")


def forget_stale(bundle: Bundle) -> None:
    """Remove a profile that does not hold here, so that measuring again does not warn of it. Raises OutputError."""
    if isinstance(_read(bundle), str):
        cache.remove(folder(bundle) / _PROFILE)


def folder(bundle: Bundle) -> Path:
    """Where what belongs to `bundle` is kept in the user's cache."""
    return cache.root() / _digest(bundle)[:16]


def make_folder(bundle: Bundle) -> Path:
    """folder(), made if it is not there, for this user only. Raises OutputError."""
    return cache.make(folder(bundle))


def session_folder(bundle: Bundle, engine: str) -> Path:
    """Where the saved session of `engine` for exactly this machine and these versions is kept."""
    key = hashlib.sha256(json.dumps(_conditions(bundle), sort_keys=True).encode()).hexdigest()
    return folder(bundle) / f"{engine}-{key[:8]}"


def _conditions(bundle: Bundle) -> dict[str, Any]:
    return {**conditions(), "bundle": _digest(bundle)}


def _digest(bundle: Bundle) -> str:
    # What `m3rt verify` writes there later changes no speed.
    return hashlib.sha256(replace(bundle.manifest, fidelity=None).to_json().encode()).hexdigest()


def _read(bundle: Bundle) -> Profile | str | None:
    """The profile, what is wrong with it, or None where there is none."""
    path = folder(bundle) / _PROFILE
    try:
        if why := cache.distrust(path):
            return f"is not used: {why}"
        text = read_bytes(path, _MOST_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):  # also where HOME is none
        return None
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read ({error})"
    try:
        raw = parsed(text)
        if raw["format"] != FORMAT:
            return f"has format {raw['format']!r:.20}, this m3rt reads {FORMAT}"
        if differences := _differences(raw["conditions"], _conditions(bundle)):
            return f"is of another machine or version: {'; '.join(differences)}"
        return build(Profile, {name: raw[name] for name in ("engine", "settings", "measured")})
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        return f"is damaged ({type(error).__name__}: {error!s:.80})"


def _on_cpu(bundle: Bundle, device: str) -> bool:
    """Whether `bundle` will run on the CPU, which is what profiles are for; told without importing an engine."""
    return device == "cpu" or (
        device == "auto" and (bundle.manifest.precision == "int8" or "onnxruntime-gpu" not in versions())
    )


def _saved_session(bundle: Bundle, engine: str, setting: Setting) -> Path | None:
    if not setting.saved_session:
        return None
    directory = session_folder(bundle, engine)
    for name, record in setting.saved_session.items():
        if why := _fault(directory / name, record):
            _warn(f"{why}; loading without it; {_again(bundle)}")
            return None
    return directory


def _fault(path: Path, record: FileRecord) -> str | None:
    """Why a file is not the one that was saved, as far as a look tells."""
    try:
        if why := cache.distrust(path):
            return why
        found: int | str = path.stat().st_size
    except OSError:
        found = "no"
    return None if found == record.size else f"{path} has {found} bytes, expected {record.size}"


def check_saved(bundle: Bundle, progress: Callable[[int], object] = lambda n: None) -> int:
    """Compare the saved sessions that would be used with their hashes; returns how many files. Raises BundleError."""
    if (profile := load(bundle)) is None:
        return 0
    files = [
        (directory / name, record)
        for engine, setting in profile.settings.items()
        if (directory := _saved_session(bundle, engine, setting))
        for name, record in setting.saved_session.items()
    ]
    for path, record in files:
        if (found := sha256_of(path, progress)) != record.sha256:
            raise BundleError(f"{path} has SHA-256 {found}, expected {record.sha256}; {_again(bundle)}")
    return len(files)


def _differences(kept: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """`name was X, is Y` for each condition that is not as it was."""
    old, new = ({**c, **c["versions"], "versions": None} for c in (kept, here))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} was {old.get(name)!s:.80}, is {new.get(name)!s:.80}" for name in names]


def _check(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is {value!r:.40}, expected {low}..{high}")


def _again(bundle: Bundle) -> str:
    return f"run: m3rt tune {bundle.path}"


def _warn(message: str) -> None:
    warnings.warn(" ".join(message.split()), stacklevel=4)
