"""Visits of the pages: what a browser sees, and what it complains about."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from playwright.async_api import Page

REFUSED = "the server responded with a status of"
GONE = "net::ERR_"
OUTLINED = """() => {
  const { activeElement: element } = document;
  const drawn = [element, element.closest(".file")?.querySelector("span"), element.closest(".panel")];
  return drawn.some((each) => each && getComputedStyle(each).outlineStyle !== "none");
}"""


@dataclass
class Visit:
    """A page that somebody looks at, and what its console complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)
    """Parts of complaints that the browser makes of answers and connections that a test provokes."""


Visitor = Callable[..., Awaitable[Visit]]


async def focused(page: Page) -> str:
    found: str = await page.evaluate("document.activeElement.id || document.activeElement.tagName")
    return found
