"""Requests that break HTTP itself, or say two things about where they end. Each goes over a connection of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.fuzz.heads import Head

SMUGGLED = b"GET /schema.json HTTP/1.1\r\nHost: smuggled\r\n\r\n"
"""What must not be answered where it is hidden in a body."""
BAD_SIZES = (
    b"-1", b"+5", b"0x5", b" 5", b"5 ", b"5;", b"5;a=" + b"b" * 20_000, b"g", b"", b"FFFFFFFFFFFFFFFF",
    b"FFFFFFFFFFFFFFFFF",
    b"5\x00", b"5\t", b"00000000000000000000005", b"1e1", b"\xff",
)  # fmt: skip
BAD_LENGTHS = (
    b"-1", b"+5", b"abc", b"1e3", b"5, 5", b"5,6", b"0x10", b" ", b"", b"18446744073709551616", b"9" * 5_000, b"1.0",
    b"\xb2", b"5 5", b"5\x00",
)  # fmt: skip
CODINGS = (
    b"chunked", b"Chunked", b" chunked", b"chunked ", b"\tchunked", b"\x0bchunked", b"xchunked", b"chunked, identity",
    b"identity, chunked", b"gzip, chunked", b"chunked, chunked", b'"chunked"', b"chunked\x00", b"",
)  # fmt: skip
_LONG_LINE = b"X-Large: " + b"x" * 300_000
_MANY_LINES = b"\r\n".join(b"X-%d: y" % number for number in range(20_000))


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes for a connection of their own."""

    data: bytes
    complete: bool = True
    """Whether the service has all of it, and so owes an answer or an end of the connection."""
    ambiguous: bool = False
    """Whether it hides another request, which must not be answered."""


def head_lines(head: Head, *more: bytes) -> bytes:
    """Method, target and headers, with ``more`` lines, and no length."""
    lines = [head.method + b" " + head.target + b" HTTP/1.1", b"Host: fuzz"]
    lines += [name + b": " + value for name, value in head.headers]
    return b"\r\n".join([*lines, *more, b"", b""])


def sized(head: Head, body: bytes) -> bytes:
    """The whole request as it should be."""
    return head_lines(head, b"Content-Length: %d" % len(body)) + body


def chunks(rng: Random, body: bytes) -> bytes:
    """The body in pieces of any size."""
    out: list[bytes] = []
    at = 0
    while at < len(body):
        piece = body[at : at + rng.choice((1, 7, 100, 5_000, 70_000))] if len(out) < 50 else body[at:]
        out.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at += len(piece)
    return b"".join(out) + b"0\r\n\r\n"


def chunked(rng: Random, head: Head, body: bytes) -> Raw:
    """In pieces, and right."""
    return Raw(head_lines(head, b"Transfer-Encoding: chunked") + chunks(rng, body))


def length_and_chunks(rng: Random, head: Head, body: bytes) -> Raw:
    """A length and chunks, in either order; another request hides after the last chunk."""
    hidden = b"0\r\n\r\n" + SMUGGLED
    lengths = (b"Content-Length: %d" % len(hidden), b"Content-Length: %d" % rng.randint(0, 5), b"Content-Length: 0")
    lines = [rng.choice(lengths), b"Transfer-Encoding: " + rng.choice(CODINGS[:5])]
    rng.shuffle(lines)
    return Raw(head_lines(head, *lines) + hidden, ambiguous=True)


def odd_coding(rng: Random, head: Head, body: bytes) -> Raw:
    """A transfer coding that some would take for chunks, beside a length."""
    lines = [b"Transfer-Encoding: " + rng.choice(CODINGS[5:]), b"Content-Length: %d" % len(body)]
    return Raw(head_lines(head, *lines) + body)


def two_codings(rng: Random, head: Head, body: bytes) -> Raw:
    """Two transfer codings."""
    lines = [b"Transfer-Encoding: " + coding for coding in rng.choices(CODINGS, k=2)]
    return Raw(head_lines(head, *lines) + chunks(rng, body) + SMUGGLED, complete=False)


def odd_coding_name(rng: Random, head: Head, body: bytes) -> Raw:
    """The header's name is written so that some would not know it."""
    line = rng.choice((b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked",
                       b"Transfer-Encoding\x00: chunked",
                       b"Transfer_Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
                       b"Transfer-\r\n Encoding: chunked"))  # fmt: skip
    hidden = b"0\r\n\r\n" + SMUGGLED
    return Raw(head_lines(head, b"Content-Length: %d" % len(hidden), line) + hidden, ambiguous=True)


def bad_chunks(rng: Random, head: Head, body: bytes) -> Raw:
    """A size that is none."""
    data = (
        head_lines(head, b"Transfer-Encoding: chunked") + rng.choice(BAD_SIZES) + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED
    )
    return Raw(data, complete=False)


def wrong_chunk(rng: Random, head: Head, body: bytes) -> Raw:
    """A piece that is longer or shorter than its size, or ends in another way."""
    piece = rng.choice((b"3\r\nhello\r\n0\r\n\r\n", b"ff\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n",
                        b"5\r\nhelloXX0\r\n\r\n",
                        b"5\rhello\r0\r\r"))  # fmt: skip
    return Raw(head_lines(head, b"Transfer-Encoding: chunked") + piece, complete=False)


def no_last_chunk(rng: Random, head: Head, body: bytes) -> Raw:
    """The end never comes."""
    return Raw(head_lines(head, b"Transfer-Encoding: chunked") + chunks(rng, body)[:-5], complete=False)


