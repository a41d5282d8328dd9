"""What each model says of a text alone, and whether the service's answers say the same."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data.text import clean
from serving.model import Model

TOLERANCE = 2e-4
"""Answers have four decimals."""
REMEMBERED = 4_096
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Unlike:
    """An answer that its model does not give."""

    tag: str
    said: float
    expected: float


class Truth:
    """Judges every text again, one at a time, on a thread of its own."""

    def __init__(self, bundles: Mapping[str, Path]) -> None:
        """By their tags."""
        self._models = {tag: Model.load(folder, tag) for tag, folder in bundles.items()}
        self._threads = ThreadPoolExecutor(1, "truth")
        self._failed: Future[None] | None = None
        self._of = lru_cache(REMEMBERED)(self._judged)
        self.checked = dict.fromkeys(bundles, 0)
        self.unlike: list[Unlike] = []
        self.unlike_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        if self._failed is not None:
            self._failed.result()

    def check(self, tag: str, texts: Sequence[str], results: Sequence[Mapping[str, Any]]) -> None:
        """Soon: whether ``results`` are what model ``tag`` says of ``texts``."""
        scores = [float(result["score"]) for result in results]
        self._threads.submit(self._check, tag, list(texts), scores).add_done_callback(self._done)

    def wait(self) -> None:
        """Until all that was given has been checked. Raises what went wrong."""
        self._threads.submit(lambda: None).result()
        if self._failed is not None:
            self._failed.result()

    def _done(self, check: "Future[None]") -> None:
        if check.exception() is not None:
            self._failed = check

    def _check(self, tag: str, texts: Sequence[str], scores: Sequence[float]) -> None:
        for text, score in zip(texts, scores, strict=True):
            self.checked[tag] += 1
            expected = self._of(tag, text)
            if abs(score - expected) > TOLERANCE:
                self.unlike_count += 1
                self.unlike = [*self.unlike[: SHOWN - 1], Unlike(tag, score, expected)]

    def _judged(self, tag: str, text: str) -> float:
        positive = float(self._models[tag].positive_of([clean(text)])[0])
        return max(positive, 1.0 - positive)
