"""How fast the queue is worked off, and so how long one would wait in it."""

import math

MEMORY_S = 5.0
"""What was seen counts for less and less, to 1/e after so long."""
SETTLED_S = 0.1
"""Something has to have waited for so long without a pause, or calls may not be full."""
ENOUGH_S = 0.2
"""Of watching, before anything is said."""


class Pace:
    """Tokens a second of the last spells in which something always waited; seconds as of ``time.monotonic``.

    While nothing waits calls are small, and a small call takes as long as one of some rows: it would say that the
    model is slow. Where something waits, calls are as full as they can be, and what comes out a second is all that can.
    """

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0
        self._began = self._last = math.inf

    @property
    def tokens_per_s(self) -> float:
        """Infinity as long as too little was seen."""
        return self._tokens / self._seconds if self._seconds >= ENOUGH_S else math.inf

    def done(self, tokens: int, now: float, *, waiting: bool) -> None:
        """A call of so many tokens is over; ``waiting`` says whether something waits now."""
        if now - self._began > SETTLED_S:
            fading = math.exp((self._last - now) / MEMORY_S)
            self._tokens = fading * self._tokens + tokens
            self._seconds = fading * self._seconds + now - self._last
        self._began, self._last = (min(self._began, now), now) if waiting else (math.inf, math.inf)

    def seconds(self, tokens: float) -> float:
        """How long so many tokens take; none at all where nothing is known."""
        return tokens / self.tokens_per_s
