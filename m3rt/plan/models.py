"""Checkpoints that m3rt exports, with what is published about them. A figure without a source is not here.

Components, window, parameters in all and in the embedding table, licence and release are those of mteb 2.26.24, in
mteb/models/model_implementations, by the name of the model; for m3-tiny, of its card. Arctic's languages are from there
too. The pages in `sources` have the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

AS_OF = "2026-11-28"  # when the table was checked


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


# CC-100, on which XLM-RoBERTa and models made of it were trained (arXiv:1911.02116, table 6).
_CC100 = _codes(
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is it "
    "ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt ro ru sa sd si sk sl so sq "
    "sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh"
)
_M3_TINY = _codes("ar bg cs da de el en es fa fi fr he hi hu id it ja ko nl pl pt ro ru sv th tr uk vi zh")
_ARCTIC = _codes(
    "af ar az be bg bn ca ceb cs cy da de el en es et eu fa fi fr gl gu he hi hr ht hu hy id is it ja jv ka kk km kn "
    "ko ky lo lt lv mk ml mn mr ms my ne nl pa pl pt qu ro ru si sk sl so sq sr sv sw ta te th tl "
    "tr uk ur vi yo zh"
)

_XLMR_PIECES, _BERT_PIECES = 250_002, 30_522  # of XLM-R's and BERT's vocabularies, as in their tokenizers


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model by its name on Hugging Face.

    layer_parameters: millions outside the embedding tables, which decide the speed; parameters: millions in all.
    vocabulary: pieces, each with a vector. figures: nDCG@10 by benchmark, published; sources: where they stand.
    prompts: "query" or "query and passage" where texts need one, which the bundle knows and m3rt's commands put there.
    """

    name: str
    dim: int
    max_tokens: int
    parameters: int
    layer_parameters: float
    vocabulary: int
    languages: frozenset[str]
    licence: str
    sources: tuple[str, ...]
    views: tuple[str, ...] = ("dense",)
    colbert_dim: int = 0
    prompts: str = ""
    figures: Mapping[str, float] | None = None
    matryoshka: tuple[int, ...] = ()
    ships: bool = False

    @property
    def narrow(self) -> bool:
        """Whether an int4 bundle keeps 8 bits in the layers and has 4 in the table alone."""
        return self.dim < 768

    @property
    def prunes(self) -> bool:
        """Whether m3rt export can prune the vocabulary: XLM-R's, of a Unigram model."""
        return not self.ships and self.vocabulary == _XLMR_PIECES


# In the order of preference where several fit: quality first, then size.
MODELS: tuple[Checkpoint, ...] = (
    Checkpoint(
        "BAAI/bge-m3", 1024, 8192, 568, 303, _XLMR_PIECES, _CC100, "MIT",
        ("https://arxiv.org/abs/2402.03216v1", "https://huggingface.co/BAAI/bge-m3"),
        views=("dense", "sparse", "colbert"), colbert_dim=1024,
        figures={"MIRACL dense": 67.8, "MIRACL sparse": 53.9, "MIRACL colbert": 69.0, "MIRACL all": 70.0},
    ),
    Checkpoint(
        "Snowflake/snowflake-arctic-embed-l-v2.0", 1024, 8192, 568, 303, _XLMR_PIECES, _ARCTIC, "Apache-2.0",
        ("https://huggingface.co/Snowflake/snowflake-arctic-embed-l-v2.0",
         "https://www.snowflake.com/engineering-blog/snowflake-arctic-embed-2-multilingual"),
        prompts="query", figures={"MTEB Retrieval (BEIR)": 55.6, "MIRACL (4 languages)": 55.8}, matryoshka=(256,),
    ),
    Checkpoint(
        "Snowflake/snowflake-arctic-embed-m", 768, 512, 109, 86, _BERT_PIECES, frozenset({"en"}), "Apache-2.0",
        ("https://docs.api.nvidia.com/nim/reference/snowflake-arctic-embed-l",),
        prompts="query", figures={"MTEB Retrieval (BEIR)": 54.9},
    ),
    Checkpoint(
        "Snowflake/snowflake-arctic-embed-xs", 384, 512, 23, 11, _BERT_PIECES, frozenset({"en"}), "Apache-2.0",
        ("https://docs.api.nvidia.com/nim/reference/snowflake-arctic-embed-l",),
        prompts="query", figures={"MTEB Retrieval (BEIR)": 50.15},
    ),
    Checkpoint(
        "intfloat/multilingual-e5-small", 384, 512, 118, 21, _XLMR_PIECES, _CC100, "MIT",
        ("https://arxiv.org/abs/2402.05672", "https://huggingface.co/intfloat/multilingual-e5-small"),
        prompts="query and passage",
    ),
    Checkpoint(
        "m3-tiny", 768, 512, 67, 5.5, 80_000, _M3_TINY, "Apache-2.0", ("its card, m3rt/models/m3-tiny/MODEL_CARD.md",),
        views=("dense", "sparse", "colbert"), colbert_dim=256, ships=True,
    ),
)  # fmt: skip
