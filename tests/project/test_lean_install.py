"""What `pip install "m3rt[cpu]"` puts on a disk has a budget."""

import re
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BUDGET_MB = 210  # 191 with onnxruntime 1.32, numpy 2.4 and tokenizers 0.23
SOURCES = [ROOT / "m3rt", *(ROOT / folder / f"m3rt_{folder}" for folder in ("kernels", "export", "distill"))]


def closure(requirement: str) -> dict[str, Distribution]:
    """Every installed distribution that a requirement brings, by its normalized name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(requirement), "")]
    while waiting:
        wanted, extra = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        for part in ("", *wanted.extras):
            if (name, part) not in seen:
                seen.add((name, part))
                found[name] = distribution(name)
                waiting += [(Requirement(line), part) for line in found[name].requires or ()]
    return found


def installed_bytes(package: Distribution) -> int:
    """The size of a distribution's files, without what Python compiles of them."""
    paths = [Path(str(package.locate_file(file))) for file in package.files or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())


def own_bytes() -> int:
    files = (path for source in SOURCES for path in source.rglob("*") if "__pycache__" not in path.parts)
    return sum(path.stat().st_size for path in files if path.is_file())


def test_a_cpu_install_stays_within_its_budget() -> None:
    try:
        others = {name: package for name, package in closure("m3rt[cpu]").items() if name != "m3rt"}
    except ModuleNotFoundError as error:  # PackageNotFoundError
        pytest.skip(f"needs the 'cpu' extra: {error}")
    assert {"numpy", "onnxruntime", "tokenizers"} <= others.keys()
    assert not {"torch", "onnx", "sympy", "transformers", "scipy"} & others.keys()
    sizes = {name: installed_bytes(package) / 1e6 for name, package in others.items()} | {"m3rt": own_bytes() / 1e6}
    table = ", ".join(f"{name} {size:.1f}" for name, size in sorted(sizes.items(), key=lambda row: -row[1]))
    assert sizes["m3rt"] < 20, table
    assert sum(sizes.values()) < BUDGET_MB, table
