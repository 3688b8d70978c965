"""m3rt bench --server: a live server under both kinds of load, what the numbers mean, bad addresses."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from m3rt import M3Encoder
from m3rt.cli import main
from m3rt.tuning.load import Answer, Target, closed_loop, open_loop, quantile, summary

pytest.importorskip("fastapi", reason="needs the 'server' extra")


@pytest.fixture(scope="module")
def live() -> Iterator[str]:
    from serving import running

    from m3rt.serve.keys import Keys
    from m3rt.serve.service import Service

    with running(Service(M3Encoder(threads=1)), keys=Keys(["key"])) as address:
        yield address


def test_both_loops_count_what_the_server_answers(live: str) -> None:
    texts = ["one", "two words", "three words here"]
    tokens = [len(M3Encoder(threads=1).tokenize(text)) for text in texts]
    target = Target(live, "key")
    for answers in (
        asyncio.run(closed_loop(target, texts, clients=3, seconds=0.3)),
        asyncio.run(open_loop(target, texts, rate=100, seconds=0.3)),
    ):
        assert answers
        assert all(a.status == 200 and a.tokens == tokens[a.text] and 0 < a.seconds <= a.end for a in answers)
    assert 10 <= len(answers) <= 60  # 30 on average, whatever the server's speed


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    """A server that answers nothing for a while holds up those that came meanwhile, too."""
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        body = b'{"usage":{"prompt_tokens":7}}'
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

        def one(connection: socket.socket) -> None:
            with connection:
                while connection.recv(65536):
                    threading.Timer(0.5, stop.set).start()
                    stop.wait(60)
                    connection.sendall(answer)

        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        target = Target(f"http://127.0.0.1:{listener.getsockname()[1]}")
        answers = asyncio.run(open_loop(target, ["x"], rate=50, seconds=0.3))
    assert answers
    assert {(a.status, a.tokens) for a in answers} == {(200, 7)}
    assert min(a.seconds for a in answers) > 0.1  # all of them were due before 0.3 s, and nothing came before 0.5 s


def test_refusals_and_failures_are_counted_apart_from_answers() -> None:
    answers = [Answer(0, status, seconds, 2.0, 5) for status, seconds in ((200, 0.1), (200, 0.3), (429, 0.001), (0, 9))]
    found = summary(answers)
    assert (found["answered"], found["refused"], found["errors"]) == (2, 1, 1)
    assert (found["p50_ms"], found["p99_ms"], found["refused_p50_ms"]) == (100, 300, 1)
    assert (found["requests_per_s"], found["tokens_per_s"]) == (1, 5)
    assert summary([])["p50_ms"] is None
    assert [quantile(list(range(1, 101)), p) for p in (50, 95, 99)] == [50e3, 95e3, 99e3]


def test_the_command_writes_a_table_a_figure_and_json(
    live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="needs the 'eval' extra")
    monkeypatch.setenv("M3RT_API_KEY", "key,other")
    figure = tmp_path / "load.svg"
    options = ["--clients", "2", "--rate", "40", "--seconds", "0.3", "-o", str(figure)]
    assert main(["bench", "--server", live, *options]) == 0
    lines = capfd.readouterr().out.splitlines()
    loads = json.loads(lines[-1])["loads"]
    assert set(loads) == {"2 clients", "40 a second"}
    assert all(load["answered"] > 0 and load["errors"] == load["refused"] == 0 for load in loads.values())
    table = figure.with_suffix(".md").read_text()
    assert table.count("\n") == 4
    assert all(line in lines for line in table.splitlines())
    assert "ms until the answer" in figure.read_text()


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://[::1", "http://x:notaport"])
def test_another_address_is_one_line(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--server", url]) == 2
    assert re.fullmatch(r"m3rt: error: the server is [^\n]*, expected http://HOST:PORT\n", capfd.readouterr().err)


def test_a_server_that_is_not_there_or_keeps_us_out_is_one_line(live: str, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for url, status in ((nobody, 0), (live, 401)):
        assert main(["bench", "--server", url, "--clients", "1", "--seconds", "0.1"]) == 2
        line = rf"m3rt: error: {url} answered no request \(statuses \[{status}\], 0: no connection\); [^\n]*\n"
        assert re.fullmatch(line, capfd.readouterr().err)
