"""Our service beside others on the same weights. ``python -m benchmarks.serving [--shape small,base] [--nsmc FOLDER]``.

Each server alone is put through the same loads over HTTP, in turns, over several rounds; the engine without a service
runs in between, and every answer is held against its. Weights are random: speed does not depend on them. Reviews are
NSMC's test reviews as long as they are, each with a number behind that no other load has, so no cache helps anybody
where it should not. Prints Markdown; what the servers log stays in the folder that ``--keep`` names.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import types
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime

from benchmarks import bare, plan
from benchmarks.jobs import Measured, Phase
from benchmarks.machine import described
from benchmarks.plan import Row, RowFailed
from benchmarks.results import Results, marks, self_check, table
from benchmarks.reviews import COLD
from benchmarks.servers import INSTANT, OURS, PEER_SERVERS, Running, Server, ServerFailed, running
from benchmarks.subjects import SHAPES, Corpus, nsmc_folder
from benchmarks.weights import Weights
from serving.model import Model

BARE = "bare"
BARE_TEXTS = 4_096
INFERRED = "sentiment_batch_rows"
"""The histogram of the rows that were inferred together."""
SERVERS = (OURS, *PEER_SERVERS)
EVERY, QUICK = ",".join(server.name for server in SERVERS), "ours,fastapi"


@dataclass(slots=True)
class Comparison:
    """One shape's rounds under way."""

    weights: Weights
    servers: Sequence[Server]
    seconds: float
    warm_up_s: float
    brief: bool = False
    """Leaves out open loops for the others."""
    results: Results = field(default_factory=Results)
    said: dict[str, set[tuple[str, str, float]]] = field(default_factory=dict)
    engine: Model | None = None

    def run(self, rounds: int) -> Results:
        """All rounds, then what was said is held against the engine."""
        for number in range(rounds):
            ours = 0.0
            for server in self.servers:
                _tell(f"round {number + 1} of {rounds}: {server.title}")
                try:
                    with running(server, self.weights) as up:
                        ours = self._round(up, ours)
                except (ServerFailed, OSError) as error:
                    self._note(f"{server.title}: {error}")
                if server is OURS:
                    self._bare_round()
        self._compare()
        return self.results

    def _round(self, up: Running, ours: float) -> float:
        """All rows of one server; returns the capacity of ours with singles, in requests a second, once it is known."""
        name = up.server.name
        if up.server is OURS:
            self._load_engine(up)
        own = 0.0
        for row in plan.cold_rows(self.seconds, self.warm_up_s):
            measured = self._row(up, row)
            if measured and row.name in (plan.AT_32, plan.AT_64):
                own = max(own, measured.speed)
        if self.brief and up.server is not OURS:
            return ours
        rows = [plan.open_row(plan.OWN_LOAD, plan.LOAD * own, self.seconds, self.warm_up_s)] if own else []
        if up.server is OURS:
            rows += plan.own_rows(self.seconds, self.warm_up_s)
        elif ours:
            rows.append(plan.open_row(plan.OUR_LOAD, plan.LOAD * ours, self.seconds, self.warm_up_s))
        for row in rows:
            self._row(up, row)
        return own if name == OURS.name else ours

    def _row(self, up: Running, row: Row) -> Measured | None:
        name = up.server.name
        before = self._inferred(up)
        try:
            report = row.run(up, self.weights)
        except RowFailed as error:
            self._note(str(error))
            return None
        after = self._inferred(up)
        if row.name == plan.SAME:
            self.results.inferences.append(None if before is None or after is None else after[0] - before[0])
        elif before and after and row.kind == COLD and len(row.phases) == 1:
            together = (after[0] - before[0]) / (after[1] - before[1])
            self.results.batches.setdefault(row.name, []).append(together)
        if row.name == plan.BURST:
            self.results.lone.append((report.phases[0].p50_ms, report.phases[-1].p50_ms))
        if report.unread:
            self._note(f"{up.server.title}, {row.name}: {report.unread} answers could not be read")
        self.said.setdefault(name, set()).update(report.answers)
        measured = report.phases[-1]
        self.results.add(name, row.name, measured)
        _tell(f"  {row.name}: {measured.speed:,.1f} reviews/s, p50 {measured.p50_ms:.1f}, p99 {measured.p99_ms:.1f} ms")
        return measured

    def _inferred(self, up: Running) -> tuple[float, float] | None:
        """Rows that ours has inferred so far, and in how many batches; None of others, and where no metric tells."""
        if up.server is not OURS:
            return None
        try:
            rows, batches = up.metric(f"{INFERRED}_sum"), up.metric(f"{INFERRED}_count")
        except OSError:
            return None
        return None if rows is None or batches is None else (rows, batches)

    def _load_engine(self, up: Running) -> None:
        info: dict[str, Any] = json.loads(up.get("/api/v1/sentiment/model-info"))
        self.engine = bare.load(self.weights.bundle, info)
        schedule = self.engine.runner.schedule
        theirs = {key: info["engine_choice"][key] for key in ("streams", "threads", "batch_tokens", "call_tokens")}
        self._note(
            f"ours: {info['engine']} in {info['precision']}, {theirs}; the bare engine: "
            f"{schedule.engine.layout}, {schedule.cut}"
        )

    def _bare_round(self) -> None:
        if self.engine is None:
            return
        _tell("the bare engine")
        texts = [f"{text} 4" for text in json.loads(self.weights.texts.read_text(encoding="utf-8"))[:BARE_TEXTS]]
        for size, name in ((plan.BATCH, f"batches of {plan.BATCH}"), (1, "one by one")):
            self.results.add(BARE, name, bare.timed(self.engine, texts, size, self.seconds))

    def _compare(self) -> None:
        """Ours against the engine as it serves, the others against full precision."""
        _tell("comparing the answers")
        ours = self.said.get(OURS.name)
        if ours and self.engine:
            known = bare.judged(self.engine, {text for text, _, _ in ours})
            self.results.compared[OURS.title] = bare.compared(ours, known, self.engine, neutral=True)
        peers = {server.title: self.said[server.name] for server in PEER_SERVERS if server.name in self.said}
        if peers:
            full = bare.load(self.weights.bundle)
            known = bare.judged(full, {text for answers in peers.values() for text, _, _ in answers})
            for title, answers in peers.items():
                self.results.compared[title] = bare.compared(answers, known, full, neutral=False)

    def _note(self, line: str) -> None:
        _tell(line)
        if line not in self.results.notes:
            self.results.notes.append(line)


