"""Every command of the documents is run by a test, or says what it needs; targets, modules and links lead somewhere."""

from pathlib import Path

import pytest

from tests.docs.documents import (
    DOCUMENTS,
    ROOT,
    RUN,
    Block,
    anchors,
    blocks,
    broken_links,
    command_blocks,
    name,
    unknown_commands,
    wrong_marks,
)

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HERE = "tests/docs/test_marks.py::test_every_command_is_marked"


@pytest.mark.parametrize("block", command_blocks(), ids=str)
def test_every_command_is_marked(block: Block) -> None:
    assert wrong_marks(block) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_targets_and_modules_are_there(path: Path) -> None:
    assert unknown_commands(path.read_text(encoding="utf-8"), MAKEFILE) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


def test_a_sensible_share_is_run() -> None:
    found = command_blocks()
    run = sum(mark.last - mark.first + 1 for block in found for mark in block.marks if mark.kind == RUN)
    assert run >= sum(len(block.commands) for block in found) / 3


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        ("", ["marks are about none of 2"]),
        ("<!-- run: service -->\n\n", ["marks are about none of 2"]),
        ("<!-- run: service -->\n", []),
        ("<!-- run: service (1) -->\n<!-- needs: Docker (2) -->\n", []),
        ("<!-- run: service (1) -->\n", ["marks are about 1 of 2"]),
        ("<!-- run: service (1-2) -->\n<!-- needs: Docker (2) -->\n", ["marks are about 1, 2 of 2"]),
        ("<!-- run: nowhere -->\n", ["run: nowhere is unknown"]),
        ("<!-- needs: luck -->\n", ["needs: luck is unknown"]),
        ("<!-- runs: service -->\n", ["<!-- runs: service --> is no mark", "marks are about none of 2"]),
        (f"<!-- tested: {HERE} -->\n", []),
        (f"<!-- tested: {HERE}x -->\n", [f"tested: {HERE}x is unknown"]),
        ("<!-- tested: tests/none.py::test_x -->\n", ["tested: tests/none.py::test_x is unknown"]),
    ],
)
def test_marks_are_read(before: str, wrong: list[str]) -> None:
    (block,) = blocks(f"Text.\n\n{before}```sh\n# a remark\na \\\n  b\n\nc  # ends\n```\n", "x.md")
    assert block.commands == ["a    b", "c  # ends"]
    assert wrong_marks(block) == wrong


def test_what_there_is_not_is_found() -> None:
    text = (
        "```sh\nmake demo  # make nothing of it\nA=1 make B=2 C='x' lock\nmake X=\"a b\" demon && python -m json\n"
        "python -m json.tool\npython -m pipelines.nothing\n```\n`make tests`, to make sure\n"
    )
    assert unknown_commands(text, "demo: x\n\tlock\nlock:\nVENV := a\n") == [
        "demon",
        "tests",
        "json",
        "pipelines.nothing",
    ]


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text(
        "# Über: `x` / 가 나\n## Twice\n## Twice\n```sh\n# no heading\n```\n", encoding="utf-8"
    )
    assert anchors((tmp_path / "b.md").read_text(encoding="utf-8")) == {"über-x--가-나", "twice", "twice-1"}
    good = (
        "[a](b.md) [a](b.md#twice-1) [a](#own) ![a](b.md) [a](https://nowhere) [a](b.md#über-x--가-나) `[a](code.md)`"
    )
    text = f"# Own\n{good}\n[a](c.md) [a](b.md#no-heading) ![a](c.png) [a](#other)\n"
    assert broken_links(tmp_path / "a.md", text) == ["c.md", "b.md#no-heading", "c.png", "#other"]
