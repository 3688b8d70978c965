// node embed.mjs BUNDLE [TEXT...]: proves that the bundle is right here, then prints a line of JSON for each text.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";
import { prove } from "./golden.mjs";
import { load } from "./m3rt.mjs";

const [bundle, ...texts] = process.argv.slice(2);
const read = (name) => readFile(join(bundle, name), "utf8");
const open = (name, options) => ort.InferenceSession.create(join(bundle, name), options); // maps weights.bin
const model = await load({ ort, Tokenizer, read, open });

const proof = await prove(model, JSON.parse(await read("golden.json")));
console.log(JSON.stringify(proof));
process.exitCode = proof.passed ? 0 : 1;
for (const { dense, lexical } of texts.length ? await model.embed(texts, { colbert: false }) : []) {
  console.log(JSON.stringify({ dense: [...dense], lexical }));
}
