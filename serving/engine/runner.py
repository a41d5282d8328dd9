"""What answers for a model: the chosen engine, and the CPU once its device fails."""

import logging
import threading
from dataclasses import replace

from data.bundle import Bundle
from serving.engine import LogitArray, Rows
from serving.engine.choose import Choice, Wanted, choose
from serving.errors import EngineFailed

log = logging.getLogger(__name__)


class Runner:
    """Runs batches of any rows. A device that fails is given up for good, and the batch is run again on the CPU."""

    def __init__(self, bundle: Bundle, choice: Choice) -> None:
        self.choice = choice
        self._bundle = bundle
        self._lock = threading.Lock()

    def logits(self, rows: Rows) -> LogitArray:
        """(N, C) float32 logits of N rows, in their order. Raises EngineFailed where the CPU fails, too."""
        choice = self.choice
        try:
            return choice.schedule.logits(rows)
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
