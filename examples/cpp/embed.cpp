// embed BUNDLE: proves on golden.json that the tokenizer and the graph give here what they gave where they were made.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "m3rt.hpp"

int main(int, char** arguments) {
  const std::string bundle = arguments[1];
  Embedder model(bundle);
  std::map<std::string, double> largest;
  int texts = 0, right_ids = 0;
  for (const Json& golden : read(bundle + "/golden.json")) {
    const Views views = model.embed(golden["text"]);
    ++texts, right_ids += golden["input_ids"] == Json(views.ids);
    const auto compare = [&](const std::string& name, double expected, double actual) {
      largest[name] = std::fmax(largest[name], std::abs(expected - actual));
    };
    for (size_t i = 0; i < golden["dense_vecs"].size(); ++i)
      compare("dense_vecs", golden["dense_vecs"][i], views.outputs.at("dense_vecs").at(i));
    if (!golden.contains("colbert_vecs")) continue;
    const size_t width = model.manifest["architecture"]["colbert_dim"];
    const auto& colbert = views.outputs.at("colbert_vecs");
    for (size_t token = 0; token < golden["colbert_vecs"].size(); ++token)
      for (size_t i = 0; i < golden["colbert_vecs"][token].size(); ++i)
        compare("colbert_vecs", golden["colbert_vecs"][token][i], colbert.at(token * width + i));
    std::map<int64_t, double> weights;
    for (size_t i = 0; i < views.ids.size(); ++i)
      weights[views.ids[i]] = std::max<double>(weights[views.ids[i]], views.outputs.at("token_weights").at(i));
    for (const Json& special : model.manifest["special_tokens"]) weights.erase(special);
    for (const auto& [id, weight] : weights)
      compare("lexical_weights", golden["lexical_weights"].value(std::to_string(id), 0.0), weight);
  }
  bool passed = right_ids == texts;
  for (const auto& [name, gap] : largest) passed = passed && gap < 0.02;
  const Json report{{"texts", texts}, {"right_ids", right_ids}, {"max_abs", largest}, {"passed", passed}};
  std::puts(report.dump().c_str());
  return passed ? 0 : 1;
}
