"""m3rt tune: a profile is saved, used and replaced; a saved session computes what the plain one does."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint
from m3rt_export import export

from m3rt import BundleError, EngineError, M3Encoder, M3rtError, OutputError
from m3rt.bundle import Bundle, open_bundle
from m3rt.cli import main
from m3rt.engines import load_engine, onnxruntime, openvino, saved
from m3rt.engines import profile as profiles
from m3rt.engines.profile import Choice, Profile, Setting
from m3rt.host import cpu, machine
from m3rt.host.files import record
from m3rt.tuning import speed, tuner
from m3rt.tuning.tuner import Trial, pick, pick_budget, text_count, thread_counts

NAME = "onnxruntime"
PROFILE = Profile(NAME, {NAME: Setting(1, 77), "openvino": Setting(1, None)}, ({"engine": NAME, "query_ms": 1.5},))
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache."""
    monkeypatch.setenv("M3RT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(bundle_fp32: Path) -> Bundle:
    return open_bundle(bundle_fp32)


@pytest.fixture(scope="module")
def bundle_aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an int8 bundle whose tensors are multiples of 64 bytes, as all of BGE-M3's that matter are."""
    directory = tmp_path_factory.mktemp("aligned")
    checkpoint = write_checkpoint(directory / "checkpoint", vocab=1920)
    return export(checkpoint, directory / "bundle", precision="int8").path


def edit(path: Path, **changes: Any) -> None:
    raw = json.loads(path.read_text("utf-8"))
    for keys, value in changes.items():
        place = raw
        *parents, last = keys.split("__")
        for key in parents:
            place = place[key]
        place[last] = value
    path.write_text(json.dumps(raw), "utf-8")


def refused(bundle: Bundle, words: str) -> None:
    """Check that the profile is ignored with one line that has `words` and the next step."""
    with pytest.warns(UserWarning, match=re.escape(words)) as caught:
        assert profiles.load(bundle) is None
    (warning,) = caught
    assert "\n" not in str(warning.message)
    assert str(warning.message).endswith(f"run: m3rt tune {bundle.path}")


# ---- the profile


def test_a_saved_profile_is_loaded_as_it_was(bundle: Bundle) -> None:
    profiles.save(bundle, PROFILE)
    assert profiles.load(bundle) == PROFILE


def test_without_a_profile_nothing_is_chosen_and_nothing_said(bundle: Bundle) -> None:
    assert profiles.choose(bundle, threads=1) == Choice("auto", "auto", 1)


def test_the_folder_is_for_its_user_only_and_holds_no_leftover(bundle: Bundle, cache: Path) -> None:
    path = profiles.save(bundle, PROFILE)
    assert [p.name for p in path.parent.iterdir()] == ["profile.json"]
    assert all(p.stat().st_mode & 0o777 == 0o700 for p in (cache, path.parent))


@pytest.mark.parametrize(("own", "xdg", "expected"), [
    ("/a", "/b", "/a"), ("", "/b", "/b/m3rt"), ("", "", "/home/u/.cache/m3rt"),
])  # fmt: skip
def test_the_cache_is_where_the_environment_says(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, own: str, xdg: str, expected: str
) -> None:
    for name, value in (("M3RT_CACHE", own), ("XDG_CACHE_HOME", xdg), ("HOME", "/home/u")):
        monkeypatch.setenv(name, value)
    assert profiles.folder(bundle).parent == Path(expected)


@pytest.mark.parametrize(("key", "words"), [
    ("conditions__cpu", "cpu was X, is "),
    ("conditions__cpus", "cpus was X, is "),
    ("conditions__bundle", "bundle was X, is "),
    ("conditions__versions__m3rt", "m3rt was X, is "),
    ("conditions__versions__onnxruntime", "onnxruntime was X, is "),
    ("conditions__versions__onnxruntime-gpu", "onnxruntime-gpu was X, is None"),
    ("format", "has format 'X', this m3rt reads 3"),
])  # fmt: skip
def test_a_profile_of_other_conditions_is_ignored_and_says_which(bundle: Bundle, key: str, words: str) -> None:
    edit(profiles.save(bundle, PROFILE), **{key: "X"})
    refused(bundle, words)


def test_a_profile_goes_stale_when_its_bundle_is_exported_again(bundle: Bundle, tmp_path: Path) -> None:
    profiles.save(bundle, PROFILE)
    other = shutil.copytree(bundle.path, tmp_path / "other")
    edit(other / "m3rt.json", source__id="another")
    assert profiles.load(open_bundle(other)) is None


def test_a_profile_outlives_what_verify_notes_in_the_manifest(bundle: Bundle, tmp_path: Path) -> None:
    profiles.save(bundle, PROFILE)
    other = shutil.copytree(bundle.path, tmp_path / "other")
    edit(other / "m3rt.json", fidelity={"onnxruntime": {"passed": True}})
    assert profiles.load(open_bundle(other)) == PROFILE


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 3}', "[" * 100_000, "\ud800"])
def test_a_damaged_profile_is_ignored(bundle: Bundle, text: str) -> None:
    profiles.save(bundle, PROFILE).write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(bundle, "cannot be read" if text == "\ud800" else "is damaged")


