"""The teacher's dense vectors, computed once by m3rt and kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from m3rt import M3Encoder
from m3rt.errors import InputError

Role = Literal["query", "passage"]
Array = NDArray[np.float32]

_BLOCK = 4096  # texts computed between two writes


class Teacher:
    """A bundle whose vectors are kept in a directory, text by text, and looked up before they are computed."""

    def __init__(self, bundle: Path, cache: Path, *, engine: str = "auto", threads: int | None = None) -> None:
        self._model = M3Encoder(bundle, engine=engine, threads=threads)
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        self._known: dict[bytes, NDArray[np.float16]] = {}
        for path in sorted(cache.glob("*.npz")):
            block = np.load(path)
            self._known.update(zip((key.tobytes() for key in block["keys"]), block["vectors"], strict=True))

    def vectors(self, texts: Sequence[str], role: Role) -> Array:
        """(n, dim) float32 unit vectors, rounded to float16, with the bundle's prompt for `role`."""
        keys = [self._key(text, role) for text in texts]
        missing = list(dict.fromkeys(i for i, key in enumerate(keys) if key not in self._known))
        with tqdm(total=len(missing), desc=f"teacher, {role}", unit="text", disable=None) as progress:
            for start in range(0, len(missing), _BLOCK):
                block = missing[start : start + _BLOCK]
                self._add([texts[i] for i in block], [keys[i] for i in block], role)
                progress.update(len(block))
        return np.array([self._known[key] for key in keys], np.float32)

    def _key(self, text: str, role: Role) -> bytes:
        model = self._model.manifest.source.id
        return hashlib.blake2b("\0".join((model, role, text)).encode(), digest_size=16).digest()

    def _add(self, texts: list[str], keys: list[bytes], role: Role) -> None:
        vectors = (self._model.encode_queries if role == "query" else self._model.encode_corpus)(texts).dense_vecs
        assert vectors is not None
        half = vectors.astype(np.float16)  # 11 bits: far finer than what a student learns
        path = self._cache / f"{keys[0].hex()}.npz"
        aside = path.with_suffix(".part")
        with aside.open("wb") as file:
            np.savez(file, keys=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16), vectors=half)
        os.replace(aside, path)
        self._known.update(zip(keys, half, strict=True))


@dataclass(frozen=True, slots=True)
class Projection:
    """The teacher's space turned into the student's: centred by role, its largest principal components, unit length.

    Centring takes out what all vectors share - e5's cosines lie in 0.7..1 - and with it the mark of the prompt.
    query, passage: (teacher dim,) means; axes: (teacher dim, student dim).
    """

    query: Array
    passage: Array
    axes: Array

    @classmethod
    def fit(cls, queries: Array, passages: Array, dim: int) -> Self:
        """Means and principal axes of two samples of teacher vectors, (n, teacher dim) each."""
        if dim > queries.shape[1]:
            raise InputError(f"the student is {dim} wide, expected at most the teacher's {queries.shape[1]}")
        means = queries.mean(axis=0), passages.mean(axis=0)
        both = np.concatenate([queries - means[0], passages - means[1]])
        values, axes = np.linalg.eigh(both.T @ both)
        return cls(*means, np.ascontiguousarray(axes[:, np.argsort(values)[::-1][:dim]]))

    def __call__(self, vectors: Array, role: Role) -> Array:
        """(n, teacher dim) to (n, student dim), unit length."""
        found = (vectors - (self.query if role == "query" else self.passage)) @ self.axes
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12), np.float32)
