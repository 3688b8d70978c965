"""Whatever a client sends is answered by a line in its dialect's shape, never by a 5xx, and the server goes on."""

import contextlib
import json
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

import pytest
from amount import scaled
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import running

from m3rt import M3Encoder
from m3rt.serve.app import ROUTES
from m3rt.serve.limits import Limits
from m3rt.serve.service import Service

pytest.importorskip("fastapi", reason="needs the 'server' extra")
httpx = pytest.importorskip("httpx")

PATHS = [(route.method, route.path) for route in ROUTES]
JSON = {"content-type": "application/json"}
KEYS = sorted({name for route in ROUTES for model in route.answers for name in model.model_fields})
fuzz = settings(max_examples=scaled(60))

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), VALUES, max_size=6)


def message(answer: Any) -> str:
    """The line of an error, whatever its dialect."""
    body = answer.json()
    error = body.get("error", body.get("message"))
    found = error["message"] if isinstance(error, dict) else error
    assert isinstance(found, str)
    assert found
    assert "\n" not in found
    return found


@pytest.mark.parametrize(("method", "path"), PATHS)
@given(body=BODIES)
@fuzz
def test_any_object_is_answered_or_refused_in_a_line(method: str, path: str, body: dict[str, Any], client: Any) -> None:
    answer = client.request(method, path, content=json.dumps(body).encode(), headers=JSON)
    assert answer.status_code in {200, 400, 404, 413, 422}
    if answer.status_code != 200:
        message(answer)


@given(data=st.binary(max_size=200), route=st.sampled_from(PATHS))
@fuzz
def test_any_bytes_are_refused_as_no_json(data: bytes, route: tuple[str, str], client: Any) -> None:
    answer = client.request(*route, content=data, headers=JSON)
    assert answer.status_code == 400
    message(answer)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embed", "/rerank", "/v1/encode"])
@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b'"text"', b"{", b'{"input": NaN}', b'{"input": "\xff"}', b'{"input": "\\ud800"}',
        b"[" * 100_000, b'{"a":' * 2_000 + b"1" + b"}" * 2_000, b"\x00" * 100, b'{"input": 1' + b"0" * 5000 + b"}",
        b'{"input": ["a", null], "inputs": ["a", null], "query": "a", "texts": ["a", null]}',
        b'{"input": {"a": 1}, "inputs": {"a": 1}, "query": {}, "texts": {}}',
    ],
)  # fmt: skip
def test_a_body_of_the_wrong_shape_is_a_400(path: str, data: bytes, client: Any) -> None:
    answer = client.post(path, content=data, headers=JSON)
    assert answer.status_code == 400
    message(answer)


@pytest.mark.parametrize("text", ["\x00", "\x1b[2J\x07", "\u202e", "\ufeff", "a\x00b" * 50, "\U0010ffff", "́" * 500])
def test_control_bytes_and_odd_characters_are_text(text: str, client: Any) -> None:
    assert client.post("/v1/encode", json={"inputs": text}).status_code == 200


def test_token_ids_are_refused_by_the_name_of_the_switch_that_sends_them(client: Any) -> None:
    for path, key in (("/v1/embeddings", "input"), ("/embed", "inputs"), ("/v1/encode", "inputs")):
        for value in ([[1, 2]], [1, 2], ["a", 3], [[]]):
            answer = client.post(path, json={key: value})
            assert answer.status_code == 400
            assert "check_embedding_ctx_length=False" in message(answer)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/embeddings", {"input": 5}, "input is 5, expected a valid list"),
        ("/v1/embeddings", {"input": []}, "input is empty, expected texts"),
        ("/v1/embeddings", {}, "input is missing"),
        ("/v1/embeddings", {"input": "x", "dimensions": 0}, r"dimensions is 0, expected 1\.\.768"),
        (
            "/v1/embeddings",
            {"input": "x", "encoding_format": "hex"},
            "encoding_format is 'hex', expected 'float' or 'base64'",
        ),
        ("/v1/encode", {"inputs": "x", "return_dense": False}, "nothing to compute: set return_dense"),
        ("/v1/encode", {"inputs": "x", "max_length": 1}, r"max_length is 1, expected 3\.\.512"),
        ("/embed", {"inputs": "x", "prompt_name": "poem"}, "prompt is 'poem', expected one of query, passage"),
        ("/decode", {"ids": [10**9]}, r"a token id is 1000000000, expected 0\.\."),
        ("/v1/search", {"query": "x"}, "index is missing, expected one of: none; start the server with"),
    ],
)
def test_an_error_says_got_expected_and_what_to_do(path: str, body: Any, expected: str, client: Any) -> None:
    import re

    answer = client.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert re.match(expected, message(answer)), message(answer)


