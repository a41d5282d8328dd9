"""The client for asyncio."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from typing import Self

from nsmc_sentiment import calls, stream
from nsmc_sentiment.answers import Correction, Health, Label, ModelInfo, Verdict
from nsmc_sentiment.calls import Flags
from nsmc_sentiment.client import DEFAULT_RETRIES
from nsmc_sentiment.endpoint import Endpoint
from nsmc_sentiment.retry import RetryPolicy
from nsmc_sentiment.sending import AsyncSender


class AsyncSentimentClient:
    """``SentimentClient`` for asyncio: the same arguments, methods and errors, awaited.

    Make one a loop and share it between tasks. ``timeout_s`` bounds everything here, and a call that is cancelled takes
    its connection with it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        client_id: str | None = None,
        connect_timeout_s: float = 2.0,
        timeout_s: float = 30.0,
        retries: RetryPolicy = DEFAULT_RETRIES,
    ) -> None:
        self._endpoint = Endpoint(base_url, api_key, connect_timeout_s, timeout_s, retries, client_id)
        self._sender = AsyncSender(self._endpoint)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._sender.close()

    async def analyze(
        self,
        text: str,
        *,
        probabilities: bool = False,
        truncate: bool = False,
        fresh: bool = False,
        request_id: str | None = None,
        client_id: str | None = None,
    ) -> Verdict:
        """Judge one review."""
        return await self._sender.run(calls.analyze(text, Flags(probabilities, truncate, fresh), request_id, client_id))

    async def batch(
        self,
        texts: Sequence[str],
        *,
        probabilities: bool = False,
        truncate: bool = False,
        fresh: bool = False,
        request_id: str | None = None,
        client_id: str | None = None,
    ) -> list[Verdict]:
        """Judge several reviews in one request; the verdicts are in their order."""
        return await self._sender.run(calls.batch(texts, Flags(probabilities, truncate, fresh), request_id, client_id))

    def analyze_all(
        self,
        texts: Iterable[str] | AsyncIterable[str],
        *,
        batch_size: int = 64,
        concurrency: int = 4,
        probabilities: bool = False,
        truncate: bool = False,
        fresh: bool = False,
        request_id: str | None = None,
    ) -> AsyncGenerator[Verdict, None]:
        """Judge any number of reviews; the verdicts come in their order.

        As ``SentimentClient.analyze_all``; ``texts`` may be asynchronous. Leave the loop early within
        ``contextlib.aclosing``, so that the requests that are under way are cancelled then and not some time later.
        """
        if isinstance(texts, str):
            raise TypeError("texts is a str; it must be several of them")
        plan = stream.Plan(batch_size, concurrency, Flags(probabilities, truncate, fresh), request_id)
        return stream.verdicts_async(self._sender, plan, texts)

    async def correct(
        self,
        label: Label,
        *,
        text: str | None = None,
        text_digest: str | None = None,
        request_id: str | None = None,
        index: int = 0,
        keep_text: bool = False,
        client_id: str | None = None,
    ) -> Correction:
        """Say what a review should have been called. As ``SentimentClient.correct``."""
        return await self._sender.run(
            calls.correct(
                label,
                text=text,
                text_digest=text_digest,
                request_id=request_id,
                index=index,
                keep_text=keep_text,
                client_id=client_id,
            )
        )

    async def health(self, *, request_id: str | None = None) -> Health:
        """Whether the service can answer; an ``unhealthy`` one is an answer, too, and no error."""
        return await self._sender.run(calls.health(request_id))

    async def model_info(self, *, request_id: str | None = None) -> ModelInfo:
        """What model is live."""
        return await self._sender.run(calls.model_info(request_id))
