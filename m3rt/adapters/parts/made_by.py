"""Which model made a collection's vectors: a record that the database keeps, as an index keeps one."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace

from ...errors import InputError
from ...index.store.manifest import Model
from ...values.schema import build, conforms, parsed

KEY = "m3rt_model"  # under which databases keep the record


def record(model: Model) -> str:
    """The model as JSON, without its place on this machine."""
    return json.dumps(asdict(replace(model, path="")))


def check_made_by(name: str, kept: object, model: Model | None) -> None:
    """Raise InputError when the collection `name` holds vectors of another model than `model`, None being any.

    kept: what the database keeps under KEY. Where that is no record, a warning says that the model is not known.
    """
    if model is None:
        return
    made_by = _read(kept)
    if made_by is None:
        warnings.warn(
            f"{name} does not say which model made its vectors; they compare with those of {model} only if it was "
            "that one",
            stacklevel=4,
        )
    elif made_by.space != model.space:
        raise InputError(
            f"{name} has vectors of {made_by}, not of {model}, and they do not compare; give that model or choose "
            "another name"
        )


def _read(kept: object) -> Model | None:
    try:
        found = build(Model, parsed(kept)) if isinstance(kept, str | bytes) else None
    except ValueError:
        return None
    return found if conforms(found, Model) else None
