"""Ids of documents, and the 64-bit keys that stand for them in arrays."""

from __future__ import annotations

from hashlib import blake2b

from ...errors import InputError
from ...values.listing import listed
from ...values.schema import SURROGATE
from ...values.shown import shown


def key(text: str) -> int:
    """64 bits of a hash: the probability that any two of a million texts share a key is 3e-8."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def check_ids(ids: object) -> list[str]:
    """`ids` as a list of distinct valid strings; InputError names the first bad one."""
    names = listed("ids", ids)
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(f"id {i} is {shown(name)}, expected a string of at least one character")
        if SURROGATE.search(name):
            raise InputError(f"id {i} holds a lone surrogate, expected valid Unicode; repair it")
        if seen.setdefault(name, i) != i:
            raise InputError(f"id {i} is {shown(name)} again, as id {seen[name]}; give each id once")
    return names
