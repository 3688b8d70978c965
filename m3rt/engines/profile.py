"""The profile that `m3rt tune` keeps for a bundle on this machine. A bad profile warns and is ignored."""

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
from ..bundle.fields import EngineName
from ..errors import BundleError
from ..host import cache
from ..host.files import FileRecord, read_bytes
from ..host.machine import conditions, versions
from ..host.nvidia import driver
from ..host.threads import available_cpus
from ..values.schema import build, conforms, parsed
from .cards import card_number, suits

FORMAT = 3
_PROFILE, _CARDS_PROFILE = "profile.json", "profile.cuda.json"
_MAX_BYTES = 1 << 20  # of a profile


@dataclass(frozen=True, slots=True)
class Setting:
    """The fastest setting of one engine: threads, and padded tokens of a pass (None: the engine's default).

    saved_session: size and hash of each file of the engine's saved session; empty without one.
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
    """The fastest engine, the fastest setting of each engine, and every number measured."""

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
    """The arguments that load an engine: the caller's, completed from the profile."""

    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    batch_tokens: int | None = None
    saved_session: Path | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of load_engine()."""
        return {
            "engine": self.engine,
            "device": self.device,
            "threads": self.threads,
            "batch_tokens": self.batch_tokens,
            "saved_session": self.saved_session,
        }


def choose(bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int | None = None) -> Choice:
    """Complete the caller's arguments from the bundle's profile; explicit arguments always win."""
    explicit = Choice(engine, device, threads)
    card = card_of(bundle, device) if engine in ("auto", "onnxruntime") else ""
    if (device.startswith("cuda") and not card) or (profile := load(bundle, card)) is None:
        return explicit
    name = profile.engine if engine == "auto" else engine
    setting = profile.settings.get(name)
    if setting is None:
        return explicit
    saved_session = None if card else _saved_session(bundle, name, setting)
    return Choice(name, device, threads or setting.threads, setting.batch_tokens, saved_session)


def card_of(bundle: Bundle, device: str) -> str:
    """The name of the card that `bundle` will run on; "" for the CPU. onnxruntime is imported only where a card is."""
    if device == "cpu" or not suits(bundle) or "onnxruntime-gpu" not in versions():
        return ""
    cards, number = driver().cards, card_number(device)
    return cards[number] if number < len(cards) and not _fault(number) else ""


def _fault(card: int) -> str | None:
    from .onnxruntime import card_fault

    return card_fault(card)


def load(bundle: Bundle, card: str = "") -> Profile | None:
    """Return the profile of `bundle` if it was measured on this machine with these versions; else None.

    card: the profile for a card of this name, by default the CPU's. A profile that does not hold here gives one
    warning. M3RT_TUNE=0 ignores profiles.
    """
    if os.environ.get("M3RT_TUNE") == "0":
        return None
    profile = _read(bundle, card)
    if isinstance(profile, str):
        _warn(f"the tuning profile {folder(bundle) / _file(card)} {profile}; ignored; {_advice(bundle)}")
        return None
    return profile


def save(bundle: Bundle, profile: Profile, card: str = "") -> Path:
    """Write the profile in one step and return its path. Raises OutputError."""
    raw = {"format": FORMAT, "conditions": _conditions(bundle, card), **asdict(profile)}
    return cache.write(make_folder(bundle) / _file(card), json.dumps(raw, indent=2) + "\n")


def forget_stale(bundle: Bundle, card: str = "") -> None:
    """Remove a profile that does not hold here, so that `m3rt tune` does not warn about it. Raises OutputError."""
    if isinstance(_read(bundle, card), str):
        cache.remove(folder(bundle) / _file(card))


def folder(bundle: Bundle) -> Path:
    """Return the folder of `bundle` in the user's cache."""
    return cache.root() / _digest(bundle)[:16]


def make_folder(bundle: Bundle) -> Path:
    """Return folder(), and make it for this user only if it is missing. Raises OutputError."""
    return cache.make(folder(bundle))


def session_folder(bundle: Bundle, engine: str) -> Path:
    """Return the folder of the saved session of `engine` for this machine and these versions."""
    key = hashlib.sha256(json.dumps(_conditions(bundle, ""), sort_keys=True).encode()).hexdigest()
    return folder(bundle) / f"{engine}-{key[:8]}"


def _file(card: str) -> str:
    return _CARDS_PROFILE if card else _PROFILE


def _conditions(bundle: Bundle, card: str) -> dict[str, Any]:
    return {**conditions(), **({"card": card} if card else {}), "bundle": _digest(bundle)}


def _digest(bundle: Bundle) -> str:
    # Without `fidelity`, which `m3rt verify` may write later and which changes no speed.
    return hashlib.sha256(replace(bundle.manifest, fidelity=None).to_json().encode()).hexdigest()


def _read(bundle: Bundle, card: str) -> Profile | str | None:
    """Return the profile, a str that says why it is ignored, or None where there is no profile."""
    path = folder(bundle) / _file(card)
    try:
        if why := cache.distrust(path):
            return f"is not used: {why}"
        text = read_bytes(path, _MAX_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):  # also where HOME is no directory
        return None
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read ({error})"
    try:
        raw = parsed(text)
        if raw["format"] != FORMAT:
            return f"has format {raw['format']!r:.20}, this m3rt reads {FORMAT}"
        if differences := _differences(raw["conditions"], _conditions(bundle, card)):
            return f"is of another machine or version: {'; '.join(differences)}"
        return build(Profile, {name: raw[name] for name in ("engine", "settings", "measured")})
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        return f"is damaged ({type(error).__name__}: {error!s:.80})"


def _saved_session(bundle: Bundle, engine: str, setting: Setting) -> Path | None:
    if not setting.saved_session:
        return None
    directory = session_folder(bundle, engine)
    for name, record in setting.saved_session.items():
        if why := _distrust(directory / name, record):
            _warn(f"{why}; loading without it; {_advice(bundle)}")
            return None
    return directory


def _distrust(path: Path, record: FileRecord) -> str | None:
    """Say why a file cannot be the one that was saved, or return None; its content is not read."""
    try:
        if why := cache.distrust(path):
            return why
        size: int | str = path.stat().st_size
    except OSError:
        size = "no"
    return None if size == record.size else f"{path} has {size} bytes, expected {record.size}"


def check_saved(bundle: Bundle, progress: Callable[[int], object] = lambda n: None) -> int:
    """Compare the files of saved sessions in use with their hashes, and return their number. Raises BundleError."""
    if (profile := load(bundle)) is None:
        return 0
    files = [
        (directory / name, record)
        for engine, setting in profile.settings.items()
        if (directory := _saved_session(bundle, engine, setting))
        for name, record in setting.saved_session.items()
    ]
    for path, record in files:
        if (digest := sha256_of(path, progress)) != record.sha256:
            raise BundleError(f"{path} has SHA-256 {digest}, expected {record.sha256}; {_advice(bundle)}")
    return len(files)


def _differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Say `name was X, is Y` for each condition that has changed."""
    old, new = ({**c, **c["versions"], "versions": None} for c in (stored, current))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} was {old.get(name)!s:.80}, is {new.get(name)!s:.80}" for name in names]


def _check(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is {value!r:.40}, expected {low}..{high}")


def _advice(bundle: Bundle) -> str:
    return f"run: m3rt tune {bundle.path}"


def _warn(message: str) -> None:
    warnings.warn(" ".join(message.split()), stacklevel=4)
