"""m3rt load: texts or an index in, a collection out; a second run adds nothing, and a killed one goes on."""

import io
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences

from m3rt import HybridIndex, InputError, M3Encoder
from m3rt.cli import main

TEXTS = [f"{sentence} {i}" for i, sentence in enumerate(sentences()[:40])]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_THREADS", "1")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    rows = [{"id": f"d{i}", "text": text, "n": i} for i, text in enumerate(TEXTS)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> HybridIndex:
    index = HybridIndex.create(tmp_path_factory.mktemp("index") / "index", dense="float32", colbert="int8")
    index.add([f"d{i}" for i in range(len(TEXTS))], TEXTS, metadata=[{"n": i} for i in range(len(TEXTS))])
    index.delete(["d3"])
    return index


def fed(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_feed_holds_each_text_with_its_vectors_once(texts: Path, tmp_path: Path, capsys: Captured) -> None:
    feed = tmp_path / "feed.jsonl"
    assert main(["load", f"vespa:{feed}", "-i", str(texts), "--collection", "docs", "--colbert"]) == 0
    assert "40 documents added to docs, none truncated" in capsys.readouterr().err
    out = M3Encoder(threads=1).encode_corpus(TEXTS, return_sparse=True, return_colbert_vecs=True)
    assert out.sparse is not None
    assert out.colbert_vecs is not None
    for i, row in enumerate(fed(feed)):
        assert row["put"] == f"id:docs:m3::d{i}"
        fields = row["fields"]
        assert (fields["text"], json.loads(fields["metadata"])) == (TEXTS[i], {"n": i})
        np.testing.assert_allclose(fields["dense"]["values"], out.dense_vecs[i], atol=1e-4)
        assert list(fields["sparse"]) == [str(token) for token in out.sparse.row(i)[0]]
        assert len(fields["colbert"]) == len(out.colbert_vecs[i])
    assert main(["load", f"vespa:{feed}", "-i", str(texts), "--collection", "docs", "--colbert"]) == 0
    assert "0 documents added to docs, 40 there already" in capsys.readouterr().err
    assert len(fed(feed)) == 40


def test_an_index_is_loaded_with_the_vectors_that_it_stores(index: HybridIndex, tmp_path: Path) -> None:
    feed = tmp_path / "feed.jsonl"
    assert main(["load", f"vespa:{feed}", "--index", str(index.path)]) == 0
    out = M3Encoder(threads=1).encode_corpus(TEXTS, return_sparse=True)
    rows = {row["fields"]["id"]: row["fields"] for row in fed(feed)}
    assert sorted(rows) == sorted(f"d{i}" for i in range(40) if i != 3)
    for i in (0, 17, 39):
        fields = rows[f"d{i}"]
        assert (fields["text"], json.loads(fields["metadata"])) == (TEXTS[i], {"n": i})
        np.testing.assert_allclose(fields["dense"]["values"], out.dense_vecs[i], atol=1e-4)
        assert {int(t): w for t, w in fields["sparse"].items()} == pytest.approx(
            (out.lexical_weights or [])[i], abs=1e-4
        )
        assert "colbert" not in fields


def test_chunks_of_an_index_are_documents_that_name_their_own(tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", chunk_tokens=32, chunk_overlap=8)
    index.add(["long", "short"], [". ".join(TEXTS[:12]), "short"], metadata=[{"n": 1}, {}])
    feed = tmp_path / "feed.jsonl"
    assert main(["load", f"vespa:{feed}", "--index", str(index.path)]) == 0
    rows = [row["fields"] for row in fed(feed)]
    assert len(rows) == index.info()["rows"] > 3
    for row in rows[:-1]:
        metadata = json.loads(row["metadata"])
        assert (metadata["document"], metadata["n"]) == ("long", 1)
        assert row["id"] == f"long#{metadata['span'][0]}"
        assert row["text"] == ". ".join(TEXTS[:12])[slice(*metadata["span"])]
    assert rows[-1]["id"] == "short"


@pytest.mark.parametrize(
    ("product", "package"), [("qdrant", "qdrant_client"), ("milvus", "milvus_lite"), ("lance", "lancedb")]
)
@pytest.mark.filterwarnings("ignore")  # the databases' own, which change with each version
def test_a_database_gets_texts_and_an_index_alike(
    product: str, package: str, texts: Path, index: HybridIndex, tmp_path: Path, capsys: Captured
) -> None:
    pytest.importorskip(package, reason=f"needs {package}")
    from m3rt.adapters import Layout, opened

    place = f"{product}:{tmp_path / 'docs.db'}"
    assert main(["load", place, "-i", str(texts), "--collection", "texts", "--batch", "16"]) == 0
    assert main(["load", place, "--index", str(index.path), "--collection", "index", "--batch", "16"]) == 0
    assert main(["load", place, "--index", str(index.path), "--collection", "texts"]) == 0
    err = capsys.readouterr().err
    assert "40 documents added to texts" in err
    assert "39 documents added to index" in err
    assert "0 documents added to texts, 39 there already" in err
    assert main(["load", place, "-i", str(texts), "--collection", "texts", "--no-sparse"]) == 2
    assert "exists with" in capsys.readouterr().err
    encoder = M3Encoder(threads=1)
    layout = Layout.of(encoder)
    with pytest.raises(InputError, match="exists with"):
        opened(place, "texts", Layout(8))
    # The one that was refused keeps nobody out.
    for name, count in (("texts", 40), ("index", 39)):
        collection: Any = opened(place, name, layout)
        query = encoder.encode_queries(TEXTS[5], return_sparse=True)
        hits = collection.search(query, 100, mode="dense")
        assert Counter(hit.id for hit in hits) == Counter({f"d{i}" for i in range(40) if name == "texts" or i != 3})
        assert (len(hits), hits[0].id, hits[0].text, hits[0].metadata) == (count, "d5", TEXTS[5], {"n": 5})
        collection.close()


def test_a_feed_goes_on_after_a_kill_that_left_half_a_line(texts: Path, tmp_path: Path) -> None:
    feed = tmp_path / "feed.jsonl"
    command = [
        sys.executable,
        "-m",
        "m3rt",
        "load",
        f"vespa:{feed}",
        "-i",
        str(texts),
        "--batch",
        "4",
        "--threads",
        "1",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (feed.exists() and feed.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
    with feed.open("ab") as file:
        file.write(b'{"put": "id:m3rt:m3::d39", "fields": {"id": "d')
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert Counter(row["fields"]["id"] for row in fed(feed)) == Counter(f"d{i}" for i in range(40))


def test_what_cannot_be_loaded_is_one_line(texts: Path, index: HybridIndex, tmp_path: Path, capsys: Captured) -> None:
    bare, twice, other = tmp_path / "bare.txt", tmp_path / "twice.jsonl", tmp_path / "other.jsonl"
    bare.write_text("no id\n")
    twice.write_text('{"id": 1, "text": "a"}\n' * 2)
    other.write_text('{"id": 1, "text": "a"}\n')
    feed = f"vespa:{tmp_path / 'feed.jsonl'}"
    lacking = HybridIndex.create(tmp_path / "lacking", sparse=False)
    for args, words in (
        ([feed], "Expected either -i FILE"),
        ([feed, "-i", str(texts), "--index", str(index.path)], "Expected either -i FILE"),
        (
            ["oracle:docs", "-i", str(texts)],
            "'oracle:docs' is no place of a database, expected qdrant:, milvus:",
        ),
        (["vespa:", "-i", str(texts)], "'vespa:' is no place"),
        (["mysql://me:sec@host/docs", "-i", str(texts)], "'mysql://host/docs' is no place"),
        ([feed, "-i", str(bare)], "text 0 has no id"),
        ([feed, "-i", str(twice)], "has the id '1' again"),
        ([feed, "-i", str(texts), "--collection", ""], "the namespace is ''"),
        ([feed, "-i", str(texts), "--collection", "a:b"], "the namespace is 'a:b'"),
        ([f"vespa:{other}", "-i", str(texts)], "has other lines than puts of the namespace m3rt"),
        ([f"vespa:{tmp_path / 'no' / 'feed'}", "-i", str(texts)], "cannot be written: No such file"),
        ([feed, "-i", str(texts), "--key", "k"], "a key is for a server"),
        ([feed, "--index", str(lacking.path)], "stores no sparse vectors"),
    ):
        assert main(["load", *args]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert len(err.splitlines()) == 1
    assert other.read_text() == '{"id": 1, "text": "a"}\n'
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("feed", ".feed"))]


@pytest.mark.parametrize("line", [b'{"text": "no id"}', b'{"id": "a"}', b"{"])
def test_nothing_is_made_for_a_stream_whose_first_text_is_refused(
    line: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line + b"\n")))
    place = f"vespa:{tmp_path / 'feed.jsonl'}"
    assert main(["load", place, "-i", "-", "--input-format", "jsonl"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_feed_that_another_process_writes_is_left_alone(texts: Path, tmp_path: Path, capsys: Captured) -> None:
    from m3rt.adapters import Layout
    from m3rt.adapters.vespa_feed import VespaFeed

    feed = VespaFeed(tmp_path / "feed.jsonl", "m3rt", Layout(8))
    assert main(["load", f"vespa:{feed.path}", "-i", str(texts)]) == 2
    assert "another process writes" in capsys.readouterr().err
    feed.close()


@pytest.mark.parametrize(
    ("place", "package"),
    [
        ("qdrant://localhost:1", "qdrant_client"),
        ("postgresql://me:secret@localhost:1/docs", "psycopg"),
        ("postgres://me:sec/ret@localhost:1/docs", "psycopg"),
    ],
)
def test_a_database_that_is_down_is_one_line_without_its_password(
    place: str, package: str, texts: Path, capsys: Captured
) -> None:
    pytest.importorskip(package, reason=f"needs {package}")
    assert main(["load", place, "-i", str(texts)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "cannot be opened" in err
    assert "sec" not in err
