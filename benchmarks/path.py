"""Where the time of a review goes: cleaning, encoding, inference. ``python -m benchmarks.path [--workspace FOLDER]``.

Runs on the test split and the bundle that lie in the workspace's artifacts, on the CPU, and prints reviews a second and
the share of each part. Machines are noisy: compare rows of one table, not tables.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from data.bundle import Bundle
from data.encode import pad
from data.nsmc import read
from data.text import clean
from pipelines import artifacts
from serving.engine.choose import reference

ROUNDS = 5
SEED = 0


def seconds(work: Callable[[], object]) -> float:
    """Median wall time of several rounds, after one that is not counted."""
    work()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def padding_share(rows: Sequence[Sequence[int]], size: int) -> float:
    """Share of the positions that are padding when ``rows`` are cut into batches as they come."""
    masks = [pad(rows[at : at + size], 0)[1] for at in range(0, len(rows), size)]
    return 1.0 - sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.path", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--reviews", type=int, default=2_000)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.workspace / artifacts.BUNDLE)
    reviews = [review.text for review in read(arguments.workspace / artifacts.TEST_FILE) if clean(review.text)]
    raw = random.Random(SEED).choices(reviews, k=arguments.reviews)
    texts = [clean(text) for text in raw]
    rows = bundle.encoder.encode(texts, truncate=True)
    engine = reference(bundle).schedule
    singles = rows[:200]

    table: list[tuple[str, int, float]] = [
        ("cleaning", len(raw), seconds(lambda: [clean(text) for text in raw])),
        ("encoding, one call", len(texts), seconds(lambda: bundle.encoder.encode(texts, truncate=True))),
        ("inference, one by one", len(singles), seconds(lambda: [engine.logits([row]) for row in singles])),
        (
            "inference, 32 as they come",
            len(rows),
            seconds(lambda: [engine.logits(rows[at : at + 32]) for at in range(0, len(rows), 32)]),
        ),
        ("inference, all sorted by length", len(rows), seconds(lambda: engine.logits(rows))),
    ]
    print(
        f"{bundle.manifest.model_name}, {len(rows)} reviews, {sum(map(len, rows)) / len(rows):.1f} tokens on average,"
    )
    print(f"{padding_share(rows, 32):.0%} of the positions are padding in batches of 32 as they come\n")
    print(f"{'part':<34}{'reviews/s':>12}{'µs/review':>12}")
    for name, count, taken in table:
        print(f"{name:<34}{count / taken:>12,.0f}{1e6 * taken / count:>12.1f}")


if __name__ == "__main__":
    main()
