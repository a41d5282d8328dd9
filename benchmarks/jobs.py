"""What the load generator is told and what it tells, as JSON between two processes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DROPPED, UNANSWERED = "dropped", "unanswered"
"""Errors beside HTTP statuses: the server hung up; or it had not answered when the generator stopped waiting."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A closed loop of ``clients``, or, with a ``rate`` (requests a second), an open one.

    What is answered in ``seconds`` after ``warm_up_s`` counts, and in a closed loop some answers for each client at
    least. With ``requests`` it sends exactly so many, and all of them count; with as many clients, all at once.
    """

    clients: int = 0
    rate: float = 0.0
    seconds: float = 10.0
    warm_up_s: float = 1.0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """Phases, one after the other, on one sequence of texts (see ``benchmarks.reviews``).

    ``batch`` is 0 where requests are for single texts. ``pid`` is the server's, whose processor time is taken with that
    of all its descendants. ``texts`` is a JSON file. Answers are reported if they are to be ``read``.
    """

    port: int
    pid: int
    dialect: str
    texts: str
    kind: str
    mark: str
    batch: int
    phases: tuple[Phase, ...]
    read: bool = True

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Job":
        """What ``dataclasses.asdict`` made of one."""
        return cls(**raw | {"phases": tuple(Phase(**phase) for phase in raw["phases"])})


@dataclass(frozen=True, slots=True)
class Measured:
    """What one phase found. ``requests`` and ``reviews`` had status 200; ``speed`` is in reviews a second.

    Latencies are theirs; those that were never answered are among them with the time that they had waited.
    ``hits`` are the answers that a cache gave; ``late_ms`` is how much later than meant an open loop sent (p99).
    """

    requests: int
    reviews: int
    seconds: float
    speed: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    server_cpu_s: float
    load_cpu_s: float
    hits: int
    late_ms: float = math.nan

    @property
    def cpu_ms(self) -> float:
        """Processor time of the server for a review, in ms."""
        return 1e3 * self.server_cpu_s / self.seconds / self.speed if self.speed else math.nan

    @property
    def load_cpu_us(self) -> float:
        """Processor time of the load generator for a request, in µs."""
        return 1e6 * self.load_cpu_s / self.requests if self.requests else math.nan


@dataclass(frozen=True, slots=True)
class Report:
    """Of each phase what it measured, each different (text, label, score) that was said, and bodies not understood."""

    phases: list[Measured]
    answers: list[tuple[str, str, float]] = field(default_factory=list)
    unread: int = 0

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Report":
        """What ``dataclasses.asdict`` made of one."""
        answers = [(text, label, score) for text, label, score in raw["answers"]]
        return cls([Measured(**phase) for phase in raw["phases"]], answers, raw["unread"])


class Note(NamedTuple):
    """A request that is over: when it was meant and when answered, its status or why there is none, and the body."""

    request: int
    started: float
    ended: float
    status: int | str
    body: bytes = b""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of ascending figures that so large a share does not exceed; NaN of none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.nan
