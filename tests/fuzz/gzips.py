"""Bodies that are packed: rightly, wrongly, and so that they burst."""

import gzip
import struct
import zlib
from functools import cache
from random import Random

from tests.fuzz.choice import Table

MIB = 1 << 20
FILLINGS = (b"\x00", b" ", b"\n", b"[", "ㅋ".encode())
SIZES_MIB = (1, 2, 16, 64)
LARGEST_MIB = 1_024


@cache
def bomb(filling: bytes, mib: int) -> bytes:
    """``mib`` MiB of one letter as gzip. A block of 1 MiB is packed once; what follows it repeats its bytes."""
    block = (filling * (MIB // len(filling) + 1))[:MIB]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(block, checksum)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return head + packed * mib + end + struct.pack("<II", checksum, mib * MIB & 0xFFFFFFFF)


@cache
def nested(mib: int, layers: int) -> bytes:
    """A bomb that is packed again."""
    packed = bomb(b"\x00", mib)
    for _ in range(layers - 1):
        packed = gzip.compress(packed, 9, mtime=0)
    return packed


def valid(rng: Random, body: bytes) -> bytes:
    """Packed as it should be."""
    return gzip.compress(body, 1, mtime=0)


def broken_off(rng: Random, body: bytes) -> bytes:
    """The end is not there."""
    packed = valid(rng, body)
    return packed[: rng.randint(0, len(packed) - 1)]


def corrupt(rng: Random, body: bytes) -> bytes:
    """Some bits are other ones: in the head, the letters or the checksum."""
    packed = bytearray(valid(rng, body))
    for _ in range(rng.choice((1, 2, 8))):
        packed[rng.randrange(len(packed))] ^= 1 << rng.randrange(8)
    return bytes(packed)


def two_members(rng: Random, body: bytes) -> bytes:
    """Two packed bodies one after the other, or waste after the first."""
    return valid(rng, body) + rng.choice((valid(rng, body), b"\x00" * 100, rng.randbytes(200)))


def twice(rng: Random, body: bytes) -> bytes:
    """Packed, and packed again."""
    return valid(rng, valid(rng, body))


def not_packed(rng: Random, body: bytes) -> bytes:
    """Plain, though the header says otherwise."""
    return body


def deflated(rng: Random, body: bytes) -> bytes:
    """Packed as zlib does, with another head."""
    return zlib.compress(body, 1)


def bomb_of_any_size(rng: Random, body: bytes) -> bytes:
    """A small body that is large once it is unpacked; rarely 1 GB."""
    if rng.random() < 0.05:
        return bomb(rng.choice(FILLINGS), LARGEST_MIB)
    return bomb(rng.choice(FILLINGS), rng.choice(SIZES_MIB))


def nested_bomb(rng: Random, body: bytes) -> bytes:
    """A bomb in a bomb."""
    return nested(rng.choice((64, LARGEST_MIB)), rng.choice((2, 3)))


TABLE = Table[bytes](
    {
        valid: 6, broken_off: 4, corrupt: 4, two_members: 2, twice: 1, not_packed: 2, deflated: 1, bomb_of_any_size: 2,
        nested_bomb: 1,
    }
)  # fmt: skip
