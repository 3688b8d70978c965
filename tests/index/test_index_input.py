"""Bad input to HybridIndex: one line that says what was got and what to do, and nothing is lost."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import DIM, documents, embeddings

from m3rt import Embeddings, HybridIndex, HybridIndexError, InputError, M3Encoder, OutputError
from m3rt.bundle import open_bundle
from m3rt.index.choices import COLBERT_PRECISIONS, DENSE_PRECISIONS
from m3rt.index.store.precisions import COLBERT, DENSE

DOCS = documents(4)
QUERY = embeddings(DOCS[:1])


@pytest.fixture
def index(tmp_path: Path) -> HybridIndex:
    made = HybridIndex.create(tmp_path / "index", dim=DIM, colbert="int8")
    made.add(["a", "b"], embeddings=embeddings(DOCS[:2]), metadata=[{"lang": "de"}, None])
    return made


def unchanged(index: HybridIndex) -> None:
    for opened in (index, HybridIndex(index.path)):
        assert len(opened) == 2
        assert {hit.id for hit in opened.search(QUERY)} == {"a", "b"}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("ab", "ids is a str, expected a list of str"),
        (7, "ids is an int"),
        (["c", 7], "id 1 is 7, expected a string"),
        (["c", ""], "id 1 is '', expected a string of at least one character"),
        (["c", "c"], "id 1 is 'c' again, as id 0; give each id once"),
        (["c", "\ud800"], "id 1 holds a lone surrogate"),
        (["c"], "embeddings hold 2 texts for 1 id"),
    ],
)
def test_ids_that_are_none_are_refused(ids: Any, message: str, index: HybridIndex) -> None:
    with pytest.raises(InputError, match=message):
        index.add(ids, embeddings=embeddings(DOCS[2:4]))
    unchanged(index)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"texts": ["one"]}, "1 texts for 2 ids"),
        ({"texts": ["one", 2]}, "text 1 is an int, expected str"),
        ({"texts": "ab"}, "texts is a str, expected a list"),
        ({"metadata": [{}]}, "1 metadata for 2 ids"),
        ({"metadata": {"c": 1}}, "metadata is a dict, expected a list"),
        ({"metadata": [{}, "x"]}, "metadata 1 is 'x', expected"),
        ({"metadata": [{}, {7: 1}]}, "metadata 1 is {7: 1}, expected"),
        ({"metadata": [{}, {"x": {1, 2}}]}, "metadata of id 'd' is not JSON"),
        ({"metadata": [{}, {"x": float("nan")}]}, "metadata of id 'd' is not JSON"),
        ({"metadata": [{}, {"x": "\ud800"}]}, "metadata of id 'd' is not JSON"),
    ],
)
def test_texts_and_metadata_that_do_not_fit_are_refused(given: Any, message: str, index: HybridIndex) -> None:
    with pytest.raises(InputError, match=message):
        index.add(["c", "d"], embeddings=embeddings(DOCS[2:4]), **given)
    unchanged(index)


def damaged(**parts: Callable[[Any], Any]) -> Embeddings:
    out = embeddings(DOCS[2:4])
    return dataclasses.replace(out, **{name: change(getattr(out, name)) for name, change in parts.items()})


def with_item(array: Any, item: Any) -> Any:
    copy = array.copy()
    copy.flat[-1] = item
    return copy


def with_terms(sparse: Any, item: Any) -> Any:
    """The last token id replaced, in an array of the number's own type."""
    return dataclasses.replace(sparse, indices=with_item(sparse.indices.astype(type(item)), item))


