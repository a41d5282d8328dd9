"""What a request of a run is, and where it goes."""

from dataclasses import dataclass

from serving.api import PREFIX
from serving.rollout.operator import COMMANDS
from tests.fuzz.heads import Head

ROUTES = {
    **{name: f"{PREFIX}/{name}" for name in ("analyze", "batch", "explain", "stream", "feedback")},
    **{f"rollout/{command}": f"{PREFIX}/rollout/{command}" for command in COMMANDS},
    "predict": "/predict",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One request: what is sent, and what is owed for it."""

    index: int
    route: str
    mutators: tuple[str, ...]
    data: bytes
    fresh: bool = False
    """Over a connection of its own."""
    complete: bool = True
    """Whether the service has all of it, and so owes an answer or an end of the connection."""
    patient: bool = False
    """Whether an answer is waited for all the same, for the route has a deadline."""
    ambiguous: bool = False
    """Whether it hides another request."""


def head_of(route: str, mark: str) -> Head:
    """What stands before a good body; ``mark`` is for places where a text may be by mistake."""
    media_type = b"application/x-ndjson" if route == "stream" else b"application/json"
    return Head(b"POST", ROUTES[route].encode(), ((b"Content-Type", media_type),), mark.encode())
