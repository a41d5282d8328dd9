import os
from pathlib import Path

import pytest

from serving.engine.cores import cores

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("max 100000\n", ALLOWED),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("150000 100000\n", min(2, ALLOWED)),
        ("6400000 100000\n", ALLOWED),
        ("nonsense", ALLOWED),
    ],
)
def test_a_containers_share_counts(tmp_path: Path, said: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(said)
    assert cores(tmp_path / "cpu.max") == expected


def test_without_a_container_it_is_the_processors(tmp_path: Path) -> None:
    assert cores(tmp_path / "none") == ALLOWED
