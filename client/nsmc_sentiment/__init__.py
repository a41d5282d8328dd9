"""Client of the Korean review sentiment service: ``SentimentClient`` and ``AsyncSentimentClient``."""

from nsmc_sentiment.answers import Correction, Health, Label, ModelInfo, Sentiment, Verdict
from nsmc_sentiment.async_client import AsyncSentimentClient
from nsmc_sentiment.client import SentimentClient
from nsmc_sentiment.errors import (
    ConnectionFailed,
    CorrectionNotKept,
    DeadlineExceeded,
    Overloaded,
    RequestRejected,
    SentimentError,
    ServiceUnavailable,
    UnexpectedAnswer,
)
from nsmc_sentiment.retry import RetryPolicy
from nsmc_sentiment.version import VERSION

__version__ = VERSION

__all__ = [
    "AsyncSentimentClient",
    "ConnectionFailed",
    "Correction",
    "CorrectionNotKept",
    "DeadlineExceeded",
    "Health",
    "Label",
    "ModelInfo",
    "Overloaded",
    "RequestRejected",
    "RetryPolicy",
    "Sentiment",
    "SentimentClient",
    "SentimentError",
    "ServiceUnavailable",
    "UnexpectedAnswer",
    "Verdict",
    "__version__",
]
