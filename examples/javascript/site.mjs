// node site.mjs BUNDLE PASSAGES.txt OUT: a folder that a static server or a web view shows, with no network.
import { cpSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [bundle, passages, out] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const wasm = "ort-wasm-simd-threaded";
const files = {
  ".": [here, "index.html", "page.mjs", "m3rt.mjs", "golden.mjs"],
  lib: [join(modules, "onnxruntime-web/dist"), "ort.wasm.min.mjs", `${wasm}.mjs`, `${wasm}.wasm`],
  "lib/.": [join(modules, "@huggingface/tokenizers/dist"), "tokenizers.min.mjs"],
  bundle: [bundle, "m3rt.json", "tokenizer.json", "golden.json", "model.onnx", "weights.bin"],
};
for (const [folder, [from, ...names]] of Object.entries(files)) {
  mkdirSync(join(out, folder), { recursive: true });
  for (const name of names) cpSync(join(from, name), join(out, folder, name));
}
cpSync(passages, join(out, "passages.txt"));
