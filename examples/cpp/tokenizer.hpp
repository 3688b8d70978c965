// The ids of a bundle's tokenizer.json: SentencePiece finds the pieces, in the vocabulary that this hands to it.
#pragma once
#include <sentencepiece_processor.h>
#include <unicode/locid.h>
#include <unicode/unistr.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

class Tokenizer {
  using Json = nlohmann::json;
  using Text = std::string;
  sentencepiece::SentencePieceProcessor pieces_;
  std::vector<std::pair<Text, Text>> replacements_;
  bool lower_ = false, keeps_last_space_;

  static Text varint(uint64_t n) { return n < 128 ? Text(1, char(n)) : Text(1, char(n | 128)) + varint(n >> 7); }
  static Text number(int field, uint64_t value) { return varint(field << 3) + varint(value); }
  static Text bytes(int field, const Text& value) { return varint(field << 3 | 2) + varint(value.size()) + value; }
  static Text real(int field, float value) { return varint(field << 3 | 5) + Text(reinterpret_cast<char*>(&value), 4); }
  static Text from_base64(const Text& text) {
    static const Text digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    Text out;
    uint32_t bits = 0, n = 0;
    for (char c : text.substr(0, text.find('=')))
      if (bits = bits << 6 | digits.find(c); ++n % 4 != 1) out += char(bits >> (6 - 2 * ((n - 1) % 4)));
    return out;
  }

 public:
  explicit Tokenizer(const Json& json) {
    const Json& rules = json["normalizer"].value("normalizers", Json::array({json["normalizer"]}));
    keeps_last_space_ = json["pre_tokenizer"]["type"] == "Metaspace";
    Text charsmap;
    for (const Json& rule : rules) {
      const Text type = rule["type"];
      if (type == "Precompiled") charsmap = from_base64(rule["precompiled_charsmap"]);
      else if (type == "Lowercase") lower_ = true;
      else if (type == "Replace" && rule["pattern"].contains("String"))
        replacements_.emplace_back(rule["pattern"]["String"], rule["content"]);
      else if (type == "Strip") keeps_last_space_ = false;
      else if (type != "Replace") throw std::runtime_error("tokenizer.json has an unknown " + type);
    }
    Text model;  // ModelProto: pieces = 1, trainer_spec = 2 (Unigram), normalizer_spec = 3
    for (int id = 0; const Json& piece : json["model"]["vocab"]) {
      const int kind = id == json["model"]["unk_id"] ? 2 : 1;
      ++id, model += bytes(1, bytes(1, piece[0]) + real(2, piece[1]) + number(3, kind));
    }
    model += bytes(2, number(3, 1)) + bytes(3, bytes(2, charsmap) + number(3, 1) + number(4, 1) + number(5, 1));
    if (auto status = pieces_.LoadFromSerializedProto(model); !status.ok()) throw std::runtime_error(status.ToString());
  }

  std::vector<int> encode(Text text) const {
    for (const auto& [from, to] : replacements_)
      for (size_t at = 0; (at = text.find(from, at)) != Text::npos; at += to.size()) text.replace(at, from.size(), to);
    if (Text low; lower_) text = icu::UnicodeString::fromUTF8(text).toLower(icu::Locale::getRoot()).toUTF8String(low);
    std::vector<int> ids = pieces_.EncodeAsIds(text);
    if (keeps_last_space_ && !text.empty() && isspace(text.back() & 127)) ids.push_back(pieces_.PieceToId("▁"));
    return ids;
  }
};
