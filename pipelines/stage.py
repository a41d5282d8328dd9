"""A stage as a process: what an error and a signal look like to whoever started it."""

import errno
import signal
import sys
from collections.abc import Callable
from types import FrameType

from data.errors import DataError
from pipelines.errors import PipelineError
from training.errors import TrainingError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that is full, or that no more of is allowed."""


def run(main: Callable[[], None]) -> None:
    """Call ``main`` as a process.

    An expected error, a full disk among them, is one message and exit status 1. Ctrl-C is 130 and SIGTERM 143; both
    unwind the stack, so that what is half done is cleaned up or marked as interrupted.
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        main()
    except (PipelineError, TrainingError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f"{error.filename} cannot be written" if error.filename else "a file cannot be written"
        print(f"error: {where}: {error.strerror}; free some space and run the same command again", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
