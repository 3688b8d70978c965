"""Checks of FlagEmbedding's arguments: what m3rt cannot honour is refused by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..encoder import M3Encoder
from ..errors import InputError
from ..values.arguments import choice_of, whole_number
from ..values.listing import listed
from ..values.shown import shown

Devices = str | int | Iterable[str] | Iterable[int] | None

MAX_NUMBER = 1 << 30  # of arguments without effect, and of lengths before the model's limit applies
_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,3})?")


def device_shown(device: str) -> str:
    """FlagEmbedding's name of the device of an engine."""
    return "cuda:0" if device == "cuda" else device


def check_head(model: M3Encoder, pooling_method: object, colbert_dim: object) -> None:
    """Raise InputError unless pooling and ColBERT width are the bundle's."""
    choice_of("pooling_method", pooling_method, (model.manifest.pooling,))
    width = model.manifest.architecture.colbert_dim
    if (wanted := whole_number("colbert_dim", colbert_dim, -MAX_NUMBER, MAX_NUMBER)) > 0 and wanted != width:
        raise InputError(f"colbert_dim is {wanted}, but the bundle's is {width}; leave it out")


def check_keywords(function: Callable[..., Any], keywords: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    """Raise InputError for the first keyword that `function` does not take, and suggest similar ones."""
    for name in keywords:
        if name not in accepted:
            near = get_close_matches(name, [*inspect.signature(function).parameters, *accepted])
            hint = f"did you mean {' or '.join(near)}?" if near else "leave it out"
            raise InputError(f"{function.__name__} takes no keyword {shown(name)}; {hint}")


def device_of(devices: object, device: object = None) -> str:
    """Return M3Encoder's name of the device that FlagEmbedding's arguments name, once or several times."""
    argument = device if devices is None else devices
    if argument is None:
        return "auto"
    single = isinstance(argument, str | int | np.integer)
    names = [argument] if single else listed("devices", argument, "'cpu', 'cuda' or 0")
    known = {str(name) if isinstance(name, str) else _of_number(name) for name in names}
    if len(known) != 1 or not _DEVICE.fullmatch(name := known.pop()):
        raise InputError(
            f"devices is {shown(argument)}, expected one of 'cpu', 'cuda' or the number of a card; run a process for "
            "each card"
        )
    return name.removesuffix(":0")


def _of_number(place: object) -> str:
    return f"cuda:{whole_number('a device', place, 0, MAX_NUMBER)}"
