"""The names by which the server may be called: they keep out pages whose own name was made to lead here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from ..errors import InputError
from ..values.shown import shown


class Hosts:
    """localhost, loopback addresses, and other names or addresses.

    A page of any origin may let its name resolve to this machine (DNS rebinding); browsers then take the server for a
    part of the page. The header Host still holds the page's name. Raises InputError for an empty name.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {"localhost", *map(_checked, names)}

    def admit(self, hosts: list[bytes]) -> bool:
        """Whether a request with these headers Host is meant for this server; ports do not matter."""
        return bool(hosts) and all(self._knows(_name(host.decode("latin-1"))) for host in hosts)

    def _knows(self, name: str) -> bool:
        return name in self._names or _is_loopback(name)


def _checked(name: str) -> str:
    if not (found := _name(name)) or any(c.isspace() or c in "/,*" for c in name.strip()):
        raise InputError(f"the allowed host is {shown(name)}, expected one name or address; give several one by one")
    return found


def _name(host: str) -> str:
    """A host without its port, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0].removesuffix(".")


@lru_cache(256)  # every request of a server without keys names one
def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
