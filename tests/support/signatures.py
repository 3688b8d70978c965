"""The signatures of FlagEmbedding 1.4.2's BGEM3FlagModel, and how a test reads one."""

import inspect
from collections.abc import Callable
from typing import Any

# The sources are inference/embedder/encoder_only/m3.py and abc/inference/AbsEmbedder.py.
_VIEWS = "return_dense={0}, return_sparse={1}, return_colbert_vecs={1}"
_ENCODE = f"batch_size=None, max_length=None, {_VIEWS.format(None, None)}, **kwargs"
_ONE_DEVICE = f"batch_size=256, max_length=512, {_VIEWS.format(True, False)}, device=None, **kwargs"
_LENGTHS = "max_query_length={0}, max_passage_length={0}, weights_for_different_modes=None"
SIGNATURES = {
    "__init__": "self, model_name_or_path, normalize_embeddings=True, use_fp16=True, use_bf16=False, "
    "query_instruction_for_retrieval=None, query_instruction_format='{}{}', devices=None, pooling_method='cls', "
    "trust_remote_code=False, cache_dir=None, colbert_dim=-1, batch_size=256, query_max_length=512, "
    f"passage_max_length=512, {_VIEWS.format(True, False)}, truncate_dim=None, **kwargs",
    "encode": f"self, sentences, {_ENCODE}",
    "encode_queries": f"self, queries, {_ENCODE}",
    "encode_corpus": f"self, corpus, {_ENCODE}",
    "encode_single_device": f"self, sentences, {_ONE_DEVICE}",
    "encode_multi_process": "self, sentences, pool, **kwargs",
    "compute_score": f"self, sentence_pairs, batch_size=None, {_LENGTHS.format(None)}, **kwargs",
    "compute_score_single_device": f"self, sentence_pairs, batch_size=256, {_LENGTHS.format(512)}, device=None, "
    "**kwargs",
    "compute_score_multi_process": "self, sentence_pairs, pool, **kwargs",
    "convert_id_to_token": "self, lexical_weights",
    "compute_lexical_matching_score": "self, lexical_weights_1, lexical_weights_2",
    "colbert_score": "self, q_reps, p_reps",
    "get_detailed_instruct": "instruction_format, instruction, sentence",
    "start_multi_process_pool": "self, process_target_func",
    "stop_multi_process_pool": "pool",
    "stop_self_pool": "self",
}


def signature(function: Callable[..., Any]) -> str:
    """Return the parameters of a function without their types."""
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters)
