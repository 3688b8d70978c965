"""Cards: whatever keeps them from use is one line, and a pass that does not fit runs in smaller ones.

No test here needs a card. The driver and onnxruntime's CUDA build have stand-ins; passes run on a CPU session that has
little memory.
"""

import ctypes
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from checkpoints import write_checkpoint
from m3rt_export import export
from numpy.typing import NDArray

from m3rt import DeviceMissing, EngineError, M3Encoder, M3Reranker
from m3rt.bundle import Bundle, open_bundle
from m3rt.engines import Heads, cards, profile
from m3rt.engines.cards import card_number, fault
from m3rt.engines.cuda import CudaEngine
from m3rt.engines.profile import Profile, Setting
from m3rt.host.nvidia import Driver, driver

NAMES = ("NVIDIA A", "NVIDIA B")
TWO_CARDS = Driver((13, 1), NAMES)


class Library:
    """libcuda.so.1 as its functions' documentation says: a status is returned, a value written to a pointer."""

    def __init__(self, version: int = 13010, init: int = 0, cards: int = 2) -> None:
        self.version, self.init, self.cards = version, init, cards

    def cuDriverGetVersion(self, pointer: Any) -> int:
        return self._write(pointer, self.version)

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDeviceGetCount(self, pointer: Any) -> int:
        return self._write(pointer, self.cards)

    def cuDeviceGetName(self, text: Any, size: int, card: int) -> int:
        text.value = NAMES[card].encode()
        return 0

    def _write(self, pointer: Any, value: int) -> int:
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = value
        return 0


def build(said: str = "", version: str = "13.0") -> Any:
    """An onnxruntime with CUDA, whose preload_dlls() prints what it misses."""
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    return SimpleNamespace(
        get_available_providers=lambda: providers, cuda_version=version, preload_dlls=lambda msvc: print(said, end="")
    )


# ---- the driver


@pytest.mark.parametrize(("library", "expected"), [
    (Library(), TWO_CARDS),
    (Library(version=12080, cards=1), Driver((12, 8), NAMES[:1])),
    (Library(init=100), "finds no card"),
    (Library(cards=0), "finds no card"),
    (Library(init=3), "start processes with 'spawn'"),
    (Library(init=803), "different versions; reboot"),
    (Library(init=999), "the driver cannot start (CUDA error 999)"),
])  # fmt: skip
def test_the_driver_is_read(library: Library, expected: Driver | str) -> None:
    found = driver(lambda name: library)
    if isinstance(expected, Driver):
        assert found == expected
    else:
        assert expected in found.fault
        assert found.cards == ()


