"""Pictures of Grafana's dashboards. ``python -m benchmarks.dashboards [--prometheus URL] [--into FOLDER]``.

Each panel's queries, as the dashboards have them, are answered by a Prometheus and drawn; what Grafana would make of
them looks different, and says the same. Without ``--prometheus`` two services of two workers around one Redis are
started and asked for a while, untrained models are rolled out, and a real Prometheus watches. Needs ``prometheus``, and
a Korean font.
"""

import argparse
import asyncio
import io
import itertools
import json
import math
import random
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.fleet import ANALYZE, Fleet, fill_store, running
from tests.deploy.prometheus import MONITORING, prometheus
from tests.models import write_bundle
from tests.redis_server import redis_server

DASHBOARDS = ("service", "model", "rollout", "cache")
MOST_BYTES = 150_000
STEPS = 120
"""Points of a curve."""
OLD, NEW = "sentiment:1", "sentiment:2"
SERVICES, WORKERS = 2, 2
QUEUE_TOKENS = 1_024
"""So few that a burst is refused."""
BATCH, STREAM, EXPLAIN = (ANALYZE.replace("analyze", route) for route in ("batch", "stream", "explain"))
KNOWN = [
    f"{start} {end} {n}" for start in ("정말", "그냥") for end in ("좋아요", "별로", "최고 ㅋㅋ") for n in range(50)
]
FONTS = ("NanumBarunGothic", "NanumGothic", "Noto Sans CJK KR", "Noto Sans KR", "DejaVu Sans")
COLOURS_OF_A_PICTURE = 128
_COLOURS = {"green": "#2f8f46", "orange": "#d9822b", "red": "#c4314b"}


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn of a panel: its place in Grafana's grid of 24 columns, and expressions with their legends."""

    title: str
    kind: str
    place: tuple[int, int, int, int]
    settings: dict[str, Any]
    queries: tuple[tuple[str, str], ...]


