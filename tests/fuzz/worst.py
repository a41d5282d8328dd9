"""Requests that every run begins with: the largest and deepest, those that never end, and what failed once."""

import json
from collections.abc import Callable

from tests.fuzz import gzips
from tests.fuzz.cases import Case, head_of
from tests.fuzz.framing import sized
from tests.fuzz.texts import RUN_GIANT

DEPTH = 100_000
_TAKES_TEXT = ("analyze", "batch", "explain", "stream", "feedback", "predict")
_Made = tuple[str, str, Callable[[str, str], tuple[bytes, bool]]]
"""Route, name, and what makes of route and marker the bytes, and says whether they are all that was announced."""


def _giant(route: str, mark: str) -> tuple[bytes, bool]:
    text = mark + "ㅋ" * (RUN_GIANT // 3)
    body: dict[str, object] = {"texts": [text]} if route in ("batch", "predict") else {"text": text}
    if route == "feedback":
        body["label"] = "긍정"
    return sized(head_of(route, mark), json.dumps(body, ensure_ascii=False).encode()), True


def _deep(route: str, mark: str) -> tuple[bytes, bool]:
    nest = "[" * DEPTH + "]" * DEPTH
    return sized(head_of(route, mark), f'{{"text":"{mark}","texts":{nest}}}'.encode()), True


def _bomb(filling: bytes) -> Callable[[str, str], tuple[bytes, bool]]:
    def made(route: str, mark: str) -> tuple[bytes, bool]:
        head = head_of(route, mark).having(b"Content-Encoding", b"gzip")
        return sized(head, gzips.bomb(filling, gzips.LARGEST_MIB)), True

    return made


def _unfinished(route: str, mark: str) -> tuple[bytes, bool]:
    whole = sized(head_of(route, mark), f'{{"text":"{mark}","texts":["{mark}"]}}'.encode())
    return whole[:-5], False


def _half_an_id(route: str, mark: str) -> tuple[bytes, bool]:
    return sized(head_of(route, mark), f'{{"text":"{mark}","id":"\\ud800"}}'.encode()), True


def _form(route: str, mark: str) -> tuple[bytes, bool]:
    head = head_of(route, mark).having(b"Content-Type", b"multipart/form-data; boundary=x")
    return sized(head, f'{{"texts":["{mark}"]}}'.encode()), True


def _long_number(route: str, mark: str) -> tuple[bytes, bool]:
    return sized(head_of(route, mark), f'{{"text":"{mark}","id":{"9" * 4_301}}}'.encode()), True


_ALL: tuple[_Made, ...] = (
    *((route, "10 MB of one letter", _giant) for route in _TAKES_TEXT),
    *((route, "100,000 levels", _deep) for route in _TAKES_TEXT),
    *((route, "1 GB of zeros", _bomb(b"\x00")) for route in _TAKES_TEXT),
    *((route, "more announced than sent", _unfinished) for route in _TAKES_TEXT),
    ("rollout/promote", "more announced than sent", _unfinished),
    ("stream", "1 GB of line ends", _bomb(b"\n")),
    ("stream", "half a pair as id", _half_an_id),
    ("stream", "a number of 4,301 digits", _long_number),
    ("predict", "a form that is none", _form),
)  # fmt: skip
COUNT = len(_ALL)


def case(index: int, mark: str) -> Case:
    """Request ``index``, of those below COUNT."""
    route, name, make = _ALL[index]
    data, complete = make(route, mark)
    return Case(index, route, (name,), data, fresh=True, complete=complete, patient=not complete)
