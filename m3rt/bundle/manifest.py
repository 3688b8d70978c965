"""The manifest `m3rt.json`: everything that a runtime must know about a bundle, so that it guesses nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, get_args, get_type_hints

from ..errors import BundleError
from ..host.files import FileRecord
from ..values.schema import build, conforms, parsed, wanted
from ..version import __version__
from .fields import (
    Architecture,
    Classifier,
    EngineName,
    Graph,
    Kind,
    Pooling,
    Precision,
    Pruned,
    Session,
    Source,
    SpecialTokens,
    Target,
)
from .heads import HEAD_NAMES, Heads

FORMAT_VERSION = 1
# A version as in the packaging specification, of bounded length.
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,3}((a|b|rc|\.post|\.dev)\d{1,4})?")
_MAX_FIDELITY_DEPTH = 8  # nested levels
_MAX_WIDTH = 1 << 24  # components of a vector, pieces of a vocabulary
MANIFEST = "m3rt.json"
GOLDEN = "golden.json"
TOKENIZER = "tokenizer.json"
ORIGINAL_IDS = "original_ids.bin"  # of a pruned vocabulary

_IDS = {"input_ids", "attention_mask"}
_INPUTS: dict[str, set[str]] = {
    "m3": _IDS | set(HEAD_NAMES.values()),
    "dense": _IDS,
    "reranker": _IDS,
}
_OPTIONAL_INPUTS = {"reranker": {"token_type_ids"}}  # BERT tells the second text from the first
_OUTPUTS: dict[str, set[str]] = {
    "m3": {"dense_vecs", "token_weights", "colbert_vecs"},
    "dense": {"dense_vecs"},
    "reranker": {"logits"},
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parsed and checked `m3rt.json`; each key of the file is a field."""

    kind: Kind
    precision: Precision
    source: Source
    architecture: Architecture
    pooling: Pooling
    special_tokens: SpecialTokens
    max_tokens: int
    graph: Graph
    files: Mapping[str, FileRecord]
    prompts: Mapping[str, str] = field(default_factory=dict)
    matryoshka_dims: tuple[int, ...] = ()
    sessions: Mapping[Target, Session] = field(default_factory=dict)  # older bundles have none
    fidelity: Mapping[str, Any] | None = None  # by engine: the result of `m3rt verify --against`
    classifier: Classifier | None = None  # of a reranker
    pruned: Pruned | None = None  # architecture.vocab_size counts the whole vocabulary
    format_version: int = FORMAT_VERSION
    m3rt_version: str = __version__

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Manifest).items():
            if not conforms(value := getattr(self, name), kind):
                raise BundleError(f"{MANIFEST}: {name} is {value!r:.80}, expected {wanted(kind)}")
        if not _is_plain(self.fidelity, _MAX_FIDELITY_DEPTH):
            raise BundleError(f"{MANIFEST}: fidelity is nested too deep or holds no plain numbers; export it again")
        narrowest = {"hidden_size": 1, "colbert_dim": int(self.kind == "m3"), "vocab_size": 4}
        for name, low in narrowest.items():
            if not low <= (width := getattr(self.architecture, name)) <= _MAX_WIDTH:
                raise BundleError(f"{MANIFEST}: {name} is {width}, expected {low}..{_MAX_WIDTH}")
        if not 2 < self.max_tokens < 2**20:
            raise BundleError(f"{MANIFEST}: max_tokens is {self.max_tokens}, expected 3..1048575")
        self._check_classifier()
        self._check_ports()
        self._check_pruned()
        if max(self.special_tokens.unused) >= self.architecture.vocab_size:
            raise BundleError(
                f"{MANIFEST}: a special token is {max(self.special_tokens.unused)}, not in the vocabulary"
            )
        if not self.graph.files:
            raise BundleError(f"{MANIFEST}: no graph is named, expected one for each engine; export the model again")
        for file in self.graph.files.values():
            if file not in self.files:
                raise BundleError(f"{MANIFEST}: the graph {file!r:.80} is not among its files")

    def _check_classifier(self) -> None:
        if (self.classifier is not None) != (self.kind == "reranker"):
            raise BundleError(f"{MANIFEST}: classifier is for a reranker and needed there, but kind is {self.kind}")
        if self.classifier is None:
            return
        for name, high in (("labels", _MAX_WIDTH), ("separators", 2)):
            if not 1 <= (number := getattr(self.classifier, name)) <= high:
                raise BundleError(f"{MANIFEST}: {name} is {number}, expected 1..{high}")

    def _check_pruned(self) -> None:
        if self.pruned is None:
            return
        low, high = max(self.special_tokens.unused) + 1, self.architecture.vocab_size
        if not low <= self.pruned.pieces <= high:
            raise BundleError(f"{MANIFEST}: pieces is {self.pruned.pieces}, expected {low}..{high}")
        if ORIGINAL_IDS not in self.files:
            raise BundleError(f"{MANIFEST}: the vocabulary is pruned and {ORIGINAL_IDS} is not among the files")

    def _check_ports(self) -> None:
        expected = _INPUTS[self.kind] | _OUTPUTS[self.kind]
        names = {port.name for port in (*self.graph.inputs, *self.graph.outputs)}
        names -= _OPTIONAL_INPUTS.get(self.kind, set())
        if names != expected:
            raise BundleError(
                f"{MANIFEST}: the graph of a {self.kind} bundle has wrong ports: {sorted(names ^ expected)!s:.200}"
            )
        widths = {"dense_vecs": self.dim, "colbert_vecs": self.architecture.colbert_dim, "logits": self.labels}
        for port in self.graph.outputs:
            if port.name in widths and port.shape[-1:] != (widths[port.name],):
                raise BundleError(
                    f"{MANIFEST}: {port.name} has shape {list(port.shape)}, expected to end in {widths[port.name]}"
                )

    @property
    def engines(self) -> tuple[EngineName, ...]:
        """Return the engines that have a graph in the bundle."""
        return tuple(name for name in get_args(EngineName) if name in self.graph.files)

    @property
    def heads(self) -> Heads:
        """The heads that the bundle has."""
        m3, reranker = self.kind == "m3", self.kind == "reranker"
        return Heads(dense=not reranker, sparse=m3, colbert=m3, logits=reranker)

    @property
    def dim(self) -> int:
        """Return the width of the dense vector."""
        return self.architecture.hidden_size

    @property
    def labels(self) -> int:
        """Logits of each pair, 0 where there are none."""
        return self.classifier.labels if self.classifier else 0

    @property
    def takes_token_types(self) -> bool:
        """Whether the graph is told which of the two texts a token is of."""
        return any(port.name == "token_type_ids" for port in self.graph.inputs)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of m3rt.json, without "classifier" for an encoder and "pruned" for a whole vocabulary."""
        raw = asdict(self)
        for name in ("classifier", "pruned"):
            if raw[name] is None:
                del raw[name]
        return raw

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse and check the text of a manifest. Raises BundleError with the first fault."""
        try:
            raw = parsed(text)
            if not isinstance(raw, dict) or "format_version" not in raw:
                raise ValueError("no format_version")
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is not a m3rt manifest ({error!s:.200}); export the model again") from None
        version = raw["format_version"]
        if version != FORMAT_VERSION:
            raise BundleError(_other_format(version, raw.get("m3rt_version")))
        try:
            return build(cls, raw)
        except BundleError:
            raise
        except (TypeError, ValueError) as error:
            raise BundleError(f"{MANIFEST} is damaged: {error!s:.200}; export the model again") from None


def _other_format(version: object, m3rt_version: object) -> str:
    """Say what to do with a bundle of another format; only a well-formed version is quoted from the file."""
    writer = m3rt_version if isinstance(m3rt_version, str) and _VERSION.fullmatch(m3rt_version) else None
    shown = repr(version).strip("'")
    return (
        f"the bundle has format {shown:.20} (written by m3rt {writer or 'of an unknown version'}), this m3rt "
        f"{__version__} reads format {FORMAT_VERSION}; run: pip install "
        + (f'"m3rt>={writer}"' if writer else "--upgrade m3rt")
    )


def _is_plain(value: object, depth: int) -> bool:
    """Whether a value of parsed() has at most `depth` levels, and whole numbers of less than 64 bits only."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(item, depth - 1) for item in inner)
    return not isinstance(value, int) or abs(value) < 2**63
