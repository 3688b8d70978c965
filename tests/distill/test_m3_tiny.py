"""The bundle that comes with m3rt: whole, small, and useful in every view."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import m3rt
from m3rt.bundle import check_hashes, open_bundle

PATH = Path(m3rt.__file__).parent / "models" / "m3-tiny"
QUESTIONS = [
    "How do I change my password?",
    "Wo kann ich eine Fahrkarte kaufen?",
    "¿Cuándo sale el sol mañana?",
    "Комната очень холодная, закройте окно.",
]
ANSWERS = [
    "Cómo cambio mi contraseña",
    "Where can I buy a ticket?",
    "What time does the sun rise tomorrow?",
    "The room is very cold, please close the window.",
]


@pytest.fixture(scope="module")
def tiny() -> m3rt.M3Encoder:
    return m3rt.M3Encoder(PATH, threads=1)


def test_the_bundle_is_whole_and_at_most_16_mb() -> None:
    check_hashes(open_bundle(PATH))
    assert sum(file.stat().st_size for file in PATH.rglob("*") if file.is_file()) <= 16_000_000


def test_its_ids_are_those_of_its_tokenizer_file(tiny: m3rt.M3Encoder) -> None:
    tokenizer = Tokenizer.from_file(str(PATH / "tokenizer.json"))
    for text in [*QUESTIONS, *ANSWERS, "is_iterable(x)", "L'ARTE dell'Età", "東京タワー", ""]:
        assert tiny.tokenize(text) == tokenizer.encode(text).ids


@pytest.mark.parametrize("view", ["dense", "colbert"])
def test_a_sentence_finds_its_translation(tiny: m3rt.M3Encoder, view: str) -> None:
    pairs = [(question, answer) for question in QUESTIONS for answer in ANSWERS]
    scores = np.array(tiny.compute_score(pairs)[view]).reshape(len(QUESTIONS), -1)
    assert scores.argmax(axis=1).tolist() == list(range(len(QUESTIONS)))


def test_its_lexical_weights_prefer_what_is_rare(tiny: m3rt.M3Encoder) -> None:
    weights = tiny.encode("the password of the printer", return_sparse=True).lexical_weights
    assert weights is not None
    words = tiny.convert_id_to_token(weights[0])
    assert isinstance(words, dict)
    assert min(words["password"], words["printer"]) > max(words["the"], words["of"])
