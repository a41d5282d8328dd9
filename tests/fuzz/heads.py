"""Mutators of what stands before a body, as far as it is still HTTP: target, method and headers."""

from dataclasses import dataclass, replace
from random import Random

from tests.fuzz.choice import Table, spread

Header = tuple[bytes, bytes]
TYPES = (
    b"", b"text/plain", b"application/xml", b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded",
    b"application/json; charset=euc-kr", b"application/json; charset=utf-16", b'application/json;charset="UTF-8"',
    b"application/json; charset=", b"application/json;;;;", b"APPLICATION/JSON", b"application/json, text/plain",
    b"*/*",
    b"application/json; charset=\xff\xfe", b"application/x-ndjson", b"application/json",
    b"application/vnd.bentoml+pickle",
    b"application/octet-stream", b"image/png", b"/", b";", b"application/json; charset=utf-8; charset=cp949",
)  # fmt: skip
METHODS = (b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"GET", b"TRACE")
CODINGS = (b"br", b"zstd", b"deflate", b"identity", b"gzip, gzip", b"GZIP", b"x-gzip", b"", b"gzip;q=1", b"\xff")
CONTROLS = (b"no-store", b"no-cache", b"max-age=-1", b"=,=,,", b"\xff\xfe", b"no-store" * 500)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the body; ``canary`` is the text of it, for places where a text may be by mistake."""

    method: bytes
    target: bytes
    headers: tuple[Header, ...]
    canary: bytes

    def having(self, name: bytes, *values: bytes) -> "Head":
        """The same with ``name`` as often as there are values."""
        others = tuple(header for header in self.headers if header[0].lower() != name.lower())
        return replace(self, headers=(*others, *((name, value) for value in values)))


def content_type(rng: Random, head: Head) -> Head:
    """Another media type or charset."""
    return head.having(b"Content-Type", rng.choice(TYPES))


def no_content_type(rng: Random, head: Head) -> Head:
    """None at all."""
    return head.having(b"Content-Type")


def two_content_types(rng: Random, head: Head) -> Head:
    """Several, that say different things."""
    return head.having(b"Content-Type", *rng.choices(TYPES, k=rng.randint(2, 4)))


def content_encoding(rng: Random, head: Head) -> Head:
    """A coding that is not that of the body."""
    return head.having(b"Content-Encoding", rng.choice(CODINGS))


def method(rng: Random, head: Head) -> Head:
    """Another method."""
    return replace(head, method=rng.choice(METHODS))


def query(rng: Random, head: Head) -> Head:
    """Parameters that nobody asked for, or with wrong values."""
    parameters = (
        b"truncate=maybe", b"return_probabilities=%00", b"truncate=1&truncate=0", b"text=" + head.canary, b"%ff%fe=%c0",
        b"&&&&", b"=", b"a=" * 2_000, b"truncate=true#", b"?" * 50,
    )  # fmt: skip
    return replace(head, target=head.target + b"?" + rng.choice(parameters))


def path(rng: Random, head: Head) -> Head:
    """Paths that look like the right one."""
    changed = (
        head.target + b"/", b"/" + head.target, head.target.upper(), head.target + b"%00", head.target + b"/../analyze",
        head.target + b"/" + head.canary, head.target.replace(b"a", b"%61"), head.target + b"%ff",
        b"/%2e%2e/etc/passwd",
        head.target + b";a=b", b"/" + b"a" * spread(rng, 10, 20_000), b"/infer", b"/static/../metrics",
    )  # fmt: skip
    return replace(head, target=rng.choice(changed))


def long_value(rng: Random, head: Head) -> Head:
    """A value that is very long."""
    name = rng.choice((b"X-Client-ID", b"Authorization", b"Cookie", b"Accept-Encoding", b"Traceparent", b"X-Other"))
    return head.having(name, head.canary + b"x" * spread(rng, 100, 60_000))


def many_headers(rng: Random, head: Head) -> Head:
    """Hundreds of them."""
    added = tuple((f"X-{number}".encode(), head.canary) for number in range(spread(rng, 10, 600)))
    return replace(head, headers=head.headers + added)


def not_ascii(rng: Random, head: Head) -> Head:
    """Values that are no ASCII, and no UTF-8."""
    name = rng.choice(
        (b"X-Client-ID", b"X-Request-ID", b"Cache-Control", b"Authorization", b"Accept-Encoding", b"Origin")
    )
    return head.having(name, rng.choice((b"\xff\xfe\x80", "한글".encode(), b"\xed\xa0\x80", b"caf\xe9")))


def credentials(rng: Random, head: Head) -> Head:
    """Keys that are none."""
    values = (
        b"Bearer", b"Bearer ", b"Bearer " + head.canary, b"Basic Og==", b"bearer \xff", b"Bearer " + b"a" * 9_000,
        b"Bearer nsmc_0_0", b"Negotiate",
    )  # fmt: skip
    return head.having(b"Authorization", rng.choice(values))


def reuse(rng: Random, head: Head) -> Head:
    """What caches are told."""
    return head.having(b"Cache-Control", *rng.choices(CONTROLS, k=rng.randint(1, 3)))


def identity(rng: Random, head: Head) -> Head:
    """Ids of the request and of the caller, and traces, as they should not be."""
    name = rng.choice(
        (b"X-Request-ID", b"X-Client-ID", b"Traceparent", b"Tracestate", b"X-Forwarded-For", b"Forwarded")
    )
    values = (
        b"",
        b"\t",
        b"a" * 129,
        b"../../x",
        b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
        b"a b\x0bc",
        b"%0d%0a",
        b"{}",
    )
    return head.having(name, rng.choice(values))


def expect(rng: Random, head: Head) -> Head:
    """Asks before it sends, or claims to want another protocol."""
    added = rng.choice(
        (
            (b"Expect", b"100-continue"), (b"Expect", b"200-maybe"), (b"Upgrade", b"h2c"), (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade, HTTP2-Settings"), (b"Connection", b"close"), (b"TE", b"trailers"),
            (b"Range", b"bytes=0-0"), (b"If-Match", b"*"), (b"X-HTTP-Method-Override", b"DELETE"),
        )
    )  # fmt: skip
    return head.having(*added)


def accept(rng: Random, head: Head) -> Head:
    """Takes what it cannot get."""
    return head.having(
        rng.choice((b"Accept", b"Accept-Encoding", b"Accept-Language")), rng.choice((*CODINGS, b"image/*", b"*"))
    )


TABLE = Table[Head](
    {
        content_type: 5, no_content_type: 1, two_content_types: 1, content_encoding: 2, method: 2, query: 2, path: 2,
        long_value: 2, many_headers: 1, not_ascii: 2, credentials: 2, reuse: 1, identity: 2, expect: 2, accept: 1,
    }
)  # fmt: skip
