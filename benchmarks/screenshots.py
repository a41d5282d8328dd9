"""Pictures of the pages. ``python -m benchmarks.screenshots [--bundle FOLDER] [--into FOLDER] [--only NAME ...]``.

A real Chromium looks at the real application with the model of the bundle, and judges reviews of the own sample. The
rollout is a made-up one: its workers report figures that a rollout of two good models has. Needs a Chromium and a
Korean font.
"""

import argparse
import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import application, chromium, served
from data.behaviour import BehaviourReport, CapabilityReport
from data.nsmc import read
from pipelines import artifacts
from serving.model import Model
from serving.rollout.gates import Limits
from serving.rollout.operator import Operator, Order
from serving.rollout.store import FileStore

SAMPLE = Path("data") / "sample" / "ratings_test.txt"
LINES = 120
UNJUDGEABLE = "<br>"
MIXED = "배우들 연기는 정말 훌륭했는데 이야기가 너무 지루하고 결말이 아쉽다"
SAD = "졸다가 나왔어요. 음악만 좋고 나머지는 다 실망스러워서 돈이 아깝다"
GLAD = "기대 없이 봤는데 시간 가는 줄 몰랐어요. 음악도 좋고 배우들도 최고! 꼭 보세요"
MOST_BYTES = 150_000

LIVE, STAGED = "koelectra-nsmc:v6-1f0a3b7c", "koelectra-nsmc:v7-3f2a9c1d"
WORKERS = ("web-1-1", "web-1-2", "web-2-1")
OBSERVED: dict[str, float] = {
    "pairs": 1_412, "disagreements": 98, "new_errors": 0,
    "shift": 11.3, "shift_squared": 40.2, "neutral": 42.0, "neutral_squared": 212.0, "doubt": 2.8, "doubt_squared": 9.4,
    "new_seconds": 20.6, "new_tokens": 41_000, "old_seconds": 20.1, "old_tokens": 41_000,
}  # fmt: skip
"""Sums over pairs of reviews as ``serving.rollout.observed`` counts them: one gate is still open."""
REPORT_S = 1.0


@dataclass(frozen=True, slots=True)
class Picture:
    """How the page is looked at, and what is done before."""

    name: str
    act: Callable[[Page], None]
    width: int = 1_000
    height: int = 1_000
    scheme: Literal["light", "dark"] = "light"
    locale: str = "ko-KR"
    phone: bool = False
    path: str = "/"
    shown: str = "#one-result"
    """What a phone, which shows less, is scrolled to."""


def judged(text: str) -> Callable[[Page], None]:
    """One review is judged, and its words are weighed."""

    def act(page: Page) -> None:
        page.locator("#one-text").fill(text)
        page.locator("#one-text").press("Control+Enter")
        page.locator("#one-result .influence").wait_for()
        page.evaluate("document.activeElement.blur()")

    return act


def many(page: Page) -> None:
    """Many lines are judged, one of which cannot be."""
    texts = [review.text for review in read(SAMPLE)][:LINES]
    texts[2:2] = [UNJUDGEABLE]
    page.locator("#many-text").fill("\n".join(texts))
    page.locator("#many-judge").click()
    page.locator("#many-result").wait_for()
    page.locator("#many-judge").evaluate("(element) => element.blur()")
    page.locator("#many-text").evaluate("(element) => element.scrollTo(0, 0)")
    page.locator("#many-title").evaluate("(element) => scrollTo(0, element.getBoundingClientRect().top + scrollY - 32)")


def rollout(page: Page) -> None:
    """A model is staged and answers some callers; its gates are shown."""
    page.locator("#gates tbody tr").first.wait_for()
    page.locator("#history tbody tr").first.wait_for()


