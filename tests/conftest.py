"""Fixtures shared by the tests: one tiny checkpoint and its bundles, made once a session; leave them unchanged."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from hypothesis import HealthCheck, settings
from m3rt_export import export

from m3rt import M3Encoder

# Nothing here is about time, and a machine may be slow. Fixtures of one function are read only, so examples share them.
settings.register_profile(
    "m3rt", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("m3rt")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell's background jobs ignore SIGINT, and so would the processes that tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the profiles of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("cache")
        patch.setenv("M3RT_CACHE", str(directory))
        yield directory


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BGE-M3 in BAAI's layout: 2 layers, 32 wide, 128 tokens."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny-m3")


@pytest.fixture(scope="session")
def bundle_fp32(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("fp32") / "bundle", precision="fp32").path


@pytest.fixture(scope="session")
def bundle_int8(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("int8") / "bundle", precision="int8").path


@pytest.fixture(scope="session")
def fp32(bundle_fp32: Path) -> M3Encoder:
    return M3Encoder(bundle_fp32, threads=1)


@pytest.fixture(scope="session")
def int8(bundle_int8: Path) -> M3Encoder:
    return M3Encoder(bundle_int8, threads=1)
