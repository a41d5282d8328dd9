"""The page in a real browser, in front of the real application with a tiny model."""

import asyncio
import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from benchmarks.browser import Directly, application, served
from serving.errors import Overloaded
from serving.model import Model
from serving.settings import Settings
from tests.page.visits import GONE, OUTLINED, REFUSED, Visitor, focused

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
TEXT = "정말 재미있어요 하지만 지루하다 <3 노잼"


class Batches(Directly):
    """Remembers how many rows came at a time, and how many calls overlapped; may be slow or refuse."""

    def __init__(self, delay_s: float = 0.0, refusals: int = 0) -> None:
        self.delay_s, self.refusals = delay_s, refusals
        self.overlap = self._running = 0

    def expect(self, rows: int) -> None:
        """There is room."""

    async def positive(self, model: Model, rows: list[list[int]]) -> list[float]:
        if self.refusals:
            self.refusals -= 1
            raise Overloaded("the queue is full")
        self._running += 1
        self.overlap = max(self.overlap, self._running)
        try:
            await asyncio.sleep(self.delay_s)
            return await super().positive(model, rows)
        finally:
            self._running -= 1


async def test_one_review_is_judged_and_its_words_are_shown(visit: Visitor, model: Model) -> None:
    page = (await visit()).page
    (positive,) = model.positive_of([TEXT]).tolist()
    verdict = model.verdict(positive)
    await page.get_by_role("textbox", name="리뷰 한 편").fill(TEXT)
    await page.locator("#one-judge").click()
    result = page.get_by_role("article", name="판단 결과")
    await expect(result.locator("strong")).to_have_text(verdict.sentiment)
    await expect(result.locator(".score")).to_contain_text(f"{round(verdict.score, 4):.1%}")
    await expect(page.locator("#one-status")).to_contain_text(verdict.sentiment)
    await expect(result.get_by_role("img")).to_have_attribute("aria-label", re.compile("부정 .*%, 긍정 .*%"))
    await expect(result.get_by_role("list", name="단어마다 답에 준 영향").get_by_role("listitem")).to_have_count(6)
    words = result.locator(".word")
    assert await words.all_inner_texts() == TEXT.split()
    marked = result.locator(".word.is-positive, .word.is-negative")
    assert await marked.count() > 0
    for place in range(await marked.count()):
        word = marked.nth(place)
        assert re.fullmatch(r"(긍정|부정) 쪽으로 [+−]\d+\.\d\d", await word.get_attribute("title") or "")
        line = await word.evaluate("(element) => getComputedStyle(element).textDecorationStyle")
        negative = "is-negative" in (await word.get_attribute("class") or "")
        assert line == ("dashed" if negative else "solid"), "not by colour alone"
    facts = result.locator(".facts")
    await expect(facts).to_contain_text(model.tag)
    await expect(facts).to_contain_text(re.compile(r"\d ms"))
    await expect(facts).to_contain_text("새로 계산함")
    await page.locator("#one-judge").click()
    await expect(facts).to_contain_text("캐시에서 가져옴")
    await expect(page.locator("#model")).to_contain_text(model.tag)
    await expect(page.locator("#health")).to_have_text("정상 동작 중")


async def test_what_looks_like_markup_stays_text(visit: Visitor) -> None:
    page = (await visit()).page
    text = "최고 <img/src=x/onerror=alert(1)> <기생충> <svg/onload=alert(2)>"
    await page.locator("#one-text").fill(text)
    await page.locator("#many-text").fill(text)
    await page.locator("#one-judge").click()
    await page.locator("#many-judge").click()
    await expect(page.locator("#many-table td.text")).to_have_text(text)
    await expect(page.locator(".word").first).to_have_text("최고")
    assert not await page.locator("main img, main script, #one-result svg").count()


async def test_the_keyboard_is_enough(visit: Visitor) -> None:
    page = (await visit()).page
    order = []
    for _ in range(10):
        await page.keyboard.press("Tab")
        order.append(await focused(page))
        assert await page.evaluate(OUTLINED), f"focus on {order[-1]} cannot be seen"
    boxes = ["many-text", "many-judge", "many-file", "many-truncate"]
    assert order == ["language", "one-text", "one-judge", *["BUTTON"] * 3, *boxes]
    await page.locator("#one-text").focus()
    await page.keyboard.type("꿀잼")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#one-result .word")).to_have_text("꿀잼")
    assert await focused(page) == "one-text"
    await page.locator("#many-text").focus()
    await page.keyboard.type("꿀잼\n노잼")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#many-table tbody tr")).to_have_count(2)


async def test_an_open_syllable_is_judged_too(visit: Visitor) -> None:
    page = (await visit()).page
    await page.locator("#one-text").fill("꿀")
    await page.locator("#one-text").evaluate(
        """(box) => {
          box.dispatchEvent(new CompositionEvent("compositionstart"));
          box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, isComposing: true }));
          box.value += "잼";
          box.dispatchEvent(new CompositionEvent("compositionend"));
        }"""
    )
    await expect(page.locator("#one-result .word")).to_have_text("꿀잼")


