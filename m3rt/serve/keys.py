"""API keys: from a file or the environment, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from ..errors import InputError
from ..host.files import read_bytes

VARIABLE = "M3RT_API_KEY"
_FILE_BYTES = 1 << 20


class Keys:
    """The keys that open the server; none: it is open."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [_digest(key.encode("utf-8", "surrogateescape")) for key in keys]

    @classmethod
    def of(cls, file: Path | None, environment: str | None) -> Keys:
        """The keys of a file, one a line, and of a variable, between spaces or commas. Raises InputError."""
        keys = (environment or "").replace(",", " ").split()
        if environment is not None and not keys:  # or a mistake would open the server
            raise InputError(
                f"{VARIABLE} is set but holds no key; put one in it, or unset it for a server without keys"
            )
        if file is not None:
            try:
                lines = read_bytes(file, _FILE_BYTES).decode().splitlines()
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise InputError(f"{file} cannot be read as a file of API keys: {why or error}") from None
            found = [key for key in map(str.strip, lines) if key and not key.startswith("#")]
            if not found:
                raise InputError(f"{file} holds no API key, expected one a line")
            keys += found
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, authorization: bytes | None) -> bool:
        """Whether a header "Bearer KEY", or "KEY" alone, holds one of the keys."""
        if not self._digests:
            return True
        scheme, _, rest = (authorization or b"").strip().partition(b" ")
        given = _digest(rest.strip() if scheme.lower() == b"bearer" else (authorization or b"").strip())
        # Every key is compared, so that the time does not tell which one was close.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()
