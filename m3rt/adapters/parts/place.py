"""Places: a database and where it is, in one word such as qdrant:docs or postgresql://host/name."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from ...errors import InputError, M3rtError, OutputError
from ...values.shown import reason, shown
from .collection import Destination
from .layout import Layout

Made = TypeVar("Made", bound=Destination)

_KINDS = {
    "qdrant": ("qdrant", "QdrantCollection"),
    "milvus": ("milvus", "MilvusCollection"),
    "lance": ("lance", "LanceCollection"),
    "postgresql": ("pgvector", "PostgresCollection"),
    "postgres": ("pgvector", "PostgresCollection"),
    "vespa": ("vespa_feed", "VespaFeed"),
}
_USER = re.compile(r"//.*@", re.DOTALL)  # with a password


def opened(place: str, name: str, layout: Layout, *, key: str | None = None) -> Destination:
    """The collection `name` at a place, made where it is not there.

    place: qdrant:DIRECTORY or qdrant://HOST:6333, milvus:FILE.db or milvus://HOST:19530, lance:DIRECTORY,
    postgresql://HOST/DATABASE, vespa:FEED.jsonl; after qdrant: and milvus: also a URL of https. key: what a server of
    Qdrant or Milvus asks for. Raises InputError for a place that is none, and for a collection with another layout or
    metric or of another model; OutputError when the database cannot be reached.
    """
    product, _, where = place.partition(":")
    if product not in _KINDS or not where:
        known = ", ".join(f"{kind}:" for kind in _KINDS)
        raise InputError(
            f"{shown(_USER.sub('//', place))} is no place of a database, expected {known} and a path or an address"
        )
    module, kind = _KINDS[product]
    try:
        found: Destination = getattr(import_module(f"..{module}", __package__), kind).at(where, name, layout, key)
        return found
    except M3rtError:
        raise
    except Exception as error:  # the database's client's own
        raise OutputError(
            f"{_USER.sub('//', place)} cannot be opened ({reason(error)}); start it, or give its place and key"
        ) from error


def owning(client: Any, make: Callable[[Any], Made]) -> Made:
    """Make a collection of a client, which is closed where that fails: an open one keeps others out of its files."""
    try:
        return make(client)
    except BaseException:
        client.close()
        raise


def refuse_key(key: str | None) -> None:
    """Raise InputError for a key that no server asks for."""
    if key is not None:
        raise InputError("a key is for a server of Qdrant or Milvus; give none here")


def url_of(where: str) -> str | None:
    """The address of a server, None for a path."""
    return f"http:{where}" if where.startswith("//") else where if "://" in where else None
