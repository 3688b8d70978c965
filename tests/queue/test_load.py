"""How long a request will wait: by the speed of the last passes, in turns by tokens."""

from collections.abc import Iterator
from concurrent.futures import wait

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_engine import Slow, closed

from m3rt import M3Encoder, QueueFull
from m3rt.queue import Queue
from m3rt.queue.load import Load
from m3rt.queue.waiting import SHORT_TOKENS


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def slow(fp32: M3Encoder) -> Iterator[Slow]:
    engine = Slow(fp32.engine)
    yield engine
    engine.open.set()


def measured(speed: float) -> tuple[Load, Clock]:
    """A load whose passes answer so many tokens a second."""
    clock = Clock()
    load = Load(clock=clock)
    load.add(100)
    for _ in range(3):
        clock.now += 100 / speed
        load.passed(100, more=True)
    load.remove(100)
    return load, clock


def test_nothing_is_known_before_the_second_pass_since_the_first_one_compiles() -> None:
    clock = Clock()
    load = Load(clock=clock)
    load.add(10)
    clock.now = 30
    load.passed(10, more=True)
    assert load.seconds() == 0
    clock.now = 31
    load.passed(10, more=True)
    assert load.seconds() == 1


def test_a_short_request_waits_for_all_the_short_ones_since_they_share_passes() -> None:
    load, _ = measured(100)
    for _ in range(10):
        load.add(30)
    assert load.seconds(4) == load.seconds(30) == pytest.approx(3)
    load.add(100_000)
    assert load.seconds(4) == pytest.approx(11 * SHORT_TOKENS / 100)


@given(st.floats(1, 1e6), st.lists(st.integers(1, 5000), max_size=20), st.integers(1, 5000))
def test_a_request_waits_for_as_many_tokens_of_each_other_one_as_it_has_but_not_for_more_than_there_are(
    speed: float, others: list[int], tokens: int
) -> None:
    load, _ = measured(speed)
    for other in others:
        load.add(other)
    exact = sum(min(other, tokens) for other in others) / speed
    assert load.seconds(tokens) >= exact * (1 - 1e-6)
    assert load.seconds(tokens) <= sum(others) / speed * (1 + 1e-6)
    assert load.seconds() == pytest.approx(sum(others) / speed)
    for other in others:
        load.remove(other)
    assert load.seconds() == 0


def test_idle_time_is_not_measured_but_time_between_passes_is() -> None:
    load, clock = measured(100)
    clock.now += 1000
    load.add(100)
    clock.now += 1
    load.passed(100, more=True)
    assert load.seconds() == pytest.approx(1)
    for _ in range(100):
        clock.now += 2  # half of it in whatever else the process does
        load.passed(100, more=True)
    assert load.seconds() == pytest.approx(2, rel=1e-3)


def test_a_server_with_little_to_do_is_not_taken_for_a_slow_one() -> None:
    load, clock = measured(1000)
    load.add(100)
    for _ in range(100):
        clock.now += 1
        load.passed(3, more=False)
    assert load.seconds() == pytest.approx(0.1)


def test_the_fixed_cost_of_a_pass_is_not_taken_for_its_tokens_and_waited_for_once() -> None:
    clock = Clock()
    load = Load(20, clock)
    load.add(1000)
    for _ in range(3):
        load.passed(4, more=True)
        clock.now += (4 + 20) / 100
    assert load.seconds() == pytest.approx(10.2)


def test_what_would_wait_too_long_is_refused_when_it_is_booked_and_when_it_is_sent(fp32: M3Encoder, slow: Slow) -> None:
    queue = Queue(slow, fp32.manifest, batch_tokens=fp32.batch_tokens, max_wait=1e-9)
    queue.submit(fp32.prepare("the pass that compiles")).result(60)
    closed(slow)
    one = queue.submit(fp32.prepare("a text"))
    assert slow.entered.acquire(timeout=60)
    other = queue.submit(fp32.prepare("another one"))  # nothing is known of the speed
    slow.open.set()
    wait([one, other], 60)
    give_up = queue.book(10)
    line = r"^the requests before this one take [0-9.e-]+ s, expected at most 1e-09 s; try again later$"
    with pytest.raises(QueueFull, match=line):
        queue.book(10)
    with pytest.raises(QueueFull, match=line):
        queue.submit(fp32.prepare("a text"))
    give_up()
    give_up()
    assert queue.cost == 0
    assert len(queue.submit(fp32.prepare("a text")).result(60)) == 1
