"""The page for reviews, where the service asks for keys: who has none is asked, and need not write anything twice."""

import json
import re
import time
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Request, expect

from benchmarks.browser import Directly, application, served
from serving.access.access import Access
from serving.access.store import FileKeys
from serving.model import Model
from tests.page.access import access_of, key_for
from tests.page.visits import OUTLINED, REFUSED, Visit, Visitor, focused

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
STORED, KEY = key_for("predict")
CORRECTING, CORRECTS = key_for("feedback")
KEPT = "JSON.stringify([{ ...localStorage }, document.cookie, location.href])"


@pytest_asyncio.fixture(loop_scope="module")
async def access(tmp_path: Path) -> Access:
    return await access_of(tmp_path / "keys.json", STORED, CORRECTING)


async def visited_by(visit: Visitor, base: str, **options: object) -> Visit:
    visited = await visit(base, **options)
    visited.expected.add(REFUSED)
    return visited


def field(page: Page) -> Locator:
    return page.get_by_label("API 키")


async def test_one_review_is_judged_once_a_key_is_given(visit: Visitor, model: Model, access: Access) -> None:
    with served(application(model, access=access)) as base:
        page = (await visited_by(visit, base)).page
        sent: list[Request] = []
        page.on("request", lambda request: sent.append(request))
        await expect(page.locator("#health")).to_have_text("정상 동작 중")
        await expect(field(page)).to_be_hidden()
        await page.locator("#one-text").fill("꿀잼")
        await page.keyboard.press("Control+Enter")
        await expect(page.get_by_role("alert")).to_have_text("이 서비스는 API 키가 있어야 답합니다. 키를 넣어 주세요.")
        await expect(field(page)).to_be_visible()
        assert await focused(page) == "key"
        assert await page.evaluate(OUTLINED)
        assert await field(page).get_attribute("type") == "password"
        assert await field(page).get_attribute("aria-invalid") is None
        await page.keyboard.type(KEY)
        await page.keyboard.press("Tab")
        assert await focused(page) == "key-use"
        await page.keyboard.press("Enter")
        await expect(page.locator("#one-result .word")).to_have_text("꿀잼")
        await expect(field(page)).to_be_hidden()
        await expect(page.locator("#one-problem")).to_be_hidden()
        assert await focused(page) == "one-judge"
        await expect(page.locator("#model")).to_contain_text(model.tag)
        judged = [request for request in sent if request.method == "POST"]
        assert [(request.url.rpartition("/")[2], request.headers.get("authorization")) for request in judged] == [
            ("analyze", None), ("analyze", f"Bearer {KEY}"), ("explain", f"Bearer {KEY}"),
        ]  # fmt: skip
        assert KEY not in str([(request.url, request.post_data) for request in sent])


async def test_the_key_is_kept_for_the_tab_and_nobody_else(visit: Visitor, model: Model, access: Access) -> None:
    with served(application(model, access=access)) as base:
        page = (await visited_by(visit, base)).page
        await page.locator("#examples button").first.click()
        await field(page).fill(KEY)
        await page.keyboard.press("Enter")
        await expect(page.locator("#one-result")).to_be_visible()
        assert KEY not in await page.evaluate(KEPT)
        await page.reload()
        await page.locator("#examples button").nth(1).click()
        await expect(page.locator("#one-result")).to_be_visible()
        await expect(field(page)).to_be_hidden()
        other = await page.context.new_page()
        await other.goto(base)
        await other.locator("#examples button").first.click()
        await expect(field(other)).to_be_visible()


async def test_a_wrong_key_says_so(visit: Visitor, model: Model, access: Access) -> None:
    with served(application(model, access=access)) as base:
        page = (await visited_by(visit, base)).page
        told = page.locator("#one-problem")
        await page.locator("#examples button").first.click()
        await page.get_by_role("button", name="이 키로 다시 하기").click()
        await expect(page.locator("#key-wrong")).to_have_text("키를 먼저 넣어 주세요.")
        await field(page).fill("비밀")
        await page.keyboard.press("Enter")
        await expect(page.locator("#key-wrong")).to_contain_text("영문자, 숫자, 기호만")
        await expect(field(page)).to_have_attribute("aria-invalid", "true")
        assert await focused(page) == "key"
        await page.get_by_role("button", name="English").click()
        await expect(page.locator("#key-wrong")).to_contain_text("A key holds only ASCII letters")
        await expect(told).to_have_text("This service answers only with an API key. Please give one.")
        await page.get_by_role("button", name="한국어").click()
        for wrong, why in (
            (key_for("predict")[1], "이 키는 맞지 않거나 더는 쓸 수 없습니다."),
            (CORRECTS, "이 키로는 리뷰를 판단할 수 없습니다. predict 권한이 있는 키를 넣어 주세요."),
        ):
            await field(page).fill(wrong)
            await page.keyboard.press("Enter")
            await expect(told).to_contain_text(why)
            await expect(field(page)).to_have_attribute("aria-invalid", "true")
            await expect(page.locator("#key-wrong")).to_be_hidden()
            assert await focused(page) == "key"
        await field(page).fill(KEY)
        await page.keyboard.press("Enter")
        await expect(page.locator("#one-result")).to_be_visible()
        await expect(told).to_be_hidden()


