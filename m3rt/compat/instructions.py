"""Puts instructions in front of texts by FlagEmbedding's format strings; a format is data and runs no code."""

from __future__ import annotations

from string import Formatter
from typing import Any

from ..errors import InputError
from ..values.listing import listed
from ..values.shown import shown

_FIELDS = ("", "0", "1")  # the instruction and the text, in turn or by number


def instructed(form: object, instruction: object, text: object) -> object:
    """Put the instruction and the text into `form`, as FlagEmbedding's get_detailed_instruct() does.

    A text that is no str is returned unchanged, so that the encoder refuses it by its index. Raises InputError for a
    format with other fields than {}, {0} and {1}, or without a place for the text.
    """
    if not isinstance(instruction, str):
        raise InputError(f"the instruction is {shown(instruction)}, expected str")
    form = _checked(form)
    return form.format(instruction, text) if isinstance(text, str) else text


def _checked(form: object) -> str:
    wanted = "{} for the instruction and then {} for the text, or {0} and {1}"
    if not isinstance(form, str):
        raise InputError(f"the instruction format is {shown(form)}, expected a str with {wanted}")
    form = form.replace("\\n", "\n")
    try:
        parts = [part[1:] for part in Formatter().parse(form) if part[1] is not None]
        plain = all(name in _FIELDS and not spec and conversion is None for name, spec, conversion in parts)
        # format() raises for other faults; \x01 stands for the text and shows whether it has a place.
        good = plain and "\x01" in form.replace("\x01", "").format("", "\x01")
    except (ValueError, IndexError):
        good = False
    if not good:
        raise InputError(f"the instruction format is {shown(form)}, expected a str with {wanted}")
    return form


def instructed_texts(texts: object, instruction: object, form: object) -> Any:
    """Apply instructed() to one text, or to each of several."""
    if isinstance(texts, str):
        return instructed(form, instruction, texts)
    return [instructed(form, instruction, text) for text in listed("texts", texts, "a str or a list of str")]
