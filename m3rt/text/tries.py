"""The trie of a vocabulary: its bytes are checked before marisa reads them.

marisa trusts its input, and a forged trie crashes the process. So a trie must equal the one that marisa builds from the
pieces in tokenizer.json. It is built once and then recognised by its hash, in a cache that only this user can write.
The trie of the model that comes with the package is recognised by that model's manifest.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import cache as once
from typing import Any

from ..bundle import Bundle, open_bundle
from ..bundle.manifest import TOKENIZER
from ..errors import BundleError, OutputError
from ..host import cache
from ..host.files import read_bytes
from .unigram import MAX_BYTES, TRIE

_KNOWN = "tries"  # the cache's folder with an empty file for each good trie, named by its SHA-256


def checked(bundle: Bundle) -> bytes:
    """Return the bytes of a bundle's trie, safe to use. Raises BundleError for a damaged or forged one."""
    path = bundle.file(TRIE)
    trie = _read(bundle, TRIE)
    digest = hashlib.sha256(trie).hexdigest()
    if digest != bundle.manifest.files[TRIE].sha256:
        raise BundleError(f"{path} is damaged: not the SHA-256 of the manifest; export or copy it again")
    if not _is_known(digest):
        if trie != _built(bundle):
            raise BundleError(f"{path} is not a trie of the pieces in {TOKENIZER}; export the bundle again")
        _remember(digest)
    return trie


def _built(bundle: Bundle) -> bytes:
    from marisa_trie import Trie

    try:
        vocab = json.loads(_read(bundle, TOKENIZER))["model"]["vocab"]
        trie: Any = Trie([piece for piece, _ in vocab])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{bundle.path / TOKENIZER} has no list of pieces: {error!r:.200}") from None
    return bytes(trie.tobytes())


def _read(bundle: Bundle, name: str) -> bytes:
    path = bundle.file(name)
    try:
        return read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None


def _is_known(digest: str) -> bool:
    if digest == _shipped():
        return True
    try:
        return cache.distrust(cache.root() / _KNOWN / digest) is None
    except OSError:
        return False


def _remember(digest: str) -> None:
    with suppress(OutputError):  # without a cache the trie is built again next time
        cache.write(cache.make(cache.root() / _KNOWN) / digest, "")


@once
def _shipped() -> str | None:
    record = open_bundle().manifest.files.get(TRIE)
    return record.sha256 if record else None
