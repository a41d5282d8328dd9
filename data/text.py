"""Cleaning of review text: one implementation for training and serving.

Markup, invisible characters and superfluous whitespace go; everything that a reader sees stays, because
ㅋㅋ, ㅠㅠ, emoticons, emoji and repeated punctuation carry sentiment. ``clean`` is idempotent on its own output
for markup escaped up to ``MAX_PASSES - 1`` times, and linear in the length of the text.
"""

import html
import re
import unicodedata

from data.errors import EmptyText, InvalidText

CLEANING_VERSION = "1"
"""Changes with every change of what ``clean`` returns; part of the preprocessing fingerprint."""

MAX_PASSES = 4

_BLOCK = (
    "address|article|aside|blockquote|body|br|center|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|head|"
    "header|hr|html|iframe|img|li|main|nav|noscript|ol|option|p|pre|script|section|select|style|table|tbody|td|"
    "textarea|tfoot|th|thead|title|tr|ul|video"
)
_INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|button|cite|code|data|del|dfn|em|embed|font|i|input|ins|kbd|label|link|mark|meta|"
    "meter|object|param|q|rp|rt|ruby|s|samp|small|source|span|strike|strong|sub|sup|svg|time|tt|u|var|wbr"
)
# Only real element names count as tags: "<3" and "<기생충>" are what people write. No class inside a tag may match
# "<", so a scan that fails stops at the next one and the whole stays linear.
_COMMENT = re.compile(r"<!--[^<>]*-->|<!doctype[^<>]*>|<!\[CDATA\[|\]\]>", re.IGNORECASE)
_CODE = re.compile(r"<(script|style)(?:\s[^<>]*)?>[^<]*</\1\s*>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:[\s/][^<>]*)?>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:[\s/][^<>]*)?>", re.IGNORECASE)
# Only complete entities: "R&D" and "Q&A" stay what they are.
_ENTITY = re.compile(r"&(?:amp;)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
# Control characters (whitespace apart), zero-width and bidirectional format characters, variation selectors, and
# the tag block. An emoji sequence falls apart into its visible parts, which keep the sentiment.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff0-\ufffb\U000e0000-\U000e0fff]+"
)
# Hangul fillers and the Braille blank are letters by category but look like spaces.
_BLANK = re.compile(r"[\s\u115f\u1160\u2800\u3164\uffa0]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# What no step changes: printable ASCII without "<" and "&", Hangul syllables and letters, and single spaces between.
_UNCHANGED = "[!-%'-;=-~\u3131-\u3163\uac00-\ud7a3]+"
_PLAIN = re.compile(f"{_UNCHANGED}(?: {_UNCHANGED})*")


def clean(text: str) -> str:
    """Return ``text`` without HTML tags and entities, invisible characters and superfluous whitespace, in NFC.

    The result may be empty. Raises InvalidText for lone surrogates, which no encoder can take.
    """
    if _PLAIN.fullmatch(text):  # nearly every review, in a tenth of the time
        return text
    if _SURROGATE.search(text):
        raise InvalidText("text holds a lone surrogate; it must be valid Unicode")
    for _ in range(MAX_PASSES):
        cleaned = _clean_once(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def clean_review(text: str) -> str:
    """Like ``clean``, but raises EmptyText where nothing is left to judge."""
    cleaned = clean(text)
    if not cleaned:
        raise EmptyText
    return cleaned


def _clean_once(text: str) -> str:
    text = _INVISIBLE.sub("", text)
    if "<" in text:
        text = _CODE.sub(" ", _COMMENT.sub(" ", text))
        text = _INLINE_TAG.sub("", _BLOCK_TAG.sub(" ", text))
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(f"&{match[1]};"), text)
    return unicodedata.normalize("NFC", _BLANK.sub(" ", text)).strip()
