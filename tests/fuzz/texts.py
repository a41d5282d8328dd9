"""Mutators of a review's text, before it is written as JSON."""

from random import Random

from tests.fuzz.choice import Table, spread

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZERO_WIDTH = "\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\ufe0f\ufeff\U000e0001\U000e0041"
BLANKS = "\u115f\u1160\u2800\u3000\u3164\uffa0\u0085\u00a0\u2028\u2029\t\r\n\x0b\x0c"
MARKUP = ("<br/>", "<script>", "</script>", "<!--", "-->", "&amp;", "&#0;", "&#xD800;", "&#9999999;", "<3", "<![CDATA[")
RUN_SHORTEST, RUN_LONGEST, RUN_GIANT = 1 << 10, 1 << 17, 10_000_000
_LETTER_BYTES = 3


def _sprinkled(rng: Random, text: str, characters: str) -> str:
    out = list(text)
    for _ in range(rng.randint(1, 8)):
        out.insert(rng.randint(0, len(out)), rng.choice(characters))
    return "".join(out)


def nulls(rng: Random, text: str) -> str:
    """NUL and other control characters."""
    return _sprinkled(rng, text, "\x00\x00\x00\x01\x08\x1b\x7f\x80\x9f")


def bidi(rng: Random, text: str) -> str:
    """Marks that turn the direction of writing."""
    return _sprinkled(rng, text, BIDI)


def zero_width(rng: Random, text: str) -> str:
    """Characters that are not seen."""
    return _sprinkled(rng, text, ZERO_WIDTH)


def blanks(rng: Random, text: str) -> str:
    """Every kind of space, those that count as letters, too."""
    return _sprinkled(rng, text, BLANKS)


def only_invisible(rng: Random, text: str) -> str:
    """Nothing is left once it is cleaned."""
    return "".join(rng.choices(ZERO_WIDTH + BLANKS + BIDI, k=rng.randint(0, 40)))


def surrogates(rng: Random, text: str) -> str:
    """Half of a pair, or the halves in the wrong order; in JSON they are escaped."""
    return _sprinkled(rng, text, "\ud800\udbff\udc00\udfff")


def laughing(rng: Random, text: str) -> str:
    """A run of one letter, from 1 KB on; rarely of 10 MB."""
    size = RUN_GIANT if rng.random() < 1 / 400 else spread(rng, RUN_SHORTEST, RUN_LONGEST)
    return text + rng.choice("ㅋㅋㅋㅋㅎㅠ!") * (size // _LETTER_BYTES)


def combining(rng: Random, text: str) -> str:
    """Marks upon marks on one letter, and letters in pieces."""
    return text + rng.choice(("\u0301\u0323", "\u1112\u1161\u11ab", "\u0e49")) * spread(rng, 1, 5_000)


def markup(rng: Random, text: str) -> str:
    """Tags and entities, whole, broken and nested."""
    return text + "".join(rng.choices(MARKUP, k=spread(rng, 1, 400)))


def many_words(rng: Random, text: str) -> str:
    """More words than the model reads."""
    return text + " 영화" * spread(rng, 10, 2_000)


def any_characters(rng: Random, text: str) -> str:
    """Whatever Unicode has, unassigned and private ones, too."""
    points = (rng.randrange(0xD800) if rng.random() < 0.5 else rng.randrange(0xE000, 0x110000) for _ in range(30))
    return text + "".join(map(chr, points))


def emoji(rng: Random, text: str) -> str:
    """Joined sequences of pictures."""
    return text + "👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈🇰🇷" * rng.randint(1, 20)


TABLE = Table[str](
    {
        nulls: 3, bidi: 3, zero_width: 3, blanks: 2, only_invisible: 2, surrogates: 4, laughing: 3, combining: 2,
        markup: 2,
        many_words: 2, any_characters: 3, emoji: 1,
    }
)  # fmt: skip