def trailers(rng: Random, head: Head, body: bytes) -> Raw:
    """Headers after the body."""
    lines = (b"X-Trailer: " + head.canary, b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: other", b": x")
    end = b"\r\n".join(rng.choices(lines, k=rng.randint(1, 40)))
    return Raw(head_lines(head, b"Transfer-Encoding: chunked") + chunks(rng, body)[:-2] + end + b"\r\n\r\n")


def bad_length(rng: Random, head: Head, body: bytes) -> Raw:
    """A length that is none."""
    return Raw(head_lines(head, b"Content-Length: " + rng.choice(BAD_LENGTHS)) + body, complete=False)


def longer_length(rng: Random, head: Head, body: bytes) -> Raw:
    """More is announced than comes."""
    more = rng.choice((1, 100, 1 << 20, 1 << 31, 1 << 62))
    return Raw(head_lines(head, b"Content-Length: %d" % (len(body) + more)) + body, complete=False)


def shorter_length(rng: Random, head: Head, body: bytes) -> Raw:
    """Less is announced than comes; the rest looks like another request."""
    return Raw(head_lines(head, b"Content-Length: %d" % rng.randint(0, max(0, len(body) - 1))) + body)


def two_lengths(rng: Random, head: Head, body: bytes) -> Raw:
    """Two lengths, and a request that hides behind the shorter one."""
    lengths = [b"Content-Length: %d" % (len(body) + len(SMUGGLED)), b"Content-Length: %d" % len(body)]
    rng.shuffle(lengths)
    return Raw(head_lines(head, *lengths) + body + SMUGGLED, ambiguous=True)


def no_length(rng: Random, head: Head, body: bytes) -> Raw:
    """A body that nothing announces."""
    return Raw(head_lines(head) + body)


def folded(rng: Random, head: Head, body: bytes) -> Raw:
    """A header that goes on in the next line."""
    line = b"X-Folded: a\r\n" + rng.choice((b" ", b"\t", b" \t ")) + head.canary
    return Raw(head_lines(head, line, b"Content-Length: %d" % len(body)) + body)


def bare_ends(rng: Random, head: Head, body: bytes) -> Raw:
    """Lines that end with one of two characters."""
    lines = head_lines(head, b"Content-Length: %d" % len(body)).replace(b"\r\n", rng.choice((b"\n", b"\r", b"\n\r")))
    return Raw(lines + body, complete=False)


def odd_header(rng: Random, head: Head, body: bytes) -> Raw:
    """Names and values with characters that they must not have."""
    line = rng.choice((b"X-Null: a\x00b", b"X\x00: a", b": nameless", b"no colon", "이름: x".encode(), b"X-\xff: y",
                       b"X-Bell: \x07",
                       b"X Y: z", b"X-Return: a\rb", b"Host: two", b"X-Canary: \x7f" + head.canary))  # fmt: skip
    return Raw(head_lines(head, line, b"Content-Length: %d" % len(body)) + body)


def large_head(rng: Random, head: Head, body: bytes) -> Raw:
    """Headers of many kilobytes, in one value or in many lines."""
    line = rng.choice((_LONG_LINE, _MANY_LINES))
    return Raw(head_lines(head, line, b"Content-Length: %d" % len(body)) + body)


def odd_version(rng: Random, head: Head, body: bytes) -> Raw:
    """Versions of HTTP that there are not, or that are not spoken here."""
    version = rng.choice(
        (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1 ", b"http/1.1", b"HTP/1.1", b"HTTP/1.12", b"")
    )
    return Raw(sized(head, body).replace(b"HTTP/1.1", version, 1))


def odd_request_line(rng: Random, head: Head, body: bytes) -> Raw:
    """Targets and methods with characters that they must not have."""
    line = rng.choice((b"POST " + head.target + b"\xff", b"POST /" + "한글".encode(), b"POST  " + head.target,
                       b"POST\t" + head.target,
                       b"POST http://[::1" + head.target, b"POST *", b"BREW " + head.target, b"\x00POST " + head.target,
                       b"POST " + head.target + b"\x00", b"POST //\\" + head.canary, b"POST http://a b/"))  # fmt: skip
    return Raw(sized(head, body).replace(head.method + b" " + head.target, line, 1))


def other_protocol(rng: Random, head: Head, body: bytes) -> Raw:
    """Not HTTP/1 at all."""
    data = rng.choice((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + body,
                       body,
                       b"GET " + head.canary + b"\r\n", b"\r\n" * 2_000, rng.randbytes(500)))  # fmt: skip
    return Raw(data, complete=False)


def cut_head(rng: Random, head: Head, body: bytes) -> Raw:
    """It breaks off before the body."""
    data = sized(head, b"")
    return Raw(data[: rng.randint(0, len(data) - 1)], complete=False)


def pipelined(rng: Random, head: Head, body: bytes) -> Raw:
    """Several requests at once, without waiting for answers."""
    return Raw(sized(head, body) * rng.randint(2, 4))


Framing = Callable[[Random, Head, bytes], Raw]
FRAMINGS: tuple[Framing, ...] = (
    chunked, chunked, length_and_chunks, odd_coding, two_codings, odd_coding_name, bad_chunks, wrong_chunk,
    no_last_chunk,
    trailers, bad_length, longer_length, shorter_length, two_lengths, no_length, folded, bare_ends, odd_header,
    large_head,
    odd_version, odd_request_line, other_protocol, cut_head, pipelined,
)  # fmt: skip
