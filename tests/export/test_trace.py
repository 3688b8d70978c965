"""Architectures that the graph builder does not know go through Optimum."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import sentences, write_checkpoint
from m3rt_export import export

from m3rt import InputError, M3Encoder


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random DistilBERT, mean-pooled, with the suite's BERT tokenizer; its weights are only made for parity."""
    path = write_checkpoint(tmp_path_factory.mktemp("trace") / "distilbert", kind="bert", pooling="mean")
    (path / "pytorch_model.bin").unlink()
    config = {"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    vocab = json.loads((path / "config.json").read_text())["vocab_size"]
    config |= {"architectures": ["DistilBertModel"], "vocab_size": vocab, "max_position_embeddings": 130}
    (path / "config.json").write_text(json.dumps({**config, "pad_token_id": 0}))
    return path


@pytest.mark.parametrize("options", [{"precision": "fp32"}, {"precision": "int8", "dense_only": True}])
def test_unknown_architecture_says_what_optimum_can_do(distilbert: Path, tmp_path: Path, options: dict) -> None:
    with pytest.raises(InputError, match=r"distilbert.*--dense-only --precision fp32") as caught:
        export(distilbert, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parity
def test_traced_model_gives_transformers_mean_pooled_vectors(distilbert: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig.from_pretrained(distilbert)).save_pretrained(distilbert)
    # In a process of its own: Optimum and the tracer warn, and warnings are errors here.
    script = f"from m3rt_export import export; export({str(distilbert)!r}, 'out', precision='fp32', dense_only=True)"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    ours = M3Encoder(tmp_path / "out", threads=1)
    texts = [*sentences()[:20], ""]
    dense = ours.encode(texts).dense_vecs
    oracle = AutoModel.from_pretrained(distilbert).eval()
    for text, vector in zip(texts, dense, strict=True):
        with torch.no_grad():
            states = oracle(torch.tensor([ours.tokenize(text)])).last_hidden_state
        expected = torch.nn.functional.normalize(states.mean(1), dim=-1)[0].numpy()
        np.testing.assert_allclose(vector, expected, atol=2e-6)
