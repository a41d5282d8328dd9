"""``python -m serving.rollout COMMAND``: stage, weight, shadow, promote, rollback, release, status, history.

Works on the state itself, with no service in between: in Redis (``--redis-url``, ``$REDIS_URL``) or else in a folder
(``--folder``, ``$ROLLOUT_FOLDER``, by itself ``rollout`` in Bento's home). See ``serving.rollout.settings``.
"""

import argparse
import asyncio
import getpass
import os
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.errors import DataError
from serving.errors import ServingError
from serving.rollout.operator import Operator, Order
from serving.rollout.settings import RolloutSettings

STAGE_LIMIT_S, SETTLE_LOOKS = 300.0, 100
MARKS = {True: "passed", False: "FAILED", None: "open"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.rollout", description=__doc__)
    parser.add_argument("--redis-url", help="the workers' Redis")
    parser.add_argument("--folder", type=Path, help="the workers' folder, without a Redis")
    parser.add_argument("--name", help="the fleet, in Redis")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, what: str, value: str | None = None) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what)
        if value is not None:
            added.add_argument("value", metavar=value)
        if name not in ("status", "history"):
            added.add_argument("--who", default=f"{getpass.getuser()}@{socket.gethostname()}")
            added.add_argument("--why", default="")
        return added

    command("stage", "load a model beside the live one, without traffic", "TAG").add_argument(
        "--no-wait", action="store_true", help="do not wait until the workers have it"
    )
    command("weight", "give the staged model a share of the callers", "PERCENT")
    command("shadow", "let both models judge a share of the requests", "PERCENT")
    promote = command("promote", "make the staged model live")
    promote.add_argument("--force", action="store_true", help="though gates fail; it is written down")
    promote.add_argument("--watch-s", type=float, help="so long it may take itself back")
    command("rollback", "back to the model before")
    command("release", "empty the other slot")
    command("status", "what is live, what is beside it, and the gates")
    command("history", "every change there was; the chain is verified")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    store = settings.store()
    operator = Operator(store, settings.rollout_limits, settings.rollout_watch_s)
    try:
        if arguments.command == "history":
            for entry in await operator.history():
                at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="seconds")
                why = f" ({entry.why})" if entry.why else ""
                print(f"{entry.number:>4}  {at}  {entry.who}: {entry.what}; live {entry.before} -> {entry.after}{why}")
            return 0
        if arguments.command != "status":
            value, force = getattr(arguments, "value", None), getattr(arguments, "force", False)
            state = await operator.carry_out(Order(arguments.command, arguments.who, arguments.why, value, force))
            if arguments.command == "stage" and not arguments.no_wait:
                return await _staged(operator, state.generation, str(value))
            _show(await _settled(operator))
            return 0
        _show(await operator.status())
    finally:
        await store.close()
    return 0


def _settings(arguments: argparse.Namespace) -> RolloutSettings:
    """The environment's, but for what the command line says. Raises SettingInvalid."""
    given = {
        "REDIS_URL": arguments.redis_url,
        "ROLLOUT_FOLDER": arguments.folder,
        "ROLLOUT_NAME": arguments.name,
        "ROLLOUT_WATCH_S": getattr(arguments, "watch_s", None),
    }
    os.environ |= {name: str(value) for name, value in given.items() if value is not None}
    return RolloutSettings.from_environment()


async def _settled(operator: Operator) -> dict[str, Any]:
    """The status once all workers serve it, or after a while."""
    for _ in range(SETTLE_LOOKS):
        if not (status := await operator.status())["behind"]:
            break
        await asyncio.sleep(0.02)
    return status


async def _staged(operator: Operator, generation: int, tag: str) -> int:
    """Wait until all workers have ``tag``, or one cannot have it."""
    until = time.monotonic() + STAGE_LIMIT_S
    said = ""
    while time.monotonic() < until:
        status = await operator.status()
        workers = status["workers"]
        refused = {worker["worker"]: worker["problems"][tag] for worker in workers if tag in worker["problems"]}
        if status["generation"] == generation and refused:
            for worker, problem in refused.items():
                print(f"{worker}: {problem}", file=sys.stderr)
            print(f"{tag} cannot be served; `release` empties its slot", file=sys.stderr)
            return 1
        ready = sum(tag in worker["ready"] for worker in workers)
        if workers and ready == len(workers):
            _show(status)
            return 0
        if (line := f"{ready} of {len(workers)} workers have {tag}") != said:
            print(line, file=sys.stderr)
            said = line
        await asyncio.sleep(0.2)
    print(f"not all workers had {tag} after {STAGE_LIMIT_S:.0f} s; see `status`", file=sys.stderr)
    return 1


def _show(status: dict[str, Any]) -> None:
    print(f"generation {status['generation']}, {len(status['workers'])} worker(s)")
    for slot in ("blue", "green"):
        role = "live" if slot == status["live_slot"] else status["role"] or ""
        print(f"  {slot:<6} {status[slot] or '-'}  {role}")
    if status["other"]:
        print(f"  {status['weight']:g} % of callers to {status['other']}, {status['shadow']:g} % of requests mirrored")
    for gate in status["gates"]:
        print(f"  {MARKS[gate['passed']]:<7} {gate['name']}: {gate['detail']}")
    for worker in status["workers"]:
        for tag, problem in worker["problems"].items():
            print(f"  {worker['worker']} cannot serve {tag}: {problem}")
    if status["behind"]:
        print(f"  not there yet: {', '.join(status['behind'])}")


def main() -> int:
    """Run the command; 1 and one line where it cannot be done."""
    try:
        return asyncio.run(_run(_arguments()))
    except (ServingError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