PICTURES = (
    Picture("page-light", judged(MIXED), height=1_360),
    Picture("page-dark", judged(GLAD), height=1_360, scheme="dark"),
    Picture("page-many", many, height=1_160, locale="en-US"),
    Picture("page-phone", judged(SAD), width=390, height=844, phone=True),
    Picture("rollout-light", rollout, width=1_120, height=1_400, path="/rollout"),
    Picture("rollout-phone", rollout, width=390, height=844, phone=True, path="/rollout", shown=".shares"),
)


async def started(store: FileStore, operator: Operator) -> None:
    """The staged model answers a tenth of the callers, and is mirrored by half of the requests."""
    await reported(store)
    for command, value, why in (
        ("stage", STAGED, "새 데이터로 학습한 v7"),
        ("shadow", "50", "게이트부터 확인"),
        ("weight", "10", "의견 차이가 작아서 조금만 먼저"),
    ):
        await operator.carry_out(Order(command, "kim", why, value))
        await reported(store)


async def reported(store: FileStore) -> None:
    """All workers say that they follow, and one what they observed."""
    state = await store.read()
    report: dict[str, Any] = {
        "generation": state.generation if state else 0,
        "live": LIVE,
        "ready": [LIVE, STAGED] if state else [LIVE],
        "problems": {},
        "behaviour": {LIVE: conduct(*range(21)), STAGED: conduct(*range(17))},
    }
    for worker in WORKERS:
        seen = OBSERVED if worker == WORKERS[0] else {}
        await store.report(worker, report | {"worker": worker}, state.trial if state else 0, seen)


def conduct(*failed: int) -> dict[str, Any]:
    """What a model made of a suite, of which it failed some cases."""
    return BehaviourReport("suite", (CapabilityReport("negation", "minimum", 300, failed, ()),)).as_dict()


@contextmanager
def fleet(folder: Path) -> Iterator[Operator]:
    """The operator of a rollout in ``folder``, whose workers go on reporting until the block ends."""
    store = FileStore(folder)
    operator = Operator(store, Limits(), 300.0)
    asyncio.run(started(store, operator))
    over = threading.Event()

    def work() -> None:
        while not over.wait(REPORT_S):
            asyncio.run(reported(store))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield operator
    finally:
        over.set()
        worker.join()


def take(browser: Browser, picture: Picture, base: str, folder: Path) -> int:
    """Write one picture; returns its size in bytes."""
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height},
        device_scale_factor=2 if picture.phone else 1,
        is_mobile=picture.phone,
        has_touch=picture.phone,
        color_scheme=picture.scheme,
        locale=picture.locale,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(base + picture.path)
    page.locator("#model:not(:empty)").wait_for()
    picture.act(page)
    if picture.phone:
        page.locator(picture.shown).evaluate(
            "(element) => scrollTo(0, element.getBoundingClientRect().top + scrollY - 24)"
        )
    size = len(page.screenshot(path=folder / f"{picture.name}.png"))
    context.close()
    return size


def main() -> None:
    """Write the pictures and tell their sizes; fails where one is too large to keep."""
    parser = argparse.ArgumentParser(prog="benchmarks.screenshots", description=__doc__)
    parser.add_argument("--bundle", type=Path, default=artifacts.BUNDLE, help="folder with a trained model")
    parser.add_argument("--into", type=Path, default=Path("docs") / "images")
    parser.add_argument("--only", nargs="+", choices=[picture.name for picture in PICTURES], help="these pictures")
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    wanted = [picture for picture in PICTURES if not arguments.only or picture.name in arguments.only]
    app = application(Model.load(arguments.bundle, LIVE))
    with (
        tempfile.TemporaryDirectory() as folder,
        fleet(Path(folder)) as app.state.operator,
        served(app) as base,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium())
        sizes = {picture.name: take(browser, picture, base, arguments.into) for picture in wanted}
        browser.close()
    for name, size in sizes.items():
        print(f"{name}.png {size / 1_000:,.0f} kB")
    if max(sizes.values()) > MOST_BYTES:
        raise SystemExit(f"a picture is over {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
