"""The README in English and in Korean say the same."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.documents import ROOT, blocks, headings, links, numbers, rows

ENGLISH, KOREAN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
CROSS = {"README.md", "README.ko.md"}


def shape(text: str) -> list[int]:
    """The levels of the headings."""
    return [level for level, _ in headings(text)]


def code_blocks(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """All blocks, with their marks."""
    return [(block.language, block.text, block.comments) for block in blocks(text, "")]


def places(text: str) -> list[tuple[bool, str]]:
    """Where links lead, but for those from one README to the other, in any order within a sentence."""
    return sorted((picture, target) for picture, target in links(text) if target not in CROSS)


def table_numbers(text: str) -> list[tuple[int, list[str]]]:
    """By line of a table, how many cells it has, and its numbers."""
    return [(row.count("|"), numbers(row)) for row in rows(text)]


def section_numbers(text: str) -> list[list[str]]:
    """The numbers of each section, tables and sentences."""
    return [numbers(section) for section in text.split("\n## ")]


@pytest.mark.parametrize(
    "part", [shape, code_blocks, places, table_numbers, section_numbers], ids=lambda part: part.__name__
)
def test_both_say_the_same(part: Callable[[str], list[Any]]) -> None:
    english = part(ENGLISH)
    assert english
    assert part(KOREAN) == english


def test_each_names_the_other_at_the_top() -> None:
    assert "한국어: [README.ko.md](README.ko.md)" in ENGLISH.splitlines()[:4]
    assert "English: [README.md](README.md)" in KOREAN.splitlines()[:4]


def test_the_korean_one_is_in_korean() -> None:
    assert all(any("가" <= letter <= "힣" for letter in words) for _, words in headings(KOREAN))
