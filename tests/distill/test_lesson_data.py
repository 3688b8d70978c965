"""m3rt_distill without PyTorch: reading data, pruning the vocabulary, joining passages, making texts up."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from checkpoints import sentences, xlm_roberta_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_distill.data.corpus import Corpus, read_corpus
from m3rt_distill.data.passages import make_passages
from m3rt_distill.data.substitution import SUBSTITUTED_SET, WORDS_SET, find_words, with_made_up
from m3rt_distill.data.teacher import Projection, Teacher
from m3rt_distill.data.vocabulary import Vocabulary, prune, read_tokenizer
from numpy.typing import NDArray

from m3rt import M3Encoder
from m3rt.errors import CheckpointError, InputError

SIZE = 200


@pytest.fixture(scope="module")
def full() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(xlm_roberta_tokenizer().to_str())
    return parsed


@pytest.fixture(scope="module")
def pruned(full: dict[str, Any]) -> Vocabulary:
    return prune(full, [(text, "en") for text in sentences()], SIZE)


def write_rows(directory: Path, name: str, rows: list[dict[str, str]]) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return directory


def pair(a: str, b: str, lang_a: str = "en", lang_b: str = "de") -> dict[str, str]:
    return {"a": a, "b": b, "lang_a": lang_a, "lang_b": lang_b}


# ---- data


def test_both_sides_of_a_pair_learn_the_english_vector(tmp_path: Path) -> None:
    write_rows(tmp_path / "p", "pairs.jsonl", [pair("cat", "Katze"), pair("chien", "dog", "fr", "en")])
    write_rows(tmp_path / "q", "texts.jsonl", [{"text": "perro", "lang": "es"}])
    corpus = read_corpus([tmp_path / "p", tmp_path / "q"])
    assert [corpus.texts[i] for i in corpus.taught] == ["cat", "dog", "perro"]
    assert corpus.pairs.tolist() == [[0, 1], [2, 3], [4, 4]]
    assert corpus.sets == ["p", "p", "q"]


def test_a_repeated_pair_counts_once(tmp_path: Path) -> None:
    corpus = read_corpus([write_rows(tmp_path / "p", "pairs.jsonl", [pair("cat", "Katze")] * 3)])
    assert len(corpus.pairs) == 1
    assert len(corpus.texts) == 2


def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "p", "pairs.jsonl", [pair("cat", "Katze"), {"a": "dog"}])
    with pytest.raises(InputError, match=r"pairs\.jsonl:2 is no row"):
        read_corpus([tmp_path / "p"])
    with pytest.raises(InputError, match=r"no pairs\.jsonl"):
        read_corpus([tmp_path])


# ---- vocabulary


def test_the_pruned_tokenizer_has_xlm_rs_special_tokens_in_their_places(pruned: Vocabulary) -> None:
    tokenizer = pruned.load()
    assert tokenizer.get_vocab_size() == SIZE == len(pruned.kept) == len(pruned.rarity)
    assert [tokenizer.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [
        0,
        1,
        2,
        3,
        SIZE - 1,
    ]
    assert tokenizer.encode("a").ids[0] == 0
    assert tokenizer.encode("a").ids[-1] == 2


def test_each_kept_piece_is_the_teachers_piece_of_its_old_id(full: dict[str, Any], pruned: Vocabulary) -> None:
    old, new = (tokenizer["model"]["vocab"] for tokenizer in (full, pruned.tokenizer_json))
    assert [old[i] for i in pruned.kept] == new


def test_a_vocabulary_of_every_piece_gives_the_ids_of_the_lowercased_text(full: dict[str, Any]) -> None:
    whole = prune(full, [(text, "xx") for text in sentences()], len(full["model"]["vocab"])).load()
    plain = [re.sub(r"""([_(\[{"'/=\-<>*#@’“‘«.:])""", r"\1 ", text).lower().strip() for text in sentences()]
    expected = [xlm_roberta_tokenizer().encode(text).ids for text in plain]
    assert [e.ids for e in whole.encode_batch(sentences())] == expected


def test_a_word_is_the_same_word_after_a_bracket_a_quote_or_an_underscore(pruned: Vocabulary) -> None:
    tokenizer = pruned.load()
    word = tokenizer.encode("Letter", add_special_tokens=False).ids
    for text in ("is_letter", "(letter)", "l'letter", "x.letter", "“letter”"):
        ids = tokenizer.encode(text).ids
        assert any(ids[i : i + len(word)] == word for i in range(len(ids))), text


def test_rarity_is_the_inverse_document_frequency_of_the_language_where_a_piece_is_most_common(
    full: dict[str, Any],
) -> None:
    texts = [(text, "ab"[i % 2]) for i, text in enumerate(sentences())]
    found = prune(full, texts, SIZE)
    tokenizer = found.load()
    for piece in (5, 20, 77, 150):
        shares = [1e-4]
        for lang in "ab":
            ids = [set(tokenizer.encode(text).ids) for text, spoken in texts if spoken == lang]
            shares.append(sum(piece in row for row in ids) / (len(ids) + 2000))
        passages = 1 - (1 - max(shares)) ** 3  # of three sentences, at least one has it
        assert found.rarity[piece] == pytest.approx(-math.log(passages), rel=1e-5)
    assert not found.rarity[[0, 1, 2, 3, SIZE - 1]].any()


def test_a_vocabulary_is_read_as_it_was_written(pruned: Vocabulary, tmp_path: Path) -> None:
    pruned.save(tmp_path / "v")
    again = Vocabulary.read(tmp_path / "v")
    assert again.tokenizer_json == pruned.tokenizer_json
    assert np.array_equal(again.kept, pruned.kept)
    assert np.array_equal(again.rarity, pruned.rarity)


def test_a_tokenizer_that_is_not_xlm_rs_is_refused(full: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not XLM-R's"):
        prune({**full, "model": {"type": "BPE"}}, [], SIZE)
    with pytest.raises(InputError, match="expected 6"):
        prune(full, [], 3)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tokenizer(tmp_path / "tokenizer.json")


# ---- passages


@given(per_group=st.integers(1, 9), low=st.integers(1, 60), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_a_passage_is_its_members_in_both_languages(per_group: int, low: int, seed: int) -> None:
    random = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    texts = [*words, *(f"{word} auf-deutsch" for word in words)]
    pairs = np.stack([np.arange(40), np.arange(40) + 40], axis=1).astype(np.int32)
    corpus = Corpus(texts, ["en"] * 40 + ["de"] * 40, pairs, pairs[:, 0].copy(), ["set"] * 40)
    vectors = random.normal(size=(40, 8)).astype(np.float32)
    found = make_passages(corpus, vectors, per_group, (low, low + 50), seed)
    assert len(found) == min(per_group, 5)
    for passage in found:
        english = [texts[pairs[m, 0]] for m in passage.members]
        assert passage.lang == "de"
        assert len(set(english)) == len(english)
        assert passage.pivot == " ".join(english)
        assert passage.text == " ".join(f"{word} auf-deutsch" for word in english)
        assert sum(map(len, english)) >= low


def test_a_made_up_passage_has_its_sentences_in_two_orders() -> None:
    texts = [f"satz{i}" for i in range(80)]
    rows = np.arange(80, dtype=np.int32)
    corpus = Corpus(texts, ["de"] * 80, np.stack([rows, rows], axis=1), rows, [SUBSTITUTED_SET] * 80)
    vectors = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    found = make_passages(corpus, vectors, 9, (30, 60), 0)
    assert len(found) == 9
    for passage in found:
        sentences_of_it = sorted(texts[m] for m in passage.members)
        assert sorted(passage.pivot.split()) == sorted(passage.text.split()) == sentences_of_it
    assert any(passage.pivot != passage.text for passage in found)


# ---- made-up texts

ENGLISH = ["the cat saw the dog!", "a dog saw the catalog", "the cats saw a dog"]
GERMAN = ["die Katze sah den Hund!", "der Hund sah die Katze", "die Katze sah die Katze"]


class WordTeacher:
    """A teacher with known similarities: it counts the letters that a word shares with "hunde" and with "cats"."""

    def __init__(self) -> None:
        pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "s", "!", "alog", "▁a", "▁the", "▁cat", "▁saw", "▁dog", "▁die"]
        pieces += ["▁Katze", "▁sah", "▁den", "▁der", "▁Hund", "▁hun", "▁act", "▁кот"]
        plain = json.loads(xlm_roberta_tokenizer().to_str())
        model = {"type": "Unigram", "unk_id": 3, "vocab": [[piece, -2.0] for piece in pieces]}
        self.tokenizer_json = {**plain, "model": model, "added_tokens": plain["added_tokens"][:4]}

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[len(set(text) & set("hunde")), len(set(text) & set("cats"))] for text in texts], np.float32)


def bilingual() -> Corpus:
    rows = np.stack([np.arange(3), np.arange(3) + 3], axis=1).astype(np.int32)
    return Corpus([*ENGLISH, *GERMAN], ["en"] * 3 + ["de"] * 3, rows, rows[:, 0].copy(), ["set"] * 3)


def test_a_word_belongs_to_the_language_that_uses_it_and_else_to_the_likest_one() -> None:
    words = dict(find_words(bilingual(), cast(Teacher, WordTeacher())))
    assert {words[word] for word in ("the", "saw", "dog")} == {"en"}
    assert {words[word] for word in ("die", "katze")} == {"de"}
    assert words["hun"] == "de"  # in no text, and like "hund"
    assert words["act"] == "en"
    assert "кот" not in words  # of a script that neither language is written in
    assert not {"a", "s", "alog"} & words.keys()  # too short, or part of a word


@given(seed=st.integers(0, 99))
@settings(max_examples=25)
def test_made_up_sentences_differ_in_whole_words_of_their_language_only(seed: int) -> None:
    corpus, teacher = bilingual(), cast(Teacher, WordTeacher())
    words = dict(find_words(corpus, teacher))
    found = with_made_up(corpus, teacher, 6, seed)
    assert found.texts[:6] == corpus.texts
    assert len(set(found.texts)) == len(found.texts)
    assert {text for text, name in zip(found.texts[6:], found.sets[3:], strict=True) if name == WORDS_SET} == set(words)
    assert found.pairs[3:].tolist() == [[i, i] for i in range(6, len(found.texts))]
    assert found.taught[3:].tolist() == list(range(6, len(found.texts)))
    for text, lang, name in zip(found.texts[6:], found.langs[6:], found.sets[3:], strict=True):
        if name == SUBSTITUTED_SET:
            shape = re.sub(r"\b(?!cats|catalog)\w{3,}", "*", text)
            sources = [s for s, of in zip(corpus.texts, corpus.langs, strict=True) if of == lang]
            assert shape in [re.sub(r"\b(?!cats|catalog)\w{3,}", "*", s) for s in sources]
            assert all(words[w.lower()] == lang for w in re.findall(r"\b(?!cats|catalog)\w{3,}", text))


def test_made_up_texts_are_the_same_for_the_same_seed() -> None:
    corpus, teacher = bilingual(), cast(Teacher, WordTeacher())
    first, second, other = (with_made_up(corpus, teacher, 6, seed).texts for seed in (1, 1, 2))
    assert first == second != other


# ---- teacher


def test_the_projection_keeps_cosines_when_it_keeps_every_axis() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(2, 1, (50, 8)).astype(np.float32)
    project = Projection.fit(vectors, 8)
    centred = vectors - vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    found = project(vectors)
    assert np.abs(found @ found.T - centred @ centred.T).max() < 1e-5
    with pytest.raises(InputError, match="expected at most the teacher's 8"):
        Projection.fit(vectors, 9)


def test_the_first_axes_hold_the_most() -> None:
    random = np.random.default_rng(1)
    spread = np.array([5, 4, 3, 0.1, 0.1], np.float32)
    sample = (random.normal(size=(400, 5)) * spread).astype(np.float32)
    project = Projection.fit(sample, 3)
    assert np.abs(project.axes[3:]).max() < 0.05


def test_the_teacher_gives_the_bundles_vectors_and_keeps_them(bundle_fp32: Path, tmp_path: Path) -> None:
    texts = sentences()[:9]
    expected = M3Encoder(bundle_fp32, threads=1).encode_queries(texts).dense_vecs
    first = Teacher(bundle_fp32, tmp_path, threads=1).vectors(texts)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = Teacher(bundle_fp32, tmp_path, threads=1).vectors(texts[::-1])
    assert expected is not None
    assert np.abs(first - expected).max() < 1e-3
    assert np.array_equal(again, first[::-1])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_smaller_vocabulary_still_spells_its_texts(full: dict[str, Any]) -> None:
    english = sentences()[:5]
    small = prune(full, [(text, "en") for text in english], 90).load()
    for text in english:
        normal = xlm_roberta_tokenizer()
        assert (
            small.decode(small.encode(text).ids)
            == normal.decode(normal.encode(text.lower()).ids).replace(".", ". ").strip()
        )
