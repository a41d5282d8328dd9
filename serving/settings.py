"""Settings of the service, from environment variables: frozen, ranges and cross-rules checked at start."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, model_validator

from serving.access.quota import FEWEST
from serving.access.settings import KeySettings
from serving.engine.choose import Wanted
from serving.engine.schedule import Cut
from serving.telemetry.logs import LogFormat


class Settings(KeySettings):
    """Each field is the environment variable of the same name in capitals."""

    redis_timeout_ms: int = Field(default=50, ge=1, le=5_000)
    redis_retry_after_s: float = Field(default=2.0, ge=0.1, le=300.0)
    """How long Redis is left alone after it failed."""
    cache_entries: int = Field(default=1_000, ge=0, le=10_000_000)
    """Size of the in-process LRU cache; 0 turns it off."""
    cache_ttl_s: int = Field(default=3_600, ge=1, le=30 * 86_400)

    max_batch_size: int = Field(default=1_024, ge=1, le=4_096)
    """Rows that the model is given at once."""
    batch_tokens: int | None = Field(default=None, ge=16, le=1 << 20)
    """Tokens that the model is given at once; without it, the fastest number here is found out at start."""
    max_latency_ms: int = Field(default=5_000, ge=10, le=60_000)
    """A row that waited longer in the queue is refused, and one that would wait over half of it at once."""
    max_queue_tokens: int = Field(default=1 << 18, ge=512, le=1 << 26)
    """Tokens that wait or are being inferred, of all callers together."""
    timeout_s: float = Field(default=10.0, ge=0.1, le=60.0)
    """Deadline of a request; of a stream, for each group of lines and between two pieces of its body."""

    max_connections: int = Field(default=2_048, ge=1, le=1 << 20)
    """Of each worker; beyond, one that is idle makes room, or the new one is refused."""
    max_texts: int = Field(default=1_000, ge=1, le=100_000)
    max_body_bytes: int = Field(default=1 << 20, ge=1_024, le=1 << 28)
    """Of a body once it is unpacked; of a stream, of a line."""
    max_stream_bytes: int = Field(default=1 << 30, ge=1_024, le=1 << 40)

    engine: Literal["onnxruntime", "openvino", "pytorch"] | None = None
    """Runtime; without it, and without the next two, the fastest here is found out at start."""
    device: Literal["cpu", "cuda"] | None = None
    precision: Literal["fp32", "int8", "fp16", "bf16"] | None = None
    threads: int = Field(default=0, ge=0, le=256)
    """Threads of the engine; 0 are all that the process may use."""
    remember_engine: bool = True
    """Keep what was found out in the user's cache, so that the next start need not find it out again."""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that answer; where there are GPUs, of each of them."""
    gpus: int = Field(default=0, ge=0, le=64)

    access: Literal["keys", "open"] | None = None
    """Whether callers need a key; without it, unless only this machine can reach the service. Commands always do."""
    quota_key_texts: int | None = Field(default=None, ge=FEWEST, le=1 << 40)
    """Reviews that a key may have judged in a minute, by all workers together where there is a Redis."""
    quota_address_texts: int | None = Field(default=None, ge=FEWEST, le=1 << 40)
    """The same for an address that asks without a key."""
    cors_origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/*?#\s]+$")], ...] = ()
    """Origins whose pages may call the service from a browser, as a list of JSON; none but its own by itself."""
    model_store: Path | None = None
    """A second Bento model store to roll out from; it may be read-only, and need not be there."""
    signing_public_key: FilePath | None = None
    """PEM file of the public key that models must be signed for; without it, their digests alone are checked."""

    journal_folder: Path | None = None
    """Where it is kept what was judged, without texts, and what callers correct; without it, neither is."""
    journal_mib: int = Field(default=256, ge=1, le=1 << 20)
    """Of each worker: of what it judged the oldest goes, of corrections no more are taken."""

    drain_s: float = Field(default=1.0, ge=0.0, le=300.0)
    """After SIGTERM, how long requests are still taken while ``/readyz`` says that no more should come."""
    log_format: LogFormat = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    access_log: bool = True
    """A line for each request."""
    tracing_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    """Where OpenTelemetry traces go: the base address of an OTLP/HTTP collector. Without it there are none."""
    tracing_share: float = Field(default=1.0, ge=0.0, le=1.0)
    """Of the traces that begin here, how many are recorded."""

    @model_validator(mode="after")
    def _queue_fits_deadline(self) -> Self:
        if self.max_latency_ms >= self.timeout_s * 1_000:
            raise ValueError(
                f"MAX_LATENCY_MS is {self.max_latency_ms}; it must be below TIMEOUT_S ({self.timeout_s} s)"
            )
        if self.batch_tokens is not None and self.max_queue_tokens < self.batch_tokens:
            raise ValueError(
                f"MAX_QUEUE_TOKENS is {self.max_queue_tokens}; it must be at least BATCH_TOKENS ({self.batch_tokens})"
            )
        if self.max_stream_bytes < self.max_body_bytes:
            raise ValueError(
                f"MAX_STREAM_BYTES is {self.max_stream_bytes}; it must be at least MAX_BODY_BYTES "
                f"({self.max_body_bytes})"
            )
        return self

    @property
    def processes(self) -> int:
        """Workers in all."""
        return self.workers * max(1, self.gpus)

    @property
    def wanted(self) -> Wanted:
        """What is asked of the engine."""
        cut = None if self.batch_tokens is None else Cut(self.batch_tokens)
        device = self.device or ("cuda" if self.gpus else None)
        return Wanted(self.engine, device, self.precision, self.threads, cut)
