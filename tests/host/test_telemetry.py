"""Nothing leaves the machine and nothing but m3rt's cache is written, whatever the dependencies try."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from own_lines import own_lines

STRACE = shutil.which("strace")
ENGINES = ["onnxruntime", "openvino"]
# Leaves time for the threads that a dependency starts when it is imported.
M3RT = "import sys, time; from m3rt.cli import main; status = main(sys.argv[1:]); time.sleep(2); sys.exit(status)"


def fresh(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a new user, without any switch that keeps a dependency quiet."""
    kept = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": str(home), **more}


def run(arguments: list[str], home: Path, trace: Path | None = None) -> subprocess.CompletedProcess[str]:
    watcher = [STRACE or "", "-f", "-qq", "-e", "trace=socket", "-o", str(trace)] if trace else []
    return subprocess.run(
        [*watcher, *arguments], env=fresh(home), cwd=home.parent, capture_output=True, text=True, timeout=300
    )


def m3rt(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", M3RT, *map(str, arguments)]


def files(home: Path) -> set[str]:
    """Return the files below a home, without numba's cache, which lies beside the sources if numba can write there."""
    names = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(".cache/numba/")}


def internet_sockets(trace: Path) -> list[str]:
    # A look whether a route exists sends nothing, but looking up a host by name does.
    return re.findall(r"socket\(AF_INET6?,.*", trace.read_text())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def index(bundle_fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from m3rt import HybridIndex

    directory = tmp_path_factory.mktemp("index") / "index"
    HybridIndex.create(directory, bundle_fp32).add(["a"], ["The ferry leaves at seven."])
    return directory


@pytest.mark.parametrize(("command", "engine"), [
    ("encode", "onnxruntime"), ("encode", "openvino"), ("search", "auto"), ("tune", "both")
])  # fmt: skip
def test_a_command_writes_nothing_but_its_own_cache(
    command: str, engine: str, bundle_fp32: Path, index: Path, home: Path
) -> None:
    arguments = {
        "encode": m3rt("encode", "-m", bundle_fp32, "--engine", engine, "a text"),
        "search": m3rt("search", index, "ferry"),
        "tune": m3rt("tune", bundle_fp32, "--seconds", "1"),
    }[command]
    done = run(arguments, home)
    assert done.returncode == 0, done.stderr
    assert all(name.startswith(".cache/m3rt/") for name in files(home)), files(home)
    assert any(name.endswith("/profile.json") for name in files(home)) == (command == "tune")


@pytest.mark.skipif(not STRACE, reason="needs strace, which sees the sockets of native code")
@pytest.mark.parametrize("engine", ENGINES)
def test_an_encode_opens_no_internet_socket(engine: str, bundle_fp32: Path, home: Path) -> None:
    trace = home.parent / "trace"
    done = run(m3rt("encode", "-m", bundle_fp32, "--engine", engine, "a text"), home, trace)
    if "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert (done.returncode, internet_sockets(trace)) == (0, []), done.stderr


@pytest.mark.skipif(not STRACE, reason="needs strace, which sees the sockets of native code")
def test_the_watch_sees_a_socket(home: Path) -> None:
    trace = home.parent / "trace"
    done = run([sys.executable, "-c", "import socket; socket.socket()"], home, trace)
    if "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert len(internet_sockets(trace)) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_home_that_cannot_be_written_leaves_nothing_on_stderr(engine: str, bundle_fp32: Path, home: Path) -> None:
    home.rmdir()
    home.write_bytes(b"")  # even root cannot make a directory in a file
    script = "import sys; from m3rt import M3Encoder; M3Encoder(sys.argv[1], engine=sys.argv[2]).encode('a text')"
    done = run([sys.executable, "-c", script, str(bundle_fp32), engine], home)
    assert (done.returncode, own_lines(done.stderr)) == (0, "")


IMPORTED = """
import os, sys
before = dict(os.environ)
import m3rt
assert dict(os.environ) == before
from m3rt.bundle import open_bundle
from m3rt.engines import load_engine
load_engine(open_bundle(sys.argv[1]), engine=sys.argv[2])
assert dict(os.environ) == before, set(os.environ) ^ set(before)
assert sys.modules.get("openvino_telemetry", 1) is not None
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_the_environment_stays_as_it_was(engine: str, bundle_fp32: Path, home: Path) -> None:
    done = run([sys.executable, "-c", IMPORTED, str(bundle_fp32), engine], home)
    assert (done.returncode, own_lines(done.stderr)) == (0, "")


def test_what_the_user_has_switched_on_stays_on(bundle_fp32: Path, home: Path) -> None:
    probe = """
import os, sys
from m3rt.host.telemetry import silenced
with silenced():
    print(os.environ["ORT_DISABLE_TELEMETRY"], "openvino_telemetry" in sys.modules)
print(os.environ.get("ORT_DISABLE_TELEMETRY"), "openvino_telemetry" in sys.modules)
"""

    def switches(**more: str) -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", probe], env=fresh(home, **more), capture_output=True, text=True, check=True
        ).stdout.splitlines()

    assert switches() == ["1 True", "None False"]
    (home / "intel").mkdir()
    (home / "intel" / "openvino_telemetry").write_text("1")
    assert switches(ORT_DISABLE_TELEMETRY="0") == ["0 False", "0 False"]


def test_an_engine_computes_without_its_reporter_as_with_it(bundle_fp32: Path, home: Path) -> None:
    """OpenVINO takes the package for missing, as it is for users who removed it."""
    done = run(m3rt("verify", bundle_fp32, "--engine", "openvino"), home)
    assert done.returncode == 0, done.stderr
    assert all(name.startswith(".cache/m3rt/") for name in files(home)), files(home)