async def test_a_kept_key_that_is_revoked_is_asked_for_anew_and_forgotten(
    visit: Visitor, model: Model, access: Access, tmp_path: Path
) -> None:
    with served(application(model, access=access)) as base:
        page = (await visited_by(visit, base)).page
        await page.locator("#examples button").first.click()
        await field(page).fill(KEY)
        await page.keyboard.press("Enter")
        await expect(page.locator("#one-result")).to_be_visible()
        assert KEY in await page.evaluate("JSON.stringify({ ...sessionStorage })")
        await FileKeys(tmp_path / "keys.json").revoke(STORED.id, time.time())
        await access.refresh()
        await page.locator("#one-judge").click()
        await expect(page.locator("#one-problem")).to_contain_text("이 키는 맞지 않거나 더는 쓸 수 없습니다.")
        await expect(field(page)).to_be_visible()
        assert await page.evaluate("JSON.stringify({ ...sessionStorage })") == "{}"


async def test_many_reviews_are_judged_once_a_key_is_given(visit: Visitor, model: Model, access: Access) -> None:
    with served(application(model, access=access)) as base:
        page = (await visited_by(visit, base)).page
        sent: list[Request] = []
        page.on("request", lambda request: sent.append(request) if request.url.endswith("/batch") else None)
        await page.locator("#many-text").fill("\n".join(f"영화 {number}" for number in range(250)))
        await page.locator("#many-judge").click()
        await expect(page.locator("#many-problem")).to_contain_text("이 서비스는 API 키가 있어야 답합니다.")
        assert await focused(page) == "key"
        assert await page.locator("#key-form").evaluate("(form) => form.previousElementSibling.id") == "many-problem"
        refused = len(sent)
        await field(page).fill(KEY)
        await page.get_by_role("button", name="이 키로 다시 하기").click()
        await expect(page.locator("#many-status")).to_have_text(re.compile("250편 가운데 250편을"))
        await expect(page.locator("#many-problem")).to_be_hidden()
        await expect(field(page)).to_be_hidden()
        keyed = sent[refused:]
        assert sorted(len(json.loads(request.post_data or "")["texts"]) for request in keyed) == [50, 100, 100]
        assert {request.headers.get("authorization") for request in keyed} == {f"Bearer {KEY}"}


async def test_who_writes_elsewhere_is_not_interrupted(visit: Visitor, model: Model, access: Access) -> None:
    with served(application(model, access=access)) as base:
        page = (await visited_by(visit, base)).page
        await page.locator("#many-text").fill("좋다")
        await page.evaluate(
            "document.getElementById('many-judge').click(); document.getElementById('one-text').focus()"
        )
        await expect(field(page)).to_be_visible()
        assert await focused(page) == "one-text"
        await page.locator("#one-text").fill("나쁘다")
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#one-problem")).to_be_visible()
        await expect(page.locator("#one-problem + #key-form")).to_be_visible()
        assert await focused(page) == "key"


async def test_where_no_key_is_needed_nobody_is_asked(visit: Visitor, model: Model) -> None:
    with served(application(model, Directly())) as base:
        page = (await visit(base)).page
        await page.locator("#examples button").first.click()
        await expect(page.locator("#one-result .word").first).to_be_visible()
        await expect(page.locator("#model")).to_contain_text(model.tag)
        assert not await page.locator("#key-form").is_visible()


@pytest.mark.parametrize("width", [320, 1280])
async def test_the_field_fits_every_screen(visit: Visitor, model: Model, access: Access, width: int) -> None:
    with served(application(model, access=access)) as base:
        page = (await visited_by(visit, base, viewport={"width": width, "height": 800})).page
        await page.locator("#examples button").first.click()
        await page.get_by_role("button", name="이 키로 다시 하기").click()
        await expect(page.locator("#key-wrong")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
