"""Bounds on what a body holds, without the routes."""

import json
import time
from contextlib import suppress

import pytest

from serving.body import MOST_DEPTH, check_depth
from serving.errors import RequestInvalid


def nested(depth: int, leaf: str = "1") -> str:
    return '{"a":' * (depth // 2) + "[" * (depth - depth // 2) + leaf + "]" * (depth - depth // 2) + "}" * (depth // 2)


@pytest.mark.parametrize(
    "text",
    [
        nested(MOST_DEPTH),
        json.dumps({"texts": ["[[[[[{{{{{" * 20, '\\"[[[[[[[[[[[[[[[[[[[', "\\\\"]}),
        json.dumps([{"text": "가"}] * 1_000),
        '{"text": "not closed [[[[[[[[[[[[[[[[[[[[[[',
        "",
    ],
)
def test_json_is_as_deep_as_it_may_be(text: str) -> None:
    check_depth(text)


@pytest.mark.parametrize("text", [nested(MOST_DEPTH + 1), nested(500_000), '{"text": "a", "b": ' + nested(MOST_DEPTH)])
def test_json_that_is_deeper_is_refused(text: str) -> None:
    with pytest.raises(RequestInvalid, match="the body is nested over 16 deep"):
        check_depth(text)


@pytest.mark.parametrize("piece", ['"', "\\", '\\"', "[", '["', '"[', "[]", '"\\"['])
def test_looking_takes_as_long_as_the_body(piece: str) -> None:
    began = time.perf_counter()
    with suppress(RequestInvalid):
        check_depth("[" * MOST_DEPTH + piece * (1 << 19))
    assert time.perf_counter() - began < 2.0
