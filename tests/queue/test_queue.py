"""The queue in front of an engine: results as encode()'s, merged passes, cancelled callers, deadlines, a full queue."""

import asyncio
import os
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import wait

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from m3rt import DeadlinePassed, Embeddings, EngineError, InputError, M3Encoder, QueueFull
from m3rt.engines import Engine, Heads, Outputs
from m3rt.queue import Pass, Queue
from m3rt.queue.waiting import SHORT_TOKENS

ALL = {"return_sparse": True, "return_colbert_vecs": True}


class Gate:
    """An engine that runs another one's passes, each when the test lets it."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.device, self.threads = engine.name, engine.device, engine.threads
        self.batch_tokens, self.pass_tokens = engine.batch_tokens, engine.pass_tokens
        self.parallel_passes = engine.parallel_passes
        self._engine = engine
        self._passes = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.shapes: list[tuple[int, ...]] = []
        self.broken: Exception | None = None

    def open(self, passes: int = 10_000) -> None:
        self._passes.release(passes)

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], heads: Heads) -> Outputs:
        self.shapes.append(input_ids.shape)
        self.entered.release()
        assert self._passes.acquire(timeout=60)
        if self.broken is not None:
            raise self.broken
        return self._engine.run(input_ids, attention_mask, heads)


@pytest.fixture
def gate(fp32: M3Encoder) -> Iterator[Gate]:
    gate = Gate(fp32.engine)
    yield gate
    gate.open()


def queue_of(encoder: M3Encoder, engine: Engine, **options: object) -> Queue:
    return Queue(engine, encoder.manifest, batch_tokens=encoder.batch_tokens, **options)  # type: ignore[arg-type]


def emptied(queue: Queue) -> None:
    """Wait until nothing counts any more: a caller may have its answer a moment before that."""
    end = time.monotonic() + 60
    while queue.cost or queue.texts:
        assert time.monotonic() < end, (queue.cost, queue.texts)
        time.sleep(0.001)


def recovers(queue: Queue, gate: Gate, encoder: M3Encoder) -> None:
    gate.broken = None
    gate.open()
    assert queue.submit(encoder.prepare("two")).result(60).dense_vecs is not None
    emptied(queue)


def busy(queue: Queue, gate: Gate, encoder: M3Encoder) -> None:
    """Let the queue wait inside a pass."""
    queue.submit(encoder.prepare("the first pass"))
    assert gate.entered.acquire(timeout=60)


def assert_equal(one: Embeddings, other: Embeddings, tolerance: float) -> None:
    assert one.dense_vecs is not None
    assert one.sparse is not None
    assert one.multi is not None
    assert other.sparse is not None
    assert other.multi is not None
    np.testing.assert_allclose(one.dense_vecs, other.dense_vecs, atol=tolerance, rtol=0)
    np.testing.assert_array_equal(one.sparse.indices, other.sparse.indices)
    np.testing.assert_allclose(one.sparse.values, other.sparse.values, atol=tolerance, rtol=0)
    np.testing.assert_array_equal(one.multi.offsets, other.multi.offsets)
    np.testing.assert_allclose(one.multi.vectors, other.multi.vectors, atol=tolerance, rtol=0)
    np.testing.assert_array_equal(one.n_tokens, other.n_tokens)


@given(st.lists(st.text(st.sampled_from("ab cdé東 "), max_size=300), max_size=30))
@settings(max_examples=30)
def test_a_lone_caller_gets_bit_for_bit_what_encode_gives(fp32: M3Encoder, texts: list[str]) -> None:
    assert_equal(asyncio.run(fp32.aencode(texts, **ALL)), fp32.encode(texts, **ALL), 0)


@given(st.lists(st.lists(st.text(st.sampled_from("ab cdé東 "), max_size=200), max_size=8), min_size=2, max_size=12))
@settings(max_examples=30)
def test_callers_who_share_passes_get_what_encode_gives(fp32: M3Encoder, requests: list[list[str]]) -> None:
    async def everyone() -> list[Embeddings]:
        return await asyncio.gather(*(fp32.aencode(texts, **ALL) for texts in requests))

    for texts, out in zip(requests, asyncio.run(everyone()), strict=True):
        assert_equal(out, fp32.encode(texts, **ALL), 1e-5)


def test_each_caller_gets_the_views_that_it_asked_for(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate)
    busy(queue, gate, fp32)
    dense = queue.submit(fp32.prepare("one two"))
    sparse = queue.submit(fp32.prepare("one two", return_dense=False, return_sparse=True))
    gate.open()
    one, two = dense.result(60), sparse.result(60)
    assert gate.shapes[1][0] == 2  # both in one pass
    assert (one.sparse, one.multi, two.dense_vecs, two.multi) == (None, None, None, None)
    expected = fp32.encode("one two", return_sparse=True)
    assert one.dense_vecs is not None
    assert two.sparse is not None
    assert expected.sparse is not None
    np.testing.assert_allclose(one.dense_vecs, expected.dense_vecs, atol=1e-5)
    np.testing.assert_allclose(two.sparse.values, expected.sparse.values, atol=1e-5)


def test_what_waits_while_the_engine_is_busy_runs_as_one_pass(fp32: M3Encoder, gate: Gate) -> None:
    passes: list[Pass] = []
    queue = queue_of(fp32, gate, on_pass=passes.append)
    busy(queue, gate, fp32)
    futures = [queue.submit(fp32.prepare(f"text {i}")) for i in range(8)]
    assert queue.texts == 8
    gate.open()
    wait(futures, 60)
    assert [(done.requests, done.texts) for done in passes] == [(1, 1), (8, 8)]
    emptied(queue)


def test_a_caller_who_cancels_costs_no_pass(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate)
    busy(queue, gate, fp32)
    gone = [queue.submit(fp32.prepare(["many"] * 500)) for _ in range(3)]
    kept = queue.submit(fp32.prepare("kept"))
    assert all(future.cancel() for future in gone)
    assert queue.texts == 1
    gate.open()
    assert kept.result(60).dense_vecs is not None
    assert len(gate.shapes) == 2


def test_a_cancelled_task_takes_its_texts_out_of_the_queue(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate)
    busy(queue, gate, fp32)

    async def leave() -> None:
        task = asyncio.ensure_future(queue.encode(fp32.prepare(["gone"] * 100)))
        await asyncio.sleep(0)
        assert queue.texts == 100
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(leave())
    assert queue.texts == 0


def test_a_caller_who_leaves_amid_its_passes_frees_the_engine(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate)
    large = queue.submit(fp32.prepare(["many words in here"] * 1000))
    assert gate.entered.acquire(timeout=60)
    assert large.cancel()
    gate.open()
    assert queue.submit(fp32.prepare("next")).result(60).dense_vecs is not None
    assert len(gate.shapes) == 2


def test_a_request_after_its_deadline_is_not_run(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate)
    busy(queue, gate, fp32)
    late = queue.submit(fp32.prepare("late"), deadline=time.monotonic() - 1)
    early = queue.submit(fp32.prepare("early"), deadline=time.monotonic() + 600)
    gate.open()
    with pytest.raises(DeadlinePassed, match="not answered before its deadline; try again later"):
        late.result(60)
    assert early.result(60).dense_vecs is not None
    assert gate.shapes[1][0] == 1
    emptied(queue)


def test_a_deadline_holds_while_a_pass_runs(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate)
    busy(queue, gate, fp32)

    async def ask() -> Embeddings:
        return await queue.encode(fp32.prepare("late"), deadline=time.monotonic() + 0.05)

    with pytest.raises(DeadlinePassed, match="before its deadline"):
        asyncio.run(ask())  # while the engine is still inside the first pass
    assert queue.texts == 0
    gate.open()


def test_a_fault_in_the_last_step_of_a_request_is_its_own(fp32: M3Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_of(fp32, fp32.engine)

    def fail(*_: object) -> Embeddings:
        raise MemoryError("no room for the result")

    with monkeypatch.context() as patched:
        patched.setattr("m3rt.queue.requests.Collector.embeddings", fail)
        with pytest.raises(MemoryError):
            queue.submit(fp32.prepare("one")).result(60)
    assert len(queue.submit(fp32.prepare("two")).result(60)) == 1
    emptied(queue)


def test_whoever_measures_cannot_stop_the_queue(fp32: M3Encoder, caplog: pytest.LogCaptureFixture) -> None:
    def fail(done: Pass) -> None:
        raise RuntimeError("the disk of the log is full")

    queue = queue_of(fp32, fp32.engine, on_pass=fail)
    for text in ("one", "two"):
        assert len(queue.submit(fp32.prepare(text)).result(60)) == 1
    assert "on_pass failed" in caplog.text


def test_a_full_queue_says_so_at_once_and_takes_more_when_it_is_empty(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate, capacity=40)
    busy(queue, gate, fp32)
    with pytest.raises(
        QueueFull, match=r"the queue is full: \d+ tokens wait and \d+ more were sent, expected at most 40"
    ):
        queue.submit(fp32.prepare("words " * 30))
    small = queue.submit(fp32.prepare("small"))
    gate.open()
    small.result(60)
    emptied(queue)
    assert queue.submit(fp32.prepare("words " * 30)).result(60).dense_vecs is not None


def test_colbert_vectors_count_as_the_memory_that_they_take(fp32: M3Encoder) -> None:
    assert fp32.prepare("a text", **ALL).cost == 32 * fp32.prepare("a text").cost


def test_an_engine_that_fails_fails_those_in_the_pass_and_no_one_else(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate)
    gate.broken = EngineError("no memory")
    failed = queue.submit(fp32.prepare("one"))
    gate.open(1)
    with pytest.raises(EngineError, match="no memory"):
        failed.result(60)
    recovers(queue, gate, fp32)


def test_an_output_that_is_not_finite_fails_its_own_request_alone(fp32: M3Encoder) -> None:
    class Poisoned(Gate):
        def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], heads: Heads) -> Outputs:
            out = super().run(input_ids, attention_mask, heads)
            assert out.dense is not None
            out.dense[(input_ids == bad).any(axis=1)] = np.nan
            return out

    gate, bad = Poisoned(fp32.engine), fp32.tokenize("東")[-2]
    queue = queue_of(fp32, gate)
    busy(queue, gate, fp32)
    good, poisoned = queue.submit(fp32.prepare("good")), queue.submit(fp32.prepare(["good", "東"]))
    gate.open()
    with pytest.raises(EngineError, match="not finite for text 1"):
        poisoned.result(60)
    assert good.result(60).dense_vecs is not None


def test_passes_run_side_by_side(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate, passes=2)
    busy(queue, gate, fp32)
    second = queue.submit(fp32.prepare("the second pass"))
    assert gate.entered.acquire(timeout=60)
    gate.open()
    assert second.result(60).dense_vecs is not None


@given(st.lists(st.lists(st.text(st.sampled_from("ab cdé東 "), max_size=200), max_size=40), min_size=2, max_size=6))
@settings(max_examples=20)
def test_requests_that_run_in_several_passes_at_a_time_get_what_encode_gives(
    fp32: M3Encoder, requests: list[list[str]]
) -> None:
    queue = Queue(fp32.engine, fp32.manifest, batch_tokens=64, passes=3)
    futures = [queue.submit(fp32.prepare(texts, **ALL)) for texts in requests]
    for texts, future in zip(requests, futures, strict=True):
        assert_equal(future.result(60), fp32.encode(texts, **ALL), 1e-5)
    emptied(queue)


def test_long_texts_leave_one_of_two_passes_to_short_ones_that_wait() -> None:
    encoder, long = M3Encoder(), "words " * SHORT_TOKENS
    gate = Gate(encoder.engine)
    queue = queue_of(encoder, gate, passes=2)
    busy(queue, gate, encoder)
    queue.submit(encoder.prepare(long))
    assert gate.entered.acquire(timeout=60)
    waiting = [queue.submit(encoder.prepare(text)) for text in (long, long, "short", "and short")]
    gate.open(1)  # for the first pass, which came first
    assert gate.entered.acquire(timeout=60)
    gate.open()
    wait(waiting, 60)
    assert sorted(shape[1] > SHORT_TOKENS for shape in gate.shapes[:3]) == [False, False, True]


def test_long_texts_take_every_pass_when_nothing_short_waits() -> None:
    encoder, long = M3Encoder(), "words " * SHORT_TOKENS
    gate = Gate(encoder.engine)
    queue = queue_of(encoder, gate, passes=2)
    futures = []
    for _ in range(2):
        futures.append(queue.submit(encoder.prepare(long)))
        assert gate.entered.acquire(timeout=60)
    gate.open()
    wait(futures, 60)


def test_an_engine_that_fails_in_two_passes_of_a_request_fails_it_once(fp32: M3Encoder, gate: Gate) -> None:
    queue = queue_of(fp32, gate, passes=2)
    gate.broken = EngineError("no memory")
    failed = queue.submit(fp32.prepare(["many words in here"] * 1000))
    for _ in range(2):
        assert gate.entered.acquire(timeout=60)
    gate.open(2)
    with pytest.raises(EngineError, match="no memory"):
        failed.result(60)
    recovers(queue, gate, fp32)


def test_options_are_checked_as_encode_checks_them(fp32: M3Encoder) -> None:
    with pytest.raises(InputError, match="max_length is 2, expected"):
        asyncio.run(fp32.aencode("x", max_length=2))
    with pytest.raises(InputError, match="text 0 is an int"):
        asyncio.run(fp32.aencode([1]))  # type: ignore[list-item]
    assert len(asyncio.run(fp32.aencode([]))) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks only where the system does")
def test_a_forked_child_has_a_queue_of_its_own(fp32: M3Encoder) -> None:
    asyncio.run(fp32.aencode("before"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if not child:
        out = fp32.queue.submit(fp32.prepare("in the child")).result(60)
        os._exit(0 if len(out) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
