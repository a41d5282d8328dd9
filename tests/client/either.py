"""Both clients behind one face, so that one test holds for both."""

import asyncio
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Self

from nsmc_sentiment import AsyncSentimentClient, Correction, Health, Label, ModelInfo, SentimentClient, Verdict


class AwaitedClient:
    """``AsyncSentimentClient`` for tests without ``await``: each call runs on a loop of its own making."""

    def __init__(self, base_url: str, **options: Any) -> None:
        self._client = AsyncSentimentClient(base_url, **options)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._runner = self._stack.enter_context(asyncio.Runner())
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.__aexit__(None, None, None))
        self._stack.close()

    def __repr__(self) -> str:
        return repr(self._client)

    def analyze(self, text: str, **options: Any) -> Verdict:
        return self._runner.run(self._client.analyze(text, **options))

    def batch(self, texts: Sequence[str], **options: Any) -> list[Verdict]:
        return self._runner.run(self._client.batch(texts, **options))

    def correct(self, label: Label, **options: Any) -> Correction:
        return self._runner.run(self._client.correct(label, **options))

    def health(self, **options: Any) -> Health:
        return self._runner.run(self._client.health(**options))

    def model_info(self, **options: Any) -> ModelInfo:
        return self._runner.run(self._client.model_info(**options))

    def analyze_all(self, texts: Iterable[str], **options: Any) -> Generator[Verdict, None, None]:
        return self._each(self._client.analyze_all(texts, **options))

    def _each(self, verdicts: Any) -> Generator[Verdict, None, None]:
        async def following() -> Verdict | None:
            verdict: Verdict | None = await anext(verdicts, None)
            return verdict

        async def close() -> None:
            await verdicts.aclose()

        try:
            while (verdict := self._runner.run(following())) is not None:
                yield verdict
        finally:
            self._runner.run(close())


Either = SentimentClient | AwaitedClient
KINDS: dict[str, type[SentimentClient] | type[AwaitedClient]] = {"sync": SentimentClient, "async": AwaitedClient}
