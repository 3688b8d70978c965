"""What this process may do to itself, for tests that give rights up."""

import os
from pathlib import Path

import pytest

_NOBODY = 65534


def _can_become_nobody() -> bool:
    """A user namespace, as of a rootless container, may have no other user that its root could become."""
    if os.name != "posix" or os.geteuid() != 0:
        return False
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:  # a system without user namespaces
        return True
    return any(int(first) <= _NOBODY < int(first) + int(count) for first, _, count in map(str.split, lines))


_is_root = os.name == "posix" and os.geteuid() == 0
becomes_nobody = pytest.mark.skipif(not _can_become_nobody(), reason="needs rights to give up, and a user to become")
lacks_rights = pytest.mark.skipif(_is_root and not _can_become_nobody(), reason="root cannot give its rights up here")
