"""Makes text safe to show: it cannot move a terminal's cursor, turn its direction or hide a part of itself."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from ..errors import OutputError

# C0 and C1 controls, soft hyphen and fillers, bidi marks and isolates, zero-width characters, line and paragraph
# separators, tags, lone surrogates. The joiners U+200C and U+200D and variation selectors stay: Persian words and emoji
# need them, and they move nothing.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)


def plain(text: str) -> str:
    """Return the text on one line, with a space for each unsafe character."""
    return _UNSAFE.sub(" ", text)


def to_json(value: Any, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    """Return JSON with every script readable, unsafe characters as escapes, and null for NaN and infinity.

    Raises OutputError for values that are nested too deep.
    """
    options: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False, "indent": indent, "separators": separators}
    try:
        try:
            text = json.dumps(value, **options)
        except ValueError:  # a number that is not finite
            text = json.dumps(_finite(value), **options)
    except RecursionError:
        raise OutputError("the result holds values too deep in one another for JSON; flatten them") from None
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    """Return the JSON escape of one character; a line feed belongs to the indentation and stays."""
    return match[0] if match[0] == "\n" else json.dumps(match[0], ensure_ascii=True)[1:-1].replace("\x7f", "\\u007f")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
