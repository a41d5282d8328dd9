"""What a soak came to: marks that hold or not, and tables of Markdown."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.soak.churn import KEYS, REDIS, ROLLOUT, STAGED
from tests.soak.growth import Compared, Growth, Sample, Usage
from tests.soak.scene import TAGS
from tests.soak.soak import Soak

MOST_GROWTH = 0.03
HANDFUL = 5
"""Descriptors, or threads, of all processes together."""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """What was seen, and whether that is allowed."""

    name: str
    seen: str
    allowed: str
    holds: bool

    @property
    def row(self) -> str:
        """Of a table."""
        return f"| {self.name} | {self.seen} | {self.allowed} | {'yes' if self.holds else 'NO'} |"


def rss(name: str) -> Callable[[Sample], float]:
    """Of one process, in MiB."""
    return lambda sample: sample.usages[name].rss_mib


def together(of: Callable[[Usage], float]) -> Callable[[Sample], float]:
    """Of all processes: connections come to either worker."""
    return lambda sample: sum(map(of, sample.usages.values()))


def flat(growth: Growth, hours: float) -> bool:
    """Whether there is neither a jump nor a trend, of more than a handful."""
    return abs(growth.more) <= HANDFUL and growth.per_hour * hours <= HANDFUL


def of_growth(found: Compared | None, most: float = MOST_GROWTH) -> list[Mark]:
    """Of memory, descriptors and threads; one that fails where the samples are too few."""
    if found is None:
        return [Mark("memory, descriptors", "too few samples", "a longer run", holds=False)]
    marks = []
    for name in found.all[0].usages:
        growth = found.growth(rss(name))
        sizes = f"{growth.share:+.1%} ({growth.before:,.1f} to {growth.after:,.1f} MiB)"
        marks.append(Mark(f"memory of {name}", sizes, f"below {most:.0%}", growth.share < most))
    hours = (found.all[-1].at_s - found.all[0].at_s) / 3_600
    counted: tuple[tuple[str, Callable[[Usage], float]], ...] = (
        ("file descriptors", lambda usage: usage.descriptors),
        ("threads", lambda usage: usage.threads),
    )
    for what, of in counted:
        growth = found.growth(together(of))
        seen = f"{growth.more:+g} ({growth.before:g} to {growth.after:g}), trend {growth.per_hour * hours:+.1f}"
        marks.append(Mark(what, seen, f"within {HANDFUL}", flat(growth, hours)))
    return marks


def marks(seen: Soak, most: float = MOST_GROWTH) -> list[Mark]:
    """All."""
    done, load, truth = seen.churn.done, seen.load, seen.truth
    answered = ", ".join(f"{truth.checked[tag]:,} of {tag}" for tag in TAGS)
    leaks = {where: len(found) for where, found in seen.leaks.items()}
    each = min(done[what] for what in (ROLLOUT, KEYS, REDIS))
    changed = (
        f"{done[ROLLOUT]} rollouts, {done[KEYS]} keys, {done[REDIS] + done[STAGED]} restarts of Redis ({done[STAGED]} "
        f"of them in a rollout); {len(seen.churn.failures)} failed"
    )
    return [
        *of_growth(seen.compared, most),
        _none("failed requests", load.failed, f"of {load.requests:,}"),
        Mark(
            "answers unlike their model's", f"{truth.unlike_count} ({answered})", "none, of both",
            not truth.unlike_count and all(truth.checked.values()),
        ),
        Mark("changes", changed, "each, and none failed", each > 0 and not seen.churn.failures),
        Mark("entries of the ledger", f"{len(seen.entries):,}, chained", "some", bool(seen.entries)),
        _none("reviews left behind", sum(leaks.values()), f"in {', '.join(leaks)}"),
        _none("other problems", len(seen.problems), "in logs, metrics and processes"),
    ]  # fmt: skip


def table(seen: Soak, most: float = MOST_GROWTH) -> str:
    """Marks, then what was taken of what, early and late."""
    lines = ["| | seen | allowed | |", "|---|---|---|---|", *(mark.row for mark in marks(seen, most))]
    if (found := seen.compared) is not None:
        lines += ["", *_usages(found)]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in seen.load.counts.most_common())
    lines += ["", f"Requests: {kinds}; {seen.load.requests / seen.lasted_s:,.0f} a second for {seen.lasted_s:,.0f} s."]
    if seen.interrupted:
        lines.append(f"Interrupted: it was to last {seen.seconds:,.0f} s.")
    return "\n".join(lines)


def details(seen: Soak) -> list[str]:
    """Each thing that should not be, to be looked at."""
    lines = [f"- {problem}" for problem in [*seen.problems, *seen.churn.failures]]
    lines += [f"- at {each.at_s:.1f} s, {each.kind}: {each.status} {each.said}" for each in seen.load.failures[:_SHOWN]]
    lines += [f"- {each}" for each in seen.truth.unlike[:_SHOWN]]
    for where, leaks in seen.leaks.items():
        lines += [f"- in {where}: {leak!r}" for leak in leaks[:_SHOWN]]
    return lines


def _none(name: str, count: int, among: str) -> Mark:
    return Mark(name, f"{count:,} {among}", "none", not count)


def _usages(found: Compared) -> list[str]:
    columns: dict[str, Callable[[Usage], float]] = {
        "RSS, MiB": lambda usage: usage.rss_mib,
        "PSS, MiB": lambda usage: usage.pss_mib,
        "anonymous, MiB": lambda usage: usage.anonymous_mib,
        "descriptors": lambda usage: usage.descriptors,
        "threads": lambda usage: usage.threads,
    }
    lines = ["| process | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name in found.all[0].usages:
        growths = [found.growth(lambda each, name=name, of=of: of(each.usages[name])) for of in columns.values()]  # type: ignore[misc]
        cells = [f"{growth.before:,.1f} to {growth.after:,.1f}" for growth in growths]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    spans = [f"{part[0].at_s / 60:.1f} to {part[-1].at_s / 60:.1f}" for part in (found.early, found.late)]
    counts = f"{len(found.early)} and {len(found.late)} samples between changes"
    return [*lines, "", f"Medians of {counts}, of minutes {spans[0]} and {spans[1]}."]
