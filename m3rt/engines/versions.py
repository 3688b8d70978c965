"""The oldest version of an engine whose results are right."""

from __future__ import annotations

import re

from ..bundle.fields import Target
from ..bundle.manifest import Manifest
from ..bundle.sessions import session_of
from ..errors import EngineMissing

_PACKAGES: dict[Target, str] = {"onnxruntime_cuda": "onnxruntime-gpu"}  # others are named as their target


def check_version(target: Target, installed: str, manifest: Manifest) -> None:
    """Refuse an older engine: it may load a graph and compute other vectors without a word. Raises EngineMissing."""
    minimum, package = session_of(target, manifest).minimum_version, _PACKAGES.get(target, target)
    if _numbers(installed) < _numbers(minimum):
        raise EngineMissing(
            f"{package} {installed} is installed, but {manifest.precision} bundles are right from {minimum} on; "
            f'run: pip install --upgrade "{package}>={minimum}"'
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
