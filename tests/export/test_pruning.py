"""Pruned bundles beside the whole bundle of the same checkpoint, and the pruned tokenizer beside the whole one."""

import json
import random
import warnings
from pathlib import Path
from string import capwords
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint
from exports import ALL, edit_json, encoder, refusal
from m3rt_export import export

from m3rt import M3Encoder
from m3rt.bundle import Bundle, open_bundle
from m3rt.bundle.golden import check
from m3rt.cli import main
from m3rt.compat.tokenizer import CompatTokenizer
from m3rt.errors import BundleError
from m3rt.evaluation import gate
from m3rt.index.models import identity

ENGLISH = ["The river froze in winter.", "What is the height of the tower in metres?", "Bread and water, 12 pieces!"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "m3")


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(checkpoint, tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(scope="module")
def english(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(checkpoint, tmp_path_factory.mktemp("english") / "bundle", vocab_from=ENGLISH)


@pytest.fixture(scope="module")
def latin(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(checkpoint, tmp_path_factory.mktemp("latin") / "bundle", languages=["en", "de"])


def mixed_texts() -> list[str]:
    """Sentences of every language, and words of them in random order, cut anywhere."""
    draw = random.Random(0)
    words = " ".join(sentences()).split(" ")
    return sentences() + [" ".join(draw.choices(words, k=9))[draw.randrange(4) :] for _ in range(300)]


def pieces_of(bundle: Bundle) -> list[str]:
    return [piece for piece, _ in json.loads((bundle.path / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]]


def test_the_command_keeps_the_pieces_of_several_files(checkpoint: Path, english: Bundle, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(ENGLISH[:2]))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"text": ENGLISH[2]}))
    files = [f"--vocab-from={tmp_path / name}" for name in ("texts.txt", "queries.jsonl")]
    assert main(["export", str(checkpoint), str(tmp_path / "bundle"), *files]) == 0
    assert pieces_of(open_bundle(tmp_path / "bundle")) == pieces_of(english)


@pytest.mark.parametrize("name", ["english", "latin"])
def test_a_text_whose_pieces_were_all_kept_has_the_ids_of_the_whole_vocabulary(
    name: str, whole: Bundle, request: pytest.FixtureRequest
) -> None:
    pruned = request.getfixturevalue(name)
    kept, original = {*pieces_of(pruned)}, pieces_of(whole)
    ours, theirs = encoder(pruned), encoder(whole)
    same = 0
    for text in [*ENGLISH, *mixed_texts()]:
        expected = theirs.tokenize(text)
        if {original[i] for i in expected} <= kept:
            assert ours.tokenize(text) == expected
            same += 1
    assert same >= len(ENGLISH)


def test_small_letters_and_capitals_keep_their_pieces_too(whole: Bundle, english: Bundle) -> None:
    ours, theirs = encoder(english), encoder(whole)
    for text in ENGLISH:
        assert ours.tokenize(text.lower()) == theirs.tokenize(text.lower())
        assert ours.tokenize(capwords(text)) == theirs.tokenize(capwords(text))


@pytest.mark.parametrize("wish", [{"vocab_from": ENGLISH}, {"languages": ["ru"]}])
def test_a_prompt_keeps_its_pieces(wish: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "m3")
    prompts = {"query": "Passenger, where to? ", "passage": "Подводный мир: "}
    edit_json(checkpoint / "config_sentence_transformers.json", prompts=prompts)
    pruned, whole = (encoder(export(checkpoint, tmp_path / str(len(w)), dense_only=True, **w)) for w in (wish, {}))
    assert pruned.manifest.prompts == prompts
    for prompt in prompts.values():
        assert pruned.tokenize(prompt) == whole.tokenize(prompt)


@pytest.mark.parametrize("name", ["english", "latin"])
def test_no_text_gets_more_unknown_tokens_than_before(name: str, whole: Bundle, request: pytest.FixtureRequest) -> None:
    ours, theirs = encoder(request.getfixturevalue(name)), encoder(whole)
    unknown = ours.manifest.special_tokens.unk
    for text in [*mixed_texts(), "\U0010fffd word", "a\u0300\u0327"]:
        assert ours.tokenize(text).count(unknown) == theirs.tokenize(text).count(unknown)


def test_vectors_and_lexical_weights_are_those_of_the_whole_bundle(whole: Bundle, english: Bundle) -> None:
    ours, theirs = (encoder(bundle).encode(ENGLISH, **ALL) for bundle in (english, whole))
    assert ours.lexical_weights == theirs.lexical_weights
    np.testing.assert_array_equal(ours.dense_vecs, theirs.dense_vecs)
    np.testing.assert_array_equal(ours.multi.vectors, theirs.multi.vectors)
    assert english.manifest.pruned
    assert english.manifest.pruned.pieces < whole.manifest.architecture.vocab_size


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_pruned_bundle_proves_itself_by_ids_of_its_own(
    precision: str, engine: str, checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    bundle = export(checkpoint, tmp_path / "bundle", precision=precision, engine=engine, vocab_from=ENGLISH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # golden texts are in many scripts
        assert check(encoder(bundle), bundle).passed
    pieces = bundle.manifest.pruned.pieces
    records = json.loads((bundle.path / "golden.json").read_text("utf-8"))
    assert max(max(record["input_ids"]) for record in records) < pieces
    assert max(int(i) for record in records for i in record["lexical_weights"]) < pieces


def test_an_index_takes_both_bundles_for_one_model(whole: Bundle, english: Bundle) -> None:
    assert identity(whole).space == identity(english).space


def test_ids_decode_to_the_same_text(whole: Bundle, english: Bundle) -> None:
    ids = encoder(whole).tokenize(ENGLISH[0])
    texts = [encoder(bundle).convert_id_to_token(dict.fromkeys(ids, 1.0)) for bundle in (whole, english)]
    assert texts[0] == texts[1]
    ours, theirs = CompatTokenizer(english), CompatTokenizer(whole)
    assert ours(ENGLISH) == theirs(ENGLISH)
    assert ours.decode(ids) == theirs.decode(ids)
    assert len(ours) == len(theirs)


def test_a_text_in_a_missing_script_works_and_is_told_once(english: Bundle) -> None:
    model = encoder(english)
    with pytest.warns(UserWarning, match="lost the words of CYRILLIC script"):
        out = model.encode("Река замёрзла зимой.", **ALL)
    assert np.isfinite(out.dense_vecs).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode("Река замёрзла зимой.")


def test_verify_compares_a_pruned_bundle_on_sentences_in_its_scripts(latin: Bundle, whole: Bundle) -> None:
    result = gate(encoder, latin, whole)
    assert 50 < result.fidelity.texts < 300
    assert result.fidelity.cosine_min > 0.9999


def test_texts_of_kept_scripts_are_not_warned_of(latin: Bundle) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder(latin).encode([*ENGLISH, "Où puis-je acheter un café ?", "12 345 !"])


def test_wishes_that_cannot_be_met_are_refused_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    assert "language is 'xx', expected one of af, am," in refusal(tmp_path, checkpoint, languages=["en", "xx"])
    assert "are empty, expected some words" in refusal(tmp_path, checkpoint, vocab_from=[])
    assert "give one of them" in refusal(tmp_path, checkpoint, languages=["en"], vocab_from=ENGLISH)
    bert = write_checkpoint(tmp_path / "bert", kind="bert")
    options = {"languages": ["en"], "dense_only": True}
    assert "expected a Unigram vocabulary" in refusal(tmp_path / "out", bert, **options)


def test_damaged_original_ids_are_refused(english: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in english.path.iterdir():
        (copy / path.name).symlink_to(path) if path.is_dir() else (copy / path.name).write_bytes(path.read_bytes())
    (copy / "unigram").unlink()
    (copy / "unigram").mkdir()
    for path in (english.path / "unigram").iterdir():
        (copy / "unigram" / path.name).write_bytes(path.read_bytes())
    ids = np.fromfile(copy / "original_ids.bin", "<i4")
    ids[-1] = ids[-2]
    ids.tofile(copy / "original_ids.bin")
    with pytest.raises(BundleError, match=r"original_ids\.bin has no ascending ids"):
        M3Encoder.with_engine(open_bundle(copy), encoder(english).engine)
