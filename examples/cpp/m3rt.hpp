// A bundle of m3rt in C++: a text in, its vectors out. m3rt.json tells all that a runtime must know.
#pragma once
#include <fstream>
#include <map>

#include "session.hpp"
#include "tokenizer.hpp"

inline Json read(const std::string& path) { return Json::parse(std::ifstream(path)); }

struct Views {
  std::vector<int64_t> ids;
  std::map<std::string, std::vector<float>> outputs;  // the graph's, by name: "dense_vecs", "token_weights", ...
};

class Embedder {
  const std::string bundle_;
  const Tokenizer tokenizer_;
  Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR};
  Ort::Session session_{nullptr};

 public:
  const Json manifest = read(bundle_ + "/m3rt.json");

  explicit Embedder(std::string bundle) : bundle_(bundle), tokenizer_(read(bundle + "/tokenizer.json")) {
    if (manifest["format_version"] != 1 || manifest["kind"] == "reranker")
      throw std::runtime_error(bundle + " is not an encoder's bundle of format 1; export it again");
    const std::string graph = bundle_ + "/" + std::string(manifest["graph"]["files"]["onnxruntime"]);
    session_ = Ort::Session(environment_, graph.c_str(), session_options(manifest.at("sessions")));
  }

  Views embed(const std::string& text) {
    Views views{{manifest["special_tokens"]["bos"]}, {}};
    for (int id : tokenizer_.encode(text)) views.ids.push_back(id);
    views.ids.resize(std::min(views.ids.size(), size_t(manifest["max_tokens"]) - 1));
    views.ids.push_back(manifest["special_tokens"]["eos"]);

    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const int64_t shape[] = {1, int64_t(views.ids.size())};
    std::vector<int64_t> mask(views.ids.size(), 1);
    bool yes = true;  // every head
    std::vector<Ort::Value> values;
    for (const Json& port : manifest["graph"]["inputs"]) {
      auto& row = port["name"] == "input_ids" ? views.ids : mask;
      values.push_back(port["dtype"] == "bool" ? Ort::Value::CreateTensor(memory, &yes, 1, nullptr, 0)
                                               : Ort::Value::CreateTensor(memory, row.data(), row.size(), shape, 2));
    }
    const auto inputs = port_names(manifest["graph"]["inputs"]), outputs = port_names(manifest["graph"]["outputs"]);
    const auto out = session_.Run({}, inputs.data(), values.data(), values.size(), outputs.data(), outputs.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const float* data = out[i].GetTensorData<float>();
      views.outputs[outputs[i]] = {data, data + out[i].GetTensorTypeAndShapeInfo().GetElementCount()};
    }
    return views;
  }
};
