"""Without keys, a server answers to the names that it knows: a page that was rebound to it comes with another one."""

from collections.abc import Iterator

import pytest
from serving import running

from m3rt import InputError, M3Encoder

pytest.importorskip("fastapi", reason="needs the 'server' extra")
httpx = pytest.importorskip("httpx")

from m3rt.serve.hosts import Hosts  # noqa: E402
from m3rt.serve.keys import Keys  # noqa: E402
from m3rt.serve.service import Service  # noqa: E402


@pytest.fixture(scope="module")
def address(tiny: M3Encoder) -> Iterator[str]:
    with running(Service(tiny), hosts=Hosts(["Embed.Example", "fd00::7"])) as address:
        yield address


def status(address: str, host: str, path: str = "/embed", **headers: str) -> int:
    answer = httpx.post(f"{address}{path}", json={"inputs": "x"}, headers={"host": host, **headers})
    assert "\n" not in answer.text
    return int(answer.status_code)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8080",
     "embed.example:443", "[fd00::7]:80"],
)  # fmt: skip
def test_loopback_and_names_that_are_allowed_are_answered(host: str, address: str) -> None:
    assert status(address, host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.1", "[::2]",
     "", "x.embed.example"],
)  # fmt: skip
def test_any_other_name_is_refused_in_the_dialect_of_the_route(host: str, address: str) -> None:
    assert status(address, host) == 403
    assert httpx.get(f"{address}/v1/documents", headers={"host": host}).status_code == 403
    answer = httpx.post(f"{address}/embed", json={"inputs": "x"}, headers={"host": "evil.example"})
    assert answer.json()["error"].startswith("the host is 'evil.example', expected localhost or")
    assert httpx.get(f"{address}/live", headers={"host": host}).status_code == 200


def test_a_key_is_proof_enough_under_any_name(tiny: M3Encoder) -> None:
    with running(Service(tiny), keys=Keys(["secret"])) as address:
        assert status(address, "evil.example", authorization="Bearer secret") == 200
        assert status(address, "evil.example") == 401


@pytest.mark.parametrize("name", ["", " ", "a.example,b.example", "http://a.example", "*"])
def test_what_is_no_single_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"the allowed host is .*, expected one name or address"):
        Hosts([name])
