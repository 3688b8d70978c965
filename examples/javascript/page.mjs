// Embeds the lines of passages.txt with onnxruntime's WebAssembly build and searches them; index.html shows it.
import * as ort from "./lib/ort.wasm.min.mjs";
import { Tokenizer } from "./lib/tokenizers.min.mjs";
import { prove } from "./golden.mjs";
import { load } from "./m3rt.mjs";

const BATCH = 8; // texts between two looks at the page

const ids = ["progress", "status", "query", "hits"];
const [progress, status, query, hits] = ids.map((id) => document.getElementById(id));
const text = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} cannot be read: ${answer.status}`);
  return answer.text();
};
const read = (name) => text(`bundle/${name}`);
const open = (name, options) => {
  const externalData = [{ path: "weights.bin", data: "bundle/weights.bin" }];
  return ort.InferenceSession.create(`bundle/${name}`, { ...options, externalData });
};
const score = (a, b) => {
  const lexical = Object.entries(a.lexical ?? {}).map(([id, weight]) => weight * (b.lexical[id] ?? 0));
  return a.dense.reduce((sum, x, i) => sum + x * b.dense[i], 0) + 0.3 * lexical.reduce((sum, x) => sum + x, 0);
};

async function start() {
  const model = await load({ ort, Tokenizer, read, open });
  const { prompts } = model.manifest;
  const proof = await prove(model, JSON.parse(await read("golden.json")));
  status.dataset.proof = JSON.stringify(proof);

  const passages = (await text("passages.txt")).split("\n").filter(Boolean);
  const views = [];
  const started = performance.now();
  progress.max = passages.length;
  while (views.length < passages.length) {
    const batch = passages.slice(views.length, views.length + BATCH);
    views.push(...(await model.embed(batch, { prompt: prompts.passage, colbert: false })));
    progress.value = views.length;
    await new Promise((drawn) => setTimeout(drawn));
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const verdict = proof.passed ? "right" : "WRONG";
  status.textContent = `${views.length} passages embedded in ${seconds} s; vectors of the golden texts: ${verdict}`;

  const search = async (question) => {
    const [asked] = await model.embed([question], { prompt: prompts.query, colbert: false });
    const ranked = views.map((view, i) => [score(asked, view), passages[i]]).sort(([a], [b]) => b - a);
    hits.innerHTML = "<li><span dir=auto></span><small></small></li>".repeat(Math.min(10, ranked.length));
    [...hits.children].forEach((item, i) => {
      [item.lastChild.textContent, item.firstChild.textContent] = [ranked[i][0].toFixed(4), ranked[i][1]];
    });
  };
  query.form.onsubmit = (event) => (event.preventDefault(), search(query.value));
  query.disabled = false;
  query.value = new URLSearchParams(location.search).get("q") ?? "";
  if (query.value) await search(query.value);
}

start().catch((error) => (status.textContent = error.message));