def panels(name: str, rate_interval: str) -> list[Panel]:
    """Of a dashboard; what Grafana fills in is ``rate_interval``."""
    content = json.loads((MONITORING / "grafana" / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    return [
        Panel(
            panel["title"],
            panel["type"],
            (panel["gridPos"]["x"], panel["gridPos"]["y"], panel["gridPos"]["w"], panel["gridPos"]["h"]),
            panel["fieldConfig"]["defaults"],
            tuple(
                (target["expr"].replace("$__rate_interval", rate_interval), target["legendFormat"])
                for target in panel["targets"]
            ),
        )
        for panel in content["panels"]
    ]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of an answer: labels, and values at times in seconds."""

    labels: dict[str, str]
    times: list[float]
    values: list[float]

    def called(self, legend: str) -> str:
        """The legend with the labels in it."""
        for label, value in self.labels.items():
            legend = legend.replace("{{" + label + "}}", value)
        return legend


class Source:
    """A Prometheus that is asked."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1/", timeout=30.0)

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of an answer. Raises ValueError with what Prometheus says."""
        answer = self._client.get(path, params=parameters).json()
        if answer["status"] != "success":
            raise ValueError(f"{parameters}: {answer['error']}")
        return answer["data"]

    def now(self, expression: str) -> list[Series]:
        """The values of this moment."""
        found = self.get("query", query=expression)["result"]
        return [Series(each["metric"], [float(each["value"][0])], [float(each["value"][1])]) for each in found]

    def over(self, expression: str, since: float, until: float) -> list[Series]:
        """The values of a span."""
        step = max(1.0, (until - since) / STEPS)
        found = self.get("query_range", query=expression, start=since, end=until, step=step)["result"]
        return [
            Series(each["metric"], [float(at) for at, _ in each["values"]], [float(v) for _, v in each["values"]])
            for each in found
        ]

    def close(self) -> None:
        """Close connections."""
        self._client.close()


def picture(name: str, source: Source, minutes: float, rate_interval: str, file: Path) -> None:
    """Draw a dashboard of the last ``minutes`` into ``file``. Raises ValueError where a panel has nothing to show."""
    until = time.time()
    since = until - 60 * minutes
    wanted = panels(name, rate_interval)
    height = max(panel.place[1] + panel.place[3] for panel in wanted)
    fonts = [font for font in FONTS if font in font_manager.get_font_names()]
    with (
        mpl.rc_context({"font.family": fonts, "font.size": 8, "axes.unicode_minus": False}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # where there is no Korean font, boxes tell so themselves
        figure = Figure(figsize=(15.0, 0.36 * height), dpi=80)
        for panel in wanted:
            ask = source.now if panel.kind == "stat" else partial(source.over, since=since, until=until)
            answers = [(legend, ask(query)) for query, legend in panel.queries]
            if not all(series for _, series in answers):
                raise ValueError(f"{name}, {panel.title}: a query has no answer")
            x, y, w, h = panel.place
            left, bottom = x / 24 + 0.04, 1 - (y + h) / height + 0.75 / height
            axes = figure.add_axes((left, bottom, w / 24 - 0.048, (h - 1.9) / height))
            axes.set_title(panel.title, loc="left", fontsize=9, fontweight=600)
            axes.set_xlim(0, until - since)
            _DRAWN[panel.kind](axes, panel, answers, since)
        drawn = io.BytesIO()
        figure.savefig(drawn)
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(COLOURS_OF_A_PICTURE).save(file, optimize=True)


Answers = Sequence[tuple[str, list[Series]]]


def _curves(axes: Axes, panel: Panel, answers: Answers, since: float) -> None:
    drawn = [(series.called(legend), series) for legend, found in answers for series in found]
    if "stacking" in panel.settings["custom"]:
        times = sorted({at for _, series in drawn for at in series.times})
        at = {time_: index for index, time_ in enumerate(times)}
        layers = np.zeros((len(drawn), len(times)))
        for layer, (_, series) in zip(layers, drawn, strict=True):
            layer[[at[time_] for time_ in series.times]] = np.nan_to_num(series.values)
        axes.stackplot(np.array(times) - since, layers, labels=[name for name, _ in drawn], alpha=0.7)
    else:
        for name, series in drawn:
            axes.plot(np.array(series.times) - since, series.values, label=name, linewidth=1.2)
    limits = panel.settings
    if (low := limits.get("min")) is not None:
        axes.set_ylim(bottom=low)
    high = limits.get("max")
    axes.set_ylim(top=1.2 * (axes.get_ylim()[1] if high is None else high))  # leaves room for the legend
    top = axes.get_ylim()[1]
    if "thresholdsStyle" in limits["custom"]:
        for step in limits["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] <= top:
                axes.axhline(step["value"], color=_COLOURS[step["color"]], linestyle="--", linewidth=1)
    axes.yaxis.set_major_formatter(lambda value, _: readable(value, limits["unit"]))
    _finish(axes)
    axes.legend(loc="upper left", ncols=3, fontsize=7, frameon=False)


def _buckets(axes: Axes, panel: Panel, answers: Answers, since: float) -> None:
    """A heatmap of cumulative buckets."""
    series = sorted((each for _, found in answers for each in found), key=lambda each: float(each.labels["le"]))
    finite = [each for each in series if math.isfinite(float(each.labels["le"]))]
    times = sorted({at for each in finite for at in each.times})
    at = {time_: index for index, time_ in enumerate(times)}
    grid = np.zeros((len(finite), len(times)))
    for row, each in zip(grid, finite, strict=True):
        row[[at[time_] for time_ in each.times]] = np.nan_to_num(each.values)
    counts = np.diff(grid, axis=0, prepend=0.0)
    edges = [0.0, *(float(each.labels["le"]) for each in finite)]
    starts = np.array([*times, 2 * times[-1] - times[-2]]) - since
    axes.pcolormesh(starts, edges, counts, cmap="Blues", rasterized=True)
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s")
    axes.tick_params(labelsize=7, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.3)


def _figures(axes: Axes, panel: Panel, answers: Answers, since: float) -> None:
    axes.set_axis_off()
    shown = [(series.called(legend), series.values[-1]) for legend, found in answers for series in found]
    for index, (name, value) in enumerate(shown):
        reached = [step["color"] for step in panel.settings["thresholds"]["steps"] if value >= (step["value"] or -1e99)]
        text = readable(value, panel.settings["unit"], panel.settings.get("decimals"))
        middle = (index + 0.5) / len(shown)
        axes.text(
            middle,
            0.6,
            text,
            color=_COLOURS[reached[-1]],
            fontsize=18,
            ha="center",
            va="center",
            transform=axes.transAxes,
        )
        axes.text(middle, 0.1, name, fontsize=7, ha="center", va="center", transform=axes.transAxes)


_DRAWN: dict[str, Callable[[Axes, Panel, Answers, float], None]] = {
    "timeseries": _curves,
    "stat": _figures,
    "heatmap": _buckets,
}


def readable(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in a unit of Grafana's."""
    if math.isnan(value):
        return "-"
    match unit:
        case "percentunit":
            return f"{100 * value:.3g} %" if decimals is None else f"{100 * value:.{decimals}f} %"
        case "s" if value >= 120:
            return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.0f} h"
        case "s":
            size, name = next(((s, n) for s, n in ((1.0, "s"), (1e-3, "ms")) if abs(value) >= s), (1e-6, "µs"))
            return f"{value / size:.3g} {name}" if value else "0"
        case "reqps" | "cps":
            return f"{value:,.4g}/s"
    return f"{value:,.{decimals}f}" if decimals is not None else f"{value:,.4g}"


