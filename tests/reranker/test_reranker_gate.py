"""The gate of rerankers: order and scores beside the float32 bundle of the same checkpoint."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from m3rt_export import export

from m3rt import InputError, M3Reranker
from m3rt.bundle import Bundle, open_bundle
from m3rt.cli import main
from m3rt.evaluation import PAIR_LIMITS, gate_pairs
from m3rt.evaluation.pair_fidelity import built_in_pairs, kendall_tau, pair_fidelity


def load(bundle: Bundle) -> M3Reranker:
    return M3Reranker(bundle.path, engine="onnxruntime", threads=1)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3RT_THREADS", "1")
    monkeypatch.setenv("M3RT_ENGINE", "onnxruntime")


def test_kendalls_tau_counts_pairs_in_the_same_order() -> None:
    random = np.random.default_rng(0)
    for n in (2, 3, 9):
        one, other = random.integers(0, 6, n).astype(float), random.normal(size=n)
        signs = [
            np.sign(one[i] - one[j]) * np.sign(other[i] - other[j]) for i, j in itertools.combinations(range(n), 2)
        ]
        assert kendall_tau(one, other) == pytest.approx(sum(signs) / len(signs))
    assert kendall_tau(np.arange(5.0), np.arange(5.0)) == 1
    assert kendall_tau(np.arange(5.0), -np.arange(5.0)) == -1


def test_every_query_has_fifty_other_sentences() -> None:
    pairs = built_in_pairs()
    lists = [[passage for _, passage in pairs[i : i + 50]] for i in range(0, len(pairs), 50)]
    assert len(lists) == 20
    assert all(len(set(passages)) == 50 for passages in lists)
    assert all(len({query for query, _ in pairs[i : i + 50]}) == 1 for i in range(0, len(pairs), 50))
    assert all(query != passage for query, passage in pairs)


def test_one_pair_out_of_place_costs_order_and_a_shift_costs_scores() -> None:
    expected = np.tile(np.linspace(0, 1, 50), 20)
    found = expected.copy()
    found[[0, 1]] = found[[1, 0]]
    assert pair_fidelity(found, expected).order == pytest.approx(1 - 2 / 1225 / 20)
    assert pair_fidelity(expected + 0.25, expected).values() == pytest.approx({"order": 1, "score_error": 0.25})


def test_float32_beside_itself_loses_nothing(bundles: dict[str, Path]) -> None:
    bundle = open_bundle(bundles["reranker"])
    found = gate_pairs(load, bundle, bundle)
    assert found.passed
    assert found.fidelity.values() == {"order": 1, "score_error": 0}
    assert found.limits == PAIR_LIMITS


def test_verify_gates_a_reranker_and_keeps_the_result(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], int8_bundle: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(int8_bundle, tmp_path / "copy")
    args = ["verify", str(copy), "--against", str(bundles["reranker"]), "--json", "--limit"]
    assert main([*args, "order=0.999999"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)["fidelity"]["onnxruntime"]
    assert found["pairs"] == 1000
    assert 0.9 < found["order"] < 0.999999
    assert "order on onnxruntime" in err
    assert main([*args, "order=0.9", "--limit", "score_error=0.2"]) == 0
    assert open_bundle(copy).manifest.fidelity == json.loads(capsys.readouterr().out)["fidelity"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--limit", "overlap=0.9"], "'overlap' has no limit, expected one of order, score_error"),
        (["--data", "anything"], "is a reranker, which is compared on built-in pairs"),
    ],
)
def test_what_only_encoders_have_is_refused(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], args: list[str], message: str
) -> None:
    path = str(bundles["reranker"])
    assert main(["verify", path, "--against", path, *args]) == 2
    assert message in capsys.readouterr().err


def test_a_classifier_of_several_labels_has_no_order(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", kind="reranker", labels=2)
    bundle = export(checkpoint, tmp_path / "bundle", precision="fp32")
    with pytest.raises(InputError, match="gives 2 labels to a pair, expected a reranker's one"):
        gate_pairs(load, bundle, bundle)
