"""The errors of this package, as one tree.

SentimentError
├── RequestRejected         the service refuses the request (4xx): sent again, it would be refused again
├── ServiceUnavailable      the service cannot answer now (5xx)
│   ├── Overloaded          it has more work than it can do (503), or the caller is over a quota (429)
│   └── CorrectionNotKept   it keeps no corrections, or has no room for more (503)
├── DeadlineExceeded        there was no answer within the call's deadline
├── ConnectionFailed        there was no connection, or it broke before the answer was complete
└── UnexpectedAnswer        an answer that is not in the contract; is the base address the service's?

A message says what happened and names the request; it never holds a review's text or an API key. Arguments that no
request could be made of are ``ValueError`` or ``TypeError``, as everywhere in Python.
"""


class SentimentError(Exception):
    """Root of everything that a call raises on purpose.

    ``request_id`` names the call in the service's logs; all attempts of the call had it.
    """

    def __init__(self, message: str, *, request_id: str = "") -> None:
        super().__init__(message)
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.args[0]} (request {self.request_id})"


class RequestRejected(SentimentError):
    """The service refuses the request: a problem of RFC 9457 with a status of 4xx, except 429.

    ``type`` is stable and what a program should look at, such as ``urn:nsmc-sentiment:problem:text-too-long``.
    ``field`` says where in the request, such as ``texts[3]``. ``index`` is the place, from 0, of the review that it is
    about among those that ``batch`` or ``analyze_all`` was given; None where it is not about one of them.
    """

    def __init__(
        self,
        message: str,
        *,
        request_id: str = "",
        status: int = 0,
        type: str = "about:blank",
        title: str = "",
        detail: str = "",
        field: str | None = None,
        index: int | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.field = field
        self.index = index


class ServiceUnavailable(SentimentError):
    """The service cannot answer now.

    ``status`` is 429 or 5xx, ``type`` the problem's where the service named one. ``retry_after_s`` is how long the
    service asked to be left alone, in seconds from its answer on; None where it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        request_id: str = "",
        status: int = 0,
        type: str = "about:blank",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.type = type
        self.retry_after_s = retry_after_s


class Overloaded(ServiceUnavailable):
    """The service has more work than it can do, or the caller is over a quota."""


class CorrectionNotKept(ServiceUnavailable):
    """The service keeps no corrections, or cannot keep more.

    Only who runs it can change that, so the call is not tried again, whatever ``retry_after_s`` says.
    """


class DeadlineExceeded(SentimentError):
    """There was no answer within the call's deadline."""


class ConnectionFailed(SentimentError):
    """There was no connection, or it broke before the answer was complete."""


class UnexpectedAnswer(SentimentError):
    """An answer that is not in the contract."""