def with_weight(sparse: Any, item: float) -> Any:
    return dataclasses.replace(sparse, values=with_item(sparse.values.astype(np.float64), item))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (damaged(dense_vecs=lambda v: v[:, :8]), r"dense vectors have shape \(2, 8\), expected \(2, 16\)"),
        (damaged(dense_vecs=lambda v: None), "embeddings hold no dense output"),
        (damaged(dense_vecs=lambda v: with_item(v, np.nan)), "dense vectors 0 to 1 are not all finite"),
        (
            damaged(dense_vecs=lambda v: with_item(v.astype(np.float64), 1e300)),
            "dense vectors 0 to 1 are not all finite",
        ),
        (damaged(sparse=lambda s: None), "embeddings hold no sparse output"),
        (damaged(sparse=lambda s: with_terms(s, 2**32 + 7)), "token ids of lexical weights must be 0 to 2147483647"),
        (damaged(sparse=lambda s: with_terms(s, 1e6)), "token ids of lexical weights must be 0 to 2147483647"),
        (damaged(sparse=lambda s: with_weight(s, 1e300)), "finite and >= 0"),
        (damaged(sparse=lambda s: dataclasses.replace(s, indices=s.indices[::-1])), "sorted and distinct"),
        (damaged(sparse=lambda s: dataclasses.replace(s, values=-s.values)), "finite and >= 0"),
        (damaged(sparse=lambda s: dataclasses.replace(s, indptr=s.indptr[::-1])), "sparse indptr must be 3 numbers"),
        (damaged(multi=lambda m: None), "embeddings hold no colbert output"),
        (damaged(multi=lambda m: dataclasses.replace(m, vectors=with_item(m.vectors, np.inf))), "not all finite"),
        (damaged(multi=lambda m: dataclasses.replace(m, offsets=m.offsets[:-1])), "ColBERT offsets must be 3 numbers"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(out: Embeddings, message: str, index: HybridIndex) -> None:
    with pytest.raises(InputError, match=message):
        index.add(["c", "d"], embeddings=out)
    unchanged(index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0, expected 1"),
        ({"k": -3}, "k is -3"),
        ({"k": 2.5}, "k is 2.5, expected a whole number"),
        ({"candidates": 0}, "candidates is 0"),
        ({"mode": "lexical"}, "mode is 'lexical', expected one of hybrid, dense"),
        ({"fusion": "mean"}, "fusion is 'mean', expected 'rrf' or three weights"),
        ({"fusion": (1, 1)}, "expected 'rrf' or three weights"),
        ({"fusion": (1, -1, 1)}, "expected 'rrf' or three weights"),
        ({"fusion": (0, 0, 0)}, "not all 0"),
        ({"fusion": (1, float("nan"), 1)}, "expected 'rrf' or three weights"),
        ({"filter": {"land": "de"}}, "field 'land', which no document of the index has"),
        ({"filter": "lang=de"}, "filter is a str"),
        ({"filter": {"lang": [["de"]]}}, "expected a string, number, boolean or None"),
        ({"filter": {1: "de"}}, "expected a string, number, boolean or None"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: Any, message: str, index: HybridIndex) -> None:
    with pytest.raises(InputError, match=message):
        index.search(QUERY, **options)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (embeddings(DOCS[:2]), "embeddings hold 2 queries, expected one"),
        (embeddings([]), "embeddings hold 0 queries"),
        (dataclasses.replace(QUERY, dense_vecs=None), "query 0 has no dense output, which this search needs"),
        (dataclasses.replace(QUERY, dense_vecs=QUERY.dense_vecs[:, :8]), "8 components, expected 16"),  # type: ignore[index]
        (dataclasses.replace(QUERY, dense_vecs=QUERY.dense_vecs * np.nan), "dense output of query 0 is not finite"),  # type: ignore[operator]
        (dataclasses.replace(QUERY, dense_vecs=with_item(QUERY.dense_vecs.astype(np.float64), 1e300)), "is not finite"),  # type: ignore[union-attr]
        (dataclasses.replace(QUERY, sparse=with_terms(QUERY.sparse, 2**32 + 7)), "query 0 need token ids"),
        (dataclasses.replace(QUERY, sparse=with_weight(QUERY.sparse, 1e300)), "sparse output of query 0 is not finite"),
        ("text", "was built from embeddings, .*; give embeddings"),
        ("", "query 0 is empty"),
        (7, "text 0 is an int, expected str"),
    ],
)
def test_queries_that_do_not_fit_are_refused(query: Any, message: str, index: HybridIndex) -> None:
    with pytest.raises(InputError, match=message):
        index.search(query)


