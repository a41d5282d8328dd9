"""Who made which version champion, when and why: ``python -m pipelines.audit [--at TIME]``, or ``make audit``.

Verifies the promotion log in MLflow, holds its end against the alias, and prints it; with ``--at``, says what was
champion then. Ends with 1 where the log was changed, or the alias was moved past it.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from data.errors import DataError
from data.ledger import Entry, at_time, verify
from pipelines.errors import PipelineError, RegistryError
from pipelines.params import Params
from pipelines.registry import CHAMPION, Registry, Version


def check(entries: Sequence[Entry], champion: Version | None) -> None:
    """Raises LedgerBroken for a log that was changed, and RegistryError for an alias that it does not account for."""
    verify(entries)
    live, noted = champion and str(champion.number), entries[-1].after if entries else None
    if live != noted:
        raise RegistryError(
            f"alias {CHAMPION} is version {live}, and the promotion log ends with {noted}: it was moved by hand, or "
            "before there was a log"
        )


def line(entry: Entry) -> str:
    """An entry for people."""
    at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="seconds")
    return f"{entry.number:>4}  {at}  {entry.who}  version {entry.before or '-'} -> {entry.after}  {entry.why}"


def moment(text: str) -> datetime:
    """ISO 8601; without a zone it is this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-11-23T14:00 or 2026-11-23T14:00+09:00"
        ) from error


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="pipelines.audit", description=__doc__)
    parser.add_argument("--at", type=moment, help="what was champion then, in ISO 8601")
    arguments = parser.parse_args()
    try:
        registry = Registry(Params.load().register_)
        entries = registry.promotions()
        check(entries, registry.champion())
    except (PipelineError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.at is not None:
        entry = at_time(entries, arguments.at.timestamp())
        print(line(entry) if entry else f"nothing was champion at {arguments.at.isoformat(timespec='seconds')}")
        return 0
    print("\n".join(map(line, entries)) or "nothing was promoted yet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
