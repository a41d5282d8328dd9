"""What every server is put through, row by row of the table, and what only ours is."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

from benchmarks.jobs import Job, Phase, Report
from benchmarks.reviews import COLD, HALF, HIT_TEXTS, HITS, ONE
from benchmarks.servers import Running
from benchmarks.weights import Weights

BATCH, BATCH_CLIENTS, MORE_BATCH_CLIENTS = 32, 2, 4
AT_ONCE = 1_000
LOAD = 0.7
"""Share of the capacity that an open loop asks for."""
JOB_LIMIT_S = 300.0


class RowFailed(RuntimeError):
    """A row that could not be measured."""


@dataclass(frozen=True, slots=True)
class Row:
    """A name, the texts, reviews a request (0: a single text), and phases; the last one is the row's figure.

    Rows have marks of their own, the same for every server: all get the same texts, and a server gets none twice.
    """

    name: str
    kind: str
    batch: int
    phases: tuple[Phase, ...]
    mark: str

    def run(self, running: Running, weights: Weights, *, read: bool = True) -> Report:
        """In a process of its own. Raises RowFailed."""
        server = running.server
        texts = str(weights.texts)
        load = (self.kind, self.mark, self.batch, self.phases)
        job = Job(running.port, running.pid, server.dialect, texts, *load, read)
        limit_s = JOB_LIMIT_S + sum(phase.seconds for phase in self.phases)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.load"],
                input=json.dumps(asdict(job)),
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RowFailed(f"{server.title}, {self.name}: not done after {limit_s:.0f} s") from error
        if done.returncode:
            said = done.stderr.splitlines()[-1:] or ["nothing"]
            raise RowFailed(f"{server.title}, {self.name}: the load generator ended with {said[0]}")
        return Report.from_json(json.loads(done.stdout))


ALONE, AT_32, AT_64 = "1 client", "32 clients", "64 clients"
BATCHES = f"{BATCH_CLIENTS} clients, batches of {BATCH}"
MORE_BATCHES = f"{MORE_BATCH_CLIENTS} clients, batches of {BATCH}"
OWN_LOAD, OUR_LOAD = f"open, {LOAD:.0%} of its own", f"open, {LOAD:.0%} of ours"
HALF_SINGLES, HALF_BATCHES = f"{AT_32}, half repeated", f"{BATCHES}, half repeated"
HIT_SINGLES, HIT_BATCHES = f"{AT_32}, all repeated", f"{BATCHES}, all repeated"
BURST, SAME = f"{ALONE}, before and after {AT_64}", f"{AT_ONCE:,} requests of one text at once"


def cold_rows(seconds: float, warm_up_s: float) -> list[Row]:
    """For every server."""

    def closed(name: str, clients: int, mark: str, batch: int = 0) -> Row:
        return Row(name, COLD, batch, (Phase(clients, seconds=seconds, warm_up_s=warm_up_s),), mark)

    return [
        closed(ALONE, 1, "1"),
        closed(AT_32, 32, "2"),
        closed(AT_64, 64, "3"),
        closed(BATCHES, BATCH_CLIENTS, "4", BATCH),
    ]


def open_row(name: str, requests_per_s: float, seconds: float, warm_up_s: float) -> Row:
    """Single texts at random times."""
    mark = "5" if name == OWN_LOAD else "6"
    return Row(name, COLD, 0, (Phase(rate=requests_per_s, seconds=seconds, warm_up_s=warm_up_s),), mark)


def own_rows(seconds: float, warm_up_s: float) -> list[Row]:
    """For ours: what its cache, its batcher and its sharing of inferences are for."""
    filling = Phase(BATCH, requests=HIT_TEXTS)
    filling_batches = Phase(BATCH_CLIENTS, requests=HIT_TEXTS // BATCH)
    singles = Phase(32, seconds=seconds, warm_up_s=warm_up_s)
    batches = Phase(BATCH_CLIENTS, seconds=seconds, warm_up_s=warm_up_s)
    part = seconds / 2
    lone = Phase(1, seconds=part, warm_up_s=warm_up_s)
    more = Phase(MORE_BATCH_CLIENTS, seconds=seconds, warm_up_s=warm_up_s)
    return [
        Row(MORE_BATCHES, COLD, BATCH, (more,), "13"),
        Row(HALF_SINGLES, HALF, 0, (singles,), "7"),
        Row(HALF_BATCHES, HALF, BATCH, (batches,), "8"),
        Row(HIT_SINGLES, HITS, 0, (filling, singles), "9"),
        Row(HIT_BATCHES, HITS, BATCH, (filling_batches, batches), "10"),
        # the last client comes as soon as the others are answered
        Row(BURST, COLD, 0, (lone, Phase(64, seconds=part), Phase(1, seconds=part, warm_up_s=0.0)), "11"),
        Row(SAME, ONE, 0, (Phase(AT_ONCE, requests=AT_ONCE),), "12"),
    ]
