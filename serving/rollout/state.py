"""What every worker should serve: two slots, which of them is live, and how much of the traffic the other one gets.

The moves are pure: each makes the next state of one, or says why not. ``serving.rollout.store`` keeps states,
``serving.rollout.operator`` makes moves, ``serving.rollout.follower`` does what states say.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from data.typed import typed
from serving.errors import RolloutRefused

Slot = Literal["blue", "green"]
BLUE: Slot = "blue"
GREEN: Slot = "green"
STAGED, PREVIOUS = "staged", "previous"
"""What the other slot may hold: a model on its way in, or the one that was live before."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of a rollout. ``generation`` grows with every change.

    ``weight`` is the share of callers, in percent, that the other slot answers; ``shadow`` is the share of requests
    that it answers, too, without anybody hearing of it. ``trial`` is the generation in which the two models were put
    beside each other, and names what was observed of them. Until ``watched_until`` (seconds since 1970) a promotion is
    taken back by itself if a gate fails.
    """

    generation: int
    blue: str | None
    green: str | None
    live_slot: str
    role: str | None = None
    weight: float = 0.0
    shadow: float = 0.0
    trial: int = 0
    watched_until: float = 0.0

    @classmethod
    def beginning(cls, tag: str) -> Self:
        """``tag`` alone, in the blue slot, before anybody moved anything."""
        return cls(0, tag, None, BLUE)

    @property
    def other_slot(self) -> Slot:
        """The one that is not live."""
        return GREEN if self.live_slot == BLUE else BLUE

    @property
    def live(self) -> str:
        """The tag that answers."""
        return str(getattr(self, self.live_slot))

    @property
    def other(self) -> str | None:
        """The tag in the other slot."""
        tag: str | None = getattr(self, self.other_slot)
        return tag

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What ``to_json`` made. Raises SettingError or ValueError."""
        raw: Any = json.loads(text)
        return typed(raw, cls)

    # moves

    def stage(self, tag: str) -> Self:
        """Put ``tag`` into the other slot, without traffic."""
        if tag == self.live:
            raise RolloutRefused(f"{tag} is live already, in {self.live_slot}")
        if self.other == tag and self.role == STAGED:
            raise RolloutRefused(f"{tag} is staged already, in {self.other_slot}")
        if self.other is not None:
            raise RolloutRefused(
                f"{self.other_slot} still holds {self.other} ({self.role}); `release` it before another is staged"
            )
        return self._next(**{self.other_slot: tag}, role=STAGED, trial=self.generation + 1)

    def weigh(self, percent: float) -> Self:
        """Give the staged model ``percent`` of the callers."""
        _check_percent("weight", percent)
        if self.role != STAGED:
            raise RolloutRefused("nothing is staged, so there is nothing to give traffic to; `stage TAG` comes first")
        return self._next(weight=float(percent))

    def mirror(self, percent: float) -> Self:
        """Let the other model answer ``percent`` of the requests in the dark."""
        _check_percent("shadow", percent)
        if self.other is None:
            raise RolloutRefused("the other slot is empty, so nothing can be mirrored; `stage TAG` comes first")
        return self._next(shadow=float(percent))

    def promote(self, watched_until: float) -> Self:
        """Make the staged model live; the one before stays warm in its slot, and is mirrored as before."""
        if self.role != STAGED:
            raise RolloutRefused("nothing is staged, so there is nothing to promote; `stage TAG` comes first")
        return self._next(
            live_slot=self.other_slot, role=PREVIOUS, weight=0.0, trial=self.generation + 1, watched_until=watched_until
        )

    def rollback(self) -> Self:
        """Back to the model that was live before; of one that is only staged, take all traffic away."""
        if self.other is None:
            raise RolloutRefused(f"there is nothing to go back to: only {self.live} is there")
        if self.role == STAGED:
            if not self.weight and not self.shadow:
                raise RolloutRefused(f"{self.live} is live already, and {self.other} has no traffic; `release` it")
            return self._next(weight=0.0, shadow=0.0)
        return self._next(
            live_slot=self.other_slot, role=STAGED, weight=0.0, shadow=0.0, trial=self.generation + 1, watched_until=0.0
        )

    def release(self) -> Self:
        """Empty the other slot."""
        if self.other is None:
            raise RolloutRefused(f"the other slot is empty: only {self.live} is there")
        return self._next(**{self.other_slot: None}, role=None, weight=0.0, shadow=0.0, watched_until=0.0)

    def _next(self, **changes: Any) -> Self:
        return replace(self, generation=self.generation + 1, **changes)


def _check_percent(what: str, percent: float) -> None:
    if not 0 <= percent <= 100:
        raise RolloutRefused(f"{what} is {percent:g}; it is a share in percent, from 0 to 100")
