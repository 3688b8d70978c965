"""Look-alikes of other packages, and what holds for every adapter: free imports, one line without a package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import m3rt
from m3rt import InputError, M3Encoder
from m3rt.adapters import fastembed
from m3rt.adapters.parts.reranker import best, relevance
from m3rt.adapters.pymilvus_model import BGEM3EmbeddingFunction

TEXTS = ["Tokyo Tower is 333 metres high.", "Apfelkuchen schmeckt gut.", ""]
ADAPTERS = sorted(path.stem for path in (Path(m3rt.__file__).parent / "adapters").glob("[!_]*.py"))
FRAMEWORKS = ("langchain", "langchain_qdrant", "llamaindex")  # derive from a class of the framework
PACKAGES = (
    "qdrant_client", "pymilvus", "milvus_lite", "lancedb", "psycopg", "langchain_core", "langchain_qdrant",
    "llama_index", "ray", "daft", "pyspark", "scipy", "pyarrow",
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> M3Encoder:
    return M3Encoder(threads=1)


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_m3rt_imports_no_adapter() -> None:
    script = "import sys, m3rt; m3rt.M3Encoder; m3rt.HybridIndex\n"
    script += "print([m for m in sys.modules if m.startswith('m3rt.adapters')])"
    assert run(script) == "[]\n"


def test_formats_and_collections_import_no_package() -> None:
    names = [name for name in ADAPTERS if name not in FRAMEWORKS]
    imports = "\n".join(f"import m3rt.adapters.{name}" for name in names)
    assert run(f"import sys\n{imports}\nprint([m for m in {PACKAGES} if m in sys.modules])") == "[]\n"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_missing_framework_is_one_line_with_its_command(name: str) -> None:
    package = {"langchain": "langchain_core", "llamaindex": "llama_index"}.get(name, name)
    script = f"""
import importlib.util, sys
find = importlib.util.find_spec
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "{package}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
importlib.util.find_spec = lambda name, *rest: None if name == "{package}" else find(name, *rest)
try:
    import m3rt.adapters.{name}
except Exception as error:
    print(type(error).__name__, error)
"""
    extra = "llamaindex" if name == "llamaindex" else "langchain"
    line = f'InputError this adapter needs {package}, which is not installed; run: pip install "m3rt[{extra}]"\n'
    assert run(script) == line


def test_pymilvus_look_alike_gives_the_encoders_outputs(tiny: M3Encoder) -> None:
    pytest.importorskip("scipy", reason="needs scipy")
    function = BGEM3EmbeddingFunction(tiny, return_colbert_vecs=True)
    out, wanted = function.encode_documents(TEXTS), tiny.encode_corpus(
        TEXTS, return_sparse=True, return_colbert_vecs=True
    )  # fmt: skip
    np.testing.assert_array_equal(out["dense"], wanted.dense_vecs)
    assert out["sparse"].shape == (3, function.dim["sparse"])
    rows = [
        dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        for row in map(out["sparse"].__getitem__, [[0], [1], [2]])
    ]
    assert rows == wanted.lexical_weights
    assert [v.shape[1] for v in out["colbert_vecs"]] == [function.dim["colbert_vecs"]] * 3
    assert function.encode_queries(["a"]).keys() == function(["a"]).keys() == out.keys()
    with pytest.raises(InputError, match="always normalised"):
        BGEM3EmbeddingFunction(tiny, normalize_embeddings=False)


def test_fastembeds_shapes_hold_the_encoders_outputs(tiny: M3Encoder) -> None:
    wanted = tiny.encode(TEXTS, return_sparse=True, return_colbert_vecs=True)
    np.testing.assert_allclose(list(fastembed.TextEmbedding(tiny).embed(TEXTS)), wanted.dense_vecs, atol=1e-6)
    sparse = list(fastembed.SparseTextEmbedding(tiny).passage_embed(TEXTS))
    assert [dict(zip(s.indices.tolist(), s.values.tolist(), strict=True)) for s in sparse] == wanted.lexical_weights
    assert set(sparse[0].as_object()) == {"indices", "values"}
    multi = list(fastembed.LateInteractionTextEmbedding(tiny).query_embed(TEXTS[0]))
    np.testing.assert_allclose(multi[0], wanted.colbert_vecs[0], atol=2e-2)  # type: ignore[index]


def test_a_reranker_gives_a_score_for_each_pair_or_is_refused(tiny: M3Encoder) -> None:
    class Lengths:
        def compute_score(self, sentence_pairs: list[tuple[str, str]]) -> list[float]:
            return [float(len(passage)) for _, passage in sentence_pairs][:2]

    assert relevance(Lengths(), "q", ["a", "bbb"]) == [1.0, 3.0]
    with pytest.raises(InputError, match="2 scores for 3 pairs"):
        relevance(Lengths(), "q", ["a", "b", "c"])
    assert len(relevance(tiny, "q", TEXTS)) == 3
    assert best([1.0, 3.0, 3.0], 2) == [1, 2]
