"""m3rt's route: any of the three views in one forward pass."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Response

from ..bundle.heads import Heads
from .answers import InPieces, to_json, to_npz, weights
from .bodies import Body, Texts
from .routes import Route
from .service import Service
from .trace import Trace

NPZ = "application/x-npz"


class EncodeRequest(Body):
    inputs: Texts
    return_dense: bool | None = None  # unless it is false
    return_sparse: bool | None = None
    return_colbert_vecs: bool | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    prompt: Literal["query", "passage"] | None = None


async def encode(service: Service, body: EncodeRequest, trace: Trace) -> bytes | Response:
    """The views that are asked for, as encode() names them, with the tokens of each text and whether it was cut.

    JSON, or a .npz file for a client that accepts application/x-npz.
    """
    heads = Heads(body.return_dense is not False, bool(body.return_sparse), bool(body.return_colbert_vecs))
    options: dict[str, Any] = {"dim": body.truncate_dim, "max_length": body.max_length, "role": body.prompt}
    out = await service.embed(body.inputs, heads, trace, **options)
    if NPZ in trace.accept:
        return InPieces(to_npz(out), 200, {"server-timing": trace.timing()}, NPZ)
    found: dict[str, Any] = {"model": service.name}
    if out.dense_vecs is not None:
        found["dense_vecs"] = out.dense_vecs
    if out.sparse is not None:
        found["lexical_weights"] = [weights(out.sparse, i) for i in range(len(out))]
    if out.multi is not None:
        found["colbert_vecs"] = out.colbert_vecs
    return to_json({**found, "n_tokens": out.n_tokens, "truncated": out.truncated})


ROUTES = (Route("/v1/encode", {EncodeRequest: encode}, "openai", "Dense, sparse and ColBERT in one pass"),)
