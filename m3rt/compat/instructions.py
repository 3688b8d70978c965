"""Instructions in front of texts, by FlagEmbedding's format strings, as data: a format runs no code."""

from __future__ import annotations

from string import Formatter
from typing import Any

from ..errors import InputError
from ..values.listing import listed
from ..values.shown import shown

_FIELDS = ("", "0", "1")  # instruction and text in turn, or by their numbers


def instructed(form: object, instruction: object, text: object) -> object:
    """FlagEmbedding's get_detailed_instruct(): `form` with the instruction and the text in its places.

    A text that is no str stays as it is, for the encoder to refuse by its index. Raises InputError for a format with
    other fields than {}, {0} and {1}, or without a place for the text.
    """
    if not isinstance(instruction, str):
        raise InputError(f"the instruction is {shown(instruction)}, expected str")
    checked = _checked(form)
    return checked.format(instruction, text) if isinstance(text, str) else text


def _checked(form: object) -> str:
    wanted = "{} for the instruction and then {} for the text, or {0} and {1}"
    if not isinstance(form, str):
        raise InputError(f"the instruction format is {shown(form)}, expected a str with {wanted}")
    form = form.replace("\\n", "\n")
    try:
        parts = [part[1:] for part in Formatter().parse(form) if part[1] is not None]
        plain = all(name in _FIELDS and not spec and conversion is None for name, spec, conversion in parts)
        # What str.format itself refuses is refused here; marks show where the text goes.
        good = plain and "\x01" in form.replace("\x01", "").format("", "\x01")
    except (ValueError, IndexError):
        good = False
    if not good:
        raise InputError(f"the instruction format is {shown(form)}, expected a str with {wanted}")
    return form


def instructed_texts(texts: object, instruction: object, form: object) -> Any:
    """instructed() for one text, or for each of several."""
    if isinstance(texts, str):
        return instructed(form, instruction, texts)
    return [instructed(form, instruction, text) for text in listed("texts", texts, "a str or a list of str")]
