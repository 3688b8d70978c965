"""Languages aligned and pieces linked by translations, against plain loops: run with `pytest -m parity`."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch")

# ruff: noqa: E402  (these imports need PyTorch, so they come after its check)
from m3rt_distill.constants import DICTIONARY
from m3rt_distill.data.lessons import Lessons
from m3rt_distill.start import dictionary
from m3rt_distill.start.alignment import align_languages
from students import lessons

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


def translations(texts: int, vocab: int = 200) -> Lessons:
    """Random sentences, and the same with every id moved up: two languages, 0 and 1, which is the pivot."""
    random = np.random.default_rng(3)
    ids = random.integers(4, vocab, (texts, 6), dtype=np.int32)
    both = np.stack([ids, ids + vocab], axis=1).reshape(-1, 6)
    empty = np.zeros((0, 1), np.float32)
    return replace(
        lessons(), ids=both.reshape(-1), offsets=6 * np.arange(len(both) + 1),
        langs=np.tile([0, 1], texts).astype(np.int16), pairs=np.arange(len(both), dtype=np.int32).reshape(-1, 2),
        target=np.zeros(texts, np.int32), vectors=empty,
    )  # fmt: skip


def test_aligned_words_find_translations_that_they_did_not_see() -> None:
    torch.manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(16, 16))
    first = torch.nn.functional.normalize(torch.randn(200, 16), dim=1)
    rows = torch.cat([first, first @ turn + 0.05])
    rarity = np.ones(400, np.float32)
    seen, new = translations(8000), np.random.default_rng(9).integers(4, 200, (300, 6))

    def found(rows: Any) -> float:
        asked, answers = (torch.nn.functional.normalize(rows[ids].sum(1), dim=1) for ids in (new, new + 200))
        return float(((asked @ answers.T).argmax(dim=1) == torch.arange(300)).float().mean())

    assert found(rows) < 0.1
    assert found(align_languages(rows, rarity, seen, pivot=1)) > 0.95


@given(st.integers(0, 999))
@settings(max_examples=20)
def test_model_1_is_that_of_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    sentences = [
        (random.choice(6, random.integers(1, 4), False), random.choice(6, random.integers(1, 4), False))
        for _ in range(5)
    ]
    chance = dict.fromkeys(((f, e) for mine, theirs in sentences for f in mine for e in theirs), 1.0)
    for _ in range(DICTIONARY.em_rounds):
        count = dict.fromkeys(chance, 0.0)
        for mine, theirs in sentences:
            for e in theirs:
                for f in mine:
                    count[f, e] += chance[f, e] / sum(chance[g, e] for g in mine)
        chance = {(f, e): c / sum(count[g, d] for g, d in count if g == f) for (f, e), c in count.items()}
    pairs = [(s, f, e) for s, (mine, theirs) in enumerate(sentences) for f in mine for e in theirs]
    kinds = sorted(chance)
    pair = np.array([kinds.index((f, e)) for _, f, e in pairs])
    explained = np.array([s * 6 + e for s, _, e in pairs])
    found, often = dictionary._model_1(pair, explained, np.array([f for f, _ in kinds]))
    assert found == pytest.approx([chance[kind] for kind in kinds])
    assert often == pytest.approx([count[kind] for kind in kinds])


def test_translations_link_pieces_to_those_of_the_pivot() -> None:
    seen = translations(600)
    links = dictionary.find_links(seen, 400, pivot=1)
    senses = dictionary.senses_of(links, 400)
    met = np.unique(seen.ids[(seen.ids >= 4) & (seen.ids < 200)])
    assert (senses[met] == met + 200).mean() > 0.99
    assert np.array_equal(senses[200:], np.arange(200, 400))  # a piece of the pivot has no other sense
    assert senses[:4].tolist() == [0, 1, 2, 3]
    assert links.strength.min() > 0
    assert links.strength.max() <= 1
    rows = torch.nn.functional.normalize(torch.randn(400, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    moved = dictionary.move_to_meanings(rows, links)
    assert (rows[met] * rows[met + 200]).sum(1).mean() < 0.1
    assert (moved[met] * rows[met + 200]).sum(1).mean() > 0.6
    assert moved[204:].numpy() == pytest.approx(rows[204:].numpy(), abs=1e-6)
    assert moved.norm(dim=1).numpy() == pytest.approx(np.ones(400), abs=1e-6)


def test_pieces_without_a_link_take_the_nearest_of_the_pivot() -> None:
    seen = translations(600)
    links = dictionary.find_links(seen, 400, pivot=1)
    fewer = dictionary.Links(*(part[links.piece > 50] for part in links))
    first = torch.nn.functional.normalize(torch.randn(200, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    rows = torch.cat([first, first])
    rows[10] = -first.mean(dim=0)  # near nothing
    found = dictionary.add_nearest(fewer, rows, seen, pivot=1)
    senses = dictionary.senses_of(found, 400)
    guesses = [i for i in range(4, 51) if i != 10]
    assert senses[guesses].tolist() == [i + 200 for i in guesses]
    assert senses[10] == 10
    assert np.array_equal(found.piece[: len(fewer.piece)], fewer.piece)
    assert len(found.piece) == len(fewer.piece) + len(guesses)


def test_lessons_without_translations_have_no_links() -> None:
    alone = replace(translations(20), langs=np.zeros(40, np.int16))
    links = dictionary.find_links(alone, 400, pivot=0)
    assert not len(links.piece)
    assert np.array_equal(dictionary.senses_of(links, 400), np.arange(400))
