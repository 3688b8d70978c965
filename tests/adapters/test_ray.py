"""A local Ray with two actors: every row once, whatever is killed in between."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

ray = pytest.importorskip("ray", reason="needs ray")
pytest.importorskip("ray.data", reason="needs ray[data]", exc_type=ImportError)
pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
from pyarrow import parquet  # noqa: E402

from m3rt import BundleError, InputError, OutputError  # noqa: E402
from m3rt.adapters.ray import Encoded, encode_dataset, encode_files  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, which change with each version

FILES, ROWS = 6, 40
START = "ray.init(num_cpus=3, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        exec(START)
        yield
        ray.shutdown()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Files of rows with the ids 0, 1, 2, .. over all."""
    paths = []
    for i in range(FILES):
        ids = range(i * ROWS, (i + 1) * ROWS)
        paths.append(tmp_path / f"in-{i}.parquet")
        parquet.write_table(pa.table({"id": ids, "text": [f"text number {j}" for j in ids]}), paths[-1])
    return paths


def ids(out: Path) -> Counter[int]:
    """How often each row is there; a file that was not to be there fails."""
    assert {path.name for path in out.iterdir()} <= {*(f"in-{i}.parquet" for i in range(FILES)), ".m3rt.lock"}
    return Counter(i for path in out.glob("*.parquet") for i in parquet.read_table(path)["id"].to_pylist())


ONCE = Counter(range(FILES * ROWS))


@pytest.mark.usefixtures("cluster")
def test_files_are_encoded_once_and_then_skipped(files: list[Path], tmp_path: Path) -> None:
    seen: list[int] = []
    out = tmp_path / "out"
    assert encode_files(files, out, actors=2, progress=seen.append) == Encoded(FILES, FILES * ROWS, 0)
    assert ids(out) == ONCE
    assert seen == [ROWS] * FILES
    (out / "in-3.parquet").unlink()
    assert encode_files(files, out, actors=2) == Encoded(1, ROWS, FILES - 1)
    assert ids(out) == ONCE


@pytest.mark.usefixtures("cluster")
def test_an_actor_that_is_killed_loses_and_doubles_nothing(files: list[Path], tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(rows: int) -> None:
        for process in psutil.Process().children(recursive=True):  # of this cluster, not of another on the machine
            with suppress(psutil.NoSuchProcess):
                if len(killed) < 2 and (process.cmdline() or [""])[0].startswith("ray::_Worker"):
                    process.kill()
                    killed.append(process.pid)

    assert encode_files(files, tmp_path / "out", actors=2, progress=kill).rows == FILES * ROWS
    assert killed
    assert ids(tmp_path / "out") == ONCE


def test_a_driver_that_is_killed_goes_on_when_it_is_called_again(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"""
import ray, sys
from m3rt.adapters.ray import encode_files
{START}
print(encode_files(sys.argv[2:], sys.argv[1], actors=2))
"""
    command = [sys.executable, "-c", script, str(out), *map(str, files)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        deadline = time.monotonic() + 300
        while not list(out.glob("*.parquet")) and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert ids(out) == ONCE


@pytest.mark.usefixtures("cluster")
def test_a_dataset_gets_the_columns_of_every_row_once(files: list[Path]) -> None:
    dataset = ray.data.read_parquet([str(path) for path in files])
    found = encode_dataset(dataset, actors=2, batch_size=16, return_sparse=True)
    rows: list[dict[str, Any]] = found.take_all()
    assert Counter(row["id"] for row in rows) == ONCE
    assert all(len(row["dense_vecs"]) == len(rows[0]["dense_vecs"]) > 100 for row in rows)
    assert all(len(row["sparse_indices"]) == len(row["sparse_values"]) > 0 for row in rows)


@pytest.mark.usefixtures("cluster")
def test_errors_are_one_line(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nothing"):
        encode_files(files, tmp_path / "out", tmp_path / "nothing")
    parquet.write_table(pa.table({"text": ["a", None]}), tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=r"^[^\n]*bad\.parquet: text 1 is a NoneType, expected str$"):
        encode_files([tmp_path / "bad.parquet"], tmp_path / "out")
    with pytest.raises(InputError, match=r"needs 64 CPUs, the cluster has 3"):
        encode_files(files, tmp_path / "out", actors=64)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        encode_files(files, tmp_path / "file")
