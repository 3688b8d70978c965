"""Ray: a dataset with embeddings, and files encoded by a pool of actors that may be killed."""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle import DEFAULT, portable
from ..errors import InputError, M3rtError, OutputError
from ..host.extras import need
from ..host.files import Busy, locked
from ..values.arguments import path_of, whole_number
from ..values.shown import reason
from .arrow import TableEncoder
from .parts.parquet_files import FilePair, encode_file, pairs, remove_leftovers

_LOCK = ".m3rt.lock"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What encode_files() did: files and rows written, and files skipped, which were there."""

    files: int
    rows: int
    skipped: int


def encode_dataset(
    dataset: Any,
    model: str | Path = DEFAULT,
    *,
    actors: int = 1,
    threads: int = 1,
    gpus: float = 0,
    batch_size: int = 256,
    text: str = "text",
    **options: Any,
) -> Any:
    """A ray.data.Dataset with encode_table()'s columns, computed by a pool of actors when it is read.

    model: the bundle's directory, on every machine. threads: CPUs of an actor; the cluster has one more, for reading.
    gpus: GPUs of an actor, with which it encodes. options: encode()'s. Raises InputError and BundleError here, before
    any actor starts.
    """
    need("ray", "ray", "pyarrow", purpose="encode_dataset")
    from ray.data import ActorPoolStrategy

    arguments = {"threads": threads, "device": _device(gpus), "text": text, **options}
    TableEncoder(model, **arguments)
    # One more, for the tasks that read: without it they and the actors wait for each other.
    _check_cluster({"CPU": actors * threads + 1, "GPU": actors * gpus})
    return dataset.map_batches(
        TableEncoder,
        batch_format="pyarrow",
        batch_size=whole_number("batch_size", batch_size, 1, 1 << 20),
        compute=ActorPoolStrategy(size=whole_number("actors", actors, 1, 1 << 16)),
        num_cpus=threads,
        num_gpus=gpus,
        fn_constructor_args=(portable(model),),
        fn_constructor_kwargs=arguments,
    )


def encode_files(
    files: Iterable[str | Path],
    out: str | Path,
    model: str | Path = DEFAULT,
    *,
    actors: int = 1,
    threads: int = 1,
    gpus: float = 0,
    text: str = "text",
    progress: Callable[[int], object] = lambda rows: None,
    **options: Any,
) -> Encoded:
    """Encode each .parquet file into one of the same name in the folder `out`; the same call goes on after any kill.

    A file is there when it is whole: what exists is skipped, and an actor that dies is started again with its file.
    Folders and model must be seen by every machine under the same path. progress is given each file's rows. The other
    arguments are encode_dataset()'s. Raises InputError, BundleError, EngineError, and OutputError when another call
    writes to `out`.
    """
    need("ray", "ray", "pyarrow", purpose="encode_files")
    folder = path_of("out", out).absolute()
    arguments = {"threads": threads, "device": _device(gpus), "text": text, **options}
    encode = TableEncoder(model, **arguments)
    _check_cluster({"CPU": actors * threads, "GPU": actors * gpus})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            remove_leftovers(folder)
            todo, skipped = pairs((Path(file).absolute() for file in files), folder)
            rows = _run(encode, todo, min(actors, len(todo)), {"num_cpus": threads, "num_gpus": gpus}, progress)
            remove_leftovers(folder)  # of actors that were killed meanwhile
    except Busy:
        raise OutputError(f"another call is writing to {folder}; wait for it or choose another folder") from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    return Encoded(len(todo), rows, skipped)


def _check_cluster(needed: dict[str, float]) -> None:
    """Raise InputError where actors would wait for ever."""
    import ray

    if not ray.is_initialized():
        raise InputError('Ray is not started; call ray.init() first, ray.init("auto") for a cluster')
    there = ray.cluster_resources()
    for name, number in needed.items():
        if number > there.get(name, 0):
            raise InputError(
                f"this needs {number:g} {name}s, the cluster has {there.get(name, 0):g}; ask for fewer actors"
            )


class _Worker:
    """An actor: it opens the encoder once."""

    def __init__(self, encode: TableEncoder) -> None:
        self._encode = encode

    def file(self, pair: FilePair) -> int:
        return encode_file(self._encode, pair)


def _run(
    encode: TableEncoder, todo: list[FilePair], actors: int, share: dict[str, Any], progress: Callable[[int], object]
) -> int:
    import ray
    from ray.util import ActorPool

    # An actor that is killed comes back, and its file, of which no part was kept, is begun again.
    remote = ray.remote(_Worker).options(max_restarts=-1, max_task_retries=-1, **share)
    workers = [remote.remote(encode) for _ in range(actors)]
    rows = 0
    try:
        pool = ActorPool(workers)
        for pair in todo:
            pool.submit(lambda worker, pair: worker.file.remote(pair), pair)
        while pool.has_next():
            done = _result(pool.get_next_unordered)
            rows += done
            progress(done)
    finally:
        for worker in workers:
            ray.kill(worker)
    return rows


def _result(get: Callable[[], int]) -> int:
    """What an actor has returned; its error as the one line that it is."""
    from ray.exceptions import RayError

    try:
        return get()
    except RayError as error:  # of a task, a M3rtError too, but one of many lines
        cause = getattr(error, "cause", None)
        if isinstance(cause, M3rtError):
            raise type(cause)(str(cause)) from None
        raise OutputError(f"an actor failed ({reason(error)}); the same call goes on with what is left") from None


def _device(gpus: float) -> str:
    return "cuda" if gpus else "cpu"
