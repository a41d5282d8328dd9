"""Requests made from valid ones by mutators that are chosen by chance; the same seed and number make the same bytes."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.fuzz import documents, framing, gzips, heads, octets, texts, worst
from tests.fuzz.canary import Canary
from tests.fuzz.cases import ROUTES, Case, head_of

REVIEWS = (
    "정말 최고의 영화였어요!",
    "시간 낭비였습니다.",
    "꿀잼 ㅋㅋㅋ 강추",
    "그냥 그래요",
    "지루하다 ㅠㅠ",
    "not bad",
)
_WEIGHTS = {"analyze": 8, "batch": 5, "explain": 2, "stream": 5, "feedback": 3, "predict": 4}
_NAMES, _CHANCES = tuple(ROUTES), [_WEIGHTS.get(name, 0.4) for name in ROUTES]
RAW_SHARE, PATIENT_SHARE = 0.12, 0.002
"""Of requests that break HTTP; and of those that never end, how many wait for what the service says then."""
_KINDS = ("text", "value", "written", "octets", "gzip", "head")
_KIND_CHANCES = (5, 4, 4, 4, 2, 3)


def case(seed: int, index: int, canary: Canary) -> Case:
    """Request ``index`` of a run; the first ones are those of ``worst``."""
    if index < worst.COUNT:
        return worst.case(index, canary.of(index))
    rng = Random(seed << 40 | index)
    (route,) = rng.choices(_NAMES, _CHANCES)
    mark = canary.of(index)
    kinds = rng.choices(_KINDS, _KIND_CHANCES, k=rng.choice((0, 1, 1, 1, 2, 2, 3)))
    names: list[str] = []

    def mutated(kind: str, change: Callable[[Random, Any], tuple[str, Any]], thing: Any) -> Any:
        for _ in range(kinds.count(kind)):
            name, thing = change(rng, thing)
            names.append(name)
        return thing

    review = mutated("text", texts.TABLE.change, f"{rng.choice(REVIEWS)} {mark}")
    values = _SEEDS.get(route, _command)(rng, review, mark)
    at = rng.randrange(len(values))
    values[at] = mutated("value", documents.VALUE_TABLE.change, values[at])
    lines = [json.dumps(value, ensure_ascii=rng.random() < 0.5) for value in values]
    lines[at] = mutated("written", documents.WRITTEN_TABLE.change, lines[at])
    body = mutated("octets", octets.TABLE.change, "\n".join(lines).encode("utf-8", "surrogatepass"))
    head = head_of(route, mark)
    if "gzip" in kinds:
        name, body = gzips.TABLE.change(rng, body)
        names.append(f"gzip {name}")
        head = head.having(b"Content-Encoding", b"gzip")
    head = mutated("head", heads.TABLE.change, head)
    if rng.random() >= RAW_SHARE:
        return Case(index, route, tuple(names), framing.sized(head, body))
    frame = rng.choice(framing.FRAMINGS)
    raw = frame(rng, head, body)
    patient = not raw.complete and rng.random() < PATIENT_SHARE
    patient = patient and frame in (framing.longer_length, framing.no_last_chunk)
    names.append(frame.__name__)
    return Case(index, route, tuple(names), raw.data, True, raw.complete, patient, raw.ambiguous)


def _analyze(rng: Random, review: str, mark: str) -> list[Any]:
    options = rng.choice(({}, {"truncate": True}, {"return_probabilities": True}, {"truncate": True}))
    return [{"text": review, **options}]


def _batch(rng: Random, review: str, mark: str) -> list[Any]:
    return [{"texts": _several(rng, review, mark), **rng.choice(({}, {"truncate": True}))}]


def _explain(rng: Random, review: str, mark: str) -> list[Any]:
    return [{"text": review}]


def _stream(rng: Random, review: str, mark: str) -> list[Any]:
    ids: Sequence[Any] = ("r-1", 7, None, mark, -1)
    return [{"text": text, "id": rng.choice(ids)} for text in _several(rng, review, mark)]


def _feedback(rng: Random, review: str, mark: str) -> list[Any]:
    named = rng.choice(
        (
            {"text": review},
            {"text": review, "keep_text": True},
            {"text_digest": "0" * 64},
            {"request_id": "a", "index": 3},
        )
    )
    return [{"label": rng.choice(("긍정", "부정")), **named}]


def _predict(rng: Random, review: str, mark: str) -> list[Any]:
    return [{"texts": _several(rng, review, mark)}]


def _command(rng: Random, review: str, mark: str) -> list[Any]:
    return [{"value": rng.choice(("10", "tiny:1", review)), "who": mark, "why": review}]


def _several(rng: Random, review: str, mark: str) -> list[str]:
    several = [f"{rng.choice(REVIEWS)} {mark}" for _ in range(rng.randint(0, 4))]
    several.insert(rng.randint(0, len(several)), review)
    return several


_SEEDS: dict[str, Callable[[Random, str, str], list[Any]]] = {
    "analyze": _analyze, "batch": _batch, "explain": _explain, "stream": _stream, "feedback": _feedback,
    "predict": _predict,
}  # fmt: skip
