"""Numbers for Prometheus: requests, refusals, the queue, passes and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from ..queue import Pass

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class Metrics:
    """The metrics of one server, in a registry that no other one shares."""

    def __init__(self) -> None:
        self._registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        self._requests = Counter("m3rt_requests", "Requests answered.", ["route", "status"], registry=r)
        self._seconds = Histogram("m3rt_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=r)
        self._refused = Counter("m3rt_refused", "Requests answered by an error.", ["status"], registry=r)
        self._truncated = Counter("m3rt_truncated_texts", "Texts cut to the model's limit.", registry=r)
        self._passes = Histogram("m3rt_pass_tokens", "Tokens of a pass.", buckets=_TOKENS, registry=r)
        self._pass_seconds = Histogram("m3rt_pass_seconds", "Time of a pass.", buckets=_SECONDS, registry=r)
        self._padding = Counter("m3rt_padding_tokens", "Padding that passes computed.", registry=r)
        self._texts = Counter("m3rt_texts", "Texts embedded.", registry=r)
        self._of = cache(lambda route, status: (self._requests.labels(route, status), self._seconds.labels(route)))

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when the metrics are."""
        Gauge(name, help_text, registry=self._registry).set_function(value)

    def answered(self, route: str, status: int, seconds: float, truncated: int) -> None:
        requests, histogram = self._of(route, status)
        requests.inc()
        histogram.observe(seconds)
        if truncated:
            self._truncated.inc(truncated)
        if status >= 400:
            self._refused.labels(status).inc()

    def passed(self, done: Pass) -> None:
        """Count a pass; called in the queue's thread."""
        self._passes.observe(done.tokens)
        self._pass_seconds.observe(done.seconds)
        self._padding.inc(done.padded - done.tokens)
        self._texts.inc(done.texts)

    def text(self) -> bytes:
        return generate_latest(self._registry)
