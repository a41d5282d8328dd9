"""What the rounds found, as tables, and how it stands to the marks."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.bare import Compared
from benchmarks.jobs import UNANSWERED, Measured
from benchmarks.plan import (
    AT_32,
    AT_64,
    AT_ONCE,
    BATCH,
    BATCHES,
    BURST,
    HIT_BATCHES,
    HIT_SINGLES,
    LOAD,
    MORE_BATCHES,
    OWN_LOAD,
)
from benchmarks.servers import OURS, Server

FASTAPI_MARK = 6.0
"""Times the reviews a second of FastAPI and transformers at 32 clients."""
BATCHES_MARK, SINGLES_MARK = 0.8, 0.6
"""Shares of the bare engine's reviews a second in batches of 32."""
TAIL_MARK, LONE_MARK = 2.5, 1.2
"""p99 in p50s, and a lone client's latency after a burst in that before."""
HIT_BATCHES_MARK, HIT_SINGLES_MARK = 20.0, 4.0
"""How many times less processor time a hit takes than a miss of the small model."""
HEAD = [
    "| server | load | reviews/s | min..max | p50 ms | p99 ms | min..max | errors | CPU ms a review | generator |",
    "|---|---|--:|--:|--:|--:|--:|---|--:|--:|",
]


@dataclass(slots=True)
class Results:
    """Figures of each server and row, one a round, and what else was found."""

    rows: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    lone: list[tuple[float, float]] = field(default_factory=list)
    """A lone client's median latency before and after a burst, in ms."""
    inferences: list[float | None] = field(default_factory=list)
    """For the requests of one text; None where the server does not tell."""
    batches: dict[str, list[float]] = field(default_factory=dict)
    """Of our rows: rows that were inferred together, on average."""
    compared: dict[str, Compared] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, server: str, row: str, measured: Measured) -> None:
        """One more round."""
        self.rows.setdefault((server, row), []).append(measured)

    def median(self, server: str, row: str, figure: Callable[[Measured], float]) -> float:
        """Of all rounds; NaN where there is none."""
        found = self.rows.get((server, row))
        return statistics.median(map(figure, found)) if found else math.nan

    def speed(self, server: str, row: str) -> float:
        """Reviews a second."""
        return self.median(server, row, lambda measured: measured.speed)

    def p99(self, server: str, row: str) -> float:
        """Latency in ms."""
        return self.median(server, row, lambda measured: measured.p99_ms)

    def cpu(self, server: str, row: str) -> float:
        """Processor time of a review, in ms."""
        return self.median(server, row, lambda measured: measured.cpu_ms)


def table(results: Results, titles: dict[str, str]) -> list[str]:
    """One line for each row of each server, rows of one name together."""
    names = dict.fromkeys(row for _, row in results.rows)
    lines = list(HEAD)
    for name in names:
        for server, title in titles.items():
            found = results.rows.get((server, name))
            if found:
                lines.append(_line(title, name, found))
    return lines


def _line(title: str, name: str, found: Sequence[Measured]) -> str:
    def of(figure: Callable[[Measured], float], digits: int) -> tuple[str, str]:
        values = [figure(each) for each in found]
        return (
            f"{statistics.median(values):,.{digits}f}",
            f"{min(values):,.{digits}f}..{max(values):,.{digits}f}",
        )

    speed, speeds = of(lambda each: each.speed, 1)
    p99, p99s = of(lambda each: each.p99_ms, 1)
    errors: dict[str, int] = {}
    for each in found:
        for kind, count in each.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    least = "≥ " if UNANSWERED in errors else ""
    said = ", ".join(f"{count} {kind}" for kind, count in errors.items()) or "0"
    generator = statistics.median(each.load_cpu_s / each.seconds for each in found)
    return (
        f"| {title} | {name} | {speed} | {speeds} | {of(lambda each: each.p50_ms, 1)[0]} | {least}{p99} | {p99s} | "
        f"{said} | {of(lambda each: each.cpu_ms, 3)[0]} | {generator:.0%} |"
    )


def marks(results: Results, shape: str, peers: Sequence[Server], bare: str) -> list[str]:
    """A line for each mark, with yes or NO, or that it was not measured."""
    return [
        *_ahead(results, peers),
        *_through_http(results, bare),
        *_together(results),
        *_steady(results),
        *_remembered(results, shape),
        *_equal(results),
    ]


def held(is_held: bool) -> str:
    """Yes, or NO."""
    return "yes" if is_held else "NO"


