from collections import Counter

import pytest

from tests.fuzz import worst
from tests.fuzz.bodies import case
from tests.fuzz.canary import Canary
from tests.fuzz.cases import ROUTES
from tests.fuzz.wire import Reader

FIRST, LAST = worst.COUNT, worst.COUNT + 3_000
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
SIZED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 X\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def test_the_same_seed_makes_the_same_requests_and_another_one_others() -> None:
    first, again, other = ([case(seed, n, Canary(seed)) for n in range(FIRST, FIRST + 200)] for seed in (1, 1, 2))
    assert first == again
    assert all(one.data != another.data for one, another in zip(first, other, strict=True))


def test_requests_go_everywhere_and_most_carry_the_marker() -> None:
    canary = Canary(0)
    cases = [case(0, index, canary) for index in range(FIRST, LAST)]
    assert {each.route for each in cases} == set(ROUTES)
    assert sum(canary.digits.encode() in each.data for each in cases) > len(cases) / 2
    assert sum(each.fresh for each in cases) < len(cases) / 4
    assert len(Counter(name for each in cases for name in each.mutators)) > 80


def test_the_marker_is_found_in_every_form_and_wherever_a_stream_is_cut() -> None:
    canary = Canary(0)
    text = canary.of(7)
    for form in (
        text.encode(),
        text[:4].encode("ascii", "backslashreplace"),
        text.upper().encode(),
        b"%EC%B9%B4%EB%82%98%EB%A6%AC%EC%95%84",
    ):
        stream = b"before " * 50 + form + b" after" * 50
        for size in (1, 64, 10_000):
            pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
            assert list(canary.found(pieces))
    assert not list(canary.found([b"before", b"after"]))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_answers_are_read_however_they_are_cut(size: int) -> None:
    reader, stream = Reader(), CHUNKED + SIZED + CHUNKED
    for at in range(0, len(stream), size):
        reader.feed(stream[at : at + size])
    found = [(answer.status, answer.closing, answer.beginning) for answer in reader.answers]
    chunked = (200, False, b"abc0123456789")
    assert found == [chunked, (413, True, b"hello"), chunked]
    assert not reader.midway


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    reader = Reader()
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert reader.midway
    reader.ended()
    assert [answer.beginning for answer in reader.answers] == [b"hello"]
