"""A stage as a process: what an error and a signal look like to whoever started it."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

from data.errors import DataError
from pipelines.errors import PipelineError
from training.errors import TrainingError


def run(main: Callable[[], None]) -> None:
    """Call ``main`` as a process.

    An expected error is one message and exit status 1. Ctrl-C is 130 and SIGTERM 143; both unwind the stack, so that
    what is half done is cleaned up or marked as interrupted.
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        main()
    except (PipelineError, TrainingError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