async def test_two_languages(visit: Visitor) -> None:
    page = (await visit()).page
    await expect(page.locator("html")).to_have_attribute("lang", "ko")
    await page.locator("#examples button").first.click()
    await expect(page.locator(".influence, .note").first).to_be_visible()
    await page.get_by_role("button", name="English").click()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.get_by_role("heading", level=1)).to_have_text("How does this review feel?")
    await expect(page.locator("#one-result strong")).to_have_text(re.compile("Positive|Negative|Neutral"))
    await expect(page.locator(".facts")).to_contain_text("newly computed")
    await expect(page.locator("#health")).to_have_text("Up and healthy")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await page.get_by_role("button", name="한국어").click()
    await expect(page.locator("html")).to_have_attribute("lang", "ko")
    assert await page.title() == "리뷰 감성 분석"
    english = (await visit(locale="en-GB")).page
    await expect(english.locator("html")).to_have_attribute("lang", "en")


async def test_problems_are_told_in_plain_words(visit: Visitor) -> None:
    visited = await visit()
    visited.expected.add(REFUSED)
    page = visited.page
    alert = page.get_by_role("alert")
    await page.locator("#one-judge").click()
    await expect(alert).to_have_text("판단할 리뷰를 먼저 써 주세요.")
    await page.locator("#one-text").fill("<br>&nbsp;")
    await page.locator("#one-judge").click()
    await expect(alert).to_contain_text("판단할 글자가 없습니다.")
    await page.locator("#one-text").fill("재미 " * 700)
    await page.locator("#one-judge").click()
    await expect(alert).to_contain_text(re.compile(r"글이 너무 깁니다: [\d,]+토큰인데 512토큰까지"))
    await page.get_by_role("button", name="앞부분만 읽고 판단하기").click()
    await expect(page.locator("#one-result .word")).to_have_count(64)
    await expect(alert).to_have_count(0)
    await page.locator("#many-judge").click()
    await expect(alert).to_have_text("판단할 리뷰가 없습니다. 한 줄에 하나씩 써 주세요.")


async def test_many_lines_with_a_bad_one(visit: Visitor, model: Model, tmp_path: Path) -> None:
    batches = Batches(delay_s=0.1)
    texts = [f"재미있는 영화 {number}" for number in range(250)]
    texts[2], texts[3], texts[120], texts[130] = "<br>", "  ", '=1+1 "좋다", 정말', "-ㅅ- 별로"
    with served(application(model, batches)) as base:
        visited = await visit(base, accept_downloads=True)
        visited.expected.add(REFUSED)
        page, sent = visited.page, []
        page.on("request", lambda request: sent.append(request) if request.url.endswith("/batch") else None)
        await page.get_by_role("textbox", name="리뷰 여러 편, 한 줄에 하나").fill("\n".join(texts))
        await expect(page.locator("#many-count")).to_have_text("249줄")
        await page.locator("#many-judge").click()
        await expect(page.get_by_role("progressbar", name="진행")).to_be_visible()
        summary = re.compile("리뷰 249편 가운데 248편을 .*초 만에 판단했습니다. 1편은 판단하지 못했습니다.")
        await expect(page.locator("#many-status")).to_have_text(summary)
        async with page.expect_download() as download:
            await page.get_by_role("button", name="CSV로 내려받기").click()
        await (await download.value).save_as(tmp_path / "found.csv")
    sizes = [len(json.loads(request.post_data)["texts"]) for request in sent]
    assert sorted(sizes) == [49, 99, 100, 100], "pieces of a hundred lines, one again without its bad line"
    assert batches.overlap == 2

    rows = page.locator("#many-table tbody tr")
    await expect(rows).to_have_count(100)
    await expect(rows.nth(2).get_by_role("rowheader")).to_have_text("3")
    await expect(rows.nth(2)).to_contain_text("태그나 빈칸뿐인 글은 판단할 수 없습니다.")
    await expect(rows.nth(3).get_by_role("rowheader")).to_have_text("5")
    assert await page.get_by_role("columnheader").all_inner_texts() == ["줄", "리뷰", "판단", "점수"]
    await page.get_by_role("button", name="100줄 더 보기").click()
    await expect(rows).to_have_count(200)
    shares, scores = await page.locator("#many-charts").get_by_role("img").all()
    said = re.findall(r"(긍정|중립|부정) (\d+)편", await shares.get_attribute("aria-label") or "")
    assert sum(int(count) for _, count in said) == 248
    bins = re.findall(r"(\d+)편", await scores.get_attribute("aria-label") or "")
    assert sum(map(int, bins)) == 248

    content = (tmp_path / "found.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    found = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert len(found) == 249
    assert (found[2]["line"], found[2]["sentiment"], found[2]["text"]) == ("3", "", "<br>")
    assert "판단할 글자가 없습니다" in found[2]["problem"]
    by_line = {int(row["line"]): row for row in found}
    assert by_line[121]["text"] == "'" + texts[120]
    assert by_line[131]["text"] == "'" + texts[130]
    (positive,) = model.positive_of([texts[130]]).tolist()
    assert float(by_line[131]["positive"]) == pytest.approx(positive, abs=1e-4)
    assert by_line[131]["sentiment"] == model.verdict(positive).sentiment
    assert by_line[131]["model_tag"] == model.tag


async def test_many_lines_can_be_stopped(visit: Visitor, model: Model) -> None:
    with served(application(model, Batches(delay_s=0.4))) as base:
        page = (await visit(base)).page
        content = "\n".join(f"영화 {number}" for number in range(2_000)).encode()
        await page.locator("#many-file").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": content})
        await expect(page.locator("#many-count")).to_have_text("2,000줄")
        await page.locator("#many-judge").click()
        await expect(page.locator("#many-done")).to_have_text(re.compile("^[1-9]00 / 2,000$"))
        await page.get_by_role("button", name="그만두기").click()
        await expect(page.locator("#many-status")).to_have_text(
            re.compile("^그만두었습니다. .* [1-9],[0-9]00편은 남았습니다.$")
        )
        assert await focused(page) == "many-download"
        await expect(page.locator("#many-progress")).to_be_hidden()


async def test_a_busy_or_narrow_service_is_given_time_and_smaller_pieces(visit: Visitor, model: Model) -> None:
    settings = Settings(max_texts=30)
    with served(application(model, Batches(refusals=1), settings)) as base:
        visited = await visit(base)
        visited.expected.add(REFUSED)
        page = visited.page
        await page.locator("#many-text").fill("\n".join(f"영화 {number}" for number in range(100)))
        await page.locator("#many-judge").click()
        await expect(page.locator("#many-done")).to_have_text(re.compile("서비스가 바빠 1초 쉽니다"))
        await expect(page.locator("#many-status")).to_have_text(re.compile("100편 가운데 100편을"))


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.txt", "\ufeff좋다\r\n\r\n나쁘다\n".encode(), ["좋다", "나쁘다"]),
        ("b.csv", 'id,리뷰\r\n1,"좋다, ""정말"""\r\n2,"두\n줄"\r\n'.encode("cp949"), ['좋다, "정말"', "두 줄"]),
        ("c.txt", "id\tdocument\tlabel\n1\t좋다\t1\n2\t나쁘다\t0\n".encode(), ["좋다", "나쁘다"]),
        ("d.csv", "1;참 좋은 영화\n2;나쁜 영화\n".encode(), ["참 좋은 영화", "나쁜 영화"]),
    ],
)
async def test_files(visit: Visitor, name: str, content: bytes, lines: list[str]) -> None:
    page = (await visit()).page
    await page.locator("#many-file").set_input_files({"name": name, "mimeType": "text/plain", "buffer": content})
    await expect(page.locator("#many-text")).to_have_value("\n".join(lines))
    await expect(page.locator("#many-count")).to_have_text(f"{len(lines)}줄")


