"""OpenAI's routes: embeddings, and the list of models."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..bundle.heads import Heads
from .answers import base64_of, to_json
from .bodies import Body, Texts
from .routes import Route
from .service import Service
from .trace import Trace


class EmbeddingsRequest(Body):
    refused: ClassVar = {
        "truncate_prompt_tokens": ((-1,), "POST /v1/encode takes max_length"),
        "add_special_tokens": ((True,), "leave it out"),
        "late_chunking": ((False,), "leave it out"),
        "task": ((), "POST /v1/encode takes prompt"),
    }
    input: Texts
    model: str | None = None  # the server has one, whatever is asked for
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


async def embeddings(service: Service, body: EmbeddingsRequest, trace: Trace) -> bytes:
    """Dense vectors; as numbers unless base64 is asked for, which openai's own client does."""
    out = await service.embed(body.input, Heads(), trace, dim=body.dimensions)
    assert out.dense_vecs is not None
    vectors = [base64_of(row) for row in out.dense_vecs] if body.encoding_format == "base64" else list(out.dense_vecs)
    tokens = int(out.n_tokens.sum())
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return to_json({"object": "list", "data": data, "model": service.name, "usage": usage})


def models(service: Service) -> bytes:
    """The one model."""
    model = {"id": service.name, "object": "model", "created": 0, "owned_by": "m3rt"}
    return to_json({"object": "list", "data": [model]})


ROUTES = tuple(
    Route(path, {EmbeddingsRequest: embeddings}, "openai", "OpenAI: dense vectors")
    for path in ("/v1/embeddings", "/embeddings")
)
