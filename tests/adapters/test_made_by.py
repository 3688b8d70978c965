"""Collections remember which model made their vectors: one of another model is refused, an unknown one is told."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from m3rt_export import export

from m3rt import HybridIndex, InputError, M3Encoder
from m3rt.adapters import Layout, load, load_index, opened
from m3rt.cli import main
from m3rt.input import Record

pytestmark = pytest.mark.filterwarnings("ignore", "always:.* does not say")  # others are the databases' own

PACKAGES = {"qdrant": "qdrant_client", "milvus": "milvus_lite", "lance": "lancedb", "postgres": "psycopg", "vespa": ""}
_NUMBERS = count()
TEXTS = ["Tokyo Tower", "a night train", "apple cake"]


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same shape as bundle_fp32's, with other weights."""
    folder = tmp_path_factory.mktemp("other")
    write_checkpoint(folder / "other-m3", seed=1)
    return export(folder / "other-m3", folder / "bundle", precision="fp32").path


@pytest.fixture(params=list(PACKAGES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    product = request.param
    if package := PACKAGES[product]:
        pytest.importorskip(package, reason=f"needs {package}")
    if product == "postgres":
        server = request.getfixturevalue("postgres")
        name = f"made_by_{next(_NUMBERS)}"
        server.psql(f"create database {name}")
        return str(server.get_uri(database=name))
    return f"{product}:{tmp_path / 'docs.db'}"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    return path


def run(place: str, texts: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["load", place, "-i", str(texts), "-m", str(model), "--collection", "docs", "--threads", "1"])
    return status, capsys.readouterr().err


def test_a_load_goes_on_with_its_model_in_any_precision_and_refuses_another_of_the_same_width(
    place: str,
    texts: Path,
    bundle_fp32: Path,
    bundle_int8: Path,
    other_bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(place, texts, bundle_fp32, capsys)[0] == 0
    texts.write_text(texts.read_text() + '{"id": "d3", "text": "river"}\n')
    status, err = run(place, texts, other_bundle, capsys)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert "docs" in err
    assert "has vectors of tiny-m3 fp32 (" in err
    assert "not of other-m3 fp32 (" in err
    assert "give that model or choose another name" in err
    status, err = run(place, texts, bundle_int8, capsys)
    assert status == 0
    assert "1 document added to docs, 3 there already" in err
    assert "warning" not in err


def test_a_collection_that_does_not_say_its_model_is_told_and_goes_on(
    place: str, texts: Path, bundle_fp32: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = M3Encoder(bundle_fp32, threads=1)
    made = Layout.of(encoder)
    collection: Any = opened(place, "docs", Layout(made.dense, made.sparse))
    load(collection, encoder, [Record(TEXTS[0], "d0")])
    collection.close()
    status, err = run(place, texts, bundle_fp32, capsys)
    assert status == 0
    assert "docs" in err
    assert "does not say which model made its vectors; they compare with those of tiny-m3 fp32" in err
    assert "2 documents added to docs, 1 there already" in err


def test_embeddings_of_unknown_origin_search_any_collection(place: str, texts: Path, bundle_fp32: Path) -> None:
    assert main(["load", place, "-i", str(texts), "-m", str(bundle_fp32), "--collection", "docs"]) == 0
    made = Layout.of(M3Encoder(bundle_fp32, threads=1))
    collection: Any = opened(place, "docs", Layout(made.dense, made.sparse))
    assert collection.missing(["d0", "new"]) == ["new"]
    collection.close()


def test_a_load_of_what_the_collection_was_not_opened_for_is_refused(
    bundle_fp32: Path, other_bundle: Path, tmp_path: Path
) -> None:
    encoder, other = M3Encoder(bundle_fp32, threads=1), M3Encoder(other_bundle, threads=1)
    collection = opened(f"vespa:{tmp_path / 'feed.jsonl'}", "docs", Layout.of(encoder))
    with pytest.raises(InputError, match=r"docs was opened for vectors of tiny-m3 fp32 .*, not of other-m3 fp32"):
        load(collection, other, [Record("a", "a")])
    index = HybridIndex.create(tmp_path / "index", other)
    with pytest.raises(InputError, match=r"docs was opened for vectors of tiny-m3 fp32 .*, not of other-m3 fp32"):
        load_index(collection, index)
    assert collection.missing(["a"]) == ["a"]
    collection.close()
