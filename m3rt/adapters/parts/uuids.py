"""Ids for databases that hold UUIDs only."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID, uuid5

_UUID_CHARACTERS = 36
_NAMESPACE = UUID("7c1b6f0e-5a53-5d0c-9f0e-3d6c6d337274")

_KEPT_IDS = 1 << 12  # of a batch: a load asks for each twice, to look it up and to write it


@lru_cache(_KEPT_IDS)
def uuid_of(name: str) -> str:
    """The id itself where it is a UUID in its usual form, else one that is always the same for it."""
    if len(name) == _UUID_CHARACTERS:
        try:
            if str(UUID(name)) == name:
                return name
        except ValueError:
            pass
    return str(uuid5(_NAMESPACE, name))
