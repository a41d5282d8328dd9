"""What can happen to a Redis: each fault breaks it on entering and mends it on leaving."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from pipelines.demo import free_port
from tests.proxy import Proxy
from tests.redis_server import RedisServer

SLOW_S = 0.5
EVERY_S = 1.0
"""What is done again and again while a fault lasts is done so often."""
NOT_REDIS = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
WRONG = (b"+OK\r\n", b":1\r\n", b"$xx\r\n", b"*-1\r\n", b"$5\r\nhello\r\n", b"*1\r\n+?\r\n")
"""What Redis may say, but not to what it was asked: another type, another length, and a length that is no number."""


@dataclass(frozen=True, slots=True)
class Place:
    """A Redis that can be broken, and the proxy through which it is reached."""

    server: RedisServer
    proxy: Proxy


Fault = Callable[[Place], AbstractContextManager[None]]


@contextmanager
def killed(place: Place) -> Iterator[None]:
    """SIGKILL; it comes back with nothing in it."""
    place.server.stop()
    try:
        yield
    finally:
        place.server.start()


@contextmanager
def down(place: Place) -> Iterator[None]:
    """The way to it is cut; it comes back with all that was in it."""
    place.proxy.down = True
    try:
        yield
    finally:
        place.proxy.down = False


@contextmanager
def hung(place: Place) -> Iterator[None]:
    """It takes connections and commands, and answers none."""
    place.proxy.hung = True
    try:
        yield
    finally:
        place.proxy.hung = False


@contextmanager
def slow(place: Place) -> Iterator[None]:
    """Each answer takes half a second."""
    place.proxy.delay_s = SLOW_S
    try:
        yield
    finally:
        place.proxy.delay_s = 0.0


@contextmanager
def read_only(place: Place) -> Iterator[None]:
    """It has become a replica of a server that is not there."""
    with place.server.client() as redis:
        redis.replicaof("127.0.0.1", free_port())
        try:
            yield
        finally:
            redis.replicaof("NO", "ONE")


@contextmanager
def full(place: Place) -> Iterator[None]:
    """No memory is left, and nothing is evicted."""
    with place.server.client() as redis:
        redis.config_set("maxmemory-policy", "noeviction")
        redis.config_set("maxmemory", 1)
        try:
            yield
        finally:
            redis.config_set("maxmemory", 0)


@contextmanager
def flushed(place: Place) -> Iterator[None]:
    """Somebody deletes everything, again and again."""

    def flush() -> None:
        with place.server.client() as redis:
            redis.flushall()

    with _again_and_again(flush):
        yield


@contextmanager
def garbage(place: Place) -> Iterator[None]:
    """Something answers that is no Redis."""
    place.proxy.garbage = NOT_REDIS
    try:
        yield
    finally:
        place.proxy.garbage = b""


@contextmanager
def wrong_answers(place: Place) -> Iterator[None]:
    """What answers speaks like Redis, and says something else than it was asked."""

    said = itertools.cycle(WRONG)

    def say() -> None:
        place.proxy.garbage = next(said)

    try:
        with _again_and_again(say):
            yield
    finally:
        place.proxy.garbage = b""


FAULTS: dict[str, Fault] = {
    "killed": killed,
    "down": down,
    "hung": hung,
    "slow": slow,
    "read-only": read_only,
    "full": full,
    "flushed": flushed,
    "garbage": garbage,
    "wrong answers": wrong_answers,
}


@contextmanager
def _again_and_again(act: Callable[[], object]) -> Iterator[None]:
    enough = threading.Event()

    def run() -> None:
        while not enough.wait(EVERY_S):
            act()

    act()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
