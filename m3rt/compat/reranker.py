"""FlagReranker: FlagEmbedding's signatures and outputs over an M3Reranker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..reranker import M3Reranker, Pairs
from ..values.arguments import flag, whole_number
from ..values.shown import shown
from ..values.texts import pairs_of
from .arguments import MAX_NUMBER, Devices, check_keywords, device_of, device_shown
from .instructions import instructed
from .tokenizer import CompatTokenizer

# Keywords that FlagEmbedding's methods take without naming them in their signatures.
_OF_RERANKER = ("device", "threads")
_OF_SCORE = ("batch_size", "query_max_length", "max_length", "normalize")


class FlagReranker:
    """Drop-in for FlagEmbedding 1.4.2's class of this name: its signatures, its outputs.

    model_name_or_path: directory of a reranker's bundle. Without effect, since the bundle fixes the precision and m3rt
    batches by tokens in one process: use_fp16, batch_size, trust_remote_code, cache_dir. devices: None, "cpu", "cuda",
    "cuda:1", 1 or one of them in a list. kwargs: device, as devices; and M3Reranker's threads.
    Raises what M3Reranker raises, and InputError for unknown keywords.
    """

    def __init__(
        self,
        model_name_or_path: str | Path,
        use_fp16: bool = False,
        query_instruction_for_rerank: str | None = None,
        query_instruction_format: str = "{}{}",
        passage_instruction_for_rerank: str | None = None,
        passage_instruction_format: str = "{}{}",
        trust_remote_code: bool = False,
        cache_dir: str | None = None,
        devices: Devices = None,
        batch_size: int = 128,
        query_max_length: int | None = None,
        max_length: int = 512,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        check_keywords(FlagReranker, kwargs, _OF_RERANKER)
        device = device_of(devices, kwargs.get("device"))
        self.model = M3Reranker(model_name_or_path, device=device, threads=kwargs.get("threads"))
        self.model_name_or_path, self.use_fp16 = model_name_or_path, use_fp16
        self.query_instruction_for_rerank = query_instruction_for_rerank
        self.query_instruction_format = query_instruction_format
        self.passage_instruction_for_rerank = passage_instruction_for_rerank
        self.passage_instruction_format = passage_instruction_format
        self.target_devices = [device_shown(self.model.device)]
        self.batch_size, self.query_max_length = batch_size, query_max_length
        self.max_length, self.normalize = max_length, normalize
        self.kwargs = kwargs
        self.pool: dict[str, Any] | None = None

    @cached_property
    def tokenizer(self) -> CompatTokenizer:
        """The bundle's tokenizer with transformers' names, loaded when first used."""
        return CompatTokenizer(self.model.bundle)

    def compute_score(self, sentence_pairs: Pairs, **kwargs: Any) -> list[float]:
        """The score of each pair, instructions before its texts; a list of one for a single pair, [] for none.

        kwargs: batch_size, without effect, query_max_length, max_length and normalize, by default the constructor's.
        """
        check_keywords(self.compute_score, kwargs, _OF_SCORE)
        return self.compute_score_single_gpu(self.get_detailed_inputs(sentence_pairs), **kwargs)

    def compute_score_single_gpu(
        self,
        sentence_pairs: Pairs,
        batch_size: int | None = None,
        query_max_length: int | None = None,
        max_length: int | None = None,
        normalize: bool | None = None,
        device: str | None = None,
        **kwargs: Any,
    ) -> list[float]:
        """The scores of pairs as they are, on the device that the model is loaded on."""
        check_keywords(self.compute_score_single_gpu, kwargs, ())
        if device is not None and device_of(device) != self.model.device:
            raise InputError(f"device is {shown(device)}, but the model is on {self.model.device}; open another there")
        whole_number("batch_size", self.batch_size if batch_size is None else batch_size, 1, MAX_NUMBER)
        asked = self.query_max_length if query_max_length is None else query_max_length
        scores = self.model.compute_score(
            sentence_pairs,
            normalize=flag("normalize", self.normalize if normalize is None else normalize),
            max_length=self._limit(self.max_length if max_length is None else max_length),
            query_max_length=asked,
        )
        return scores[:]

    def get_detailed_instruct(self, instruction_format: str, instruction: str, sentence: str) -> str:
        """The sentence with the instruction, by the format."""
        if not isinstance(sentence, str):
            raise InputError(f"sentence is {shown(sentence)}, expected str")
        return str(instructed(instruction_format, instruction, sentence))

    def get_detailed_inputs(self, sentence_pairs: Pairs) -> list[tuple[str, str]]:
        """The pairs with the instructions before their texts."""
        query, passage = self.query_instruction_for_rerank, self.passage_instruction_for_rerank
        return [
            (
                q if query is None else self.get_detailed_instruct(self.query_instruction_format, query, q),
                p if passage is None else self.get_detailed_instruct(self.passage_instruction_format, passage, p),
            )
            for q, p in pairs_of(sentence_pairs)[0]
        ]

    def start_multi_process_pool(self) -> dict[str, Any]:
        """A pool of no processes for encode_multi_process(): threads of this one do the work."""
        return {"input": None, "output": None, "processes": []}

    def encode_multi_process(
        self, sentence_pairs: Iterable[tuple[str, str]], pool: Mapping[str, Any], **kwargs: Any
    ) -> NDArray[np.float64]:
        """compute_score_single_gpu() as an array: one process scores, with as many threads as there are CPUs."""
        return np.array(self.compute_score_single_gpu(sentence_pairs, **kwargs), np.float64)

    @staticmethod
    def stop_multi_process_pool(pool: Any) -> None:
        """Nothing: start_multi_process_pool() started no process."""

    def stop_self_pool(self) -> None:
        """Nothing: there is no pool."""

    def _limit(self, max_length: int) -> int:
        # The default of 512 may exceed a model's positions, where FlagEmbedding fails.
        return min(whole_number("max_length", max_length, 1, MAX_NUMBER), self.model.manifest.max_tokens)
