"""The files of the pages: how they are served, and that nothing in them gets around the policy."""

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
SOURCES = {name: FOLDER.joinpath(name).read_text(encoding="utf-8") for name, _ in page.ASSETS.values()}
PAGES = sorted(page.PAGES.values())
CSS = SOURCES["page.css"]
VOID = {"meta", "link", "input"}
Found = list[tuple[str, dict[str, str | None]]]


def imported(module: str) -> set[str]:
    """``module`` and all that it imports, and what that imports."""
    found, new = set[str](), {module}
    while new:
        found |= new
        new = {
            name for each in new for name in re.findall(r'^(?:import|.* from) "\./(.+)";$', SOURCES[each], re.M)
        } - found
    return found


def code_of(name: str) -> str:
    """All code that a page runs."""
    return "\n".join(SOURCES[module] for module in sorted(imported(name.replace(".html", ".js"))))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(page.routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"),
        ("/rollout", "text/html"),
        ("/page/page.css", "text/css"),
        ("/page/rollout.css", "text/css"),
        *((f"/page/{name}", "text/javascript") for name in page.MODULES),
    ],
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
    for path in ("/page/__init__.py", "/page/../__init__.py", "/page/page.html", "/page/rollout.html", "/page/"):
        assert (await client.get(path)).status_code == 404
    for path in ("/", "/rollout"):
        assert (await client.post(path)).status_code == 405


def test_every_file_is_served_and_every_module_belongs_to_a_page() -> None:
    assert {file.name for kind in ("html", "css", "js") for file in FOLDER.glob(f"*.{kind}")} == set(SOURCES)
    assert set(page.MODULES) == {module for name in PAGES for module in imported(name.replace(".html", ".js"))}
    for name in page.MODULES:
        assert len(SOURCES[name].splitlines()) <= 300, f"{name} is more than one concept"
        for module in re.findall(r"^import (?:.* from )?(.*)$", SOURCES[name], re.MULTILINE):
            assert re.fullmatch(r'"\./[\w-]+\.js";', module), "relative: works below a prefix too"


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


@pytest.fixture(params=PAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tags(name: str) -> Found:
    parser = Tags()
    parser.feed(SOURCES[name])
    assert not parser.open
    return parser.found


def test_markup_holds_no_code_and_names_nothing_outside(tags: Found) -> None:
    for tag, attributes in tags:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}, tag
        assert tag != "style"
        assert tag != "script" or set(attributes) == {"type", "src"}
        for name in ("src", "href", "action"):
            found = attributes.get(name) or "page/"
            other_page = tag == "a" and found in ("./", "rollout")
            assert other_page or found.startswith(("page/", "data:")), "relative: works below a prefix too"
    for source in SOURCES.values():
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", source)


def test_pages_lead_to_each_other(tags: Found, name: str) -> None:
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert links == (["rollout"] if name == "page.html" else ["./"])


def test_modules_are_asked_for_at_once(tags: Found, name: str) -> None:
    """Without that a browser finds them one after the other, a round trip for each import in an import."""
    start = name.replace(".html", ".js")
    asked = [attributes["href"] for _, attributes in tags if attributes.get("rel") == "modulepreload"]
    assert [attributes["src"] for tag, attributes in tags if tag == "script"] == [f"page/{start}"]
    assert asked == [f"page/{module}" for module in sorted(imported(start) - {start})]


def test_every_field_has_a_name(tags: Found) -> None:
    labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
    for tag, attributes in tags:
        assert tag != "textarea" or attributes["id"] in labelled
        assert tag != "progress" or "data-t-label" in attributes
        assert tag != "button" or attributes["type"] == "button"
        assert tag != "input" or attributes["type"] in ("file", "checkbox") or attributes["id"] in labelled


def test_code_puts_texts_into_text_nodes_only() -> None:
    for forbidden in (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser",
        'setAttribute("style"', "import(",
    ):  # fmt: skip
        for module in page.MODULES:
            assert forbidden not in SOURCES[module], module


def test_the_code_finds_every_element_that_it_asks_for(tags: Found, name: str) -> None:
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'\$\("([\w-]+)"\)', code_of(name))) <= set(ids)
    for attribute in ("for", "aria-labelledby", "aria-describedby"):
        named = {part for _, attributes in tags for part in (attributes.get(attribute) or "").split()}
        assert named <= set(ids), attribute


def test_both_languages_say_everything(name: str) -> None:
    keys = [
        set(re.findall(r'^  "?([\w.\-가-힣]+)"?: ["`]', SOURCES[language], re.MULTILINE))
        for language in ("korean.js", "english.js")
    ]
    assert keys[0] == keys[1]
    used = set(re.findall(r'data-t(?:-placeholder|-label)?="([\w.-]+)"', SOURCES[name]))
    used |= set(re.findall(r'\bt\("([\w.-]+)"', code_of(name)))
    assert used
    assert used <= keys[0]


def test_both_languages_fill_in_the_same() -> None:
    korean, english = (
        dict(re.findall(r'^  "?([\w.\-가-힣]+)"?: "(.*)",$', SOURCES[language], re.MULTILINE))
        for language in ("korean.js", "english.js")
    )
    for key, text in korean.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english[key])), key


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