def _share(name: str, figure: float, wanted: float, digits: str, *, most: bool = False) -> str:
    if math.isnan(figure):
        return f"{name}: not measured"
    is_held = figure <= wanted if most else figure >= wanted
    return f"{name}: {figure:{digits}} (at {'most' if most else 'least'} {wanted:{digits}}: {held(is_held)})"


def _ahead(results: Results, peers: Sequence[Server]) -> list[str]:
    lines = []
    for peer in peers:
        times = results.speed(OURS.name, AT_32) / results.speed(peer.name, AT_32)
        ours, theirs = results.p99(OURS.name, AT_32), results.p99(peer.name, AT_32)
        if math.isnan(times):
            lines.append(f"{AT_32}, beside {peer.title}: not measured")
            continue
        wanted = FASTAPI_MARK if peer.name == "fastapi" else 1.0
        lines.append(
            f"{AT_32}: {times:.1f} x {peer.title} (at least {wanted:g}: {held(times >= wanted)}), "
            f"p99 {ours:,.1f} ms and theirs {theirs:,.1f} ms (lower: {held(ours < theirs)})"
        )
    return lines


def _through_http(results: Results, bare: str) -> list[str]:
    engine, one = results.speed(bare, f"batches of {BATCH}"), results.speed(bare, "one by one")
    singles = results.speed(OURS.name, AT_64)
    filled = max((BATCHES, MORE_BATCHES), key=lambda row: results.speed(OURS.name, row))
    return [
        _share(f"{filled}, of the bare engine", results.speed(OURS.name, filled) / engine, BATCHES_MARK, ".0%"),
        _share(f"{AT_64}, of the bare engine in batches", singles / engine, SINGLES_MARK, ".0%")
        + ("" if math.isnan(singles / one) else f"; of the bare engine one by one {singles / one:.0%}"),
    ]


def _together(results: Results) -> list[str]:
    shown = ", ".join(f"{row} {statistics.median(found):.1f}" for row, found in results.batches.items())
    return [f"reviews that ours inferred together, on average: {shown}"] if shown else []


def _steady(results: Results) -> list[str]:
    tail = results.median(OURS.name, OWN_LOAD, lambda measured: measured.p99_ms / measured.p50_ms)
    lone = statistics.median(after / before for before, after in results.lone) if results.lone else math.nan
    shown = ", ".join(f"{before:.1f} and {after:.1f} ms" for before, after in results.lone)
    return [
        _share(f"p99 in p50s at {LOAD:.0%} load", tail, TAIL_MARK, ".2f", most=True),
        _share(f"{BURST}: {shown}, ratio", lone, LONE_MARK, ".2f", most=True),
    ]


def _remembered(results: Results, shape: str) -> list[str]:
    pairs = (
        (BATCHES, HIT_BATCHES, HIT_BATCHES_MARK),
        (AT_32, HIT_SINGLES, HIT_SINGLES_MARK),
    )
    lines = []
    for miss, hit, wanted in pairs:
        missed, found = results.cpu(OURS.name, miss), results.cpu(OURS.name, hit)
        name = f"CPU of a miss in that of a hit, {miss}: {missed:.3f} and {found:.3f} ms, ratio"
        ratio = missed / found if found else math.nan
        lines.append(_share(name, ratio, wanted, ".1f") if shape == "small" else f"{name}: {ratio:.1f}")
    told = [each for each in results.inferences if each is not None]
    if told:
        most = max(told)
        lines.append(f"{AT_ONCE:,} requests of one text at once: {most:g} inference(s) (1: {held(most == 1)})")
    else:
        lines.append(f"{AT_ONCE:,} requests of one text at once: not measured, no metric tells inferences")
    return lines


def _equal(results: Results) -> list[str]:
    lines = []
    for title, found in results.compared.items():
        lines.append(
            f"{title}: {found.answers:,} different answers, {found.unequal:,} unlike the engine's by more than "
            f"{found.tolerance:g} or in the label (none: {held(not found.unequal)}; {found.as_alone:,} of "
            f"them are what the engine says of the text alone), largest difference {found.largest:.6f}"
        )
    return lines


def self_check(results: Results, server: Server) -> list[str]:
    """What the load generator can do where the server does next to nothing."""
    lines = [
        f"| load on {server.title} | requests/s | p50 ms | p99 ms | sent late ms (p99) | generator µs a request |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for (name, row), (measured,) in results.rows.items():
        if name == server.name:
            late = "" if math.isnan(measured.late_ms) else f"{measured.late_ms:.2f}"
            lines.append(
                f"| {row} | {measured.requests / measured.seconds:,.0f} | {measured.p50_ms:.2f} | "
                f"{measured.p99_ms:.2f} | {late} | {measured.load_cpu_us:.0f} |"
            )
    return lines
