"""Compiles every kernel ahead, so that no search waits for it."""

from __future__ import annotations

import numpy as np

import m3rt_kernels as kernels

from .jit import eager

_DIM = 64


@eager()
def warm() -> None:
    """Call every kernel once, on a few rows: kernels that the cache lacks are compiled and, if possible, kept there."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, _DIM)).astype(np.float32)
    query, offsets, documents = vectors[:20], np.arange(0, 41, 4), np.array([3, 1])
    half, bits = vectors.astype(np.float16), kernels.pack_bits(vectors)
    codes, scales = kernels.quantize_int8(vectors)
    kernels.maxsim(query, vectors, offsets, documents=documents)
    kernels.maxsim(query, half, offsets)
    kernels.maxsim_int8(query, codes, scales, offsets)
    kernels.maxsim_binary(query, bits, offsets)
    for alive in (None, np.ones(40, np.bool_)):
        kernels.dense_top_k(query, vectors, 5, alive=alive)
        kernels.dense_top_k(query, half, 5, alive=alive)
        kernels.dense_top_k_int8(query, codes, scales, 5, alive=alive)
        kernels.dense_top_k_binary(query, bits, 5, alive=alive)
    kernels.dense_top_k_signs(query[0], kernels.sign_words(lambda begin, end: vectors[begin:end], 40, _DIM), 5)
    kernels.dense_scores(vectors[0], vectors, documents)
    kernels.dense_scores(vectors[0], codes, documents, scales=scales)
    kernels.top_k(vectors[:, 0], 3)
    rows = np.arange(0, 41 * 8, 8), np.tile(np.arange(8, dtype=np.int32), 40), np.ones(320, np.float32)
    kernels.sparse_dot(*rows, *rows)
    kernels.sparse_dot_rows(*rows, *rows)
    kernels.scatter_max(rows[1], rows[2], rows[0], (0, 1))
    ids, weights = rows[1][:8], rows[2][:8]
    many = (
        np.arange(0, 201),
        np.arange(200, dtype=np.int32) % 3,
        np.ones(200, np.float32),
    )  # frequent terms, which have columns
    for csr in (rows, many):
        index = kernels.InvertedIndex.build(*csr)
        for alive in (None, np.ones(len(index), np.bool_)):
            index.search(ids, weights, 5, alive=alive)
