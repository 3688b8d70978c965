"""Bodies of requests: read with a bound on size and time, and checked against a model that OpenAPI can show."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from starlette.requests import ClientDisconnect

from ..errors import InputError, QueueFull
from ..values.shown import shown
from .limits import Limits
from .refusals import Malformed, TooLarge, TooSlow

_DRAINED = 4  # times the bound on a body that is read all the same, so that its sender gets to see the answer
_LONG_NUMBER = re.compile(rb"\d{19}")  # perhaps an integer of more than 64 bits, of which orjson makes a float
_TOKENS = (
    "holds token ids, expected text: no other model's ids fit this one "
    "(LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)"
)


class Body(BaseModel):
    """A request; fields that it does not know are ignored, and every optional one may be null.

    refused: those that would change the answer, by the values that would not, and what to do instead.
    """

    refused: ClassVar[Mapping[str, tuple[tuple[object, ...], str]]] = {}
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


B = TypeVar("B", bound=Body)


def _texts(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(type(item) is int or isinstance(item, list) for item in value):
        raise ValueError(_TOKENS)
    if value == []:
        raise ValueError("is empty, expected texts")
    return value


_TEXTS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
Texts = Annotated[list[str], BeforeValidator(_texts), WithJsonSchema(_TEXTS_SCHEMA)]


class Held:
    """The bytes of all bodies that are being read, answered or sent. most: with how many a request is still taken."""

    def __init__(self, most: int) -> None:
        self._most, self.bytes = most, 0

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """A function that counts bytes, until the end of this block; it raises QueueFull for too many."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self.bytes + size > self._most:
                raise QueueFull(f"{self.bytes} bytes of requests are being answered, expected at most {self._most}")
            taken += size
            self.bytes += size

        try:
            yield take
        finally:
            self.bytes -= taken

    @contextmanager
    def answer(self, size: int) -> Iterator[None]:
        """Count the bytes of an answer, which is computed and so never refused."""
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size


async def read(request: Request, limits: Limits, take: Callable[[int], None]) -> dict[str, Any]:
    """The JSON object of a request; take is given the bytes as they come.

    Raises Malformed, TooLarge or TooSlow, and what take raises.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":  # which also keeps a page of another origin from sending any
        raise Malformed(f"content-type is {shown(media)}, expected application/json")
    data = await _data(request, limits, take)
    try:
        value = orjson.loads(data)
        if _LONG_NUMBER.search(data):
            value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Malformed(f"the body is {shown(value)}, expected a JSON object")
    return value


async def _data(request: Request, limits: Limits, take: Callable[[int], None]) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size <= limits.body_bytes:
                    take(len(part))
                    parts.append(part)
                else:
                    parts.clear()
                if size > _DRAINED * limits.body_bytes:
                    break
    except TimeoutError:
        raise TooSlow(f"the body did not come within {limits.body_seconds:g} s; send it faster or in parts") from None
    except ClientDisconnect:
        raise Malformed("the connection ended before the body did") from None
    if size > limits.body_bytes:
        raise TooLarge(f"the body has more than {limits.body_bytes} bytes; send it in parts")
    return b"".join(parts)


def checked(model: type[B], value: dict[str, Any]) -> B:
    """The object as `model`. Raises Malformed, and InputError for what the model refuses."""
    for name, (harmless, advice) in model.refused.items():
        if (asked := value.get(name)) is not None and asked not in harmless:
            raise InputError(f"{name} is {shown(asked)}, which this server does not do; {advice}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Malformed(_line(error)) from None


def _line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"])) or "the body"
    message = first["msg"]
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "value_error":
        return f"{place} {message.removeprefix('Value error, ')}"
    return f"{place} is {shown(first['input'])}, {message.replace('Input should be', 'expected', 1)}"
