"""FlagEmbedding's arguments that m3rt honours by having them already, or refuses by name."""

from __future__ import annotations

import inspect
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

LARGEST = 1 << 30  # of what only has to be a number: batches, and lengths before the model's own limit
_SERVED = {"cpu": "cpu", "cuda": "cuda", "cuda:0": "cuda"}


def check_head(model: M3Encoder, pooling_method: object, colbert_dim: object) -> None:
    """Raise InputError for another pooling or ColBERT width than the bundle's."""
    choice_of("pooling_method", pooling_method, (model.manifest.pooling,))
    width = model.manifest.architecture.colbert_dim
    if (asked := whole_number("colbert_dim", colbert_dim, -LARGEST, LARGEST)) > 0 and asked != width:
        raise InputError(f"colbert_dim is {asked}, but the bundle's is {width}; leave it out")


def check_keywords(function: Callable[..., Any], given: Mapping[str, Any], taken: tuple[str, ...]) -> None:
    """Raise InputError for the first keyword that `function` does not take, with those that look like it."""
    for name in given:
        if name not in taken:
            near = get_close_matches(name, [*inspect.signature(function).parameters, *taken])
            hint = f"did you mean {' or '.join(near)}?" if near else "leave it out"
            raise InputError(f"{function.__name__} takes no keyword {shown(name)}; {hint}")


def device_of(devices: object, device: object = None) -> str:
    """M3Encoder's name of the one device that FlagEmbedding's arguments name; several times the same is one."""
    given = device if devices is None else devices
    if given is None:
        return "auto"
    names = [given] if isinstance(given, str | int | np.integer) else listed("devices", given, "'cpu', 'cuda' or 0")
    found = {_SERVED.get(name if isinstance(name, str) else _of_number(name)) for name in names}
    if len(found) != 1 or (served := found.pop()) is None:
        raise InputError(
            f"devices is {shown(given)}, expected one of 'cpu' or 'cuda', which is 'cuda:0' or 0; run a process for "
            "each GPU, which CUDA_VISIBLE_DEVICES chooses"
        )
    return served


def _of_number(place: object) -> str:
    return f"cuda:{whole_number('a device', place, 0, LARGEST)}"
