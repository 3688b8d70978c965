"""What is shipped, what an import costs, and what is public."""

import os
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import m3rt
from m3rt import errors

ROOT = Path(__file__).parents[2]
FOLDERS = {"m3rt": ".", "m3rt_kernels": "kernels", "m3rt_export": "export", "m3rt_distill": "distill"}
PACKAGES = {name: ROOT / folder / name for name, folder in FOLDERS.items()}
HEAVY = ["numpy", "tokenizers", "tqdm", "click", "onnx", "onnxruntime", "numba", "huggingface_hub", "torch"]


def python(script: str, *, path: Path | None = None) -> str:
    settings = dict(os.environ) | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=settings, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def sources(package: Path) -> set[str]:
    """A package's files, by their path inside it, without what Python and tools leave there."""
    files = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if not {"__pycache__", ".mypy_cache"} & set(path.parts)}


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    info = f"m3rt-{m3rt.__version__}.dist-info"
    shipped: dict[str, set[str]] = {}
    for name in wheel.namelist():
        top, _, rest = name.partition("/")
        shipped.setdefault(top, set()).add(rest)
    assert shipped.keys() == {*PACKAGES, info}
    assert {name: shipped[name] for name in PACKAGES} == {name: sources(path) for name, path in PACKAGES.items()}
    assert all("py.typed" in shipped[name] for name in PACKAGES)
    assert "licenses/LICENSE" in shipped[info]
    assert "m3rt = m3rt.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()


def test_the_wheel_needs_no_engine(wheel: zipfile.ZipFile) -> None:
    metadata = wheel.read(f"m3rt-{m3rt.__version__}.dist-info/METADATA").decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert required
    assert not any(name in line for line in required for name in ("onnx", "torch", "numba", "transformers"))


def test_an_unpacked_wheel_runs(wheel: zipfile.ZipFile, tmp_path: Path, bundle_fp32: Path) -> None:
    wheel.extractall(tmp_path)
    # An editable install is found by an import hook, which would win over PYTHONPATH.
    script = f"""
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path.insert(0, {str(tmp_path)!r})
import m3rt, m3rt_export.texts
print(len(m3rt.M3Encoder({str(bundle_fp32)!r}, threads=1).encode(m3rt_export.texts.calibration_texts())) > 20)
print(m3rt.__file__)
print(m3rt_export.__file__)
"""
    many, *origins = python(script).splitlines()
    assert many == "True"
    assert all(Path(origin).is_relative_to(tmp_path) for origin in origins)


@pytest.mark.parametrize("folder", ["kernels", "export"])
def test_the_repositorys_folders_are_no_packages(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()
    assert python(f"import importlib.util as u; print(u.find_spec({folder!r}))") == "None\n"


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_is_free(name: str) -> None:
    script = f"import sys, {name}; print([m for m in {HEAVY} if m in sys.modules])"
    allowed = ["numpy"] if name == "m3rt_kernels" else []
    assert python(script) == f"{allowed}\n"


def test_using_the_encoder_imports_no_exporter_and_no_torch(bundle_fp32: Path) -> None:
    script = f"""
import sys, m3rt
m3rt.M3Encoder({str(bundle_fp32)!r}, threads=1).encode("x", return_sparse=True, return_colbert_vecs=True)
print([m for m in ("m3rt_export", "onnx", "torch", "transformers", "huggingface_hub", "click") if m in sys.modules])
"""
    assert python(script) == "[]\n"


def test_all_is_the_public_surface() -> None:
    assert sorted(m3rt.__all__) == m3rt.__all__ == dir(m3rt)
    for name in set(m3rt.__all__) - {"__version__"}:
        value = getattr(m3rt, name)
        assert value.__name__ == name
        assert value.__module__.startswith("m3rt.")


def test_every_error_is_public_and_has_the_base() -> None:
    tree = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert tree.keys() <= set(m3rt.__all__)
    assert all(issubclass(value, m3rt.M3rtError) for value in tree.values())


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'m3rt' has no attribute 'M3Decoder'"):
        m3rt.M3Decoder  # noqa: B018


def test_the_version_is_that_of_the_installed_package() -> None:
    assert import_module("importlib.metadata").version("m3rt") == m3rt.__version__
