"""The example in C++ gives m3rt's ids and vectors."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from m3rt.bundle import open_bundle

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp"
ONNXRUNTIME = os.environ.get("ONNXRUNTIME")
HEADERS = ("sentencepiece_processor.h", "nlohmann/json.hpp", "unicode/unistr.h")

pytestmark = [
    pytest.mark.skipif(not (shutil.which("make") and shutil.which("c++")), reason="needs make and a C++ compiler"),
    pytest.mark.skipif(ONNXRUNTIME is None, reason="needs ONNXRUNTIME, a folder with include/ and lib/"),
    pytest.mark.skipif(
        not all(Path("/usr/include", header).exists() for header in HEADERS),
        reason="needs libsentencepiece-dev, nlohmann-json3-dev and libicu-dev",
    ),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cpp")
    for source in EXAMPLE.iterdir():
        shutil.copy(source, folder)
    done = subprocess.run(["make", "-s", "-B", "embed"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "embed"


def test_a_program_computes_the_golden_vectors(program: Path, bundle_fp32: Path, bundle_int8: Path) -> None:
    for bundle in (open_bundle().path, bundle_fp32, bundle_int8):
        done = subprocess.run([program, bundle], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        proof = json.loads(done.stdout)
        assert proof["passed"]
        assert proof["right_ids"] == proof["texts"] > 0
        assert proof["max_abs"].keys() == {"dense_vecs", "lexical_weights", "colbert_vecs"}
        assert bundle != bundle_fp32 or max(proof["max_abs"].values()) < 1e-5
