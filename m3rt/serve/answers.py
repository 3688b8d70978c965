"""Answers as bytes: arrays go to JSON as they are, never through Python's floats."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import orjson
from fastapi import Response
from numpy.typing import NDArray
from starlette.types import Receive, Scope, Send

from ..embeddings import Embeddings, SparseVectors
from ..output.npz import arrays_of

_PIECE_BYTES = 1 << 16
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class InPieces(Response):
    """A response that has been sent, but for its last piece, when it says so: a piece waits for the one before."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body) or 1, _PIECE_BYTES):
            end = start + _PIECE_BYTES
            await send({"type": "http.response.body", "body": bytes(body[start:end]), "more_body": end < len(body)})


def to_json(value: Any) -> bytes:
    """JSON of plain values and of arrays, float32 in the fewest digits that give it back."""
    return orjson.dumps(value, option=_OPTIONS)


def any_json(value: Mapping[str, Any]) -> orjson.Fragment:
    """For to_json(), what it does not take by itself: integers of more than 64 bits, which metadata may hold."""
    return orjson.Fragment(json.dumps(dict(value)))


def base64_of(vector: NDArray[np.float32]) -> str:
    """Little-endian float32, as OpenAI's clients decode it."""
    return b64encode(vector.astype("<f4", copy=False).tobytes()).decode()


def weights(sparse: SparseVectors, row: int) -> dict[str, Any]:
    """The lexical weights of a text by the digits of their token ids."""
    ids, values = sparse.row(row)
    return dict(zip(map(str, ids.tolist()), values, strict=True))


def to_npz(out: Embeddings) -> bytes:
    """The arrays of a .npz file that m3rt encode writes."""
    file = BytesIO()
    np.savez(file, **arrays_of(out))
    return file.getvalue()
