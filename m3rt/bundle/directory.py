"""A bundle on disk: opening it checks the sizes of its files, verify checks hashes, and no path may leave it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import BundleError, InputError, OutputError
from ..host.files import FileRecord, read_bytes, replacing, sha256
from ..values.arguments import path_of
from ..values.shown import shown
from .fields import GraphName
from .manifest import MANIFEST, Manifest

DEFAULT = "m3-tiny"  # the model in the package; a directory of that name is "./m3-tiny"
_MAX_MANIFEST_BYTES = 1 << 24  # a manifest has a few kB
_MAX_GRAPH_BYTES = 1 << 31  # protobuf's limit
_SHIPPED = Path(__file__).parents[1] / "models" / DEFAULT


@dataclass(frozen=True, slots=True)
class Bundle:
    """A directory with a manifest; all files of the manifest are in it and have the recorded sizes."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Return the path of one of the manifest's files. Raises BundleError for any other name."""
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: {name!r} is not a file of this bundle")
        return _inside(self.path, name)

    def graph(self, name: GraphName) -> Path:
        """Return the path of an engine's graph, or of its graph for a device. Raises BundleError if there is none."""
        if name not in self.manifest.graph.files:
            raise BundleError(
                f"{self.path} was exported for {' and '.join(self.manifest.engines)}, not {name}; export it again "
                f"with --engine {name}"
            )
        file = self.manifest.graph.files[name]
        if (size := self.manifest.files[file].size) >= _MAX_GRAPH_BYTES:
            raise BundleError(f"{self.path / file} has {size} bytes, expected a graph of less than {_MAX_GRAPH_BYTES}")
        return self.file(file)

    def size(self) -> int:
        """Sum the bytes of all files that the manifest lists."""
        return sum(record.size for record in self.manifest.files.values())


def open_bundle(path: str | Path = DEFAULT) -> Bundle:
    """Read the manifest of the bundle at `path` and check that its files are there with the right sizes.

    "m3-tiny" is the small model that comes with the package. Raises BundleError when there is no bundle, or when a
    file is missing, has another size or lies outside the bundle.
    """
    try:
        directory = _SHIPPED if isinstance(path, str) and path == DEFAULT else path_of("model", path)
    except InputError:
        raise BundleError(f"model is {shown(path)}, expected the path of a bundle's directory") from None
    try:
        text = read_bytes(directory / MANIFEST, _MAX_MANIFEST_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):
        fault = "is a file" if directory.is_file() else "does not exist"
        fault = f"has no {MANIFEST}" if directory.is_dir() else fault
        raise BundleError(f"{directory} {fault}; expected a bundle made by: m3rt export SOURCE {directory}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{directory / MANIFEST} cannot be read: {error!s:.200}") from None
    try:
        bundle = Bundle(directory, Manifest.from_json(text))
    except BundleError as error:
        raise BundleError(f"{directory}: {error}") from None
    for name, record in bundle.manifest.files.items():
        _check_size(_inside(directory, name), record)
    return bundle


def portable(path: str | Path) -> str | Path:
    """Return the argument with which open_bundle() opens the same bundle in another directory or process."""
    return DEFAULT if path == DEFAULT else Path(path).absolute()


def check_hashes(bundle: Bundle, progress: Callable[[int], object] = lambda n: None) -> None:
    """Compare every file with its SHA-256; `progress` is called with the number of bytes read. Raises BundleError."""
    for name, record in bundle.manifest.files.items():
        path = bundle.file(name)
        digest = sha256_of(path, progress)
        if digest != record.sha256:
            raise BundleError(f"{path} has SHA-256 {digest}, expected {record.sha256!r:.80}; export or copy it again")


def sha256_of(path: Path, progress: Callable[[int], object] = lambda n: None) -> str:
    """Hash a file of a bundle, in hex. Raises BundleError."""
    try:
        return sha256(path, progress)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None


def replace_manifest(bundle: Bundle, manifest: Manifest) -> None:
    """Replace the manifest of a bundle. Raises OutputError, and then leaves the old manifest."""
    path = bundle.path / MANIFEST
    try:
        with replacing(path) as aside:
            aside.write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}; it is as it was") from None


def _inside(directory: Path, name: str) -> Path:
    """Return the path of a file of the bundle. Raises BundleError for a name that leaves it, and for a link."""
    parts = PurePosixPath(name).parts
    inside = parts and not PurePosixPath(name).is_absolute() and ".." not in parts and not {"\\", ":"} & set(name)
    if not (inside and name.isprintable() and len(name.encode()) < 256):
        raise BundleError(f"{directory}: the file name {name!r:.80} leaves the bundle or is unusable; refused")
    path = directory.joinpath(*parts)
    # A link may point anywhere, also after the check. Only the path of the bundle itself may contain links.
    if any(p.is_symlink() for p in (path, *path.parents[: len(parts) - 1])):
        raise BundleError(f"{path} is a link; a bundle holds plain files only: copy them with cp -L")
    return path


def _check_size(path: Path, expected: FileRecord) -> None:
    try:
        size = path.stat().st_size
    except OSError:
        raise BundleError(f"{path} is missing; export or copy the bundle again") from None
    if not path.is_file():
        raise BundleError(f"{path} is no plain file; export or copy the bundle again")
    if size != expected.size:
        raise BundleError(f"{path} has {size} bytes, expected {expected.size}; export or copy it again")
