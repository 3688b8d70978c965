"""Packages that m3rt's extras install, and the message for a missing one: it names the command that installs it."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import InputError


def install(extra: str) -> str:
    """Return the command that installs an extra of m3rt."""
    return f'pip install "m3rt[{extra}]"'


def missing(purpose: str, package: str, extra: str) -> str:
    """Return the message for a package that is not installed."""
    return f"{purpose} needs {package}, which is not installed; run: {install(extra)}"


def need(extra: str, *packages: str, purpose: str = "this") -> None:
    """Raise InputError, before hours of work, for the first of `packages` that is not installed; import none."""
    for name in packages:
        if find_spec(name) is None:
            raise InputError(missing(purpose, name, extra))
