"""m3rt bench measures what it says, ends with a line of JSON, and shows an error in one line."""

import json
import math
import mmap
from pathlib import Path

import numpy as np
import pytest

from m3rt import M3Encoder
from m3rt.cli import main
from m3rt.tuning import speed

Captured = pytest.CaptureFixture[str]


def test_the_last_line_is_json_with_every_number(bundle_int8: Path, capsys: Captured) -> None:
    arguments = ["--quick", "--engine", "onnxruntime", "--threads", "1", "--batch-tokens", "99"]
    assert main(["bench", str(bundle_int8), *arguments]) == 0
    out, _ = capsys.readouterr()
    result = json.loads(out.splitlines()[-1])
    assert result.keys() == {"conditions", "quick", "latency_ms", "tokens_per_s", "memory", "cold_start_s"}
    conditions = result["conditions"]
    assert conditions.keys() >= {"cpu", "cpus", "versions", "precision", "engine", "threads", "batch_tokens"}
    assert [conditions[k] for k in ("engine", "threads", "batch_tokens", "precision")] == ["onnxruntime", 1, 99, "int8"]
    assert list(result["latency_ms"]) == ["1x8", "1x16", "1x64", "1x512"]
    assert result["latency_ms"]["1x8"].keys() == {"p50", "p95", "p99", "runs"}
    assert result["latency_ms"]["1x512"] is None  # the tiny model takes 128 tokens
    assert result["tokens_per_s"].keys() == {"8x128", "mixed"}
    assert result["memory"].keys() == {"rss", "private_anonymous", "peak"}
    assert result["cold_start_s"] > 0
    assert out.splitlines()[0].startswith("cpu ")  # conditions first


@pytest.mark.parametrize("arguments", [["/no/bundle"], ["{bundle}", "--threads", "0"], ["{bundle}", "--engine", "x"]])
def test_bad_input_is_one_line_and_status_2(bundle_int8: Path, arguments: list[str], capsys: Captured) -> None:
    assert main(["bench", *(a.format(bundle=bundle_int8) for a in arguments)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("m3rt: error: ")


@pytest.mark.parametrize("tokens", [3, 8, 16, 64, 128])
def test_a_text_is_cut_to_exactly_its_tokens(int8: M3Encoder, tokens: int) -> None:
    texts = [speed.text_of(int8, tokens, seed) for seed in range(4)]
    assert len(set(texts)) == 4
    assert int8.encode(texts, max_length=tokens).n_tokens.tolist() == [tokens] * 4


def test_mixed_lengths_are_the_same_each_time_and_in_range() -> None:
    lengths = speed.mixed_lengths(1000, 512)
    assert lengths == speed.mixed_lengths(1000, 512)
    assert (min(lengths), max(lengths)) == (8, 512)
    assert 50 < np.median(lengths) < 80


@pytest.mark.parametrize("runs", [1, 19, 20, 99, 100, 1000])
def test_percentiles_are_numpys_or_left_out_where_runs_are_few(runs: int) -> None:
    seconds = np.random.default_rng(0).random(runs).tolist()
    numbers = speed.percentiles(seconds)
    assert numbers["runs"] == runs
    for name, percent, enough in (("p50", 50, 1), ("p95", 95, 20), ("p99", 99, 100)):
        expected = 1e3 * float(np.percentile(seconds, percent, method="inverted_cdf"))
        value = numbers[name]
        assert (value is not None) == (runs >= enough)
        assert value is None or math.isclose(value, expected)


def test_memory_counts_what_is_held() -> None:
    before = speed.memory()["private_anonymous"]
    if before is None:
        pytest.skip("the system does not tell")
    # A new mapping: an array may get memory that the process has had before.
    with mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(bytes(len(held)))
        after = speed.memory()["private_anonymous"]
        assert after is not None
        assert after - before > 0.9 * len(held)


def test_runs_end_at_their_number_and_have_a_least() -> None:
    calls: list[int] = []
    assert len(speed.timed(calls.append, runs=4, seconds=1e9, min_runs=1)) == 4
    assert len(speed.timed(calls.append, runs=9, seconds=0, min_runs=3)) == 3
    assert calls == [0, 1, 2, 3, 0, 1, 2]