def test_each_dialect_has_its_own_shape_of_an_error(client: Any) -> None:
    assert client.post("/v1/embeddings", json={}).json()["error"].keys() == {"message", "type", "param", "code"}
    assert client.post("/embed", json={}).json() == {"error": "inputs is missing", "error_type": "Validation"}
    assert client.post("/embed", json={"inputs": []}).json()["error_type"] == "Empty"
    assert client.post("/v2/rerank", json={}).json() == dict.fromkeys(("message", "detail"), "query is missing")
    assert client.post("/rerank", json={}).json().keys() == {"error", "error_type", "message", "detail"}


def test_other_media_types_are_refused(client: Any) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = client.post("/v1/embeddings", content=b'{"input": "x"}', headers={"content-type": media})
        assert answer.status_code == 400
        assert "expected application/json" in message(answer)
    fine = client.post(
        "/embed", content=b'{"inputs": "x"}', headers={"content-type": "Application/JSON; charset=utf-8"}
    )
    assert fine.status_code == 200


def test_unknown_paths_and_methods_are_refused_in_a_line(client: Any) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/embed", 405), ("POST", "/live", 405)):
        answer = client.request(method, path)
        assert (answer.status_code, message(answer)) == (status, f"{method} '{path}' is not a route of this server")


def test_more_than_the_limits_is_refused_before_work(tiny: M3Encoder) -> None:
    limits = Limits(body_bytes=1000, items=3, characters=100, queue_tokens=30)
    with running(Service(tiny, limits=limits)) as address, httpx.Client(base_url=address, timeout=60) as client:
        for inputs, expected in (
            (["x" * 1000], "the body has more than 1000 bytes"),
            (["x"] * 4, "the request holds 4 texts, expected at most 3"),
            (["x" * 60, "y" * 60], "the request holds 120 characters, expected at most 100"),
            (["a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 + - * /"], "the request costs"),
        ):
            answer = client.post("/embed", json={"inputs": inputs})
            assert (answer.status_code, expected in message(answer)) == (413, True), answer.text
        assert (
            client.post("/embed", content=iter([b'{"inputs": "'] + [b"x" * 100] * 30), headers=JSON).status_code == 413
        )
        answer = client.post(
            "/tokenize", json={"inputs": "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3"}
        )
        assert (answer.status_code, "tokens, expected at most 30" in message(answer)) == (413, True)
        assert client.post("/embed", json={"inputs": ["x"] * 3}).status_code == 200


def test_bodies_that_are_held_at_once_have_a_bound_together(tiny: M3Encoder) -> None:
    with (
        running(Service(tiny, limits=Limits(body_bytes=1000, body_seconds=60))) as address,
        contextlib.ExitStack() as stack,
    ):
        half = request("/embed", b'{"inputs": "' + b"x" * 900, length=950)
        socks = [stack.enter_context(connected(address)) for _ in range(4)]
        for sock in socks:
            sock.sendall(half)
        answer: Any = None
        while answer is None or answer.status_code == 200:  # until all four halves have been read
            answer = httpx.post(f"{address}/embed", json={"inputs": "x" * 800})
        assert (answer.status_code, "bytes of requests are being answered" in message(answer)) == (429, True)
        assert int(answer.headers["retry-after"]) >= 1
        for sock in socks:
            sock.close()
        while answer.status_code != 200:
            answer = httpx.post(f"{address}/embed", json={"inputs": "x" * 800})


def test_a_body_that_does_not_come_is_given_up(tiny: M3Encoder) -> None:
    with running(Service(tiny, limits=Limits(body_seconds=0.2))) as address, connected(address) as sock:
        sock.sendall(request("/embed", b"{", length=100))
        assert b" 408 " in received(sock).split(b"\r\n")[0]


def connected(address: str) -> socket.socket:
    parts = urlsplit(address)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def request(path: str, body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    )
    return head.encode() + body


def received(sock: socket.socket) -> bytes:
    data = b""
    while part := sock.recv(1 << 16):
        data += part
        if b"\r\n\r\n" in data:
            break
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x00" * 1000,
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000, b"POST /embed HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        request("/embed", b'{"inputs":', length=1000), request("/embed", b'{"inputs": "x"}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["half-close", "close", "reset"])
def test_broken_connections_leave_the_server_as_it_was(data: bytes, end: str, address: str, client: Any) -> None:
    with connected(address) as sock:
        try:
            sock.sendall(data)
            if end == "half-close":
                sock.shutdown(socket.SHUT_WR)
                received(sock)
            elif end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # the server was faster
    assert client.post("/embed", json={"inputs": "x"}).status_code == 200
