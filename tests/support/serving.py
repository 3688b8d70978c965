"""A server in a thread on a loopback port, and a reranker whose scores anyone can check."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from m3rt import M3Encoder, M3Reranker
from m3rt.relevance import Scores
from m3rt.serve.app import make_app
from m3rt.serve.hosts import Hosts
from m3rt.serve.keys import Keys
from m3rt.serve.metrics import Metrics
from m3rt.serve.run import bound, server_of
from m3rt.serve.service import Service
from m3rt.text.pairs import PairTokenizer


class SharedWords(M3Reranker):
    """Scores a pair by the words that both have; normalized: the part of the query's. Tokens are the encoder's."""

    def __init__(self, encoder: M3Encoder) -> None:
        self.bundle, self.batch_tokens = encoder.bundle, encoder.batch_tokens
        self.manifest, special = encoder.manifest, encoder.manifest.special_tokens
        self._pairs = PairTokenizer(encoder.tokenizer, special, 1, self.manifest.max_tokens)

    def compute_score(self, sentence_pairs: Any, *, normalize: bool = False, **options: Any) -> Scores:
        words = [(set(query.split()), set(passage.split())) for query, passage in sentence_pairs]
        scores = [len(a & b) / (max(1, len(a)) if normalize else 1) for a, b in words]
        tokens = self.prepare(sentence_pairs).tokens
        return Scores(np.array(scores), tokens.lengths, tokens.truncated)


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