def test_a_machine_without_a_driver_says_so() -> None:
    def load(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert "this machine has no NVIDIA driver" in driver(load).fault


# ---- what keeps onnxruntime from a card


@pytest.mark.parametrize(("ort", "card", "found", "words"), [
    (build(), 0, Driver((0, 0), (), "this machine has no NVIDIA driver (libcuda.so.1)"), "no NVIDIA driver"),
    (build(), 0, Driver((12, 4), NAMES[:1]), "the driver runs CUDA 12.4, and this onnxruntime needs CUDA 13; update"),
    (build(), 2, TWO_CARDS, "the cards here are 0..1"),
    (build("Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open\nmore\n"), 0, TWO_CARDS,
     'the library libcublasLt.so.13 is missing; run: pip install "m3rt[gpu]"'),
])  # fmt: skip
def test_each_fault_is_one_line_with_a_way_out(
    ort: Any, card: int, found: Driver, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fault(ort, card, found)
    assert line is not None
    assert words in line
    assert "\n" not in line
    assert capsys.readouterr().out == ""  # stdout is for results


def test_nothing_keeps_it_from_a_card_that_is_there() -> None:
    assert fault(build("Failed to remember\n"), 1, TWO_CARDS) is None
    assert fault(build(version=""), 0, TWO_CARDS) is None


@pytest.mark.parametrize(("device", "card"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:12", 12)])
def test_a_card_is_named_by_its_number(device: str, card: int) -> None:
    assert card_number(device) == card


@pytest.mark.parametrize("name", ["bundle_fp32", "bundle_int8"])
def test_without_a_card_auto_is_the_cpu_and_cuda_a_refusal(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = request.getfixturevalue(name)
    monkeypatch.setattr(cards, "driver", lambda: Driver((0, 0), (), "this machine has no NVIDIA driver (libcuda.so.1)"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", build().get_available_providers)
    assert M3Encoder(bundle, engine="onnxruntime", threads=1).device == "cpu"
    with pytest.raises(DeviceMissing, match="cuda:1 was asked for, but this machine has no NVIDIA driver"):
        M3Encoder(bundle, device="cuda:1")


def test_a_bundle_for_cpus_is_refused_on_a_card_by_name(bundle_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "fault", lambda ort, card: None)
    with pytest.raises(DeviceMissing, match="is int8, whose kernels are for CPUs; export with --precision fp16"):
        M3Encoder(bundle_int8, device="cuda")


def test_a_provider_that_does_not_start_is_no_silent_fallback(
    bundle_fp32: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This onnxruntime has no CUDA: it makes a session on the CPU and warns, as it does where libraries are missing."""
    monkeypatch.setattr(cards, "fault", lambda ort, card: None)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(DeviceMissing, match="did not start"):
        M3Encoder(bundle_fp32, device="cuda")


# ---- passes and memory


# onnxruntime's own, with the words that matter at their place, far behind the names of files and functions.
FULL = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running MatMul node. Name:'" + "m" * 700 + "' "
    "Status Message: CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=cuda_call.cc ; line=29 ; expr=cudaMalloc"
)


class Card:
    """A session of a graph with memory for so many tokens, on the CPU."""

    def __init__(self, bundle: Bundle, tokens: int) -> None:
        self._session = onnxruntime.InferenceSession(bundle.graph("onnxruntime"), providers=["CPUExecutionProvider"])
        self.tokens, self.passes = tokens, list[tuple[int, ...]]()

    def run(self, names: list[str], feeds: dict[str, NDArray[Any]], options: Any) -> list[NDArray[Any]]:
        self.passes.append(feeds["input_ids"].shape)
        if feeds["input_ids"].size > self.tokens:
            raise RuntimeError(FULL)
        outputs: list[NDArray[Any]] = self._session.run(names, feeds)  # options name a card's memory
        return outputs


def on_card(bundle: Path, tokens: int) -> tuple[CudaEngine, Card]:
    opened = open_bundle(bundle)
    card = Card(opened, tokens)
    return CudaEngine(onnxruntime, card, 0, 1, opened), card


def test_a_pass_that_does_not_fit_runs_in_smaller_ones_and_is_told_once(bundle_fp32: Path, fp32: M3Encoder) -> None:
    card, session = on_card(bundle_fp32, 40)
    lengths, heads = np.array([3 + i % 6 for i in range(15)]), Heads(True, True, True)
    mask = (np.arange(8) < lengths[:, None]).astype(np.int64)
    ids = np.where(mask, np.arange(5, 125).reshape(15, 8) % 40 + 4, 1)
    with pytest.warns(UserWarning, match="a pass of 120 tokens does not fit into the memory of cuda") as told:
        out = card.run(ids, mask, heads)
    assert len(told) == 1
    expected, real = fp32.engine.run(ids, mask, heads), mask.astype(bool)
    np.testing.assert_allclose(out.dense, expected.dense, atol=1e-5)
    np.testing.assert_allclose(out.token_weights[real], expected.token_weights[real], atol=1e-5)
    np.testing.assert_allclose(out.colbert[real[:, 1:]], expected.colbert[real[:, 1:]], atol=1e-5)
    session.passes.clear()
    card.run(ids, mask, heads)  # it has learnt, and says nothing
    assert max(b * s for b, s in session.passes) <= 40


def test_halves_keep_the_types_of_their_tokens(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind="bert-reranker")
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp32").path
    card, _ = on_card(bundle, 24)
    pairs = [("a b", "c d e"), ("a", "b c d e f g h"), ("a b c d", "e"), ("h", ""), ("b c", "d")]
    with pytest.warns(UserWarning, match="does not fit"):
        scores = M3Reranker.with_engine(open_bundle(bundle), card, batch_tokens=1000).compute_score(pairs)
    expected = M3Reranker(bundle, threads=1).compute_score(pairs)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_pass_that_fits_alone_waits_for_the_others_and_is_not_cut(bundle_fp32: Path, fp32: M3Encoder) -> None:
    """Two passes share the memory: whichever does not fit beside the other runs again when that one is done."""
    card, session = on_card(bundle_fp32, 1000)
    inside, go, held = threading.Event(), threading.Event(), [0]
    whole = session.run

    def run(names: list[str], feeds: dict[str, NDArray[Any]], options: Any) -> list[NDArray[Any]]:
        tokens = feeds["input_ids"].size
        if held[0] + tokens > 40:
            go.set()
            raise RuntimeError(FULL)
        held[0] += tokens
        try:
            if tokens == 24:
                inside.set()
                assert go.wait(60)
            return whole(names, feeds, options)
        finally:
            held[0] -= tokens

    session.run = run  # type: ignore[method-assign]
    first, second = np.full((3, 8), 7), np.full((4, 8), 9)
    with ThreadPoolExecutor(1) as pool, warnings.catch_warnings():
        warnings.simplefilter("error")
        begun = pool.submit(card.run, first, np.ones_like(first), Heads())
        assert inside.wait(60)
        out = card.run(second, np.ones_like(second), Heads())
        begun.result(60)
    np.testing.assert_allclose(out.dense, fp32.engine.run(second, np.ones_like(second), Heads()).dense, atol=1e-5)
    assert session.passes == [(3, 8), (4, 8)]


def test_a_text_that_does_not_fit_alone_is_an_error(bundle_fp32: Path) -> None:
    card, _ = on_card(bundle_fp32, 4)
    with pytest.raises(EngineError, match="a text of 8 tokens does not fit into the memory of cuda; encode it with a"):
        card.run(np.array([[0, 5, 6, 7, 8, 9, 10, 2]]), np.ones((1, 8), np.int64), Heads())


def test_other_failures_of_a_pass_stay_errors(bundle_fp32: Path) -> None:
    card, session = on_card(bundle_fp32, 1000)
    with pytest.raises(EngineError, match=r"onnxruntime failed on a \(2, 3\) batch"):
        card.run(np.full((2, 3), 10**9), np.ones((2, 3), np.int64), Heads())
    assert len(session.passes) == 1


# ---- profiles


def test_a_card_has_a_profile_of_its_own(bundle_fp32: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("M3RT_CACHE", str(tmp_path))
    monkeypatch.setattr(profile, "driver", lambda: TWO_CARDS)
    monkeypatch.setattr(profile, "versions", lambda: {"onnxruntime-gpu": "1.31.1"})
    monkeypatch.setattr(cards, "fault", lambda ort, card: None)
    bundle = open_bundle(bundle_fp32)
    assert [profile.card_of(bundle, name) for name in ("cpu", "auto", "cuda", "cuda:1", "cuda:2")] == [
        "", "NVIDIA A", "NVIDIA A", "NVIDIA B", "",
    ]  # fmt: skip
    cpus, of_card = (Profile("onnxruntime", {"onnxruntime": Setting(1, budget)}, ()) for budget in (7, 4096))
    profile.save(bundle, cpus)
    profile.save(bundle, of_card, "NVIDIA A")
    assert profile.choose(bundle, device="cpu").batch_tokens == 7
    assert profile.choose(bundle, device="cuda").batch_tokens == 4096
    assert profile.choose(bundle, device="cuda").saved_session is None
    assert profile.choose(bundle, engine="openvino").batch_tokens is None  # which runs on the CPU
    monkeypatch.setattr(cards, "fault", lambda ort, card: "a library is missing")
    assert profile.choose(bundle).batch_tokens == 7  # auto runs on the CPU then, with its profile
    monkeypatch.setattr(cards, "fault", lambda ort, card: None)
    with pytest.warns(UserWarning, match="card was NVIDIA A, is NVIDIA B"):
        assert profile.choose(bundle, device="cuda:1").batch_tokens is None


def test_an_int8_bundle_is_tuned_for_the_cpu_beside_a_card(bundle_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "driver", lambda: TWO_CARDS)
    monkeypatch.setattr(profile, "versions", lambda: {"onnxruntime-gpu": "1.31.1"})
    assert profile.card_of(open_bundle(bundle_int8), "auto") == ""
