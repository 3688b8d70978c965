"""One server with m3-tiny, a reranker and an index, for all tests that leave it as it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slow_engine import Slow

from m3rt import HybridIndex, M3Encoder

DOCUMENTS = {
    "tower": ("Tokyo Tower is 333 metres high.", {"lang": "en"}),
    "pie": ("Apfelkuchen mit Zimt", {"lang": "de"}),
    "sea": ("The sea is deep and cold.", {"lang": "en"}),
}


@pytest.fixture(scope="session")
def tiny() -> M3Encoder:
    return M3Encoder(threads=1)


@pytest.fixture
def index(tiny: M3Encoder, tmp_path: Path) -> HybridIndex:
    index = HybridIndex.create(tmp_path / "docs", tiny, colbert="int8")
    texts, metadata = zip(*DOCUMENTS.values(), strict=True)
    index.add(list(DOCUMENTS), list(texts), metadata=list(metadata))
    return index


@pytest.fixture(scope="session")
def address(tiny: M3Encoder) -> Iterator[str]:
    pytest.importorskip("fastapi", reason="needs the 'server' extra")
    from serving import SharedWords, running

    from m3rt.serve.service import Service

    with running(Service(tiny, reranker=SharedWords(tiny))) as address:
        yield address


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[Any]:
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture
def slow(tiny: M3Encoder) -> Iterator[Slow]:
    engine = Slow(tiny.engine)
    yield engine
    engine.open.set()
