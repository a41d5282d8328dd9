"""Prometheus metrics. Every label has a bounded set of values: none of them is what a caller sent.

With several workers the library keeps values in files that all of them write; BentoML's ``/metrics`` adds them up.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import mark_process_dead

from data.labels import NAMES, NEUTRAL
from serving.telemetry.tracing import Tracing

PREFIX = "sentiment_"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PART_SECONDS = (0.0001, 0.00025, 0.0005, *SECONDS)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
SCORES = tuple(step / 20 for step in range(1, 21))

Part = Literal["cache", "tokenization", "queue", "inference"]
"""What the time of a request is spent on."""
PARTS: tuple[Part, ...] = ("cache", "tokenization", "queue", "inference")
Outcome = Literal["hit", "miss", "error", "bypass"]
LEVELS: dict[str, tuple[Outcome, ...]] = {
    "local": ("hit", "miss", "bypass"),
    "shared": ("hit", "miss", "error", "bypass"),
    "in_flight": ("hit",),
}
"""Cache levels and what may come of a look-up: ``in_flight`` is a text that somebody else is waiting for already;
``bypass`` was not asked, because the caller or the circuit breaker said so."""


class Metrics:
    """The metrics of a process; made once, for the library refuses a second set in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY, tracing: Tracing | None = None) -> None:
        self._tracing = tracing or Tracing.off()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, what, labels, registry=registry)

        def histogram(name: str, what: str, buckets: Iterable[float], *labels: str) -> Histogram:
            return Histogram(PREFIX + name, what, labels, buckets=tuple(buckets), registry=registry)

        self._requests = counter("requests", "Requests by route and status.", "route", "status")
        self._request_seconds = histogram("request_seconds", "From the first byte to the last.", SECONDS, "route")
        parts = histogram("part_seconds", "What the time of requests is spent on.", PART_SECONDS, "part")
        self._parts = {part: parts.labels(part) for part in PARTS}
        self.batch_rows = histogram("batch_rows", "Reviews of a batch that was inferred.", ROWS)
        self.batch_tokens = histogram("batch_tokens", "Tokens of a batch that was inferred.", TOKENS)
        self._abandoned = counter("abandoned_rows", "Reviews whose callers had left before they were inferred.")
        self._queue_tokens = Gauge(
            PREFIX + "queue_tokens", "Tokens that wait.", registry=registry, multiprocess_mode="livesum"
        )
        self._queue_limit = Gauge(
            PREFIX + "queue_limit_tokens",
            "Tokens that may wait or be inferred: MAX_QUEUE_TOKENS, or what is done in half of MAX_LATENCY_MS.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        looked_up = counter("cache", "Look-ups of texts by cache level and outcome.", "level", "outcome")
        self._cache = {
            (level, outcome): looked_up.labels(level, outcome)
            for level, outcomes in LEVELS.items()
            for outcome in outcomes
        }
        answers = counter("answers", "Verdicts given, from the cache or not.", "sentiment")
        self._answers = {name: answers.labels(name) for name in (*NAMES, NEUTRAL)}
        self._positive = histogram("positive", "P(positive) of verdicts given.", SCORES)
        self._model = Gauge(
            PREFIX + "model",
            "1 for the model that answers.",
            ("model_tag", "mlflow_version", "engine", "precision"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._serving: Gauge | None = None
        self._by_model = counter("model_answers", "Verdicts given, by the model that gave them.", "model_tag")
        self._generation = Gauge(
            PREFIX + "rollout_generation",
            "The generation of the rollout that this worker serves.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._ready = Gauge(PREFIX + "ready", "Workers that are ready.", registry=registry, multiprocess_mode="livesum")

    def part(self, part: Part) -> "Timed":
        """A context manager: what runs in it is ``part`` of a request's time, and a span of its trace."""
        return Timed(self._parts[part].observe, self._tracing, part)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def waited(self, queue_s: float, inference_s: float) -> None:
        """A caller's rows were inferred; called by the caller's own task, just now."""
        self._tracing.past("inference", inference_s, 0.0)
        self._tracing.past("queue", queue_s, inference_s)
        self._parts["queue"].observe(queue_s)

    def batch(self, rows: int, tokens: int, seconds: float) -> None:
        """A batch was inferred."""
        self.batch_rows.observe(rows)
        self.batch_tokens.observe(tokens)
        self._parts["inference"].observe(seconds)

    def abandoned(self, rows: int) -> None:
        """So many rows left the queue without being inferred."""
        self._abandoned.inc(rows)

    def queued(self, tokens: int, limit_tokens: float) -> None:
        """So many tokens wait now in this worker, of so many that may."""
        self._queue_tokens.set(tokens)
        self._queue_limit.set(limit_tokens)

    def looked_up(self, level: str, outcome: Outcome, count: int) -> None:
        """So many texts were looked up in a cache level, to this outcome."""
        if count:
            self._cache[level, outcome].inc(count)

    def answered_by(self, model_tag: str, count: int) -> None:
        """A model gave so many verdicts. Tags come from operators, one for each rollout."""
        self._by_model.labels(model_tag).inc(count)

    def generation(self, generation: int) -> None:
        """This worker serves that generation of the rollout."""
        self._generation.set(generation)

    def answered(self, sentiment: str, positive: float) -> None:
        """A verdict was given."""
        self._answers[sentiment].inc()
        self._positive.observe(positive)

    def serving(self, model_tag: str, mlflow_version: str | None, engine: str, precision: str) -> None:
        """This model answers now, and no other."""
        if self._serving is not None:
            self._serving.set(0)
        self._serving = self._model.labels(model_tag, mlflow_version or "", engine, precision)
        self._serving.set(1)

    def ready(self, *, yes: bool) -> None:
        """Whether this worker wants requests."""
        self._ready.set(int(yes))


def forget_the_dead(folder: Path) -> None:
    """Take the gauges of workers that are gone out of ``folder``, where several workers keep their metrics.

    One that ends in peace does so itself; one that was killed would count as ready, and its queue as full, for ever.
    """
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, str(folder))


class Timed:
    """A part of a request; see ``Metrics.part``."""

    __slots__ = ("_name", "_observe", "_span", "_started", "_tracing")

    def __init__(self, observe: Callable[[float], None], tracing: Tracing, name: str) -> None:
        self._observe, self._tracing, self._name = observe, tracing, name

    def __enter__(self) -> Self:
        self._span = self._tracing.span(self._name)
        self._span.__enter__()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observe(time.perf_counter() - self._started)
        self._span.__exit__(kind, error, trace)
