"""Train the small XLM-R style tokenizer of the tests from sentences.txt.

    python tests/data/build_tokenizer.py

Needs sentencepiece (the `parity` extra), whose trainer is the only writer of a Precompiled charsmap. The
charsmap is a part of NFKC, because XLM-R's whole one takes 320 KB. The result is committed: run this only
after a change of sentences.txt, and review the new pieces.
"""

import json
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
PIECES = 2000
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]

# SentencePiece's nmt rules: what becomes a space, and what disappears.
SPACES = [0x9, 0xA, 0xC, 0xD, 0x1680, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD]
REMOVED = [*range(0x1, 0x9), 0xB, *range(0xE, 0x20), 0x7F, 0x8F, 0x9F]
# Latin, punctuation, letter-like and enclosed signs, kana, presentation forms, full and half width.
NFKC_BLOCKS = [(0xA0, 0x180), (0x2000, 0x20A0), (0x2100, 0x2190), (0x2460, 0x2500), (0x3000, 0x3100)]
NFKC_BLOCKS += [(0xFB00, 0xFB50), (0xFF00, 0xFFF0)]
ALPHABETS = [(0x21, 0x7F), (0xA1, 0x17F), (0x391, 0x3CF), (0x400, 0x460), (0x5D0, 0x5EB), (0x621, 0x64B)]
ALPHABETS += [(0x905, 0x94E), (0xE01, 0xE3B), (0x3041, 0x3097), (0x30A1, 0x30F7)]
EMOJI = "😀😂😍🙏👍❤🔥🎉🚀🌍☕⚽🚲🌈🐧"


def normalisation_rules() -> dict[str, str]:
    rules = {chr(code): " " for code in SPACES} | {chr(code): "" for code in REMOVED}
    for code in (code for block in NFKC_BLOCKS for code in range(*block)):
        char = chr(code)
        composed, decomposed = unicodedata.normalize("NFKC", char), unicodedata.normalize("NFD", char)
        if composed != char:
            rules[char] = composed
        elif decomposed != char:
            rules[decomposed] = char
    return rules


def charsmap(rules: dict[str, str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "rules.tsv")
        hexed = ((" ".join(f"{ord(c):X}" for c in text) for text in rule) for rule in rules.items())
        table.write_text("".join("\t".join(rule) + "\n" for rule in hexed))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b"]), model_prefix=f"{folder}/m", model_type="char", vocab_size=6,
            hard_vocab_limit=False, normalization_rule_tsv=str(table), minloglevel=2,
        )  # fmt: skip
        proto = sentencepiece_model_pb2.ModelProto.FromString(Path(folder, "m.model").read_bytes())
    return proto.normalizer_spec.precompiled_charsmap


def main() -> None:
    sentences = (HERE / "sentences.txt").read_text("utf-8").splitlines()
    rules = normalisation_rules()
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap(rules)), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    letters = [chr(c) for block in ALPHABETS for c in range(*block) if unicodedata.name(chr(c), "")]
    trainer = trainers.UnigramTrainer(
        vocab_size=PIECES - 1, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False,
        initial_alphabet=[*(c for c in letters if c not in rules), *EMOJI],
    )  # fmt: skip
    tokenizer.train_from_iterator(sentences, trainer)

    spec = json.loads(tokenizer.to_str())
    # The trainer ranks the letters it pruned or never saw in hash order: give them one score instead.
    pieces = spec["model"]["vocab"][len(SPECIAL) :]
    floor = min(score for _, score in pieces)
    scored = [[p, round(floor if len(p) == 1 and score < floor + 0.1 else score, 4)] for p, score in pieces]
    special = [[token, 0.0] for token in SPECIAL]
    pieces = special + sorted(scored, key=lambda row: (-row[1], row[0]))
    spec["model"]["vocab"] = [*pieces, ["<mask>", 0.0]]
    spec["added_tokens"] = [
        {"id": i, "content": token, "single_word": False, "lstrip": token == "<mask>", "rstrip": False,
         "normalized": False, "special": True}
        for i, token in [*enumerate(SPECIAL), (len(pieces), "<mask>")]
    ]  # fmt: skip
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    (HERE / "tokenizer" / "tokenizer.json").write_text(tokenizer.to_str() + "\n", "utf-8")


if __name__ == "__main__":
    main()
