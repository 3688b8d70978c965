"""The teacher's dense vectors, computed once by m3rt and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from m3rt import M3Encoder
from m3rt.errors import InputError
from m3rt.host.files import replacing

from .vocabulary import TOKENIZER, read_tokenizer

Array = NDArray[np.float32]

_TEXTS_PER_FILE = 4096  # an interrupted run loses at most these


class Teacher:
    """A bundle whose vectors are kept in a directory, text by text, and looked up before they are computed."""

    def __init__(self, bundle: Path, cache: Path, *, engine: str = "auto", threads: int | None = None) -> None:
        self._model = M3Encoder(bundle, engine=engine, threads=threads)
        self.tokenizer_json = read_tokenizer(bundle / TOKENIZER)
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        self._known: dict[bytes, NDArray[np.float16]] = {}
        for path in sorted(cache.glob("*.npz")):
            block = np.load(path)
            self._known.update(zip((key.tobytes() for key in block["keys"]), block["vectors"], strict=True))

    def vectors(self, texts: Sequence[str]) -> Array:
        """Return (n, dim) float32 unit vectors, rounded to float16, of texts as queries: e5's role for similarity."""
        keys = [self._key(text) for text in texts]
        missing = list(dict.fromkeys(i for i, key in enumerate(keys) if key not in self._known))
        with tqdm(total=len(missing), desc="teacher", unit="text", disable=None) as progress:
            for start in range(0, len(missing), _TEXTS_PER_FILE):
                block = missing[start : start + _TEXTS_PER_FILE]
                self._add([texts[i] for i in block], [keys[i] for i in block])
                progress.update(len(block))
        return np.array([self._known[key] for key in keys], np.float32)

    def _key(self, text: str) -> bytes:
        model = self._model.manifest.source.id
        return hashlib.blake2b("\0".join((model, "query", text)).encode(), digest_size=16).digest()

    def _add(self, texts: list[str], keys: list[bytes]) -> None:
        vectors = self._model.encode_queries(texts).dense_vecs
        assert vectors is not None
        half = vectors.astype(np.float16)  # 11 bits, far finer than a student learns
        path = self._cache / f"{keys[0].hex()}.npz"
        with replacing(path) as aside, aside.open("wb") as file:
            np.savez(file, keys=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16), vectors=half)
        self._known.update(zip(keys, half, strict=True))


@dataclass(frozen=True, slots=True)
class Projection:
    """A map of the teacher's space to the student's: centred, its largest principal components, unit length.

    Centring removes the part that all vectors share: e5's cosines lie in 0.7..1. mean: (teacher dim,).
    axes: (teacher dim, student dim).
    """

    mean: Array
    axes: Array

    @classmethod
    def fit(cls, vectors: Array, dim: int) -> Self:
        """Compute the mean and the principal axes of teacher vectors (n, teacher dim)."""
        if dim > vectors.shape[1]:
            raise InputError(f"the student is {dim} wide, expected at most the teacher's {vectors.shape[1]}")
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        values, axes = np.linalg.eigh(centred.T @ centred)
        return cls(mean, np.ascontiguousarray(axes[:, np.argsort(values)[::-1][:dim]]))

    def __call__(self, vectors: Array) -> Array:
        """Map (n, teacher dim) to (n, student dim), unit length."""
        return unit((vectors - self.mean) @ self.axes)


def unit(vectors: NDArray[Any]) -> Array:
    """Divide each row by its length."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
