"""Commands of a rollout: read the state, check what speaks against the move, write the next state, once."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from data.behaviour import BehaviourReport
from data.ledger import Entry, verify
from serving.errors import RolloutRefused
from serving.rollout.gates import Gate, Limits, behaves, judge, verdict
from serving.rollout.state import PREVIOUS, State
from serving.rollout.store import Change, StateStore

COMMANDS = ("stage", "weight", "shadow", "promote", "rollback", "release")


@dataclass(frozen=True, slots=True)
class Order:
    """A command, who gives it and why. ``value`` is a tag or a share in percent, where the command takes one."""

    command: str
    who: str
    why: str = ""
    value: str | None = None
    force: bool = False

    def percent(self) -> float:
        """The value as a share. Raises RolloutRefused."""
        try:
            return float(self.value or "")
        except ValueError as error:
            raise RolloutRefused(
                f"{self.command} takes a share in percent, from 0 to 100, not {self.value!r}"
            ) from error


class Operator:
    """Makes moves in a ``StateStore``. All methods may raise RolloutUnreachable."""

    def __init__(
        self,
        store: StateStore,
        limits: Limits,
        watch_s: float,
        known: Callable[[str], object] | None = None,
    ) -> None:
        """``known`` raises RolloutRefused for a tag that the model store lacks; without it, workers find that out."""
        self._store = store
        self._limits = limits
        self._watch_s = watch_s
        self._known = known

    async def carry_out(self, order: Order) -> State:
        """Do it. Raises RolloutRefused where the state, a worker, a gate or somebody else's change is in the way."""
        present, expected = await self._present()
        gates = await self.gates(present)
        following = await self._following(present, order, gates)
        what = order.command + (f" {order.value}" if order.value is not None else "") + (" --force" * order.force)
        change = Change(following, order.who, what, order.why, present.live, following.live, _figures(gates))
        if not await self._store.change(change, expected):
            raise RolloutRefused(
                f"somebody else changed the rollout meanwhile (it was generation {expected}); look at `status`, and "
                "give the command again if it still holds"
            )
        return following

    async def restore(self, state: State, who: str) -> bool:
        """Write ``state`` again after it was deleted; False where somebody was faster."""
        why = "the state was gone; this is what the worker served"
        return await self._store.change(Change(state, who, "restore", why, None, state.live, {}), 0)

    async def gates(self, state: State) -> list[Gate]:
        """All that is known of the two models of ``state``, judged; nothing where there is one only."""
        return [] if state.other is None else await self._judged(state, await self._store.reports())

    async def _judged(self, state: State, workers: list[dict[str, Any]]) -> list[Gate]:
        return [] if state.other is None else [*await self.observed(state), _behaviour(state, workers)]

    async def observed(self, state: State) -> list[Gate]:
        """What was observed of them in their traffic, judged."""
        return [] if state.other is None else judge(await self._store.observed(state.trial), self._limits)

    async def status(self) -> dict[str, Any]:
        """State, gates, and workers, as JSON."""
        state, _ = await self._present()
        workers = await self._store.reports()
        gates = await self._judged(state, workers)
        behind = [
            worker["worker"]
            for worker in workers
            if worker["generation"] != state.generation or worker["live"] != state.live
        ]
        return {
            **asdict(state),
            "live": state.live,
            "other": state.other,
            "gates": [asdict(gate) for gate in gates],
            "gates_passed": verdict(gates) if gates else None,
            "workers": [{key: value for key, value in worker.items() if key != "behaviour"} for worker in workers],
            "behind": behind,
        }

    async def history(self) -> list[Entry]:
        """All changes, oldest first, after the chain was verified. Raises LedgerBroken."""
        entries = await self._store.history()
        verify(entries)
        return entries

    async def _present(self) -> tuple[State, int]:
        """The state, and the generation that a change has to expect."""
        state = await self._store.read()
        if state is not None:
            return state, state.generation
        live = {str(worker["live"]) for worker in await self._store.reports()}
        if not live:
            raise RolloutRefused("nobody has moved anything yet, and no worker is alive to say what it serves")
        if len(live) > 1:
            raise RolloutRefused(f"workers serve different models ({', '.join(sorted(live))}), and no state says which")
        return State.beginning(live.pop()), 0

    async def _following(self, present: State, order: Order, gates: list[Gate]) -> State:
        match order.command:
            case "stage":
                if not order.value:
                    raise RolloutRefused("stage takes the tag of a model")
                if self._known is not None:
                    self._known(order.value)
                return present.stage(order.value)
            case "weight":
                following = present.weigh(order.percent())
                if following.weight:
                    await self._check_ready(present)
                return following
            case "shadow":
                return present.mirror(order.percent())
            case "promote":
                following = present.promote(time.time() + self._watch_s)
                await self._check_ready(present)
                if not order.force:
                    _check_gates(gates)
                return following
            case "rollback":
                return present.rollback()
            case "release":
                return present.release()
        raise RolloutRefused(f"there is no command {order.command!r}; there are {', '.join(COMMANDS)}")

    async def _check_ready(self, state: State) -> None:
        """Raises RolloutRefused unless every worker that is alive has loaded what is staged."""
        workers = await self._store.reports()
        if not workers:
            raise RolloutRefused("no worker is alive that could serve it")
        missing = [
            f"{worker['worker']}: {worker['problems'].get(state.other) or 'still loading'}"
            for worker in workers
            if state.other not in worker["ready"]
        ]
        if missing:
            raise RolloutRefused(
                f"{len(missing)} of {len(workers)} workers are not ready for {state.other}: {'; '.join(missing)}"
            )


def _behaviour(state: State, workers: list[dict[str, Any]]) -> Gate:
    """Of a worker that asked both models; all of them would say the same."""
    new, old = (state.live, state.other) if state.role == PREVIOUS else (state.other, state.live)
    for worker in workers:
        reports = worker.get("behaviour", {})
        if new in reports and old in reports:
            return behaves(BehaviourReport.from_dict(reports[new]), BehaviourReport.from_dict(reports[old]))
    return behaves(None, None)


def _check_gates(gates: list[Gate]) -> None:
    failed = [gate for gate in gates if gate.passed is False]
    open_ = [gate for gate in gates if gate.passed is None]
    if failed or open_:
        lines = "; ".join(f"{gate.name}: {gate.detail}" for gate in failed or open_)
        kind = "gates fail" if failed else "too little was seen (mirror requests with `shadow`)"
        raise RolloutRefused(f"{kind}: {lines}. `--force` promotes nevertheless, and is written down")


def _figures(gates: list[Gate]) -> Mapping[str, float]:
    """Gates as the ledger keeps them: 1 passed, 0 failed, -1 undecided."""
    return {gate.name: -1.0 if gate.passed is None else float(gate.passed) for gate in gates}
