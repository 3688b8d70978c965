"""A framework that cannot be derived from: it is not installed, or of another major version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from ...errors import InputError
from ...host.extras import install, missing
from ...values.shown import reason


def unusable(package: str, extra: str, tested: str, error: ImportError) -> InputError:
    """The line for an import that failed; tested: the versions that the adapter is known to work with."""
    if find_spec(package) is None:
        return InputError(missing("this adapter", package, extra))
    try:
        there = version(package.replace("_", "-"))
    except PackageNotFoundError:
        there = "of unknown version"
    return InputError(
        f"{package} {there} lacks what this adapter needs ({reason(error)}), expected {tested}; run: {install(extra)}"
    )
