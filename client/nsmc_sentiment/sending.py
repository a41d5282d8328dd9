"""The edge where calls meet the network, with and without ``await``; what to do is decided in ``course``."""

import asyncio
import time
from typing import Any, Self, TypeVar

import httpx

from nsmc_sentiment.calls import Call
from nsmc_sentiment.course import Course, Done
from nsmc_sentiment.endpoint import LIMITS, Endpoint
from nsmc_sentiment.errors import ConnectionFailed, UnexpectedAnswer
from nsmc_sentiment.outcomes import Answered, Broken, Outcome

T = TypeVar("T")
_LEAST_S = 0.001
"""A socket with a timeout of 0 would not wait, but fail at once."""


class Sender:
    """Makes calls and waits for them. Safe for threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._http = httpx.Client(
            base_url=endpoint.base_url, headers=endpoint.headers, limits=LIMITS, verify=endpoint.tls()
        )

    def run(self, call: Call[T]) -> T:
        """What ``call`` is for. Raises SentimentError."""
        course = self._endpoint.course(call)
        while True:
            course.check()
            step = course.after(self._attempt(course))
            if isinstance(step, Done):
                return step.value
            time.sleep(step.wait_s)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def _attempt(self, course: Course[T]) -> Outcome:
        call = course.call
        timeouts = _Timeouts(self._endpoint.connect_timeout_s, course)
        try:
            with self._http.stream(
                call.method, call.path, content=call.content, headers=call.headers, extensions={"timeout": timeouts}
            ) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    course.check()  # an answer that drips in is never late by httpx's measure
        except httpx.RequestError as error:
            return _broken(error, course, self._endpoint)
        return Answered(response.status_code, response.headers, bytes(body))


class AsyncSender:
    """Makes calls on the running asyncio loop. A call that is cancelled takes its connection with it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._http = httpx.AsyncClient(
            base_url=endpoint.base_url, headers=endpoint.headers, limits=LIMITS, verify=endpoint.tls()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, call: Call[T]) -> T:
        """What ``call`` is for. Raises SentimentError."""
        course = self._endpoint.course(call)
        while True:
            course.check()
            step = course.after(await self._attempt(course))
            if isinstance(step, Done):
                return step.value
            await asyncio.sleep(step.wait_s)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def _attempt(self, course: Course[T]) -> Outcome:
        call = course.call
        timeouts = _Timeouts(self._endpoint.connect_timeout_s, course)
        try:
            async with asyncio.timeout(course.left_s):
                response = await self._http.request(
                    call.method, call.path, content=call.content, headers=call.headers, extensions={"timeout": timeouts}
                )
        except TimeoutError:
            return course.late
        except httpx.RequestError as error:
            return _broken(error, course, self._endpoint)
        return Answered(response.status_code, response.headers, response.content)


class _Timeouts(dict[str, float]):
    """The timeouts of httpx, which looks them up as each step of a request begins: what is left of the call then."""

    def __init__(self, connect_timeout_s: float, course: Course[Any]) -> None:
        super().__init__()
        self._connect_timeout_s = connect_timeout_s
        self._course = course

    def get(self, key: str, default: Any = None) -> Any:
        """Seconds for ``key``: connect, read, write or pool."""
        left_s = max(_LEAST_S, self._course.left_s)
        return min(self._connect_timeout_s, left_s) if key == "connect" else left_s


def _broken(error: httpx.RequestError, course: Course[T], endpoint: Endpoint) -> Outcome:
    """What httpx raised. It holds the request, and with it the review: only its words are kept, where they are safe."""
    match error:
        case httpx.ConnectTimeout():
            return Broken(ConnectionFailed, f"no connection within {endpoint.connect_timeout_s} s")
        case httpx.TimeoutException():
            return course.late
        case httpx.ConnectError():
            return Broken(ConnectionFailed, f"no connection: {error}")
        case httpx.TransportError():
            return Broken(ConnectionFailed, f"the connection broke before the answer was complete ({_name(error)})")
        case _:
            return Broken(UnexpectedAnswer, f"the answer cannot be decoded ({_name(error)})")


def _name(error: Exception) -> str:
    return type(error).__name__