async def test_a_file_that_is_no_text_is_refused(visit: Visitor) -> None:
    page = (await visit()).page
    content = bytes(range(256))
    await page.locator("#many-file").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": content})
    await expect(page.get_by_role("alert")).to_contain_text("파일을 읽지 못했습니다.")


async def test_the_service_goes_away(visit: Visitor, model: Model) -> None:
    with served(application(model)) as base:
        visited = await visit()
        visited.expected.add(GONE)
        page = visited.page
        await page.clock.install()
        await page.goto(base)
        await expect(page.locator("#health")).to_have_text("정상 동작 중")
    await page.locator("#one-text").fill("좋다")
    await page.locator("#one-judge").click()
    plain = "서비스에 연결할 수 없습니다. 잠시 뒤 다시 해 보세요."
    await expect(page.locator("#one-problem")).to_have_text(plain)
    await page.locator("#many-text").fill("좋다\n나쁘다")
    await page.locator("#many-judge").click()
    await expect(page.locator("#many-problem")).to_have_text(plain)
    await expect(page.locator("#health")).to_have_text("정상 동작 중")
    await page.clock.fast_forward(15_000)
    await expect(page.locator("#health")).to_have_text("서비스에 연결할 수 없음")


async def test_without_a_model_it_says_so(visit: Visitor, model: Model) -> None:
    app = application(model)
    app.state.slots = None
    with served(app) as base:
        visited = await visit(base)
        visited.expected.add(REFUSED)
        await expect(visited.page.locator("#health")).to_have_text("모델이 아직 준비되지 않음")
        await visited.page.locator("#examples button").first.click()
        await expect(visited.page.locator("#one-problem")).to_contain_text("모델이 아직 준비되지 않았습니다.")


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_it_fits_every_screen(visit: Visitor, width: int) -> None:
    page = (await visit(viewport={"width": width, "height": 800}, color_scheme="dark")).page
    await page.locator("#one-text").fill(TEXT + " " + "ㅋ" * 80)
    await page.locator("#one-judge").click()
    await page.locator("#many-text").fill(f"좋다\n{'ㅋ' * 200}\n{TEXT}")
    await page.locator("#many-judge").click()
    await expect(page.locator("#many-table tbody tr")).to_have_count(3)
    await expect(page.locator("#one-result .word").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(19, 20, 25)"
