"""Files encoded by actors of a local Ray, and by one process with as many threads, in turn: tokens a second of each.

    python -m benchmarks.adapters.ray_speed [--texts 20000] [--actors 2] [--model BUNDLE] [--repeats 2]

Each run is a process of its own and writes the same files. "tokens/s" counts from the end of the first file, so without
the start of Ray and of the model, which "start s" has; the share is of the one process's median.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS
from pathlib import Path
from statistics import median
from typing import Any

from m3rt.bundle import DEFAULT

from ..common import options, regime, require
from .ray_kills import inputs

_KINDS = ("one process", "Ray")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--run", nargs=2, help=SUPPRESS)
    args = parser.parse_args()
    require("ray", "pyarrow")
    if args.run:
        kind, folder = args.run
        print(json.dumps(_run(kind, Path(folder), args.model, args.actors)))
        return
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    with tempfile.TemporaryDirectory(prefix="ray-speed-") as folder:
        inputs(Path(folder) / "in", args.texts)
        for _ in range(args.repeats):
            for kind in _KINDS:
                rows[kind].append(_called(kind, folder, args))
    rates = {kind: median(row["tokens/s"] for row in rows[kind]) for kind in _KINDS}
    print("| encoded by | start s | s | tokens/s | share |\n| --- | --- | --- | --- | --- |")
    for kind, found in rows.items():
        start, whole = (median(row[name] for row in found) for name in ("start s", "s"))
        print(f"| {kind} | {start:.1f} | {whole:.1f} | {rates[kind]:,.0f} | {rates[kind] / rates[_KINDS[0]]:.3f} |")
    print(json.dumps({**regime(texts=args.texts, actors=args.actors, model=str(args.model)), "runs": rows}))


def _called(kind: str, folder: str, args: Any) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.adapters.ray_speed", "--run", kind, folder]
    command += ["--model", str(args.model), "--actors", str(args.actors)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run(kind: str, folder: Path, model: str, actors: int) -> dict[str, float]:
    from pyarrow import parquet

    files = sorted((folder / "in").glob("*.parquet"))
    ends: list[float] = []
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start = time.perf_counter()
        if kind == "Ray":
            _with_ray(files, Path(out), model, actors, ends)
        else:
            _alone(files, Path(out), model, actors, ends)
        written = [Path(out) / file.name for file in files]
        tokens = [sum(parquet.read_table(path, columns=["n_tokens"])["n_tokens"].to_pylist()) for path in written]
    # Files are alike: which one an actor has finished first makes no difference.
    share = (len(files) - 1) / len(files)
    return {
        "start s": ends[0] - start,
        "s": ends[-1] - start,
        "tokens": sum(tokens),
        "tokens/s": share * sum(tokens) / (ends[-1] - ends[0]),
    }


def _with_ray(files: list[Path], out: Path, model: str, actors: int, ends: list[float]) -> None:
    import ray

    from m3rt.adapters.ray import encode_files

    ray.init(num_cpus=actors, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    encode_files(
        files,
        out,
        model,
        actors=actors,
        progress=lambda rows: ends.append(time.perf_counter()),
        return_sparse=True,
    )


def _alone(files: list[Path], out: Path, model: str, threads: int, ends: list[float]) -> None:
    from m3rt.adapters.arrow import TableEncoder
    from m3rt.adapters.parts.parquet_files import FilePair, encode_file

    encode = TableEncoder(model, threads=threads, return_sparse=True)
    for file in files:
        encode_file(encode, FilePair(file, out / file.name))
        ends.append(time.perf_counter())


if __name__ == "__main__":
    main()
