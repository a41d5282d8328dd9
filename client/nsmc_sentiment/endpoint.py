"""Where the service is and how it is spoken to: what a client of either kind is made of."""

import functools
import math
import re
import ssl
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from nsmc_sentiment import calls
from nsmc_sentiment.calls import Call
from nsmc_sentiment.course import Course
from nsmc_sentiment.retry import RetryBudget, RetryPolicy
from nsmc_sentiment.version import VERSION

T = TypeVar("T")
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=4.0)
"""Connections of a client. Idle ones are let go before the service's server does, which keeps them for five seconds."""

_KEY = re.compile(r"[\x21-\x7e]{1,4096}")
_LONGEST_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The service's address, the key to it, for whom it is asked, the limits of a call, and the calls' retry budget.

    Raises ValueError for what is outside its range; the key is in no message.
    """

    base_url: str
    api_key: str | None = field(repr=False)
    connect_timeout_s: float
    timeout_s: float
    retries: RetryPolicy
    client_id: str | None = None
    budget: RetryBudget = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_address(self.base_url)
        if self.api_key is not None and not _KEY.fullmatch(self.api_key):
            raise ValueError("api_key must be 1 to 4096 visible characters of ASCII")
        calls.client(self.client_id)
        for name, value in (("connect_timeout_s", self.connect_timeout_s), ("timeout_s", self.timeout_s)):
            if not (math.isfinite(value) and 0.0 < value <= _LONGEST_S):
                raise ValueError(f"{name} is {value}; it must be above 0 and at most {_LONGEST_S:.0f}")
        object.__setattr__(self, "budget", RetryBudget(self.retries.budget_ratio, self.retries.budget_reserve))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        headers = {"Accept": "application/json, application/problem+json", "User-Agent": f"nsmc-sentiment/{VERSION}"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        if self.client_id is not None:
            headers[calls.CLIENT_ID] = self.client_id
        return headers

    @staticmethod
    @functools.cache
    def tls() -> ssl.SSLContext:
        """The one TLS context of the process, for to make one takes longer than most calls."""
        return httpx.create_ssl_context()

    def course(self, call: Call[T]) -> Course[T]:
        """``call``, whose deadline begins now."""
        return Course(call, self.timeout_s, self.retries, self.budget)


def _check_address(base_url: str) -> None:
    """Raises ValueError without quoting it, for it may hold a password."""
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("base_url is no address; it must be such as http://localhost:3000") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must begin with http:// or https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must hold no user, no query and no fragment; a key goes into api_key")
