"""Commits of HybridIndex: complete or not there, whatever happens to the process or the disk."""

import os
import resource
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from corpus import embeddings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from indexes import CHANGES, DOCS, NAMES, add, contents, create, files, named, two_segments

from m3rt import HybridIndex, OutputError


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return two_segments(tmp_path / "before")


SUPPORT = str(Path(__file__).parents[1] / "support")


@pytest.mark.parametrize("change", CHANGES)
def test_a_process_killed_at_any_step_leaves_the_commit_before_or_after(
    change: str, before: Path, tmp_path: Path
) -> None:
    old = contents(HybridIndex(before))
    after = HybridIndex(shutil.copytree(before, tmp_path / "after"))
    CHANGES[change](after)
    new = contents(after)
    # In a process of its own: forks of this one may wait forever for threads of its engines, which they do not have.
    script = f"import sys; sys.path.insert(0, {SUPPORT!r}); import test_index_commits as t\n"
    script += f"t.die_at_every_step({change!r}, {str(before)!r}, {str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, check=True, timeout=300)
    copies = sorted(tmp_path.glob("copy-*"))
    assert len(copies) > 5
    for copy in copies:
        index = HybridIndex(copy)
        found = contents(index)
        assert found in (old, new)
        add(index, 28, 30)  # it can be written again, and nothing is left behind
        assert contents(index) == found | {name: f"one of {name}" for name in NAMES[28:]}
        assert files(copy) == named(copy)


def die_at_every_step(change: str, before: str, out: str) -> None:
    """Make a change in copies of an index, in processes that die before its first, second, ... step; in one it ends."""
    os.fsync = lambda fd: None  # what a process wrote outlives it anyway
    CHANGES[change](HybridIndex(shutil.copytree(before, f"{out}/first")))  # loads the kernels that the forks use
    finished, step = False, 0
    while not finished:
        step += 1
        finished = killed_at(step, Path(shutil.copytree(before, f"{out}/copy-{step}")), change)


def killed_at(step: int, path: Path, change: str) -> bool:
    """Make a change in a process that dies before its step-th change to the file system; whether it lived."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9), f"step {step} of {change} raised"
        return code == 0
    try:
        index = HybridIndex(path)
        steps = iter(range(step - 1, -1, -1))

        def die(event: str, args: tuple[object, ...]) -> None:
            if changes(event, args) and str(path) in str(args[0]) and not next(steps):
                os._exit(9)

        sys.addaudithook(die)
        CHANGES[change](index)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def changes(event: str, args: tuple[Any, ...]) -> bool:
    """Whether an audited event changes the file system; rmtree names files by their directory's descriptor."""
    return event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"} or (
        event == "open" and isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
    )


@pytest.mark.parametrize("change", CHANGES)
def test_a_full_disk_leaves_the_index_as_it_was(change: str, before: Path) -> None:
    old, was = contents(HybridIndex(before)), files(before)
    index = HybridIndex(before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 100, 1000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(OutputError, match="File too large; the index is as it was before"):
                CHANGES[change](index)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert contents(index) == contents(HybridIndex(before)) == old
        assert files(before) == was
    CHANGES[change](index)


def test_what_no_writer_made_is_never_removed(before: Path) -> None:
    strange = [before / "notes.txt", before / "segments/.DS_Store", before / "segments/00000001/README"]
    for file in strange:
        file.write_text("kept")
    (before / "segments/photos/2026").mkdir(parents=True)
    for change in CHANGES.values():
        change(HybridIndex(before))
    assert all(file.read_text() == "kept" for file in strange[:2])
    assert (before / "segments/photos/2026").is_dir()
    (before.parent / "other/segments/photos").mkdir(parents=True)
    with pytest.raises(OutputError, match="holds 'segments/photos'"):
        create(before.parent / "other")


@pytest.mark.parametrize("name", ["segments", "segments/00000001", "segments/20260101"])
def test_links_are_read_and_never_written_through(name: str, before: Path, tmp_path: Path) -> None:
    elsewhere, old = tmp_path / "elsewhere", contents(HybridIndex(before))
    if (before / name).exists():
        (before / name).rename(elsewhere)
    (elsewhere / "20251231").mkdir(parents=True)
    (elsewhere / "mine.npy").touch()
    (before / name).symlink_to(elsewhere)
    index, was = HybridIndex(before), files(elsewhere)
    assert contents(index) == old
    for change in CHANGES.values():
        with pytest.raises(OutputError, match=rf"{name} is no directory of the index's own; copy"):
            change(index)
    assert files(elsewhere) == was
    assert (elsewhere / "20251231").is_dir()


def test_an_add_replaces_what_has_the_same_id(before: Path) -> None:
    index = HybridIndex(before)
    result = index.add(NAMES[4:8], ["new"] * 4, embeddings=embeddings(DOCS[4:8]))
    assert (result.documents, result.replaced) == (4, 4)
    assert len(index) == 9
    assert [name for name, text in contents(index).items() if text == "new"].sort() == NAMES[4:8].sort()
    assert index.delete([*NAMES[4:6], "not there"]) == 2
    assert index.delete(NAMES[4:6]) == 0


def test_many_small_adds_make_few_segments(tmp_path: Path) -> None:
    index = create(tmp_path / "index")
    for i in range(30):
        add(index, i, i + 1)
        assert index.info()["segments"] <= 14
    assert contents(index).keys() == set(NAMES)
    assert files(index.path) == named(index.path)


def test_compact_leaves_one_segment_without_what_was_deleted(before: Path) -> None:
    index = HybridIndex(before)
    old, size = contents(index), index.info()["size"]
    index.compact()
    info = index.info()
    assert (info["segments"], info["deleted_rows"], info["documents"]) == (1, 0, 9)
    assert info["size"] < size
    assert contents(index) == old
    commit = info["commit"]
    index.compact()
    assert index.info()["commit"] == commit  # nothing to do
    index.delete(NAMES)
    assert (index.info()["segments"], len(index)) == (0, 0)


class Histories(RuleBasedStateMachine):
    """Any sequence of changes leaves what the same changes leave in a dictionary."""

    @initialize(tmp=st.uuids())
    def start(self, tmp: object) -> None:
        self.path = Path(os.environ["M3RT_CACHE"]) / f"index-{tmp}"
        self.index = create(self.path, colbert="int8")
        self.model: dict[str, str | None] = {}
        self.version = 0

    @rule(part=st.slices(30))
    def add(self, part: slice) -> None:
        self.version += 1
        chosen = dict(zip(NAMES[part], DOCS[part], strict=True))
        texts = [f"{self.version} of {name}" for name in chosen]
        result = self.index.add(list(chosen), texts, embeddings=embeddings(list(chosen.values())))
        assert result.replaced == len(chosen.keys() & self.model.keys())
        self.model |= dict(zip(chosen, texts, strict=True))

    @rule(part=st.slices(30))
    def delete(self, part: slice) -> None:
        assert self.index.delete(NAMES[part]) == len(set(NAMES[part]) & self.model.keys())
        for name in NAMES[part]:
            self.model.pop(name, None)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule()
    def reopen(self) -> None:
        self.index = HybridIndex(self.path)

    @invariant()
    def holds_the_same(self) -> None:
        if hasattr(self, "index"):
            assert contents(self.index) == self.model
            assert files(self.path) == named(self.path)

    def teardown(self) -> None:
        if hasattr(self, "path"):
            shutil.rmtree(self.path)


Histories.TestCase.settings = settings(max_examples=20, stateful_step_count=12)


TestHistories = Histories.TestCase
