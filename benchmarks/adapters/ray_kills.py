"""Encode files on a local Ray while actors and drivers are killed, then count the rows: each must be there once.

python -m benchmarks.adapters.ray_kills [--texts 20000] [--kills 5] [--folder DIR]

A driver with two actors encodes the files. After a file or more, an actor or the driver is killed (every second time
the driver, which is then started again), until there were so many kills; then the rest is encoded. At last one
process encodes the first file, and the vectors are compared.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..common import options, regime, require

_FILES = 40
_WORDS = (
    "tower",
    "river",
    "cake",
    "Tokyo",
    "metre",
    "apple",
    "night",
    "train",
    "museum",
    "bridge",
    "harvest",
    "engine",
)
_DRIVER = """
import sys, time
import ray
from m3rt.adapters.ray import encode_files
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
start = time.perf_counter()
print(encode_files(sys.argv[2:], sys.argv[1], actors=2, return_sparse=True), time.perf_counter() - start)
"""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    require("ray", "pyarrow", "psutil")
    folder = args.folder or Path(tempfile.mkdtemp(prefix="ray-kills-"))
    files = inputs(folder / "in", args.texts)
    killed = _killed_runs(files, folder / "out", args.kills)
    rows = _rows(folder / "out")
    lost, doubled = args.texts - len(rows), sum(count - 1 for count in rows.values())
    result = {"texts": args.texts, "killed": killed, "lost": lost, "doubled": doubled}
    result |= _one_process(files[0], folder / "out")
    print(json.dumps({**regime(), **result}, indent=1))
    raise SystemExit(bool(lost or doubled))


def inputs(folder: Path, texts: int) -> list[Path]:
    """Parquet files with so many texts of twelve words."""
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True, exist_ok=True)
    dice, paths = random.Random(0), []
    for part in range(_FILES):
        ids = range(part * texts // _FILES, (part + 1) * texts // _FILES)
        table = pa.table({"id": ids, "text": [f"{' '.join(dice.choices(_WORDS, k=12))} {i}" for i in ids]})
        paths.append(folder / f"part-{part:02}.parquet")
        parquet.write_table(table, paths[-1])
    return paths


def _killed_runs(files: list[Path], out: Path, kills: int) -> dict[str, int]:
    command = [sys.executable, "-c", _DRIVER, str(out), *map(str, files)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    killed: Counter[str] = Counter()
    dice = random.Random(1)
    while True:
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as driver:
            there = _done(out)
            while driver.poll() is None:
                time.sleep(0.05)
                if sum(killed.values()) < kills and _done(out) > there + dice.randrange(2):
                    victim = "driver" if sum(killed.values()) % 2 else "actor"
                    killed[victim] += _kill(driver, victim)
                    there = _done(out)
        if driver.returncode == 0:
            return dict(killed)
        print(f"{dict(killed)}, {_done(out)} files", file=sys.stderr)


def _kill(driver: subprocess.Popen[bytes], victim: str) -> bool:
    """Kill the driver with all that it has started, or one actor; whether there was one."""
    import psutil

    children = psutil.Process(driver.pid).children(recursive=True)
    found = [psutil.Process(driver.pid), *children] if victim == "driver" else [c for c in children if _is_actor(c)][:1]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return bool(found)


def _is_actor(process: Any) -> bool:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return bool((process.cmdline() or [""])[0].startswith("ray::_Worker"))
    return False


def _done(out: Path) -> int:
    return len(list(out.glob("*.parquet")))


def _rows(out: Path) -> Counter[int]:
    from pyarrow import parquet

    return Counter(
        i for path in out.glob("*.parquet") for i in parquet.read_table(path, columns=["id"])["id"].to_pylist()
    )


def _one_process(file: Path, out: Path) -> dict[str, float]:
    """The largest difference of a component between an actor's file and one process's vectors."""
    import numpy as np
    from pyarrow import parquet

    from m3rt import M3Encoder

    found = parquet.read_table(out / file.name)
    wanted = M3Encoder(threads=1).encode(found["text"]).dense_vecs
    vectors = np.array(found["dense_vecs"].to_pylist(), np.float32)
    return {"largest difference": float(np.abs(vectors - wanted).max())}


if __name__ == "__main__":
    main()
