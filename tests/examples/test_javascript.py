"""The example in JavaScript gives m3rt's ids and vectors, in Node and in a browser that has no network."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

import m3rt
from m3rt.bundle import open_bundle

EXAMPLE = Path(__file__).parents[2] / "examples" / "javascript"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CITIES = ("Tokyo", "Paris", "Berlin", "Rome", "Madrid", "Lisbon", "Vienna", "Prague", "Oslo", "Cairo", "Delhi", "Seoul")
FACTS = (
    "The tower of {} is {} metres high.",
    "A tram ticket in {} costs {} cents.",
    "Die Bäckerei in {} verkauft Apfelkuchen für {} Cent.",
    "Le musée de {} garde {} tableaux.",
)
PASSAGES = [fact.format(city, n) for n in range(100, 121) for city in CITIES for fact in FACTS][:1000]

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node"),
    pytest.mark.skipif(not (EXAMPLE / "node_modules").is_dir(), reason=f"needs npm install in {EXAMPLE.name}"),
]


def node(*arguments: object) -> list[str]:
    command = ["node", *map(str, arguments)]
    done = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def gaps(proof: Any) -> dict[str, float]:
    assert proof["passed"]
    assert proof["right_ids"] == proof["texts"] > 0
    return dict(proof["max_abs"])


def test_node_computes_the_golden_vectors_of_the_shipped_model() -> None:
    (proof,) = node("embed.mjs", open_bundle().path)
    assert gaps(json.loads(proof)).keys() == {"dense_vecs", "lexical_weights", "colbert_vecs"}


def test_node_computes_the_golden_vectors_of_new_exports(bundle_fp32: Path, bundle_int8: Path) -> None:
    (exact,), (proof,) = node("embed.mjs", bundle_fp32), node("embed.mjs", bundle_int8)
    assert max(gaps(json.loads(exact)).values()) < 1e-5
    assert gaps(json.loads(proof)).keys() == {"dense_vecs", "lexical_weights", "colbert_vecs"}


def test_node_pads_and_cuts_texts_as_m3rt_does(bundle_fp32: Path, fp32: m3rt.M3Encoder) -> None:
    texts = ["What is BGE M3?", "", "東京タワーの高さは何メートルですか。", "word " * 600]
    _, *lines = node("embed.mjs", bundle_fp32, *texts)
    expected = fp32.encode(texts, return_sparse=True)
    assert expected.truncated.tolist() == [False, False, False, True]
    for line, dense, weights in zip(map(json.loads, lines), expected.dense_vecs, expected.lexical_weights, strict=True):
        assert np.abs(line["dense"] - dense).max() < 1e-5
        assert line["lexical"] == pytest.approx({str(i): float(w) for i, w in weights.items()}, abs=1e-5)


def test_node_refuses_a_bundle_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "m3rt.json").write_text('{"format_version": 2, "kind": "m3"}', encoding="utf-8")
    done = subprocess.run(
        ["node", "embed.mjs", str(tmp_path)], cwd=EXAMPLE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "m3rt.json has format 2, kind m3; expected format 1 of an encoder: export it again" in done.stderr


def proof_of(page: str) -> Any:
    return json.loads(unescape(re.findall(r'data-proof="([^"]*)"', page)[0]))


@contextmanager
def served(bundle: Path, passages: list[str], folder: Path) -> Iterator[str]:
    """Serve the site of a bundle and its passages as plain files, and yield its address."""
    (folder / "passages.txt").write_text("\n".join(passages) + "\n", encoding="utf-8")
    node("site.mjs", bundle, folder / "passages.txt", folder / "site")
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder / "site")) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def shown(address: str, question: str, folder: Path) -> str:
    """The page after the search, in a browser that can reach 127.0.0.1 alone."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--virtual-time-budget=1000000", "--dump-dom",
        f"{address}/?q={quote(question)}",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_page_embeds_and_searches_a_thousand_passages_without_a_network(tmp_path: Path) -> None:
    question = "how high is the tower of Tokyo?"
    with served(open_bundle().path, PASSAGES, tmp_path) as address:
        page = shown(address, question, tmp_path)
    assert gaps(proof_of(page)).keys() == {"dense_vecs", "lexical_weights", "colbert_vecs"}
    assert "1000 passages embedded" in page

    out = m3rt.M3Encoder(threads=1).encode([question, *PASSAGES], return_sparse=True)
    asked, *weights = out.lexical_weights
    lexical = [sum(weight * asked.get(i, 0) for i, weight in passage.items()) for passage in weights]
    scores = out.dense_vecs[1:] @ out.dense_vecs[0] + 0.3 * np.array(lexical)
    hits = re.findall(r"<li><span[^>]*>(.*?)</span><small>(.*?)</small>", page)
    assert [float(score) for _, score in hits] == pytest.approx(np.sort(scores)[:-11:-1].tolist(), abs=5e-3)
    assert all(text.startswith("The tower of Tokyo is") for text, _ in hits)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_page_computes_the_golden_vectors_of_new_exports(bundle_fp32: Path, tmp_path: Path) -> None:
    with served(bundle_fp32, PASSAGES[:3], tmp_path) as address:
        page = shown(address, "Tokyo", tmp_path)
    assert max(gaps(proof_of(page)).values()) < 1e-5
    assert page.count("<li>") == 3


def test_a_browsers_engine_needs_no_option_for_new_int8_weights(bundle_int8: Path) -> None:
    script = """
    import { readFileSync } from "node:fs";
    import { Tokenizer } from "@huggingface/tokenizers";
    import * as ort from "onnxruntime-web/wasm";
    import { prove } from "./golden.mjs";
    import { load } from "./m3rt.mjs";
    ort.env.wasm.numThreads = 1;
    const file = (name) => readFileSync(`${process.argv[1]}/${name}`);
    const externalData = [{ path: "weights.bin", data: file("weights.bin") }];
    const open = (name) => ort.InferenceSession.create(file(name), { externalData });
    const model = await load({ ort, Tokenizer, read: async (name) => file(name).toString(), open });
    console.log(JSON.stringify(await prove(model, JSON.parse(file("golden.json")))));
    """
    (proof,) = node("--input-type=module", "--eval", script, bundle_int8)
    assert gaps(json.loads(proof)).keys() == {"dense_vecs", "lexical_weights", "colbert_vecs"}
