from collections.abc import Callable
from dataclasses import replace

import pytest

from data.ledger import NOTHING, Entry, LedgerBroken, at_time, following, verify


def chain(length: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(length):
        last = entries[-1] if entries else None
        rest = {"before": f"v{number}", "after": f"v{number + 1}", "why": "더 낫다", "figures": {"gain": 0.5}}
        entries.append(following(last, at=100.0 + number, who="kim", what="promote", **rest))
    return entries


def test_a_chain_is_what_it_was_after_being_written() -> None:
    entries = chain(4)
    verify([Entry.from_json(entry.to_json()) for entry in entries])
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert entries[0].previous == NOTHING
    verify([])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: [c[0], replace(c[1], after="v9"), *c[2:]], "entry 3 does not follow"),
        (lambda c: [c[0], replace(c[1], why="another reason"), *c[2:]], "entry 3 does not follow"),
        (lambda c: [c[0], *c[2:]], "entry 3 stands where 2 should"),
        (lambda c: [c[1], c[0], *c[2:]], "entry 2 stands where 1 should"),
        (lambda c: c[1:], "entry 2 stands where 1 should"),
        (lambda c: [replace(c[0], previous="1" * 64), *c[1:]], "entry 1 does not follow"),
    ],
)
def test_what_was_changed_dropped_or_moved_is_found(spoil: Callable[[list[Entry]], list[Entry]], message: str) -> None:
    with pytest.raises(LedgerBroken, match=message):
        verify(spoil(chain(4)))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"number": 1}', chain(1)[0].to_json().replace('"number":1', '"number":"1"')]
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(LedgerBroken, match="cannot be read"):
        Entry.from_json(text)


def test_what_was_live_when() -> None:
    entries = chain(3)
    found = [at_time(entries, at) for at in (99.0, 100.0, 101.5, 999.0)]
    assert [entry and entry.after for entry in found] == [None, "v1", "v2", "v3"]
