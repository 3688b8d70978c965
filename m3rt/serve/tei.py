"""The routes of Hugging Face's text-embeddings-inference, whose clients also send to POST /."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ..bundle.heads import Heads
from ..embeddings import Embeddings
from ..errors import InputError
from ..values.arguments import whole_number
from ..version import __version__
from .answers import to_json
from .bodies import Body, Texts
from .refusals import TooLarge
from .routes import Route
from .service import Cut, Service
from .trace import Trace

_Direction = Literal["left", "right", "Left", "Right"]


class Truncation(Body):
    truncate: bool | None = None
    truncation_direction: _Direction | None = None

    def cut(self) -> Cut:
        if self.truncate is False:
            return "refuse"
        return "start" if (self.truncation_direction or "right").lower() == "left" else "end"


class TeiOptions(Truncation):
    prompt_name: str | None = None


class EmbedRequest(TeiOptions):
    inputs: Texts
    normalize: bool | None = None  # the model's vectors have unit length in any case
    dimensions: int | None = None


class SparseRequest(TeiOptions):
    inputs: Texts


class Sentences(Body):
    source_sentence: str
    sentences: Annotated[list[str], Field(min_length=1)]


class SimilarityRequest(Body):
    inputs: Sentences
    parameters: TeiOptions | None = None


class RerankRequest(Truncation):
    query: str
    texts: Annotated[list[str], Field(min_length=1)]
    raw_scores: bool | None = None
    return_text: bool | None = None


class TokenizeRequest(Body):
    inputs: Texts
    add_special_tokens: bool | None = None
    prompt_name: str | None = None


class DecodeRequest(Body):
    ids: list[int] | list[list[int]]
    skip_special_tokens: bool | None = None


async def embed(service: Service, body: EmbedRequest, trace: Trace) -> bytes:
    out = await _embed(service, body.inputs, body, Heads(), trace, body.dimensions)
    return to_json(out.dense_vecs)


async def embed_sparse(service: Service, body: SparseRequest, trace: Trace) -> bytes:
    out = await _embed(service, body.inputs, body, Heads(False, True), trace)
    assert out.sparse is not None
    rows = map(out.sparse.row, range(len(out)))
    return to_json([[{"index": i, "value": v} for i, v in zip(ids.tolist(), ws, strict=True)] for ids, ws in rows])


async def embed_all(service: Service, body: EmbedRequest, trace: Trace) -> bytes:
    """The ColBERT vectors of each text: one for each token but <s>."""
    return to_json((await _embed(service, body.inputs, body, Heads(False, False, True), trace)).colbert_vecs)


async def similarity(service: Service, body: SimilarityRequest, trace: Trace) -> bytes:
    texts = [body.inputs.source_sentence, *body.inputs.sentences]
    out = await _embed(service, texts, body.parameters or TeiOptions(), Heads(), trace)
    assert out.dense_vecs is not None
    return to_json(out.dense_vecs[1:] @ out.dense_vecs[0])


async def rerank(service: Service, body: RerankRequest, trace: Trace) -> bytes:
    """All texts by score, best first: between 0 and 1, or as the model gives them."""
    scores = await service.rerank(body.query, body.texts, trace, normalize=not body.raw_scores, cut=body.cut())
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    texts = [{"text": text} if body.return_text else {} for text in body.texts]
    return to_json([{"index": i, **texts[i], "score": scores[i]} for i in order])


async def tokenize(service: Service, body: TokenizeRequest, trace: Trace) -> bytes:
    """The token ids of each text, with the text of each token; where it stands in the text is not known."""
    service.limits.check(body.inputs)
    trace.texts += len(body.inputs)
    tokenizer, manifest = service.encoder.tokenizer, service.encoder.manifest
    special = {manifest.special_tokens.bos, manifest.special_tokens.eos, manifest.special_tokens.pad}

    def rows() -> list[list[dict[str, Any]]]:
        found = []
        tokens = tokenizer.encode(body.inputs, manifest.max_tokens)
        if len(tokens.ids) > service.limits.queue_tokens:  # each of them becomes an object of the answer
            most = service.limits.queue_tokens
            raise TooLarge(f"the texts have {len(tokens.ids)} tokens, expected at most {most}; send them in parts")
        for start, end in zip(tokens.offsets, tokens.offsets[1:], strict=False):
            ids = tokens.ids[start:end].tolist()
            found.append(ids if body.add_special_tokens is not False else ids[1:-1])
        text = {i: tokenizer.decode(i) for i in {i for ids in found for i in ids}}
        return [
            [{"id": i, "text": text[i], "special": i in special, "start": None, "stop": None} for i in ids]
            for ids in found
        ]

    return to_json(await service.search(rows))


async def decode(service: Service, body: DecodeRequest, trace: Trace) -> bytes:
    """The text of token ids."""
    rows = [ids for ids in body.ids if isinstance(ids, list)] or [[i for i in body.ids if isinstance(i, int)]]
    if sum(map(len, rows)) > service.limits.queue_tokens:
        raise InputError(f"ids holds more than {service.limits.queue_tokens} tokens; send them in parts")
    special = service.encoder.manifest.special_tokens
    dropped = {special.bos, special.eos, special.pad} if body.skip_special_tokens is not False else set()
    last = service.encoder.manifest.architecture.vocab_size - 1
    decoded = service.encoder.tokenizer.decode
    kept = [[whole_number("a token id", i, 0, last) for i in ids if i not in dropped] for ids in rows]
    return to_json(await service.search(lambda: [decoded(*ids) for ids in kept]))


def info(service: Service) -> bytes:
    """What is served, by TEI's names."""
    manifest, limits = service.encoder.manifest, service.limits
    return to_json(
        {
            "model_id": service.name,
            "model_sha": manifest.source.revision,
            "model_dtype": manifest.precision,
            "served_model_name": service.name,
            "model_type": {"embedding": {"pooling": manifest.pooling}},
            "max_concurrent_requests": limits.items,
            "max_input_length": manifest.max_tokens,
            "max_batch_tokens": service.encoder.batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": limits.items,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": __version__,
            "sha": None,
            "docker_label": None,
        }
    )


async def _embed(
    service: Service, texts: list[str], options: TeiOptions, heads: Heads, trace: Trace, dim: int | None = None
) -> Embeddings:
    return await service.embed(texts, heads, trace, dim=dim, cut=options.cut(), role=options.prompt_name)


def _by_inputs(value: dict[str, Any]) -> type[Body]:
    return SimilarityRequest if isinstance(value.get("inputs"), dict) else EmbedRequest


ROUTES = (
    Route("/embed", {EmbedRequest: embed}, "tei", "TEI: dense vectors"),
    Route("/embed_sparse", {SparseRequest: embed_sparse}, "tei", "TEI: lexical weights"),
    Route("/embed_all", {EmbedRequest: embed_all}, "tei", "TEI: ColBERT vectors, one a token"),
    Route("/similarity", {SimilarityRequest: similarity}, "tei", "TEI: cosine of one text with others"),
    Route("/tokenize", {TokenizeRequest: tokenize}, "tei", "TEI: token ids", waits=False),
    Route("/decode", {DecodeRequest: decode}, "tei", "TEI: token ids to text", waits=False),
    Route(
        "/", {EmbedRequest: embed, SimilarityRequest: similarity}, "tei", "TEI: by the type of inputs",
        choose=_by_inputs,
    ),
)  # fmt: skip
