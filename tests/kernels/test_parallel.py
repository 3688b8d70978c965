"""Ranges on threads: each once, from any number of threads, after a fork, and with errors that come out."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3rt_kernels import maxsim_int8, quantize_int8
from m3rt_kernels.parallel import run_ranges, split, thread_count


@given(total=st.integers(0, 1000), parts=st.integers(1, 50))
def test_a_split_covers_everything_in_nearly_equal_parts(total: int, parts: int) -> None:
    sizes = np.diff(split(total, parts))
    assert sizes.sum() == total
    assert 1 <= len(sizes) <= parts
    assert sizes.max() - sizes.min() <= 1


@given(bounds=st.lists(st.integers(0, 100), min_size=1, max_size=20).map(sorted), threads=st.integers(1, 8))
def test_every_range_is_done_once(bounds: Sequence[int], threads: int) -> None:
    done: Counter[tuple[int, int]] = Counter()
    lock = threading.Lock()

    def work(begin: int, end: int) -> None:
        with lock:
            done[begin, end] += 1

    run_ranges(work, bounds, threads)
    assert done == Counter(pairwise(bounds))


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_in_a_range_is_the_callers_and_ends_the_work(threads: int) -> None:
    done: list[int] = []

    def work(begin: int, end: int) -> None:
        done.append(begin)
        if begin == 3:
            raise KeyError("three")

    with pytest.raises(KeyError, match="three"):
        run_ranges(work, range(1001), threads)
    assert len(done) < 1000


def test_sixteen_threads_at_once_get_their_own_results() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(4000, 256)).astype(np.float32)
    queries = draw.normal(size=(16, 32, 256)).astype(np.float32)
    offsets, rows = np.arange(0, 4001, 40), quantize_int8(vectors)
    expected = [maxsim_int8(query, *rows, offsets, threads=1) for query in queries]

    def often(i: int) -> bool:
        return all((maxsim_int8(queries[i], *rows, offsets, threads=4) == expected[i]).all() for _ in range(20))

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(often, range(16)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_with_threads_of_its_own() -> None:
    script = """
import os, warnings
import numpy as np
from m3rt_kernels import maxsim
warnings.simplefilter("ignore")  # Python 3.12 warns of a fork beside threads, which is what this is about
vectors = np.random.default_rng(0).normal(size=(4000, 1024)).astype(np.float32)
call = lambda: maxsim(vectors[:32], vectors, np.arange(0, 4001, 100), threads=4)
before = call()
child = os.fork()
if not child:
    os._exit(0 if (call() == before).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), (call() == before).all())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0 True\n", "")


def test_threads_default_to_the_cpus_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m3rt_kernels.parallel.quota", lambda: 2.5)
    monkeypatch.setattr("m3rt_kernels.parallel.affinity", lambda: 8)
    from m3rt_kernels import parallel

    parallel._quota.cache_clear()
    try:
        assert (thread_count(None), thread_count(5)) == (3, 5)
    finally:
        parallel._quota.cache_clear()


@pytest.mark.parametrize("threads", [0, -1, 2.0, True, "2"])
def test_threads_that_are_no_count_are_refused(threads: object) -> None:
    with pytest.raises(ValueError, match=r"threads is .*, expected an integer of at least 1"):
        thread_count(threads)  # type: ignore[arg-type]
