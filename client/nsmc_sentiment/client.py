"""The client for code without ``await``."""

from collections.abc import Generator, Iterable, Sequence
from typing import Self

from nsmc_sentiment import calls, stream
from nsmc_sentiment.answers import Correction, Health, Label, ModelInfo, Verdict
from nsmc_sentiment.calls import Flags
from nsmc_sentiment.endpoint import Endpoint
from nsmc_sentiment.retry import RetryPolicy
from nsmc_sentiment.sending import Sender

DEFAULT_RETRIES = RetryPolicy()


class SentimentClient:
    """Judges Korean reviews with the service at ``base_url``, such as ``http://localhost:3000``.

    Make one and share it: it is safe for threads, and keeps its connections until ``close`` or the end of its ``with``.

    ``connect_timeout_s`` bounds a connection attempt, ``timeout_s`` a whole call: all its attempts and the waits
    between them. Connections that fail and the statuses 429, 502, 503 and 504 are retried as ``retries`` says: a call
    only asks, or corrects, where the last word of a caller counts, so trying it again does no harm. Raises ValueError
    for arguments outside their ranges.

    Each method raises a SentimentError: RequestRejected, ServiceUnavailable or Overloaded, DeadlineExceeded,
    ConnectionFailed or UnexpectedAnswer; ``correct`` may raise CorrectionNotKept, too. Their flags are alike:
    ``probabilities`` asks for those of the classes, ``truncate`` to read the beginning of a text that is too long
    instead of refusing it, ``fresh`` for an answer that comes from no cache. ``request_id`` names the call in the
    service's logs (1 to 128 of ``A-Za-z0-9._-``), and only in ``correct`` an earlier one; without it the client makes
    one up. All attempts of a call have the same. ``client_id``, here or of a call, says for whom is asked (1 to 128
    visible characters of ASCII): where a new model answers a share of the callers, the same model always answers the
    same one, and beside an ``api_key`` each has a word of its own in corrections.

    Looking up a host's name is not bounded by ``timeout_s`` here, nor is an answer whose headers drip in; with
    ``AsyncSentimentClient`` they are.
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
        self._sender = Sender(self._endpoint)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._sender.close()

    def analyze(
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
        return self._sender.run(calls.analyze(text, Flags(probabilities, truncate, fresh), request_id, client_id))

    def batch(
        self,
        texts: Sequence[str],
        *,
        probabilities: bool = False,
        truncate: bool = False,
        fresh: bool = False,
        request_id: str | None = None,
        client_id: str | None = None,
    ) -> list[Verdict]:
        """Judge several reviews in one request; the verdicts are in their order.

        The service takes up to 1,000 reviews and 1 MiB a request, unless it is set otherwise, and refuses none at all;
        ``analyze_all`` takes any number.
        """
        return self._sender.run(calls.batch(texts, Flags(probabilities, truncate, fresh), request_id, client_id))

    def analyze_all(
        self,
        texts: Iterable[str],
        *,
        batch_size: int = 64,
        concurrency: int = 4,
        probabilities: bool = False,
        truncate: bool = False,
        fresh: bool = False,
        request_id: str | None = None,
    ) -> Generator[Verdict, None, None]:
        """Judge any number of reviews; the verdicts come in their order.

        Reviews are taken in the caller's thread as verdicts are, ``batch_size`` a request and ``concurrency`` requests
        at a time: no more than ``batch_size * concurrency`` reviews are held. Closing the generator, or leaving it
        behind, cancels the requests that are under way; so does the first error, after the verdicts of the batches
        before it. RequestRejected then says in ``index`` which review it is about. The calls are named ``request_id``
        with their number from 0, such as ``nightly-17``, and each has its own deadline.
        """
        if isinstance(texts, str):
            raise TypeError("texts is a str; it must be several of them")
        plan = stream.Plan(batch_size, concurrency, Flags(probabilities, truncate, fresh), request_id)
        return stream.verdicts(self._endpoint, plan, texts)

    def correct(
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
        """Say what a review should have been called. The next model may learn from it, if enough callers agree.

        Exactly one argument names the review: its ``text``; its ``text_digest``, as a Correction has it; or
        ``request_id``, that of the call which asked about it, with ``index``, as a Verdict has both. An id that was
        given to several calls names none of their reviews. Without ``keep_text`` the service keeps the text's digest
        only, and learns from the review only where it is known otherwise.

        Raises CorrectionNotKept at once where the service keeps no corrections.
        """
        return self._sender.run(
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

    def health(self, *, request_id: str | None = None) -> Health:
        """Whether the service can answer; an ``unhealthy`` one is an answer, too, and no error."""
        return self._sender.run(calls.health(request_id))

    def model_info(self, *, request_id: str | None = None) -> ModelInfo:
        """What model is live."""
        return self._sender.run(calls.model_info(request_id))
