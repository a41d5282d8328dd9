"""What the journal costs a worker, by texts in a request: ``python -m benchmarks.journal``."""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.machine import described
from benchmarks.subjects import nsmc_folder
from data import nsmc
from data.text import clean
from serving.journal import Journal

TEXTS = 20_000
SIZES = (1, 32)


async def measured(texts: list[str], size: int, folder: Path) -> str:
    """A line about requests of ``size`` texts."""
    journal = Journal(folder, 1 << 30)
    began = time.process_time()
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        journal.judged(f"{start:032x}", "koelectra-nsmc:v7-3f2a9c1d", part, [0.98765] * len(part))
    taken = time.process_time() - began
    await journal.close()
    written = sum(len(path.read_bytes()) for path in folder.glob("judged-*"))  # noqa: ASYNC240 - nothing runs beside it
    return f"| {size} | {taken / len(texts) * 1e6:.1f} | {written / len(texts):.0f} |"


def main() -> None:
    """Print a table."""
    cleaned = (clean(review.text) for review in nsmc.read(nsmc_folder(None) / "ratings_test.txt"))
    texts = [text for text in cleaned if text][:TEXTS]
    print(f"{described(cpu=True)}\n\n| texts in a request | µs a text | bytes a text |\n|---|---|---|")
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="journal-") as folder:
            print(asyncio.run(measured(texts, size, Path(folder))))


if __name__ == "__main__":
    main()
