"""Where a result comes from: commit and data."""

import subprocess
from dataclasses import dataclass

from data.files import sha256
from pipelines import artifacts

_CONTEXTS = {"train": "training", "dev": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A split that a run used, by its digest.

    ``context`` says for what, ``source`` where the raw reviews are published.
    """

    name: str
    sha256: str
    context: str
    source: str


def datasets_used(source: str) -> list[DatasetUse]:
    """The splits as they lie on disk."""
    return [
        DatasetUse(name, sha256(artifacts.PREPARED / f"{name}.parquet"), context, source)
        for name, context in _CONTEXTS.items()
    ]


def git_commit() -> str:
    """The checked-out commit, with ``-dirty`` where tracked files differ from it; empty outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()
