"""A server in a thread on a loopback port, and a reranker whose scores anyone can check."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from m3rt import M3Encoder
from m3rt.serve.app import make_app
from m3rt.serve.hosts import Hosts
from m3rt.serve.keys import Keys
from m3rt.serve.metrics import Metrics
from m3rt.serve.run import bound, server_of
from m3rt.serve.service import Service
from m3rt.text.pairs import PairIds, PairTokenizer


class SharedWords:
    """Scores a pair by the words that both have; normalized: the part of the query's. Tokens are the encoder's."""

    def __init__(self, encoder: M3Encoder) -> None:
        self.manifest, self.batch_tokens = encoder.manifest, encoder.batch_tokens
        self._tokenizer = PairTokenizer(encoder.tokenizer, encoder.manifest.special_tokens, 1, self.manifest.max_tokens)

    def prepare(
        self, sentence_pairs: Any, *, max_length: int | None = None, query_max_length: int | None = None
    ) -> PairIds:
        limit = self.manifest.max_tokens
        return self._tokenizer.encode(sentence_pairs, max_length or limit, query_max_length or limit * 3 // 4)

    def compute_score(
        self,
        sentence_pairs: Any,
        *,
        normalize: bool = False,
        max_length: int | None = None,
        query_max_length: int | None = None,
    ) -> Sequence[float]:
        scores = []
        for query, passage in sentence_pairs:
            words = set(query.split())
            shared = len(words & set(passage.split()))
            scores.append(shared / max(1, len(words)) if normalize else float(shared))
        return scores


@contextmanager
def running(
    service: Service, metrics: Metrics | None = None, keys: Keys | None = None, hosts: Hosts | None = None
) -> Iterator[str]:
    """The address of a server; at the end it drains."""
    app = make_app(service, metrics or Metrics(), keys=keys, hosts=hosts)
    server, listener = server_of(app, service.limits), bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
