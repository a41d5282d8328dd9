"""The operator's page in a real browser, in front of the real application; workers report what they are told to."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI
from playwright.async_api import Locator, Page, expect

from benchmarks.browser import application, served
from serving.access.access import Access
from serving.access.store import FileKeys
from serving.model import Model
from serving.rollout import store
from tests.page.access import access_of, key_for
from tests.page.visits import GONE, OUTLINED, REFUSED, Visit, Visitor, focused
from tests.serving.rollout.test_gates import like, reviews, seen
from tests.serving.rollout.test_operator import NEW, OLD, Fleet

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
STORED, KEY = key_for("admin")
LOOKING, LOOKS = key_for("predict")
COMMANDS = ("stage", "shadow", "weight", "promote", "rollback", "release")
LABEL = "API 키 (admin 권한)"
MARKUP = "<img/src=x/onerror=alert(1)>"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(store, "ALIVE_S", 3_600.0)
    return Fleet(tmp_path)


@pytest_asyncio.fixture(loop_scope="module")
async def access(tmp_path: Path) -> Access:
    """Whoever looks needs no key."""
    return await access_of(tmp_path / "keys.json", STORED, LOOKING, needed=False)


def app_of(model: Model, fleet: Fleet, access: Access) -> FastAPI:
    app = application(model, access=access)
    app.state.operator = fleet.operator
    return app


@pytest.fixture(autouse=True)
def site(model: Model, fleet: Fleet, access: Access) -> Iterator[str]:
    """The address of the page; there before any visit, and so until the visits are over, as pages go on asking."""
    with served(app_of(model, fleet, access)) as base:
        yield f"{base}/rollout"


async def staged(fleet: Fleet, *, pairs: int = 0) -> None:
    """A model is staged, and every worker has it; ``pairs`` reviews were judged by both, with no fault in the new."""
    await fleet.worker("a", OLD)
    await fleet.order("stage", NEW)
    await fleet.worker("a", OLD, NEW)
    if pairs:
        await observed(fleet, pairs)


async def observed(fleet: Fleet, pairs: int, *, errors: int = 0) -> None:
    trial = (await fleet.operator.status())["trial"]
    (report,) = await fleet.store.reports()
    old = reviews(pairs, 1)
    await fleet.store.report("a", report, trial, seen(old, like(old, 2), errors=errors))


async def with_key(page: Page, key: str = KEY, who: str = "kim") -> None:
    await page.get_by_label(LABEL).fill(key)
    await page.get_by_label("누가 (필수)").fill(who)


async def allowed(page: Page) -> set[str]:
    return {command for command in COMMANDS if await page.locator(f"#{command}").is_enabled()}


def result(page: Page) -> Locator:
    return page.locator("#command-result")


async def rows(page: Page, table: str) -> list[list[str]]:
    return [
        await row.locator("th, td").all_inner_texts() for row in await page.locator(f"#{table} tbody tr").all()
    ]  # fmt: skip


async def test_without_a_key_it_shows_all_and_moves_nothing(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet, pairs=400)
    await fleet.order("weight", 12.5)
    await fleet.order("shadow", 40)
    await fleet.worker("a", OLD, NEW)
    page = (await visit(site)).page
    slots = page.get_by_role("list", name="두 슬롯").get_by_role("listitem")
    await expect(slots).to_have_count(2)
    await expect(slots.nth(0)).to_have_text(re.compile(rf"블루.*응답 중.*{OLD}", re.DOTALL))
    await expect(slots.nth(1)).to_have_text(re.compile(rf"그린.*준비됨.*{NEW}", re.DOTALL))
    await expect(page.locator("#rollout-now")).to_have_text(f"블루 (blue) 슬롯의 {OLD} 모델이 응답합니다. 세대 3.")
    await expect(page.get_by_role("img", name="호출자의 비율: 블루 87.5%, 그린 12.5%")).to_be_visible()
    await expect(page.get_by_role("img", name="두 모델이 함께 판단하는 요청: 40%")).to_be_visible()
    wide = [
        await part.evaluate("(part) => part.clientWidth") for part in await page.locator("#callers .track span").all()
    ]
    assert wide[1] / sum(wide) == pytest.approx(0.125, abs=0.02)
    gates = {name: (state, detail) for name, state, detail in await rows(page, "gates")}
    assert list(gates) == ["오류", "의견 차이", "점수 이동", "중립 비율", "추정 정확도", "비용", "행동 테스트"]
    assert gates["오류"] == ("통과", "0 of 400 (0.0%) of the reviews it could not judge; at most 0.2%")
    assert gates["점수 이동"] == ("아직 모름", "400 reviews were seen; 500 are needed to tell")
    assert await page.locator("#gates td:nth-child(3) [lang=en]").count() == 7
    await expect(page.locator("#gates-said")).to_have_text("아직 판단하지 못한 게이트가 있습니다.")
    assert await rows(page, "workers") == [["a", "따라옴", OLD, f"{OLD}\n{NEW}", "3"]]
    await expect(page.locator("#watched")).to_be_hidden()
    await expect(page.locator("#history tbody tr")).to_have_count(3)
    assert [row[1:] for row in await rows(page, "history")] == [
        ["kim", "shadow 40", f"{OLD} → {OLD}", "why not"],
        ["kim", "weight 12.5", f"{OLD} → {OLD}", "why not"],
        ["kim", f"stage {NEW}", f"{OLD} → {OLD}", "why not"],
    ]
    await expect(page.get_by_label(LABEL)).to_have_attribute("type", "password")
    for command in COMMANDS:
        await expect(page.locator(f"#{command}")).to_be_hidden()


async def test_changes_made_elsewhere_are_shown_as_they_happen(visit: Visitor, site: str, fleet: Fleet) -> None:
    await fleet.worker("a", OLD)
    page = (await visit(site)).page
    await expect(page.locator("#slot-green")).to_have_text(re.compile("비어 있음"))
    await expect(page.locator("#gates-said")).to_have_text("비교할 모델이 없어서 게이트도 없습니다.")
    await expect(page.locator("#history-said")).to_have_text("아직 아무도 바꾸지 않았습니다.")
    await staged(fleet, pairs=2_000)
    await expect(page.locator("#slot-green")).to_have_text(re.compile(NEW))
    await expect(page.locator("#gates-said")).to_have_text("모든 게이트를 통과했습니다.")
    await expect(page.locator("#history tbody tr")).to_have_count(1)
    await fleet.order("shadow", 10)
    await expect(page.locator("#workers-said")).to_have_text("워커 1개 가운데 1개가 아직 따라오지 못했습니다.")
    assert (await rows(page, "workers"))[0][:2] == ["a", "뒤처짐"]
    await fleet.worker("a", OLD, m_2="model.onnx was changed")
    await expect(page.locator("#workers")).to_contain_text(f"{NEW}: model.onnx was changed")
    await expect(page.locator("#workers .tag")).to_have_text("불러오지 못함")
    await fleet.worker("a", OLD, NEW)
    await observed(fleet, 2_000, errors=200)
    await expect(page.locator("#gates-said")).to_have_text("실패한 게이트가 있습니다.")
    assert (await rows(page, "gates"))[0][1] == "실패"
    mark = page.locator("#gates .tag").first
    assert await mark.get_attribute("data-sign") == "✗", "not by colour alone"
    await fleet.order("promote", force=True)
    await fleet.worker("a", OLD, NEW, live=NEW)
    await expect(page.locator("#slot-green")).to_have_text(re.compile(f"응답 중.*{NEW}", re.DOTALL))
    await expect(page.locator("#slot-blue")).to_have_text(re.compile(f"이전 모델.*{OLD}", re.DOTALL))
    await expect(page.locator("#watched")).to_have_text(
        re.compile(r"승격을 지켜보고 있습니다\. .*까지 (0분 \d+|1분 0)초")
    )
    await expect(page.locator("#history tbody tr").first).to_contain_text(f"{OLD} → {NEW}")
    await expect(page.locator("#history tbody tr").first).to_contain_text("promote --force")


async def test_what_is_the_same_stays_in_place(visit: Visitor, site: str, fleet: Fleet) -> None:
    """Somebody may be reading or copying it."""
    await staged(fleet, pairs=400)
    page = (await visit(site)).page
    await expect(page.locator("#history tbody tr")).to_have_count(1)
    parts = "[...document.querySelectorAll('#rollout li, td')]"
    await page.evaluate(f"{parts}.forEach((element) => (element.kept = true))")
    async with page.expect_response(re.compile("/rollout$")):
        pass
    async with page.expect_response(re.compile("/rollout$")):
        pass
    assert await page.evaluate(f"{parts}.every((element) => element.kept)")


async def test_only_the_last_changes_are_shown(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    for share in range(1, 25):
        await fleet.order("shadow", share)
    page = (await visit(site)).page
    await expect(page.locator("#history tbody tr")).to_have_count(20)
    shown = [row[2] for row in await rows(page, "history")]
    assert shown == [f"shadow {share}" for share in range(24, 4, -1)]


async def test_a_rollout_from_beginning_to_end(visit: Visitor, site: str, fleet: Fleet) -> None:
    await fleet.worker("a", OLD)
    page = (await visit(site)).page
    await expect(page.locator("#slot-green")).to_be_visible()
    await with_key(page)
    await page.get_by_label("왜", exact=True).fill("v2 is better")
    assert await allowed(page) == {"stage"}
    await expect(page.locator("#promote-obstacle")).to_have_text("다른 슬롯이 비어 있습니다.")
    await page.get_by_label("준비할 모델의 태그").fill(NEW)
    await page.locator("#stage").click()
    await expect(result(page)).to_have_text("준비: 됐습니다. 세대 1.")
    assert await focused(page) == "command-result", "the button cannot be pressed again"
    assert await allowed(page) == {"shadow", "weight", "promote", "release"}
    await expect(page.locator("#stage-obstacle")).to_have_text("다른 슬롯에 이미 모델이 있습니다. 먼저 비우세요.")
    await expect(page.locator("#rollback-obstacle")).to_have_text("준비된 모델에 트래픽이 없습니다.")
    await fleet.worker("a", OLD, NEW)
    await page.get_by_label("두 모델이 함께 판단할 요청, %").fill("50")
    await page.locator("#shadow").click()
    await expect(result(page)).to_have_text("함께 판단: 됐습니다. 세대 2.")
    await expect(page.get_by_role("img", name="두 모델이 함께 판단하는 요청: 50%")).to_be_visible()
    await page.get_by_label("준비된 모델이 응답할 호출자, %").fill("12.5")
    await page.locator("#weight").click()
    await expect(page.get_by_role("img", name="블루 87.5%, 그린 12.5%")).to_be_visible()
    assert await allowed(page) == {"shadow", "weight", "promote", "rollback", "release"}
    await observed(fleet, 2_000)
    await page.locator("#promote").click()
    await expect(result(page)).to_have_text("승격: 됐습니다. 세대 4.")
    await expect(page.locator("#slot-green")).to_contain_text("응답 중")
    await expect(page.locator("#watched")).to_be_visible()
    assert await allowed(page) == {"shadow", "rollback", "release"}
    await page.locator("#rollback").click()
    await expect(result(page)).to_have_text("되돌리기: 됐습니다. 세대 5.")
    await expect(page.locator("#slot-blue")).to_contain_text("응답 중")
    await expect(page.locator("#watched")).to_be_hidden()
    await page.locator("#release").click()
    await expect(result(page)).to_have_text("비우기: 됐습니다. 세대 6.")
    await expect(page.locator("#history tbody tr")).to_have_count(6)
    entries = await fleet.operator.history()
    assert [entry.what for entry in entries] == [
        f"stage {NEW}", "shadow 50", "weight 12.5", "promote", "rollback", "release",
    ]  # fmt: skip
    assert {(entry.who, entry.why) for entry in entries} == {("kim", "v2 is better")}


async def test_the_key_is_kept_nowhere(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    page = (await visit(site)).page
    sent = []
    page.on("request", lambda request: sent.append(request))
    await with_key(page)
    await page.locator("#shadow-value").fill("5")
    await page.locator("#shadow").click()
    await expect(result(page)).to_contain_text("됐습니다")
    async with page.expect_request(lambda request: "authorization" in request.headers and request.method == "GET"):
        pass
    keyed = [request for request in sent if "authorization" in request.headers]
    assert {request.headers["authorization"] for request in keyed} == {f"Bearer {KEY}"}
    assert [request.method for request in keyed if request.method != "GET"] == ["POST"]
    assert KEY not in str([(request.url, request.post_data) for request in sent])
    kept = await page.evaluate(
        "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])"
    )
    assert KEY not in kept
    assert '{"who":"kim"}' in kept
    await page.reload()
    await expect(page.get_by_label(LABEL)).to_have_value("")
    await expect(page.locator("#promote")).to_be_hidden()
    await page.get_by_label(LABEL).fill(KEY)
    await expect(page.get_by_label("누가 (필수)")).to_have_value("kim")


async def test_refusals_are_told(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page = visited.page
    await with_key(page, key="another key")
    await page.locator("#release").click()
    await expect(result(page)).to_contain_text("비우기: 안 됐습니다. 키가 맞지 않습니다.")
    await expect(result(page).locator("[lang=en]")).to_have_text(
        "the Authorization header does not hold a key as a bearer token: Bearer nsmc_…"
    )
    assert await focused(page) == "release"
    await with_key(page, key="비밀")
    await page.locator("#release").click()
    await expect(result(page)).to_contain_text("영문자, 숫자, 기호만")
    assert await focused(page) == "key"
    await with_key(page, who=" ")
    await page.locator("#release").click()
    await expect(result(page)).to_have_text("누가 내리는 명령인지 먼저 써 주세요.")
    assert await focused(page) == "who"
    await expect(page.locator("#who")).to_have_attribute("aria-invalid", "true")
    await page.locator("#who").fill("kim")
    for share in ("", "101", "-1"):
        await page.locator("#weight-value").fill(share)
        await page.locator("#weight").click()
        await expect(result(page)).to_have_text("0에서 100 사이의 수를 써 주세요.")
    assert await focused(page) == "weight-value"
    await fleet.worker("a", OLD)
    await page.locator("#weight-value").fill("10")
    await page.locator("#weight").click()
    await expect(result(page)).to_contain_text("1 of 1 workers are not ready for m:2: a: still loading")
    await page.locator("#who").evaluate("(element) => (element.value = 'k'.repeat(101))")
    await page.locator("#weight").click()
    await expect(result(page)).to_contain_text("명령의 내용이 맞지 않습니다.")
    await expect(result(page).locator("[lang=en]")).to_contain_text("who")
    state = await fleet.store.read()
    assert state is not None
    assert state.generation == 1


async def test_a_key_for_something_else_moves_nothing(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    await with_key(visited.page, LOOKS)
    await visited.page.locator("#release").click()
    await expect(result(visited.page)).to_contain_text(
        "비우기: 안 됐습니다. 이 키에는 명령을 내릴 admin 권한이 없습니다."
    )
    await expect(result(visited.page)).to_contain_text("is for predict; this needs admin")
    await expect(visited.page.locator("#rollout-problem")).to_be_hidden()


async def test_who_may_not_look_is_told_so_and_sees_all_with_a_key(
    visit: Visitor, site: str, fleet: Fleet, access: Access
) -> None:
    access.needed = True
    await staged(fleet)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page, told, field = visited.page, visited.page.locator("#rollout-problem"), visited.page.get_by_label(LABEL)
    await expect(told).to_contain_text("이 서비스는 API 키가 있어야 교체 상태를 보여 줍니다.")
    await expect(told).not_to_contain_text("Authorization")
    await expect(page.locator("#history-said")).to_have_text("기록을 보려면 API 키가 필요합니다.")
    await expect(page.locator("#history-problem")).to_be_hidden()
    await expect(page.locator("#rollout")).to_be_hidden()
    await expect(page.locator("#health")).to_have_text("정상 동작 중")
    assert await field.get_attribute("aria-invalid") is None
    await told.get_by_role("button", name="키 넣기").click()
    assert await focused(page) == "key"
    await field.fill(key_for("admin")[1])
    await expect(told).to_contain_text("이 키는 맞지 않거나 더는 쓸 수 없어서 교체 상태를 볼 수 없습니다.")
    await expect(told.locator("[lang=en]")).to_have_text("the key is not known")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await page.get_by_role("button", name="English").click()
    await expect(told).to_contain_text("The rollout cannot be seen with this key")
    await page.get_by_role("button", name="한국어").click()
    await field.fill(LOOKS)
    await expect(page.locator("#slot-green")).to_contain_text(NEW)
    await expect(page.locator("#history tbody tr")).to_have_count(1)
    await expect(page.locator("#model")).not_to_be_empty()
    await expect(told).to_be_hidden()
    assert await field.get_attribute("aria-invalid") is None
    assert await allowed(page) == {"shadow", "weight", "promote", "release"}


async def test_a_key_that_is_revoked_leaves_what_was_seen(
    visit: Visitor, site: str, fleet: Fleet, access: Access, tmp_path: Path
) -> None:
    access.needed = True
    await staged(fleet)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page = visited.page
    await page.get_by_label(LABEL).fill(KEY)
    await expect(page.locator("#slot-green")).to_contain_text(NEW)
    await FileKeys(tmp_path / "keys.json").revoke(STORED.id, time.time())
    await access.refresh()
    await expect(page.locator("#rollout-problem")).to_contain_text(f"key {STORED.id} was revoked")
    await expect(page.locator("#rollout-problem")).to_contain_text("에 본 상태입니다.")
    await expect(page.locator("#slot-green")).to_contain_text(NEW)


async def test_the_key_that_the_tab_keeps_is_enough_to_look(
    visit: Visitor, site: str, fleet: Fleet, access: Access
) -> None:
    access.needed = True
    await staged(fleet)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page = visited.page
    await page.get_by_role("link", name="리뷰 판단").click()
    await page.locator("#examples button").first.click()
    await page.get_by_label("API 키").fill(LOOKS)
    await page.keyboard.press("Enter")
    await expect(page.locator("#one-result")).to_be_visible()
    await page.get_by_role("link", name="모델 교체").click()
    await expect(page.locator("#slot-green")).to_contain_text(NEW)
    await expect(page.get_by_label(LABEL)).to_have_value("")
    await expect(page.locator("#promote")).to_be_hidden()


async def refused_promotion(visit: Visitor, site: str) -> Visit:
    visited = await visit(site)
    visited.expected.add(REFUSED)
    await with_key(visited.page)
    await visited.page.locator("#promote").click()
    await expect(result(visited.page)).to_contain_text("승격: 안 됐습니다. 지금 상태에서는 할 수 없습니다.")
    return visited


async def test_a_promotion_that_gates_refuse_may_be_forced(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    page = (await refused_promotion(visit, site)).page
    await expect(result(page)).to_contain_text("too little was seen")
    force = page.get_by_role("group", name="승격이 거절됐습니다")
    await expect(force.get_by_role("button", name="그래도 승격")).to_be_disabled()
    sure = force.get_by_role("checkbox", name=f"게이트를 통과하지 못한 {NEW} 모델을 승격합니다.")
    await sure.check()
    await expect(force.get_by_role("button")).to_be_enabled()
    await sure.uncheck()
    await expect(force.get_by_role("button")).to_be_disabled()
    await sure.check()
    await force.get_by_role("button").click()
    await expect(result(page)).to_have_text("승격: 됐습니다. 세대 2.")
    await expect(force).to_be_hidden()
    await expect(page.locator("#history")).to_contain_text("promote --force")
    assert await focused(page) == "command-result"


async def test_what_was_to_be_forced_is_asked_anew_after_a_change(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    page = (await refused_promotion(visit, site)).page
    await page.locator("#force-sure").check()
    await fleet.order("shadow", 10)
    await expect(page.locator("#force")).to_be_hidden()
    await page.locator("#promote").click()
    await expect(page.locator("#force-sure")).not_to_be_checked()
    await expect(page.locator("#force-promote")).to_be_disabled()


async def test_before_any_worker_has_reported(visit: Visitor, site: str, fleet: Fleet) -> None:
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page = visited.page
    told = page.locator("#rollout-problem")
    await expect(told).to_contain_text("교체 상태를 아직 알 수 없습니다.")
    await expect(told).to_contain_text("no worker is alive to say what it serves")
    await expect(page.locator("#rollout")).to_be_hidden()
    await expect(page.get_by_role("alert")).to_have_count(0)
    await page.get_by_label(LABEL).fill(KEY)
    assert await allowed(page) == set()
    await fleet.worker("a", OLD)
    await expect(page.locator("#slot-blue")).to_contain_text(OLD)
    await expect(told).to_be_hidden()
    assert await allowed(page) == {"stage"}


async def test_a_store_that_is_gone_or_a_service_that_is(
    visit: Visitor, model: Model, fleet: Fleet, access: Access
) -> None:
    await staged(fleet)
    app = app_of(model, fleet, access)
    with served(app) as base:
        visited = await visit(f"{base}/rollout")
        visited.expected |= {REFUSED, GONE}
        page, told = visited.page, visited.page.locator("#rollout-problem")
        await expect(page.locator("#slot-green")).to_contain_text(NEW)
        app.state.operator = None
        await expect(told).to_contain_text("the service is still starting")
        await expect(told).to_contain_text("에 본 상태입니다.")
        await expect(page.locator("#slot-green")).to_contain_text(NEW)
        await with_key(page)
        await page.locator("#release").click()
        await expect(result(page)).to_contain_text("서비스가 지금은 명령을 받을 수 없습니다.")
        app.state.operator = fleet.operator
        await expect(told).to_be_hidden()
    await expect(told).to_contain_text("서비스에 연결할 수 없습니다. 계속 다시 묻고 있습니다.")
    await page.locator("#release").click()
    await expect(result(page)).to_contain_text("답을 받지 못했습니다.")
    await expect(page.locator("#slot-green")).to_contain_text(NEW)


async def test_a_history_that_cannot_be_read_hides_nothing_else(
    visit: Visitor, site: str, fleet: Fleet, tmp_path: Path
) -> None:
    await staged(fleet)
    (tmp_path / "ledger.jsonl").write_text("no entry\n")
    visited = await visit(site)
    visited.expected.add(REFUSED)
    await expect(visited.page.locator("#history-said")).to_have_text("기록을 읽지 못했습니다.")
    await expect(visited.page.locator("#history-problem")).to_contain_text("holds what nobody here wrote")
    await expect(visited.page.locator("#slot-green")).to_contain_text(NEW)


async def test_what_looks_like_markup_stays_text(visit: Visitor, site: str, fleet: Fleet) -> None:
    await fleet.worker("a", OLD)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page = visited.page
    await with_key(page, who=MARKUP)
    await page.locator("#why").fill(MARKUP)
    await page.locator("#stage-value").fill(MARKUP)
    await page.locator("#stage").click()
    await expect(page.locator("#slot-green .held")).to_have_text(MARKUP)
    await expect(page.locator("#history tbody tr")).to_have_count(1)
    assert (await rows(page, "history"))[0][1:] == [MARKUP, f"stage {MARKUP}", f"{OLD} → {OLD}", MARKUP]
    report = {"worker": MARKUP, "generation": 1, "live": OLD, "ready": [MARKUP], "problems": {MARKUP: MARKUP}}
    await fleet.store.report("a", report | {"behaviour": {}}, 0, {})
    await expect(page.locator("#workers th").nth(5)).to_have_text(MARKUP)
    await expect(page.locator("#workers .reason")).to_have_text(f"{MARKUP}: {MARKUP}")
    await page.locator("#promote").click()
    await expect(page.locator("#force-label")).to_contain_text(MARKUP)
    assert not await page.locator("main img, main script").count()


async def test_two_languages(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet, pairs=400)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page = visited.page
    assert await page.title() == "모델 교체 · 리뷰 감성 분석"
    await with_key(page)
    await page.locator("#promote").click()
    await expect(page.locator("#force")).to_be_visible()
    await page.get_by_role("button", name="English").click()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    assert await page.title() == "Rollout · Review sentiment"
    await expect(page.locator("#rollout-now")).to_have_text(f"{OLD} in the Blue slot answers. Generation 1.")
    await expect(page.locator("#slot-green")).to_contain_text("Staged, not promoted yet")
    assert [row[:2] for row in await rows(page, "gates")][1:3] == [
        ["Disagreement", "Passed"],
        ["Score shift", "Still open"],
    ]
    await expect(result(page)).to_contain_text("Promote: not done. The present state does not allow it.")
    await expect(page.locator("#force-label")).to_contain_text(f"Promote {NEW} although its gates have not passed.")
    await expect(page.locator("#history-said")).to_have_text("The latest changes (1), newest first")
    await expect(page.locator("#health")).to_have_text("Up and healthy")
    written = await page.locator("body").inner_text()
    assert set(re.findall("[가-힣]+", written)) == {"한국어"}
    await page.get_by_role("link", name="Judge reviews").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("How does this review feel?")
    await page.get_by_role("link", name="Rollout").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Rollout")


async def test_below_a_prefix(visit: Visitor, model: Model, fleet: Fleet, access: Access) -> None:
    await staged(fleet)
    outer = FastAPI()
    outer.mount("/some/where", app_of(model, fleet, access))
    with served(outer) as base:
        visited = await visit(f"{base}/some/where/rollout")
        visited.expected.add(GONE)  # the page outlives its server, and goes on asking
        page = visited.page
        await expect(page.locator("#slot-green")).to_contain_text(NEW)
        await page.get_by_role("link", name="리뷰 판단").click()
        await expect(page).to_have_url(f"{base}/some/where/")
        await expect(page.locator("#health")).to_have_text("정상 동작 중")
        await page.get_by_role("link", name="모델 교체").click()
        await expect(page).to_have_url(f"{base}/some/where/rollout")


async def test_the_keyboard_is_enough(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    visited = await visit(site)
    visited.expected.add(REFUSED)
    page = visited.page
    await expect(page.locator("#history tbody tr")).to_have_count(1)

    async def tabbed(count: int) -> list[str]:
        order = []
        for _ in range(count):
            await page.keyboard.press("Tab")
            order.append(await focused(page))
            assert await page.evaluate(OUTLINED), f"focus on {order[-1]} cannot be seen"
        return order

    assert await tabbed(6) == ["language", "gates-part", "workers-part", "key", "history-part", "A"]
    await page.locator("#key").focus()
    await page.keyboard.type(KEY)
    fields = ["who", "why", "stage-value", "shadow-value", "shadow", "weight-value", "weight", "promote", "release"]
    assert await tabbed(9) == fields
    await page.locator("#who").focus()
    await page.keyboard.type("kim")
    await page.keyboard.press("Enter")
    await page.locator("#promote").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#force")).to_be_visible()
    assert await focused(page) == "promote"
    assert await tabbed(2) == ["release", "force-sure"]
    await page.keyboard.press("Space")
    assert await tabbed(1) == ["force-promote"]
    await page.keyboard.press("Enter")
    await expect(result(page)).to_have_text("승격: 됐습니다. 세대 2.")


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_it_fits_every_screen(visit: Visitor, site: str, fleet: Fleet, width: int) -> None:
    await staged(fleet, pairs=400)
    await fleet.worker("a", OLD, NEW, m_2="a-file-with-a-very-long-name-" * 5)
    visited = await visit(site, viewport={"width": width, "height": 800}, color_scheme="dark")
    visited.expected.add(REFUSED)
    page = visited.page
    await with_key(page)
    await page.locator("#promote").click()
    await expect(page.locator("#force")).to_be_visible()
    await expect(page.locator("#history tbody tr")).to_have_count(1)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    for region in ("gates", "workers", "history"):
        wide = await page.locator(f"#{region}-part").evaluate("(part) => part.scrollWidth - part.clientWidth")
        assert wide <= 0, f"{region} has to be scrolled sideways"
    assert await page.get_by_role("columnheader").count() == 13, "the roles outlive the layout of a phone"
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(19, 20, 25)"


async def test_nobody_is_asked_while_nobody_looks(visit: Visitor, site: str, fleet: Fleet) -> None:
    await staged(fleet)
    page = (await visit(site)).page
    await expect(page.locator("#slot-green")).to_contain_text(NEW)
    hidden = """(hidden) => {
      const get = () => (hidden ? "hidden" : "visible");
      Object.defineProperty(document, "visibilityState", { configurable: true, get });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await page.evaluate(hidden, True)
    await page.wait_for_timeout(300)  # one may be under way
    asked = []
    page.on("request", lambda request: asked.append(request))
    await page.wait_for_timeout(1_500)
    assert not asked
    await fleet.order("release")
    async with page.expect_request(re.compile("/rollout$")):
        await page.evaluate(hidden, False)
    await expect(page.locator("#slot-green")).to_contain_text("비어 있음")
