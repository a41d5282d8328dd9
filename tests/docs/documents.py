"""What the documents hold: headings, links, tables, and blocks of commands with their marks."""

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "README.ko.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "deploy" / "README.md",
)
PLACES = {
    "workspace": "a checkout in which the demo has been made, with tables of reviews",
    "server": "the same, for a command that serves until it is told to stop",
    "service": "beside a running service",
    "rollout": "beside a running service whose store has a second model",
}
NEEDS = {"a GPU", "Docker", "a cluster", "an object store", "minutes", "hours"}
RUN, LACK, TESTED = "run", "needs", "tested"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARKS = re.compile(r"(?:^<!-- .*? -->\n)+\Z", re.MULTILINE)
MARK = re.compile(r"<!-- (run|needs|tested): (.+?)(?: \((\d+)(?:-(\d+))?\))? -->")
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
TARGET = re.compile(r"(?:^|[\s;&|(])make ((?:[A-Z_]+=(?:\"[^\"]*\"|\S+) )*)([a-z][a-z-]*)")
MODULE = re.compile(r"\bpython3? -m ([\w.]+)")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)*(?:e-?\d+)?")


@dataclass(frozen=True)
class Mark:
    """What is said of the commands ``first`` to ``last`` (counted from 1) of a block."""

    kind: str
    value: str
    first: int
    last: int


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its text, and the comment lines directly before it."""

    document: str
    line: int
    language: str
    text: str
    comments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its commands, each on one line; without comment lines."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]

    @property
    def marks(self) -> list[Mark]:
        """Those that can be read; without numbers a mark is about every command."""
        read = [MARK.fullmatch(comment) for comment in self.comments]
        return [self._mark(*each.groups()) for each in read if each]

    def _mark(self, kind: str, value: str, first: str | None, last: str | None) -> Mark:
        whole = first is None
        return Mark(kind, value, int(first or 1), len(self.commands) if whole else int(last or first or 1))


def blocks(text: str, document: str) -> list[Block]:
    """All fenced blocks of ``text``."""
    found = []
    for fence in FENCE.finditer(text):
        before = MARKS.search(text, 0, fence.start())
        comments = tuple(before.group().splitlines()) if before else ()
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(document, line, fence.group(1), fence.group(2), comments))
    return found


def name(path: Path) -> str:
    """A document by its path in the repository."""
    return path.relative_to(ROOT).as_posix()


def command_blocks() -> list[Block]:
    """The blocks of commands of all documents."""
    found = (blocks(path.read_text(encoding="utf-8"), name(path)) for path in DOCUMENTS)
    return [block for each in found for block in each if block.language == "sh"]


def prose(text: str) -> str:
    """``text`` without fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL)


def headings(text: str) -> list[tuple[int, str]]:
    """Level and words of each heading."""
    return [(len(marks), words) for marks, words in HEADING.findall(FENCE.sub("", text))]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings; one that is there already is numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for _, words in headings(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words)
        anchor = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def links(text: str) -> list[tuple[bool, str]]:
    """Of each link outside of code: whether it is a picture, and its target."""
    return [(bool(mark), target) for mark, target in LINK.findall(INLINE.sub("", prose(text)))]


def numbers(text: str) -> list[str]:
    """The numbers of ``text`` outside of code and targets of links, sorted: languages order words differently."""
    return sorted(NUMBER.findall(re.sub(r"\]\([^)]*\)|<http\S+>", "", INLINE.sub("", prose(text)))))


def rows(text: str) -> list[str]:
    """The lines of tables."""
    return [line for line in prose(text).splitlines() if line.startswith("|")]


def code(text: str) -> Iterator[str]:
    """The commands of ``text``: lines of blocks without their comments, and code within sentences."""
    for block in blocks(text, ""):
        if block.language == "sh":
            yield from (re.sub(r"\s# .*", "", command) for command in block.commands)
    yield from INLINE.findall(prose(text))


def broken_links(path: Path, text: str) -> list[str]:
    """The relative targets in ``text``, a document at ``path``, that lead nowhere."""
    broken = []
    for _, target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = unquote(target).partition("#")
        leads = (path.parent / place) if place else path
        if leads != path and not leads.exists():
            broken.append(target)
            continue
        if anchor and anchor not in anchors(text if leads == path else leads.read_text(encoding="utf-8")):
            broken.append(target)
    return broken


def targets(makefile: str) -> set[str]:
    """What can be made."""
    return set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", makefile, re.MULTILINE))


@cache
def runnable(module: str) -> bool:
    """Whether ``python -m module`` finds something to run."""
    try:
        spec = importlib.util.find_spec(module)
        package = spec is not None and spec.submodule_search_locations is not None
        return spec is not None and (not package or importlib.util.find_spec(f"{module}.__main__") is not None)
    except ModuleNotFoundError:
        return False


def unknown_commands(text: str, makefile: str) -> list[str]:
    """The targets and modules in the code of ``text`` that there are not."""
    there = targets(makefile)
    lines = list(code(text))
    made = [target for line in lines for _, target in TARGET.findall(line) if target not in there]
    return made + [module for line in lines for module in MODULE.findall(line) if not runnable(module)]


def exists(test: str) -> bool:
    """Whether ``path::function`` is a test of this repository."""
    path, _, function = test.partition("::")
    file = ROOT / path
    return file.is_file() and bool(
        re.search(rf"^(?:async )?def {re.escape(function)}\(", file.read_text(), re.MULTILINE)
    )


def wrong_marks(block: Block) -> list[str]:
    """What is wrong with the marks of a block of commands: each command has exactly one, which can be kept."""
    unread = [f"{comment} is no mark" for comment in block.comments if not MARK.fullmatch(comment)]
    unkept = [f"{mark.kind}: {mark.value} is unknown" for mark in block.marks if not _known(mark)]
    marked = Counter(number for mark in block.marks for number in range(mark.first, mark.last + 1))
    once = dict.fromkeys(range(1, len(block.commands) + 1), 1)
    return unread + unkept + ([] if marked == once else [f"marks are about {_span(sorted(marked))} of {len(once)}"])


def _known(mark: Mark) -> bool:
    known = {RUN: mark.value in PLACES, LACK: mark.value in NEEDS, TESTED: exists(mark.value)}
    return mark.first <= mark.last and known[mark.kind]


def _span(marked: Sequence[int]) -> str:
    return ", ".join(map(str, marked)) or "none"