@pytest.mark.parametrize(("key", "value"), [
    ("engine", "torch"), ("engine", None), ("settings", {}), ("settings", []), ("measured", 1),
    ("settings__onnxruntime__threads", 10**6), ("settings__onnxruntime__threads", 0),
    ("settings__onnxruntime__threads", "1"), ("settings__onnxruntime__batch_tokens", -1),
    ("settings__onnxruntime__saved_session", {"../x": {"size": 1, "sha256": ""}}),
    ("settings__onnxruntime__saved_session", {"x": 1}),
    ("settings__onnxruntime__saved_session", {"x": {"size": "1", "sha256": ""}}),
    ("settings__onnxruntime__saved_session", [1]),
    ("settings__onnxruntime__more", 1), ("settings__torch", {"threads": 1, "batch_tokens": None}),
])  # fmt: skip
def test_a_profile_with_an_impossible_value_is_ignored(bundle: Bundle, key: str, value: object) -> None:
    edit(profiles.save(bundle, PROFILE), **{key: value})
    refused(bundle, "is damaged")


def test_a_cache_that_cannot_be_read_is_one_line(bundle: Bundle) -> None:
    path = profiles.save(bundle, PROFILE)
    path.unlink()
    path.mkdir()
    refused(bundle, "cannot be read")