def generator_alone(weights: Weights, seconds: float) -> list[str]:
    """What the load generator can do."""

    def row(name: str, phase: Phase, batch: int = 0) -> Row:
        return Row(name, COLD, batch, (phase,), "0")

    closed = [row(f"{clients} client(s)", Phase(clients, seconds=seconds)) for clients in (1, 32, 64)]
    batches = row(plan.BATCHES, Phase(plan.BATCH_CLIENTS, seconds=seconds), plan.BATCH)
    opened = [row(f"open, {rate:,}/s", Phase(rate=rate, seconds=seconds)) for rate in (1_000, 4_000)]
    results = Results()
    with running(INSTANT, weights) as up:
        for each in (*closed, batches, *opened):
            results.add(INSTANT.name, each.name, each.run(up, weights, read=False).phases[-1])
    return self_check(results, INSTANT)


def shape_lines(name: str, weights: Weights, comparison: Comparison, rounds: int) -> list[str]:
    """A shape's tables and marks."""
    results = comparison.run(rounds)
    titles = {server.name: server.title for server in comparison.servers} | {BARE: "the bare engine"}
    peers = [server for server in comparison.servers if server is not OURS]
    return [
        f"## {name}",
        "",
        f"{weights.parameters:,} parameters, {rounds} round(s) of {comparison.seconds:g} s",
        "",
        *table(results, titles),
        "",
        *(f"- {line}" for line in [*results.notes, *marks(results, name, peers, BARE)]),
        "",
    ]


def _chosen(names: str) -> list[Server]:
    known = {server.name: server for server in SERVERS}
    wanted = names.split(",")
    if unknown := set(wanted) - set(known):
        raise SystemExit(f"--only names {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    return [server for server in SERVERS if server.name in wanted]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop(_: int, __: types.FrameType | None) -> None:
    raise SystemExit(143)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=__doc__)
    parser.add_argument("--shape", default="small,base", help="which, with commas between")
    parser.add_argument("--nsmc", type=Path, help="folder with NSMC's files; else $NSMC_SOURCE, else the sample")
    parser.add_argument("--seconds", type=float, default=10.0, help="so long is a row measured in a round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", help=f"of {EVERY}; --quick without it takes {QUICK}")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the models and the servers' logs; else they are deleted"
    )
    parser.add_argument("--quick", action="store_true", help="one short round of the small shape, for developing")
    arguments = parser.parse_args()
    shapes, rounds, seconds, warm_up_s = arguments.shape.split(","), arguments.rounds, arguments.seconds, 2.0
    if arguments.quick:
        shapes, rounds, seconds, warm_up_s = ["small"], 1, 1.0, 0.3
    servers = _chosen(arguments.only or (QUICK if arguments.quick else EVERY))
    signal.signal(signal.SIGTERM, _stop)
    folder = nsmc_folder(arguments.nsmc)
    print(f"{described(cpu=True)}; ONNX Runtime {onnxruntime.__version__}, {os.cpu_count()} processor(s)\n", flush=True)
    with ExitStack() as stack:
        root = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serving-")))
        for number, (name, weights) in enumerate(_made(shapes, folder, root)):
            if not number:
                print("\n".join(generator_alone(weights, min(seconds, 3.0))), "\n", flush=True)
            comparison = Comparison(weights, servers, seconds, warm_up_s, brief=arguments.quick)
            print("\n".join(shape_lines(name, weights, comparison, rounds)), flush=True)


def _made(shapes: Sequence[str], nsmc: Path, root: Path) -> Iterator[tuple[str, Weights]]:
    for name in shapes:
        _tell(f"making {name}")
        corpus = Corpus.load(nsmc, SHAPES[name].architecture.vocabulary)
        yield name, Weights.make(SHAPES[name], corpus, nsmc / "ratings_test.txt", root / name)


if __name__ == "__main__":
    main()
