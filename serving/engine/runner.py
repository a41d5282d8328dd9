"""What answers for a model: the chosen engine, and the CPU once its device fails."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from data.bundle import Bundle
from serving.engine import LogitArray, Rows
from serving.engine.choose import Choice, Wanted, choose
from serving.engine.schedule import Schedule
from serving.errors import EngineFailed

log = logging.getLogger(__name__)


class Runner:
    """Runs batches of any rows. A device that fails is given up for good, and the batch is run again on the CPU."""

    def __init__(self, bundle: Bundle, choice: Choice) -> None:
        self.choice = choice
        self._bundle = bundle
        self._lock = threading.Lock()

    @property
    def schedule(self) -> Schedule:
        """How calls are cut and how many are run at a time, now."""
        return self.choice.schedule

    def logits(self, rows: Rows) -> LogitArray:
        """(N, C) float32 logits of N rows, in their order. Raises EngineFailed where the CPU fails, too."""
        choice = self.choice
        return self._run(choice, choice.schedule.logits, rows)

    def call(self, rows: Rows) -> LogitArray:
        """The same for rows that ``Cut`` lets share a call, on the thread that asks."""
        choice = self.choice
        return self._run(choice, choice.schedule.engine.logits, rows)

    def _run(self, choice: Choice, judge: Callable[[Rows], LogitArray], rows: Rows) -> LogitArray:
        try:
            return judge(rows)
        except EngineFailed as error:
            if choice.schedule.engine.name.endswith("-cpu"):
                raise
            self._give_up(choice, error)
        return self.choice.schedule.logits(rows)

    def _give_up(self, failed: Choice, error: EngineFailed) -> None:
        with self._lock:
            if self.choice is failed:  # nobody else has, while this thread waited
                log.warning("%s; the CPU takes over", error)
                self.choice = replace(choose(self._bundle, Wanted(device="cpu")), degraded=str(error))
                failed.schedule.close()
