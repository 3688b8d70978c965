"""Packages of the extra `eval`, asked for before hours of work."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import InputError


def need(*packages: str) -> None:
    """Raise InputError with the command that installs the first package that is missing."""
    for name in packages:
        if find_spec(name) is None:
            raise InputError(f'this needs {name}, which is not installed; run: pip install "m3rt[eval]"')
