"""BGEM3FlagModel: an M3Encoder with FlagEmbedding's signatures and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoder import M3Encoder
from ..errors import InputError
from ..scoring import colbert_score, lexical_matching_score
from ..values.arguments import flag, whole_number
from ..values.listing import listed
from ..values.shown import shown
from .arguments import MAX_NUMBER, Devices, check_head, check_keywords, device_of, device_shown
from .instructions import instructed, instructed_texts
from .outputs import outputs
from .tokenizer import CompatTokenizer

TextOrTexts = str | Iterable[str]

# Keywords that FlagEmbedding's methods take without naming them in their signatures.
_MODEL_KEYWORDS = (
    "convert_to_numpy", "device", "passage_instruction_for_retrieval", "passage_instruction_format", "threads",
)  # fmt: skip
_ENCODE_KEYWORDS = ("convert_to_numpy", "instruction", "instruction_format")
_WORKER_NAMES = ("_encode_multi_process_worker", "_compute_score_multi_process_worker")


class BGEM3FlagModel:
    """A drop-in for FlagEmbedding 1.4.2's class of this name, with its signatures and outputs.

    model_name_or_path: directory of a bundle. devices: None, "cpu", "cuda", "cuda:1", 1 or one of them in a list.
    query_max_length and passage_max_length default to 512 as in FlagEmbedding. kwargs: device, as devices;
    passage_instruction_for_retrieval and passage_instruction_format; M3Encoder's threads. Since the bundle fixes the
    precision and m3rt batches by tokens in one process, these have no effect: use_fp16, use_bf16, batch_size,
    trust_remote_code, cache_dir, convert_to_numpy (FlagEmbedding's outputs are numpy's, too).
    Raises M3Encoder's errors, and InputError for unknown keywords and for arguments that would change vectors and
    cannot be honoured: normalize_embeddings=False, another pooling_method or colbert_dim than the bundle's.
    """

    def __init__(
        self,
        model_name_or_path: str | Path,
        normalize_embeddings: bool = True,
        use_fp16: bool = True,
        use_bf16: bool = False,
        query_instruction_for_retrieval: str | None = None,
        query_instruction_format: str = "{}{}",
        devices: Devices = None,
        pooling_method: str = "cls",
        trust_remote_code: bool = False,
        cache_dir: str | None = None,
        colbert_dim: int = -1,
        batch_size: int = 256,
        query_max_length: int = 512,
        passage_max_length: int = 512,
        return_dense: bool = True,
        return_sparse: bool = False,
        return_colbert_vecs: bool = False,
        truncate_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_keywords(BGEM3FlagModel, kwargs, _MODEL_KEYWORDS)
        if not flag("normalize_embeddings", normalize_embeddings):
            raise InputError("normalize_embeddings is False, but a bundle's dense vectors are always normalised")
        device = device_of(devices, kwargs.get("device"))
        self.model = M3Encoder(model_name_or_path, device=device, threads=kwargs.get("threads"))
        check_head(self.model, pooling_method, colbert_dim)
        self.model_name_or_path = model_name_or_path
        self.normalize_embeddings, self.use_fp16, self.use_bf16 = True, use_fp16, use_bf16
        self.query_instruction_for_retrieval = query_instruction_for_retrieval
        self.query_instruction_format = query_instruction_format
        self.passage_instruction_for_retrieval = kwargs.get("passage_instruction_for_retrieval")
        self.passage_instruction_format = kwargs.get("passage_instruction_format", "{}{}")
        self.target_devices = [device_shown(self.model.device)]
        self.pooling_method = pooling_method
        self.batch_size = batch_size
        self.query_max_length, self.passage_max_length = query_max_length, passage_max_length
        self.return_dense, self.return_sparse = return_dense, return_sparse
        self.return_colbert_vecs = return_colbert_vecs
        self.convert_to_numpy, self.truncate_dim = True, truncate_dim
        self.pool: dict[str, Any] | None = None

    @cached_property
    def tokenizer(self) -> CompatTokenizer:
        """Load the bundle's tokenizer, with transformers' names, when it is first used."""
        return CompatTokenizer(self.model.bundle)

    def encode(
        self,
        sentences: TextOrTexts,
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return dense_vecs (n, dim), lexical_weights and colbert_vecs by text, or None; unwrapped for a single str.

        kwargs: instruction, put before each text by instruction_format; convert_to_numpy, without effect.
        """
        check_keywords(self.encode, kwargs, _ENCODE_KEYWORDS)
        if (instruction := kwargs.get("instruction")) is not None:
            form = kwargs.get("instruction_format")
            sentences = instructed_texts(sentences, instruction, "{}{}" if form is None else form)
        length = self.passage_max_length if max_length is None else max_length
        return self._encoded(sentences, batch_size, length, (return_dense, return_sparse, return_colbert_vecs))

    def encode_queries(
        self,
        queries: TextOrTexts,
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Encode with the query instruction and length; otherwise as encode()."""
        check_keywords(self.encode_queries, kwargs, ("convert_to_numpy",))
        if self.query_instruction_for_retrieval is not None:
            form = self.query_instruction_format
            queries = instructed_texts(queries, self.query_instruction_for_retrieval, form)
        length = self.query_max_length if max_length is None else max_length
        return self._encoded(queries, batch_size, length, (return_dense, return_sparse, return_colbert_vecs))

    def encode_corpus(
        self,
        corpus: TextOrTexts,
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Encode with the passage instruction, if there is one, and length; otherwise as encode()."""
        check_keywords(self.encode_corpus, kwargs, ("convert_to_numpy",))
        if self.passage_instruction_for_retrieval is not None:
            form = self.passage_instruction_format
            corpus = instructed_texts(corpus, self.passage_instruction_for_retrieval, form)
        length = self.passage_max_length if max_length is None else max_length
        return self._encoded(corpus, batch_size, length, (return_dense, return_sparse, return_colbert_vecs))

    def encode_single_device(
        self,
        sentences: TextOrTexts,
        batch_size: int = 256,
        max_length: int = 512,
        return_dense: bool = True,
        return_sparse: bool = False,
        return_colbert_vecs: bool = False,
        device: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Encode without an instruction, on the device that the model is loaded on; otherwise as encode()."""
        check_keywords(self.encode_single_device, kwargs, ("convert_to_numpy",))
        self._check_device(device)
        return self._encoded(sentences, batch_size, max_length, (return_dense, return_sparse, return_colbert_vecs))

    def encode_multi_process(self, sentences: Iterable[str], pool: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Call encode_single_device(): one process encodes, with as many threads as there are CPUs."""
        return self.encode_single_device(listed("sentences", sentences), **kwargs)

    def compute_score(
        self,
        sentence_pairs: Iterable[tuple[str, str]] | tuple[str, str],
        batch_size: int | None = None,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        weights_for_different_modes: list[float] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | list[Any]:
        """Return the five scores of each pair; one float each for a single pair, [] for no pair."""
        check_keywords(self.compute_score, kwargs, ())
        return self.compute_score_single_device(
            sentence_pairs,
            self.batch_size if batch_size is None else batch_size,
            self.query_max_length if max_query_length is None else max_query_length,
            self.passage_max_length if max_passage_length is None else max_passage_length,
            weights_for_different_modes,
        )

    def compute_score_single_device(
        self,
        sentence_pairs: Iterable[tuple[str, str]] | tuple[str, str],
        batch_size: int = 256,
        max_query_length: int = 512,
        max_passage_length: int = 512,
        weights_for_different_modes: list[float] | None = None,
        device: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any] | list[Any]:
        """Score pairs on the device that the model is loaded on; otherwise as compute_score()."""
        check_keywords(self.compute_score_single_device, kwargs, ())
        self._check_device(device)
        whole_number("batch_size", batch_size, 1, MAX_NUMBER)
        scores = self.model.compute_score(
            sentence_pairs,
            max_query_length=self._limit("max_query_length", max_query_length),
            max_passage_length=self._limit("max_passage_length", max_passage_length),
            weights_for_different_modes=weights_for_different_modes,
        )
        return [] if scores["dense"] == [] else scores

    def compute_score_multi_process(
        self, sentence_pairs: Iterable[tuple[str, str]], pool: Mapping[str, Any], **kwargs: Any
    ) -> dict[str, Any] | list[Any]:
        """Call compute_score_single_device()."""
        return self.compute_score_single_device(sentence_pairs, **kwargs)

    def convert_id_to_token(self, lexical_weights: Any) -> Any:
        """Replace token ids by their text; a list of one mapping is unwrapped, as in FlagEmbedding."""
        named = self.model.convert_id_to_token(lexical_weights)
        return named[0] if isinstance(named, list) and len(named) == 1 else named

    def compute_lexical_matching_score(self, lexical_weights_1: Any, lexical_weights_2: Any) -> Any:
        """Call lexical_matching_score()."""
        return lexical_matching_score(lexical_weights_1, lexical_weights_2)

    def colbert_score(self, q_reps: NDArray[np.float32], p_reps: NDArray[np.float32]) -> np.float32:
        """Call colbert_score(); the result is a numpy scalar where FlagEmbedding has a torch one."""
        return np.float32(colbert_score(q_reps, p_reps))

    @staticmethod
    def get_detailed_instruct(instruction_format: str, instruction: str, sentence: str) -> str:
        """Put the instruction and the sentence into the format."""
        if not isinstance(sentence, str):
            raise InputError(f"sentence is {shown(sentence)}, expected str")
        return str(instructed(instruction_format, instruction, sentence))

    def start_multi_process_pool(self, process_target_func: Any) -> dict[str, Any]:
        """Return a pool of no processes for encode_multi_process(): threads of this process do the work.

        Raises InputError for any other function than FlagEmbedding's, since nothing would run it.
        """
        if process_target_func is not None and getattr(process_target_func, "__name__", "") not in _WORKER_NAMES:
            raise InputError(
                f"process_target_func is {shown(process_target_func)}, which m3rt has no processes to run; encode() "
                "uses all CPUs by itself"
            )
        return {"input": None, "output": None, "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: Any) -> None:
        """Do nothing: start_multi_process_pool() started no process."""

    def stop_self_pool(self) -> None:
        """Do nothing: there is no pool."""

    def _encoded(
        self, texts: TextOrTexts, batch_size: int | None, max_length: int, heads: tuple[bool | None, ...]
    ) -> dict[str, Any]:
        if batch_size is not None:
            whole_number("batch_size", batch_size, 1, MAX_NUMBER)
        defaults = (self.return_dense, self.return_sparse, self.return_colbert_vecs)
        dense, sparse, colbert = (d if head is None else head for head, d in zip(heads, defaults, strict=True))
        out = self.model.encode(
            texts,
            return_dense=dense,
            return_sparse=sparse,
            return_colbert_vecs=colbert,
            max_length=self._limit("max_length", max_length),
            truncate_dim=self.truncate_dim,
        )
        return outputs(out, single=isinstance(texts, str))

    def _limit(self, name: str, max_length: int) -> int:
        # The default of 512 may exceed a model's positions, where FlagEmbedding fails.
        return min(whole_number(name, max_length, 3, MAX_NUMBER), self.model.manifest.max_tokens)

    def _check_device(self, device: object) -> None:
        if device is not None and device_of(device, None) != self.model.device:
            raise InputError(f"device is {shown(device)}, but the model is on {self.model.device}; open another there")
