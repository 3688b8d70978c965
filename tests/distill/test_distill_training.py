"""m3rt_distill's PyTorch half against the runtime and plain loops: run with `pytest -m parity`."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint, xlm_roberta_tokenizer
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from m3rt_export import export
from m3rt_export.compact.digits import packed
from m3rt_export.compact.products import Product

from m3rt import M3Encoder
from m3rt.errors import CheckpointError, InputError

torch: Any = pytest.importorskip("torch")

# They need PyTorch, which is why these imports come after it.
from m3rt_distill import checkpoint, dictionary, losses, training  # noqa: E402
from m3rt_distill.__main__ import main  # noqa: E402
from m3rt_distill.alignment import align_languages  # noqa: E402
from m3rt_distill.bag import starting_table  # noqa: E402
from m3rt_distill.batches import SearchBatches, TeacherBatches, pad, thin  # noqa: E402
from m3rt_distill.channels import SCALAR_CHANNELS, StudentTable, student_table, whiten  # noqa: E402
from m3rt_distill.constants import DICTIONARY, FORMULAS  # noqa: E402
from m3rt_distill.formulas import bm25_weights, mean_of_words, place_weights  # noqa: E402
from m3rt_distill.lessons import Lessons  # noqa: E402
from m3rt_distill.pipeline import Pipeline  # noqa: E402
from m3rt_distill.recipe import PerView, Recipe, Stage  # noqa: E402
from m3rt_distill.start import initialise  # noqa: E402
from m3rt_distill.student import HeadOutputs, Shape, Student  # noqa: E402
from m3rt_distill.vocabulary import Vocabulary  # noqa: E402

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SHAPE = Shape(
    vocab=xlm_roberta_tokenizer().get_vocab_size(), hidden=128, layers=2, heads=2, ffn=64, positions=130, epsilon=0.1,
    colbert=48,
)  # fmt: skip

RARE = np.ones(SHAPE.vocab, np.float32)


def lessons(passages: int = 12) -> Lessons:
    """Sentences paired with themselves and, as passages, with their neighbours; random targets."""
    texts = [np.array(xlm_roberta_tokenizer().encode(text).ids[:128], np.int32) for text in sentences()]
    n = len(texts)
    random = np.random.default_rng(0)
    pairs = np.stack([np.arange(n), np.roll(np.arange(n), 1)], axis=1).astype(np.int32)
    vectors = random.normal(size=(n, 32)).astype(np.float16)
    return Lessons(
        ids=np.concatenate(texts),
        offsets=np.concatenate([[0], np.cumsum([len(text) for text in texts])]),
        langs=np.zeros(n, np.int16),
        pairs=pairs,
        target=np.arange(n, dtype=np.int32),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        members=random.integers(0, n, (passages, 4, 2)).astype(np.int32),
        pieces=random.normal(size=(SHAPE.vocab, 32)).astype(np.float32),
    )


def recipe(steps: int = 6) -> Recipe:
    stage = Stage(steps, tokens=300, rate=1e-3, warmup=2, mean=0.5)
    return Recipe(
        sets={},
        langs=("en",),
        vocabulary=SHAPE.vocab,
        components=32,
        hidden=SHAPE.hidden,
        colbert=48,
        layers=SHAPE.layers,
        heads=SHAPE.heads,
        ffn=SHAPE.ffn,
        positions=SHAPE.positions,
        epsilon=SHAPE.epsilon,
        substituted=0,
        passages=1,
        characters=(1, 2),
        bag=stage,
        warmup=stage,
        together=stage,
        temperatures=PerView(0.05, 0.5, 0.05),
        weights=PerView(1.0, 0.3, 1.0),
    )


RARITY = np.linspace(0, 9, SHAPE.vocab, dtype=np.float32)


def directions() -> Any:
    return whiten(starting_table(lessons().pieces, RARITY)[:, :-1])


def table() -> StudentTable:
    return student_table(directions(), RARITY, SHAPE.hidden, np.arange(SHAPE.vocab))


@pytest.fixture
def student() -> Student:
    return initialise(SHAPE, table())


def views(student: Student, texts: list[str]) -> Any:
    return student(pad([np.array(xlm_roberta_tokenizer().encode(text).ids[:128], np.int32) for text in texts]))


# ---- the runtime computes the same as the student


def test_an_exported_student_computes_in_m3rt_what_it_computed_in_torch(student: Student, tmp_path: Path) -> None:
    checkpoint.save(student, json.loads(xlm_roberta_tokenizer().to_str()), tmp_path / "student")
    model = M3Encoder(export(tmp_path / "student", tmp_path / "bundle", precision="fp32").path, threads=1)
    texts = sentences()[:20]
    out = model.encode(texts, return_sparse=True, return_colbert_vecs=True)
    with torch.no_grad():
        mine = views(student, texts)
    assert np.abs(mine.dense.numpy() - out.dense_vecs).max() < 1e-4
    for i, (vectors, weights) in enumerate(zip(out.colbert_vecs, out.lexical_weights, strict=True)):
        assert np.abs(mine.colbert[i, : len(vectors)].numpy() - vectors).max() < 1e-4
        found: dict[int, float] = {}
        for token, weight in zip(mine.ids[i].tolist(), mine.lexical[i].tolist(), strict=True):
            if weight > 0:
                found[token] = max(found.get(token, 0.0), weight)
        assert found.keys() == weights.keys()
        assert max(abs(found[token] - weights[token]) for token in found) < 1e-4


def test_a_foreign_checkpoint_is_read_as_m3rt_reads_it(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "tiny")
    model = M3Encoder(export(source, tmp_path / "bundle", precision="fp32").path, threads=1)
    texts = sentences()[:10]
    with torch.no_grad():
        mine = views(checkpoint.load(source), texts)
    assert np.abs(mine.dense.numpy() - model.encode(texts).dense_vecs).max() < 1e-4


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected xlm-roberta"):
        checkpoint.load(write_checkpoint(tmp_path / "bert", kind="bert"))


def test_a_student_starts_close_to_the_mean_that_it_is_held_to(student: Student) -> None:
    with torch.no_grad():
        found = views(student, sentences()[:30])
        words = table().rows[:, :-SCALAR_CHANNELS]
        mean = mean_of_words(found.ids, words, torch.from_numpy(RARITY))
        plain = torch.nn.functional.normalize((words[found.ids] * (found.ids > 3)[..., None]).sum(dim=1), dim=-1)
    dense = found.dense[:, :-SCALAR_CHANNELS]
    assert (dense * mean).sum(-1).mean() > 0.95
    assert (plain * mean).sum(-1).mean() < 0.9  # a start without weights would have this cosine


def test_a_start_weighs_words_as_the_mean_does(student: Student) -> None:
    ids = pad([np.array([0, *list(range(50, 56)) * 9, *list(range(60, 70)) * 3, *range(80, 120), 2], np.int32)])
    with torch.no_grad():
        states = student.backbone.encoder["layer"][0](student.backbone.embeddings(ids), None)
        attention = student.backbone.encoder["layer"][1].attention["self"]
        query, key = (
            linear(x).view(x.shape[1], SHAPE.heads, -1).transpose(0, 1)
            for linear, x in ((attention.query, states[:, :1]), (attention.key, states))
        )
        found = (query @ key.transpose(1, 2) / math.sqrt(key.shape[-1])).softmax(-1)[:, 0, 1:-1]
    inner = ids[0, 1:-1]
    times = (inner[:, None] == inner).sum(dim=1)
    wanted = torch.from_numpy(RARITY)[inner] / (times + FORMULAS.saturation) * place_weights(len(inner))
    ratio = found / found.sum(dim=1, keepdim=True) / (wanted / wanted.sum())
    assert ratio.log().square().mean().sqrt() < 0.3
    assert wanted.log().std() > 0.6  # so the words' weights do differ
    assert states[0, 0].abs().max() < 1e-2  # <s> has gathered nothing yet


@pytest.mark.parametrize("heads", [2, 8])
def test_heads_and_channels_that_start_as_zeros_stay_zeros(heads: int, tmp_path: Path) -> None:
    student = initialise(replace(SHAPE, heads=heads), table())
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    step = training.together_losses(student, lessons(), recipe(), RARE, "cpu")
    training.train(student, Stage(4, 300, 1e-3, 1), step, tmp_path / "run.pt", "together")
    layers = student.backbone.encoder["layer"]
    values, keys = (layers[i].attention["self"] for i in (0, 1))
    width = SHAPE.hidden // heads
    assert not values.value.weight[width:].any()
    assert not layers[0].attention["output"].dense.weight[:, width:].any()
    for linear in (keys.query, keys.key):
        assert not linear.weight.view(heads, width, -1)[:, 16:].any()
    moved = [name for name, tensor in student.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(moved) > len(before) / 2


def test_a_bags_direction_and_signs_are_in_a_students_table() -> None:
    found = table().rows
    words, signs = found[4:, :30], found[4:, 30:-SCALAR_CHANNELS]
    near = torch.nn.functional.cosine_similarity(words, directions()[4:, :30])
    assert near.mean() > 0.93  # five steps a channel
    assert near.min() > 0.7  # outliers are cut off
    assert len(signs.abs().unique()) == 1
    assert not signs.sign().sum(dim=1).any()
    assert not found[0].any()


def test_all_rows_of_words_are_as_long() -> None:
    normal = torch.randn(SHAPE.vocab, 255, generator=torch.Generator().manual_seed(0))
    lengths = student_table(normal, RARITY, 768, np.arange(SHAPE.vocab)).rows[:, :-SCALAR_CHANNELS].norm(dim=1)[1:]
    assert lengths.std() / lengths.mean() < 0.02


def test_a_hidden_size_without_room_is_refused() -> None:
    with pytest.raises(InputError, match="hidden is 10 for 32 components, expected at least 13"):
        student_table(directions(), RARITY, 10, np.arange(SHAPE.vocab))
    assert student_table(directions(), RARITY, 13, np.arange(SHAPE.vocab)).words == 3


def test_pieces_of_one_sense_share_their_signs_and_nothing_else() -> None:
    senses = np.arange(SHAPE.vocab)
    senses[[20, 30]] = 10
    found = student_table(directions(), RARITY, 512, senses).rows  # so wide that no two senses have the same by chance
    signs, words = found[:, 30:-SCALAR_CHANNELS], found[:, :30]
    assert torch.equal(signs[20], signs[10])
    assert torch.equal(signs[30], signs[10])
    assert len(torch.unique(signs[4:], dim=0)) == SHAPE.vocab - 4 - 2
    assert not torch.equal(words[20], words[10])
    kept = packed(found.numpy())
    assert kept is not None
    assert any(isinstance(run, Product) and run.which is not None for run in kept.runs)


def test_whitened_rows_differ_as_much_in_every_direction() -> None:
    def extent(words: Any) -> float:
        scale = torch.linalg.svdvals(words[4:] - words[4:].mean(dim=0))
        return float(scale[0] / scale[-1])

    narrow = torch.from_numpy(lessons().pieces * np.geomspace(1, 0.05, 32, dtype=np.float32))
    assert extent(narrow) > 10
    assert extent(whiten(narrow)) < 1.2


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
@settings(max_examples=20, deadline=None)
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


def test_lessons_of_another_version_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "lessons.npz", ids=np.zeros(1, np.int32))
    with pytest.raises(InputError, match=r"has no offsets, langs, .*remove it"):
        Lessons.read(tmp_path / "lessons.npz")


def test_careful_tensors_learn_at_a_share_of_the_rate(student: Student, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    step = training.together_losses(student, lessons(), recipe(), RARE, "cpu")
    training.train(student, Stage(1, 300, 1e-3, 1, careful=0.1), step, tmp_path / "run.pt", "together")
    for name, share in (("colbert_linear.weight", 1.0), ("backbone.encoder.layer.1.attention.self.value.weight", 0.1)):
        moved = (student.state_dict()[name] - before[name]).abs()
        assert moved[moved > 0].median() == pytest.approx(share * 1e-3, rel=0.05)  # Adam's first step is the rate


# ---- scores and losses


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_batch_scores_are_those_of_plain_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    sides = []
    for count in random.integers(1, 5, 2):
        rows = [random.integers(4, 30, random.integers(1, 9)).astype(np.int32) for _ in range(count)]
        ids = pad([np.concatenate([[0], row, [2]]).astype(np.int32) for row in rows])
        generator = torch.Generator().manual_seed(seed)
        lexical = torch.rand(ids.shape, generator=generator) * (ids > 3)
        colbert = torch.nn.functional.normalize(torch.randn(*ids[:, 1:].shape, 8, generator=generator), dim=-1)
        colbert = colbert * (ids[:, 1:, None] != 1)
        dense = torch.nn.functional.normalize(torch.randn(count, 8, generator=generator), dim=-1)
        sides.append(HeadOutputs(dense, ids, lexical, colbert))
    asked, found = sides
    scored = losses.scores(asked, found, 30)
    for i in range(len(asked.ids)):
        for j in range(len(found.ids)):
            words = [
                {t: max(w for u, w in row if u == t) for t, _ in row}
                for row in (
                    list(zip(v.ids[k].tolist(), v.lexical[k].tolist(), strict=True))
                    for v, k in ((asked, i), (found, j))
                )
            ]
            expected = sum(words[0][t] * words[1][t] for t in words[0].keys() & words[1].keys())
            assert scored.sparse[i, j].item() == pytest.approx(expected, abs=1e-5)
            q, p = asked.colbert[i][asked.ids[i, 1:] != 1], found.colbert[j][found.ids[j, 1:] != 1]
            expected = (q @ p.T).amax(1).mean().item()
            assert scored.colbert[i, j].item() == pytest.approx(expected, abs=6e-3)  # bfloat16: 8 bits of each factor


def test_following_a_teacher_is_least_when_the_student_is_the_teacher() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses.distillation(logits, logits).backward()
    assert logits.grad.abs().max() < 1e-6


def test_no_gradient_reaches_a_head_through_the_ensemble() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 4, generator=generator, requires_grad=True) for _ in range(2))
    losses.distillation(student, teacher).backward()
    assert teacher.grad is None


def test_warm_up_asks_for_the_teachers_neighbours_not_for_its_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.nn.functional.normalize(torch.randn(12, 8, generator=generator), dim=-1)
    turned = torch.cat([teacher, torch.zeros(12, 4)], dim=1) @ torch.linalg.qr(torch.randn(12, 12))[0]
    other = torch.nn.functional.normalize(torch.randn(12, 12, generator=generator), dim=-1).requires_grad_()
    best = losses.dense_warmup(turned, teacher, 0.05)
    assert best == pytest.approx(float(losses.dense_warmup(teacher, teacher, 0.05)), abs=1e-4)
    losses.dense_warmup(other, teacher, 0.05).backward()
    assert float(losses.dense_warmup(other, teacher, 0.05)) > float(best) + 0.1
    assert other.grad.abs().max() > 0


def test_lexical_targets_are_bm25s_terms() -> None:
    ids = pad([np.array(row, np.int32) for row in ([0, 5, 6, 5, 2], [0, 7, 2])])
    rarity = torch.arange(10, dtype=torch.float32)
    found = bm25_weights(ids, rarity)
    for row, text in zip(found, ids.tolist(), strict=True):
        words = [t for t in text if t > 3]
        for weight, token in zip(row.tolist(), text, strict=True):
            tf = words.count(token)
            expected = 0.13 * token**0.5 * 2.2 * tf / (tf + 1.2 * (0.25 + 0.75 * len(words) / 150)) if token > 3 else 0
            assert weight == pytest.approx(expected, rel=1e-5)


@given(st.lists(st.lists(st.integers(4, 12), max_size=12), min_size=1, max_size=4), st.integers(0, 999))
@settings(deadline=None)
def test_the_mean_of_words_is_that_of_plain_loops(texts: list[list[int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    table, rarity = random.normal(size=(13, 8)).astype(np.float32), random.uniform(0.5, 9, 13).astype(np.float32)
    ids = pad([np.array([0, *text, 2], np.int32) for text in texts])
    found = mean_of_words(ids, torch.from_numpy(table), torch.from_numpy(rarity)).numpy()
    for vector, text in zip(found, texts, strict=True):
        expected = np.zeros(8)
        for place, word in enumerate(text, 1):
            weight = rarity[word] * 3.5 / (text.count(word) + 2.5) * (0.3 + 0.7 / (1 + place / 60))
            expected += weight * table[word] / np.linalg.norm(table[word])
        assert vector == pytest.approx(expected / max(np.linalg.norm(expected), 1e-12), abs=1e-5)


# ---- batches


def test_an_epoch_has_every_item_once_and_no_batch_beyond_its_tokens() -> None:
    batches = TeacherBatches(lessons(), 300, seed=0)
    rows = np.concatenate(batches.epoch(0))
    assert sorted(rows.tolist()) == list(range(len(rows)))
    assert max(int((batches.batch(r).ids != 1).sum()) for r in batches.epoch(0)) < 300 + 128


def test_no_pair_is_its_own_negative_and_the_diagonal_is_the_answer() -> None:
    batches = SearchBatches(lessons(), 300, seed=0)
    for step in range(6):
        queries, passages, duplicates = batches.batch(step)
        assert len(queries) == len(passages) == len(duplicates)
        assert not duplicates.diagonal().any()


@given(st.lists(st.integers(4, 99), min_size=0, max_size=30), st.integers(0, 999))
@settings(deadline=None)
def test_a_thinned_text_keeps_its_order_and_its_ends(inner: list[int], seed: int) -> None:
    ids = np.array([0, *inner, 2], np.int32)
    found = thin(ids, np.random.default_rng(seed)).tolist()
    assert found[0] == 0
    assert found[-1] == 2
    rest = iter(inner)
    assert all(token in rest for token in found[1:-1])
    assert len(found) > 2 or not inner


# ---- training


@pytest.mark.parametrize("stage", ["warmup", "together"])
def test_an_interrupted_stage_ends_like_one_that_was_not(stage: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(training, "_STEPS_BETWEEN_SAVES", 2)
    torch.set_num_threads(1)

    def run(path: Path, steps: int, stop: int | None = None) -> Student:
        student = initialise(SHAPE, table())
        plan = recipe(steps)
        if stage == "warmup":
            step = training.warmup_losses(student, lessons(), plan.together, 0, RARE, "cpu")
        else:
            step = training.together_losses(student, lessons(), plan, RARE, "cpu")

        def losses_until(number: int) -> Any:
            if number == stop:
                raise KeyboardInterrupt
            return step(number)

        training.train(student, plan.together, losses_until, path, stage)
        return student

    whole = run(tmp_path / "whole.pt", 6)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.pt", 6, stop=5)
    again = run(tmp_path / "cut.pt", 6)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_stage_ends_with_the_running_mean_of_its_weights(tmp_path: Path, student: Student) -> None:
    step, weights = training.together_losses(student, lessons(), recipe(), RARE, "cpu"), []

    def losses_after(number: int) -> Any:
        weights.append(student.colbert_linear.weight.detach().clone())
        return step(number)

    training.train(student, recipe().together, losses_after, tmp_path / "run.pt", "together")
    kept = torch.load(tmp_path / "run.pt", weights_only=True)["model"]
    expected = weights[1]
    for found in (*weights[2:], kept["colbert_linear.weight"]):
        expected = 0.5 * expected + 0.5 * found
    assert torch.allclose(student.colbert_linear.weight, expected, atol=1e-6)
    assert not torch.allclose(student.colbert_linear.weight, kept["colbert_linear.weight"], atol=1e-4)


def test_a_mean_cannot_be_asked_for_after_the_start(tmp_path: Path, student: Student) -> None:
    step = training.together_losses(student, lessons(), recipe(), RARE, "cpu")
    plan = recipe(2).together
    training.train(student, replace(plan, mean=0.0), step, tmp_path / "run.pt", "together")
    with pytest.raises(InputError, match="has no running mean, expected one"):
        training.train(student, plan, step, tmp_path / "run.pt", "together")


def test_training_lowers_the_loss_of_every_head(tmp_path: Path, student: Student) -> None:
    step = training.together_losses(student, lessons(), recipe(), RARE, "cpu")
    run = training.train(student, Stage(60, 300, 3e-3, 5), step, tmp_path / "run.pt", "together")
    for name in ("dense", "sparse", "colbert"):
        start, end = (np.mean([row[name] for row in part]) for part in (run.history[:9], run.history[-9:]))
        assert end < start, name


def test_heads_alone_leave_the_encoder_as_it_was(tmp_path: Path) -> None:
    student = checkpoint.load(write_checkpoint(tmp_path / "tiny"))
    student.backbone.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    step = training.together_losses(student, lessons(), recipe(), RARE, "cpu")
    training.train(student, Stage(4, 300, 1e-3, 1), step, tmp_path / "run.pt", "heads")
    changed = {name for name, tensor in student.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"sparse_linear.weight", "sparse_linear.bias", "colbert_linear.weight", "colbert_linear.bias"}


def test_lexical_weights_are_held_to_bm25s(tmp_path: Path) -> None:
    def end(lexical: float) -> float:
        student = initialise(SHAPE, table())
        step = training.together_losses(student, lessons(), replace(recipe(), lexical=lexical), RARE, "cpu")
        path = tmp_path / f"{lexical}.pt"
        run = training.train(student, Stage(60, 300, 3e-3, 5), step, path, "together")
        return float(np.mean([row["lexical"] for row in run.history[-9:]]))

    assert end(10.0) < end(0.0) / 2


def test_dense_vectors_are_held_to_the_mean_of_words(tmp_path: Path) -> None:
    def end(anchor: float) -> float:
        student = initialise(SHAPE, table())
        student.backbone.embeddings.word_embeddings.requires_grad_(False)
        step = training.together_losses(student, lessons(), replace(recipe(), anchor=anchor), RARITY, "cpu")
        path = tmp_path / f"{anchor}.pt"
        run = training.train(student, Stage(60, 300, 3e-3, 5), step, path, "together")
        return float(np.mean([row["anchor"] for row in run.history[-9:]]))

    assert end(5.0) < end(0.0) / 2


# ---- the command


def write_data(directory: Path) -> Path:
    """Pairs of one data set, "set", in the directory of a recipe's data."""
    (directory / "set").mkdir(parents=True)
    rows = [{"a": a, "b": a.upper(), "lang_a": "en", "lang_b": "de"} for a in sentences()]
    (directory / "set" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return directory


@pytest.mark.parametrize("stages", [2, 3])
def test_one_command_makes_a_student_that_exports_and_goes_on_where_it_was(
    stages: int, bundle_fp32: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    texts = sentences()
    data = write_data(tmp_path / "data")
    plan = tmp_path / "recipe.toml"
    plan.write_text(RECIPE if stages == 2 else WARMUP + RECIPE, "utf-8")
    command = ["train", str(plan), "--data", str(data), "--teacher", str(bundle_fp32), "--out"]
    run = CliRunner().invoke(main, [*command, str(tmp_path / "run")], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*.pt")}
    assert len(kept) == stages
    model = M3Encoder(export(tmp_path / "run" / "student", tmp_path / "bundle", precision="fp32").path, threads=1)
    words = torch.load(tmp_path / "run" / "bag.pt", weights_only=True)["mean"]["module.table.weight"]
    rarity = Vocabulary.read(tmp_path / "run" / "vocabulary").rarity
    kept_table = checkpoint.load(tmp_path / "run" / "student").backbone.embeddings.word_embeddings.weight
    read = Lessons.read(tmp_path / "run" / "lessons.npz")
    links = dictionary.find_links(read, len(rarity), 0)
    taught = dictionary.move_to_meanings(align_languages(whiten(words[:, :-1]), rarity, read, 0), links)
    taught = align_languages(taught, rarity, read, 0)
    meant = dictionary.senses_of(dictionary.add_nearest(links, taught, read, 0), len(rarity))
    assert torch.equal(kept_table, student_table(taught, rarity, 48, meant).rows)
    found = model.encode(texts[:2], return_sparse=True, return_colbert_vecs=True)
    assert found.dense_vecs.shape == (2, 48)
    assert found.colbert_vecs[0].shape[1] == 8
    assert all(found.lexical_weights)
    monkeypatch.setattr(training, "_STEPS_BETWEEN_SAVES", 10**9)  # so that only a step could write
    again = CliRunner().invoke(main, [*command, str(tmp_path / "run")], catch_exceptions=False)
    assert again.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_sizes_that_do_not_fit_are_an_error_before_anything_is_trained(bundle_fp32: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("hidden = 48", "hidden = 49"), "utf-8")
    plan, data = Recipe.read(tmp_path / "recipe.toml"), write_data(tmp_path / "data")
    with pytest.raises(InputError, match="hidden is 49, expected a multiple of heads 2"):
        Pipeline(plan, data, bundle_fp32, tmp_path / "run").run()
    assert not list((tmp_path / "run").glob("*.pt"))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("mean = 0.5", "mean = 1.5", "a mean of 0 to 1"),
        ("mean = 0.5", "careful = 0.0", "careful above 0"),
        ("substituted = 20", "substituted = -1", "substituted -1, passages 4: expected 0 or more"),
        ("layers = 1", "layer = 1", "has 'layer', expected only"),
        ("set = 1000", "other = 1000", "other has no pairs.jsonl and no texts.jsonl, expected one; check the path"),
    ],
)
def test_a_bad_recipe_is_one_line(before: str, after: str, line: str, bundle_fp32: Path, tmp_path: Path) -> None:
    assert before in RECIPE
    (tmp_path / "recipe.toml").write_text(RECIPE.replace(before, after), "utf-8")
    options = ["--data", str(tmp_path), "--teacher", str(bundle_fp32), "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "m3rt_distill", "train", str(tmp_path / "recipe.toml"), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("m3rt_distill: ")
    assert line in run.stderr
    assert run.stderr.count("\n") == 1


WARMUP = "warmup = { steps = 3, tokens = 400, rate = 1e-3, warmup = 1 }"

RECIPE = """
langs = ["en", "de"]
vocabulary = 200
components = 16
hidden = 48
colbert = 8
layers = 1
heads = 2
ffn = 16
positions = 66
epsilon = 0.1
substituted = 20
passages = 4
characters = [30, 200]
bag = { steps = 3, tokens = 400, rate = 1e-3, warmup = 1, mean = 0.5 }
together = { steps = 3, tokens = 400, rate = 1e-3, warmup = 1, mean = 0.5 }
temperatures = { dense = 0.05, sparse = 0.5, colbert = 0.05 }
weights = { dense = 1.0, sparse = 0.3, colbert = 1.0 }
[sets]
set = 1000
"""
