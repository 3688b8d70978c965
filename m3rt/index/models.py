"""Which model an index belongs to, and its encoder, loaded when a text must be embedded."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle import DEFAULT, Bundle, open_bundle
from ..bundle.manifest import MANIFEST
from ..errors import BundleError, HybridIndexError, InputError
from ..host.files import sha256 as file_sha256
from ..values.shown import shown
from .store.manifest import Model

if TYPE_CHECKING:
    from ..encoder import M3Encoder


_PATH_CHARACTERS = 200  # characters of a path that a message shows


def bundle_of(model: str | Path | M3Encoder) -> Bundle:
    """The bundle at a path, or the one that an encoder has loaded."""
    given: Any = model
    return open_bundle(given) if isinstance(model, str | Path) else getattr(given, "bundle", None) or open_bundle(given)


def identity(bundle: Bundle) -> Model:
    """The record of a model that an index keeps."""
    m = bundle.manifest
    space = {
        "weights": sorted((name, file.sha256) for name, file in m.source.files.items()),
        "pooling": m.pooling,
        "prompts": dict(sorted(m.prompts.items())),
    }
    return Model(
        id=m.source.id,
        revision=m.source.revision,
        precision=m.precision,
        path=str(bundle.path.resolve()),
        manifest_sha256=file_sha256(bundle.path / MANIFEST),
        space=sha256(json.dumps(space).encode()).hexdigest(),
    )


def check_same(path: Path, made_by: Model | None, bundle: Bundle) -> None:
    """Raise HybridIndexError when `bundle` is not the model that made the index at `path`."""
    if made_by is None:
        raise HybridIndexError(f"{path} was built from embeddings, so it has no model; open it without one")
    model = identity(bundle)
    if model.space != made_by.space:
        raise HybridIndexError(
            f"{path} was made by {made_by}, not by {model}; give that model or build the index again"
        )


def load(path: Path, made_by: Model | None, given: str | Path | M3Encoder | None, threads: int | None) -> M3Encoder:
    """The encoder of an index: `given`, or the bundle that the index names."""
    from ..encoder import M3Encoder

    if isinstance(given, M3Encoder):
        return given
    if given is not None:
        return M3Encoder(given, threads=threads)
    place = located(path, made_by)
    encoder = M3Encoder(place, threads=threads)
    check_same(path, made_by, encoder.bundle)
    return encoder


def located(path: Path, made_by: Model | None) -> str:
    """The path of an index's bundle: the recorded one, else m3-tiny or $M3RT_MODEL if that is the same model.

    Raises InputError when it is at none of these places, or when the index has no model.
    """
    if made_by is None:
        raise InputError(f"{path} was built from embeddings, so no model can embed a text for it; give embeddings")
    for place in filter(None, (made_by.path, DEFAULT, os.environ.get("M3RT_MODEL"))):
        with suppress(BundleError, OSError):
            if identity(open_bundle(place)).space == made_by.space:
                return place
    raise InputError(
        f"{path} was made by {made_by}, which is not at {shown(made_by.path, _PATH_CHARACTERS)} any more, "
        "nor is it m3-tiny or what M3RT_MODEL names; give its path with model= or -m"
    )