class Traffic:
    """Callers of all kinds: of known texts and new ones, some that want no cache, that are wrong, or too many."""

    def __init__(self, bases: Sequence[str]) -> None:
        self._bases = itertools.cycle(bases)
        self._new = itertools.count()
        self._chance = random.Random(1)

    async def run(self) -> None:
        """Ask until cancelled."""
        kinds: list[tuple[float, Callable[[httpx.AsyncClient], Awaitable[None]]]] = [
            (0.01, self._known),
            (0.1, self._fresh),
            (0.2, self._uncached),
            (0.2, self._many),
            (0.5, self._other_routes),
            (0.5, self._wrong),
            (5.0, self._burst),
        ]
        async with httpx.AsyncClient(timeout=30.0) as client:
            await asyncio.gather(*(self._again(client, pause_s, kind) for pause_s, kind in kinds))

    @staticmethod
    async def _again(
        client: httpx.AsyncClient, pause_s: float, kind: Callable[[httpx.AsyncClient], Awaitable[None]]
    ) -> None:
        while True:
            await kind(client)
            await asyncio.sleep(pause_s)

    async def _post(self, client: httpx.AsyncClient, path: str, body: Any, *, base: str = "", **headers: str) -> None:
        headers["X-Client-ID"] = f"caller-{self._chance.randrange(10_000)}"
        await client.post((base or next(self._bases)) + path, json=body, headers=headers)

    def _text(self, words: int = 1) -> str:
        return " ".join(f"{self._chance.choice(KNOWN)} {next(self._new)}" for _ in range(words))

    async def _known(self, client: httpx.AsyncClient) -> None:
        await self._post(client, ANALYZE, {"text": self._chance.choice(KNOWN)})

    async def _fresh(self, client: httpx.AsyncClient) -> None:
        """Callers who come at once with one text: some of them wait for each other's answer."""
        text, base = self._text(), next(self._bases)
        await asyncio.gather(*(self._post(client, ANALYZE, {"text": text}, base=base) for _ in range(4)))

    async def _uncached(self, client: httpx.AsyncClient) -> None:
        await self._post(client, ANALYZE, {"text": KNOWN[0]}, **{"Cache-Control": "no-cache"})

    async def _many(self, client: httpx.AsyncClient) -> None:
        texts = [self._text() for _ in range(4)]
        await self._post(client, BATCH, {"texts": texts * 2})

    async def _other_routes(self, client: httpx.AsyncClient) -> None:
        await self._post(client, "/predict", {"texts": [self._text()]})
        await self._post(client, EXPLAIN, {"text": self._text()})
        line, headers = json.dumps({"text": self._text()}) + "\n", {"Content-Type": "application/x-ndjson"}
        await client.post(next(self._bases) + STREAM, content=line, headers=headers)

    async def _wrong(self, client: httpx.AsyncClient) -> None:
        await self._post(client, ANALYZE, {"text": ""})
        await client.get(next(self._bases) + "/nothing")

    async def _burst(self, client: httpx.AsyncClient) -> None:
        """Each would fit the queue; all of them do not."""
        texts, base = [[self._text(2) for _ in range(25)] for _ in range(12)], next(self._bases)
        await asyncio.gather(*(self._post(client, BATCH, {"texts": each}, base=base) for each in texts))


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Fleet, str]]:
    """Services under load, and the address of the Prometheus that watches them."""
    bundles = {tag: write_bundle(folder / f"model-{seed}", seed=seed).folder for seed, tag in ((1, OLD), (2, NEW))}
    surroundings = {"CACHE_ENTRIES": "100", "MAX_QUEUE_TOKENS": str(QUEUE_TOKENS), "ACCESS_LOG": "false"}
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server(folder))
        fleets = []
        for number in range(SERVICES):  # each with a home of its own: the metrics of a home are those of one service
            home = folder / f"home-{number}"
            home.mkdir()
            await asyncio.to_thread(fill_store, home, bundles)
            alone = running(home, OLD, redis.url, services=1, workers=WORKERS, surroundings=surroundings)
            fleets.append(await stack.enter_async_context(alone))
        await fleets[0].workers(SERVICES * WORKERS)
        bases = [base for fleet in fleets for base in fleet.bases]
        url = stack.enter_context(prometheus(folder, [base.removeprefix("http://") for base in bases]))
        asking = asyncio.create_task(Traffic(bases).run())
        try:
            yield fleets[0], url
            if asking.done():  # it never ends by itself
                asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def rolled_out(fleet: Fleet, seconds: float) -> None:
    """In quarters: one model, another one beside it for a tenth and for half of the callers, the other one alone."""
    await asyncio.sleep(seconds / 4)
    await fleet.order("stage", NEW)
    if problems := await fleet.staged(NEW):
        raise SystemExit(f"the model cannot be staged: {problems}")
    for command, value in (("weight", 10), ("weight", 50), ("promote", None)):
        await fleet.order(command, value, force=command == "promote")
        await asyncio.sleep(seconds / 4)


