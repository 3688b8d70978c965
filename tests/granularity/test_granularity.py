"""Vectors at four levels: their places in the text, and that each is what the encoder gives for that part alone."""

from pathlib import Path

import numpy as np
import pytest
from m3rt_export import export

from m3rt import InputError, M3Encoder
from m3rt.granularity import LEVELS, encode_levels, sentences

TEXT = "The river is long. 東京は大きいです。行きますか? 😀 Dr. Smith swims.\n\nEnd of it"
WITHOUT_SENTENCES = ("token", "passage", "document")


def parts(text: str, spans: np.ndarray) -> list[str]:
    return [text[a:b] for a, b in spans.tolist()]


def test_document_and_tokens_are_those_of_one_encoding(fp32: M3Encoder) -> None:
    found = encode_levels(fp32, TEXT, levels=WITHOUT_SENTENCES)
    out = fp32.encode([TEXT], return_colbert_vecs=True)
    assert out.multi is not None
    assert list(found) == list(WITHOUT_SENTENCES)
    assert (found["document"].vectors == out.dense_vecs).all()
    assert (found["token"].vectors == out.multi.row(0)[:-1]).all()  # without </s>
    assert found["document"].spans.tolist() == [[0, len(TEXT)]]


def test_tokens_stand_in_order_and_cover_every_character_but_space(fp32: M3Encoder) -> None:
    spans = encode_levels(fp32, TEXT, levels=["token"])["token"].spans
    assert (np.diff(spans[:, 0]) >= 0).all()
    covered = {i for a, b in spans.tolist() for i in range(a, b)}
    assert {i for i, character in enumerate(TEXT) if not character.isspace()} <= covered


def test_a_token_s_place_holds_its_text(fp32: M3Encoder) -> None:
    text = "what is a river"
    spans = encode_levels(fp32, text, levels=["token"])["token"].spans
    pieces = [fp32.tokenizer.decode(i).strip() for i in fp32.tokenize(text)[1:-1]]
    found = [part.strip() for part in parts(text, spans)]
    assert found == pieces


def test_passages_are_read_alone_and_lose_nothing(fp32: M3Encoder) -> None:
    text = " ".join(f"word{i}" for i in range(60))
    passage = encode_levels(fp32, text, levels=["passage"], passage_tokens=32)["passage"]
    assert len(passage) > 1
    assert (passage.vectors == fp32.encode(parts(text, passage.spans)).dense_vecs).all()
    assert " ".join(parts(text, passage.spans)) == text


def test_a_long_text_ends_where_the_window_does(fp32: M3Encoder) -> None:
    text = "river " * 500
    found = encode_levels(fp32, text, levels=["token", "document"])
    assert len(found["token"]) == fp32.manifest.max_tokens - 2
    end = int(found["document"].spans[0, 1])
    assert end == found["token"].spans[-1, 1] < len(text)


def test_an_empty_text_has_a_document_and_no_tokens(fp32: M3Encoder) -> None:
    found = encode_levels(fp32, "", levels=WITHOUT_SENTENCES)
    assert found["document"].spans.tolist() == [[0, 0]]
    assert found["token"].vectors.shape == (0, found["document"].vectors.shape[1])


def test_sentences_of_many_scripts_keep_their_places(fp32: M3Encoder) -> None:
    pytest.importorskip("sentencex", reason="needs the 'sentences' extra")
    found = encode_levels(fp32, TEXT)
    assert tuple(found) == LEVELS
    assert parts(TEXT, found["sentence"].spans) == [
        "The river is long.", "東京は大きいです。", "行きますか?", "😀 Dr. Smith swims.", "End of it",
    ]  # fmt: skip
    assert (found["sentence"].vectors == fp32.encode(parts(TEXT, found["sentence"].spans)).dense_vecs).all()


@pytest.mark.parametrize(
    "text",
    ["我喜欢北京。你呢?", "यह एक है। वह दूसरा है।", "هذا نص. ما هذا؟", "မင်္ဂလာပါ။ နေကောင်းလား။", "ሰላም ነው። ደህና።",
     "Բարեւ։ Ինչպես եք։", "안녕하세요. 반갑습니다!", "Это так? Да."],
)  # fmt: skip
def test_the_full_stops_of_all_scripts_are_known_in_english(text: str) -> None:
    pytest.importorskip("sentencex", reason="needs the 'sentences' extra")
    spans = sentences(text)
    assert len(spans) == 2
    assert (
        "".join(text[a:b] for a, b in spans) == text.replace(" ", "") or " ".join(text[a:b] for a, b in spans) == text
    )


def test_a_missing_splitter_is_one_line(fp32: M3Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3rt.host.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the level 'sentence' needs sentencex.*m3rt\[sentences\]"):
        encode_levels(fp32, TEXT, levels=["sentence"])


@pytest.mark.parametrize("levels", [["word"], "token", None, 7])
def test_other_levels_are_refused_in_a_line(fp32: M3Encoder, levels: object) -> None:
    with pytest.raises(InputError):
        encode_levels(fp32, TEXT, levels=levels)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, 7, ["a"], "\ud800"])
def test_a_text_that_is_none_is_refused_in_a_line(fp32: M3Encoder, text: object) -> None:
    with pytest.raises(InputError):
        encode_levels(fp32, text)  # type: ignore[arg-type]


def test_tokens_of_a_bundle_without_a_colbert_head_are_refused_in_a_line(checkpoint: Path, tmp_path: Path) -> None:
    model = M3Encoder(export(checkpoint, tmp_path / "d", precision="fp32", dense_only=True).path, threads=1)
    with pytest.raises(InputError, match="has no ColBERT head, which gives token vectors; leave level 'token' out"):
        encode_levels(model, TEXT)
    assert [*encode_levels(model, TEXT, levels=["document"])] == ["document"]
