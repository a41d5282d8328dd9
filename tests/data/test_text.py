import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import EmptyText, InvalidText
from data.text import clean, clean_review

SENTIMENT = [
    "ㅋㅋㅋㅋ",
    "ㅠㅠ",
    "ㅎㅎ^^",
    "최고!!",
    "별로...",
    ":)",
    "<3",
    "-_-;;",
    "👍👍",
    "😭",
    "ㄹㅇ",
    "ㅡㅡ",
    "10/10",
    "~~",
]


@pytest.mark.parametrize("text", SENTIMENT)
def test_what_carries_sentiment_stays(text: str) -> None:
    assert clean(f"영화 {text} 봄") == f"영화 {text} 봄"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("정<b>말</b> 재밌다", "정말 재밌다"),
        ("좋다<br/>또 본다", "좋다 또 본다"),
        ("<p class='x'>굿</p>", "굿"),
        ("<script>alert(1)</script>굿<!-- 숨김 -->", "굿"),
        ("&lt;3 최고", "<3 최고"),
        ("연기 &amp; 연출", "연기 & 연출"),
        ("&amp;quot;명작&amp;quot;", '"명작"'),
        ("&lt;br&gt;굿", "굿"),
        ("R&D 영화 &copy 아님", "R&D 영화 &copy 아님"),
        ("<기생충> 최고", "<기생충> 최고"),
        ("a < b > c", "a < b > c"),
        ("노\x00잼\x07", "노잼"),
        ("노\u200b잼\ufeff", "노잼"),
        ("\u202e노잼\u202c", "노잼"),
        ("❤\ufe0f\u200d🔥", "❤🔥"),
        ("노잼\u3164\u3164노잼", "노잼 노잼"),
        ("  여러\t\n줄  \u3000 ", "여러 줄"),
        (unicodedata.normalize("NFD", "재미있다"), "재미있다"),
    ],
)
def test_cleaning(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize("raw", ["", "  \n", "<br><br/>", "\u200b\u3164", "<script>x</script>", "&nbsp;"])
def test_nothing_left_is_an_error(raw: str) -> None:
    with pytest.raises(EmptyText, match="at least one visible character"):
        clean_review(raw)


@pytest.mark.parametrize("raw", ["\ud800", "좋다\udfff", "\ude00\ud83d"])
def test_lone_surrogates_are_an_error_that_does_not_quote(raw: str) -> None:
    with pytest.raises(InvalidText, match="lone surrogate") as caught:
        clean(raw)
    assert "좋다" not in str(caught.value)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_cleaning_is_idempotent_normal_and_tight(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == " ".join(cleaned.split(" "))
    assert cleaned == cleaned.strip()


@given(st.text(alphabet="<>&;/!-ab ㅋ#xlt\x00\u200b", max_size=60))
def test_cleaning_markup_like_noise_settles(text: str) -> None:
    cleaned = clean(text)
    assert clean(clean(cleaned)) == clean(cleaned)


@pytest.mark.parametrize("unit", ["<!--", "<script>", "&amp;", "<p ", "&", "]]", "<br", "&#", "ㅋ\u200b"])
def test_cleaning_is_linear_in_hostile_input(unit: str) -> None:
    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        started = time.perf_counter()
        clean(text)
        return time.perf_counter() - started

    small, large = min(seconds(50_000) for _ in range(3)), min(seconds(400_000) for _ in range(3))
    assert large < 40 * small + 0.05, "eight times the text may not cost sixty-four times the work"


@given(
    st.text(
        alphabet="".join(map(chr, range(0x20, 0x80))) + "가힣각ㄱㅎㅋㅠㅣㅤ\u1100\u1161\u11a8\u200b\u00a0éＡ", max_size=30
    )
)
def test_the_short_way_cleans_like_the_long_one(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = clean(text)
        patch.setattr("data.text._PLAIN", re.compile("(?!)"))
        assert found == clean(text)
