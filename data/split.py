"""A dev split cut from train: stratified, deterministic, and with no text on both sides."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from data.errors import SplitError


def dev_rows(texts: Sequence[str], labels: Sequence[int], fraction: float, seed: int) -> list[int]:
    """Indices, ascending, of the rows that become the dev split.

    Rows of one cleaned text stay together. Groups are taken in the order of a keyed hash of their text, from each
    stratum (all negative, all positive, contradicting labels) up to ``fraction`` of its rows, so the split depends
    on nothing but the texts, the fraction and the seed: a new row moves no old one across, save at the very edge.
    """
    if not 0.0 < fraction < 0.5:
        raise SplitError(f"dev_fraction is {fraction}; it must be above 0 and below 0.5")
    groups: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        groups[text].append(index)
    strata: dict[frozenset[int], list[str]] = defaultdict(list)
    for text, rows in groups.items():
        strata[frozenset(labels[row] for row in rows)].append(text)
    chosen: list[int] = []
    for members in strata.values():
        room = round(fraction * sum(len(groups[text]) for text in members))
        for text in sorted(members, key=lambda text: _keyed_hash(text, seed)):
            if len(groups[text]) <= room:
                chosen += groups[text]
                room -= len(groups[text])
    if not chosen:
        raise SplitError(f"dev_fraction is {fraction}, which of {len(texts)} rows is none; it must be larger")
    return sorted(chosen)


def _keyed_hash(text: str, seed: int) -> bytes:
    return hashlib.blake2b(text.encode(), key=seed.to_bytes(8, "big"), digest_size=16).digest()
