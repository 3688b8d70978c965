"""--filter, which several commands that search share."""

from __future__ import annotations

from collections.abc import Iterable

import click

from ...errors import InputError

FILTER = click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Only documents with this metadata; a field given twice: either value.",
)


def filter_of(texts: Iterable[str]) -> dict[str, list[str]]:
    """The values of each field; a document needs any one of them. Raises InputError."""
    found: dict[str, list[str]] = {}
    for text in texts:
        field, equals, value = text.partition("=")
        if not (field and equals):
            raise InputError(f"--filter is {text!r:.60}, expected FIELD=VALUE")
        found.setdefault(field, []).append(value)
    return found
