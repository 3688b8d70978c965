"""Tiny rerankers of both kinds and their bundles, made once a session; leave them unchanged."""

from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from m3rt_export import export

from m3rt import M3Reranker

KINDS = ["reranker", "bert-reranker"]


@pytest.fixture(scope="session")
def rerankers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints by kind."""
    folder = tmp_path_factory.mktemp("rerankers")
    return {kind: write_checkpoint(folder / kind, kind=kind) for kind in KINDS}


@pytest.fixture(scope="session")
def bundles(rerankers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """fp32 bundles by kind."""
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: export(path, folder / kind, precision="fp32").path for kind, path in rerankers.items()}


@pytest.fixture(scope="session")
def int8_bundle(rerankers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(rerankers["reranker"], tmp_path_factory.mktemp("int8") / "bundle", precision="int8").path


@pytest.fixture(scope="session")
def reranker(bundles: dict[str, Path]) -> M3Reranker:
    return M3Reranker(bundles["reranker"], engine="onnxruntime", threads=1)


@pytest.fixture(scope="session", params=KINDS)
def either(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> M3Reranker:
    """A reranker of each kind in turn."""
    return M3Reranker(bundles[request.param], engine="onnxruntime", threads=1)
