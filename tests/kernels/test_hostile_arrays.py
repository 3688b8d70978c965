"""Whatever arrays a public function is given, it raises ValueError or computes what numpy does: it never crashes.

The attacks run in a process of their own, whose allocator fills what is freed: a crash is its exit status, after the
name of what it attacked.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import m3rt_kernels as kernels
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from m3rt_kernels.compiler import jit

Array = np.ndarray[Any, Any]
ALLOCATOR = {"MALLOC_PERTURB_": "165", "MALLOC_ARENA_MAX": "1"}
EXAMPLES = 100
MAXSIM: Any = sys.modules["m3rt_kernels.late_interaction.maxsim"]

_draw = np.random.default_rng(0)
QUERY = _draw.normal(size=(9, 64)).astype(np.float32)
VECTORS = _draw.normal(size=(300, 64)).astype(np.float32)
HALF, BITS = VECTORS.astype(np.float16), kernels.pack_bits(VECTORS)
CODES, SCALES = kernels.quantize_int8(VECTORS)
RAGGED = {
    "offsets": np.r_[0, 41, 41:301],
    "documents": np.array([255, 0, 127], np.uint8),
    "query_offsets": np.array([0, 4, 4, 9]),
}
ONE = {"offsets": np.array([0, 1]), "documents": np.array([0, 0]), "query_offsets": np.array([0, 4, 9])}
ALIVE = _draw.random(300) < 0.8
_ZIPF = 1 / np.arange(1, 100)  # some terms are in so many documents that they are columns
INDICES = np.concatenate([np.sort(_draw.choice(99, 12, False, _ZIPF / _ZIPF.sum())) for _ in range(300)]).astype(
    np.int32
)
CSR = {"indptr": np.arange(0, 3601, 12), "indices": INDICES, "values": _draw.uniform(0.1, 1, 3600).astype(np.float32)}
ROWS = {f"{name}_{side}": array for side in "ab" for name, array in CSR.items()}


def inverted(**arrays: Array) -> tuple[Array, Array]:
    index = kernels.InvertedIndex(**arrays)
    return index.search(INDICES[:12], np.linspace(0.1, 1, 12, dtype=np.float32), 40)


def signs_first(query: Array, alive: Array, **arrays: Array) -> tuple[Array, Array]:
    return kernels.dense_top_k_signs(query, kernels.Signs(**arrays), 300, alive=alive)


SIGNS = kernels.sign_words(lambda begin, end: VECTORS[begin:end], *VECTORS.shape)
INDEX = kernels.InvertedIndex.build(**CSR)
TARGETS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "maxsim float32": (kernels.maxsim, {"query": QUERY, "vectors": VECTORS, **RAGGED}),
    "maxsim float16": (kernels.maxsim, {"query": QUERY, "vectors": HALF, **RAGGED}),
    "maxsim_int8": (kernels.maxsim_int8, {"query": QUERY, "codes": CODES, "scales": SCALES, **RAGGED}),
    "maxsim_binary": (kernels.maxsim_binary, {"query": QUERY, "bits": BITS, **RAGGED}),
    "maxsim float32 of one row": (kernels.maxsim, {"query": QUERY, "vectors": VECTORS[:1], **ONE}),
    "maxsim float16 of one row": (kernels.maxsim, {"query": QUERY, "vectors": HALF[:1], **ONE}),
    "maxsim_int8 of one row": (kernels.maxsim_int8, {"query": QUERY, "codes": CODES[:1], "scales": SCALES[:1], **ONE}),
    "maxsim_binary of one row": (kernels.maxsim_binary, {"query": QUERY, "bits": BITS[:1], **ONE}),
    "dense_top_k float32": (kernels.dense_top_k, {"queries": QUERY, "vectors": VECTORS, "k": 300, "alive": ALIVE}),
    "dense_top_k float16": (kernels.dense_top_k, {"queries": QUERY, "vectors": HALF, "k": 300, "alive": ALIVE}),
    "dense_top_k_int8": (
        kernels.dense_top_k_int8, {"queries": QUERY, "codes": CODES, "scales": SCALES, "k": 300, "alive": ALIVE},
    ),
    "dense_top_k_binary": (kernels.dense_top_k_binary, {"queries": QUERY, "bits": BITS, "k": 300, "alive": ALIVE}),
    "dense_top_k_binary around a center": (
        kernels.dense_top_k_binary,
        {"queries": QUERY, "bits": BITS, "k": 300, "alive": ALIVE, "factors": SCALES, "offsets": SCALES},
    ),
    "dense_top_k_signs": (signs_first, {"query": QUERY[0], "alive": ALIVE, **SIGNS._asdict()}),
    "dense_scores": (
        kernels.dense_scores,
        {"query": QUERY[0], "vectors": CODES, "documents": np.array([255, 0, 127]), "scales": SCALES},
    ),
    "top_k": (kernels.top_k, {"scores": SCALES, "k": 9, "alive": ALIVE}),
    "sparse_dot": (kernels.sparse_dot, ROWS),
    "sparse_dot_rows": (kernels.sparse_dot_rows, ROWS),
    "scatter_max": (
        kernels.scatter_max,
        {"ids": INDICES, "weights": CSR["values"], "offsets": CSR["indptr"], "unused": (3, 5)},
    ),
    "inverted": (inverted, INDEX.arrays()),
    "inverted queries": (INDEX.search, {"ids": INDICES[:12], "weights": CSR["values"][:12], "k": 5, "alive": ALIVE}),
}  # fmt: skip
ODD = (-(1 << 40), -129, -1, 0, 1, 2, 11, 12, 98, 99, 127, 255, 256, 299, 300, 1 << 20, (1 << 31) - 1, 1 << 40, 1e30,
       float("nan"), float("inf"))  # fmt: skip
DTYPES = ("f2", "f4", ">f4", "f8", "i1", "u1", "i2", "u2", "i4", ">i4", "u4", "i8", ">i8", "u8", "?", "O", "U3")


def strided(array: Array, step: int, axis: int) -> Array:
    """The same values, `step` apart along an axis."""
    shape = list(array.shape)
    shape[axis] *= step
    wide = np.full(shape, 1, array.dtype)
    view = wide[(slice(None),) * axis + (slice(None, None, step),)]
    view[...] = array
    return view


def unaligned(array: Array) -> Array:
    data = np.zeros(array.nbytes + 1, np.uint8)
    data[1:] = np.frombuffer(array.tobytes(), np.uint8)
    return data[1:].view(array.dtype).reshape(array.shape)


def one_changed(array: Array, value: float, place: int) -> Array:
    changed = array.copy()
    with np.errstate(all="ignore"):
        changed.flat[place % array.size] = np.array(value).astype(array.dtype)
    return changed


def as_dtype(array: Array, dtype: str) -> Array:
    with np.errstate(all="ignore"):
        return array.astype(dtype)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[bool, Callable[[Array], Any]]:
    """A change of an array, and whether the values stay what they were."""
    step, axis, place = draw(st.sampled_from([-1, 2, 7, 700])), draw(st.integers(0, 1)), draw(st.integers(0, 5000))
    value, count, dtype = draw(st.sampled_from(ODD)), draw(st.integers(0, 4)), draw(st.sampled_from(DTYPES))
    return draw(st.sampled_from([
        (True, lambda a: strided(a[::-1], 1, 0)[::-1] if step < 0 else strided(a, step, min(axis, a.ndim - 1))),
        (True, np.asfortranarray),
        (True, unaligned),
        (True, lambda a: a.view(np.memmap)),
        (True, lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape)),
        (False, lambda a: one_changed(a, value, place)),
        (False, lambda a: one_changed(a, value, place)),
        (False, lambda a: one_changed(a, value, -1 - place % 3)),
        (False, lambda a: as_dtype(a, dtype)),
        (False, lambda a: strided(a, abs(step), 0)[:count]),
        (False, lambda a: a[place % len(a):]),
        (False, lambda a: np.concatenate([a, a[:count]])),
        (False, lambda a: a[..., :count]),
        (False, lambda a: a[None]),
        (False, lambda a: a.reshape(-1)),
        (False, lambda a: a.reshape(-1)[0]),
        (False, lambda a: a.tolist()),
        (False, lambda a: None),
    ]))  # fmt: skip


def numpy_only(call: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MAXSIM, "_native", lambda: None)
        patch.setattr(jit, "available", lambda: False)
        return call()


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if found.dtype.kind == "i":
        return bool(found.shape == expected.shape and found.dtype == expected.dtype)  # of equal scores any may be first
    return bool(found.shape == expected.shape and np.allclose(found, expected, 2e-3, 1e-4, equal_nan=True))


def attack(name: str) -> Counter[str]:
    function, arguments = TARGETS[name]
    arrays = [key for key, value in arguments.items() if isinstance(value, np.ndarray)]
    counts: Counter[str] = Counter()

    @given(key=st.sampled_from(arrays), mutation=mutations(), also=st.sampled_from(arrays), second=mutations())
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, print_blob=False,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def mutate(key: str, mutation: Any, also: str, second: Any) -> None:
        changed = {**arguments, key: mutation[1](arguments[key])}
        if second[0] and also != key:  # another layout beside
            changed[also] = second[1](arguments[also])
        try:
            found = function(**changed)
        except ValueError as error:
            counts["refused"] += 1
            if mutation[0] or "\n" in str(error):
                raise AssertionError(f"{key}: {error!r}") from error
            return
        expected = numpy_only(lambda: function(**(arguments if mutation[0] else changed)))
        assert same(found, expected), f"{key}: {found} differs from {expected}"
        counts["computed"] += 1

    with jit.eager():
        mutate()
    return counts


def test_mutated_arrays_are_refused_or_give_what_numpy_gives() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__], capture_output=True, text=True, env=os.environ | ALLOCATOR
    )
    assert done.returncode == 0, f"{done.stdout[-200:]}{done.stderr[-3000:]}"
    counts = dict(json.loads(line) for line in done.stdout.splitlines())
    assert counts.keys() == TARGETS.keys()
    assert all(found["refused"] > 20 and found["computed"] > 20 for found in counts.values())


if __name__ == "__main__":
    for target in sys.argv[1:] or TARGETS:
        print(f'["{target}", ', end="", flush=True)
        print(json.dumps(attack(target)) + "]", flush=True)
