"""``python -m serving.access COMMAND``: create, list, revoke. Works on the store itself, with no service in between.

A new key is printed once, on standard output, and is nowhere else: its digest is kept. A running service knows of a
change within seconds.
"""

import argparse
import asyncio
import sys
import time
from datetime import UTC, datetime

from serving.access.keys import SCOPES, Key, issue
from serving.access.settings import KeySettings
from serving.errors import ServingError

DAYS = 90.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.access", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key, and print it")
    create.add_argument("owner", help="whom it is for; may have two live keys, for rotation")
    create.add_argument("--scopes", default="predict", help=f"some of {','.join(SCOPES)}; by itself predict")
    create.add_argument("--days", type=float, default=DAYS, help=f"how long it is good, by itself {DAYS:g}")
    commands.add_parser("list", help="all keys that there ever were")
    commands.add_parser("revoke", help="take a key's force").add_argument("id")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    store, now = KeySettings.from_environment().keys(), time.time()
    try:
        if arguments.command == "create":
            scopes = tuple(scope.strip() for scope in arguments.scopes.split(","))
            key, reads = issue(arguments.owner, scopes, arguments.days, now)
            await store.add(key)
            print(f"{_line(key, now)}\nIt is shown this once:", file=sys.stderr)
            print(reads)
        elif arguments.command == "revoke":
            print(_line(await store.revoke(arguments.id, now), now))
        else:
            for key in sorted(await store.read(), key=lambda each: each.created):
                print(_line(key, now))
    finally:
        await store.close()


def _line(key: Key, now: float) -> str:
    state = "live" if key.live(now) else f"revoked {_day(key.revoked)}" if key.revoked is not None else "expired"
    return f"{key.id}  {key.owner}: {','.join(key.scopes)}; {state}; {_day(key.created)} to {_day(key.expires)}"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def main() -> int:
    """Run the command; 1 and one line where it cannot be done."""
    try:
        asyncio.run(_run(_arguments()))
    except ServingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
