// Proof on golden.json: the ids of this tokenizer and the outputs of this runtime are those of the exporting machine.

const TOLERANCE = { fp32: 1e-4, fp16: 5e-3, int8: 3e-2 }; // of a vector's length, as docs/bundle.md says

/** Embeds every golden text. Returns how many ids were right, and the largest difference of each output. */
export async function prove({ manifest, embed }, golden) {
  const report = { texts: golden.length, right_ids: 0, max_abs: {}, distance: {} };
  const compare = (name, expected, actual) => {
    const gaps = expected.map((value, i) => Math.abs(value - actual[i]));
    const keep = (group, value) => (report[group][name] = Math.max(report[group][name] ?? 0, value));
    keep("max_abs", Math.max(0, ...gaps));
    keep("distance", expected.length && Math.hypot(...gaps) / (Math.hypot(...expected) || 1e-12));
  };
  for (const wanted of golden) {
    const [got] = await embed([wanted.text]);
    report.right_ids += Number(String(got.ids) === String(wanted.input_ids));
    compare("dense_vecs", wanted.dense_vecs, got.dense);
    if (manifest.kind !== "m3") continue;
    const pieces = Object.keys({ ...wanted.lexical_weights, ...got.lexical });
    const weights = (of) => pieces.map((id) => of[id] ?? 0);
    compare("lexical_weights", weights(wanted.lexical_weights), weights(got.lexical));
    wanted.colbert_vecs.forEach((vector, token) => compare("colbert_vecs", vector, got.colbert[token]));
  }
  const worst = Math.max(...Object.values(report.distance));
  report.passed = report.right_ids === report.texts && worst <= TOLERANCE[manifest.precision];
  return report;
}
