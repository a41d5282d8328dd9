"""OpenTelemetry traces over OTLP/HTTP, off unless an endpoint is set. Spans have names and times, and no text."""

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from starlette.middleware import Middleware

SERVICE = "nsmc-sentiment"
_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracing:
    """Makes spans, or does nothing."""

    def __init__(self, provider: Any | None) -> None:
        """``provider`` is an OpenTelemetry ``TracerProvider``; None turns tracing off."""
        self.provider = provider
        self._tracer = provider and provider.get_tracer(SERVICE)

    @classmethod
    def off(cls) -> Self:
        """No traces."""
        return cls(None)

    @classmethod
    def to(cls, endpoint: str, sampled: float, version: str) -> Self:
        """Send spans to an OTLP/HTTP collector at ``endpoint``, in the background.

        A share of ``sampled`` of the traces that begin here is recorded; one that a caller began is recorded if the
        caller records it.
        """
        # imported here: without tracing, nothing of this is loaded
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sampled)),
            resource=Resource.create({"service.name": SERVICE, "service.version": version}),
        )
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def span(self, name: str) -> AbstractContextManager[Any]:
        """A context manager whose time is a span of the current trace."""
        return _NOTHING if self._tracer is None else self._tracer.start_as_current_span(name)

    def past(self, name: str, seconds: float, ago_s: float) -> None:
        """A span of the current trace that took ``seconds`` and ended ``ago_s`` before now."""
        if self._tracer is not None:
            end = time.time_ns() - round(ago_s * 1e9)
            self._tracer.start_span(name, start_time=end - round(seconds * 1e9)).end(end)

    def middlewares(self, quiet: Iterable[str]) -> list[Middleware]:
        """What makes a span of each request but those for ``quiet`` paths, in the caller's trace where it is in one."""
        if self.provider is None:
            return []
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        excluded = ",".join(f"{path}$" for path in quiet)
        return [Middleware(OpenTelemetryMiddleware, tracer_provider=self.provider, excluded_urls=excluded)]

    def close(self) -> None:
        """Send what is left."""
        if self.provider is not None:
            self.provider.shutdown()
