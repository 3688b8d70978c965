// A session of onnxruntime for the graph of a bundle, opened as m3rt.json says.
#pragma once
#include <onnxruntime_cxx_api.h>

#include <nlohmann/json.hpp>

using Json = nlohmann::json;

// What int8 weights of earlier exports need on x86 CPUs without VNNI does no harm elsewhere.
inline Ort::SessionOptions session_options(const Json& sessions) {
  const char* exact = "onnxruntime_x86_without_vnni";
  const Json& wanted = sessions.at(sessions.contains(exact) ? exact : "onnxruntime");
  Ort::SessionOptions options;
  options.SetGraphOptimizationLevel(wanted["optimization"] == "basic" ? ORT_ENABLE_BASIC : ORT_ENABLE_EXTENDED);
  for (auto& [key, value] : wanted["config"].items()) options.AddConfigEntry(key.c_str(), std::string(value).c_str());
  return options;
}

inline std::vector<const char*> port_names(const Json& ports) {
  std::vector<const char*> names;
  for (auto& port : ports) names.push_back(port["name"].get_ref<const std::string&>().c_str());
  return names;
}
