"""Mutators of a body's bytes."""

from random import Random

from tests.fuzz.choice import Table

BAD_UTF8 = (
    b"\xff", b"\xfe\xff", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80",
    b"\xf8\x88",
    b"\x80", b"\xbf\xbf", b"\xea\xb0", b"\xec", b"\xf0\x9f\x98",
)  # fmt: skip
RAW_SURROGATES = (b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xed\xaf\xbf\xed\xbf\xbf")


def _put(rng: Random, body: bytes, what: bytes) -> bytes:
    at = rng.randint(0, len(body))
    return body[:at] + what + body[at:]


def flips(rng: Random, body: bytes) -> bytes:
    """Some bits are other ones."""
    changed = bytearray(body or b"{}")
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def random_bytes(rng: Random, body: bytes) -> bytes:
    """Some bytes are any others."""
    changed = bytearray(body or b"{}")
    for _ in range(rng.choice((1, 2, 8, 32))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def truncated(rng: Random, body: bytes) -> bytes:
    """It breaks off."""
    return body[: rng.randint(0, len(body))]


def headless(rng: Random, body: bytes) -> bytes:
    """The beginning is not there."""
    return body[rng.randint(0, min(len(body), 40)) :]


def bad_utf8(rng: Random, body: bytes) -> bytes:
    """Bytes that UTF-8 never has."""
    return _put(rng, body, rng.choice(BAD_UTF8))


def raw_surrogates(rng: Random, body: bytes) -> bytes:
    """Halves of pairs as CESU-8 writes them."""
    return _put(rng, body, rng.choice(RAW_SURROGATES))


def raw_nulls(rng: Random, body: bytes) -> bytes:
    """NUL bytes, a few or many."""
    return _put(rng, body, b"\x00" * rng.choice((1, 1, 2, 100, 10_000)))


def other_encoding(rng: Random, body: bytes) -> bytes:
    """The same letters in another encoding, with a mark or without."""
    letters = body.decode("utf-8", "replace")
    encoding = rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp949", "utf-7", "iso2022_kr"))
    return letters.encode(encoding, "replace")


def line_ends(rng: Random, body: bytes) -> bytes:
    """Lines in unexpected places."""
    return _put(rng, body, rng.choice((b"\r\n", b"\r", b"\n\n\n", b"\x0b", b"\xe2\x80\xa8", b"\n" * 5_000)))


def nothing(rng: Random, body: bytes) -> bytes:
    """No body."""
    return rng.choice((b"", b" ", b"\n", b"\x00", b"null", b"{}", b"[]", b'""'))


def noise(rng: Random, body: bytes) -> bytes:
    """Nothing but noise."""
    return rng.randbytes(rng.randint(1, 2_000))


TABLE = Table[bytes](
    {
        flips: 4, random_bytes: 3, truncated: 3, headless: 1, bad_utf8: 4, raw_surrogates: 3, raw_nulls: 3,
        other_encoding: 2,
        line_ends: 1, nothing: 1, noise: 1,
    }
)  # fmt: skip
