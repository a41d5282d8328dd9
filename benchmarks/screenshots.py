"""Pictures of the page. ``python -m benchmarks.screenshots [--bundle FOLDER] [--into FOLDER]``.

A real Chromium looks at the real application with the model of the bundle, and judges reviews of the own sample. Needs
a Chromium and a Korean font.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import application, chromium, served
from data.nsmc import read
from pipelines import artifacts
from serving.model import Model

SAMPLE = Path("data") / "sample" / "ratings_test.txt"
LINES = 120
UNJUDGEABLE = "<br>"
MIXED = "배우들 연기는 정말 훌륭했는데 이야기가 너무 지루하고 결말이 아쉽다"
SAD = "졸다가 나왔어요. 음악만 좋고 나머지는 다 실망스러워서 돈이 아깝다"
GLAD = "기대 없이 봤는데 시간 가는 줄 몰랐어요. 음악도 좋고 배우들도 최고! 꼭 보세요"
MOST_BYTES = 150_000


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


PICTURES = (
    Picture("page-light", judged(MIXED), height=1_360),
    Picture("page-dark", judged(GLAD), height=1_360, scheme="dark"),
    Picture("page-many", many, height=1_160, locale="en-US"),
    Picture("page-phone", judged(SAD), width=390, height=844, phone=True),
)


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
    page.goto(base)
    page.locator("#model:not(:empty)").wait_for()
    picture.act(page)
    if picture.phone:
        page.locator("#one-result").evaluate(
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
    arguments = parser.parse_args()
    arguments.into.mkdir(parents=True, exist_ok=True)
    model = Model.load(arguments.bundle, "koelectra-nsmc:screenshot")
    with served(application(model)) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium())
        sizes = {picture.name: take(browser, picture, base, arguments.into) for picture in PICTURES}
        browser.close()
    for name, size in sizes.items():
        print(f"{name}.png {size / 1_000:,.0f} kB")
    if max(sizes.values()) > MOST_BYTES:
        raise SystemExit(f"a picture is over {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
