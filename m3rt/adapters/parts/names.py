"""Names of collections: each database has its rule, and is not asked before a name keeps it."""

from __future__ import annotations

import re

from ...errors import InputError
from ...values.shown import shown


def check_name(name: object, pattern: re.Pattern[str], rule: str) -> None:
    """Raise InputError unless all of `name` matches; rule: the same in words."""
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise InputError(f"name is {shown(name)}, expected {rule}")
