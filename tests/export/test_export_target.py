"""The folder that an export writes: places that cannot be written, and exports that are interrupted."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from checkpoints import write_checkpoint
from exports import TEXTS, encoder, refusal
from m3rt_export import export
from own_lines import own_lines
from rights import lacks_rights

from m3rt import M3Encoder, OutputError
from m3rt.bundle import check_hashes, open_bundle

# ---- places that cannot be written


def test_a_directory_with_files_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine").write_text("precious")
    assert "exists and is not empty" in refusal(tmp_path, checkpoint)
    assert (tmp_path / "bundle" / "mine").read_text() == "precious"


def test_a_file_in_the_place_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("precious")
    assert refusal(tmp_path, checkpoint).startswith("OutputError")
    assert (tmp_path / "bundle").read_text() == "precious"


def test_an_empty_directory_and_missing_parents_will_do(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        assert encoder(export(checkpoint, out)).encode("x").dense_vecs.shape == (1, 32)


def test_a_file_as_the_parent_is_an_output_error(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OutputError, match="cannot be written"):
        export(checkpoint, tmp_path / "file" / "bundle")
    assert (tmp_path / "file").read_text() == "precious"


# In a process of its own, because these settings cannot be undone.
RESTRICTED = """
import os, resource, sys
import filelock, m3rt_export.exporter  # before the rights to read them are gone
from m3rt import M3rtError
source, out, limit = sys.argv[1:]
if limit != "nobody":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
elif os.geteuid() == 0:
    os.setuid(65534)
try:
    m3rt_export.export(source, out, precision="fp32")
except M3rtError as error:
    print(type(error).__name__, error)
"""


def restricted_export(checkpoint: Path, out: Path, limit: str) -> str:
    arguments = [sys.executable, "-c", RESTRICTED, str(checkpoint), str(out), limit]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert (done.returncode, own_lines(done.stderr)) == (0, "")
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.parametrize("limit", ["60000", "200000"], ids=["in tokenizer.json", "in weights.bin"])
def test_a_full_disk_is_one_line_and_leaves_nothing(checkpoint: Path, tmp_path: Path, limit: str) -> None:
    line = restricted_export(checkpoint, tmp_path / "bundle", limit)
    assert line.startswith(f"OutputError {tmp_path / 'bundle'} cannot be written: File too large; nothing was kept")
    assert list(tmp_path.iterdir()) == []


@lacks_rights
@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["unwritable", "unsearchable"])
def test_a_forbidden_parent_is_one_line(checkpoint: Path, mode: int) -> None:
    with TemporaryDirectory() as parent:
        os.chmod(parent, mode)
        line = restricted_export(checkpoint, Path(parent, "bundle"), "nobody")
        os.chmod(parent, 0o700)
        assert line.startswith(f"OutputError {parent}/bundle cannot be written: Permission denied")
        assert os.listdir(parent) == []


def test_paths_may_hold_any_character_and_lead_through_links(tmp_path: Path, fp32: M3Encoder) -> None:
    real = tmp_path / "Prüf stand 数据"
    write_checkpoint(real / "modèle 'x' #1")
    (tmp_path / "source").symlink_to(real / "modèle 'x' #1", target_is_directory=True)
    (tmp_path / "parent").symlink_to(real, target_is_directory=True)
    bundle = export(tmp_path / "source", tmp_path / "parent" / "büñdel 🚀", precision="fp32")
    assert bundle.manifest.source.id == "modèle 'x' #1"
    (tmp_path / "link").symlink_to(bundle.path, target_is_directory=True)
    for path in (bundle.path, tmp_path / "link", real / "büñdel 🚀"):
        model = M3Encoder(path, threads=1)
        np.testing.assert_array_equal(model.encode(TEXTS).dense_vecs, fp32.encode(TEXTS).dense_vecs)


# ---- exports that are interrupted

PAUSED = """
import sys
from m3rt import M3rtError
from m3rt_export import export
source, out, pause = sys.argv[1:]
def progress(step):
    print(step, flush=True)
    if step == pause:
        sys.stdin.readline()
try:
    export(source, out, precision="fp32", progress=progress)
except M3rtError as error:
    print(error)
"""


class Paused:
    """An export in another process that waits at one of its steps."""

    def __init__(self, checkpoint: Path, out: Path, step: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PAUSED, str(checkpoint), str(out), step],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.steps = [line.strip() for line in iter(self.process.stdout.readline, f"{step}\n")]

    def __enter__(self) -> "Paused":
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("step", ["reading the checkpoint", "layer 2 of 2", "golden vectors"])
def test_a_killed_export_leaves_no_half_bundle_and_the_next_cleans_up(
    checkpoint: Path, tmp_path: Path, step: str
) -> None:
    with Paused(checkpoint, tmp_path / "bundle", step):
        pass
    lock, leftover = sorted(tmp_path.iterdir())
    assert lock.name == ".bundle.lock"
    assert leftover.name.startswith(".bundle.partial-")
    bundle = export(checkpoint, tmp_path / "bundle")
    check_hashes(bundle)
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_of_two_exports_to_one_place_the_second_is_refused_at_once_and_told_why(
    checkpoint: Path, tmp_path: Path
) -> None:
    with Paused(checkpoint, tmp_path / "bundle", "hashing") as first:
        with pytest.raises(OutputError, match="bundle is being written by another export; wait for it"):
            export(checkpoint, tmp_path / "bundle", precision="int8")
        first.process.communicate("go on\n")
    assert open_bundle(tmp_path / "bundle").manifest.precision == "fp32"
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_what_takes_the_place_meanwhile_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    with Paused(checkpoint, tmp_path / "bundle", "hashing") as export_:
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "mine").write_text("precious")
        out, _ = export_.process.communicate("go on\n")
    assert out.splitlines()[-1].startswith(f"{tmp_path / 'bundle'} cannot be written")
    assert [path.name for path in tmp_path.rglob("*")] == ["bundle", "mine"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
def test_a_bundle_has_the_rights_that_the_umask_leaves(checkpoint: Path, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        bundle = export(checkpoint, tmp_path / "bundle", precision="fp32")
    finally:
        os.umask(before)
    for path in (bundle.path, *bundle.path.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask


def test_an_interrupted_export_cleans_up_itself(checkpoint: Path, tmp_path: Path) -> None:
    def interrupt(step: str) -> None:
        if step == "layer 1 of 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "bundle", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
