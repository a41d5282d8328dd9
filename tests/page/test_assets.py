"""The files of the page: how they are served, and that nothing in them gets around the policy."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from benchmarks.browser import ChromiumMissing, chromium
from serving import page

FOLDER = Path(page.__file__).parent
HTML, CSS, JS = (FOLDER.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
VOID = {"meta", "link", "input"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(page.routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/", "text/html"), ("/page/page.css", "text/css"), ("/page/page.js", "text/javascript")],
)
async def test_assets(client: httpx.AsyncClient, path: str, media_type: str) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"
    tag = response.headers["etag"]
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        known = await client.get(path, headers={"If-None-Match": condition})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    changed = await client.get(path, headers={"If-None-Match": '"other"'})
    assert (changed.status_code, changed.content) == (200, response.content)
    head = await client.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)


async def test_nothing_else_is_served(client: httpx.AsyncClient) -> None:
    for path in ("/page/__init__.py", "/page/../__init__.py", "/page/page.html", "/page/"):
        assert (await client.get(path)).status_code == 404
    assert (await client.post("/")).status_code == 405


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def tags() -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(HTML)
    assert not parser.open
    return parser.found


def test_markup_holds_no_code_and_names_nothing_outside(tags: list[tuple[str, dict[str, str | None]]]) -> None:
    for tag, attributes in tags:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, tag
        assert tag != "style"
        assert tag != "script" or set(attributes) == {"type", "src"}
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "page/").startswith(("page/", "data:")), (
                "relative: works below a prefix too"
            )
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", HTML + CSS + JS)


def test_every_field_has_a_name(tags: list[tuple[str, dict[str, str | None]]]) -> None:
    labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
    for tag, attributes in tags:
        assert tag != "textarea" or attributes["id"] in labelled
        assert tag != "progress" or "data-t-label" in attributes
        assert tag != "button" or attributes["type"] == "button"


def test_code_puts_texts_into_text_nodes_only() -> None:
    for forbidden in (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser",
        'setAttribute("style"',
    ):  # fmt: skip
        assert forbidden not in JS


def test_the_code_finds_every_element_that_it_asks_for(tags: list[tuple[str, dict[str, str | None]]]) -> None:
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'\$\("([\w-]+)"\)', JS)) <= set(ids)


def test_both_languages_say_everything() -> None:
    korean, english = JS.split("\n  en: {\n")
    keys = [
        set(re.findall(r'^    "?([\w.\-가-힣]+)"?: ["`]', part.split("\n};\n")[0], re.MULTILINE))
        for part in (korean, english)
    ]
    assert keys[0] == keys[1]
    used = set(re.findall(r'data-t(?:-placeholder|-label)?="([\w.]+)"', HTML))
    used |= set(re.findall(r'\bt\("([\w.-]+)"', JS))
    assert used <= keys[0]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str) -> None:
    """WCAG 2.2, AA: 4.5 for text, 3 for borders and marks."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[0 if scheme == "light" else 1]))
    for text, ground in product(("ink", "muted", "positive", "negative", "neutral"), ("paper", "surface")):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for accent in ("positive", "negative", "neutral"):
        assert contrast(colours["on-accent"], colours[accent]) >= 4.5
    for mark, ground in product(("edge", "focus"), ("paper", "surface")):
        assert contrast(colours[mark], colours[ground]) >= 3.0, (mark, ground)


def test_a_missing_browser_is_told_with_the_way_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(ChromiumMissing, match="apt-get install chromium"):
        chromium()