def test_a_view_that_is_not_stored_is_refused(tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", dim=DIM)
    with pytest.raises(InputError, match="stores no colbert vectors, only dense, sparse"):
        index.search(QUERY, mode="colbert")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dense_dim is 0"),
        ({"dim": 16, "dense": "int4"}, "dense is 'int4', expected None or one of"),
        ({"dim": 16, "colbert": "float32"}, "colbert is 'float32'"),
        ({"dim": 12, "dense": "binary"}, "dense_dim is 12, expected a multiple of 8"),
        ({"dim": 16, "dense": None, "sparse": False}, "an index of nothing"),
        ({"dim": 16, "chunk_tokens": 128}, "no chunk_tokens"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        HybridIndex.create(tmp_path / "index", **settings)
    assert not (tmp_path / "index").exists()


def test_what_is_no_index_is_told_so(index: HybridIndex, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, message in (("nowhere", "does not exist"), (".", "has no index.json"), ("file", "is no directory")):
        with pytest.raises(HybridIndexError, match=message):
            HybridIndex(tmp_path / path)
    for taken in (index.path, tmp_path):
        with pytest.raises(OutputError, match="or choose another name"):
            HybridIndex.create(taken, dim=DIM)
    unchanged(index)


def test_an_index_is_not_made_where_a_file_is(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("kept")
    with pytest.raises(OutputError, match=r"is no directory; choose another name for the index$"):
        HybridIndex.create(place)
    assert place.read_text() == "kept"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: "{", "damaged"),
        (lambda m: "[]", "damaged"),
        (lambda m: m | {"format_version": 9, "m3rt_version": "9.0"}, "format 9 .written by m3rt 9.0., this m3rt"),
        (lambda m: m | {"settings": m["settings"] | {"dense": "int3"}}, "damaged"),
        (lambda m: m | {"surprise": 1}, "damaged"),
        (lambda m: m | {"commit": float("nan")}, "commit is nan"),
        (lambda m: m | {"commit": -1}, "commit is -1"),
        (lambda m: m | {"next_segment": 1e300}, "next_segment is 1e"),
        (lambda m: m | {"next_segment": 1}, "segments have the names .'00000001'., each expected once and below 1"),
        (lambda m: m | {"segments": m["segments"] * 2}, "each expected once"),
        (lambda m: m | {"segments": [m["segments"][0] | {"rows": "2"}]}, "damaged"),
        (lambda m: m | {"segments": [m["segments"][0] | {"documents": 10**30}]}, "counts more documents than"),
        (lambda m: m | {"segments": [m["segments"][0] | {"deleted": -7}]}, "segments is"),
        (lambda m: m | {"settings": m["settings"] | {"sparse": "yes"}}, "settings is"),
        (lambda m: m | {"note": "text"}, "note is 'text'"),
        (lambda m: '{"format_version": 2, "note": ' + '{"a":' * 900 + "1" + "}" * 901, "damaged"),
        (lambda m: m | {"commit": True}, "damaged|commit is True"),
        (lambda m: json.dumps(m).replace('"commit": 1', '"commit": 1' + "0" * 400), "damaged|commit is 10"),
        (lambda m: json.dumps(m).replace('"commit": 1', '"commit": NaN'), "damaged|commit is nan"),
        (lambda m: m | {"model": {}}, "damaged"),
        (lambda m: m | {"segments": [m["segments"][0] | {"name": "../../etc"}]}, "unusable name"),
        (
            lambda m: m | {"segments": [m["segments"][0] | {"files": {"../x.npy": {"size": 1, "sha256": ""}}}]},
            "unusable",
        ),
    ],
)
def test_a_damaged_manifest_is_one_line(change: Any, message: str, index: HybridIndex) -> None:
    manifest = index.path / "index.json"
    changed = change(json.loads(manifest.read_text()))
    manifest.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(HybridIndexError, match=message) as caught:
        HybridIndex(index.path)
    assert str(caught.value).startswith(f"{index.path}: ")
    assert "\n" not in str(caught.value)


def test_an_array_of_another_shape_is_a_damaged_segment(index: HybridIndex) -> None:
    from m3rt.host.files import record

    folder = index.path / "segments" / "00000001"
    np.save(folder / "dense.codes.npy", np.zeros((2, 8), np.int8))
    manifest = json.loads((index.path / "index.json").read_text())
    manifest["segments"][0]["files"]["dense.codes.npy"] = dataclasses.asdict(record(folder / "dense.codes.npy"))
    (index.path / "index.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match=r"dense.codes.npy is int8 \(2, 8\), expected i1 \(2, 16\)"):
        assert len(HybridIndex(index.path)) == 0


def test_an_index_of_another_model_is_refused_and_named(fp32: M3Encoder, bundle_fp32: Path, tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", fp32)
    index.add(["a"], ["a text"])
    other = shutil.copytree(bundle_fp32, tmp_path / "other")
    manifest = json.loads((other / "m3rt.json").read_text("utf-8"))
    for file in manifest["source"]["files"].values():
        file["sha256"] = "0" * 64
    (other / "m3rt.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(HybridIndexError, match=r"was made by tiny-m3 fp32 \(\w{12}\), not by tiny-m3 fp32"):
        HybridIndex(tmp_path / "index", other)
    with pytest.raises(HybridIndexError, match="was built from embeddings, so it has no model"):
        HybridIndex(HybridIndex.create(tmp_path / "none", dim=DIM).path, bundle_fp32)


def test_a_model_that_has_moved_is_asked_for(bundle_fp32: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(bundle_fp32, tmp_path / "moved")
    HybridIndex.create(tmp_path / "index", moved).add(["a"], ["a text"])
    shutil.rmtree(moved)
    with pytest.raises(
        InputError, match=r"which is not at .* any more, nor is it m3-tiny .*; give its path with model="
    ):
        HybridIndex(tmp_path / "index").search("text")
    assert HybridIndex(tmp_path / "index", bundle_fp32).search("text")[0].id == "a"


def test_a_model_without_heads_is_told_what_it_cannot_store(bundle_fp32: Path, tmp_path: Path) -> None:
    from checkpoints import write_checkpoint
    from m3rt_export import export

    dense = export(write_checkpoint(tmp_path / "dense", kind="dense"), tmp_path / "bundle", dense_only=True)
    with pytest.raises(InputError, match="dense vectors only; pass sparse=False"):
        HybridIndex.create(tmp_path / "index", dense.path)
    index = HybridIndex.create(tmp_path / "index", dense.path, sparse=False)
    index.add(["a", "b"], ["one text", "another"])
    assert index.search("one text")[0].id == "a"


def test_truncated_texts_are_counted_and_chunks_are_not_truncated(fp32: M3Encoder, tmp_path: Path) -> None:
    long = " ".join(f"word{i}" for i in range(300))
    whole = HybridIndex.create(tmp_path / "whole", fp32).add(["a", "b"], [long, "short"])
    assert (whole.documents, whole.rows, whole.truncated) == (2, 2, 1)
    index = HybridIndex.create(tmp_path / "chunks", fp32, chunk_tokens=64, chunk_overlap=8)
    added = index.add(["a", "b"], [long, "short"], metadata=[{"lang": "x"}, {}])
    assert (added.documents, added.truncated, len(index)) == (2, 0, 2)
    assert added.rows > 5
    for mode in ("hybrid", "dense", "sparse"):
        hits = index.search("word250 word251 word252", mode=mode).hits  # type: ignore[arg-type]
        assert len({hit.id for hit in hits}) == len(hits) <= 2
        for hit in hits:
            assert hit.text == (long if hit.id == "a" else "short")[slice(*(hit.span or (None,)))]
    assert len(index.search("word250", 2, mode="dense")) == 2  # many chunks of one document leave room for the other
    assert index.search("word1", filter={"lang": "x"})[0].metadata == {"lang": "x"}
    assert index.delete(["a"]) == 1
    assert [hit.id for hit in index.search("word250", mode="dense")] == ["b"]


def test_metadata_of_numpy_and_parquet_is_kept_as_json_has_it(index: HybridIndex) -> None:
    found = {"n": np.int64(7), "on": date(2026, 1, 2), "many": [1, 2]}
    index.add(["c"], embeddings=embeddings(DOCS[2:3]), metadata=[found])
    (hit,) = index.search(QUERY, filter={"n": 7, "on": "2026-01-02"})
    assert hit.metadata == {"n": 7, "on": "2026-01-02", "many": [1, 2]}


def test_a_filter_means_its_own_field_and_value_only(index: HybridIndex) -> None:
    index.add(["c"], embeddings=embeddings(DOCS[2:3]), metadata=[{"a": "b", "x\0y": "z", "lone": None}])
    for wanted in ({"a": "\0"}, {"x": "y\0z"}, {"a": "\ud800"}, {"lone": "None"}):
        with suppress(InputError):  # no document has that field
            assert index.search(QUERY, filter=wanted).hits == ()
    for wanted in ({"a": "b"}, {"x\0y": "z"}, {"lone": None}):
        assert [hit.id for hit in index.search(QUERY, filter=wanted)] == ["c"]


@pytest.mark.parametrize("note", [{"x": {1}}, {"x": "\ud800"}, {"x": float("inf")}, {1: "x"}, "text", [1]])
def test_a_note_that_is_none_is_refused(note: Any, index: HybridIndex) -> None:
    with pytest.raises(InputError, match=r"note is .*, expected an object that JSON can hold"):
        index.add(["c"], embeddings=embeddings(DOCS[2:3]), note=note)
    unchanged(index)


def test_adding_nothing_is_a_commit_of_its_note(index: HybridIndex) -> None:
    index.add([], [], embeddings=embeddings([]), note={"done": 3})
    assert HybridIndex(index.path).note == {"done": 3}
    index.add(["c"], embeddings=embeddings(DOCS[2:3]))
    assert index.note == {"done": 3}  # until another is given


@pytest.mark.parametrize("elsewhere", ["m3-tiny", "M3RT_MODEL"])
def test_an_index_from_another_environment_finds_its_model_again(
    elsewhere: str, bundle_fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("M3RT_MODEL", raising=False)
    moved = shutil.copytree(open_bundle().path if elsewhere == "m3-tiny" else bundle_fp32, tmp_path / "moved")
    HybridIndex.create(tmp_path / "index", moved).add(["a"], ["a text"])
    shutil.rmtree(moved)
    if elsewhere == "M3RT_MODEL":
        monkeypatch.setenv("M3RT_MODEL", str(bundle_fp32))
    assert HybridIndex(tmp_path / "index").search("text")[0].id == "a"


@pytest.mark.parametrize("kind", ["fifo", "hole", "directory", "not UTF-8"])
def test_an_index_json_that_is_no_text_file_is_one_line_and_no_wait(kind: str, index: HybridIndex) -> None:
    manifest = index.path / "index.json"
    manifest.unlink()
    if kind == "fifo":
        os.mkfifo(manifest)
    elif kind == "directory":
        manifest.mkdir()
    elif kind == "hole":
        manifest.touch()
        os.truncate(manifest, 1 << 36)
    else:
        manifest.write_bytes(b"\xff\xfe")
    with pytest.raises(HybridIndexError, match=r"cannot be read just now|is damaged") as caught:
        HybridIndex(index.path)
    assert "\n" not in str(caught.value)


def test_a_fifo_in_place_of_an_array_is_damage(index: HybridIndex) -> None:
    file = index.path / "segments" / "00000001" / "keys.npy"
    file.unlink()
    os.mkfifo(file)
    with pytest.warns(UserWarning, match=r"keys.npy has 0 bytes, expected a file of"):
        assert len(HybridIndex(index.path)) == 0


# Lines that no writer stores; the last is closed by the brackets that fill it up.
STORED = [
    '{"id": 7}',
    '{"text": "x"}',
    '{"id": "a", "text": 7}',
    '{"id": ["a"]}',
    '{"id": "\\ud800"}',
    '{"id": "a", "span": [1]}',
    '{"id": "a", "span": []}',
    '{"id": "a", "span": "xy"}',
    '{"id": "a", "span": [1, 2, 3]}',
    '{"id": "a", "span": [0.5, -3]}',
    '{"id": "a", "span": [true, false]}',
    '{"id": "a", "metadata": 7}',
    '{"id": "a", "text": NaN}',
    "[1]",
    "7",
    '{"id": "a", "m": ' + "[" * 90_000,
]


@pytest.mark.parametrize("line", STORED, ids=lambda line: line[:40])
def test_a_stored_document_of_other_values_is_one_line(line: str, tmp_path: Path) -> None:
    index = HybridIndex.create(tmp_path / "index", dim=DIM)
    index.add(["a"], ["x" * len(line)], embeddings=embeddings(DOCS[:1]))
    file = index.path / "segments" / "00000001" / "documents.bytes.npy"
    header, stored = file.read_bytes()[:128], file.read_bytes()[128:]
    filler = b"]" if line.endswith("[") else b" "
    file.write_bytes(header + line.encode().ljust(len(stored), filler))
    opened = HybridIndex(index.path)
    for use in (lambda: opened.search(QUERY, mode="dense"), lambda: opened.delete(["a"])):
        with pytest.raises(HybridIndexError, match=r"^a stored document is damaged \([^\n]*--verify names it$"):
            use()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"'])
def test_a_note_that_could_not_be_written_again_is_damage(number: str, index: HybridIndex) -> None:
    manifest = index.path / "index.json"
    manifest.write_text(manifest.read_text().replace('"note": null', f'"note": {{"x": [{number}]}}'))
    with pytest.raises(HybridIndexError, match=r"index\.json is damaged"):
        HybridIndex(index.path)


def test_a_filter_of_a_number_that_json_cannot_hold_finds_nothing(index: HybridIndex) -> None:
    for number in (10**5000, -(10**5000), 10**400, "9" * 5000):
        assert not index.search(QUERY, filter={"lang": number}).hits


PLACES = ["x" * 5000, "\0", "", ".", "{tmp}/empty", "{tmp}/file", "{tmp}/file/x", "{tmp}/other"]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ascii(place[:20]))
def test_a_model_is_looked_for_elsewhere_whatever_is_where_it_was(
    place: str, bundle_fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("M3RT_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "other").symlink_to(bundle_fp32)
    index = HybridIndex.create(tmp_path / "index")
    index.add(["a"], ["a text"])
    manifest = json.loads((index.path / "index.json").read_text())
    manifest["model"]["path"] = place.format(tmp=tmp_path)
    (index.path / "index.json").write_text(json.dumps(manifest))
    assert HybridIndex(index.path).search("text")[0].id == "a"
    manifest["model"]["space"] = "another"
    (index.path / "index.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"^[^\n]* which is not at [^\n]*; give its path with model=[^\n]*$"):
        HybridIndex(index.path).search("text")


def test_the_command_line_offers_the_precisions_that_there_are() -> None:
    assert tuple(DENSE) == DENSE_PRECISIONS
    assert tuple(COLBERT) == COLBERT_PRECISIONS
