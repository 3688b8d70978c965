// A bundle of m3rt in Node and in browsers: texts in, vectors out. m3rt.json tells all that a runtime must know.

/** `read(name)` returns a file of the bundle as text, `open(name, options)` a session of onnxruntime. */
export async function load({ ort, Tokenizer, read, open }) {
  const manifest = JSON.parse(await read("m3rt.json"));
  const { format_version: format, kind, sessions, special_tokens: special, max_tokens: most } = manifest;
  if (format !== 1 || kind === "reranker" || !sessions) {
    throw new Error(`m3rt.json has format ${format}, kind ${kind}; expected format 1 of an encoder: export it again`);
  }
  const tokenizer = new Tokenizer(JSON.parse(await read("tokenizer.json")), {});
  const session = await open(manifest.graph.files.onnxruntime, sessionOptions(sessions));
  const switches = manifest.graph.inputs.filter((port) => port.dtype === "bool").map((port) => port.name);

  const tokenize = (text) => {
    const ids = tokenizer.encode(text).ids;
    return ids.length > most ? [...ids.slice(0, most - 1), special.eos] : ids;
  };
  /** For each text: ids, dense (Float32Array), lexical ({id: weight}), colbert (an array a token but the first). */
  const embed = async (texts, { prompt = "", colbert = true } = {}) => {
    const rows = texts.map((text) => tokenize(prompt + text));
    const width = Math.max(...rows.map((ids) => ids.length));
    const matrix = (value) => {
      const flat = rows.flatMap((ids) => Array.from({ length: width }, (_, i) => BigInt(value(ids, i))));
      return new ort.Tensor("int64", BigInt64Array.from(flat), [rows.length, width]);
    };
    const attention_mask = matrix((row, i) => i < row.length);
    const feeds = { input_ids: matrix((row, i) => row[i] ?? special.pad), attention_mask };
    const wanted = (name) => new ort.Tensor("bool", [colbert || name !== "return_colbert_vecs"], []);
    for (const name of switches) feeds[name] = wanted(name);
    const { dense_vecs, token_weights, colbert_vecs } = await session.run(feeds);
    return rows.map((ids, row) => ({
      ids,
      dense: line(dense_vecs, row),
      lexical: token_weights && lexicalWeights(ids, line(token_weights, row), Object.values(special)),
      colbert: colbert_vecs && colbert ? ids.slice(1).map((_, token) => line(colbert_vecs, row, token)) : undefined,
    }));
  };
  return { manifest, embed };
}

/** What int8 weights of earlier exports need on x86 CPUs without VNNI does no harm elsewhere. */
function sessionOptions(sessions) {
  const { optimization, config } = sessions.onnxruntime_x86_without_vnni ?? sessions.onnxruntime;
  const session = Object.entries(config).map(([key, value]) => [key.replace("session.", ""), value]);
  return { graphOptimizationLevel: optimization, extra: { session: Object.fromEntries(session) } };
}

function lexicalWeights(ids, weights, unused) {
  const largest = {};
  ids.forEach((id, i) => {
    if (!unused.includes(id) && weights[i] > 0) largest[id] = Math.max(weights[i], largest[id] ?? 0);
  });
  return largest;
}

/** The last axis of a tensor at one place. */
function line({ data, dims }, ...place) {
  const start = place.reduce((flat, index, axis) => flat * dims[axis] + index, 0) * dims.at(-1);
  return data.subarray(start, start + dims.at(-1));
}
