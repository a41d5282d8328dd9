from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from benchmarks.browser import ChromiumMissing, application, chromium, served
from data.bundle import Bundle
from serving.model import Model
from tests.page.visits import Visit, Visitor


@pytest.fixture(scope="session")
def model(bundle: Bundle) -> Model:
    return Model.load(bundle.folder, tag="koelectra-nsmc:test")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    try:
        program = chromium()
    except ChromiumMissing as error:
        pytest.fail(str(error))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
def base(model: Model) -> Iterator[str]:
    with served(application(model)) as base:
        yield base


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, base: str) -> AsyncIterator[Visitor]:
    """Opens pages; in the end nothing may have complained, and no policy been violated."""
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    async def opened(address: str = base, **options: Any) -> Visit:
        context = await browser.new_context(**{"locale": "ko-KR", "reduced_motion": "reduce"} | options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = await context.new_page()
        visit = Visit(page)
        visits.append(visit)
        page.on("console", lambda said: visit.complaints.append(said.text) if said.type != "log" else None)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        await page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error('policy', event.violatedDirective))"
        )
        await page.goto(address)
        return visit

    yield opened
    for context in contexts:
        await context.close()
    for each in visits:
        assert not [said for said in each.complaints if not any(part in said for part in each.expected)]
