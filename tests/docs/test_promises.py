"""What is promised names the tests that hold it to its word, and these are there."""

import re

import pytest

from tests.docs.documents import ROOT, exists

PROMISES = ("docs/security.md", "docs/threats.md", "docs/reliability.md")
_TEST = re.compile(r"`(tests/[\w/.]+(?:::\w+)?)`")
_ROW = re.compile(r"^\| ((?:API|ML)\d.+) \|$", re.MULTILINE)


def named(row: str) -> list[str]:
    """The tests that a text names."""
    return _TEST.findall(row)


def found(test: str) -> bool:
    """Whether it is a test, a file of tests or a folder of them."""
    return exists(test) if "::" in test else (ROOT / test).exists()


@pytest.mark.parametrize("document", PROMISES)
def test_what_is_named_is_there(document: str) -> None:
    tests = named((ROOT / document).read_text(encoding="utf-8"))
    assert tests
    assert [test for test in tests if not found(test)] == []


def test_each_threat_has_its_test() -> None:
    rows = _ROW.findall((ROOT / "docs" / "threats.md").read_text(encoding="utf-8"))
    numbers = [row.split()[0] for row in rows]
    assert numbers == [f"API{n}" for n in range(1, 11)] + [f"ML{n:02}" for n in range(1, 11)]
    assert [row for row in rows if not named(row)] == []
