"""index.json: the model that made an index, its settings, and the segments of the last commit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, get_type_hints

from ...errors import HybridIndexError, InputError
from ...host.files import FileRecord
from ...text.chunking import MIN_CHUNK_TOKENS
from ...values.arguments import whole_number
from ...values.schema import build, conforms
from ...values.shown import shown
from ...version import __version__
from .precisions import COLBERT, DENSE

FORMAT_VERSION = 2
INDEX = "index.json"
_SEGMENT = re.compile(r"\d{8}")
_FILE = re.compile(r"[a-z0-9_]+([.-][a-z0-9_]+)*\.npy")


@dataclass(frozen=True, slots=True)
class Model:
    """The bundle that an index belongs to.

    space is a hash of everything that decides the vectors: the checkpoint's files, pooling and prompts. Two bundles of
    one checkpoint in different precisions have the same space, and each may search the other's indexes.
    """

    id: str
    revision: str | None
    precision: str
    path: str
    manifest_sha256: str
    space: str

    def __str__(self) -> str:
        return f"{self.id} {self.precision} ({self.space[:12]})"


@dataclass(frozen=True, slots=True)
class Settings:
    """The views that an index stores for each row, fixed when it is created.

    dense, colbert: a precision of DENSE and of COLBERT, or None. dense_dim, colbert_dim: widths of the vectors.
    chunk_tokens: the most tokens of a chunk, None for whole texts. chunk_overlap: tokens that neighbours share.
    """

    dense: str | None
    sparse: bool
    colbert: str | None
    dense_dim: int
    colbert_dim: int
    chunk_tokens: int | None = None
    chunk_overlap: int = 64

    def __post_init__(self) -> None:
        for name, value, table in (("dense", self.dense, DENSE), ("colbert", self.colbert, COLBERT)):
            if value is not None and not (isinstance(value, str) and value in table):
                raise InputError(f"{name} is {shown(value)}, expected None or one of {', '.join(table)}")
            dim = whole_number(f"{name}_dim", getattr(self, f"{name}_dim"), 1, 1 << 16)
            if value and dim % (whole := max(array.components for array in table[value].arrays.values())):
                raise InputError(f"{name}_dim is {dim}, expected a multiple of {whole} for {value}; store int8")
        if not (self.dense or self.sparse or self.colbert):
            raise InputError("an index of nothing: expected dense, sparse or colbert")
        if self.chunk_tokens is not None:
            whole_number("chunk_tokens", self.chunk_tokens, MIN_CHUNK_TOKENS, 1 << 20)
            whole_number("chunk_overlap", self.chunk_overlap, 0, self.chunk_tokens // 2)


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment: `rows` rows, `deleted` of them deleted, and `documents` distinct ids among the rows that are left.

    alive: the file with the mask of the rows that are left, None while no row is deleted. files: all files.
    """

    name: str
    rows: int
    documents: int
    files: Mapping[str, FileRecord]
    deleted: int = 0
    alive: str | None = None

    def __post_init__(self) -> None:
        if not _SEGMENT.fullmatch(self.name) or not all(map(_FILE.fullmatch, self.files)):
            raise HybridIndexError(f"{INDEX}: segment {self.name!r:.40} or a file of it has an unusable name")
        if self.deleted + self.documents > self.rows:
            raise HybridIndexError(f"{INDEX}: segment {self.name} counts more documents than its {self.rows} rows")
        if self.alive is not None and self.alive not in self.files:
            raise HybridIndexError(f"{INDEX}: {self.alive!r} is not among the files of segment {self.name}")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(record.size for record in self.files.values())


@dataclass(frozen=True, slots=True)
class Manifest:
    """One commit. next_segment: a number that no segment has had. note: the last one that a writer left, or None."""

    settings: Settings
    model: Model | None
    segments: tuple[SegmentRecord, ...] = ()
    commit: int = 0
    next_segment: int = 1
    note: Mapping[str, Any] | None = None
    format_version: int = FORMAT_VERSION
    m3rt_version: str = field(default=__version__)

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Manifest).items():
            if not conforms(value := getattr(self, name), kind):
                raise HybridIndexError(
                    f"{INDEX}: {name} is {value!r:.80}, which no writer leaves; build the index again"
                )
        names = [segment.name for segment in self.segments]
        if len({*names}) < len(names) or any(int(name) >= self.next_segment for name in names):
            raise HybridIndexError(
                f"{INDEX}: segments have the names {names!r:.80}, each expected once and below "
                f"{self.next_segment}; build the index again"
            )

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse and validate. Raises HybridIndexError."""
        try:
            raw = json.loads(text)
            version = raw["format_version"]
            if version != FORMAT_VERSION:
                raise HybridIndexError(
                    f"the index has format {version} (written by m3rt {raw.get('m3rt_version', '?')}), this m3rt "
                    f"{__version__} reads format {FORMAT_VERSION}; use that m3rt or build the index again"
                )
            json.dumps(
                raw["note"], ensure_ascii=False, allow_nan=False
            ).encode()  # it must be valid, since the next commit writes it again
            return build(cls, raw)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise HybridIndexError(f"{INDEX} is damaged ({error!r:.120}); build the index again") from None