def draw(url: str, into: Path, minutes: float, rate_interval: str) -> list[Path]:
    """All dashboards; returns the files."""
    files = []
    source = Source(url)
    try:
        for name in DASHBOARDS:
            files.append(into / f"dashboard-{name}.png")
            picture(name, source, minutes, rate_interval, files[-1])
    finally:
        source.close()
    return files


async def rehearsed(folder: Path, into: Path, seconds: float) -> list[Path]:
    """Own services, own Prometheus; returns the files."""
    async with watched(folder) as (fleet, url):
        began = time.monotonic()
        await rolled_out(fleet, seconds)
        return await asyncio.to_thread(draw, url, into, (time.monotonic() - began) / 60, "10s")


def main() -> None:
    """Draw, and say how large the files are."""
    parser = argparse.ArgumentParser(prog="benchmarks.dashboards", description=__doc__)
    parser.add_argument("--prometheus", help="base address; without it, own services are watched")
    parser.add_argument("--into", type=Path, default=Path("docs") / "images")
    parser.add_argument("--minutes", type=float, default=15.0, help="how far back, with --prometheus")
    parser.add_argument("--rate-interval", default="1m", help="four scrapes, with --prometheus")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long own services are watched")
    arguments = parser.parse_args()
    if arguments.prometheus:
        files = draw(arguments.prometheus, arguments.into, arguments.minutes, arguments.rate_interval)
    else:
        with tempfile.TemporaryDirectory(prefix="dashboards-") as folder:
            files = asyncio.run(rehearsed(Path(folder), arguments.into, arguments.seconds))
    for file in files:
        print(f"{file.name} {file.stat().st_size / 1_000:,.0f} kB")
    if max(file.stat().st_size for file in files) > MOST_BYTES:
        raise SystemExit(f"a picture is over {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