def test_the_switch_ignores_a_profile(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(profiles.save(bundle, PROFILE), format=2)
    monkeypatch.setenv("M3RT_TUNE", "0")
    assert profiles.load(bundle) is None


def other(path: Path) -> None:
    os.chown(path, 12345, -1)


def open_to_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def open_to_the_group(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


@pytest.mark.skipif(not hasattr(os, "chown"), reason="this system has no owners")
@pytest.mark.parametrize("change", [other, open_to_all, open_to_the_group])
@pytest.mark.parametrize("level", [0, 1, 2], ids=["profile", "folder", "cache"])
def test_a_profile_that_another_user_may_have_written_is_ignored(
    bundle: Bundle, change: Callable[[Path], None], level: int
) -> None:
    path = profiles.save(bundle, PROFILE)
    try:
        change([path, *path.parents][level])
    except OSError:  # EPERM, and EINVAL for a user that a namespace does not have
        pytest.skip("only root gives files away, and only to users that there are")
    refused(bundle, "belongs to user 12345, not to you" if change is other else "may be written by others")


@pytest.mark.skipif(not hasattr(os, "chown"), reason="this system has no owners")
def test_a_cache_that_others_may_write_is_refused_before_any_work(
    bundle: Bundle, cache: Path, capsys: Captured
) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    assert main(["tune", str(bundle.path)]) == 2
    assert re.fullmatch(
        r"m3rt: error: [^\n]+ may be written by others [^\n]+set M3RT_CACHE[^\n]+\n", capsys.readouterr().err
    )


def test_what_the_cache_holds_is_its_users_only_whatever_the_umask(bundle: Bundle) -> None:
    before = os.umask(0)
    try:
        files = saved.save(bundle, NAME, profiles.make_folder(bundle) / "x", 1)
        path = profiles.save(bundle, PROFILE)
    finally:
        os.umask(before)
    assert files
    for each in (*path.parent.rglob("*"), path.parent, path.parent.parent):
        assert not each.stat().st_mode & 0o077, each


# ---- its use


@pytest.mark.parametrize(("asked", "expected"), [
    ({}, Choice(NAME, "cpu", 1, 77)),
    ({"threads": 5}, Choice(NAME, "cpu", 5, 77)),
    ({"engine": "openvino"}, Choice("openvino", "cpu", 1)),
    ({"engine": "openvino", "threads": 3}, Choice("openvino", "cpu", 3)),
    ({"device": "cuda"}, Choice("auto", "cuda", None)),
])  # fmt: skip
def test_explicit_arguments_beat_the_profile(bundle: Bundle, asked: dict[str, Any], expected: Choice) -> None:
    profiles.save(bundle, PROFILE)
    assert profiles.choose(bundle, **{"device": "cpu", **asked}) == expected


def test_versions_are_those_that_importlib_finds() -> None:
    from importlib.metadata import version

    assert {name: version(name) for name in machine.versions()} == machine.versions()


ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp{more}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: 1

"""
LITTLE = ARM.format(more="", variant="0x2", part="0xd05")
PROCESSORS = {
    "Raspberry Pi 5": ARM.format(more="", variant="0x4", part="0xd0b")
    + "Revision\t: d04170\nModel\t\t: Raspberry Pi 5\n",
    "Graviton2": ARM.format(more="", variant="0x3", part="0xd0c"),
    "Graviton3": ARM.format(more=" i8mm bf16 sve svei8mm svebf16", variant="0x1", part="0xd40"),
    "Graviton3 without bf16": ARM.format(more=" i8mm sve svei8mm svebf16", variant="0x1", part="0xd40"),
    "another with SME": ARM.format(more=" i8mm bf16 sve svei8mm svebf16 sme", variant="0x1", part="0xd40"),
    "big.LITTLE": LITTLE + ARM.replace(": 0\n", ": 1\n", 1).format(more="", variant="0x4", part="0xd0b"),
    "two LITTLE": LITTLE + LITTLE.replace(": 0\n", ": 1\n", 1),
}


def test_processors_that_pack_weights_differently_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(cpu, "Path", lambda name: SimpleNamespace(open=lambda errors: StringIO(text)))
    for text in PROCESSORS.values():  # noqa: B007
        cpu._processors.cache_clear()
        names.append(machine.conditions()["cpu"])
    cpu._processors.cache_clear()
    assert len(set(names)) == len(PROCESSORS)
    assert all("implementer 0x41 part 0xd" in name for name in names)
    assert " x " not in "".join(names[:-2] + names[-1:])  # cores of one kind are counted as "cpus"
    assert "1 x implementer 0x41 part 0xd05 variant 0x2 revision 1, 1 x implementer 0x41 part 0xd0b" in names[-2]


# ---- the saved session


SESSIONS = [
    ("onnxruntime", "bundle_fp32"),
    ("onnxruntime", "bundle_aligned"),
    ("openvino", "bundle_fp32"),
    ("openvino", "bundle_int8"),
]
MODULES: dict[str, Any] = {"onnxruntime": onnxruntime, "openvino": openvino}


@pytest.fixture(params=SESSIONS, ids=lambda p: "-".join(p))
def kept(request: pytest.FixtureRequest) -> tuple[Bundle, Choice]:
    """Make a bundle with a profile and a saved session."""
    engine, name = request.param
    bundle = open_bundle(request.getfixturevalue(name))
    profiles.make_folder(bundle)
    files = saved.save(bundle, engine, profiles.session_folder(bundle, engine), 1)
    profiles.save(bundle, Profile(engine, {engine: Setting(1, None, files)}, ()))
    return bundle, profiles.choose(bundle, device="cpu")


def test_a_saved_session_gives_the_same_bits(kept: tuple[Bundle, Choice]) -> None:
    bundle, choice = kept
    assert choice.saved_session == profiles.session_folder(bundle, choice.engine)
    plain, fast = (
        M3Encoder.with_engine(bundle, load_engine(bundle, **options)).encode(
            sentences(), return_sparse=True, return_colbert_vecs=True
        )
        for options in (replace(choice, saved_session=None).options, choice.options)
    )
    assert np.array_equal(plain.dense_vecs, fast.dense_vecs)
    assert plain.lexical_weights == fast.lexical_weights
    assert all(map(np.array_equal, plain.colbert_vecs, fast.colbert_vecs))


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux")
def test_a_saved_session_is_mapped_from_the_cache(kept: tuple[Bundle, Choice]) -> None:
    bundle, choice = kept
    engine = load_engine(bundle, **choice.options)
    assert str(choice.saved_session) in Path("/proc/self/maps").read_text()
    del engine


def test_a_truncated_session_is_ignored_with_one_line(kept: tuple[Bundle, Choice]) -> None:
    bundle, choice = kept
    assert choice.saved_session
    path = next(p for p in choice.saved_session.iterdir() if p.suffix in (".bin", ".blob"))
    os.truncate(path, path.stat().st_size - 1)
    with pytest.warns(UserWarning, match=r" has \d+ bytes, expected \d+; .* run: m3rt tune") as caught:
        assert profiles.choose(bundle, device="cpu") == Choice(choice.engine, "cpu", 1)
    assert len(caught) == 1


def test_verify_finds_a_changed_session_and_tells_how_to_make_it_anew(
    kept: tuple[Bundle, Choice], capsys: Captured
) -> None:
    bundle, choice = kept
    assert choice.saved_session
    assert main(["verify", str(bundle.path)]) == 0
    path = next(p for p in choice.saved_session.iterdir() if p.suffix in (".bin", ".blob"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert main(["verify", str(bundle.path)]) == 2
    assert re.fullmatch(rf"m3rt: error: {path} has SHA-256 .*; run: m3rt tune [^\n]+\n", capsys.readouterr().err)


@pytest.mark.skipif(not hasattr(os, "chown"), reason="this system has no owners")
def test_a_session_that_another_user_may_have_written_is_ignored(kept: tuple[Bundle, Choice]) -> None:
    bundle, choice = kept
    assert choice.saved_session
    for path in (next(choice.saved_session.iterdir()), choice.saved_session):
        path.chmod(0o777)
        with pytest.warns(UserWarning, match=r"may be written by others .* run: m3rt tune") as caught:
            assert profiles.choose(bundle, device="cpu") == Choice(choice.engine, "cpu", 1)
        assert len(caught) == 1
        path.chmod(0o700)


def test_a_session_that_does_not_load_is_ignored(kept: tuple[Bundle, Choice], recwarn: Any) -> None:
    bundle, choice = kept
    assert choice.saved_session
    for path in choice.saved_session.iterdir():
        if path.name != "prepacked.bin":
            path.chmod(0o600)
            path.write_bytes(b"\xff" * path.stat().st_size)
    engine = load_engine(bundle, **profiles.choose(bundle, device="cpu").options)
    warned = [str(w.message) for w in recwarn]
    assert all("cannot be loaded: " in t and "loading without it; run: m3rt tune" in t for t in warned)
    assert len(warned) == (choice.engine == "onnxruntime")  # OpenVINO compiles anew without a word
    assert M3Encoder.with_engine(bundle, engine).encode("x").dense_vecs.shape == (1, 32)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_compiled_model_is_used_for_its_own_threads_and_place_only(
    bundle_int8: Path, tmp_path: Path, threads: int
) -> None:
    bundle = open_bundle(bundle_int8)
    folder = profiles.make_folder(bundle) / "openvino-x"
    files = saved.save(bundle, "openvino", folder, 1)
    assert sorted(Path(name).suffix for name in files) == [".blob", ".json"]
    shutil.copytree(bundle_int8, tmp_path / "moved")
    for place in (bundle, open_bundle(tmp_path / "moved")):
        engine = openvino.load(place, device="cpu", threads=threads, saved_session=folder)
        used = engine._compiled.get_property("LOADED_FROM_CACHE")
        assert used == (threads == 1 and place is bundle)
        assert {p.name: record(p) for p in folder.iterdir()} == files  # nothing is added


def test_weights_that_would_crash_a_kernel_are_not_saved(bundle_int8: Path) -> None:
    bundle = open_bundle(bundle_int8)
    folder = profiles.make_folder(bundle)
    files = saved.save(bundle, "onnxruntime", folder / "onnxruntime-x", 1)
    assert bool(files) == (folder / "onnxruntime-x").exists()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("engine", MODULES)
def test_a_session_that_cannot_be_written_leaves_nothing(bundle: Bundle, engine: str) -> None:
    folder = profiles.make_folder(bundle)
    blocked = folder / f"{engine}-x"
    blocked.write_bytes(b"")  # a file in the directory's place
    with pytest.raises(OutputError, match="--no-save-session"):
        saved.save(bundle, engine, blocked, 1)
    assert list(folder.iterdir()) == [blocked]


# ---- choices


def trial(engine: str, threads: int, query: float, speed: float, batch: int | None = None) -> Trial:
    return Trial(engine, threads, batch, [query], [speed])


def test_the_first_candidate_stays_unless_another_is_3_per_cent_better() -> None:
    first = trial("a", 2, 0.020, 1000)
    assert pick([first, trial("b", 2, 0.020, 1020)]) is first
    better = trial("b", 2, 0.010, 1000)
    assert pick([first, better, trial("c", 2, 0.010, 1010)]) is better


def test_a_budget_replaces_the_engines_own_only_for_a_gain() -> None:
    assert pick_budget([trial("a", 2, 1, 1000), trial("a", 2, 1, 1020, 128)]) is None
    assert pick_budget([trial("a", 2, 1, 1000), trial("a", 2, 1, 1200, 128), Trial("a", 2, 256)]) == 128


@pytest.mark.parametrize(("cpus", "counts"), [(1, [1]), (2, [2, 1]), (8, [8, 4]), (32, [32, 16, 8])])
def test_threads_worth_trying_fit_the_machine(cpus: int, counts: list[int]) -> None:
    assert thread_counts(cpus) == counts


# ---- the command


def test_the_command_leaves_a_profile_that_holds(bundle: Bundle, capsys: Captured) -> None:
    profiles.save(bundle, PROFILE)
    edit(profiles.folder(bundle) / "profile.json", conditions__cpu="another")
    assert main(["tune", str(bundle.path), "--seconds", "1"]) == 0
    out, err = capsys.readouterr()
    profile = profiles.load(bundle)
    assert profile
    assert out.splitlines()[-1] == str(profiles.folder(bundle) / "profile.json")
    assert "another" not in err
    assert {row["engine"] for row in profile.measured} >= {profile.engine}
    files = profile.settings[profile.engine].saved_session
    assert files.keys() == {p.name for p in profiles.session_folder(bundle, profile.engine).iterdir()} != set()
    assert f"of {profile.engine}'s session saved; --no-save-session does without" in err


def test_a_session_is_not_saved_if_not_wanted(bundle: Bundle, capsys: Captured) -> None:
    assert main(["tune", str(bundle.path), "--seconds", "1", "--no-save-session"]) == 0
    assert [p.name for p in profiles.folder(bundle).iterdir()] == ["profile.json"]
    assert "saved" not in capsys.readouterr().err


def test_an_unusable_cache_is_one_line_before_any_work(bundle: Bundle, cache: Path, capsys: Captured) -> None:
    cache.write_bytes(b"")  # a file in its place: even root cannot make a directory there
    assert main(["tune", str(bundle.path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"m3rt: error: [^\n]+cannot be made: [^\n]+; set M3RT_CACHE[^\n]+\n", err)


@pytest.mark.parametrize("arguments", [["/no/bundle"], ["{bundle}", "--seconds", "0"], ["{bundle}", "--fast"]])
def test_bad_input_is_one_line_and_status_2(bundle: Bundle, arguments: list[str], capsys: Captured) -> None:
    assert main(["tune", *(a.format(bundle=bundle.path) for a in arguments)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("m3rt: error: ")


def test_an_encoder_loads_as_tuned_and_an_argument_wins(bundle: Bundle) -> None:
    settings = {"openvino": Setting(1, 128), "onnxruntime": Setting(1, 256)}
    profiles.save(bundle, Profile("openvino", settings, ()))
    tuned, asked = M3Encoder(bundle.path), M3Encoder(bundle.path, engine="onnxruntime", batch_tokens=64)
    assert (tuned.engine.name, tuned.batch_tokens) == ("openvino", 128)
    assert (asked.engine.name, asked.engine.batch_tokens, asked.batch_tokens) == ("onnxruntime", 256, 64)


@pytest.mark.parametrize("kind", [EngineError, BundleError])
def test_tuning_goes_on_without_an_engine_that_fails(
    kind: type[M3rtError], bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("can't protect")

    monkeypatch.setattr("m3rt.engines.openvino.load", fail)
    assert main(["tune", str(bundle.path), "--seconds", "1", "--no-save-session"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "m3rt: openvino is left out: can't protect"
    assert (profiles.load(bundle) or PROFILE).engine == "onnxruntime"
    with pytest.raises(EngineError, match=r"no engine runs .*: can't protect"):
        tuner.tune(bundle, 1, names=["openvino"])


def test_tuning_again_does_not_take_the_old_profile_for_the_engines_own(bundle: Bundle) -> None:
    own = load_engine(bundle, engine="onnxruntime", threads=1).batch_tokens
    profiles.save(bundle, Profile("onnxruntime", {"onnxruntime": Setting(1, own + 1)}, ()))
    assert M3Encoder(bundle.path, engine="onnxruntime", threads=1, device="cpu").batch_tokens == own + 1
    with tuner._encoder(bundle, Trial("onnxruntime", 1)) as encoder:
        assert encoder.batch_tokens == own


# ---- cards


def test_the_texts_for_a_card_fill_two_passes_of_every_budget() -> None:
    texts = speed.mixed_lengths(text_count(Trial(NAME, 1, device="cuda"), 256), 256)
    assert sum(texts) >= 1.9 * max(tuner.CARD_BUDGETS)  # other draws have other lengths


def test_tuning_for_a_card_that_is_not_there_is_one_line_and_leaves_the_profile_of_the_cpu(
    bundle: Bundle, capsys: Captured
) -> None:
    profiles.save(bundle, PROFILE)
    assert main(["tune", str(bundle.path), "--device", "cuda", "--seconds", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("m3rt: error: cuda was asked for, but ")
    assert profiles.load(bundle) == PROFILE
