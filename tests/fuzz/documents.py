"""Mutators of a JSON document: as values, and as it is written."""

import json
from random import Random
from typing import Any

from tests.fuzz.choice import Table, spread

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, "", "긍정", [], {}, [[]], [None], {"text": "x"}, 2**63, -(2**63) - 1, 2**64,
    [0] * 50, "true", "null", "\ud800", "\x00",
)  # fmt: skip
NUMBERS = (
    "1e400", "-1e400", "1e-400", "1E+99999999", "0.1e1", "-0", "-0.0", "1e999999999999999999999",
    "18446744073709551616",
    "9" * 4_300, "9" * 4_301, "9" * 60_000, "0." + "3" * 10_000, "1.7976931348623157e308", "NaN", "Infinity",
    "-Infinity",
    "nan", "0x10", "01", "+1", "1_000", ".5", "5.", "1e", "--1",
)  # fmt: skip
NAMES = ("texts", "text", "text ", "Text", "__proto__", "__class__", "", "\x00", "\ud800", "id", "$ref", "텍스트")
SHALLOWEST, DEEPEST = 10, 100_000


def _place(rng: Random, document: Any) -> str | None:
    return rng.choice(list(document)) if isinstance(document, dict) and document else None


def wrong_type(rng: Random, document: Any) -> Any:
    """One value is of another type."""
    name = _place(rng, document)
    return rng.choice(VALUES) if name is None else document | {name: rng.choice(VALUES)}


def missing(rng: Random, document: Any) -> Any:
    """One field is not there."""
    name = _place(rng, document)
    return {key: value for key, value in document.items() if key != name} if name is not None else {}


def unknown(rng: Random, document: Any) -> Any:
    """Fields that nobody knows; the review may be in their names."""
    if not isinstance(document, dict):
        return [document]
    review = next((value for value in document.values() if isinstance(value, str)), "x")
    added = {name: rng.choice(VALUES) for name in rng.choices((*NAMES, review), k=rng.randint(1, 4))}
    return added | document if rng.random() < 0.5 else document | added


def wrapped(rng: Random, document: Any) -> Any:
    """The document within something else."""
    return rng.choice(([document], {"data": document}, [[document], document], json.dumps(document), str(document)))


def repeated(rng: Random, document: Any) -> Any:
    """A list is much longer."""
    name = _place(rng, document)
    if name is None:
        return [document] * 3
    values = document[name] if isinstance(document[name], list) else [document[name]]
    return document | {name: values * spread(rng, 1, 600)}


def deep_value(rng: Random, document: Any) -> Any:
    """A value is a small nest."""
    nest: Any = []
    for _ in range(rng.randint(2, 200)):
        nest = [nest] if rng.random() < 0.5 else {"a": nest}
    name = _place(rng, document)
    return nest if name is None else document | {name: nest}


def deep(rng: Random, written: str) -> str:
    """Levels upon levels, closed or not, instead of the document or within it."""
    levels = spread(rng, SHALLOWEST, DEEPEST)
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ("[{", "}]"), ('{"text":[', "]}")))
    nest = opening * levels + "1" + closing * rng.choice((levels, levels, levels - 1, 0, levels + 1))
    return nest if rng.random() < 0.5 else written.replace("{", '{"text":' + nest + ",", 1)


def duplicates(rng: Random, written: str) -> str:
    """The same key several times, with the same value, another one, or one that is not allowed."""
    name = rng.choice(("text", "texts", "label", "truncate", "who", "id"))
    value = rng.choice(('"x"', "null", "[]", '["x"]', "true", "1", "{}"))
    pair = f'"{name}":{value},' * spread(rng, 1, 500)
    return written.replace("{", "{" + pair, 1) if rng.random() < 0.5 else written[:-1] + "," + pair[:-1] + "}"


def huge_number(rng: Random, written: str) -> str:
    """Numbers that are no floats, no integers, or no JSON."""
    name = rng.choice(("text", "texts", "truncate", "return_probabilities", "index", "id", "value", "other"))
    return written.replace("{", f'{{"{name}":{rng.choice(NUMBERS)},', 1)


def only_number(rng: Random, written: str) -> str:
    """A number is all there is."""
    return rng.choice(NUMBERS)


def garbled_escape(rng: Random, written: str) -> str:
    """Escapes that are cut, unknown, or halves of a pair."""
    escape = rng.choice(
        ("\\u", "\\ud800", "\\udc00\\ud800", "\\uZZZZ", "\\x41", "\\", "\\u0000", "\\'", "\\ud83d\\u0041")
    )
    at = written.find('"', rng.randint(0, len(written))) + 1
    return written[:at] + escape + written[at:]


def structure(rng: Random, written: str) -> str:
    """A sign of JSON too many, too few or in the wrong place."""
    at = rng.randint(0, len(written))
    return written[:at] + rng.choice('{}[]":,\\ \n\x00/') + written[at + rng.randint(0, 1) :]


def trailing(rng: Random, written: str) -> str:
    """More after the document."""
    return written + rng.choice((written, "x", "\x00", ",", "\n" * 1_000, "//", "]", " " * spread(rng, 1, 200_000)))


def comments(rng: Random, written: str) -> str:
    """What is no JSON to anyone but a few."""
    return written.replace("{", rng.choice(("{/* */", "{//\n", "{#\n", "{,", "{'a':1,", "{a:1,")), 1)


VALUE_TABLE = Table[Any](
    {wrong_type: 4, missing: 2, unknown: 3, wrapped: 2, repeated: 2, deep_value: 1}
)  # fmt: skip
WRITTEN_TABLE = Table[str](
    {
        deep: 3, duplicates: 3, huge_number: 3, only_number: 1, garbled_escape: 3, structure: 3, trailing: 2,
        comments: 1,
    }
)  # fmt: skip
