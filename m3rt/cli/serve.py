"""m3rt serve: the three views, reranking and search over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..host.extras import need
from ..host.threads import available_cpus
from ..serve.keys import VARIABLE
from ..text.rust import hush_panics
from .parts.console import say
from .parts.options import FiniteRange, model_argument, runtime_options

if TYPE_CHECKING:
    from ..encoder import M3Encoder
    from ..index import HybridIndex
    from ..reranker import M3Reranker

_PACKAGES = ("fastapi", "uvicorn", "orjson", "prometheus_client")
_PATH = click.Path(path_type=Path)


@click.command("serve")
@model_argument
@click.option("--reranker", type=_PATH, envvar="M3RT_RERANKER", show_envvar=True, help="The bundle of a reranker.")
@click.option("--index", "indexes", type=_PATH, multiple=True, envvar="M3RT_INDEX", show_envvar=True,
              help="An index to search, under the name of its directory; may be given several times.")  # fmt: skip
@click.option("--host", default="127.0.0.1", envvar="M3RT_HOST", show_envvar=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, envvar="M3RT_PORT", show_envvar=True,
              help="0: any free one.")  # fmt: skip
@click.option("--api-key-file", type=_PATH, envvar="M3RT_API_KEY_FILE", show_envvar=True,
              help=f"A file with an API key a line; {VARIABLE} holds keys, too.")  # fmt: skip
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", envvar="M3RT_ALLOWED_HOST",
              show_envvar=True, help="A name by which clients without a key may call the server, beside localhost and "
              "--host; may be given several times.")  # fmt: skip
@click.option("--max-items", type=click.IntRange(1), default=2048, envvar="M3RT_MAX_ITEMS", show_envvar=True,
              help="Texts of a request.")  # fmt: skip
@click.option("--max-body", type=click.IntRange(1), default=64 << 20, envvar="M3RT_MAX_BODY", show_envvar=True,
              help="Bytes of a request.")  # fmt: skip
@click.option("--max-queue", type=click.IntRange(1), default=1 << 19, envvar="M3RT_MAX_QUEUE", show_envvar=True,
              help="Tokens of all requests that wait; more are refused with status 429.")  # fmt: skip
@click.option("--max-wait", type=FiniteRange(0.001, 86_400), envvar="M3RT_MAX_WAIT", show_envvar=True,
              help="Seconds that the requests before one may take; else it is refused with status 429.  "
              "[default: as --timeout]")  # fmt: skip
@click.option("--timeout", type=FiniteRange(0.001, 86_400), default=120.0, envvar="M3RT_TIMEOUT", show_envvar=True,
              help="Seconds after which a request that still waits is given up.")  # fmt: skip
@click.option("--passes", type=click.IntRange(1, 1024), default=1, envvar="M3RT_PASSES", show_envvar=True,
              help="Passes that run side by side, each with --threads, by default its share of the CPUs. One thread "
              "each answers many texts faster and a single one slower. OpenVINO runs one at a time.")  # fmt: skip
@click.option("--no-access-log", is_flag=True, envvar="M3RT_NO_ACCESS_LOG", show_envvar=True,
              help="Without a line of JSON on stdout for each request.")  # fmt: skip
@runtime_options
def command(
    model: str, reranker: Path | None, indexes: tuple[Path, ...], host: str, port: int, api_key_file: Path | None,
    allowed_hosts: tuple[str, ...], max_items: int, max_body: int, max_queue: int, max_wait: float | None,
    timeout: float, passes: int, no_access_log: bool, **runtime: Any,
) -> None:  # fmt: skip
    """Serve a bundle over HTTP, to the clients of OpenAI, TEI, Cohere and Jina, and with a page to try it on.

    \b
    m3rt serve BUNDLE --port 8080
    M3RT_API_KEY=secret m3rt serve BUNDLE --index my-index --host 0.0.0.0

    MODEL is a bundle's directory  [default: m3-tiny, which comes with m3rt; env var: M3RT_MODEL]. SIGTERM ends the
    server once every request that it accepted is answered.
    """
    need("server", *_PACKAGES, purpose="m3rt serve")
    from ..encoder import M3Encoder
    from ..serve.access_log import AccessLog
    from ..serve.app import make_app
    from ..serve.hosts import Hosts
    from ..serve.keys import Keys
    from ..serve.limits import Limits
    from ..serve.metrics import Metrics
    from ..serve.run import bound, is_loopback, serve
    from ..serve.service import Service

    keys = Keys.of(api_key_file, os.environ.get(VARIABLE))
    hosts = Hosts((host, *allowed_hosts))
    limits = Limits(
        body_bytes=max_body, items=max_items, queue_tokens=max_queue, wait_seconds=max_wait, seconds=timeout
    )
    metrics = Metrics()
    with bound(host, port) as listener:  # before the model is loaded, which takes longer
        threads = runtime["threads"] or (max(1, available_cpus() // passes) if passes > 1 else None)
        encoder = M3Encoder(model, **{**runtime, "threads": threads})
        service = Service(
            encoder, reranker=_reranker(reranker, runtime), indexes=_indexes(indexes, encoder), limits=limits,
            passes=passes, on_pass=metrics.passed,
        )  # fmt: skip
        hush_panics(False)
        if not keys and not is_loopback(listener):
            say(f"warning: other machines can reach {host} and no API key is set; set {VARIABLE} or --api-key-file")
        asyncio.run(service.warm())
        address = f"[{host}]" if ":" in host else host
        say(f"{encoder.manifest.source.id} at http://{address}:{listener.getsockname()[1]}; Ctrl-C ends it")
        with nullcontext() if no_access_log else AccessLog(sys.stdout.fileno()) as log:
            serve(make_app(service, metrics, keys=keys, hosts=hosts, access_log=log), listener, limits)


def _reranker(bundle: Path | None, runtime: dict[str, Any]) -> M3Reranker | None:
    if bundle is None:
        return None
    from ..reranker import M3Reranker

    return M3Reranker(bundle, **runtime)


def _indexes(paths: tuple[Path, ...], encoder: M3Encoder) -> dict[str, HybridIndex]:
    from ..index import HybridIndex

    found: dict[str, HybridIndex] = {}
    for path in paths:
        name = path.resolve().name
        if name in found:
            raise InputError(f"--index {path} and {found[name].path} are both named {name}; rename one of them")
        found[name] = HybridIndex(path, encoder)
    return found
