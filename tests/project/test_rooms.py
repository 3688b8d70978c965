"""Rooms depend on each other in one direction: CONTRIBUTING.md draws the layers that stand here."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import m3rt_distill
import m3rt_export
import m3rt_kernels
import pytest

import m3rt

PACKAGES = {
    module.__name__: Path(str(module.__file__)).parent for module in (m3rt, m3rt_kernels, m3rt_export, m3rt_distill)
}
# From the bottom. A room or a root module imports only those of lines above, or of its own line to the left.
LAYERS = [
    "version", "errors",
    "values", "host",
    "bundle", "embeddings", "relevance",
    "text", "engines", "scoring", "quantization",
    "batching", "input", "model",
    "queue", "output",
    "encoder", "reranker", "granularity",
    "tuning", "index", "evaluation", "compat",
    "mteb", "adapters", "serve", "plan",
    "cli",
    "__init__", "__main__",
]  # fmt: skip
Rooms = dict[str, set[str]]


def imported(path: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """What a module imports from its own package when it runs, as parts of paths below the package."""
    tree = ast.parse(path.read_text("utf-8"))
    typing = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and getattr(branch.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    folder = path.relative_to(root).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in typing:
            base = folder[: len(folder) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            yield from ([base] if node.module else [(*base, name.name) for name in node.names])


def arrows(root: Path, depth: int = 1) -> Rooms:
    """The rooms, folders or root modules, that each room imports."""
    found: Rooms = defaultdict(set)
    for path in root.rglob("*.py"):
        here = path.relative_to(root).with_suffix("").parts[:depth]
        for target in imported(path, root):
            if target[:depth] != here:
                found["/".join(here)].add("/".join(target[:depth]))
    return found


def below(room: str, rooms: Rooms) -> set[str]:
    seen: set[str] = set()
    waiting = [room]
    while waiting:
        new = rooms.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += new
    return seen


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_is_below_itself(package: str) -> None:
    rooms = arrows(PACKAGES[package])
    assert rooms
    assert not [room for room in rooms if room in below(room, rooms)]


def test_the_store_of_an_index_knows_no_query() -> None:
    rooms = arrows(PACKAGES["m3rt"], depth=2)
    assert not {room for room in below("index/store", rooms) if room.startswith(("index/search", "cli"))}


def test_every_room_imports_only_rooms_below_it() -> None:
    rooms = arrows(PACKAGES["m3rt"])
    assert set(rooms) | {room for below in rooms.values() for room in below} <= set(LAYERS)
    place = LAYERS.index
    assert not [(room, other) for room in rooms for other in rooms[room] if place(other) >= place(room)]


def test_packages_import_each_other_in_one_direction() -> None:
    """m3rt_distill and m3rt_export know m3rt, and m3rt knows m3rt_kernels; the command m3rt export is the exception."""
    ups = {"m3rt_kernels": ("m3rt", "m3rt_export", "m3rt_distill"), "m3rt": ("m3rt_export", "m3rt_distill"),
           "m3rt_export": ("m3rt_distill",)}  # fmt: skip
    found = {
        (package, str(path.relative_to(PACKAGES[package])))
        for package, above in ups.items()
        for path in PACKAGES[package].rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in above
    }
    assert found == {("m3rt", "cli/export.py")}


def test_nothing_below_the_command_line_imports_it() -> None:
    rooms = arrows(PACKAGES["m3rt"])
    assert {room for room in rooms if "cli" in rooms[room]} == {"__main__"}


def test_every_room_says_what_it_holds() -> None:
    silent = [
        str(init.relative_to(root))
        for root in PACKAGES.values()
        for init in root.rglob("__init__.py")
        if not ast.get_docstring(ast.parse(init.read_text("utf-8")))
    ]
    assert not silent


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports a test file by its name alone, so the second of one name stops the whole run."""
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
