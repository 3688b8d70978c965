"""A forked child encodes or says in one line why it cannot, whatever its parent's threads did: never a hang."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from own_lines import own_lines

from m3rt import HybridIndex

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# Children of a process whose threads encode, open encoders and search; each must end by itself.
FORKS = """
import os, sys, threading, time, warnings
import numpy as np
from m3rt import EngineError, HybridIndex, M3Encoder
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
bundle, engine, index, what = sys.argv[1:]
texts = ["The ferry leaves at seven.", "Bonjour " * 30, "x"] * 2
model = M3Encoder(bundle, engine=engine)
expected = model.encode(texts).dense_vecs
place = HybridIndex(index, model)
place.search("ferry")  # imports everything: a child would wait for ever for a module that another thread was importing

def encode():
    while True:
        model.encode(texts)
def load():
    while True:
        M3Encoder(bundle, engine=engine)
for work in {"idle": (), "busy": (encode, encode), "loading": (load, load)}[what]:
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)

def child():
    try:
        assert np.allclose(model.encode(texts).dense_vecs, expected, atol=2e-6)
        assert place.search("ferry")[0].id == "a"
        assert np.allclose(M3Encoder(bundle, engine=engine).encode(texts).dense_vecs, expected, atol=2e-6)
        return "encoded"
    except EngineError as error:
        return str(error)
for ending in (os._exit, sys.exit) * 2:
    pid = os.fork()
    if not pid:
        os.write(1, child().encode() + b"\\n")
        ending(0)
    end = time.monotonic() + 60
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.write(1, b"hung\\n")
            break
        time.sleep(0.01)
model.encode(texts)  # the parent goes on
os.write(1, b"parent\\n")
os._exit(0)
"""


@pytest.fixture(scope="module")
def index(bundle_fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("index") / "index"
    HybridIndex.create(directory, bundle_fp32).add(["a"], ["The ferry leaves at seven."])
    return directory


@pytest.mark.parametrize("what", ["idle", "busy", "loading"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_forked_child_never_hangs(engine: str, what: str, bundle_fp32: Path, index: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(bundle_fp32), engine, str(index), what],
        env={k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"},
        capture_output=True,
        text=True,
        timeout=800,
    )
    *children, parent = done.stdout.splitlines()
    assert (done.returncode, own_lines(done.stderr), parent, len(children)) == (0, "", "parent", 4)
    if engine == "onnxruntime":
        assert set(children) == {"encoded"}
    else:
        (line,) = set(children)
        assert "would hang here" in line
        assert "engine='onnxruntime'" in line


FIRST_IN_THE_CHILD = """
import os, sys
from m3rt import M3Encoder
pid = os.fork()
if not pid:
    os._exit(len(M3Encoder(sys.argv[1], engine=sys.argv[2]).encode(["a", "b"])))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "TOKENIZERS_PARALLELISM" in os.environ)
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_child_that_is_the_first_to_load_an_engine_uses_it(engine: str, bundle_fp32: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_IN_THE_CHILD, str(bundle_fp32), engine], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, own_lines(done.stderr)) == ("2 False\n", "")
